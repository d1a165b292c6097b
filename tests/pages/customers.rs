//! The way of a customer from the link to verified, in a browser.

use std::time::Duration;

use crate::rig::{BEFORE, Rig, SPF_BEFORE, path};
use crate::support::browser::Setup;
use crate::support::capture::{Capture, Received};

/// A letter as its reader has it, and the path of the link in it.
fn letter(box_of_letters: &[Received], to: &str) -> (String, String) {
    let mine = box_of_letters.iter().find(|it| it.to.iter().any(|address| address.contains(to)));
    let mine = mine.unwrap_or_else(|| panic!("nothing for {to}: {box_of_letters:?}"));
    let text = String::from_utf8_lossy(&mine.content).replace("=\r\n", "");
    let link =
        text.split_whitespace().find(|word| word.contains("/link/")).unwrap_or_else(|| panic!("no link: {text}"));
    (text.clone(), path(link).to_owned())
}

/// Both contacts have a letter with their subject, and with a link of its own that opens the page in their language.
fn letters_say(rig: &Rig, letters: &[Received], subjects: [(&str, &str); 2]) {
    let mut links = Vec::new();
    for ((to, language), subject) in [("ole@test.dk", "da"), ("ann@test.dk", "en")].into_iter().zip(subjects) {
        let (text, link) = letter(letters, to);
        for wanted in ["From: webCRM <webcrm@other.example>", "Auto-Submitted: auto-generated", subject.0, subject.1] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        let page = rig.get(&format!("{link}/test.dk"), "");
        assert!(page.starts_with("HTTP/1.1 200") && page.contains(&format!("<html lang=\"{language}\"")), "{page}");
        links.push(link);
    }
    assert_ne!(links[0], links[1], "each can be revoked alone");
}

#[test]
fn a_customer_goes_from_the_link_to_verified() {
    let mut rig = Rig::start(BEFORE);
    let Some(browser) = rig.browser("a_customer_goes_from_the_link_to_verified", Setup::default()) else { return };
    let box_of_letters = Capture::scripted(&rig.letters.to_string(), Box::new(|_| None));
    browser.go(&rig.link("test-as", &[]));
    // The results come one by one, and then the page.
    browser.find("#spf");
    let page = browser.text();
    browser.is_walked_through_by_keyboard("what is missing");
    for wanted in [
        "Få mail fra webCRM sikkert frem: test.dk",
        "Test & Søn A/S",
        "mangler",
        "1. SPF: hvem der må sende for jer",
        "v=spf1 include:spf.protection.outlook.com -all",
        "v=spf1 include:spf.protection.outlook.com include:spf.webcrm.com -all",
        "Ret TXT-recorden på @",
        "Ret den record, der står der.",
        "postbud1._domainkey",
        "Sådan gør I hos one.com (zonen test.dk)",
        "Vi tjekker igen automatisk omkring",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    browser.is_sound("what is missing");
    let steps = browser.run("return [...document.querySelectorAll('section.step')].map(it => it.id).join(' ')");
    assert_eq!(steps, "spf dkim dmarc server internal", "the guide's order");
    // What is copied is the value, exactly.
    let value = browser.run("return [...document.querySelectorAll('[id^=value-]')].map(it => it.textContent)");
    let wanted = rig.wanted();
    assert!(wanted.contains("include:spf.webcrm.com"), "{wanted}");
    for value in value.as_array().unwrap() {
        let joined = wanted.replace("\" \"", "");
        assert!(joined.contains(value.as_str().unwrap()), "{value}\n{joined}");
    }
    assert!(browser.property(&browser.find("button.copier"), "hidden") == false, "scripts show the copy buttons");

    // The customer publishes everything, and has it checked.
    let after = BEFORE.replace(SPF_BEFORE, "") + &wanted;
    rig.publish(&after);
    rig.check_until(&browser, "all is in order", |page| page.contains("Alt er i orden"));
    browser.is_sound("all is in order");
    let moved = rig.site.wait_for_event("the tier has moved", |event| event["event"] == "domain.tier_moved");
    assert_eq!(moved["route"], "mailjet.trusted", "{moved}");
    for requirement in ["ownership", "spf", "dkim", "dmarc"] {
        rig.site.wait_for_event(requirement, |event| {
            event["event"] == "domain.verified" && event["detail"].as_str().is_some_and(|it| it.contains(requirement))
        });
    }
    browser.click("#history summary");
    assert!(browser.text().contains("SPF er i orden"), "{}", browser.text());
    // Its contacts hear of it, once.
    box_of_letters.wait_for(2, Duration::from_secs(60));
    let subjects = [
        ("Subject: test.dk: alt er i orden til mail fra webCRM", "Lad recordene blive st"),
        ("Subject: test.dk: everything is in order for mail from webCRM", "Leave the records in place."),
    ];
    letters_say(&rig, &box_of_letters.received(), subjects);

    // A record vanishes.
    rig.publish(&after.replace("_dmarc.test.dk.", "_dmark.test.dk."));
    rig.check_until(&browser, "what vanished", |page| page.contains("Opret en TXT-record på _dmarc"));
    browser.click("#history summary");
    assert!(browser.text().contains("DMARC var i orden og er det ikke mere"), "{}", browser.text());
    browser.is_sound("a record has vanished");
    box_of_letters.wait_for(4, Duration::from_secs(60));
    let letters = box_of_letters.received();
    assert_eq!(letters.len(), 4, "{letters:?}");
    let subjects = [
        ("Subject: test.dk: en DNS-record til mail fra webCRM er forsvundet", "DMARC"),
        ("Subject: test.dk: a DNS record for mail from webCRM has disappeared", "no longer in order: DMARC."),
    ];
    letters_say(&rig, &letters[2..], subjects);
    rig.site.wait_for_event("the letter's link", |event| event["command"] == "link.add" && event["actor"] == "postbud");
}

#[test]
fn a_customer_goes_the_whole_way_without_scripts_and_in_english() {
    let mut rig = Rig::start(BEFORE);
    let setup = Setup { scripts: false, ..Setup::default() };
    let Some(browser) = rig.browser("a_customer_goes_the_whole_way_without_scripts", setup) else { return };
    browser.go(&rig.link("test-as", &["--language", "en"]));
    // It loads itself again while the look runs.
    browser.wait_for_text("1. SPF: who may send for you");
    assert!(browser.text().contains("Change the TXT record at @"), "{}", browser.text());
    assert!(browser.all("button.copier").iter().all(|it| browser.property(it, "hidden") == true));
    let after = BEFORE.replace(SPF_BEFORE, "") + &rig.wanted();
    rig.publish(&after);
    rig.check_until(&browser, "all is in order", |page| page.contains("Everything is in order"));
    rig.site.wait_for_event("the tier has moved", |event| event["event"] == "domain.tier_moved");
    browser.click("a[hreflang=da]");
    browser.wait_for_text("1. SPF: hvem der må sende for jer");
    browser.reload();
    assert!(browser.text().contains("Tjek nu") || browser.text().contains("Vi slår jeres records op"));
}

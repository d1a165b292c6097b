//! The way of a customer from the link to verified, in a browser.

use crate::rig::{BEFORE, Rig, SPF_BEFORE};
use crate::support::browser::Setup;

#[test]
fn a_customer_goes_from_the_link_to_verified() {
    let mut rig = Rig::start(BEFORE);
    let Some(browser) = rig.browser("a_customer_goes_from_the_link_to_verified", Setup::default()) else { return };
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
    // Its contact hears of it, once.
    let letters = browser.wait("a letter", || Some(rig.letters()).filter(|letters| !letters.is_empty()));
    assert_eq!(letters.len(), 1, "{letters:#?}");
    for wanted in ["ole@test.dk", "webcrm@other.example", "Auto-Submitted: auto-generated"] {
        assert!(letters[0].contains(wanted), "{wanted}: {letters:#?}");
    }

    // A record vanishes.
    rig.publish(&after.replace("_dmarc.test.dk.", "_dmark.test.dk."));
    rig.check_until(&browser, "what vanished", |page| page.contains("Opret en TXT-record på _dmarc"));
    browser.click("#history summary");
    assert!(browser.text().contains("DMARC var i orden og er det ikke mere"), "{}", browser.text());
    browser.is_sound("a record has vanished");
    let letters = browser.wait("another letter", || Some(rig.letters()).filter(|letters| letters.len() > 1));
    assert_eq!(letters.len(), 2, "{letters:#?}");
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

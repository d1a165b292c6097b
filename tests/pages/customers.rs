//! The way of a customer from the link to verified, in a browser.

use crate::rig::{BEFORE, Rig};
use crate::support::browser::{Browser, Setup, axe};
use crate::support::skip::skip;

/// A browser, or a line among the skipped.
fn browser(test: &str, setup: Setup) -> Option<Browser> {
    let found = Browser::start(setup);
    if found.is_none() {
        skip(test, "no Chromium: install chromium and chromium-driver");
    }
    found
}

/// Nobody who sees, hears or moves little meets an obstacle, and nothing was refused by the page's own policy.
fn is_sound(browser: &Browser, what: &str) {
    match axe() {
        Some(axe) => assert_eq!(browser.accessibility(&axe), Vec::<String>::new(), "{what}"),
        None => skip(what, "no axe-core: tests/install-peers installs it"),
    }
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{what}");
}

#[test]
fn a_customer_goes_from_the_link_to_verified() {
    let mut rig = Rig::start(BEFORE);
    if rig.knot.is_none() {
        return skip("a_customer_goes_from_the_link_to_verified", "no knot: install the package");
    }
    let Some(browser) = browser("a_customer_goes_from_the_link_to_verified", Setup::default()) else { return };
    browser.go(&rig.link("test-as", &[]));
    // The results come one by one, and then the page.
    browser.find("#spf");
    let page = browser.text();
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
        "Vi tjekker igen af os selv omkring",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    is_sound(&browser, "what is missing");
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
    let after = BEFORE.replace("test.dk. 60 IN TXT \"v=spf1 include:spf.protection.outlook.com -all\"\n", "") + &wanted;
    rig.knot.as_mut().unwrap().publish_zone("test.dk", &after);
    std::thread::sleep(std::time::Duration::from_secs(6));
    browser.click("form[action$=check] button");
    browser.wait_for_text("Alt er i orden");
    is_sound(&browser, "all is in order");
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
    rig.knot.as_mut().unwrap().publish_zone("test.dk", &after.replace("_dmarc.test.dk.", "_dmark.test.dk."));
    std::thread::sleep(std::time::Duration::from_secs(6));
    browser.click("form[action$=check] button");
    browser.wait_for_text("Opret en TXT-record på _dmarc");
    browser.click("#history summary");
    assert!(browser.text().contains("DMARC var i orden og er det ikke mere"), "{}", browser.text());
    is_sound(&browser, "a record has vanished");
    let letters = browser.wait("another letter", || Some(rig.letters()).filter(|letters| letters.len() > 1));
    assert_eq!(letters.len(), 2, "{letters:#?}");
    rig.site.wait_for_event("the letter's link", |event| event["command"] == "link.add" && event["actor"] == "postbud");
}

#[test]
fn the_page_works_without_scripts_and_in_english() {
    let rig = Rig::start(BEFORE);
    if rig.knot.is_none() {
        return skip("the_page_works_without_scripts_and_in_english", "no knot: install the package");
    }
    let setup = Setup { scripts: false, ..Setup::default() };
    let Some(browser) = browser("the_page_works_without_scripts_and_in_english", setup) else { return };
    browser.go(&rig.link("test-as", &["--language", "en"]));
    // It loads itself again while the look runs.
    browser.wait_for_text("1. SPF: who may send for you");
    assert!(browser.text().contains("Change the TXT record at @"), "{}", browser.text());
    assert!(browser.all("button.copier").iter().all(|it| browser.property(it, "hidden") == true));
    std::thread::sleep(std::time::Duration::from_secs(6));
    browser.click("form[action$=check] button");
    browser.wait_for_text("Check now");
    browser.click("a[hreflang=da]");
    browser.wait_for_text("1. SPF: hvem der må sende for jer");
    browser.reload();
    assert!(browser.text().contains("Tjek nu") || browser.text().contains("Vi slår jeres records op"));
}

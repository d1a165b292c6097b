//! A customer with several domains, each with a state of its own, and one whose domain Mailjet's API knows.

use postbud::dkim::SigningKey;
use serde_json::Value;

use crate::rig::{BEFORE, Rig, SPF_BEFORE, Setup};
use crate::support::browser;
use crate::support::mailjet_api::{MailjetApi, token};

/// A zone at a provider whose panel nobody here knows.
pub const SECOND: &str = "venner.dk. 60 IN NS ns1.en-lille-udbyder.dk.\nvenner.dk. 60 IN NS ns2.en-lille-udbyder.dk.\n\
                      venner.dk. 60 IN MX 10 mail.venner.dk.\nmail.venner.dk. 60 IN A 192.0.2.11\n";

/// What the list of domains says: each with its badge.
fn tabs(browser: &browser::Browser) -> Vec<String> {
    let said = browser.run(
        "return [...document.querySelectorAll('nav.pages > span')].map(it => it.textContent.replace(/[^a-zæøå. ]/gi, '').trim())",
    );
    said.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_customer_with_two_domains_sees_each_with_its_own_state() {
    let mut rig = Rig::with(&Setup { second: Some(("venner.dk", SECOND)), ..Setup::default() });
    let Some(browser) = rig.browser("a_customer_with_two_domains", browser::Setup::default()) else { return };
    browser.go(&rig.link("test-as", &[]));
    browser.find("#spf");
    assert!(browser.url().ends_with("/test.dk"), "{}", browser.url());
    browser.wait("both are listed as lacking something", || {
        browser.reload();
        let both = tabs(&browser);
        (both.len() == 2 && both.iter().all(|tab| tab.contains("mangler noget"))).then_some(())
    });
    // One of them is brought into order; the other one stays as it is.
    let first = rig.wanted_for("test.dk");
    assert!(first.contains("include:spf.webcrm.com") && !first.contains("venner"), "{first}");
    rig.publish(&(BEFORE.replace(SPF_BEFORE, "") + &first));
    rig.check_until(&browser, "test.dk is in order", |page| page.contains("Alt er i orden"));
    browser.wait("the list says which is which", || {
        browser.reload();
        let both = tabs(&browser);
        let stands = |at: usize, domain: &str, how: &str| both[at].contains(domain) && both[at].contains(how);
        (stands(0, "test.dk", "i orden") && stands(1, "venner.dk", "mangler noget")).then_some(())
    });
    browser.is_sound("two domains");
    browser.click("nav.pages a[href$='/venner.dk']");
    browser.find("#spf");
    assert_eq!(browser.text_of(&browser.find("nav.pages a[aria-current=page]")), "venner.dk");
    // Where DNS did not say in time which zone it is, the next look does.
    rig.check_until(&browser, "the zone is known", |page| page.contains("Sådan gør I i jeres DNS-panel"));
    let page = browser.text();
    for wanted in [
        "Få mail fra webCRM sikkert frem: venner.dk",
        "mangler",
        "Sådan gør I i jeres DNS-panel (zonen venner.dk)",
        "ns1.en-lille-udbyder.dk, ns2.en-lille-udbyder.dk",
        "Punktum dk",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    let values = browser.run("return [...document.querySelectorAll('[id^=value-]')].map(it => it.textContent)");
    assert!(
        !values.to_string().contains("protection.outlook.com"),
        "the other domain's SPF is not this one's: {values}"
    );
    browser.is_sound("the second domain");
    let second = rig.wanted_for("venner.dk");
    rig.publish_at("venner.dk", &format!("{SECOND}{second}"));
    rig.check_until(&browser, "venner.dk is in order", |page| page.contains("Alt er i orden"));
    browser.wait("both are in order", || {
        browser.reload();
        tabs(&browser).iter().all(|tab| tab.contains("i orden")).then_some(())
    });
    // One of them loses a record: the other one is not in doubt.
    rig.publish_at("venner.dk", SECOND);
    rig.check_until(&browser, "venner.dk lost them", |page| page.contains("Opret en TXT-record på @"));
    browser.wait("the list says so", || {
        browser.reload();
        let both = tabs(&browser);
        (both[0].contains("i orden") && both[1].contains("mangler noget")).then_some(())
    });
}

#[test]
fn check_now_registers_with_mailjet_and_has_it_look() {
    let key = SigningKey::generate_rsa(2048).unwrap().public_key_base64().unwrap();
    let api = MailjetApi::start(&["key"], &format!("k=rsa; p={key}"));
    // Another account has the domain first.
    api.world().owned.insert("test.dk".to_owned());
    let mut rig = Rig::with(&Setup { api: Some(&api.url), ..Setup::default() });
    let Some(browser) = rig.browser("check_now_registers_with_mailjet", browser::Setup::default()) else { return };
    browser.go(&rig.link("test-as", &[]));
    browser.find("#dkim");
    let owned = "test.dk er allerede oprettet i en anden konto hos Mailjet";
    browser.wait_for_text(owned);
    assert_eq!(browser.text().matches(owned).count(), 1, "once, although two accounts heard it: {}", browser.text());
    assert!(browser.text().contains("slet domænet i den, eller bed Mailjets support"), "{}", browser.text());
    browser.is_sound("a domain of another account");

    // It is released there, and the next look registers it: what Mailjet issues stands on the page.
    api.world().owned.clear();
    let issued = token("key", "test.dk");
    rig.check_until(&browser, "Mailjet's token", |page| page.contains(&format!("mailjet._{}", &issued[..8])));
    assert!(browser.source().contains(&issued) && !browser.text().contains(owned), "{}", browser.text());
    browser.is_sound("what Mailjet issued");

    // Our check sees the records; Mailjet, which is asked to look, does not yet.
    rig.publish(&(BEFORE.replace(SPF_BEFORE, "") + &rig.wanted()));
    let before = api.calls("/check");
    rig.check_until(&browser, "Mailjet was asked", |_| api.calls("/check") > before);
    assert!(!browser.text().contains("Alt er i orden"), "{}", browser.text());
    api.publish("key", "test.dk");
    rig.check_until(&browser, "all is in order", |page| page.contains("Alt er i orden"));
    browser.is_sound("Mailjet takes it");
    // Its account is asked again by the next look, and takes the domain once Mailjet found the keys.
    let has_moved = |event: &Value| event["event"] == "domain.tier_moved" && event["route"] == "mailjet.trusted";
    rig.check_until(&browser, "the better tier", |_| rig.site.events().iter().any(has_moved));
}

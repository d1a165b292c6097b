//! What an administrator does about a customer and about its own logins, in a real browser.

use crate::in_browser::browser;
use crate::rig::{OPERATORS_PASSWORD, Rig};
use crate::support::browser::Setup;
use crate::support::http::{raw, request};

#[test]
fn an_administrator_checks_links_suppresses_and_begins_a_new_key() {
    let (rig, customers) = Rig::with_customers_pages();
    let usual = Setup { languages: "en", ..Setup::default() };
    let Some(browser) = browser(&rig, usual) else { return };
    let to_the_customer = || browser.go(&format!("http://{}/customers/anna", rig.pages));

    to_the_customer();
    browser.click("button[value='check']");
    browser.find("#work .badge.good");
    let told = browser.text_of(&browser.find("#work table"));
    // No DNS answers here, and the check says so.
    assert!(told.contains("spf") && told.contains("unknown"), "{told}");
    browser.is_sound("what a check found");

    to_the_customer();
    browser.click("button[value='link']");
    let link = browser.text_of(&browser.find("#link"));
    let secret = link.rsplit('/').next().unwrap().to_owned();
    let path = &link[link.find("/link/").unwrap_or_else(|| panic!("{link}"))..];
    assert!(link.starts_with(&format!("http://{customers}/link/")) && secret.len() >= 32, "{link}");
    browser.is_sound("a new link");
    let open = || raw(customers, request("GET", path, &customers.to_string(), &[], None).as_bytes());
    assert_eq!(open().status, 303, "it leads to the customer's domain: {}", open().body);
    browser.go(&link);
    browser.find("#whole");
    assert!(browser.url().ends_with("/anna.example"), "{}", browser.url());
    to_the_customer();
    browser.find("button[value='revoke']");
    assert!(!browser.source().contains(&secret), "a link is shown once");
    browser.click("button[value='revoke']");
    browser.wait("no link is left", || browser.all("button[value='revoke']").is_empty().then_some(()));
    assert_eq!(open().status, 404);
    browser.go(&link);
    assert!(browser.all("#whole").is_empty(), "{}", browser.source());
    browser.is_sound("a link that was revoked");

    to_the_customer();
    browser.click("a[href='/suppression?customer=anna']");
    browser.fill("#new", "ole@x.example");
    browser.fill("#note", "asked us by phone");
    browser.click("button[value='add']");
    browser.wait_for_text("asked us by phone");
    let list = rig.site.operate(&["suppression", "list", "anna"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("ole@x.example"), "{list:?}");
    browser.is_sound("a list with an address");

    to_the_customer();
    browser.click("button[value='rotate']");
    browser.wait_for_text("postbud2._domainkey.anna.example");
    browser.is_sound("the first step of a new key");
    assert!(rig.site.path("keys/anna.example.postbud2.pem").exists(), "the new key is made");

    browser.go(&format!("http://{}/audit?customer=anna", rig.pages));
    for command in ["link.add", "link.revoke", "suppression.add", "key.rotate"] {
        rig.site.wait_for_event(command, |event| event["command"] == command && event["actor"] == "operator anna");
        browser.wait(command, || {
            browser.reload();
            browser.text().contains(command).then_some(())
        });
    }
}

#[test]
fn an_operator_ends_its_other_sessions_and_keeps_its_own() {
    let rig = Rig::start();
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    let mut elsewhere = rig.client();
    elsewhere.log_in("anna", OPERATORS_PASSWORD);
    let somebody = rig.logged_in("bo", "read");
    assert_eq!(elsewhere.get("/").status, 200);
    browser.go(&format!("http://{}/account", rig.pages));
    browser.click("form:has(input[value='others']) button");
    browser.wait("one session is left", || browser.all("input[value='others']").is_empty().then_some(()));
    assert!(browser.text().contains("this one"), "{}", browser.text());
    assert_eq!((elsewhere.get("/").status, somebody.get("/").status), (303, 200), "the others of this operator only");
    browser.go(&format!("http://{}/", rig.pages));
    browser.wait_for_text("What needs a person");
}

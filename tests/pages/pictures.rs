//! Pictures of every page, for the documentation: `docs/screenshots/make` runs this.

use std::path::PathBuf;

use crate::rig::{self, BEFORE, Rig, SPF_BEFORE};
use crate::support::browser::{Browser, Setup};
use crate::{domains, reports};

#[test]
#[ignore = "writes pictures: docs/screenshots/make runs it"]
fn pictures_of_the_customers_page() {
    let folder = PathBuf::from(std::env::var("POSTBUD_SCREENSHOTS").expect("docs/screenshots/make says where to"));
    let mut rig = Rig::start(BEFORE);
    let link = rig.link("test-as", &[]);
    let desktop = Setup { size: (1000, 1100), ..Setup::default() };
    let phone = Setup { size: (390, 844), ..Setup::default() };
    let dark = Setup { size: (1000, 1100), dark: true, ..Setup::default() };
    let english = Setup { size: (1000, 1100), languages: "en", ..Setup::default() };
    let take = |setup: Setup, url: &str, wanted: &str, name: &str, at: &str| {
        let browser = Browser::start(setup).expect("Chromium is installed");
        browser.go(url);
        browser.wait_for_text(wanted);
        browser.run(&format!("document.querySelector('{at}').scrollIntoView()"));
        browser.picture(&folder.join(format!("{name}.png")), false);
        if std::env::var_os("POSTBUD_WHOLE").is_some() {
            browser.picture(&folder.join(format!("{name}-whole.png")), true);
        }
        browser
    };
    take(desktop, &link, "1. SPF", "customer-missing", "body");
    take(desktop, &link, "1. SPF", "customer-record", "#spf");
    take(phone, &link, "1. SPF", "customer-phone", "body");
    take(dark, &link, "1. SPF", "customer-dark", "body");
    take(english, &rig.link("test-as", &["--language", "en"]), "1. SPF", "customer-english", "body");
    take(
        desktop,
        &format!("{}/link/nothing", &link[..link.find("/link/").unwrap()]),
        "findes ikke",
        "customer-no-link",
        "body",
    );
    let browser = take(desktop, &link, "1. SPF", "customer-server", "#server");
    browser.click("#server details summary");
    browser.fill("#host", "localhost");
    browser.fill("#port", "9");
    browser.click("#login-no");
    browser.click("#confirm");
    browser.click("form[action$=server] button");
    browser.find("#trial");
    browser.run("document.querySelector('#server').scrollIntoView()");
    browser.picture(&folder.join("customer-server.png"), false);
    let wanted = rig.wanted();
    let after = BEFORE.replace(SPF_BEFORE, "") + &wanted;
    rig.publish(&after);
    browser.go(&link);
    rig.check_until(&browser, "all is in order", |page| page.contains("Alt er i orden"));
    browser.run("scrollTo(0, 0)");
    browser.picture(&folder.join("customer-done.png"), false);

    let rig = Rig::with(&rig::Setup { second: Some(("venner.dk", domains::SECOND)), ..rig::Setup::default() });
    let second = format!("{}/venner.dk", rig.link("test-as", &[]));
    take(desktop, &second, "Sådan gør I i jeres DNS-panel", "customer-domains", "nav.pages");

    let rig = reports::rig();
    reports::import(&rig);
    let link = rig.link("test-as", &[]);
    let wanted = "Det viser DMARC-rapporterne";
    take(desktop, &link, wanted, "customer-reports", "#reports");
    take(dark, &link, wanted, "customer-reports-dark", "#reports");
    take(phone, &link, wanted, "customer-reports-phone", "#reports");
}

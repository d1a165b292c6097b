//! Everything that the page may say instead of what was asked for, and what is sent on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::rig::{BEFORE, Rig, SPF_BEFORE, path};
use crate::support::browser::Setup;

/// Lets a link expire: nobody waits for a day.
fn expire(rig: &Rig, link: &str) {
    let listed = rig.site.operate(&["customer", "link", "list", "test-as", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let newest: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let database = rusqlite::Connection::open(rig.site.path("state/postbud.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let changed = database.execute("UPDATE link SET expires = 1 WHERE id = ?1", [newest["id"].as_str().unwrap()]);
    assert_eq!(changed.unwrap(), 1, "{link}");
}

#[test]
fn every_problem_is_a_page_that_everybody_can_read() {
    let rig = Rig::start(BEFORE);
    let usual = Setup::default();
    let Some(browser) = rig.browser("every_problem_is_a_page_that_everybody_can_read", usual) else { return };
    browser.go(&format!("http://{}/link/nothing", rig.pages));
    browser.wait_for_text("Siden findes ikke");
    browser.is_sound("no such link");
    browser.is_walked_through_by_keyboard("no such link");

    let expired = rig.link("test-as", &["--days", "1"]);
    browser.go(&expired);
    browser.find("#spf");
    expire(&rig, &expired);
    browser.reload();
    browser.wait_for_text("Linket er udløbet");
    assert!(browser.text().contains("Det, I allerede har oprettet, gælder stadig."), "{}", browser.text());
    browser.is_sound("an expired link");
    // The page that was open cannot do anything any more either.
    assert!(rig.get(&format!("{}/test.dk/events", path(&expired)), "").starts_with("HTTP/1.1 410"));

    let revoked = rig.link("test-as", &[]);
    browser.go(&revoked);
    browser.find("#spf");
    let listed = rig.site.operate(&["customer", "link", "list", "test-as", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let ids = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let id = ids.into_iter().find(|link| link["expired"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    assert!(rig.site.operate(&["customer", "link", "revoke", &id]).status.success());
    browser.click("form[action$=check] button");
    browser.wait_for_text("Siden findes ikke");
    browser.is_sound("a revoked link");

    // A form of before a restart, or of another page.
    let link = rig.link("test-as", &[]);
    browser.go(&link);
    browser.find("form[action$=check] button");
    browser.run("document.querySelector('form[action$=check] input[name=form]').value = '0'.repeat(32)");
    browser.click("form[action$=check] button");
    browser.wait_for_text("Siden var blevet for gammel");
    browser.is_sound("a stale form");

    let own = format!("{}/test.dk", path(&link));
    let (is_shown, until) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(60));
    std::thread::scope(|scope| {
        // The link gets a request back every second, so they are used up until the browser has met the limit.
        scope.spawn(|| {
            while !is_shown.load(Ordering::Relaxed) && Instant::now() < until {
                rig.get(&own, "");
            }
        });
        while !browser.text().contains("Vent et øjeblik") && Instant::now() < until {
            browser.go(&format!("{link}/test.dk"));
        }
        is_shown.store(true, Ordering::Relaxed);
    });
    browser.wait_for_text("Vent et øjeblik");
    browser.is_sound("too many requests");
}

#[test]
fn without_scripts_and_in_english_an_expired_link_says_what_to_do() {
    let rig = Rig::start(BEFORE);
    let setup = Setup { scripts: false, languages: "en", ..Setup::default() };
    let Some(browser) = rig.browser("without_scripts_an_expired_link_says_what_to_do", setup) else { return };
    let link = rig.link("test-as", &[]);
    expire(&rig, &link);
    browser.go(&link);
    browser.wait_for_text("The link has expired");
    assert!(browser.text().contains("support@webcrm.com"), "{}", browser.text());
}

#[test]
fn what_is_sent_on_is_only_what_is_missing() {
    let mut rig = Rig::start(BEFORE);
    let usual = Setup::default();
    let Some(browser) = rig.browser("what_is_sent_on_is_only_what_is_missing", usual) else { return };
    browser.go(&rig.link("test-as", &[]));
    browser.find("#forward");
    let message = || {
        let text = browser.run("return document.getElementById('message').textContent");
        text.as_str().unwrap().to_owned()
    };
    for wanted in ["Hej", "test.dk", "Test & Søn A/S", "include:spf.webcrm.com", "postbud1._domainkey", "_dmarc"] {
        assert!(message().contains(wanted), "{wanted}: {}", message());
    }
    assert!(!message().contains("/link/"), "the link is the customer's own");
    let mail = browser.run("return document.querySelector('#forward a.button').href");
    let mail = mail.as_str().unwrap();
    assert!(mail.starts_with("mailto:?subject=DNS-records%20til%20test.dk&body="), "{mail}");
    browser.click("#forward > .copy button.copier");
    browser.wait_for_text("Kopieret");
    let lines = || {
        let text = browser.run("return document.getElementById('zone-lines').textContent");
        text.as_str().unwrap().to_owned()
    };
    let printed = rig.site.operate(&["domain", "records", "test-as", "--zone", "--lang", "da"]);
    assert_eq!(
        lines().trim(),
        String::from_utf8(printed.stdout).unwrap().trim(),
        "the same lines as the command prints"
    );

    // Whoever runs the DNS begins with SPF.
    let wanted = rig.wanted();
    let spf = wanted.lines().find(|line| line.starts_with("test.dk.") && line.contains("v=spf1")).unwrap();
    rig.publish(&(BEFORE.replace(SPF_BEFORE, "") + spf + "\n"));
    rig.check_until(&browser, "less is missing", |_| !message().contains("include:spf.webcrm.com"));
    assert!(message().contains("postbud1._domainkey"), "{}", message());
    rig.publish(&(BEFORE.replace(SPF_BEFORE, "") + &wanted));
    rig.check_until(&browser, "all is in order", |page| page.contains("Alt er i orden"));
    assert!(browser.all("#forward").is_empty(), "there is nothing left to send");
}

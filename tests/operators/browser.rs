//! Operators at work in a real browser.

use std::path::PathBuf;
use std::time::Duration;

use crate::rig::{OPERATORS_PASSWORD, Rig};
use crate::support::browser::{Browser, Setup};
use crate::support::script::{Server, Step, hear, say, takes_one};
use crate::support::skip::skip;

/// A browser, logged in as an operator who may do everything.
pub fn browser(rig: &Rig, setup: Setup) -> Option<Browser> {
    let Some(browser) = Browser::start(setup) else {
        skip("operators in a browser", "chromium or chromedriver is not installed");
        return None;
    };
    rig.add("anna", "admin");
    browser.go(&format!("http://{}/", rig.pages));
    browser.fill("#name", "anna");
    browser.fill("#password", OPERATORS_PASSWORD);
    browser.click("form[action='/login'] button");
    browser.wait_for_text("What needs a person");
    Some(browser)
}

/// Takes one message from the relay.
pub fn takes() -> Vec<Step> {
    let mut script = vec![say("220 mail.anna.example ESMTP"), hear("EHLO"), say("250 mail.anna.example")];
    script.extend(takes_one());
    script
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_a_dead_server_by_its_alert_and_sees_it_cured() {
    let rig = Rig::start();
    let id = rig.submit("news@anna.example", "ole@x.example", "<script>alert(1)</script>");
    rig.site.wait_for_event("the alert", |event| event["event"] == "alert" && event["route"] == "own-server.anna");
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    browser.wait_for_text("Takes mail, but not all of it leaves");
    browser.is_sound("the overview in trouble");
    browser.click("#state a[href='/alerts']");
    browser.wait_for_text("route:own-server.anna");
    browser.fill("input[name='note']", "Anna calls them");
    browser.is_sound("an open alert");
    browser.click("form[action='/alerts'] button");
    browser.wait_for_text("acknowledged it at");
    browser.wait_for_text("Anna calls them");
    browser.click("main a[href='/routes/own-server.anna']");
    browser.wait_for_text("Its mail in the queue");
    browser.is_sound("a route in trouble");
    // The page of the mail tells every reply, and what it says cannot become markup.
    browser.go(&format!("http://{}/queue/{id}", rig.pages));
    browser.wait_for_text("<script>alert(1)</script>");
    browser.is_sound("one message");
    browser.go(&format!("http://{}/", rig.pages));
    // Their server is back. The overview turns by itself, without a reload.
    let _server = Server::start_at(rig.server_of_anna, vec![takes(), takes(), takes()]).await;
    let other = rig.logged_in("bo", "operate");
    let path = "/routes/own-server.anna";
    // The relay may have tried again by itself meanwhile.
    if other.get(path).body.contains("id=\"resume\"") {
        let resumed = other.send(path, "id=\"resume\"", path, &[("do", "resume")]);
        assert_eq!(resumed.status, 303, "{}", resumed.body);
    }
    browser.wait("the cure", || browser.text().contains("Takes mail and sends it").then_some(()));
    rig.site.wait_for_event("the end", |event| event["event"] == "alert" && event["cured"] == true);
    browser.go(&format!("http://{}/trace?queue_id={id}", rig.pages));
    browser.wait_for_text("relayed");
    browser.go(&format!("http://{}/alerts", rig.pages));
    browser.wait("the end in the history", || {
        browser.reload();
        browser.text().contains("Over: ").then_some(())
    });
    browser.is_sound("alerts that ended");
}

#[test]
fn without_scripts_and_on_a_phone_messages_are_held_and_let_go() {
    let rig = Rig::start();
    let id = rig.submit("news@anna.example", "ole@x.example", "hello");
    let setup = Setup { size: (390, 844), scripts: false, languages: "en", dark: true };
    let Some(browser) = browser(&rig, setup) else { return };
    browser.go(&format!("http://{}/queue", rig.pages));
    browser.click(&format!("input[name='id-{id}']"));
    browser.click("button[value='hold']");
    browser.wait_for_text("Hold 1 message?");
    browser.fill("#reason", "wrong list");
    browser.click("form[action='/queue/do'] button");
    browser.wait_for_text("1 message changed");
    browser.go(&format!("http://{}/queue?state=held", rig.pages));
    browser.wait_for_text("wrong list");
    browser.click(&format!("input[name='id-{id}']"));
    browser.click("button[value='release']");
    browser.click("form[action='/queue/do'] button");
    browser.wait_for_text("1 message changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_an_operator_goes_from_the_alert_to_the_cure() {
    let rig = Rig::start();
    let id = rig.submit("news@anna.example", "ole@x.example", "hello");
    rig.site.wait_for_event("the alert", |event| event["event"] == "alert" && event["route"] == "own-server.anna");
    let Some(browser) = browser(&rig, Setup { scripts: false, languages: "en", ..Setup::default() }) else { return };
    browser.click("#state a[href='/alerts']");
    browser.fill("input[name='note']", "they repair it");
    browser.click("form[action='/alerts'] button");
    browser.wait_for_text("they repair it");
    let _server = Server::start_at(rig.server_of_anna, vec![takes(), takes(), takes()]).await;
    browser.click("main a[href='/routes/own-server.anna']");
    browser.wait("a trial of the relay's or of ours", || {
        browser.reload();
        if !browser.all("button[value='resume']").is_empty() {
            browser.click("button[value='resume']");
        }
        rig.site.events().iter().any(|event| event["event"] == "alert" && event["cured"] == true).then_some(())
    });
    browser.go(&format!("http://{}/", rig.pages));
    browser.wait("the cure", || {
        browser.reload();
        browser.text().contains("Takes mail and sends it").then_some(())
    });
    browser.go(&format!("http://{}/trace?queue_id={id}", rig.pages));
    browser.wait_for_text("relayed");
}

#[test]
fn every_page_can_be_used_by_everybody() {
    let rig = Rig::start();
    let usual = Setup { languages: "en", ..Setup::default() };
    let Some(stranger) = Browser::start(usual) else {
        return skip("operators in a browser", "chromium or chromedriver is not installed");
    };
    let at = |browser: &Browser, path: &str| browser.go(&format!("http://{}{path}", rig.pages));
    at(&stranger, "/");
    stranger.is_sound("the login");
    stranger.is_walked_through_by_keyboard("the login");
    stranger.fill("#name", "anna");
    stranger.fill("#password", "no password of hers");
    stranger.click("form[action='/login'] button");
    stranger.find("main [role=alert]");
    stranger.is_sound("a wrong login");
    drop(stranger);
    let Some(browser) = browser(&rig, usual) else { return };
    // Nothing has happened yet.
    let empty = [
        ("/", "Nothing."),
        ("/alerts", "No alert is known."),
        ("/queue", "Queue"),
        ("/customers", "anna"),
        ("/routes", "own-server.anna"),
        ("/routes/microsoft365", "No route logs in"),
        ("/trace", "Trace"),
        ("/trace?customer=anna", "No mail fits"),
        ("/suppression?customer=anna", "Suppression"),
        ("/audit", "operator.login"),
        ("/account", "Your role is"),
        ("/customers/anna", "Nothing of it waits."),
        ("/customers/anna/dmarc", "DMARC reports"),
        ("/customers/anna/domains/anna.example", "anna.example"),
        ("/nothing", "There is no such page"),
        ("/customers/nobody", "It is not there"),
        ("/routes/nothing", "It is not there"),
    ];
    for (path, shows) in empty {
        at(&browser, path);
        browser.wait_for_text(shows);
        browser.is_sound(path);
    }
    let id = rig.submit("news@anna.example", "ole@x.example", "hello");
    rig.site.wait_for_event("the alert", |event| event["event"] == "alert" && event["route"] == "own-server.anna");
    for path in [
        "/",
        "/alerts",
        "/queue",
        &format!("/queue/{id}"),
        "/trace?customer=anna",
        "/routes/own-server.anna",
        "/customers/anna",
    ] {
        at(&browser, path);
        browser.find("main h1");
        browser.is_sound(path);
        // What is live may be drawn anew between two keys.
        if path != "/" {
            browser.is_walked_through_by_keyboard(path);
        }
    }
    at(&browser, "/queue");
    browser.click("#all");
    browser.click("button[value='bounce']");
    browser.wait_for_text("Bounce 1 message?");
    browser.is_sound("what a command will hit");
    browser.fill("#reason", "nobody is there");
    browser.click("form[action='/queue/do'] button");
    browser.wait_for_text("1 message changed");
    browser.is_sound("what a command did");
}

/// The pictures in the documentation besides one of each page on a desktop. `POSTBUD_WHOLE` makes all of them on a phone and in the dark.
const ALSO: [&str; 2] = ["overview-phone", "overview-dark"];

/// Pictures of every page, for the documentation and for whoever changes one.
#[test]
#[ignore = "writes pictures: docs/screenshots/make runs it"]
fn pictures_of_every_page() {
    let folder = PathBuf::from(std::env::var("POSTBUD_SCREENSHOTS").expect("docs/screenshots/make says where to"));
    let all = std::env::var_os("POSTBUD_WHOLE").is_some();
    let take = |browser: &Browser, name: &str, look: &str| {
        let name = format!("{name}{look}");
        if all || look.is_empty() || ALSO.contains(&name.as_str()) {
            browser.picture(&folder.join(format!("operators-{name}.png")), true);
        }
    };
    let rig = Rig::start();
    for n in 0..7 {
        rig.submit("news@anna.example", &format!("recipient{n}@customers-of-anna.example"), "Autumn news");
    }
    rig.submit("news@bo.example", "ole@y.example", "An offer");
    rig.site.wait_for_event("the alert", |event| event["event"] == "alert" && event["route"] == "own-server.anna");
    let held = rig.logged_in("carl", "admin");
    let _ = held.send(
        "/customers/bo",
        "id=\"pause\"",
        "/customers/bo",
        &[("do", "pause"), ("reason", "they asked us to wait")],
    );
    for (address, note) in [("ole@x.example", "asked us by phone"), ("info@y.example", "no such mailbox any more")] {
        let added = rig.site.operate(&["suppression", "add", "anna", address, "--reason", note]);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }
    std::thread::sleep(Duration::from_secs(6));
    let pages = [
        ("overview", "/"),
        ("alerts", "/alerts"),
        ("queue", "/queue"),
        ("customers", "/customers"),
        ("customer", "/customers/anna"),
        ("records", "/customers/anna/domains/anna.example?wait=1"),
        ("routes", "/routes"),
        ("route", "/routes/own-server.anna"),
        ("trace", "/trace?customer=anna"),
        ("suppression", "/suppression?customer=anna"),
        ("audit", "/audit"),
        ("account", "/account"),
    ];
    for (look, size, dark) in [("", (1280, 900), false), ("-phone", (390, 844), false), ("-dark", (1280, 900), true)] {
        let setup = Setup { size, scripts: true, languages: "en", dark };
        if look.is_empty() {
            rig.add("anna", "admin");
        }
        let Some(browser) = Browser::start(setup) else { return };
        browser.go(&format!("http://{}/login", rig.pages));
        take(&browser, "login", look);
        browser.fill("#name", "anna");
        browser.fill("#password", OPERATORS_PASSWORD);
        browser.click("form[action='/login'] button");
        browser.wait_for_text("What needs a person");
        for (name, path) in pages {
            browser.go(&format!("http://{}{path}", rig.pages));
            take(&browser, name, look);
        }
        browser.go(&format!("http://{}/queue", rig.pages));
        browser.click("#all");
        browser.click("button[value='bounce']");
        // The button before has the same word.
        browser.find("form[action='/queue/do']");
        take(&browser, "confirm", look);
    }
}

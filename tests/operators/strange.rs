//! Names that no page is made for, more domains than anybody reads, and a message to hundreds: everything is found, and nothing leaves the
//! screen.

use std::fs;

use crate::in_browser::browser;
use crate::rig::Rig;
use crate::support::browser::Setup;
use crate::support::client::{self, Client};
use crate::support::relay::{PASSWORD, USERNAME};

/// The recipients of one message.
const RECIPIENTS: usize = 500;

#[test]
fn many_domains_many_recipients_and_names_of_any_length_stay_on_the_page() {
    let (rig, _) = Rig::with_customers_pages();
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    let label = "w".repeat(63);
    let long = format!("{label}.{label}.{label}.example");
    let name = format!("{0}<b>\u{5e9}\u{5dc}\u{5d5}\u{5dd}&amp;{0}", "W".repeat(120));
    let domains: Vec<String> =
        (0..120).map(|n| format!("\"d{n:03}.example\"")).chain([format!("\"{long}\"")]).collect();
    let file = fs::read_to_string(rig.site.customer_file("anna")).unwrap();
    let text = file.replace("name = \"anna\"", &format!("name = \"{name}\""));
    let text = text.replace("[\"anna.example\"]", &format!("[{}]", domains.join(", ")));
    assert_ne!(text, file);
    fs::write(rig.site.customer_file("many"), text).unwrap();
    rig.relay.signal("HUP");
    rig.site.wait_for_event("reloaded", |event| {
        event["event"] == "audit" && event["detail"].as_str().is_some_and(|detail| detail.contains("reloaded"))
    });
    let to: Vec<String> = (0..RECIPIENTS).map(|n| format!("{}{n}@{label}.{label}.example", "v".repeat(50))).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mut submitter = Client::login(rig.site.smtp, USERNAME, PASSWORD).expect("the login is taken");
    let content = format!("From: <x@{long}>\r\nTo: <{}>\r\nSubject: {}\r\n\r\nhello\r\n", to[0], "S".repeat(900));
    let reply = submitter.send(&format!("x@{long}"), &to, content.as_bytes()).expect("the relay answers");
    let id = client::queue_id(&reply).to_owned();
    rig.site.wait_for_event("the alert", |event| event["event"] == "alert" && event["route"] == "own-server.many");

    let look = |path: &str, shows: &str| {
        browser.go(&format!("http://{}{path}", rig.pages));
        browser.wait_for_text(shows);
        browser.is_sound(path);
    };
    look("/", "Takes mail, but not all of it leaves");
    look("/alerts", "own-server");
    look("/customers", "<b>\u{5e9}\u{5dc}\u{5d5}\u{5dd}&amp;");
    look("/queue", &label);
    look(&format!("/queue/{id}"), "500 of 500 wait");
    look("/customers/many", "50 of its 121 domains.");
    assert_eq!(browser.all("main section h3").len(), 50, "{}", browser.text());
    browser.fill("input[name=domain]", "D07");
    browser.click("form[role=search] button");
    browser.wait_for_text("10 of its 121 domains.");
    assert!(browser.text().contains("d079.example") && !browser.text().contains("d080.example"), "{}", browser.text());
    look("/customers/many?domain=www", &long);
    look("/customers/many/dmarc?domain=WWW", &long);
    look("/customers/many/dmarc", "At most 20 of its 121 domains are shown.");
    browser.find("#dmarc section");
    assert_eq!(browser.all("#dmarc section").len(), 20, "{}", browser.text());

    // The customer's own page names the first ones, and finds the others.
    let made = rig.site.operate(&["customer", "link", "many", "--language", "en", "--json"]);
    let added: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    browser.go(added["url"].as_str().unwrap());
    browser.wait_for_text("These are 50 of your 121 domains.");
    browser.find("#spf");
    browser.is_sound("a customer with many domains");
    browser.fill("input[name=find]", "WWW");
    browser.click("form[role=search] button");
    browser.wait_for_text("These are 2 of your 121 domains.");
    browser.click(&format!("nav.pages a[href$='{long}']"));
    browser.find("#spf");
    browser.is_sound("a domain of any length");
}

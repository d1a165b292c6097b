//! A customer's program that keeps the relay busy with itself: what it causes does not push out what is known of others.

use std::fs;
use std::time::Duration;

use crate::rounds;
use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

/// One customer's share of the log in octets.
const SHARE: u64 = 64 << 10;

#[test]
fn recipients_that_are_refused_again_and_again_do_not_fill_the_log() {
    let others = Capture::start();
    let route = || plain_route(others.address);
    let site = Site::new(&[
        Customer { id: "a", domain: "a.example", route: route() },
        Customer { id: "b", domain: "b.example", route: route() },
    ]);
    let config = fs::read_to_string(site.config()).unwrap();
    let config = config.replace("[events]\n", &format!("[events]\ncustomer_share = \"{SHARE} B\"\n"));
    fs::write(site.config(), config).unwrap();
    // In test mode, this recipient is on the suppression list.
    let file = fs::read_to_string(site.customer_file("a")).unwrap();
    fs::write(site.customer_file("a"), format!("test = true\n{file}")).unwrap();
    let relay = site.start();
    for _ in 0..rounds(3, 30) {
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        client.say("MAIL FROM:<x@a.example>").unwrap();
        client.push(&b"RCPT TO:<suppressed@test.postbud.invalid>\r\n".repeat(900)).unwrap();
        for _ in 0..900 {
            let heard = client.hear().unwrap();
            assert!(heard.starts_with("550 5.7.1"), "{heard}");
        }
    }
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let heard = client.send("x@b.example", &["c@example.net"], &message("x@b.example", "c@example.net", "theirs"));
    let id = queue_id(&heard.unwrap()).to_owned();
    others.wait_for(1, Duration::from_secs(20));
    site.wait_for_event("the others' mail is told", |event| event["queue_id"] == id.as_str());
    let omitted = site.wait_for_event("what is left out is told", |event| event["event"] == "omitted");
    assert_eq!(omitted["customer"], "a");
    let octets = fs::metadata(site.path("state/events.jsonl")).unwrap().len();
    assert!(octets < SHARE, "{octets}");
    relay.stop();
}

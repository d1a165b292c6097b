//! SIGHUP: customers, submitters and certificates change at once; a mistake changes nothing.

use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

fn send(client: &mut Client, domain: &str, subject: &str) -> String {
    let from = format!("a@{domain}");
    client.send(&from, &["b@example.net"], &message(&from, "b@example.net", subject)).unwrap()
}

#[test]
fn a_new_customer_sends_after_a_reload_and_a_mistake_keeps_what_ran() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "old", domain: "old.example", route: plain_route(server.address) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    assert!(send(&mut client, "new.example", "early").starts_with("550"));
    site.add(&Customer { id: "new", domain: "new.example", route: plain_route(server.address) });
    relay.signal("HUP");
    site.wait_for_event("reloaded", |event| {
        event["event"] == "operator" && event["detail"].as_str().is_some_and(|d| d.contains("reload"))
    });
    queue_id(&send(&mut client, "new.example", "now"));

    std::fs::write(site.customer_file("old"), "name = 7\n").unwrap();
    relay.signal("HUP");
    let alert = site.wait_for_event("reload refused", |event| event["event"] == "alert");
    assert!(alert["detail"].as_str().unwrap().contains("old.toml"), "{alert}");
    queue_id(&send(&mut client, "old.example", "still"));
    server.wait_for(2, Duration::from_secs(20));
    relay.stop();
}

#[test]
fn queued_mail_of_a_removed_customer_is_kept_with_an_alert_and_leaves_when_it_is_back() {
    let later = free_port();
    let site = Site::with(
        &[Customer { id: "gone", domain: "gone.example", route: plain_route(later) }],
        "[retry]\nfirst = \"1s\"\n",
    );
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let id = queue_id(&send(&mut client, "gone.example", "kept")).to_owned();
    site.wait_for_event("deferred", |event| event["event"] == "deferred");
    let file = std::fs::read(site.customer_file("gone")).unwrap();
    std::fs::remove_file(site.customer_file("gone")).unwrap();
    relay.signal("HUP");
    site.wait_for_event("kept", |event| event["event"] == "alert" && event["customer"] == "gone");
    assert!(send(&mut client, "gone.example", "refused").starts_with("550"));
    let listed = String::from_utf8(site.operate(&["queue", "list", "--json"]).stdout).unwrap();
    assert!(listed.contains(&id), "{listed}");

    let server = Capture::scripted(&later.to_string(), Box::new(|_| None));
    std::fs::write(site.customer_file("gone"), file).unwrap();
    relay.signal("HUP");
    server.wait_for(1, Duration::from_secs(40));
    relay.stop();
}

#[test]
fn deliveries_under_way_take_the_new_route_with_the_next_message() {
    let (old, new) = (Capture::start(), Capture::start());
    old.answer_after(Duration::from_millis(500));
    let site = Site::new(&[Customer { id: "busy", domain: "busy.example", route: plain_route(old.address) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    const MESSAGES: usize = 80;
    for n in 0..MESSAGES {
        queue_id(&send(&mut client, "busy.example", &format!("message {n}")));
    }
    old.wait_for(1, Duration::from_secs(20));
    site.add(&Customer { id: "busy", domain: "busy.example", route: plain_route(new.address) });
    relay.signal("HUP");
    new.wait_for(1, Duration::from_secs(20));
    let left = MESSAGES - old.received().len();
    assert!(left > 0, "the old server was given all of it");
    relay.stop();
}

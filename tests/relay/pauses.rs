//! A customer's caps and pauses: paused mail is accepted and waits, over restarts too, and continues when it may.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, get, plain_route};

const FROM: &str = "news@acme.example";

/// A server that knows no `gone…@`, and a relay with a customer whose `[limits]` says this.
fn site(limits: &str) -> (Capture, Site) {
    let unknown = |line: &str| {
        let gone = line.to_ascii_uppercase().starts_with("RCPT TO:<GONE");
        gone.then(|| "550 5.1.1 no such user here".to_owned())
    };
    let server = Capture::scripted("127.0.0.1:0", Box::new(unknown));
    let route = format!("{}[limits]\n{limits}", plain_route(server.address));
    let site = Site::new(&[Customer { id: "acme", domain: "acme.example", route }]);
    (server, site)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn customer(site: &Site, arguments: &[&str]) -> String {
    let output = site.operate(&[&["customer"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn send(site: &Site, to: &str, subject: &str, bulk: bool) -> String {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut content = if bulk { b"Precedence: bulk\r\n".to_vec() } else { Vec::new() };
    content.extend(message(FROM, to, subject));
    queue_id(&client.send(FROM, &[to], &content).unwrap()).to_owned()
}

fn wait_for(site: &Site, event: &str, id: &str) -> Value {
    site.wait_for_event(event, |told| told["event"] == event && told["queue_id"] == id)
}

/// The queue ids of what is stopped, once there are so many.
fn stopped(site: &Site, count: usize) -> String {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let listed = text(&site.operate(&["queue", "list", "--state", "stopped", "--json"]));
        if listed.lines().count() == count {
            return listed;
        }
        assert!(Instant::now() < patience, "wanted {count}: {listed}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn paused(site: &Site) -> Vec<Value> {
    let listed = customer(site, &["paused", "--json"]);
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn mail_over_a_cap_waits_and_an_operator_can_let_it_go_on() {
    let (_server, site) = site("messages_per_day = 3\n");
    let relay = site.start();
    let ids: Vec<String> = (0..5).map(|n| send(&site, "anna@example.net", &format!("m{n}"), false)).collect();
    let event = site.wait_for_event("paused", |told| told["event"] == "paused");
    assert_eq!((&event["customer"], &event["reason"]), (&"acme".into(), &"cap".into()));
    let relayed = || site.events().into_iter().filter(|told| told["event"] == "relayed").count();
    let listed = stopped(&site, 2);
    assert!(listed.contains("its 3 messages a day are used up"), "{listed}");
    // The log tells of a mail soon after it has left.
    let patience = Instant::now() + Duration::from_secs(20);
    while relayed() < 3 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(relayed(), 3, "{ids:?}");
    let found = paused(&site);
    assert_eq!((found.len(), &found[0]["cause"]), (1, &"cap".into()));
    assert!(found[0]["until"].as_str().unwrap().ends_with("T00:00:00.000Z"), "{found:?}");

    // The pause and the count outlive a restart.
    relay.stop();
    let relay = site.start();
    let late = send(&site, "anna@example.net", "late", false);
    assert!(stopped(&site, 3).contains(&late));
    assert_eq!(relayed(), 3);
    customer(&site, &["unpause", "acme"]);
    for id in ids.iter().chain([&late]) {
        wait_for(&site, "relayed", id);
    }
    assert!(paused(&site).is_empty());
    relay.stop();
    let events = site.events();
    assert!(events.iter().any(|told| told["event"] == "resumed" && told["customer"] == "acme"));
    assert!(events.iter().any(|told| told["command"] == "customer.unpause"));
    assert!(!events.iter().any(|told| told["event"] == "bounced" || told["event"] == "expired"));
}

#[test]
fn an_operator_pauses_a_customer_over_a_restart() {
    let (_server, site) = site("");
    let relay = site.start();
    customer(&site, &["pause", "acme", "--reason", "bought addresses", "--spare-single"]);
    let bulk = send(&site, "anna@example.net", "bulk", true);
    let single = send(&site, "anna@example.net", "single", false);
    wait_for(&site, "relayed", &single);
    assert!(stopped(&site, 1).contains("bought addresses"));
    customer(&site, &["pause", "acme", "--reason", "all of it"]);
    let second = send(&site, "anna@example.net", "second", false);
    assert!(stopped(&site, 2).contains("all of it"));
    relay.stop();
    let relay = site.start();
    assert!(stopped(&site, 2).contains(&second));
    assert_eq!(paused(&site)[0]["reason"], "all of it");
    let metrics = get(site.web, "/metrics");
    assert!(metrics.contains("postbud_"), "{metrics}");
    customer(&site, &["unpause", "acme"]);
    wait_for(&site, "relayed", &bulk);
    wait_for(&site, "relayed", &second);
    for refused in
        [&["customer", "unpause", "acme"][..], &["customer", "pause", "nobody"], &["customer", "unpause", "nobody"]]
    {
        let output = site.operate(refused);
        assert!(!output.status.success(), "{}", text(&output));
    }
    relay.stop();
}

#[test]
fn a_customer_with_many_bounces_is_paused_and_an_alert_is_raised() {
    let (_server, site) = site("on_bounces = \"pause\"\nbounce_percent = 50\nrate_volume = 4\n");
    let relay = site.start();
    for n in 0..4 {
        let id = send(&site, &format!("gone{n}@example.net"), &format!("m{n}"), false);
        wait_for(&site, "bounced", &id);
    }
    let alert = site.wait_for_event("alert", |told| told["event"] == "alert" && told["subject"] == "volume:acme");
    let detail = alert["detail"].as_str().unwrap();
    assert!(detail.contains("4 of 4 recipients") && detail.contains("postbud customer unpause acme"), "{detail}");
    let waiting = send(&site, "anna@example.net", "waits", false);
    assert!(stopped(&site, 1).contains(&waiting));
    assert_eq!(paused(&site)[0]["cause"], "bounces");
    customer(&site, &["unpause", "acme"]);
    wait_for(&site, "relayed", &waiting);
    site.wait_for_event("cured", |told| told["subject"] == "volume:acme" && told["cured"] == true);
    // What was counted before a person looked does not pause it again.
    let id = send(&site, "gone9@example.net", "one more", false);
    wait_for(&site, "bounced", &id);
    assert!(paused(&site).is_empty());
    relay.stop();
}

#[test]
fn a_volume_that_leaps_is_told_and_goes_on_where_nothing_else_is_wanted() {
    let (_server, site) = site("leap_volume = 3\n");
    let relay = site.start();
    for n in 0..4 {
        let id = send(&site, "anna@example.net", &format!("m{n}"), false);
        wait_for(&site, "relayed", &id);
    }
    let alert = site.wait_for_event("alert", |told| told["event"] == "alert" && told["subject"] == "volume:acme");
    assert!(alert["detail"].as_str().unwrap().contains("more than 3 messages"), "{alert}");
    assert!(paused(&site).is_empty());
    relay.stop();
}

#[test]
fn a_volume_that_leaps_pauses_the_customer_where_that_is_wanted() {
    let (_server, site) = site("on_leap = \"pause\"\nleap_volume = 3\n");
    let relay = site.start();
    for n in 0..4 {
        let id = send(&site, "anna@example.net", &format!("m{n}"), false);
        wait_for(&site, "relayed", &id);
    }
    let alert = site.wait_for_event("alert", |told| told["event"] == "alert" && told["subject"] == "volume:acme");
    let detail = alert["detail"].as_str().unwrap();
    assert!(detail.contains("more than 3 messages") && detail.contains("postbud customer unpause acme"), "{detail}");
    let told = site.wait_for_event("paused", |told| told["event"] == "paused");
    assert_eq!((&told["customer"], &told["reason"]), (&"acme".into(), &"leap".into()), "{told}");
    let waiting = send(&site, "anna@example.net", "waits", false);
    assert!(stopped(&site, 1).contains(&waiting));
    let found = paused(&site);
    assert_eq!((found.len(), &found[0]["cause"], &found[0]["until"]), (1, &"leap".into(), &Value::Null));
    // A person has looked: the rest of the hour is no leap again.
    customer(&site, &["unpause", "acme"]);
    wait_for(&site, "relayed", &waiting);
    let id = send(&site, "anna@example.net", "one more", false);
    wait_for(&site, "relayed", &id);
    assert!(paused(&site).is_empty());
    relay.stop();
}

#[test]
fn single_mail_that_is_spared_is_neither_counted_nor_stopped() {
    let (_server, site) = site("messages_per_day = 2\nspare_single = true\n");
    let relay = site.start();
    let relayed = |subject: &str, bulk: bool| {
        let id = send(&site, "anna@example.net", subject, bulk);
        wait_for(&site, "relayed", &id);
    };
    for n in 0..3 {
        relayed(&format!("single {n}"), false);
    }
    // Both of the day are left for bulk mail.
    relayed("bulk 0", true);
    relayed("bulk 1", true);
    assert!(paused(&site).is_empty());
    let waiting = send(&site, "anna@example.net", "bulk 2", true);
    assert!(stopped(&site, 1).contains(&waiting));
    let found = paused(&site);
    assert_eq!((&found[0]["cause"], &found[0]["spares_single"]), (&"cap".into(), &true.into()), "{found:?}");
    relayed("single 3", false);
    assert!(stopped(&site, 1).contains(&waiting));
    relay.stop();
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (lines, expected) in [
        ("messages_per_hour = 0\n", "limits.messages_per_hour"),
        ("on_leap = \"stop\"\n", "limits.on_leap"),
        ("leap_factor = 1\n", "limits.leap_factor"),
        ("bounce_percent = 101\n", "limits.bounce_percent"),
        ("spare_single = \"yes\"\n", "limits.spare_single"),
        ("per_hour = 7\n", "per_hour"),
    ] {
        let (_server, site) = site(lines);
        let checked = site.operate(&["check"]);
        let said = text(&checked);
        assert!(!checked.status.success() && said.contains(expected), "{lines}: {said}");
    }
}

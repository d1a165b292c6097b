//! Customers move from a tier to API keys of their own, one by one, while they send: no mail is lost or sent twice. A key that
//! Mailjet blocks stops its own customer's mail alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::capture::{Capture, Received};
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME};

/// A relay whose only tier leads to `tier`, with two customers on it. Their domains are registered by hand.
fn site(tier: &Capture) -> Site {
    let table = format!("[mailjet.starter]\n{}", login(tier, "tiers-key"));
    let site = Site::with(&[], &table);
    std::fs::write(site.path("config/mailjet.secret"), "secret").unwrap();
    for id in ["a", "b"] {
        let domain = format!("{id}.example");
        site.add(&Customer { id, domain: &domain, route: "via = \"mailjet\"\n".to_owned() });
    }
    site
}

fn login(server: &Capture, key: &str) -> String {
    format!(
        "host = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\napi = \"off\"\nusername = \"{key}\"\n\
         password_file = \"mailjet.secret\"\n",
        server.address.ip(),
        server.address.port(),
    )
}

/// Gives a customer a key of its own, and has the running relay read it.
fn give_key(site: &Site, relay: &Running, id: &str, server: &Capture) {
    give_key_with(site, relay, id, server, "");
}

/// The same with further lines behind the key's.
fn give_key_with(site: &Site, relay: &Running, id: &str, server: &Capture, more: &str) {
    let path = site.customer_file(id);
    let own = login(server, &format!("{id}s-key")).replace("mailjet.secret", "../mailjet.secret");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}mailjet_account = \"own\"\n{own}{more}")).unwrap();
    relay.signal("HUP");
    let listed = || String::from_utf8(site.operate(&["route", "list", "--json"]).stdout).unwrap();
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    while !listed().contains(&format!("mailjet-own.{id}")) {
        assert!(std::time::Instant::now() < patience, "{}\n{}", listed(), relay.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn send(site: &Site, id: &str, subject: &str) -> String {
    let from = format!("x@{id}.example");
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let heard = client.send(&from, &["c@example.net"], &message(&from, "c@example.net", subject));
    queue_id(&heard.unwrap()).to_owned()
}

fn subject(mail: &Received) -> String {
    let header = String::from_utf8_lossy(mail.header()).into_owned();
    header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned()
}

#[test]
fn customers_move_to_keys_of_their_own_one_by_one_and_no_mail_is_lost_or_doubled() {
    let (tier, own) = (Capture::start(), Capture::start());
    // Some of it is on its way while its customer moves.
    tier.answer_after(Duration::from_millis(100));
    let site = site(&tier);
    let relay = site.start();
    let mut sent = Vec::new();
    for number in 0..60 {
        match number {
            20 => give_key(&site, &relay, "a", &own),
            40 => give_key(&site, &relay, "b", &own),
            _ => {}
        }
        let id = if number % 2 == 0 { "a" } else { "b" };
        sent.push(format!("{id} {number}"));
        send(&site, id, &sent[number]);
    }
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while tier.received().len() + own.received().len() < sent.len() {
        assert!(std::time::Instant::now() < patience, "{}", relay.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    site.wait_for_event("the last one is told of", |_| {
        site.events().iter().filter(|event| event["event"] == "relayed").count() == sent.len()
    });
    relay.stop();
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for mail in tier.received().iter().chain(&own.received()) {
        *arrived.entry(subject(mail)).or_default() += 1;
    }
    assert!(sent.iter().all(|subject| arrived.get(subject) == Some(&1)), "{arrived:?}");
    let by_own: Vec<String> = own.received().iter().map(subject).collect();
    for id in ["a", "b"] {
        let (moved, last) = (if id == "a" { 20 } else { 40 }, if id == "a" { 58 } else { 59 });
        assert!(by_own.contains(&format!("{id} {last}")), "{by_own:?}");
        let early = by_own.iter().filter_map(|subject| subject.strip_prefix(id)?.trim().parse::<usize>().ok());
        // What waited when its customer moved may go with the new key; what came long before has gone with the old one.
        assert!(early.clone().all(|number| number + 20 > moved), "{id}: {by_own:?}");
    }
    assert!(site.events().iter().all(|event| event["event"] != "bounced"));
}

#[test]
fn a_key_that_mailjet_blocks_stops_its_own_customer_alone() {
    let tier = Capture::start();
    let own = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("AUTH").then(|| "535 5.7.8 account blocked, contact support".to_owned())),
    );
    let site = site(&tier);
    let relay = site.start();
    give_key(&site, &relay, "a", &own);
    let waits = send(&site, "a", "waits");
    site.wait_for_event("a's own route is suspended", |event| {
        event["event"] == "alert" && event.to_string().contains("mailjet-own.a")
    });
    for number in 0..5 {
        send(&site, "b", &format!("goes {number}"));
    }
    tier.wait_for(5, Duration::from_secs(20));
    let listed = String::from_utf8(site.operate(&["route", "list", "--json"]).stdout).unwrap();
    let state = |route: &str| -> serde_json::Value {
        let lines = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["route"] == route).map(|line| line["state"].clone()).next().unwrap()
    };
    assert_eq!(state("mailjet-own.a"), "suspended", "{listed}");
    assert_ne!(state("mailjet.starter"), "suspended", "{listed}");
    let queue = String::from_utf8(site.operate(&["queue", "list", "--json"]).stdout).unwrap();
    assert!(queue.contains(&waits) && queue.lines().count() == 1, "{queue}");
    relay.stop();
}

#[test]
fn a_key_of_ones_own_has_caps_of_its_own() {
    let (tier, own) = (Capture::start(), Capture::start());
    let site = site(&tier);
    let relay = site.start();
    give_key_with(&site, &relay, "a", &own, "[route.limits]\nper_day = 2\n");
    for number in 0..4 {
        send(&site, "a", &format!("a {number}"));
        send(&site, "b", &format!("b {number}"));
    }
    own.wait_for(2, Duration::from_secs(20));
    // The other customer's mail goes on with the tier's key, beyond the cap, and is over when the rest of a's still waits.
    tier.wait_for(4, Duration::from_secs(20));
    let count = || site.events().iter().filter(|event| event["event"] == "relayed").count();
    site.wait_for_event("all that may leave has left", |_| count() == 6);
    let listed = String::from_utf8(site.operate(&["route", "list", "--json"]).stdout).unwrap();
    let mut lines = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let route = lines.find(|line| line["route"] == "mailjet-own.a").unwrap_or_else(|| panic!("{listed}"));
    assert_eq!((&route["per_day"], &route["sent_today"]), (&2.into(), &2.into()), "{route}");
    let shown = |id: &str| String::from_utf8(site.operate(&["customer", "show", id]).stdout).unwrap();
    assert!(
        shown("a").contains("mailjet, an API key of its own") && shown("a").contains("2 recipients a day"),
        "{}",
        shown("a")
    );
    assert!(!shown("b").contains("Caps"), "the tier's caps are not one customer's: {}", shown("b"));
    let queue = String::from_utf8(site.operate(&["queue", "list", "--json"]).stdout).unwrap();
    assert!(queue.lines().count() == 2 && queue.lines().all(|line| line.contains("\"customer\":\"a\"")), "{queue}");
    assert_eq!((own.received().len(), tier.received().len()), (2, 4));
    relay.stop();
}

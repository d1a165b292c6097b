//! Test mode over real sockets: each recipient gets the agreed result, and nothing leaves that is not allowed to.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postbud::time::Timestamp;
use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

const FROM: &str = "news@test.example";

/// A server that counts the lines it hears.
fn server() -> (Capture, Arc<AtomicUsize>) {
    let lines = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lines);
    let script = move |_: &str| {
        counted.fetch_add(1, Ordering::SeqCst);
        None
    };
    (Capture::scripted("127.0.0.1:0", Box::new(script)), lines)
}

fn site(server: &Capture) -> Site {
    let customer = Customer { id: "c", domain: "test.example", route: plain_route(server.address) };
    let site = Site::with(&[customer], "[retry]\nfirst = \"2s\"\nlongest = \"2s\"\n");
    // Notifications would leave, were they written.
    edit(&site.customer_file("c"), "name = ", "bounces = \"mail\"\nname = ");
    site
}

fn edit(path: &std::path::Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Puts the login in test mode.
fn test_login(site: &Site, more: &str) {
    edit(&site.config(), "customers = \"all\"\n", &format!("customers = \"all\"\ntest = true\n{more}"));
}

fn send(client: &mut Client, to: &[&str]) -> String {
    let reply = client.send(FROM, to, &message(FROM, to[0], "test")).unwrap();
    queue_id(&reply).to_owned()
}

/// What was told of each recipient of a mail, in order.
fn lives(events: &[Value], id: &str) -> BTreeMap<String, Vec<String>> {
    let mut lives = BTreeMap::<String, Vec<String>>::new();
    for event in events.iter().filter(|event| event["queue_id"] == id) {
        assert_eq!(event["test"], true, "{event}");
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        lives.entry(text("recipient")).or_default().push(text("event"));
    }
    lives
}

fn wait_until(what: &str, mut fits: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !fits() {
        assert!(Instant::now() < patience, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn agreed_recipients_have_their_outcomes_and_nothing_leaves_over_a_reload_and_a_restart() {
    let (server, lines) = server();
    let site = site(&server);
    test_login(&site, "");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let expected: &[(&str, &[&str])] = &[
        ("deliver@test.postbud.invalid", &["accepted", "relayed", "delivered"]),
        ("relay+1@test.postbud.invalid", &["accepted", "relayed"]),
        ("bounce@test.postbud.invalid", &["accepted", "bounced"]),
        ("late-bounce@test.postbud.invalid", &["accepted", "relayed", "bounced"]),
        ("full@test.postbud.invalid", &["accepted", "bounced"]),
        ("spam@test.postbud.invalid", &["accepted", "bounced"]),
        ("complain@test.postbud.invalid", &["accepted", "relayed", "delivered", "complained"]),
        ("unsubscribe@test.postbud.invalid", &["accepted", "relayed", "delivered", "unsubscribed"]),
        ("open@test.postbud.invalid", &["accepted", "relayed", "delivered", "opened"]),
        ("anna@example.net", &["accepted", "relayed", "delivered"]),
    ];
    let to: Vec<&str> = expected.iter().map(|(to, _)| *to).collect();
    let id = send(&mut client, &to);
    let all_told = |id: &str, count: usize| {
        let told = lives(&site.events(), id).values().map(Vec::len).sum::<usize>();
        assert!(told <= count, "{:?}", lives(&site.events(), id));
        told == count
    };
    wait_until("all was told", || all_told(&id, expected.iter().map(|(_, kinds)| kinds.len()).sum()));
    let lives = lives(&site.events(), &id);
    for (to, kinds) in expected {
        assert_eq!(lives[*to], *kinds, "{to}");
    }
    let class = |to: &str| {
        let events = site.events();
        let found = events.iter().find(|event| event["recipient"] == to && event["event"] == "bounced").unwrap();
        found["class"].as_str().unwrap().to_owned()
    };
    assert_eq!([to[2], to[3], to[4], to[5]].map(class), ["hard", "hard", "mailbox_full", "content"]);

    // One that plays a suppressed recipient.
    client.say(&format!("MAIL FROM:<{FROM}>")).unwrap();
    let refused = client.say("RCPT TO:<suppressed@test.postbud.invalid>").unwrap();
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    client.say("RSET").unwrap();
    let suppressed = site.wait_for_event("suppressed", |event| event["event"] == "suppressed");
    assert_eq!((&suppressed["test"], &suppressed["reason"]), (&true.into(), &"hard_bounce".into()), "{suppressed}");

    // What is queued in test mode stays so, whatever the configuration says later.
    let deferred = send(&mut client, &["defer@test.postbud.invalid", "bo@example.net"]);
    site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["queue_id"] == deferred.as_str());
    edit(&site.config(), "test = true\n", "");
    relay.signal("HUP");
    site.wait_for_event("reloaded", |event| {
        event["event"] == "audit" && event["detail"].as_str().is_some_and(|detail| detail.contains("reloaded"))
    });
    relay.stop();
    let relay = site.start();
    wait_until("the deferred one was delivered", || all_told(&deferred, 7));
    assert_eq!(
        self::lives(&site.events(), &deferred)["defer@test.postbud.invalid"],
        ["accepted", "deferred", "relayed", "delivered"]
    );
    assert_eq!(lines.load(Ordering::SeqCst), 0, "a connection was made: {:?}", server.received());

    // The route works, and the agreed recipients are for test mode alone.
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let in_earnest = send(&mut client, &["anna@example.net"]);
    assert_eq!(server.wait_for(1, Duration::from_secs(20)).len(), 1);
    let to = ["bounce@test.postbud.invalid"];
    let refused = client.send(FROM, &to, &message(FROM, to[0], "test")).unwrap();
    assert!(refused.starts_with("550 5.7.1") && refused.contains("test mode"), "{refused}");
    let told = site.wait_for_event("relayed", |event| event["queue_id"] == in_earnest.as_str());
    assert_eq!(told.get("test"), None, "{told}");
    relay.stop();
}

#[test]
fn a_slow_recipient_takes_ten_seconds_and_holds_nobody_else_up() {
    let (server, lines) = server();
    let site = site(&server);
    test_login(&site, "");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let slow = send(&mut client, &["slow@test.postbud.invalid"]);
    let other = send(&mut client, &["deliver@test.postbud.invalid"]);
    wait_until("both were told", || {
        let events = site.events();
        lives(&events, &slow).values().chain(lives(&events, &other).values()).map(Vec::len).sum::<usize>() == 6
    });
    let events = site.events();
    assert_eq!(lives(&events, &slow)["slow@test.postbud.invalid"], ["accepted", "relayed", "delivered"]);
    let at = |id: &str, kind: &str| {
        let event = events.iter().find(|event| event["queue_id"] == id && event["event"] == kind).unwrap();
        event["at"].as_str().unwrap().parse::<Timestamp>().unwrap()
    };
    let took = at(&slow, "relayed").since(at(&slow, "accepted"));
    assert!((Duration::from_secs(10)..Duration::from_secs(25)).contains(&took), "{took:?}");
    assert!(at(&other, "relayed") < at(&slow, "relayed"));
    assert_eq!(lines.load(Ordering::SeqCst), 0);
    relay.stop();
}

#[test]
fn mail_leaves_to_recipients_that_are_all_allowed_and_to_nobody_else() {
    let (server, _) = server();
    let site = site(&server);
    test_login(&site, "test_allow = [\"Anna@Webcrm.example\", \"*@qa.example\"]\n");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let all = ["anna@webcrm.example", "bo@qa.example", "bo@webcrm.example", "deliver@test.postbud.invalid"];
    let mut sent = Vec::new();
    for chosen in 1..1_usize << all.len() {
        let to: Vec<&str> = (0..all.len()).filter(|bit| chosen >> bit & 1 == 1).map(|bit| all[bit]).collect();
        sent.push((send(&mut client, &to), to));
    }
    let is_over = || {
        let events = site.events();
        let relayed = |id: &str| events.iter().filter(|it| it["queue_id"] == id && it["event"] == "relayed").count();
        sent.iter().all(|(id, to)| relayed(id) == to.len())
    };
    wait_until("all was relayed", is_over);
    let mut arrived: Vec<Vec<String>> = server.received().into_iter().map(|mail| mail.to).collect();
    arrived.sort();
    let shown = |to: &str| format!("<{to}>");
    let expected = [vec![shown(all[0])], vec![shown(all[0]), shown(all[1])], vec![shown(all[1])]];
    assert_eq!(arrived, expected);
    for (id, to) in &sent {
        assert_eq!(lives(&site.events(), id).len(), to.len());
    }
    relay.stop();
}

#[test]
fn a_customers_mail_is_redirected_as_a_whole() {
    let (server, _) = server();
    let site = site(&server);
    edit(&site.customer_file("c"), "name = ", "test = true\ntest_redirect = \"catch@webcrm.example\"\nname = ");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let id = send(&mut client, &["anna@example.net", "bo@example.net"]);
    let stays = send(&mut client, &["anna@example.net", "complain@test.postbud.invalid"]);
    let received = server.wait_for(1, Duration::from_secs(20));
    assert_eq!(received[0].to, ["<catch@webcrm.example>"]);
    let accepted = site.wait_for_event("accepted", |event| event["queue_id"] == id.as_str());
    let detail = accepted["detail"].as_str().unwrap();
    assert!(detail.contains("redirected from anna@example.net, bo@example.net"), "{detail}");
    assert_eq!((&accepted["test"], &accepted["recipient"]), (&true.into(), &"catch@webcrm.example".into()));
    site.wait_for_event("complained", |event| event["queue_id"] == stays.as_str() && event["event"] == "complained");
    assert_eq!(server.received().len(), 1, "what has an agreed recipient stays");
    relay.stop();
}

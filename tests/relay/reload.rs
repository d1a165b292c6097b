//! SIGHUP: customers, submitters and certificates change at once; a mistake changes nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postbud::events::{Secret, signature};

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, hash, plain_route};

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
        event["event"] == "audit" && event["detail"].as_str().is_some_and(|d| d.contains("reload"))
    });
    queue_id(&send(&mut client, "new.example", "now"));

    std::fs::write(site.customer_file("old"), "name = 7\n").unwrap();
    relay.signal("HUP");
    let alert = site.wait_for_event("reload refused", |event| event["event"] == "alert");
    assert!(alert["detail"].as_str().unwrap().contains("old.toml"), "{alert}");
    queue_id(&send(&mut client, "old.example", "still"));
    site.add(&Customer { id: "old", domain: "old.example", route: plain_route(server.address) });
    relay.signal("HUP");
    let end = site.wait_for_event("the alert is over", |event| event["cured"] == true);
    assert_eq!((&end["subject"], &alert["subject"]), (&"configuration".into(), &"configuration".into()));
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
    site.wait_for_event("its alert is over", |event| {
        event["cured"] == true && event["subject"] == "unrouted:gone" && event["customer"] == "gone"
    });
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

/// Takes the webhook's calls; each with whether the first or the second secret signed it.
fn webhook(secrets: [&'static str; 2]) -> (std::net::SocketAddr, Arc<Mutex<Vec<[bool; 2]>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&calls);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut input = BufReader::new(stream);
            let (mut length, mut timestamp, mut signed) = (0, 0, String::new());
            loop {
                let mut line = String::new();
                if input.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "postbud-timestamp" => timestamp = value.parse().unwrap(),
                    "postbud-signature" => signed = value.to_owned(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            if input.read_exact(&mut body).is_ok() && length > 0 {
                let by = secrets.map(|secret| signature(&Secret::new(secret), timestamp, &body) == signed);
                heard.lock().unwrap().push(by);
            }
            let _ = input.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (address, calls)
}

#[test]
fn files_that_hold_other_secrets_are_taken_up_under_the_same_names() {
    const SECRETS: [&str; 2] = ["the-first-of-the-two-secrets", "the-second-of-the-two-secrets"];
    let (hook, calls) = webhook(SECRETS);
    let logins = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&logins);
    let script = move |line: &str| {
        if let Some(response) = line.strip_prefix("AUTH PLAIN ") {
            seen.lock().unwrap().push(response.to_owned());
        }
        None
    };
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let route = plain_route(server.address)
        + "username = \"u\"\npassword_file = \"../route.password\"\nallow_plaintext_auth = true\n";
    let webhook = format!(
        "[[events.webhook]]\nname = \"webcrm\"\nurl = \"http://{hook}/\"\nsecret_file = \"webhook.secret\"\nlinger = \"20ms\"\n"
    );
    let site = Site::with(&[], "");
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{config}\n{webhook}")).unwrap();
    fs::write(site.path("config/webhook.secret"), SECRETS[0]).unwrap();
    fs::write(site.path("config/route.password"), "one").unwrap();
    site.add(&Customer { id: "c", domain: "c.example", route });
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    queue_id(&send(&mut client, "c.example", "before"));
    server.wait_for(1, Duration::from_secs(20));
    wait_until("a call signed with the first secret", || calls.lock().unwrap().contains(&[true, false]));

    fs::write(site.path("config/webhook.secret"), SECRETS[1]).unwrap();
    fs::write(site.path("config/route.password"), "two").unwrap();
    fs::write(site.path("config/webcrm.hash"), hash("another-password-43")).unwrap();
    relay.signal("HUP");
    let told = site.wait_for_event("reloaded", |event| {
        event["event"] == "audit" && event["detail"].as_str().is_some_and(|d| d.contains("reloaded"))
    });
    assert!(!told["detail"].as_str().unwrap().contains("restart"), "{told}");
    assert!(Client::login(site.smtp, USERNAME, PASSWORD).is_err(), "the old password");
    let mut client = Client::login(site.smtp, USERNAME, "another-password-43").unwrap();
    queue_id(&send(&mut client, "c.example", "after"));
    server.wait_for(2, Duration::from_secs(20));
    wait_until("a call signed with the second secret", || calls.lock().unwrap().contains(&[false, true]));
    let logins = logins.lock().unwrap().clone();
    assert_eq!(logins.len(), 2, "{logins:?}");
    assert_ne!(logins[0], logins[1]);
    assert!(!relay.log().contains('\x1b'), "colours in a file: {}", relay.log());
    relay.stop();
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

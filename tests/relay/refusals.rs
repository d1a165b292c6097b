//! Mail that may not be sent is refused at submission, where webCRM sees it, and nothing leaves unsigned.

use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

fn refused(heard: &str, code: &str) {
    assert!(heard.starts_with(code), "wanted {code}, heard {heard}");
}

#[test]
fn an_unknown_domain_a_wrong_password_and_a_broken_key_each_have_their_reply() {
    let server = Capture::start();
    let site = Site::new(&[
        Customer { id: "good", domain: "good.example", route: plain_route(server.address) },
        Customer { id: "broken", domain: "broken.example", route: plain_route(server.address) },
    ]);
    std::fs::write(site.key("broken.example"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        .unwrap();
    let relay = site.start();

    let mut stranger = Client::connect(site.smtp).unwrap();
    refused(&stranger.say("MAIL FROM:<a@good.example>").unwrap(), "530 5.7.0");
    refused(&stranger.auth(USERNAME, "wrong").unwrap(), "535 5.7.8");

    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let unknown = client.send("a@other.example", &["b@example.net"], &message("a@other.example", "b@example.net", "x"));
    let unknown = unknown.unwrap();
    refused(&unknown, "550 5.7.1");
    assert!(unknown.contains("other.example"), "the reply names the domain: {unknown}");
    let broken =
        client.send("a@broken.example", &["b@example.net"], &message("a@broken.example", "b@example.net", "x"));
    refused(&broken.unwrap(), "451 4.7.5");
    let good = client.send("a@good.example", &["b@example.net"], &message("a@good.example", "b@example.net", "ok"));
    queue_id(&good.unwrap());

    let received = server.wait_for(1, Duration::from_secs(20));
    assert!(received[0].header().starts_with(b"Received:") || received[0].header().starts_with(b"DKIM-Signature:"));
    let log = relay.log();
    assert!(log.contains("login failed") && log.contains("user=webcrm"), "{log}");
    assert_eq!(log.matches("refused: ").count(), 3, "{log}");
    relay.stop();
    let told: Vec<_> = site.events().into_iter().filter(|event| event["event"] == "rejected").collect();
    let reasons: Vec<_> = told.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["login", "from_domain", "key"]);
    assert_eq!((&told[1]["from_domain"], &told[1]["submitter"]), (&"other.example".into(), &USERNAME.into()));
    let received = server.received();
    assert_eq!(received.len(), 1, "nothing but the signed message left");
    assert!(memchr::memmem::find(received[0].header(), b"DKIM-Signature:").is_some());
}

#[test]
fn mail_to_a_dead_server_stays_queued_and_leaves_when_the_server_is_back() {
    let dead = free_port();
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(dead) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let heard = client.send("a@good.example", &["b@example.net"], &message("a@good.example", "b@example.net", "wait"));
    let id = queue_id(&heard.unwrap()).to_owned();
    site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["queue_id"] == id.as_str());
    let listed = site.operate(&["queue", "list", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&id), "{listed}");

    let server = Capture::scripted(&dead.to_string(), Box::new(|_| None));
    let resumed = site.operate(&["route", "resume", "own-server.good"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    server.wait_for(1, Duration::from_secs(20));
    site.wait_for_event("relayed", |event| event["event"] == "relayed" && event["queue_id"] == id.as_str());
    relay.stop();
}

#[test]
fn a_refused_login_at_the_customers_server_suspends_the_route_and_is_not_repeated() {
    let logins = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&logins);
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(move |line| {
            if line.starts_with("EHLO") {
                return Some("250-capture\r\n250 AUTH PLAIN LOGIN".into());
            }
            line.starts_with("AUTH").then(|| {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                "535 5.7.8 wrong password".into()
            })
        }),
    );
    let route =
        format!("{}username = \"u\"\npassword_env = \"POSTBUD_TEST_NO_PASSWORD\"\n", plain_route(server.address));
    let route = route.replace(
        "password_env = \"POSTBUD_TEST_NO_PASSWORD\"",
        "password_file = \"../secret\"\nallow_plaintext_auth = true",
    );
    let site = Site::new(&[]);
    std::fs::write(site.path("config/secret"), "forkert").unwrap();
    site.add(&Customer { id: "good", domain: "good.example", route });
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for n in 0..3 {
        let mail = message("a@good.example", "b@example.net", &format!("n{n}"));
        queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    }
    let alert = site.wait_for_event("alert", |event| event["event"] == "alert" && event["route"] == "own-server.good");
    assert!(alert["detail"].as_str().unwrap().contains("535"), "{alert}");
    std::thread::sleep(Duration::from_millis(500));
    assert!(logins.load(std::sync::atomic::Ordering::SeqCst) <= 3, "logins: {logins:?}");
    assert!(server.received().is_empty());
    relay.stop();
}

#[test]
fn bulk_mail_without_one_click_unsubscription_is_refused_or_noted_and_the_reply_says_what_lacks() {
    const HTTPS: &str = "List-Unsubscribe: <https://good.example/u/7>\r\n";
    const POST: &str = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let server = Capture::start();
    let strict = Customer { id: "strict", domain: "strict.example", route: plain_route(server.address) };
    let lenient = Customer { id: "lenient", domain: "lenient.example", route: plain_route(server.address) };
    let site = Site::new(&[strict, lenient]);
    for (id, policy) in [("strict", "refuse"), ("lenient", "warn")] {
        let file = site.customer_file(id);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("one_click_unsubscribe = \"{policy}\"\n{text}")).unwrap();
    }
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut send = |from: &str, fields: &str| {
        let content = [fields.as_bytes(), &message(from, "b@example.net", "bulk")].concat();
        client.send(from, &["b@example.net"], &content).unwrap()
    };
    let bulk = "Precedence: bulk\r\n";
    for (fields, lacks) in [
        (bulk.to_owned(), "List-Unsubscribe"),
        (format!("{bulk}{HTTPS}"), "List-Unsubscribe-Post"),
        (format!("{bulk}List-Unsubscribe: <mailto:u@good.example>\r\n{POST}"), "https"),
    ] {
        let refused = send("a@strict.example", &fields);
        assert!(refused.starts_with("550 5.7.1") && refused.contains("RFC 8058"), "{fields}: {refused}");
        assert!(refused.contains(lacks), "{fields}: {refused}");
        let noted = queue_id(&send("a@lenient.example", &fields)).to_owned();
        let accepted = site.wait_for_event("accepted", |event| event["queue_id"] == noted.as_str());
        let detail = accepted["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("RFC 8058") && detail.contains(lacks), "{fields}: {accepted}");
    }
    let rejected = site.wait_for_event("rejected", |event| event["event"] == "rejected");
    assert_eq!((&rejected["reason"], &rejected["customer"]), (&"one_click".into(), &"strict".into()), "{rejected}");
    // With both fields, and single mail with none of them.
    for fields in [format!("{bulk}{HTTPS}{POST}"), String::new()] {
        queue_id(&send("a@strict.example", &fields));
    }
    for mail in server.wait_for(5, std::time::Duration::from_secs(20)) {
        let header = String::from_utf8_lossy(mail.header()).to_ascii_lowercase();
        if header.contains("one-click") && header.contains("<https") {
            let signed = header.split("h=").nth(1).unwrap_or_default();
            assert!(signed.contains("list-unsubscribe") && signed.contains("list-unsubscribe-post"), "{header}");
        }
    }
    relay.stop();
}

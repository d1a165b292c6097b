//! Refusals are reported, with all known data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postbud::customers::SigningDomain;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::intake_spool::Outcome;
use crate::support::{OTHER_PASSWORD, OTHER_USERNAME, PASSWORD, Setup, USERNAME, base64, domain, plain};

/// The next `rejected` without its time and the client's address, which is checked here.
fn next(heard: &mut Receiver<Arc<postbud::events::Event<'static>>>) -> Value {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        match heard.try_recv() {
            Ok(event) => {
                let mut event = serde_json::to_value(&*event).unwrap();
                if event["event"] != "rejected" {
                    continue;
                }
                let fields = event.as_object_mut().unwrap();
                fields.remove("at").expect("its time");
                fields.remove("event_id").expect("its id");
                assert_eq!(fields.remove("peer"), Some(json!("127.0.0.1")));
                return event;
            }
            Err(TryRecvError::Empty) => {
                assert!(Instant::now() < patience, "no event");
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A reply's code, status and text as events have them.
fn parts(reply: &str) -> (Value, Value, Value) {
    let mut parts = reply.trim_end().splitn(3, ' ').map(str::to_owned);
    let mut part = || parts.next().unwrap();
    let code: u16 = part().parse().unwrap();
    (json!(code), json!(part()), json!(part()))
}

#[test]
fn a_refused_message_names_submitter_envelope_from_domain_customer_reason_and_reply() {
    let server = Setup::default().start();
    let mut heard = server.events.subscribe();
    let mut client = server.logged_in();
    for (mail_from, header, expected) in [
        (
            "a@test.dk",
            "Message-ID: <1@x>\nFrom: a@evil.dk",
            json!({"reason": "from_domain", "from_domain": "evil.dk", "message_id": "1@x", "sender": "a@test.dk"}),
        ),
        (
            "a@own.dk",
            "From: a@test.dk",
            json!({"reason": "mail_from", "from_domain": "test.dk", "customer": "test-as", "sender": "a@own.dk"}),
        ),
        (
            "",
            "From: a@test.dk",
            json!({"reason": "mail_from", "from_domain": "test.dk", "customer": "test-as", "sender": ""}),
        ),
        ("a@test.dk", "Subject: no From", json!({"reason": "header", "sender": "a@test.dk"})),
        (
            "a@own.dk",
            "From: a@hotmail.com\nPrecedence: bulk",
            json!({"reason": "public_mailbox", "from_domain": "hotmail.com", "customer": "own", "sender": "a@own.dk"}),
        ),
    ] {
        let reply = client.mail(mail_from, &format!("{header}\n\nx\n"));
        let mut expected = expected;
        (expected["code"], expected["status"], expected["reply"]) = parts(&reply);
        expected["class"] = json!(if expected["reason"] == "header" { "content" } else { "policy" });
        expected["event"] = json!("rejected");
        expected["submitter"] = json!(USERNAME);
        expected["recipients"] = json!(1);
        assert_eq!(next(&mut heard), expected, "{header}");
    }
}

#[test]
fn what_is_refused_after_the_header_names_the_message_too() {
    let mut setup = Setup::with(|limits| limits.message_size = 10_000);
    setup.customers[1].domains.insert(domain("own.dk"), SigningDomain::Broken("keys/own.pem: no such file".into()));
    let server = setup.start();
    let mut heard = server.events.subscribe();
    let mut client = server.logged_in();
    let header = "Message-ID: <2@x>\nFrom: a@test.dk\n\n";
    for (message, reason) in [
        (format!("{header}{}", "0123456789\n".repeat(2000)), "size"),
        (format!("{header}{}\n", "x".repeat(2000)), "line_length"),
        (format!("{header}a\u{0}b\n"), "nul"),
    ] {
        client.mail("a@test.dk", &message);
        let event = next(&mut heard);
        let found = [&event["reason"], &event["from_domain"], &event["customer"], &event["message_id"]];
        assert_eq!(found, [reason, "test.dk", "test-as", "2@x"], "{event}");
    }
    client.mail("a@own.dk", "From: a@own.dk\n\nx\n");
    let event = next(&mut heard);
    let found = [&event["reason"], &event["from_domain"], &event["customer"]];
    assert_eq!(found, ["key", "own.dk", "own"]);
    assert_eq!((&event["code"], &event["status"], &event["class"]), (&json!(451), &json!("4.7.5"), &json!("auth")));
    assert!(!event["reply"].to_string().contains("pem"), "{event}");
    assert_eq!(event["detail"], "keys/own.pem: no such file", "for the operator alone");
}

#[test]
fn a_spool_that_takes_nothing_is_named_for_each_message() {
    let server = Setup::default().start();
    let mut heard = server.events.subscribe();
    server.spool.end_with(Outcome::Full);
    let mut client = server.logged_in();
    let reply = client.mail("a@test.dk", "Message-ID: <3@x>\nFrom: a@test.dk\n\nx\n");
    assert!(reply.starts_with("45"), "{reply}");
    let event = next(&mut heard);
    let found = [&event["from_domain"], &event["customer"], &event["message_id"], &event["class"]];
    assert_eq!(found, ["test.dk", "test-as", "3@x", "relay_limit"], "{event}");
    assert_eq!((event["code"].clone(), event["status"].clone(), event["reply"].clone()), parts(&reply));
    assert!(event["detail"].is_string() && event["recipients"] == 1, "{event}");
}

#[test]
fn recipients_and_senders_refused_at_their_commands_are_told_one_by_one() {
    let server = Setup::with(|limits| limits.recipients = 2).start();
    let mut heard = server.events.subscribe();
    let mut stranger = server.connect();
    stranger.say("EHLO x", "250");
    stranger.say("MAIL FROM:<a@test.dk>", "530 5.7.0");
    stranger.say("RCPT TO:<b@example.com>", "503");
    let told = next(&mut heard);
    assert_eq!(
        (&told["reason"], &told["sender"], &told["submitter"]),
        (&json!("login"), &json!("a@test.dk"), &Value::Null)
    );

    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say(&format!("AUTH PLAIN {}", plain(OTHER_USERNAME, OTHER_PASSWORD)), "235");
    client.say("MAIL FROM:<a@own.dk> SIZE=99999999999", "552 5.3.4");
    let told = next(&mut heard);
    assert_eq!([&told["reason"], &told["sender"], &told["submitter"]], ["size", "a@own.dk", OTHER_USERNAME]);
    client.say("MAIL FROM:<a@own.dk>", "250");
    for (line, reply, recipient, reason) in [
        ("RCPT TO:<bad address@x>", "501", Value::Null, "recipient"),
        ("RCPT TO:<postmaster>", "550", Value::Null, "recipient"),
        ("RCPT TO:<blå@example.com>", "553", json!("blå@example.com"), "smtputf8"),
        ("RCPT TO:<a@example.com> FOO=1", "555", Value::Null, "syntax"),
    ] {
        let reply = client.say(line, reply);
        let told = next(&mut heard);
        assert_eq!((&told["recipient"], &told["reason"]), (&recipient, &json!(reason)), "{line}: {told}");
        assert_eq!([&told["sender"], &told["submitter"]], ["a@own.dk", OTHER_USERNAME]);
        assert_eq!((told["code"].clone(), told["status"].clone(), told["reply"].clone()), parts(&reply));
    }
    client.say("RCPT TO:<a@example.com>", "250");
    client.say("RCPT TO:<b@example.com>", "250");
    client.say("RCPT TO:<c@example.com>", "452 4.5.3");
    let told = next(&mut heard);
    assert_eq!([&told["recipient"], &told["reason"]], ["c@example.com", "recipients"]);
}

#[test]
fn a_message_that_comes_too_slowly_or_over_a_login_that_changed_is_told() {
    let server = Setup::with(|limits| limits.data_timeout = Duration::from_millis(200)).start();
    let mut heard = server.events.subscribe();
    let mut client = server.logged_in();
    client.begin("a@test.dk");
    client.send("Message-ID: <4@x>\r\nFrom: a@test.dk\r\n\r\nand then");
    client.hear("421 4.4.2");
    let told = next(&mut heard);
    let found = [&told["reason"], &told["from_domain"], &told["customer"], &told["sender"], &told["message_id"]];
    assert_eq!(found, ["slow", "test.dk", "test-as", "a@test.dk", "4@x"], "{told}");

    let mut client = server.logged_in();
    server.submitters.store(Arc::new(postbud::submission::Submitters::new(Vec::new()).unwrap()));
    client.say("MAIL FROM:<a@test.dk>", "250");
    client.say("RCPT TO:<b@example.com>", "250");
    client.say("DATA", "421 4.7.0");
    let told = next(&mut heard);
    assert_eq!([&told["reason"], &told["sender"], &told["submitter"]], ["login_changed", "a@test.dk", USERNAME]);
}

#[test]
fn a_flood_of_refusals_ends_in_one_event_with_their_number() {
    let mut setup = Setup::with(|limits| limits.errors_per_connection = 10_000);
    (setup.limits.commands_per_minute, setup.limits.commands_without_mail) = (10_000, 10_000);
    let server = setup.start();
    let mut heard = server.events.subscribe();
    let mut client = server.logged_in();
    for _ in 0..1000 {
        client.send("MAIL FROM:<nonsense>\r\n");
    }
    for _ in 0..1000 {
        client.hear("501");
    }
    client.say("QUIT", "221");
    server.stop();
    let all: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    let left_out: Vec<u64> = all.iter().filter_map(|event| event.left_out).collect();
    assert_eq!((all.len(), left_out), (121, vec![880]));
}

#[test]
fn a_login_that_is_wrong_is_no_refused_message() {
    let server = Setup::default().start();
    let mut heard = server.events.subscribe();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say(&format!("AUTH PLAIN {}", plain(USERNAME, "wrong")), "535");
    client.say(&format!("AUTH LOGIN {}", base64(USERNAME)), "334");
    client.say(&base64(PASSWORD), "235");
    assert!(matches!(heard.try_recv(), Err(TryRecvError::Empty)));
}

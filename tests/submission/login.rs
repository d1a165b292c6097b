//! Logins: who may log in, how, and the delays for others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postbud::message::CustomerId;
use postbud::submission::{Allowed, Limits, ListenerAuth, LoginLabels, Submitter, Submitters};

use crate::support::{OTHER_PASSWORD, OTHER_USERNAME, PASSWORD, Server, Setup, USERNAME, base64, hash, plain};

fn logins(server: &Server, result: &'static str) -> u64 {
    server.counters.logins.get_or_create(&LoginLabels { result }).get()
}

fn submitter(password_hash: String) -> Submitter {
    Submitter { username: USERNAME.to_owned(), password_hash, customers: Allowed::All, urgency: None, test: None }
}

#[test]
fn every_form_of_auth_works_and_the_password_is_checked_once() {
    let server = Setup::default().start();
    let (name, password, both) = (base64(USERNAME), base64(PASSWORD), plain(USERNAME, PASSWORD));
    for script in [
        // System.Net.Mail
        format!("C: AUTH login {name}\nS: 334 UGFzc3dvcmQ6\nC: {password}\nS: 235"),
        format!("C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {name}\nS: 334 UGFzc3dvcmQ6\nC: {password}\nS: 235 2.7.0"),
        format!("C: AUTH PLAIN {both}\nS: 235"),
        format!("C: AUTH PLAIN\nS: 334 \nC: {both}\nS: 235"),
    ] {
        let mut client = server.connect();
        client.say("EHLO x", "250");
        client.script(&script);
        client.say("AUTH PLAIN", "503 5.5.1");
        client.say("MAIL FROM:<a@test.dk>", "250");
    }
    assert_eq!((logins(&server, "verified"), logins(&server, "cached")), (1, 3));
}

#[test]
fn a_reload_forgets_verified_passwords() {
    let server = Setup::default().start();
    server.logged_in();
    server.submitters.store(Arc::new(Submitters::new(vec![submitter(hash("another"))]).unwrap()));
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say(&format!("AUTH PLAIN {}", plain(USERNAME, PASSWORD)), "535 5.7.8");
    client.say(&format!("AUTH PLAIN {}", plain(USERNAME, "another")), "235");
}

#[test]
fn a_reload_takes_effect_on_who_is_logged_in() {
    let server = Setup::default().start();
    let mail = "From: a@test.dk\n\nDav\n";
    let mut client = server.logged_in();
    let mut chunking = server.logged_in();
    assert!(client.mail("a@test.dk", mail).starts_with("250"));
    let old = Arc::clone(&server.submitters.load_full());
    // The same login may send for fewer customers now.
    let fewer = |password_hash| Submitter {
        username: USERNAME.to_owned(),
        password_hash,
        customers: Allowed::Listed([CustomerId::new("own")].into()),
        urgency: None,
        test: None,
    };
    server.submitters.store(Arc::new(Submitters::new(vec![fewer(hash(PASSWORD))]).unwrap()));
    let reply = client.mail("a@test.dk", mail);
    assert!(reply.starts_with("550 5.7.1 this login may not send"), "{reply}");
    // And now it is another's.
    server.submitters.store(Arc::new(Submitters::new(vec![fewer(hash("another"))]).unwrap()));
    for (client, content) in [(&mut client, "DATA"), (&mut chunking, "BDAT 0 LAST")] {
        client.say("MAIL FROM:<a@own.dk>", "250");
        client.say("RCPT TO:<b@example.com>", "250");
        client.say(content, "421 4.7.0 this login has changed");
        client.closed();
    }
    server.submitters.store(old);
    server.logged_in();
}

#[test]
fn exchanges_can_be_given_up_and_garbage_is_refused() {
    let server = Setup::default().start();
    let mut client = server.connect();
    client.script(
        "
        C: EHLO x
        S: 250
        C: AUTH LOGIN
        S: 334
        C: *
        S: 501 5.7.0
        C: AUTH PLAIN not-base64!
        S: 501 5.5.2
        C: AUTH PLAIN =
        S: 501 5.5.2
        C: AUTH CRAM-MD5
        S: 504 5.5.4
        C: AUTH
        S: 501 5.5.4
        C: MAIL FROM:<a@test.dk>
        S: 530 5.7.0
        ",
    );
    // Long answers are allowed here (RFC 4954 §4), endless ones are not.
    client.say("AUTH PLAIN", "334");
    client.say(&base64(&format!("\0{}\0x", "u".repeat(8_000))), "535");
    client.say(&format!("AUTH PLAIN {}", base64(&format!("\0{}\0x", "u".repeat(8_000)))), "535");
    client.say("AUTH PLAIN", "334");
    client.say(&"A".repeat(20_000), "500 5.5.6");
    // Such a line ends the login, and so does one with a lone LF: what follows is a command again, not an answer.
    client.say("NOOP", "250");
    client.say("AUTH PLAIN", "334");
    client.send("AAAA\n\r\n");
    client.hear("500 5.5.2");
    client.say("NOOP", "250");
}

#[test]
fn wrong_logins_wait_longer_each_time_whether_the_name_exists_or_not() {
    let server = Setup::default().start();
    for name in [USERNAME, "nobody"] {
        let mut client = server.connect();
        client.say("EHLO x", "250");
        let start = Instant::now();
        for _ in 0..3 {
            client.say(&format!("AUTH PLAIN {}", plain(name, "guess")), "535 5.7.8 name or password is wrong");
        }
        // 20, 40 and 80 ms at the least; for the second name the address has struck before.
        assert!(start.elapsed().as_millis() >= 140, "{:?}", start.elapsed());
    }
    // The right password is right all the same.
    server.logged_in();
}

#[test]
fn an_address_that_guesses_on_is_not_listened_to() {
    let server = Setup::with(|limits| limits.login_failures_per_address = 2).start();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    for reply in ["535 5.7.8", "535 5.7.8", "454 4.7.0"] {
        client.say(&format!("AUTH PLAIN {}", plain(USERNAME, "guess")), reply);
    }
    assert_eq!(logins(&server, "throttled"), 1);
}

#[test]
fn who_logged_in_before_a_restart_is_not_kept_out_by_others_at_its_address() {
    let limits = |limits: &mut Limits| {
        limits.login_failures_per_address = 2;
        limits.errors_per_connection = 1000;
    };
    let before = Setup::with(limits).start();
    before.logged_in();
    let known = before.files.path().join("known-clients.json");
    // Written behind the answer.
    let patience = Instant::now() + Duration::from_secs(20);
    while !known.exists() {
        assert!(Instant::now() < patience, "{} is not written", known.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    before.stop();
    let server = Setup { known_clients: Some(known), ..Setup::with(limits) }.start();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    for (name, reply) in [("nobody", "535"), ("nobody", "535"), ("nobody", "454"), (OTHER_USERNAME, "454")] {
        client.say(&format!("AUTH PLAIN {}", plain(name, OTHER_PASSWORD)), reply);
    }
    server.logged_in();
    // It is known by its password: with another one it is new.
    server.submitters.store(Arc::new(Submitters::new(vec![submitter(hash("another"))]).unwrap()));
    client.say(&format!("AUTH PLAIN {}", plain(USERNAME, "another")), "454");
}

#[test]
fn without_tls_no_login_is_taken_unless_the_listener_says_so() {
    let server = Setup { plaintext_auth: false, ..Setup::default() }.start();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say(&format!("AUTH PLAIN {}", plain(USERNAME, PASSWORD)), "538 5.7.11");
    client.say("MAIL FROM:<a@test.dk>", "530 5.7.0 STARTTLS first");
    assert_eq!(logins(&server, "verified"), 0);
}

#[test]
fn a_listener_without_logins_offers_none() {
    let server = Setup { auth: ListenerAuth::Off, ..Setup::default() }.start();
    let mut client = server.connect();
    assert!(!client.say("EHLO x", "250").contains("AUTH"));
    client.say("AUTH PLAIN", "503 5.5.1");
    assert!(client.mail("a@test.dk", "From: a@test.dk\n\n").starts_with("250"));
    // Tenancy holds here too.
    assert!(client.mail("a@own.dk", "From: a@test.dk\n\n").starts_with("550 5.7.1"));
}

//! Which login may send which mail for which customer.

use postbud::customers::{BulkPolicy, Directory, SigningDomain};
use postbud::message::Urgency;

use crate::support::{OTHER_PASSWORD, OTHER_USERNAME, Setup, domain, plain};

#[test]
fn from_sender_and_mail_from_must_be_one_customers() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for (mail_from, header, reply) in [
        ("a@test.dk", "From: a@test.dk", "250"),
        ("a@test.dk", "From: A@TEST.DK", "250"),
        ("x@bounce.webcrm.com", "From: a@xn--blbr-roah.dk", "250"),
        ("a@test.dk", "From: a@evil.dk", "550 5.7.1 From domain \"evil.dk\" is not configured for any customer"),
        ("a@test.dk", "From: a@sub.test.dk", "550 5.7.1"),
        ("a@test.dk", "From: a@own.dk", "550 5.7.1"),
        ("evil@evil.dk", "From: a@test.dk", "550 5.7.1"),
        ("a@test.dk", "From: a@test.dk\nSender: a@own.dk", "550 5.7.1"),
        ("a@test.dk", "From: a@test.dk\nResent-From: a@own.dk", "550 5.7.1 Resent-From"),
        (
            "a@test.dk",
            "From: a@test.dk\nResent-From: a@test.dk\nresent-sender: X <a@evil.dk>",
            "550 5.7.1 Resent-Sender",
        ),
        ("a@test.dk", "From: a@test.dk\nResent-From: a@test.dk\nResent-From: a@own.dk", "550 5.7.1 Resent-From"),
        ("a@test.dk", "From: a@test.dk\nAuthor: a@own.dk", "550 5.7.1 Author"),
        ("a@test.dk", "From: a@test.dk\nReply-To: a@own.dk", "250"),
        ("a@test.dk", "From: a@test.dk\nResent-From: A <a@blåbær.dk>\nResent-Sender: b@test.dk", "250"),
        ("", "From: a@test.dk", "550 5.7.1"),
        ("", "From: a@own.dk", "250"),
    ] {
        let heard = client.mail(mail_from, &format!("{header}\n\nx\n"));
        assert!(heard.starts_with(reply), "{mail_from}, {header}: {heard}");
    }
}

#[test]
fn from_must_be_one_address_that_all_readers_see_alike() {
    let server = Setup::with(|limits| limits.errors_per_connection = 100).start();
    let mut client = server.logged_in();
    for header in [
        "Subject: no From",
        "From: a@test.dk\nFrom: b@test.dk",
        "From: a@test.dk, b@test.dk",
        "From: a@test.dk <b@evil.dk>",
        "From: list: a@test.dk;",
        "From : a@test.dk",
        "From: a@test.dk\nfrom : b@evil.dk",
        "From: a@test.dk\nDate: x\nDate: y",
        "From: a@test.dk\nSubject: x\nsubject: y",
        "From: a@test.dk\nTo: x@y.dk\nTo: z@y.dk",
        "From: a@test.dk\nCc: x@y.dk\nCc: z@y.dk",
        "From: a@test.dk\nMessage-ID: <1@x>\nMessage-Id: <2@x>",
        "From: a@test.dk\nReply-To: x@y.dk\nReply-To: z@y.dk",
        "From: a@test.dk\nSender: a@test.dk\nSender: b@test.dk",
        "From: a@test.dk\nno field at all",
        " From: a@test.dk",
    ] {
        let heard = client.mail("a@test.dk", &format!("{header}\n\nx\n"));
        assert!(heard.starts_with("550 5.6.0"), "{header}: {heard}");
    }
    assert!(server.spool.drafts().is_empty());
}

#[test]
fn what_readers_show_beside_an_address_is_the_customers_own() {
    let server = Setup::with(|limits| limits.errors_per_connection = 100).start();
    let mut client = server.logged_in();
    for (header, reply) in [
        ("From: \"Hansen, Ole\" <a@test.dk>", "250"),
        ("From: \"'a@test.dk'\" <a@test.dk>", "250"),
        ("From: Ole (b@test.dk) <a@test.dk>", "250"),
        ("From: \"Ole, b@xn--blbr-roah.dk\" <a@test.dk>", "250"),
        ("From: \"b@news.test.dk\" <a@test.dk>", "250"),
        ("From: =?utf-8?B?w5hyc3RlZCBAIERUVQ==?= <a@test.dk>", "250"),
        ("From: \"support @ work\" <a@test.dk>", "250"),
        ("From: a@test.dk (<ceo@own.dk>)", "550 5.7.1 From shows \"@own.dk\" beside its address"),
        ("From: \"<ceo@own.dk>, \" <a@test.dk>", "550 5.7.1 From shows"),
        ("From: \"ceo@elsewhere.example\" <a@test.dk>", "550 5.7.1 From shows"),
        ("From: =?utf-8?Q?=3Cceo=40own.dk=3E?= <a@test.dk>", "550 5.7.1 From shows"),
        ("From: \"ceo＠own.dk\" <a@test.dk>", "550 5.7.1 From shows"),
        ("From: a@test.dk\nSender: \"ceo@own.dk\" <a@test.dk>", "550 5.7.1 Sender shows"),
        ("From: a@test.dk\nResent-From: \"ceo@own.dk\" <a@test.dk>", "550 5.7.1 Resent-From shows"),
        ("From: =?utf-8?Q?ceo=00?= <a@test.dk>", "550 5.6.0 From holds a control character"),
        ("From: =?utf-8?Q?a=0D=0AX=3A_y?= <a@test.dk>", "550 5.6.0 From holds a control character"),
        ("From: \"kd.nwo@oec\u{202e}\" <a@test.dk>", "550 5.6.0 From holds U+202E"),
        ("From: ceo\u{202e}@test.dk", "550 5.6.0 From holds U+202E"),
        ("From: ceo＠own.dk@test.dk", "550 5.6.0 From holds U+FF20"),
        ("From: a@test.dk\nReply-To: \"ceo@own.dk\" <ceo@own.dk>", "250"),
    ] {
        let heard = client.mail("a@test.dk", &format!("{header}\n\nx\n"));
        assert!(heard.starts_with(reply), "{header}: {heard}");
    }
    assert_eq!(server.refused("display"), 7);
}

#[test]
fn a_submitter_with_a_list_sends_for_those_only() {
    let setup = Setup::default();
    let server = setup.start();
    let mut client = server.connect();
    client.say("EHLO x", "250");
    client.say(&format!("AUTH PLAIN {}", plain(OTHER_USERNAME, OTHER_PASSWORD)), "235");
    let heard = client.mail("a@test.dk", "From: a@test.dk\n\nx\n");
    assert!(heard.starts_with("550 5.7.1 this login may not send"), "{heard}");
    // Its mail is bulk by default, and own.dk has verified nothing: its own server is the alternative to that.
    let heard = client.mail("a@own.dk", "From: a@own.dk\n\nx\n");
    assert!(heard.starts_with("250"), "{heard}");
}

#[test]
fn bulk_mail_needs_what_it_needs_and_goes_after_single_mail() {
    let mut setup = Setup::default();
    setup.customers[1].bulk = BulkPolicy::Warn;
    let server = setup.start();
    let mut client = server.logged_in();
    for (from, more, reply, urgency) in [
        ("a@test.dk", "", "250", Some(Urgency::Single)),
        ("a@test.dk", "Precedence: bulk\n", "250", Some(Urgency::Bulk)),
        ("a@test.dk", "List-Unsubscribe: <https://test.dk/u>\n", "250", Some(Urgency::Bulk)),
        ("a@test.dk", "Precedence: bulk\nX-Mailjet-Prio: 3\n", "250", Some(Urgency::Single)),
        ("a@test.dk", "X-Mailjet-Prio: 0\n", "250", Some(Urgency::Bulk)),
        ("a@xn--blbr-roah.dk", "", "250", Some(Urgency::Single)),
        ("a@xn--blbr-roah.dk", "Precedence: bulk\n", "550 5.7.1 bulk mail from", None),
        ("a@own.dk", "Precedence: bulk\n", "250", Some(Urgency::Bulk)),
        ("a@hotmail.com", "Precedence: list\n", "550 5.7.1 \"hotmail.com\" is a public mailbox", None),
        ("a@hotmail.com", "", "250", Some(Urgency::Single)),
    ] {
        let before = server.spool.drafts().len();
        let heard = client.mail(from, &format!("From: {from}\n{more}\nx\n"));
        assert!(heard.starts_with(reply), "{from} {more}: {heard}");
        let kept = server.spool.drafts().get(before).map(|draft| draft.lane.urgency);
        assert_eq!(kept, urgency, "{from} {more}");
    }
}

#[test]
fn suspended_customers_and_broken_keys_are_deferred_until_a_reload() {
    let mut setup = Setup::default();
    let mut fixed = setup.customers.clone();
    setup.customers[0].domains.insert(domain("test.dk"), SigningDomain::Broken("/keys/test.pem: gone".to_owned()));
    setup.customers[1].suspended = Some("ubetalt".to_owned());
    let server = setup.start();
    let mut client = server.logged_in();
    let heard = client.mail("a@test.dk", "From: a@test.dk\n\nx\n");
    assert!(heard.starts_with("451 4.7.5") && !heard.contains("pem"), "{heard}");
    let heard = client.mail("a@own.dk", "From: a@own.dk\n\nx\n");
    assert!(heard.starts_with("450 4.7.1") && !heard.contains("ubetalt"), "{heard}");
    assert!(server.spool.drafts().is_empty());
    let tiers = server.routing.directory().tiers().clone();
    fixed.truncate(1);
    server.routing.set_directory(Directory::new(fixed, tiers));
    assert!(client.mail("a@test.dk", "From: a@test.dk\n\nx\n").starts_with("250"));
    assert!(client.mail("a@own.dk", "From: a@own.dk\n\nx\n").starts_with("550 5.7.1"));
}

/// The forms by which open relays have been found. Who is not logged in sends none of them.
#[test]
fn nobody_relays_without_a_login() {
    let server = Setup::with(|limits| limits.errors_per_connection = 100).start();
    let mut client = server.connect();
    client.say("EHLO spammer.test", "250");
    for from in ["spam@spammer.test", "", "postmaster@out.webcrm.test", "spam@[127.0.0.1]", "spam@localhost"] {
        client.say(&format!("MAIL FROM:<{from}>"), "530 5.7.0");
        for to in [
            "victim@example.com",
            "victim%example.com@out.webcrm.test",
            "victim%example.com@[127.0.0.1]",
            "\"victim@example.com\"@out.webcrm.test",
            "@out.webcrm.test:victim@example.com",
            "example.com!victim@out.webcrm.test",
        ] {
            client.say(&format!("RCPT TO:<{to}>"), "503 5.5.1");
        }
        client.say("DATA", "503 5.5.1");
    }
}

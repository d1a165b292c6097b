//! Returned mail: return paths, the listener, and its handling of reports from real servers.

use std::collections::HashSet;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::own_server;
use crate::support::capture::Capture;
use crate::support::certs::Authority;
use crate::support::client::{Client, message, queue_id};
use crate::support::disks::Memory;
use crate::support::lookalikes::LOOKALIKES;
use crate::support::peers::{self, Options, Peer, REALM, start_exim, start_postfix};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, get, plain_route};
use crate::support::skip::skip;

const DOMAIN: &str = "returns.test";
const FROM: &str = "news@good.example";

/// A relay whose customer sends through `next` with return paths, and where its returned mail is taken.
fn site(next: SocketAddr, more: &str) -> (Site, SocketAddr) {
    let listen = free_port();
    let returns = format!(
        "[returns]\ndomain = \"{DOMAIN}\"\nlisten = \"{listen}\"\ntls = \"off\"\n{more}\n[suppression]\nmode = \"event\"\nhard_bounces = 1\n"
    );
    let route = format!("{}return_path = \"verp\"\n", plain_route(next));
    let site = Site::with(&[Customer { id: "good", domain: "good.example", route }], &returns);
    (site, listen)
}

/// Sends one mail to these recipients; gives its queue id.
fn send(site: &Site, to: &[&str]) -> String {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let reply = client.send(FROM, to, &message(FROM, to[0], "nyhed")).unwrap();
    queue_id(&reply).to_owned()
}

/// Waits until each recipient of a mail is relayed.
fn wait_until_relayed(site: &Site, id: &str, recipients: usize) {
    let begun = Instant::now();
    while site.events().iter().filter(|event| event["event"] == "relayed" && event["queue_id"] == id).count()
        < recipients
    {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:#?}", site.events());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The return paths that the next server saw, without brackets.
fn return_paths(next: &Capture, count: usize) -> Vec<String> {
    let received = next.wait_for(count, Duration::from_secs(20));
    received.iter().map(|mail| mail.from.split(['<', '>']).nth(1).unwrap().to_owned()).collect()
}

/// Sends one mail, and gives its return path once the record knows that it was relayed.
fn relayed(site: &Site, next: &Capture, to: &str) -> (String, String) {
    let before = next.received().len();
    let id = send(site, &[to]);
    wait_until_relayed(site, &id, 1);
    (id, return_paths(next, before + 1).pop().unwrap())
}

fn returned(listen: SocketAddr, to: &str, content: &str) -> String {
    let mut client = Client::connect(listen).unwrap();
    client.send("", &[to], content.replace('\n', "\r\n").as_bytes()).unwrap()
}

fn dsn(action: &str, status: &str, diagnostic: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.test\nSubject: report\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nWords.\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test\n\n\
         Final-Recipient: rfc822; a@test.net\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {diagnostic}\n--b--\n"
    )
}

fn of_mail(site: &Site, id: &str, kind: &str) -> Vec<Value> {
    site.events().into_iter().filter(|event| event["queue_id"] == id && event["event"] == kind).collect()
}

fn wait_for(site: &Site, id: &str, kind: &str) -> Value {
    site.wait_for_event(kind, |event| event["queue_id"] == id && event["event"] == kind)
}

/// Waits until the listener's metric has this value.
fn wait_for_metric(site: &Site, line: &str) {
    let begun = Instant::now();
    while !get(site.web, "/metrics").lines().any(|found| found == line) {
        let metrics = get(site.web, "/metrics");
        let ours: Vec<_> = metrics.lines().filter(|line| line.contains("returned_mail")).collect();
        assert!(begun.elapsed() < Duration::from_secs(20), "{line} is not among {ours:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_recipient_has_a_return_path_and_a_transaction_of_its_own() {
    let next = Capture::start();
    let (site, _) = site(next.address, "");
    let relay = site.start();
    let id = send(&site, &["a@test.net", "b@test.net", "c@test.net"]);
    let paths: HashSet<String> = return_paths(&next, 3).into_iter().collect();
    assert_eq!(paths.len(), 3);
    for path in &paths {
        assert!(path.ends_with("@returns.test") && path.contains(&id.to_lowercase()), "{path}");
        assert!(path.find('@').unwrap() <= 64, "{path}");
    }
    assert!(next.received().iter().all(|mail| mail.to.len() == 1));
    wait_until_relayed(&site, &id, 3);
    // The record has the sender that the mail was handed in with.
    assert!(of_mail(&site, &id, "relayed").iter().all(|event| event["sender"] == FROM));
    relay.stop();
    // The keys are the relay's alone, and another start has the same.
    let keys = std::fs::read(site.path("state/return-path.keys")).unwrap();
    let relay = site.start();
    assert_eq!(std::fs::read(site.path("state/return-path.keys")).unwrap(), keys);
    relay.stop();
}

#[test]
fn a_report_becomes_a_late_bounce_that_suppresses_the_address() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    let report = dsn("failed", "5.1.1", "550 5.1.1 <a@test.net>: no such user");
    assert_eq!(returned(listen, &path, &report), "250 2.0.0 taken");
    let bounced = wait_for(&site, &id, "bounced");
    for (field, value) in [
        ("customer", "good"),
        ("recipient", "a@test.net"),
        ("sender", FROM),
        ("class", "hard"),
        ("reason", "returned_mail"),
        ("status", "5.1.1"),
        ("reply", "<a@test.net>: no such user"),
        ("server", "mx.test"),
        ("route", "own-server.good"),
        ("message_id", "nyhed@webcrm.example"),
    ] {
        assert_eq!(bounced[field], value, "{field}");
    }
    assert_eq!(bounced["code"], 550);
    // The server repeats itself.
    assert!(returned(listen, &path.to_uppercase(), &report).starts_with("250"));
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"duplicate\"} 1");
    assert_eq!(of_mail(&site, &id, "bounced").len(), 1);
    // It is on the list before it is told.
    assert_eq!(suppressed(&site), ["a@test.net"]);
    relay.stop();
    assert_eq!(std::fs::read_dir(site.path("state/returned")).unwrap().count(), 0);
}

#[test]
fn delays_deliveries_and_automatic_replies_are_told_apart() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let relay = site.start();
    let (late, path) = relayed(&site, &next, "a@test.net");
    let delay =
        dsn("delayed", "4.4.1", "451 4.4.1 no answer").replace("Status: 4.4.1", "Status: 4.4.1\nWill-Retry-Until: Tue");
    returned(listen, &path, &delay);
    let delayed = wait_for(&site, &late, "delayed");
    assert_eq!(delayed["detail"], "returned mail: the next server still tries, until Tue");
    assert_eq!((&delayed["code"], &delayed["class"]), (&451.into(), &"network".into()));
    returned(listen, &path, &dsn("delivered", "2.0.0", "250 2.0.0 ok"));
    wait_for(&site, &late, "delivered");
    returned(
        listen,
        &path,
        "From: a@test.net\nSubject: Automatisk svar: Nyhed\nAuto-Submitted: auto-replied\n\nJeg er ikke på kontoret. 550 5.1.1\n",
    );
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"auto_reply\"} 1");
    returned(listen, &path, "From: a@test.net\nSubject: Re: Nyhed\n\nTak!\n");
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"other\"} 1");
    assert!(of_mail(&site, &late, "bounced").is_empty());
    let (gone, path) = relayed(&site, &next, "b@test.net");
    let exchange = include_str!("../data/returned/exchange-online.eml");
    returned(listen, &path, exchange);
    let bounced = wait_for(&site, &gone, "bounced");
    assert_eq!((&bounced["status"], &bounced["class"]), (&"5.1.10".into(), &"hard".into()));
    // A delivery that comes later changes nothing.
    returned(listen, &path, &dsn("delivered", "2.0.0", "250 2.0.0 ok"));
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"duplicate\"} 1");
    assert!(of_mail(&site, &gone, "delivered").is_empty());
    relay.stop();
}

#[test]
fn complaints_of_a_trusted_provider_are_matched_by_what_the_included_message_says() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "complaints_from = [\"127.0.0.0/8\"]");
    let relay = site.start();
    let report = feedback;
    let (first, path) = relayed(&site, &next, "a@test.net");
    returned(listen, "fbl@returns.test", &report("abuse", &format!("Original-Mail-From: <{path}>\n"), "Subject: x"));
    let complained = wait_for(&site, &first, "complained");
    assert_eq!((&complained["recipient"], &complained["reason"]), (&"a@test.net".into(), &"feedback_report".into()));
    // By the queue id in our Received field, and by the recipient that is named.
    let second = send(&site, &["b@test.net", "c@test.net"]);
    wait_until_relayed(&site, &second, 2);
    let header = String::from_utf8(next.wait_for(3, Duration::from_secs(20))[1].header().to_vec()).unwrap();
    let received: String = header.replace("\r\n", "\n");
    returned(listen, "fbl@returns.test", &report("abuse", "Original-Rcpt-To: C@test.net\n", received.trim_end()));
    assert_eq!(wait_for(&site, &second, "complained")["recipient"], "c@test.net");
    // By the Message-ID; the only mail of this relay with it that has one recipient is the newest.
    let third = send(&site, &["d@test.net"]);
    wait_until_relayed(&site, &third, 1);
    returned(listen, "FBL@returns.test", &report("opt-out", "", "Message-ID: <nyhed@webcrm.example>"));
    wait_for(&site, &third, "unsubscribed");
    returned(listen, "fbl@returns.test", &report("abuse", "", "Message-ID: <other@elsewhere.example>"));
    let unmatched = site.wait_for_event("unmatched", |event| event["event"] == "unmatched");
    assert!(unmatched["detail"].as_str().unwrap().contains("other@elsewhere.example"), "{unmatched}");
    returned(listen, "fbl@returns.test", &report("not-spam", &format!("Original-Mail-From: <{path}>\n"), "Subject: x"));
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"not_spam\"} 1");
    relay.stop();
}

/// A complaint of this type, with more fields of the report, and the header of the message that it includes.
pub fn feedback(kind: &str, named: &str, included: &str) -> String {
    format!(
        "From: fbl@isp.test\nSubject: complaint\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nA complaint.\n\
         --b\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nUser-Agent: ISP/1\nVersion: 1\n{named}\
         --b\nContent-Type: message/rfc822\n\n{included}\n\nbody\n--b--\n"
    )
}

fn suppressed(site: &Site) -> Vec<String> {
    let listed = site.operate(&["suppression", "list", "good", "--json"]);
    let lines = String::from_utf8(listed.stdout).unwrap();
    let address = |line: &str| serde_json::from_str::<Value>(line).unwrap()["address"].as_str().unwrap().to_owned();
    lines.lines().map(address).collect()
}

#[test]
fn a_stranger_who_knows_a_mail_suppresses_nobody() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    let received = String::from_utf8(next.received()[0].header().to_vec()).unwrap().replace("\r\n", "\n");
    let last = path.find('@').unwrap() - 1;
    let mut forged = path.clone();
    forged.replace_range(last..=last, if &path[last..=last] == "0" { "1" } else { "0" });
    for (count, (named, included)) in [
        ("Original-Rcpt-To: a@test.net\n".to_owned(), received.trim_end()),
        (String::new(), "Message-ID: <nyhed@webcrm.example>"),
        (format!("Original-Mail-From: <{forged}>\n"), received.trim_end()),
    ]
    .iter()
    .enumerate()
    {
        assert!(returned(listen, "fbl@returns.test", &feedback("abuse", named, included)).starts_with("250"));
        wait_for_metric(&site, &format!("postbud_returned_mail_read_total{{what=\"unproven\"}} {}", count + 1));
    }
    let unmatched = site.wait_for_event("unmatched", |event| event["event"] == "unmatched");
    let detail = unmatched["detail"].as_str().unwrap();
    assert!(detail.contains(&id) && detail.contains("complaints_from") && detail.contains("127.0.0.1"), "{detail}");
    assert!(of_mail(&site, &id, "complained").is_empty() && suppressed(&site).is_empty());
    // The recipient's own copy proves it, and another recipient that the report names does not count.
    let proven = feedback("abuse", "Original-Rcpt-To: b@test.net\n", &format!("Return-Path: <{path}>"));
    assert!(returned(listen, "fbl@returns.test", &proven).starts_with("250"));
    assert_eq!(wait_for(&site, &id, "complained")["recipient"], "a@test.net");
    // It is on the list before it is told.
    assert_eq!(suppressed(&site), ["a@test.net"]);
    relay.stop();
}

#[test]
fn mail_comes_back_to_return_paths_of_the_old_key_and_of_the_new_one() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let relay = site.start();
    let (before, old) = relayed(&site, &next, "a@test.net");
    let rotated = site.operate(&["returns", "rotate-key"]);
    let said = String::from_utf8_lossy(&rotated.stdout).into_owned();
    assert!(rotated.status.success() && said.contains("2 keys"), "{said}{}", String::from_utf8_lossy(&rotated.stderr));
    let audit = site.wait_for_event("audit", |event| event["command"] == "returns.rotate_key");
    assert!(audit["actor"].is_string(), "{audit}");
    relay.stop();
    let relay = site.start();
    let (after, new) = relayed(&site, &next, "a@test.net");
    for (id, path) in [(&before, &old), (&after, &new)] {
        assert!(returned(listen, path, &dsn("failed", "5.2.2", "552 5.2.2 full")).starts_with("250"));
        wait_for(&site, id, "bounced");
    }
    relay.stop();
    // Without the old key nothing of it is taken, so the new mail does carry the new key.
    let keys = std::fs::read_to_string(site.path("state/return-path.keys")).unwrap();
    let (kept, _) = keys.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(site.path("state/return-path.keys"), format!("{kept}\n")).unwrap();
    let relay = site.start();
    let mut client = Client::connect(listen).unwrap();
    client.say("EHLO x").unwrap();
    client.say("MAIL FROM:<>").unwrap();
    assert!(client.say(&format!("RCPT TO:<{old}>")).unwrap().starts_with("550 5.1.1"));
    assert!(client.say(&format!("RCPT TO:<{new}>")).unwrap().starts_with("250"));
    relay.stop();
}

#[test]
fn nothing_but_returned_mail_is_taken_and_nothing_is_relayed() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "[returns.limits]\nmessage_size = \"10 KiB\"\ninbox_size = \"10 KiB\"\n");
    let relay = site.start();
    let (_, path) = relayed(&site, &next, "a@test.net");
    let mut client = Client::connect(listen).unwrap();
    let offered = client.say("EHLO x").unwrap();
    assert!(!offered.contains("AUTH") && !offered.contains("DSN") && !offered.contains("CHUNKING"), "{offered}");
    let forged = |at: usize, octet: &str| {
        let mut forged = path.clone();
        forged.replace_range(at..=at, octet);
        forged
    };
    let last = path.find('@').unwrap() - 1;
    let other = if &path[last..=last] == "0" { "1" } else { "0" };
    for (to, code) in [
        ("victim@gmail.example", "550 5.7.1"),
        ("a@good.example", "550 5.7.1"),
        ("\"victim@gmail.example\"@returns.test", "550 5.1.1"),
        ("victim%gmail.example@returns.test", "550 5.1.1"),
        ("postmaster@returns.test", "550 5.1.1"),
        (&forged(last, other), "550 5.1.1"),
        (&forged(last, ""), "550 5.1.1"),
        (&path.replace("-0-", "-1-"), "550 5.1.1"),
        (&path.replace("@returns.test", "@other.test"), "550 5.7.1"),
    ] {
        assert!(client.say("MAIL FROM:<>").unwrap().starts_with("250"));
        let heard = client.say(&format!("RCPT TO:<{to}>")).unwrap();
        assert!(heard.starts_with(code), "{to}: {heard}");
        assert!(client.say("DATA").unwrap().starts_with("554"), "nobody to send to");
        assert!(client.say("RSET").unwrap().starts_with("250"));
        client = Client::connect(listen).unwrap();
    }
    // A source route is no way out either.
    client.say("MAIL FROM:<>").unwrap();
    assert!(client.say("RCPT TO:<@returns.test:victim@gmail.example>").unwrap().starts_with("550 5.7.1"));
    assert!(client.say("AUTH PLAIN AHgAeQ==").unwrap().starts_with("503"));
    // No room, and too large.
    let mut client = Client::connect(listen).unwrap();
    let large = |octets: usize| format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(octets / 12)).into_bytes();
    assert!(client.send("", &[&path], &large(9_000)).unwrap().starts_with("452 4.3.1"));
    assert!(client.send("", &[&path], &large(12_000)).unwrap().starts_with("552 5.3.4"));
    assert!(client.send("", &[&path], &large(100)).unwrap().starts_with("250"));
    assert!(client.say("BDAT 4 LAST").unwrap().starts_with("502"));
    relay.stop();
    assert_eq!(next.received().len(), 1, "nothing but the first mail has left");
}

#[test]
fn only_crlf_dot_crlf_ends_returned_mail() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    for lookalike in LOOKALIKES {
        for step in [1, 3, 4096] {
            let mut client = Client::connect(listen).unwrap();
            for line in ["MAIL FROM:<>".to_owned(), format!("RCPT TO:<{path}>"), "DATA".to_owned()] {
                assert!(client.say(&line).unwrap().starts_with(['2', '3']));
            }
            let smuggled = format!(
                "MAIL FROM:<>\r\nRCPT TO:<{path}>\r\nDATA\r\n{}\r\n.\r\n",
                dsn("failed", "5.1.1", "550 x").replace('\n', "\r\n")
            );
            let wire = [b"Subject: x\r\n\r\na", lookalike, smuggled.as_bytes()].concat();
            for piece in wire.chunks(step) {
                client.push(piece).unwrap();
            }
            assert!(client.hear().unwrap().starts_with("550 5.6.0"), "{lookalike:?}");
            assert!(
                client.say("NOOP").unwrap().starts_with("250"),
                "{lookalike:?}: one answer, and the connection goes on"
            );
        }
    }
    assert!(of_mail(&site, &id, "bounced").is_empty());
    relay.stop();
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let mut relay = site.start();
    let mut ids = Vec::new();
    for round in 0..3 {
        let count = 10;
        let all: Vec<(String, String)> =
            (0..count).map(|n| relayed(&site, &next, &format!("r{round}n{n}@test.net"))).collect();
        let mut client = Client::connect(listen).unwrap();
        for (id, path) in all {
            let report = dsn("failed", "5.2.2", "552 5.2.2 full").replace('\n', "\r\n");
            assert!(client.send("", &[&path], report.as_bytes()).unwrap().starts_with("250"));
            ids.push(id);
        }
        relay.kill();
        relay = site.start();
    }
    for id in &ids {
        wait_for(&site, id, "bounced");
    }
    relay.stop();
    let mut told = HashSet::new();
    for event in site.events().iter().filter(|event| event["event"] == "bounced") {
        assert_eq!(event["class"], "mailbox_full");
        told.insert((event["queue_id"].as_str().unwrap().to_owned(), event["event_id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(told.len(), ids.len(), "one bounce a mail, however often it is told");
}

#[test]
fn what_the_record_has_forgotten_stays_forgotten() {
    let next = Capture::start();
    let (site, _) = site(next.address, "");
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    relay.stop();
    let erased = site.operate(&["record", "erase", "--recipient", "a@test.net"]);
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    let line = format!(r#"{{"at":1,"peer":"192.0.2.1","client":"mx","sender":"","recipients":["{path}"]}}"#);
    let waiting = site.path("state/returned/0000000000001-0000000000000000.mail");
    std::fs::write(&waiting, format!("{line}\n{}", dsn("failed", "5.1.1", "550 5.1.1 no"))).unwrap();
    let relay = site.start();
    let unmatched = site.wait_for_event("unmatched", |event| event["event"] == "unmatched");
    assert!(unmatched["detail"].as_str().unwrap().contains(&id), "{unmatched}");
    relay.stop();
    assert!(of_mail(&site, &id, "bounced").is_empty() && !waiting.exists());
}

#[test]
fn a_failure_goes_on_to_the_original_sender_and_is_not_answered() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "forward = \"failures\"\n");
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    returned(listen, &path, &dsn("delayed", "4.4.1", "451 later"));
    returned(listen, &path, &dsn("failed", "5.1.1", "550 5.1.1 no such user"));
    wait_for(&site, &id, "bounced");
    let forwarded = next.wait_for(2, Duration::from_secs(20)).pop().unwrap();
    assert!(forwarded.from.starts_with("<>"), "{}", forwarded.from);
    assert!(forwarded.to[0].contains(FROM), "{:?}", forwarded.to);
    let header = String::from_utf8(forwarded.header().to_vec()).unwrap();
    assert!(header.contains(&format!("X-Postbud-Returned: {id}")) && !header.contains("DKIM-Signature"), "{header}");
    wait_for_metric(&site, "postbud_returned_mail_forwarded_total{what=\"queued\"} 1");
    relay.stop();
    assert_eq!(next.received().len(), 2);
}

/// Mail to a return path usually has the null sender, but automatic replies and people's answers have their own.
#[test]
fn answers_with_a_sender_of_their_own_are_told_apart_and_forwarded_with_everything_but_complaints() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "forward = \"everything\"\n");
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    let answered = |content: &str| {
        let mut client = Client::connect(listen).unwrap();
        let reply = client.send("a@test.net", &[&path], content.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!(reply, "250 2.0.0 taken");
    };
    let forwarded = |count: usize, marker: &str| {
        let mail = next.wait_for(count + 1, Duration::from_secs(20)).pop().unwrap();
        assert!(mail.from.starts_with("<>"), "nothing answers it: {}", mail.from);
        assert!(mail.to.len() == 1 && mail.to[0].contains(FROM), "{:?}", mail.to);
        let content = String::from_utf8_lossy(&mail.content).into_owned();
        assert!(content.contains(marker) && content.contains(&format!("X-Postbud-Returned: {id}")), "{content}");
        wait_for_metric(&site, &format!("postbud_returned_mail_forwarded_total{{what=\"queued\"}} {count}"));
    };
    answered("From: a@test.net\nSubject: Away\nAuto-Submitted: auto-replied\n\nBack on Monday. 550 5.1.1\n");
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"auto_reply\"} 1");
    forwarded(1, "Back on Monday");
    answered("From: a@test.net\nSubject: Re: Nyhed\n\nThank you!\n");
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"other\"} 1");
    forwarded(2, "Thank you!");
    returned(listen, &path, &dsn("delayed", "4.4.1", "451 4.4.1 no answer"));
    wait_for(&site, &id, "delayed");
    forwarded(3, "Action: delayed");
    // A complaint is for the relay alone.
    returned(listen, &path, &feedback("abuse", "", &format!("Return-Path: <{path}>")));
    assert_eq!(wait_for(&site, &id, "complained")["recipient"], "a@test.net");
    assert!(of_mail(&site, &id, "bounced").is_empty());
    relay.stop();
    assert_eq!(next.received().len(), 4);
}

/// A report of this number on yesterday, as receivers mail it: 100 messages of a server that passes, and 5 that fail.
fn dmarc_report(id: u32) -> Vec<u8> {
    const DAY: u64 = 86_400;
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / DAY;
    let record = |ip: &str, count: u32, result: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>\
             <dkim>{result}</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>good.example</header_from>\
             </identifiers><auth_results><dkim><domain>good.example</domain><selector>s</selector><result>{result}</result></dkim>\
             </auth_results></record>"
        )
    };
    let xml = format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>receiver.example</org_name><report_id>{id}</report_id><date_range>\
         <begin>{}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>good.example</domain><p>none</p>\
         </policy_published>{}{}</feedback>",
        (today - 1) * DAY,
        today * DAY - 1,
        record("192.0.2.7", 100, "pass"),
        record("198.51.100.9", 5, "fail")
    );
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(xml.as_bytes()).unwrap();
    let body = STANDARD.encode(packer.finish().unwrap());
    let lines: Vec<&str> = body.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: reports@receiver.example\r\nTo: dmarc@reports.test\r\nSubject: Report domain: good.example Report-ID: {id}\r\n\
         MIME-Version: 1.0\r\nContent-Type: application/gzip; name=\"r!good.example!{id}.xml.gz\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

#[test]
fn dmarc_reports_that_are_mailed_count_once_and_survive_a_kill() {
    const ROUNDS: u32 = 3;
    const REPORTS: u32 = 6;
    let next = Capture::start();
    let more = "[returns.dmarc]\naddress = \"dmarc@reports.test\"\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\nattempts = 1\n";
    let (site, listen) = site(next.address, more);
    let mut relay = site.start();
    let mail = |id: u32| {
        let mut client = Client::connect(listen).unwrap();
        client.send("reports@receiver.example", &["dmarc@reports.test"], &dmarc_report(id)).unwrap()
    };
    let told = || {
        let told = site.operate(&["dmarc", "report", "good", "--json"]);
        // Nobody answers for the policy that is published, which is said besides.
        let told: Value = serde_json::from_slice(&told.stdout).expect("what reports say");
        (told[0]["reports"].as_u64().unwrap(), told[0]["all"]["messages"].as_u64().unwrap())
    };
    assert_eq!(told(), (0, 0));
    assert_eq!(mail(1), "250 2.0.0 taken");
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"dmarc\"} 1");
    assert_eq!(told(), (1, 105));
    // The receiver mails it again.
    assert_eq!(mail(1), "250 2.0.0 taken");
    wait_for_metric(&site, "postbud_returned_mail_read_total{what=\"dmarc\"} 2");
    assert_eq!(told(), (1, 105));
    // No other address of that domain is taken.
    let mut client = Client::connect(listen).unwrap();
    assert!(client.say("MAIL FROM:<reports@receiver.example>").unwrap().starts_with("250"));
    assert!(client.say("RCPT TO:<other@reports.test>").unwrap().starts_with("550"));

    for round in 0..ROUNDS {
        for number in 0..REPORTS {
            assert_eq!(mail(2 + round * REPORTS + number), "250 2.0.0 taken");
        }
        relay.kill();
        relay = site.start();
    }
    let all = u64::from(1 + ROUNDS * REPORTS);
    let begun = Instant::now();
    while told() != (all, 105 * all) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?} of {all}", told());
        std::thread::sleep(Duration::from_millis(100));
    }
    relay.stop();
    assert_eq!(std::fs::read_dir(site.path("state/returned")).unwrap().count(), 0);
    assert_eq!(told(), (all, 105 * all));
}

#[test]
fn a_full_disk_raises_an_alert_and_loses_nothing() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    let folder = site.path("state/returned");
    let memory = match Memory::over(&folder, "size=64k,mode=700") {
        Ok(memory) => memory,
        Err(why) => return skip("a_full_disk_raises_an_alert_and_loses_nothing", &why),
    };
    let relay = site.start();
    let (id, path) = relayed(&site, &next, "a@test.net");
    let report = dsn("failed", "5.2.2", "552 5.2.2 full");
    let large = report.replace("Words.", &"Words.\n".repeat(20_000));
    let heard = returned(listen, &path, &large);
    assert!(heard.starts_with("452 4.3.1"), "{heard}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing half written stays");
    assert!(returned(listen, &path, &report).starts_with("250"), "a small one has room");
    wait_for(&site, &id, "bounced");
    relay.stop();
    drop(memory);
}

#[test]
fn starttls_takes_no_plaintext_along() {
    let next = Capture::start();
    let (site, listen) = site(next.address, "");
    with_certificate(&site);
    let relay = site.start();
    let mut client = Client::connect(listen).unwrap();
    assert!(client.say("EHLO x").unwrap().contains("STARTTLS"));
    client.push(b"STARTTLS\r\nMAIL FROM:<>\r\n").unwrap();
    assert!(client.hear().unwrap().starts_with("554"));
    assert!(client.hear().is_err(), "the connection is closed");
    relay.stop();
}

/// Gives the listener of returned mail a certificate.
fn with_certificate(site: &Site) {
    Authority::new().issue(&["localhost", "127.0.0.1"]).write(&site.path("config"));
    let file = std::fs::read_to_string(site.config()).unwrap();
    let with = "certificate = \"cert.pem\"\nprivate_key = \"cert.key\"\n";
    let (before, returns) = file.split_once("[returns]").unwrap();
    let returns = returns.replacen("tls = \"off\"\n", with, 1);
    std::fs::write(site.config(), format!("{before}[returns]{returns}")).unwrap();
}

/// A relay that sends through a real server, which sends on to a server that knows nobody, and whose bounces come back.
fn bounced_by(name: &str, start: fn(&str, &Options) -> Option<Peer>) -> Option<Value> {
    let refusing = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("RCPT").then(|| "550 5.1.1 no such user here".to_owned())),
    );
    let listen = free_port();
    let routes = vec![("gone.test", refusing.address), (DOMAIN, listen)];
    // Postfix returns over TLS or not at all. Exim takes what is offered.
    let policy = format!("smtp_tls_policy_maps = inline:{{ {{ [127.0.0.1]:{} = encrypt }} }}", listen.port());
    let more = if name.contains("postfix") { vec![policy] } else { Vec::new() };
    let peer = start(name, &Options { routes, more, ..Options::default() })?;
    let site = Site::with(&[], &format!("[returns]\ndomain = \"{DOMAIN}\"\nlisten = \"{listen}\"\ntls = \"off\"\n"));
    with_certificate(&site);
    let username =
        if name.contains("postfix") { format!("{}@{REALM}", peers::USERNAME) } else { peers::USERNAME.to_owned() };
    let route = format!("{}return_path = \"verp\"\n", own_server(&site, &peer, &username));
    site.add(&Customer { id: "good", domain: "good.example", route });
    let probed = site.operate(&["probe", "good"]);
    let said = String::from_utf8_lossy(&probed.stdout).into_owned();
    assert!(probed.status.success() && said.contains("return path") && said.contains(DOMAIN), "{said}");
    let relay = site.start();
    let id = send(&site, &["nobody@gone.test"]);
    wait_until_relayed(&site, &id, 1);
    let begun = Instant::now();
    let bounced = loop {
        if let Some(found) = of_mail(&site, &id, "bounced").pop() {
            break found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "no bounce; log of the server:\n{}\n{:#?}",
            peer.log(),
            site.events()
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    relay.stop();
    Some(bounced)
}

#[test]
fn postfix_returns_a_mail_and_the_record_has_its_late_bounce() {
    let name = "postfix_returns_a_mail_and_the_record_has_its_late_bounce";
    let Some(bounced) = bounced_by(name, start_postfix) else { return };
    assert_eq!((&bounced["recipient"], &bounced["class"]), (&"nobody@gone.test".into(), &"hard".into()));
    assert_eq!((&bounced["code"], &bounced["status"]), (&550.into(), &"5.1.1".into()));
    assert!(bounced["reply"].as_str().unwrap().contains("no such user here"), "{bounced}");
}

#[test]
fn exim_returns_a_mail_and_the_record_has_its_late_bounce() {
    let name = "exim_returns_a_mail_and_the_record_has_its_late_bounce";
    let Some(bounced) = bounced_by(name, start_exim) else { return };
    assert_eq!((&bounced["recipient"], &bounced["class"]), (&"nobody@gone.test".into(), &"hard".into()));
    assert!(bounced["reply"].as_str().unwrap().contains("no such user here"), "{bounced}");
}

//! Notifications against golden files and against two parsers that are not ours: mail-parser and Python's email package.
//!
//! `UPDATE_GOLDEN=1 cargo test --test operator golden` writes the golden files anew; read the difference.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders, PartType};
use postbud::bounce::{Action, Attempt, Language, Notification, Original, RecipientReport, Settings, notification};
use postbud::message::{Notify, QueueId, Ret, Urgency};
use postbud::smtp::{Mailbox, ReversePath};
use postbud::spool::Record;
use postbud::time::Timestamp;
use serde_json::Value;

use crate::records;

const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

const HEADER: &[u8] = b"DKIM-Signature: v=1; a=rsa-sha256; d=test.dk; b=x\r\nFrom: Test A/S <nyhedsbrev@test.dk>\r\n\
    To: kunde@example.com\r\nSubject: =?utf-8?q?Sommerens_bl=C3=A5b=C3=A6r?=\r\nMessage-ID: <1@test.dk>\r\n";

fn record(to: &[&str]) -> Record {
    let mut record = records::record("bounce+1@bounce.webcrm.com", to);
    record.lane.urgency = Urgency::Bulk;
    record.envelope.recipients[0].orcpt = Some("rfc822;kunde+2Bnyt@example.com".into());
    record.envelope.envid = Some("webcrm+2D4711".into());
    Record { id: QueueId::first_at(NOW - Duration::from_secs(3600)), size: 4_000, attempts: 3, due: NOW, ..record }
}

fn report(index: usize, reply: &str) -> RecipientReport {
    let attempt = Some(Attempt { at: NOW, server: "mx.example.com".into() });
    RecipientReport { index, reply: reply.into(), advice: None, attempt, expired: false }
}

fn settings(language: Language) -> Settings {
    Settings { language, reporting_mta: "out.webcrm.com".into(), ..Settings::default() }
}

fn message(notice: &Notification) -> Vec<u8> {
    [&notice.header[..], b"\r\n", &notice.body].concat()
}

/// One notification of each kind, by the name of its golden file.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let make = |record: &Record, header, body, action, reports: &[RecipientReport], language| {
        let original = Original { header, body };
        message(&notification(record, original, action, reports, &settings(language), NOW).unwrap())
    };
    let refused = RecipientReport {
        advice: Some("Allow 40.74.40.57 in the connector of example.com".into()),
        ..report(0, "550 5.7.1 refused by policy")
    };
    let expired = RecipientReport { expired: true, attempt: None, ..report(1, "451 4.7.1 greylisted") };
    let two = record(&["kunde@example.com", "anden@example.org"]);
    let one = record(&["kunde@example.com"]);
    let mut full = record(&["kunde@example.com"]);
    full.envelope.ret = Some(Ret::Full);
    let mut asked = record(&["kunde@example.com"]);
    asked.envelope.recipients[0].notify = Some(Notify { success: true, ..Notify::NEVER });
    let international = record(&["søren@blåbær.dk"]);
    let utf8_header = "From: x@test.dk\r\nSubject: blåbær\r\n".as_bytes();
    let until = NOW + Duration::from_secs(4 * 86_400);
    let unknown = || [report(0, "550 5.1.1 no such user")];
    vec![
        ("failed-both", make(&two, HEADER, None, Action::Failed, &[refused, expired], Language::Both)),
        ("failed-danish", make(&one, HEADER, None, Action::Failed, &unknown(), Language::Danish)),
        (
            "delayed-english",
            make(&one, HEADER, None, Action::Delayed { until }, &[report(0, "connection refused")], Language::English),
        ),
        ("relayed-both", make(&asked, HEADER, None, Action::Relayed, &[report(0, "250 2.0.0 queued")], Language::Both)),
        (
            "returned-in-full",
            make(&full, HEADER, Some(b"Hej kunde\r\n"), Action::Failed, &unknown(), Language::English),
        ),
        ("international", make(&international, utf8_header, None, Action::Failed, &unknown(), Language::English)),
    ]
}

#[test]
fn notifications_are_as_in_the_golden_files() {
    for (name, message) in samples() {
        let text = String::from_utf8(message).unwrap();
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{name}: every line ends in CRLF");
        assert!(text.lines().all(|line| line.len() <= 998), "{name}");
        let text = text.replace("\r\n", "\n");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/operator/golden/{name}.eml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, golden, "{name}: see UPDATE_GOLDEN above");
    }
}

#[test]
fn mail_parser_reads_the_three_parts() {
    for (name, message) in samples() {
        let parsed = MessageParser::default().parse(&message).unwrap();
        let content_type = parsed.content_type().unwrap();
        assert_eq!((content_type.ctype(), content_type.subtype()), ("multipart", Some("report")), "{name}");
        assert_eq!(content_type.attribute("report-type"), Some("delivery-status"), "{name}");
        assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("mailer-daemon@test.dk"), "{name}");
        assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("bounce+1@bounce.webcrm.com"), "{name}");
        let PartType::Multipart(parts) = &parsed.parts[0].body else { panic!("{name}: no multipart") };
        assert_eq!(parts.len(), 3, "{name}");
        let text = parsed.body_text(0).unwrap();
        assert!(
            text.contains("1795454640000") || text.contains("Kø-id") || text.contains("Queue id"),
            "{name}: {text}"
        );
    }
    let by_name = |name: &str| samples().into_iter().find(|(other, _)| *other == name).unwrap().1;
    let danish = by_name("failed-danish");
    let danish = MessageParser::default().parse(&danish).unwrap();
    assert_eq!(danish.subject(), Some("Ikke leveret: Sommerens blåbær"));
    assert!(danish.body_text(0).unwrap().contains("Kontrollér stavemåden"));
}

/// What Python's email package makes of a notification.
fn python(message: &[u8]) -> Option<Value> {
    const SCRIPT: &str = r"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = m.get_payload()
status = parts[1].get_payload()
print(json.dumps({
    'defects': [str(d) for part in m.walk() for d in part.defects],
    'types': [part.get_content_type() for part in parts],
    'report': m.get_param('report-type'),
    'subject': str(m['subject']), 'auto': str(m['auto-submitted']), 'reply': str(m['in-reply-to']),
    'text': parts[0].get_content(),
    'message': dict((k, str(v)) for k, v in status[0].items()),
    'recipients': [dict((k, str(v)) for k, v in block.items()) for block in status[1:] if block.keys()],
}))";
    let started =
        Command::new("/usr/bin/python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = started else {
        crate::skip::skip("notifications read by Python", "no python3");
        return None;
    };
    python.stdin.take().unwrap().write_all(message).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn python_reads_the_status_of_every_recipient() {
    for (name, message) in samples() {
        let Some(read) = python(&message) else { return };
        assert_eq!(read["defects"].as_array().unwrap().len(), 0, "{name}: {read}");
        assert_eq!(read["report"], "delivery-status", "{name}");
        assert_eq!(read["types"][1], "message/delivery-status", "{name}");
        assert_eq!(read["message"]["Reporting-MTA"], "dns; out.webcrm.com", "{name}");
        assert_eq!(read["message"]["Original-Envelope-Id"], "webcrm-4711", "{name}");
        assert_eq!(read["auto"], "auto-replied", "{name}");
        assert_eq!(read["reply"], "<1@test.dk>", "{name}");
        let recipient = &read["recipients"][0];
        let expected = match name {
            "failed-both" => ["rfc822; kunde@example.com", "failed", "5.7.1", "smtp; 550 5.7.1 refused by policy"],
            "delayed-english" => ["rfc822; kunde@example.com", "delayed", "4.4.1", "X-Postbud; connection refused"],
            "relayed-both" => ["rfc822; kunde@example.com", "relayed", "2.0.0", "smtp; 250 2.0.0 queued"],
            "international" => {
                [r"utf-8; s\x{F8}ren@xn--blbr-roah.dk", "failed", "5.1.1", "smtp; 550 5.1.1 no such user"]
            }
            _ => ["rfc822; kunde@example.com", "failed", "5.1.1", "smtp; 550 5.1.1 no such user"],
        };
        let got =
            ["Final-Recipient", "Action", "Status", "Diagnostic-Code"].map(|field| recipient[field].as_str().unwrap());
        assert_eq!(got, expected, "{name}");
        assert_eq!(recipient["Original-Recipient"], "rfc822; kunde+nyt@example.com", "{name}");
        match name {
            "failed-both" => {
                assert_eq!(read["types"][2], "text/rfc822-headers");
                assert_eq!(recipient["Remote-MTA"], "dns; mx.example.com");
                assert_eq!(read["recipients"][1]["Status"], "5.4.7");
                let text = read["text"].as_str().unwrap();
                assert!(text.contains("Det kan du gøre") && text.contains("What you can do"), "{text}");
                assert!(text.contains("Allow 40.74.40.57"), "{text}");
            }
            "delayed-english" => assert_eq!(recipient["Will-Retry-Until"], "Fri, 27 Nov 2026 18:24:00 +0000"),
            "returned-in-full" => assert_eq!(read["types"][2], "message/rfc822"),
            "international" => assert_eq!(read["types"][2], "message/global-headers"),
            _ => {}
        }
    }
}

#[test]
fn blanks_in_an_address_or_an_envelope_id_are_kept() {
    for local in ["\"a  b\"", "\"  a   b  \"", "\" \"", &format!("\"{}x\"", "a  ".repeat(20))] {
        let mut record = record(&[&format!("{local}@example.com")]);
        let xtext = |text: &str| text.replace('"', "+22").replace(' ', "+20");
        record.envelope.recipients[0].orcpt = Some(format!("rfc822;{}@example.org", xtext(local)));
        record.envelope.envid = Some("a+20+20b".into());
        record.envelope.reverse_path = ReversePath::Mailbox(Mailbox::parse(&format!("{local}@test.dk")).unwrap());
        let reply = format!("550 5.1.1 <{local}@example.com> no such user");
        let original = Original { header: HEADER, body: None };
        let settings = settings(Language::Both);
        let notice = notification(&record, original, Action::Failed, &[report(0, &reply)], &settings, NOW).unwrap();
        let to = String::from_utf8(notice.header.clone()).unwrap();
        assert!(to.contains(&format!("\r\nTo: <{local}@test.dk>\r\n")), "{to}");
        let Some(read) = python(&message(&notice)) else { return };
        let recipient = &read["recipients"][0];
        assert_eq!(recipient["Final-Recipient"], format!("rfc822; {local}@example.com"));
        assert_eq!(recipient["Original-Recipient"], format!("rfc822; {local}@example.org"));
        assert_eq!(recipient["Diagnostic-Code"], format!("smtp; {reply}"));
        assert_eq!(read["message"]["Original-Envelope-Id"], "a  b");
        assert!(read["text"].as_str().unwrap().contains(&format!("\n  {local}@example.com\r\n")), "{read}");
    }
}

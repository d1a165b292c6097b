//! The changes to a message's octets on their way in.

use std::time::Duration;

use postbud::dkim::verify::{Keys, verify};
use postbud::message::BodyKind;

use crate::intake_spool::{bytes, text};
use crate::support::{Server, Setup, rsa_key};

fn assert_signed(server: &Server, message: &[u8]) {
    let record = format!("v=DKIM1; k=rsa; p={}", rsa_key().public_key_base64().unwrap());
    let verdicts = server.runtime.block_on(verify(message, Keys::Record(&record))).unwrap();
    // Ours comes first; the message may have brought others.
    assert_eq!(verdicts[0].result, Ok(()), "{}", String::from_utf8_lossy(message));
}

#[test]
fn every_realistic_message_arrives_octet_for_octet_and_signed() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let mut files: Vec<_> = std::fs::read_dir("tests/data").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "eml"));
    files.sort();
    assert!(files.len() >= 20, "{} messages", files.len());
    for path in files {
        let original = std::fs::read(&path).unwrap();
        let mut wire = Vec::new();
        let mut stuffer = postbud::smtp::DotStuffer::new();
        stuffer.stuff(&original, &mut wire).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        stuffer.end(&mut wire).unwrap();
        client.begin("bounce@bounce.webcrm.com");
        client.send(&wire);
        client.hear("250 2.0.0 queued");
        let draft = server.spool.drafts().pop().unwrap();
        let content = draft.content.concat();
        // A message without final line end gets one; Bcc is gone; nothing else is changed.
        let mut expected = original.clone();
        if !expected.ends_with(b"\r\n") {
            expected.extend_from_slice(b"\r\n");
        }
        let expected = String::from_utf8_lossy(&expected).into_owned();
        let kept: String = without_bcc(&expected);
        assert_eq!(String::from_utf8_lossy(&content), kept, "{}", path.display());
        assert_signed(&server, &bytes(&draft));
        let eight_bit = if original.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBit };
        assert_eq!(draft.envelope.body, eight_bit, "{}", path.display());
    }
}

/// Line by line, unlike the server.
fn without_bcc(message: &str) -> String {
    let (mut out, mut in_header, mut in_bcc) = (String::new(), true, false);
    for line in message.split_inclusive("\r\n") {
        if in_header {
            in_bcc = if line.starts_with([' ', '\t']) { in_bcc } else { line.to_lowercase().starts_with("bcc:") };
            in_header = line != "\r\n";
            if in_bcc && in_header {
                continue;
            }
        }
        out.push_str(line);
    }
    out
}

#[test]
fn bcc_is_dropped_and_what_is_missing_is_added_and_signed() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.mail("a@test.dk", "Bcc: x@y.dk,\n z@y.dk\nFrom: a@test.dk\nBCC: q@y.dk\n\nDav\n");
    let draft = server.spool.only();
    let text = text(&draft);
    assert!(!text.to_lowercase().contains("bcc:") && !text.contains("y.dk"), "{text}");
    let prefix = String::from_utf8(draft.prefix.clone()).unwrap();
    assert!(prefix.starts_with("Received: "), "{prefix}");
    let signature = prefix.split("\r\n").collect::<String>().to_lowercase();
    let signed = signature.split("h=").nth(1).unwrap().split(';').next().unwrap().replace([' ', '\t'], "");
    let signed: Vec<_> = signed.split(':').collect();
    assert!(signed.contains(&"date") && signed.contains(&"message-id") && !signed.contains(&"received"), "{signed:?}");
    assert_signed(&server, text.as_bytes());
    assert_eq!(&draft.content.concat()[..draft.header_len as usize], b"From: a@test.dk\r\n");
}

#[test]
fn what_does_not_leave_needs_no_extension() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let mut needs = |domain: &str, fields: &str, body: &str| {
        client.say(&format!("MAIL FROM:<a@{domain}> SMTPUTF8"), "250");
        client.say("RCPT TO:<kunde@example.com>", "250");
        client.say("DATA", "354");
        client.send(format!("From: a@{domain}\r\n{fields}\r\n{body}\r\n.\r\n"));
        client.hear("250");
        let envelope = server.spool.drafts().pop().unwrap().envelope.clone();
        (envelope.body, envelope.smtputf8)
    };
    let (seven, eight) = ((BodyKind::SevenBit, false), (BodyKind::EightBit, true));
    assert_eq!(needs("test.dk", "Bcc: S\u{f8}ren <x@y.dk>\r\n", "Hej"), seven);
    assert_eq!(needs("test.dk", "Subject: S\u{f8}ren\r\nBcc: x@y.dk\r\n", "Hej"), eight);
    assert_eq!(needs("test.dk", "Bcc: x@y.dk\r\n", "S\u{f8}ren"), (BodyKind::EightBit, false));
    // The header of a part would need SMTPUTF8 by the letter; it passes for text.
    let part = "--x\r\nContent-Disposition: attachment; filename=\"S\u{f8}ren.pdf\"\r\n\r\nHej\r\n--x--";
    let multipart = "Content-Type: multipart/mixed; boundary=x\r\n";
    assert_eq!(needs("test.dk", multipart, part), (BodyKind::EightBit, false));
    // What steers Mailjet goes to Mailjet only.
    assert_eq!(needs("test.dk", "X-MJ-CustomID: S\u{f8}ren\r\n", "Hej"), eight);
    assert_eq!(needs("own.dk", "X-MJ-CustomID: S\u{f8}ren\r\n", "Hej"), seven);
    assert_eq!(needs("own.dk", "X-MJ-CustomID: 1\r\nX-Other: S\u{f8}ren\r\n", "Hej"), eight);
}

#[test]
fn what_is_there_is_not_added_again() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    client.mail("a@test.dk", "From: a@test.dk\nDate: 23 Nov 2026 19:00:00 +0100\nMessage-Id: <dims@test.dk>\n\nDav\n");
    let draft = server.spool.only();
    assert_eq!(draft.message_id, "dims@test.dk");
    let text = text(&draft).to_lowercase();
    assert_eq!((text.matches("\ndate:").count(), text.matches("\nmessage-id:").count()), (1, 1));
    let due = draft.retry_at.since(draft.id.arrived());
    assert!((Duration::from_secs(59)..Duration::from_secs(62)).contains(&due), "{due:?}");
}

#[test]
fn a_message_never_leaves_with_two_dates_or_message_ids() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for (value, kept) in [(" dims uden klammer", true), (" <\u{e6}@test.dk>", true), ("", false), (" \n\t", false)] {
        let reply = client.mail("a@test.dk", &format!("From: a@test.dk\nMessage-ID:{value}\nDate:{value}\n\nDav\n"));
        assert!(reply.starts_with("250"), "{value:?}: {reply}");
        let draft = server.spool.drafts().pop().unwrap();
        let text = text(&draft);
        let fields = |name: &str| text.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
        let (ids, dates) = (fields("Message-ID:"), fields("Date:"));
        assert_eq!((ids.len(), dates.len()), (1, 1), "{text}");
        assert_eq!(ids[0] == format!("Message-ID:{value}"), kept, "{text}");
        assert!(draft.message_id.bytes().all(|b| (33..=126).contains(&b)), "{:?}", draft.message_id);
        assert_signed(&server, &bytes(&draft));
    }
}

#[test]
fn a_message_without_body_or_blank_line_is_whole() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    for message in ["From: a@test.dk\n", "From: a@test.dk\n\n"] {
        assert!(client.mail("a@test.dk", message).starts_with("250"));
        let draft = server.spool.drafts().pop().unwrap();
        assert_eq!(draft.content.concat(), b"From: a@test.dk\r\n\r\n");
        assert_eq!(draft.header_len as usize, "From: a@test.dk\r\n".len());
        assert_signed(&server, &bytes(&draft));
    }
}

#[test]
fn large_messages_come_in_chunks_and_whole() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let body: String = (0..30_000).map(|n| format!("line {n} with some more text in it\r\n")).collect();
    client.begin("a@test.dk");
    client.send(format!("From: a@test.dk\r\n\r\n{body}.\r\n"));
    client.hear("250");
    let draft = server.spool.only();
    assert!(draft.content.len() > 3);
    assert!(draft.content.iter().all(|chunk| chunk.len() <= 256 << 10));
    assert!(bytes(&draft).ends_with(body.as_bytes()));
    assert_signed(&server, &bytes(&draft));
    assert_eq!(server.counters.bytes_in_flight.get(), 0);
}

#[test]
fn a_long_header_lies_in_the_first_chunk() {
    let server = Setup::default().start();
    let mut client = server.logged_in();
    let field = format!("X-Long: {}\n", "x".repeat(900));
    let header = format!("From: a@test.dk\n{}", field.repeat(250));
    let body = "y".repeat(900) + "\n";
    assert!(client.mail("a@test.dk", &format!("{header}\n{}", body.repeat(100))).starts_with("250"));
    let draft = server.spool.only();
    assert!(draft.content[0].len() <= 256 << 10 && draft.content[0].len() > draft.header_len as usize);
    assert_eq!(draft.header_len as usize, header.replace('\n', "\r\n").len());
}

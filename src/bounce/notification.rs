//! Writes a notification from a record and the reports about its recipients. Does no I/O.
//!
//! ```text
//! multipart/report; report-type=delivery-status        RFC 6522, RFC 3464
//! ├─ text/plain                    plain words with the remedy
//! ├─ message/delivery-status       one block for the message, one a recipient
//! └─ text/rfc822-headers           the message's header; message/global-headers where it is UTF-8 (RFC 6533);
//!                                  message/rfc822 of a failure with RET=FULL
//! ```

use super::mime::{header_text, is_seven_bit, quoted_printable};
use super::report::{Action, RecipientReport};
use super::status::{delivery_status, status};
use super::{Settings, words};
use crate::message::{
    BodyKind, CustomerId, Envelope, Lane, MailKind, Notify, QueueId, Recipient, Ret, Urgency, headers::fields,
};
use crate::smtp::{Domain, EnhancedCode, Mailbox, ReversePath};
use crate::spool::{Draft, Record};
use crate::time::Timestamp;

/// The largest part of a message's header that is returned, in octets.
const HEADER_LIMIT: usize = 64 << 10;
/// The spool takes content in pieces of at most this many octets.
const PIECE: usize = 256 << 10;

/// The message a notification is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// The header block, with the prefix first and with CRLF line ends. The blank line may be there or not.
    pub header: &'a [u8],
    /// The body after the blank line, if the caller read it for RET=FULL.
    pub body: Option<&'a [u8]>,
}

/// A notification ready to be signed and sent.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The envelope sender of the original, who gets the notification.
    pub to: Mailbox,
    /// The domain of the notification's From address, whose key signs.
    pub from_domain: Domain,
    /// The notification's Message-ID without angle brackets.
    pub message_id: String,
    /// The header fields with CRLF, without the blank line.
    pub header: Vec<u8>,
    /// The body after the blank line.
    pub body: Vec<u8>,
}

/// Writes the notification about those of `reports` whose recipients want one. Returns `None` for the null sender, and
/// if no recipient wants one.
pub fn notification(
    record: &Record,
    original: Original<'_>,
    action: Action,
    reports: &[RecipientReport],
    settings: &Settings,
    now: Timestamp,
) -> Option<Notification> {
    // RFC 5321 §4.5.5, RFC 3464 §2: a bounce is never bounced.
    let to = record.envelope.reverse_path.mailbox()?;
    let wanted: Vec<(&RecipientReport, EnhancedCode)> = reports
        .iter()
        .filter(|report| record.envelope.recipients.get(report.index).is_some_and(|to| is_wanted(to, action)))
        .map(|report| (report, status(report, action)))
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let subject = original_subject(original.header);
    // Several notifications about one message may be written at once: some recipients failed, others are delayed.
    let serial = format!("{}.{}.{}", record.id, now.as_millis(), action.as_str());
    let message_id = format!("{serial}@{}", settings.reporting_mta);

    let mut text = Vec::new();
    quoted_printable(words::text(record, &subject, action, &wanted, settings).as_bytes(), &mut text);
    let status = delivery_status(record, action, &wanted, settings);
    let returned = Returned::new(record, original, action, settings);
    let boundary = boundary(&serial, &[&text, &status, &returned.content]);
    let body = multipart(&boundary, &text, &status, &returned);

    let from = format!("{}@{}", settings.local_part, record.lane.domain);
    let mut header = String::new();
    let mut field = |name: &str, value: &str| header.push_str(&format!("{name}: {value}\r\n"));
    field("Date", &now.rfc5322());
    field("From", &format!("{} <{from}>", words::sender(settings.language)));
    field("To", &format!("<{to}>"));
    field("Subject", &header_text(&words::subject(settings.language, action, &subject)));
    field("Message-ID", &format!("<{message_id}>"));
    if let Some(answered) = safe_message_id(&record.message_id) {
        field("In-Reply-To", &format!("<{answered}>"));
        field("References", &format!("<{answered}>"));
    }
    // RFC 3834 §5: this field keeps vacation programs from answering.
    field("Auto-Submitted", "auto-replied");
    field("MIME-Version", "1.0");
    field("Content-Type", &format!("multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\""));
    Some(Notification {
        to: to.clone(),
        from_domain: record.lane.domain.clone(),
        message_id,
        header: header.into_bytes(),
        body,
    })
}

impl Notification {
    /// Makes the draft for the spool. It has the null sender, and asks for no notification about itself (RFC 3461
    /// §5.2.6).
    pub fn draft(self, id: QueueId, customer: CustomerId, signatures: Vec<u8>, retry_at: Timestamp) -> Draft {
        let eight_bit = !self.body.is_ascii() || !self.header.is_ascii();
        let header_len = u32::try_from(self.header.len()).expect("a notification's header is a few hundred octets");
        let smtputf8 = self.to.needs_smtputf8();
        let mut content = self.header;
        content.extend_from_slice(b"\r\n");
        content.extend_from_slice(&self.body);
        Draft {
            id,
            lane: Lane { customer, domain: self.from_domain, urgency: Urgency::Single, kind: MailKind::Bounce },
            envelope: Envelope {
                reverse_path: ReversePath::Null,
                recipients: vec![Recipient { notify: Some(Notify::NEVER), ..Recipient::new(self.to) }],
                body: if eight_bit { BodyKind::EightBit } else { BodyKind::SevenBit },
                smtputf8,
                ret: None,
                envid: None,
                references: Default::default(),
            },
            message_id: self.message_id,
            prefix: signatures,
            content: content.chunks(PIECE).map(|piece| piece.to_vec().into()).collect(),
            header_len,
            retry_at,
            held: None,
            lines: Vec::new(),
        }
    }
}

/// Returns true if the recipient's NOTIFY asks for this action. Without NOTIFY, failures and delays are wanted (RFC
/// 3461 §4.1).
fn is_wanted(recipient: &Recipient, action: Action) -> bool {
    let notify = recipient.notify.unwrap_or(Notify::DEFAULT);
    match action {
        Action::Failed => notify.failure,
        Action::Delayed { .. } => notify.delay,
        Action::Relayed => notify.success,
    }
}

/// Returns the original's subject, decoded for people.
fn original_subject(header: &[u8]) -> String {
    let subject = fields(header).flatten().find(|field| field.is("Subject"));
    let parsed = subject.and_then(|field| {
        let parser = mail_parser::MessageParser::new().with_minimal_headers();
        parser.parse_headers(field.raw()).and_then(|message| message.subject().map(str::to_owned))
    });
    parsed.unwrap_or_default()
}

/// The part of a notification that returns the message.
struct Returned {
    media_type: &'static str,
    encoding: &'static str,
    content: Vec<u8>,
}

impl Returned {
    /// Returns the whole message if this is about a failure (RFC 3461 §4.3), RET=FULL was asked for, and the message
    /// fits and is 7-bit. A notification must pass through servers that take nothing but 7-bit, and a part that holds a
    /// message cannot be encoded (RFC 2046 §5.2.1). Otherwise returns the header; RFC 3461 §6.2 allows a server to
    /// return less.
    fn new(record: &Record, original: Original<'_>, action: Action, settings: &Settings) -> Self {
        let header = original
            .header
            .strip_suffix(b"\r\n\r\n")
            .map_or(original.header, |_| &original.header[..original.header.len() - 2]);
        if let (Some(body), Some(Ret::Full), Action::Failed) = (original.body, record.envelope.ret, action)
            && (header.len() + body.len()) as u64 <= settings.full_limit
            && is_seven_bit(header)
            && is_seven_bit(body)
        {
            let content = [header, b"\r\n", body].concat();
            return Returned { media_type: "message/rfc822", encoding: "7bit", content };
        }
        let is_utf8 = !header.is_ascii() && std::str::from_utf8(header).is_ok();
        let header = whole_fields(header, HEADER_LIMIT);
        if is_seven_bit(header) {
            return Returned { media_type: "text/rfc822-headers", encoding: "7bit", content: header.to_vec() };
        }
        let mut content = Vec::new();
        quoted_printable(header, &mut content);
        let media_type = if is_utf8 { "message/global-headers" } else { "text/rfc822-headers" };
        Returned { media_type, encoding: "quoted-printable", content }
    }
}

/// Returns as many whole fields as fit.
fn whole_fields(header: &[u8], limit: usize) -> &[u8] {
    let mut len = 0;
    for field in fields(header) {
        let field_len = field.map_or_else(<[u8]>::len, |field| field.raw().len());
        if len + field_len > limit {
            break;
        }
        len += field_len;
    }
    &header[..len]
}

fn multipart(boundary: &str, text: &[u8], status: &[u8], returned: &Returned) -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = |media_type: &str, encoding: &str, content: &[u8]| {
        out.extend_from_slice(format!("--{boundary}\r\nContent-Type: {media_type}\r\n").as_bytes());
        if encoding != "7bit" {
            out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    };
    part("text/plain; charset=utf-8", "quoted-printable", text);
    part("message/delivery-status", "7bit", status);
    part(returned.media_type, returned.encoding, &returned.content);
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

/// Makes a boundary that occurs in none of the parts, whatever they hold.
fn boundary(serial: &str, parts: &[&[u8]]) -> String {
    (0u32..)
        .map(|n| format!("=_{serial}.{n}"))
        .find(|boundary| parts.iter().all(|part| memchr::memmem::find(part, boundary.as_bytes()).is_none()))
        .expect("finite parts do not hold every number")
}

/// Returns a Message-ID that is safe in a header field, or `None`.
fn safe_message_id(id: &str) -> Option<&str> {
    let legal = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>');
    (!id.is_empty() && id.len() <= 500 && id.bytes().all(legal)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounce::Attempt;
    use crate::test_records::record_to;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    fn record(recipients: &[(&str, Option<Notify>)]) -> Record {
        let recipients: Vec<Recipient> = recipients
            .iter()
            .map(|(to, notify)| Recipient { notify: *notify, ..Recipient::new(Mailbox::parse(to).unwrap()) })
            .collect();
        let id = QueueId::first_at(NOW - std::time::Duration::from_secs(3600));
        Record { id, size: 100, attempts: 1, due: NOW, ..record_to("nyhedsbrev@test.dk", recipients) }
    }

    fn report(index: usize, reply: &str) -> RecipientReport {
        RecipientReport { index, reply: reply.into(), advice: None, attempt: None, expired: false }
    }

    const HEADER: &[u8] = b"From: x@test.dk\r\nSubject: hej\r\n";

    fn failed(record: &Record, reports: &[RecipientReport]) -> Option<Notification> {
        let original = Original { header: HEADER, body: Some(b"body\r\n") };
        notification(record, original, Action::Failed, reports, &Settings::default(), NOW)
    }

    #[test]
    fn the_null_sender_is_never_answered() {
        let mut record = record(&[("a@example.com", None)]);
        assert!(failed(&record, &[report(0, "550 no")]).is_some());
        record.envelope.reverse_path = ReversePath::Null;
        assert!(failed(&record, &[report(0, "550 no")]).is_none());
    }

    #[test]
    fn notify_decides_who_is_reported_when() {
        let only = |success, failure, delay| Some(Notify { success, failure, delay });
        let record = record(&[
            ("never@example.com", Some(Notify::NEVER)),
            ("failure@example.com", only(false, true, false)),
            ("delay@example.com", only(false, false, true)),
            ("success@example.com", only(true, false, false)),
            ("silent@example.com", None),
        ]);
        let reports: Vec<_> = (0..5).map(|index| report(index, "550 5.1.1 no")).collect();
        let mut ids = std::collections::BTreeSet::new();
        for (action, told) in [
            (Action::Failed, &["failure", "silent"][..]),
            (Action::Delayed { until: NOW }, &["delay", "silent"]),
            (Action::Relayed, &["success"]),
        ] {
            let original = Original { header: HEADER, body: None };
            let notice = notification(&record, original, action, &reports, &Settings::default(), NOW).unwrap();
            assert!(ids.insert(notice.message_id), "a Message-ID of its own, though at the same time");
            let body = String::from_utf8(notice.body).unwrap();
            let named: Vec<_> = ["never", "failure", "delay", "success", "silent"]
                .into_iter()
                .filter(|name| body.contains(&format!("Final-Recipient: rfc822; {name}@example.com")))
                .collect();
            assert_eq!(named, told, "{action:?}");
        }
        assert!(failed(&record, &[report(0, "550 no"), report(2, "550 no")]).is_none());
        assert!(failed(&record, &[report(9, "550 no")]).is_none(), "an index out of range reports nobody");
    }

    #[test]
    fn the_body_comes_back_only_when_asked_for_and_within_the_bound() {
        let mut record = record(&[("a@example.com", None)]);
        let text = |record: &Record| String::from_utf8(failed(record, &[report(0, "550 no")]).unwrap().body).unwrap();
        assert!(text(&record).contains("Content-Type: text/rfc822-headers\r\n\r\nFrom: x@test.dk\r\n"));
        record.envelope.ret = Some(Ret::Full);
        assert!(
            text(&record)
                .contains("Content-Type: message/rfc822\r\n\r\nFrom: x@test.dk\r\nSubject: hej\r\n\r\nbody\r\n")
        );
        let small = Settings { full_limit: 10, ..Settings::default() };
        for (action, body, settings) in [
            (Action::Failed, "body\r\n", &small),
            (Action::Failed, "bl\u{e5}b\u{e6}r\r\n", &Settings::default()),
            (Action::Delayed { until: NOW }, "body\r\n", &Settings::default()),
        ] {
            let original = Original { header: HEADER, body: Some(body.as_bytes()) };
            let notice = notification(&record, original, action, &[report(0, "550")], settings, NOW).unwrap();
            assert!(notice.body.is_ascii(), "{action:?}");
            let text = String::from_utf8(notice.body).unwrap();
            assert!(text.contains("text/rfc822-headers") && !text.contains(body), "{action:?}: {text}");
        }
    }

    #[test]
    fn the_server_is_named_where_it_gave_a_reply() {
        let record = record(&[("a@example.com", None)]);
        for (host, reply, named) in [
            ("mail.test.dk", "550 5.1.1 no", Some("dns; mail.test.dk\r\n")),
            ("192.0.2.1", "451 4.7.1 later", Some("dns; [192.0.2.1]\r\n")),
            ("[2001:db8::1]", "550 no", Some("dns; [IPv6:2001:db8::1]\r\n")),
            ("mail.test.dk", "cannot connect to mail.test.dk: refused", None),
        ] {
            let report =
                RecipientReport { attempt: Some(Attempt { at: NOW, server: host.into() }), ..report(0, reply) };
            let body = String::from_utf8(failed(&record, &[report]).unwrap().body).unwrap();
            let found = body.split_once("\r\nRemote-MTA: ").map(|(_, rest)| rest);
            assert_eq!(found.is_some(), named.is_some(), "{body}");
            assert!(found.zip(named).is_none_or(|(found, named)| found.starts_with(named)), "{body}");
        }
    }

    #[test]
    fn what_no_attempt_brought_names_no_time_and_what_no_server_said_is_not_its_diagnosis() {
        let record = record(&[("a@example.com", None)]);
        let body = |reply: &str, attempt| {
            let report = RecipientReport { attempt, ..report(0, reply) };
            String::from_utf8(failed(&record, &[report]).unwrap().body).unwrap()
        };
        let old = body("451 4.7.1 later", None);
        assert!(old.contains("\r\nDiagnostic-Code: smtp; 451 4.7.1 later\r\n"), "{old}");
        assert!(!old.contains("Last-Attempt-Date") && !old.contains("Remote-MTA"), "{old}");
        let attempt = Attempt { at: NOW, server: "mail.test.dk".into() };
        let own = body("5.3.4 the message has 9 octets, the server takes at most 5", Some(attempt));
        assert!(own.contains("\r\nStatus: 5.3.4\r\nDiagnostic-Code: X-Postbud; 5.3.4 the message"), "{own}");
        assert!(own.contains("\r\nLast-Attempt-Date: ") && !own.contains("Remote-MTA"), "{own}");
    }

    #[test]
    fn hostile_text_stays_inside_its_place() {
        let mut record = record(&[("a@example.com", None)]);
        record.message_id = "x>\r\nBcc: <evil@example.com".into();
        record.envelope.envid = Some("a+0D+0AInjected:+20yes".into());
        record.envelope.recipients[0].orcpt = Some("rfc822;a+0Ab".into());
        let header = b"Subject: a =?utf-8?q?=0D=0ABcc:_x=40y?=\r\n";
        let reply = "550 5.1.1 no\r\n\r\n--=_\r\nFinal-Recipient: rfc822; other@example.com";
        let original = Original { header, body: None };
        let notice =
            notification(&record, original, Action::Failed, &[report(0, reply)], &Settings::default(), NOW).unwrap();
        let (header, body) = (String::from_utf8(notice.header).unwrap(), String::from_utf8(notice.body).unwrap());
        assert!(header.lines().all(|line| !line.starts_with("Bcc")), "{header}");
        assert!(!header.contains("evil"), "{header}");
        assert!(!body.contains("\nInjected") && !body.contains("Original-Recipient"), "{body}");
        assert_eq!(body.matches("\r\nFinal-Recipient").count(), 1, "{body}");
    }

    #[test]
    fn a_boundary_stands_in_no_part() {
        let first = boundary("x", &[b"text"]);
        let second = boundary("x", &[b"text", format!("--{first}--").as_bytes()]);
        assert_ne!(first, second);
    }

    #[test]
    fn the_draft_is_from_nobody_and_wants_no_answer() {
        let notice = failed(&record(&[("a@example.com", None)]), &[report(0, "550 no")]).unwrap();
        let header = notice.header.clone();
        let draft =
            notice.draft(QueueId::from_u64(1), CustomerId::new("test-as"), b"DKIM-Signature: x\r\n".to_vec(), NOW);
        assert_eq!(draft.envelope.reverse_path, ReversePath::Null);
        assert_eq!(draft.envelope.recipients[0].address.to_string(), "nyhedsbrev@test.dk");
        assert_eq!(draft.envelope.recipients[0].notify, Some(Notify::NEVER));
        assert_eq!(draft.lane.kind, MailKind::Bounce);
        let content = draft.content.concat();
        assert_eq!(content[..draft.header_len as usize], header);
        assert_eq!(content[draft.header_len as usize..][..2], *b"\r\n");
    }

    #[test]
    fn a_long_header_is_cut_between_fields() {
        assert_eq!(whole_fields(b"A: 1\r\n 2\r\nB: 3\r\n", 12), b"A: 1\r\n 2\r\n");
        assert_eq!(whole_fields(b"A: 1\r\nB: 3\r\n", 100), b"A: 1\r\nB: 3\r\n");
    }
}

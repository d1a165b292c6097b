//! Reads a message's header block once: collects what policy, trace fields and queue need to know, and refuses what is
//! not acceptable.

use std::ops::Range;

use thiserror::Error;

use super::address;
use super::address_error::AddressError;
use super::display;
use super::headers::{Field, fields};
use super::references::{FieldUse, ReferenceError, ReferenceFields, References};
use super::{Unsubscribe, Urgency};
use crate::smtp::Mailbox;

/// What was read from the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The one address in From.
    pub from: Mailbox,
    /// The address in Sender, if there is one.
    pub sender: Option<Mailbox>,
    /// Other fields that name who a message is from, and the address in each: Resent-From, Resent-Sender, Author (RFC 9057).
    pub also_from: Vec<(&'static str, Mailbox)>,
    /// The domains behind an `@` that readers show in these fields, decoded, besides those of plain addresses.
    pub shown: Vec<(&'static str, String)>,
    /// True if there is a Date.
    pub has_date: bool,
    /// The Message-ID without angle brackets, in printable ASCII; `None` where the message has none.
    pub message_id: Option<String>,
    /// True if the header says that the mail is bulk: Precedence, List-Unsubscribe.
    pub bulk: bool,
    /// How the mail offers to unsubscribe.
    pub unsubscribe: Unsubscribe,
    /// The urgency that X-Mailjet-Prio asks for.
    pub priority: Option<Urgency>,
    /// What the submitter calls the message.
    pub references: References,
    /// The positions, in order, of the fields that are not sent on: X-Postbud-…, Bcc, Resent-Bcc, Return-Path (RFC 5321 §4.4: only the
    /// final server writes it), and an empty Date or Message-ID, which counts as missing.
    pub cut: Vec<Range<usize>>,
}

/// Why a header block is refused. The text is for the person who reads webCRM's log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// A line is not of the form `Name: value`.
    #[error("header line {line} is not of the form \"Name: value\": \"{text}\"")]
    NotAField {
        /// The line's number, from 1.
        line: usize,
        /// The line's beginning in printable ASCII.
        text: String,
    },
    /// A field holds an octet that is white space to some readers and text to others, so that verifiers would not agree
    /// on what was signed.
    #[error(
        "header field {field} holds a {what}, which breaks its signature: take it out, or encode the text (RFC 2047)"
    )]
    Control {
        /// The name of the field.
        field: String,
        /// The name of the octet.
        what: &'static str,
    },
    /// There is no From field.
    #[error("the message has no From field")]
    NoFrom,
    /// A field occurs twice that may occur only once (RFC 5322 §3.6).
    #[error("the message has more than one {0} field")]
    Twice(&'static str),
    /// A field that names the sender does not hold one address.
    #[error("{field} {why}")]
    Address {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with its value.
        #[source]
        why: AddressError,
    },
    /// A field that names the message for its submitter is malformed.
    #[error("{field} {why}")]
    Reference {
        /// The name of the field.
        field: String,
        /// What is wrong with it.
        #[source]
        why: ReferenceError,
    },
    /// The header has too many fields.
    #[error("the header has more than {0} fields")]
    Fields(usize),
    /// The header has too many Received fields.
    #[error("the message has passed more than {0} servers: it is in a mail loop")]
    Loop(usize),
}

/// The limits on the header's fields.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most fields. There is no limit on lines: a long To field has many lines, and they cost no more than their octets.
    pub fields: usize,
    /// The most Received fields.
    pub received: usize,
}

/// The fields that may occur only once.
const ONCE: [&str; 8] = ["From", "Date", "Subject", "To", "Cc", "Message-ID", "Reply-To", "Sender"];
const FROM: usize = 0;
const DATE: usize = 1;
const MESSAGE_ID: usize = 5;
const SENDER: usize = 7;

/// The fields that may occur more than once and name who a message is from.
const ALSO_FROM: [&str; 3] = ["Resent-From", "Resent-Sender", "Author"];

/// The fields that are not for the recipients.
const CUT: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];

/// Reads a header block: fields with CRLF line ends, without the blank line.
pub fn scan(block: &[u8], bounds: Bounds) -> Result<Header, HeaderError> {
    let mut once: [Option<&[u8]>; ONCE.len()] = [None; ONCE.len()];
    let (mut bulk, mut priority, mut cut, mut received) = (false, None, Vec::new(), 0);
    let (mut also_from, mut shown) = (Vec::new(), Vec::new());
    let mut references = ReferenceFields::default();
    let mut unsubscribe = Unsubscribe::default();
    let (mut line, mut offset) = (1, 0);
    for (before, field) in fields(block).enumerate() {
        let field = field.map_err(|text| HeaderError::NotAField { line, text: excerpt(text) })?;
        if before >= bounds.fields {
            return Err(HeaderError::Fields(bounds.fields));
        }
        let raw = field.raw();
        line += memchr::memchr_iter(b'\n', raw).count();
        // RFC 6376 §2.8: white space is space and tab. OpenDKIM also takes these two for white space, and dkimpy and
        // Mail::DKIM do so at the ends of a value. Other control characters are text to all of them.
        if let Some(at) = memchr::memchr2(0x0b, 0x0c, raw) {
            let what = if raw[at] == 0x0b { "vertical tab (octet 0x0B)" } else { "form feed (octet 0x0C)" };
            return Err(HeaderError::Control { field: excerpt(field.name()), what });
        }
        if let Some(i) = ONCE.iter().position(|name| field.is(name)) {
            if once[i].replace(field.value()).is_some() {
                return Err(HeaderError::Twice(ONCE[i]));
            }
            if matches!(i, DATE | MESSAGE_ID) && word(&field).is_empty() {
                cut.push(offset..offset + raw.len());
            }
        } else if field.is("Received") {
            received += 1;
        } else if let Some(name) = ALSO_FROM.into_iter().find(|name| field.is(name)) {
            also_from.push((name, address_in(name, field.value(), &mut shown)?));
        } else if CUT.iter().any(|name| field.is(name)) {
            cut.push(offset..offset + raw.len());
        } else if field.is("Precedence") {
            let value = word(&field);
            bulk |= ["bulk", "list", "junk"].iter().any(|p| value.eq_ignore_ascii_case(p.as_bytes()));
        } else if field.is("List-Unsubscribe") {
            bulk = true;
            unsubscribe.read_list(field.value());
        } else if field.is("List-Unsubscribe-Post") {
            unsubscribe.read_post(field.value());
        } else if field.is("X-Mailjet-Prio") {
            priority = mailjet_priority(word(&field)).or(priority);
        } else {
            let refused = |why| HeaderError::Reference { field: excerpt(field.name()), why };
            if references.take(&field).map_err(refused)? == FieldUse::Cut {
                cut.push(offset..offset + raw.len());
            }
        }
        offset += raw.len();
    }
    if received > bounds.received {
        return Err(HeaderError::Loop(bounds.received));
    }
    let from = address_in("From", once[FROM].ok_or(HeaderError::NoFrom)?, &mut shown)?;
    let sender = once[SENDER].map(|value| address_in("Sender", value, &mut shown)).transpose()?;
    let message_id = once[MESSAGE_ID].and_then(message_id);
    let has_date = once[DATE].is_some_and(|value| !value.trim_ascii().is_empty());
    let refused = |(field, why): (&str, _)| HeaderError::Reference { field: field.to_owned(), why };
    let references = references.read().map_err(refused)?;
    Ok(Header { from, sender, also_from, shown, has_date, message_id, bulk, unsubscribe, priority, references, cut })
}

/// Cuts the given ranges out of `block`. They must be in order and must not overlap.
pub fn cut(block: &mut Vec<u8>, ranges: &[Range<usize>]) {
    let Some(first) = ranges.first() else { return };
    // Each octet moves once, however many ranges there are.
    let mut end = first.start;
    for (i, range) in ranges.iter().enumerate() {
        let next = ranges.get(i + 1).map_or(block.len(), |next| next.start);
        block.copy_within(range.end..next, end);
        end += next - range.end;
    }
    block.truncate(end);
}

/// Reads the one address of a field. Adds the domains that the field shows besides to `shown`.
fn address_in(
    field: &'static str,
    value: &[u8],
    shown: &mut Vec<(&'static str, String)>,
) -> Result<Mailbox, HeaderError> {
    let refused = |why| HeaderError::Address { field, why };
    let mailbox = address::single(value).map_err(refused)?;
    let domains = display::domains(value).map_err(refused)?;
    shown.extend(domains.into_iter().map(|domain| (field, domain)));
    Ok(mailbox)
}

fn word<'a>(field: &Field<'a>) -> &'a [u8] {
    field.value().trim_ascii()
}

/// Reads X-Mailjet-Prio. Mailjet has a low-priority queue (0 and 1) and a high-priority one (2, which is the default, and 3).
fn mailjet_priority(value: &[u8]) -> Option<Urgency> {
    match value {
        b"0" | b"1" => Some(Urgency::Bulk),
        b"2" | b"3" => Some(Urgency::Single),
        _ => None,
    }
}

/// Returns the text between the angle brackets, for events and logs. A field that is not empty is kept whatever it
/// holds, because a second one beside it would make other servers refuse the message. Characters that cannot be shown
/// become question marks.
fn message_id(value: &[u8]) -> Option<String> {
    let text = value.trim_ascii();
    let id = text.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(text);
    let shown = id.iter().take(998).map(|b| if (33..=126).contains(b) { *b as char } else { '?' });
    (!text.is_empty()).then(|| shown.collect())
}

fn excerpt(line: &[u8]) -> String {
    let line = &line[..line.len().min(40)];
    line.trim_ascii_end().iter().map(|b| if (32..=126).contains(b) { *b as char } else { '?' }).collect()
}

/// Returns where the blank line's CRLF begins that ends the header, or `None` if it is not there yet. The octets before
/// `from` have been searched already.
pub fn end_of_header(text: &[u8], from: usize) -> Option<usize> {
    if text.starts_with(b"\r\n") {
        return Some(0);
    }
    let from = from.saturating_sub(3);
    memchr::memmem::find(&text[from..], b"\r\n\r\n").map(|at| from + at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { fields: 10, received: 2 };

    fn scanned(block: &str) -> Result<Header, HeaderError> {
        scan(block.as_bytes(), BOUNDS)
    }

    #[test]
    fn facts_are_found_whatever_the_case() {
        let block = "FROM: a@test.dk\r\nsender: b@test.dk\r\nBCC: x@y.dk,\r\n z@y.dk\r\nmessage-id: <1@test.dk>\r\n\
                     Precedence: Bulk\r\nX-Mailjet-Prio: 3\r\nDate: x\r\n";
        let header = scanned(block).unwrap();
        assert_eq!(header.from.to_string(), "a@test.dk");
        assert_eq!(header.sender.unwrap().to_string(), "b@test.dk");
        assert_eq!(header.message_id.as_deref(), Some("1@test.dk"));
        assert_eq!((header.has_date, header.bulk, header.priority), (true, true, Some(Urgency::Single)));
        let mut bytes = block.as_bytes().to_vec();
        cut(&mut bytes, &header.cut);
        assert_eq!(String::from_utf8(bytes).unwrap(), block.replace("BCC: x@y.dk,\r\n z@y.dk\r\n", ""));
    }

    #[test]
    fn what_is_not_for_the_recipients_is_cut() {
        let block = "return-path: <x@evil.dk>\r\nx-postbud-Tags: a\r\nFrom: a@test.dk\r\nReturn-Path:\r\n <y@evil.dk>\r\n\
                     X-Postbud-Reference:\r\n 7\r\nResent-Bcc: x@y.dk\r\nX: y\r\n";
        let mut bytes = block.as_bytes().to_vec();
        cut(&mut bytes, &scanned(block).unwrap().cut);
        assert_eq!(String::from_utf8(bytes).unwrap(), "From: a@test.dk\r\nX: y\r\n");
    }

    #[test]
    fn an_odd_message_id_is_kept_and_an_empty_one_is_none() {
        for (value, id) in [
            (" <1@test.dk>", Some("1@test.dk")),
            (" dims uden klammer", Some("dims?uden?klammer")),
            (" <a@\u{e6}>", Some("a@??")),
            ("\r\n <1@test.dk>", Some("1@test.dk")),
            (" <>", Some("")),
            (" \t", None),
            ("", None),
        ] {
            let block = format!("From: a@test.dk\r\nMessage-ID:{value}\r\nDate:{value}\r\nX: y\r\n");
            let header = scanned(&block).unwrap();
            assert_eq!((header.message_id.as_deref(), header.has_date), (id, id.is_some()), "{value}");
            let mut bytes = block.clone().into_bytes();
            cut(&mut bytes, &header.cut);
            let kept = if id.is_some() { block } else { "From: a@test.dk\r\nX: y\r\n".to_owned() };
            assert_eq!(String::from_utf8(bytes).unwrap(), kept);
        }
    }

    #[test]
    fn fields_that_may_stand_once_are_refused_twice() {
        for name in ONCE {
            let block = format!("From: a@test.dk\r\n{name}: b@test.dk\r\n{}: b@test.dk\r\n", name.to_lowercase());
            assert_eq!(scanned(&block), Err(HeaderError::Twice(name)), "{name}");
        }
    }

    #[test]
    fn malformed_lines_are_named() {
        for (block, line) in [("From : a@test.dk\r\n", 1), ("From: a@test.dk\r\nno colon\r\n", 2), (" x\r\n", 1)] {
            let refused = scanned(block).unwrap_err();
            assert!(matches!(&refused, HeaderError::NotAField { line: l, .. } if *l == line), "{refused}");
        }
        assert_eq!(scanned("Subject: x\r\n"), Err(HeaderError::NoFrom));
        assert_eq!(scanned(""), Err(HeaderError::NoFrom));
    }

    #[test]
    fn what_only_some_take_for_white_space_is_refused_by_its_name() {
        for (control, what) in [('\x0b', "vertical tab"), ('\x0c', "form feed")] {
            for value in [format!(" a{control}b"), format!("{control}"), format!(" a\r\n\t{control}b")] {
                let refused = scanned(&format!("From: a@test.dk\r\nSubject:{value}\r\n")).unwrap_err().to_string();
                assert!(refused.starts_with(&format!("header field Subject holds a {what} ")), "{refused}");
            }
        }
        assert!(scanned("From: a@test.dk\r\nSubject: \x1b$B%F%9%H\x1b(B\t\x7f\x01\r\n").is_ok());
    }

    #[test]
    fn bounds_hold() {
        let many = format!("From: a@test.dk\r\nTo: a\r\n{}{}", " b\r\n".repeat(1000), "X: y\r\n".repeat(8));
        assert!(scanned(&many).is_ok());
        assert_eq!(scanned(&(many + "X: y\r\n")), Err(HeaderError::Fields(10)));
        let passed = format!("From: a@test.dk\r\n{}", "Received: x\r\n".repeat(3));
        assert_eq!(scanned(&passed), Err(HeaderError::Loop(2)));
    }

    #[test]
    fn the_blank_line_is_found_across_pieces() {
        let text = b"A: b\r\n\r\nbody\r\n\r\n";
        for seen in 0..8 {
            assert_eq!(end_of_header(text, seen), Some(6));
        }
        assert_eq!(end_of_header(b"\r\nbody", 0), Some(0));
        assert_eq!(end_of_header(b"A: b\r\n", 0), None);
    }

    #[test]
    fn a_header_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |block: &Vec<u8>| {
                let bounds = Bounds { fields: 100_000, received: 100_000 };
                if let Ok(header) = scan(block, bounds) {
                    cut(&mut block.clone(), &header.cut);
                }
                end_of_header(block, 0);
            },
            &[
                ("fields", |size| [b"From: a@test.dk\r\n".as_slice(), &b"X: y\r\n".repeat(size / 6)].concat()),
                ("folded lines", |size| {
                    [b"From: a@test.dk\r\nTo: x".as_slice(), &b"\r\n x".repeat(size / 4), b"\r\n"].concat()
                }),
                ("fields to cut", |size| [b"From: a@test.dk\r\n".as_slice(), &b"Bcc: y\r\n".repeat(size / 8)].concat()),
                ("fields that name a sender", |size| {
                    [b"From: a@test.dk\r\n".as_slice(), &b"Resent-From: a@test.dk\r\n".repeat(size / 24)].concat()
                }),
                ("a field without end", |size| {
                    [b"From: a@test.dk\r\nX: ".as_slice(), &vec![b'x'; size], b"\r\n"].concat()
                }),
                ("line feeds", |size| [b"From: a@test.dk\r\nX: ".as_slice(), &b"\n".repeat(size)].concat()),
                ("tags", |size| {
                    [b"From: a@test.dk\r\nX-Postbud-Tags: ".as_slice(), &b"a,".repeat(size / 2), b"\r\n"].concat()
                }),
                ("names without a colon", |size| b"junk\r\n".repeat(size / 6)),
                ("half line ends", |size| b"\r\n\r".repeat(size / 3)),
            ],
        );
    }
}

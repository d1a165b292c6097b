//! Splits a message into its parts, as far as reports need it. Strangers write these messages, so the depth, the number of parts and the
//! decoded length are limited, and each level looks at an octet only once.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{MessageParser, MimeHeaders};

use crate::message::headers::{Field, fields};

/// How deep multiparts are followed. A report is one multipart; gateways and lists wrap it in one or two more.
const DEPTH: usize = 5;
/// The most parts of a message that are examined.
const PARTS: usize = 100;
/// The most octets of a header that are read.
const HEADER: usize = 64 << 10;
/// The most octets of a part's body that are decoded.
const BODY: usize = 256 << 10;

/// The most octets of a subject that are read.
const SUBJECT: usize = 2 << 10;

/// A part that is not a multipart.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// The media type in lower case; `text/plain` if none is named.
    pub media_type: String,
    charset: Option<String>,
    encoding: String,
    body: &'a [u8],
}

impl Part<'_> {
    /// Returns the start of the body, decoded.
    pub fn octets(&self) -> Cow<'_, [u8]> {
        let body = &self.body[..self.body.len().min(BODY)];
        let decoded = match self.encoding.as_str() {
            "base64" => base64_decode(body),
            "quoted-printable" => quoted_printable_decode(body),
            _ => None,
        };
        // A body that is not encoded as declared is used as it is.
        decoded.map_or(Cow::Borrowed(body), Cow::Owned)
    }

    /// Returns the start of the body as text.
    pub fn text(&self) -> String {
        let octets = self.octets();
        match self.charset.as_deref().and_then(|charset| charset_decoder(charset.as_bytes())) {
            Some(decode) => decode(&octets),
            None => String::from_utf8_lossy(&octets).into_owned(),
        }
    }
}

/// A message, split into its parts.
#[derive(Debug)]
pub(super) struct MimeMessage<'a> {
    /// The header, without the blank line.
    pub header: &'a [u8],
    /// The `report-type` of the outermost multipart that has one, in lower case.
    pub report_type: Option<String>,
    /// The parts in their order.
    pub parts: Vec<Part<'a>>,
}

impl<'a> MimeMessage<'a> {
    /// Splits a message into its header and its parts.
    pub fn of(octets: &'a [u8]) -> Self {
        let (header, _) = split(octets);
        let mut message = MimeMessage { header, report_type: None, parts: Vec::new() };
        message.take(octets, 0);
        message
    }

    fn take(&mut self, octets: &'a [u8], depth: usize) {
        if self.parts.len() >= PARTS {
            return;
        }
        let (header, body) = split(octets);
        let content = Content::of(header);
        match content.boundary.filter(|_| depth < DEPTH && content.media_type.starts_with("multipart/")) {
            Some(boundary) => {
                if self.report_type.is_none() {
                    self.report_type = content.report_type;
                }
                for part in parts_between(body, &boundary).take(PARTS) {
                    self.take(part, depth + 1);
                }
            }
            None => {
                let Content { media_type, charset, encoding, .. } = content;
                self.parts.push(Part { media_type, charset, encoding, body });
            }
        }
    }

    /// Returns the first part with one of these media types.
    pub fn part(&self, media_types: &[&str]) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| media_types.contains(&part.media_type.as_str()))
    }

    pub fn subject(&self) -> String {
        let field = fields(self.header).flatten().find(|field| field.is("Subject"));
        let start = field.map(|field| &field.raw()[..field.raw().len().min(SUBJECT)]).unwrap_or_default();
        let parsed = MessageParser::new().with_minimal_headers().parse_headers(start);
        parsed.as_ref().and_then(|message| message.subject()).unwrap_or_default().to_owned()
    }

    /// Returns the value of a header field on one line, without white space around it.
    pub fn value(&self, name: &str) -> Option<String> {
        value(self.header, name)
    }
}

/// Returns the value of a field in a header on one line, without white space around it. Octets that are not UTF-8 are replaced.
pub(super) fn value(header: &[u8], name: &str) -> Option<String> {
    fields(header).flatten().find(|field| field.is(name)).map(unfolded)
}

/// Returns a field's value on one line.
pub(super) fn unfolded(field: Field<'_>) -> String {
    let text = String::from_utf8_lossy(field.value());
    text.split(['\r', '\n']).filter(|line| !line.is_empty()).collect::<String>().trim().to_owned()
}

/// The properties of a body that its header declares.
#[derive(Default)]
struct Content {
    media_type: String,
    boundary: Option<String>,
    report_type: Option<String>,
    charset: Option<String>,
    encoding: String,
}

impl Content {
    fn of(header: &[u8]) -> Self {
        let encoding = value(header, "Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
        let Some(field) = fields(header).flatten().find(|field| field.is("Content-Type")) else {
            return Content { media_type: "text/plain".into(), encoding, ..Content::default() };
        };
        let parsed = MessageParser::new().with_mime_headers().parse_headers(field.raw());
        let Some(content_type) = parsed.as_ref().and_then(|message| message.content_type()) else {
            return Content { media_type: "text/plain".into(), encoding, ..Content::default() };
        };
        let attribute = |name: &str| content_type.attribute(name).map(str::to_owned);
        Content {
            media_type: format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or_default())
                .to_ascii_lowercase(),
            // RFC 2046 §5.1.1: at most 70 characters and at least one. Longer ones do occur.
            boundary: attribute("boundary").filter(|boundary| (1..=200).contains(&boundary.len())),
            report_type: attribute("report-type").map(|text| text.to_ascii_lowercase()),
            charset: attribute("charset"),
            encoding,
        }
    }
}

/// Splits a message or a part at its blank line. A long header is cut at its limit, at the end of a line.
pub(super) fn split(octets: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    let (header, body) = loop {
        let rest = &octets[at..];
        if rest.starts_with(b"\r\n") {
            break (&octets[..at], &rest[2..]);
        }
        if rest.starts_with(b"\n") {
            break (&octets[..at], &rest[1..]);
        }
        match memchr::memchr(b'\n', rest) {
            Some(end) => at += end + 1,
            None => break (octets, &[][..]),
        }
    };
    let kept = &header[..header.len().min(HEADER)];
    let whole =
        if kept.len() < header.len() { memchr::memrchr(b'\n', kept).map_or(0, |at| at + 1) } else { kept.len() };
    (&kept[..whole], body)
}

/// Returns the parts of a multipart's body, each without the line end before its delimiter. A last part without an end counts.
fn parts_between<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let boundary = boundary.as_bytes().to_vec();
    let mut at = delimiter(body, 0, &boundary).filter(|found| !found.is_last).map(|found| found.end);
    std::iter::from_fn(move || {
        let begin = at.take()?;
        let Some(found) = delimiter(body, begin, &boundary) else { return Some(&body[begin..]) };
        at = (!found.is_last).then_some(found.end);
        let part = &body[begin..found.begin.max(begin)];
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        Some(part.strip_suffix(b"\r").unwrap_or(part))
    })
}

/// A delimiter between the parts of a multipart.
struct Delimiter {
    begin: usize,
    end: usize,
    is_last: bool,
}

fn delimiter(body: &[u8], from: usize, boundary: &[u8]) -> Option<Delimiter> {
    let mut begin = from;
    while begin < body.len() {
        let end = memchr::memchr(b'\n', &body[begin..]).map_or(body.len(), |at| begin + at + 1);
        let line = body[begin..end].trim_ascii_end();
        if let Some(rest) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary))
            && (rest.is_empty() || rest == b"--")
        {
            return Some(Delimiter { begin, end, is_last: !rest.is_empty() });
        }
        begin = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> Vec<String> {
        MimeMessage::of(text.replace('\n', "\r\n").as_bytes()).parts.into_iter().map(|part| part.media_type).collect()
    }

    #[test]
    fn parts_are_found_in_multiparts_within_multiparts() {
        let text = "Subject: x\nContent-Type: multipart/mixed; boundary=\"a b\"\n\nbefore\n--a b\n\nplain\n--a b\n\
                    Content-Type: multipart/report; report-type=Delivery-Status;\n boundary=c\n\n--c\nContent-Type: TEXT/Plain\n\n1\n\
                    --c\nContent-Type: message/delivery-status\n\nA: b\n--c--\nafter\n--a b--\nafter\n";
        assert_eq!(types(text), ["text/plain", "text/plain", "message/delivery-status"]);
        let message = text.replace('\n', "\r\n");
        let message = MimeMessage::of(message.as_bytes());
        assert_eq!(message.report_type.as_deref(), Some("delivery-status"));
        assert_eq!(message.part(&["message/delivery-status"]).unwrap().text(), "A: b");
        assert_eq!(message.value("subject").as_deref(), Some("x"));
    }

    #[test]
    fn a_multipart_without_an_end_or_without_a_beginning_is_read_as_far_as_it_goes() {
        assert_eq!(types("Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx"), ["text/plain"]);
        assert_eq!(types("Content-Type: multipart/mixed; boundary=a\n\nx"), Vec::<String>::new());
        assert_eq!(types("Content-Type: multipart/mixed\n\nx"), ["multipart/mixed"]);
        assert_eq!(types(""), ["text/plain"]);
        // A boundary that is the start of a longer one does not match it.
        assert_eq!(types("Content-Type: multipart/mixed; boundary=a\n\n--ab\n\nx\n--a\n\ny\n--a--"), ["text/plain"]);
    }

    #[test]
    fn bodies_are_decoded_as_they_say() {
        let text = |header: &str, body: &str| {
            let message = format!("Content-Type: text/plain; charset=iso-8859-1\r\n{header}\r\n{body}");
            MimeMessage::of(message.as_bytes()).parts[0].text()
        };
        assert_eq!(text("Content-Transfer-Encoding: quoted-printable\r\n", "S=F8ren =\r\nx"), "Søren x");
        assert_eq!(text("Content-Transfer-Encoding: Base64\r\n", "U/hyZW4="), "Søren");
        assert_eq!(text("", "plain"), "plain");
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        let deep: String =
            (0..1000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        assert_eq!(types(&deep).len(), 1);
        let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(10_000));
        assert_eq!(types(&wide).len(), PARTS);
    }

    #[test]
    fn a_message_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |octets: &Vec<u8>| {
                let message = MimeMessage::of(octets);
                message.parts.iter().for_each(|part| drop(part.text()));
            },
            &[
                ("deep", |size| {
                    let one = |n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
                    (0..size / 60).map(one).collect::<String>().into_bytes()
                }),
                ("parts that never begin", |size| {
                    let one = "--b\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\nx\r\n";
                    format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", one.repeat(size / one.len()))
                        .into_bytes()
                }),
                ("lines", |size| {
                    [&b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"[..], &b"--\r\n".repeat(size / 4)].concat()
                }),
                ("a header", |size| b"A: b\r\n".repeat(size / 6)),
                ("a folded header", |size| {
                    [&b"Content-Type: text/plain;"[..], &b"\r\n a=b;".repeat(size / 7)].concat()
                }),
                ("base64", |size| {
                    [&b"Content-Transfer-Encoding: base64\r\n\r\n"[..], &b"QUJD\r\n".repeat(size / 6)].concat()
                }),
                ("quoted-printable", |size| {
                    [&b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"[..], &b"=\r\n".repeat(size / 3)].concat()
                }),
                ("a boundary", |size| {
                    format!("Content-Type: multipart/mixed; boundary=\"{}\"\r\n\r\n", "-".repeat(size)).into_bytes()
                }),
            ],
        );
    }
}

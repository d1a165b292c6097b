//! Finds the parts of a mail (RFC 2046) that may be a report. Only boundaries and transfer encodings are used, and media types are ignored:
//! reporters call the same attachment `application/gzip`, `application/octet-stream`, `text/xml` and worse.

use std::io::BufRead;

use memchr::memmem;

use super::encoded::{Base64, quoted_printable};
use super::{ContainerKind, Unopened, kind};

/// The most parts that are examined. A report's mail has three.
const MOST_PARTS: usize = 64;
/// How deep mails and multiparts may be nested.
const DEEPEST: u32 = 5;

type Open<'a> = dyn FnMut(&mut dyn BufRead) + 'a;

/// Returns true if the octets begin like a mail: with a header field, or with the `From ` line of a mailbox file.
pub(super) fn is_mail(octets: &[u8]) -> bool {
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
    let is_field = name.len() < line.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    line.starts_with(b"From ") || is_field
}

/// Passes each decoded part of a mail to `open`. Returns true if a part was not encoded as it declares.
pub(super) fn each_part(message: &[u8], open: &mut Open<'_>) -> Result<bool, Unopened> {
    let mut walk = Walk { open, parts: 0, undeclared: false };
    walk.entity(message, 0)?;
    Ok(walk.undeclared)
}

struct Walk<'a> {
    open: &'a mut Open<'a>,
    parts: usize,
    undeclared: bool,
}

impl Walk<'_> {
    fn entity(&mut self, entity: &[u8], depth: u32) -> Result<(), Unopened> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(Unopened::Parts(MOST_PARTS));
        }
        let (header, body) = halves(entity);
        let fields = Fields::read(header);
        if depth < DEEPEST && fields.is_multipart {
            let boundary = fields.boundary.unwrap_or_else(|| first_delimiter(body));
            return parts(body, &boundary).try_for_each(|part| self.entity(part, depth + 1));
        }
        match fields.encoding {
            _ if depth < DEEPEST && fields.is_message && is_mail(body) => self.entity(body, depth + 1)?,
            Encoding::Base64 if depth < DEEPEST && fields.is_message => {
                let mut message = Vec::new();
                let _ = std::io::copy(&mut Base64::new(body), &mut message);
                self.entity(&message, depth + 1)?;
            }
            // The body already looks like a report, so it was not encoded, whatever the header says.
            encoding if encoding != Encoding::None && kind(body) != ContainerKind::Unknown => {
                self.undeclared = true;
                (self.open)(&mut &*body);
            }
            Encoding::None if is_base64_of_a_report(body) => {
                self.undeclared = true;
                (self.open)(&mut Base64::new(body));
            }
            Encoding::None => (self.open)(&mut &*body),
            Encoding::Base64 => (self.open)(&mut Base64::new(body)),
            Encoding::QuotedPrintable => (self.open)(&mut &*quoted_printable(body)),
        }
        Ok(())
    }
}

/// Splits an entity at the first empty line into header and body.
fn halves(entity: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = entity.strip_prefix(b"\r\n").or_else(|| entity.strip_prefix(b"\n")) {
        return (b"", body);
    }
    let ends = memchr::memchr_iter(b'\n', entity).find_map(|at| {
        let after = &entity[at + 1..];
        let blank = if after.starts_with(b"\r\n") { 2 } else { usize::from(after.starts_with(b"\n")) };
        (blank > 0).then_some((at + 1, at + 1 + blank))
    });
    match ends {
        Some((header, body)) => (&entity[..header], &entity[body..]),
        None => (entity, b""),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    None,
    Base64,
    QuotedPrintable,
}

/// The relevant fields of a header.
struct Fields {
    is_multipart: bool,
    is_message: bool,
    boundary: Option<Vec<u8>>,
    encoding: Encoding,
}

impl Fields {
    fn read(header: &[u8]) -> Fields {
        let mut fields = Fields { is_multipart: false, is_message: false, boundary: None, encoding: Encoding::None };
        let mut lines = header.split_inclusive(|octet| *octet == b'\n').peekable();
        while let Some(line) = lines.next() {
            let Some(value) = value_of(line, b"content-type")
                .map(|value| (value, true))
                .or_else(|| value_of(line, b"content-transfer-encoding").map(|value| (value, false)))
            else {
                continue;
            };
            let (value, is_type) = value;
            let mut value = value.to_vec();
            while let Some(more) = lines.next_if(|line| line.starts_with(b" ") || line.starts_with(b"\t")) {
                value.extend_from_slice(more);
            }
            let lower = value.to_ascii_lowercase();
            let word = lower.trim_ascii();
            if is_type {
                fields.is_multipart = word.starts_with(b"multipart/");
                fields.is_message = word.starts_with(b"message/rfc822") || word.starts_with(b"message/global");
                fields.boundary = boundary(&value, &lower);
            } else if word.starts_with(b"base64") {
                fields.encoding = Encoding::Base64;
            } else if word.starts_with(b"quoted-printable") {
                fields.encoding = Encoding::QuotedPrintable;
            }
        }
        fields
    }
}

/// Returns the value of a field, if the line begins that field.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.trim_ascii_start().strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then_some(value)
}

/// Returns the parameter `boundary` of a type. `lower` is the same text in lower case.
fn boundary(value: &[u8], lower: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"boundary";
    for at in memmem::find_iter(lower, NAME) {
        let Some(after) = value[at + NAME.len()..].trim_ascii_start().strip_prefix(b"=") else { continue };
        let after = after.trim_ascii_start();
        let text = match after.strip_prefix(b"\"") {
            Some(quoted) => quoted.split(|octet| *octet == b'"').next().unwrap_or_default().to_vec(),
            None => after
                .split(|octet| matches!(octet, b';' | b' ' | b'\t' | b'\r' | b'\n'))
                .next()
                .unwrap_or_default()
                .to_vec(),
        };
        return (!text.is_empty()).then_some(text);
    }
    None
}

/// Guesses the boundary of a multipart whose header names none: the first line that looks like a delimiter.
fn first_delimiter(body: &[u8]) -> Vec<u8> {
    let mut lines = body.split(|octet| *octet == b'\n');
    let found = lines.find_map(|line| line.strip_prefix(b"--").filter(|rest| !rest.trim_ascii().is_empty()));
    found.unwrap_or(b"none").trim_ascii_end().to_vec()
}

/// Returns the parts between the delimiters. The last one may lack its end.
fn parts<'b>(body: &'b [u8], boundary: &[u8]) -> impl Iterator<Item = &'b [u8]> {
    let delimiter = [b"--", boundary].concat();
    let starts_line = |at: &usize| *at == 0 || body[at - 1] == b'\n';
    // Parts beyond the limit need not be found.
    let found: Vec<usize> = memmem::find_iter(body, &delimiter).filter(starts_line).take(MOST_PARTS + 1).collect();
    let length = delimiter.len();
    let ends: Vec<usize> = found.iter().skip(1).copied().chain([body.len()]).collect();
    found.into_iter().zip(ends).map_while(move |(start, end)| {
        let after = &body[start + length..end];
        let line = after.iter().position(|octet| *octet == b'\n').map_or(after.len(), |at| at + 1);
        (!after.starts_with(b"--")).then_some(&after[line..])
    })
}

/// Returns true if text is the base64 of gzip, zip or XML.
fn is_base64_of_a_report(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    [&b"H4sI"[..], b"UEsDB", b"PD94bW", b"PGZlZWRiYWNr"].iter().any(|begins| body.starts_with(begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(message: &str) -> Result<Vec<String>, Unopened> {
        let mut found = Vec::new();
        let mut open = |part: &mut dyn BufRead| {
            let mut text = Vec::new();
            std::io::copy(part, &mut text).unwrap();
            found.push(String::from_utf8_lossy(&text).trim_end().to_owned());
        };
        each_part(message.as_bytes(), &mut open)?;
        Ok(found)
    }

    #[test]
    fn parts_are_found_however_they_are_wrapped() {
        let multipart = |boundary: &str| {
            format!(
                "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;{boundary}\r\n\r\nno part\r\n--b\r\n\r\none\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--b--\r\nno part\r\n"
            )
        };
        for boundary in [" boundary=b", "\r\n\tboundary=\"b\"", " Boundary = \"b\"; charset=x", " charset=x", ""] {
            assert_eq!(parts_of(&multipart(boundary)).unwrap(), ["one", "two"], "{boundary}");
        }
        let one = "Subject: x\nContent-Type: application/gzip\nContent-Transfer-Encoding: BASE64\n\ndHdv\n";
        assert_eq!(parts_of(one).unwrap(), ["two"]);
        let forwarded =
            format!("Content-Type: multipart/mixed; boundary=f\n\n--f\nContent-Type: message/rfc822\n\n{one}--f--\n");
        assert_eq!(parts_of(&forwarded).unwrap(), ["two"]);
        let cut =
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Transfer-Encoding: base64\n\ndHd";
        assert_eq!(parts_of(cut).unwrap(), ["one", "tw"]);
    }

    #[test]
    fn encodings_that_are_not_declared_are_seen() {
        for (encoding, body, read) in [
            ("", "PGZlZWRiYWNrPg==", "<feedback>"),
            ("base64", "<feedback>", "<feedback>"),
            ("7bit", "<feedback>", "<feedback>"),
        ] {
            let mail = format!("Content-Transfer-Encoding: {encoding}\n\n{body}");
            assert_eq!(parts_of(&mail).unwrap(), [read], "{encoding}");
        }
    }

    #[test]
    fn a_mail_of_endless_parts_is_refused() {
        let many = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\n".repeat(100_000));
        assert_eq!(parts_of(&many), Err(Unopened::Parts(MOST_PARTS)));
        let deep = "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(100_000);
        assert_eq!(parts_of(&deep), Err(Unopened::Parts(MOST_PARTS)));
    }

    #[test]
    fn mails_cost_in_proportion_to_their_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |mail: &String| drop(parts_of(mail)),
            &[
                ("header fields", |size| "A: b\n".repeat(size / 5)),
                ("boundaries", |size| {
                    format!("Content-Type: multipart/x; boundary=b\n\n{}", "--b\n\n".repeat(size / 5))
                }),
                ("nearly boundaries", |size| {
                    format!("Content-Type: multipart/x; boundary=bb\n\n{}", "--b\n".repeat(size / 4))
                }),
                ("nested", |size| "Content-Type: multipart/x; boundary=b\n\n--b\n".repeat(size / 43)),
                ("names of boundaries", |size| {
                    format!("Content-Type: multipart/x;{}\n\n", " boundary".repeat(size / 9))
                }),
                ("letters", |size| format!("Content-Transfer-Encoding: base64\n\n{}", "abcd\n".repeat(size / 5))),
                ("escapes", |size| {
                    format!("Content-Transfer-Encoding: quoted-printable\n\n{}", "=3d=\n".repeat(size / 5))
                }),
            ],
        );
    }
}

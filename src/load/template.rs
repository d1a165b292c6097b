//! The messages of a load. Each is a template with stuffed dots and the final dot, in which only a number changes, so that making a message
//! costs almost nothing.

use thiserror::Error;

use crate::time::Timestamp;

/// The header field that carries a message's number through any relay.
pub const ID_HEADER: &[u8] = b"X-Load-Id: ";
/// The number of digits in it.
pub const ID_DIGITS: usize = 10;

/// The data of a message, including the final dot. The message's number is inserted at each of `numbers`.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    numbers: Vec<usize>,
}

/// Why a file cannot be sent as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoMessage {
    /// It has no empty line.
    #[error("no empty line ends its header block")]
    NoBody,
    /// Its header block has no From field.
    #[error("it has no From field, by which a relay finds the customer")]
    NoFrom,
    /// A line of the header block is neither a field nor the next line of one.
    #[error("its header block has a line that is no field")]
    NoField,
}

impl Template {
    /// Makes a text message of this many octets, including its header. `run` distinguishes the messages of this run from others.
    pub fn plain(size: usize, run: &str, from: &str) -> Template {
        let date = Timestamp::now().rfc5322();
        let mut text = numbered(run, from);
        text.push_str(&format!(
            "From: Load Test <{from}>\r\nTo: reader@example.net\r\nSubject: Load\r\nDate: {date}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
        ));
        let mut words = Words(1);
        let mut column = 0;
        while text.len() + 2 < size {
            let word = words.next();
            if column + word.len() > 72 {
                text.push_str("\r\n");
                column = 0;
            }
            text.push_str(word);
            text.push(' ');
            column += word.len() + 1;
        }
        text.push_str("\r\n");
        finish(text.into_bytes())
    }

    /// Makes a template from the message in a file, with a Message-ID of this run and a number. Lines may end with LF.
    pub fn of_message(message: &[u8], run: &str, from: &str) -> Result<Template, NoMessage> {
        let mut bytes = numbered(run, from).into_bytes();
        let mut lines = message.split_inclusive(|octet| *octet == b'\n').map(without_line_end);
        let (mut has_from, mut is_kept) = (false, true);
        loop {
            let line = lines.next().ok_or(NoMessage::NoBody)?;
            if line.is_empty() {
                break;
            }
            if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                let colon = line.iter().position(|octet| *octet == b':').ok_or(NoMessage::NoField)?;
                let name = line[..colon].trim_ascii_end();
                has_from |= name.eq_ignore_ascii_case(b"From");
                is_kept = ![&b"Message-ID"[..], b"X-Load-Id", b"Return-Path"]
                    .iter()
                    .any(|own| name.eq_ignore_ascii_case(own));
            }
            if is_kept {
                append_line(&mut bytes, line);
            }
        }
        if !has_from {
            return Err(NoMessage::NoFrom);
        }
        append_line(&mut bytes, b"");
        lines.for_each(|line| append_line(&mut bytes, line));
        Ok(finish(bytes))
    }

    /// Writes the data of message `number` to `out`, replacing its content.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        let digits = format!("{number:0ID_DIGITS$}");
        for &at in &self.numbers {
            out[at..at + ID_DIGITS].copy_from_slice(&digits.as_bytes()[digits.len() - ID_DIGITS..]);
        }
    }

    /// Returns the octets on the wire, without the final dot.
    pub fn octets(&self) -> usize {
        self.bytes.len() - b".\r\n".len()
    }
}

/// Returns the fields that carry the number.
fn numbered(run: &str, from: &str) -> String {
    let domain = from.rsplit('@').next().unwrap_or(from);
    let zeros = "0".repeat(ID_DIGITS);
    format!("Message-ID: <{zeros}.{run}@{domain}>\r\nX-Load-Id: {run}-{zeros}\r\n")
}

fn finish(mut bytes: Vec<u8>) -> Template {
    bytes.extend_from_slice(b".\r\n");
    let zeros = [b'0'; ID_DIGITS];
    // The two fields of `numbered` come first, so other digits in the message are not changed.
    let numbers = memchr::memmem::find_iter(&bytes, &zeros).take(2).collect();
    Template { bytes, numbers }
}

/// Appends a line with CRLF, and stuffs a leading dot (RFC 5321 §4.5.2).
fn append_line(bytes: &mut Vec<u8>, line: &[u8]) {
    if line.starts_with(b".") {
        bytes.push(b'.');
    }
    bytes.extend_from_slice(line);
    bytes.extend_from_slice(b"\r\n");
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Words in a fixed pseudo-random order.
struct Words(u64);

impl Words {
    const LIST: [&'static str; 16] = [
        "nyhed",
        "tilbud",
        "kunde",
        "brev",
        "og",
        "kaffe",
        "morgen",
        "levering",
        "i",
        "uge",
        "produkt",
        "butik",
        "med",
        "rabat",
        "vinter",
        "sommerferie",
    ];

    fn next(&mut self) -> &'static str {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Self::LIST[(self.0 >> 60) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &Template, number: u64) -> String {
        let mut out = Vec::new();
        template.write(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_message_has_its_size_and_its_number() {
        let template = Template::plain(10_240, "abc", "news@x.dk");
        let text = written(&template, 42);
        assert!((10_238..10_260).contains(&template.octets()), "{}", template.octets());
        assert!(text.starts_with("Message-ID: <0000000042.abc@x.dk>\r\nX-Load-Id: abc-0000000042\r\nFrom: "), "{text}");
        assert!(text.ends_with("\r\n.\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
    }

    #[test]
    fn a_file_keeps_its_fields_and_gets_an_identity_of_the_run() {
        let file = b"Return-Path: <old@x.dk>\nFrom: a@x.dk\nMessage-Id: <old\n folded@x.dk>\nSubject: 0000000000\r\n\r\n.dot\n0000000000\nlast";
        let text = written(&Template::of_message(file, "r", "a@x.dk").unwrap(), 7);
        let expected = "Message-ID: <0000000007.r@x.dk>\r\nX-Load-Id: r-0000000007\r\nFrom: a@x.dk\r\nSubject: 0000000000\r\n\r\n\
                        ..dot\r\n0000000000\r\nlast\r\n.\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (file, why) in [
            (&b"From: a@x.dk\nno end"[..], NoMessage::NoField),
            (b"From: a@x.dk\n", NoMessage::NoBody),
            (b"", NoMessage::NoBody),
            (b"Subject: x\n\nbody\n", NoMessage::NoFrom),
        ] {
            assert_eq!(Template::of_message(file, "r", "a@x.dk").err(), Some(why), "{file:?}");
        }
    }
}

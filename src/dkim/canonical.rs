//! Canonicalization of headers and bodies (RFC 6376 §3.4).
//!
//! Relaxed canonicalization leaves most of a body unchanged, so the body is not copied octet by octet. A kernel searches 64
//! octets at a time for the places that change (a run of white space, a tab, white space before a line end). The text between
//! two such places goes to the [`Sink`] in one piece.
//!
//! Only CRLF ends a line here. A lone CR or LF is content like any other octet. Intake refuses such messages, but this module
//! still gives them a defined result.

use std::fmt;
use std::ops::Range;

use super::scan;
use crate::message::Field;

/// The form in which a header or body is hashed (RFC 6376 §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Canonicalization {
    /// The header is unchanged; the body loses only its trailing empty lines.
    Simple,
    /// White space is reduced, so that a server on the way may change white space without breaking the signature.
    #[default]
    Relaxed,
}

impl Canonicalization {
    /// Returns the name used in `c=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Canonicalization::Simple => "simple",
            Canonicalization::Relaxed => "relaxed",
        }
    }
}

impl fmt::Display for Canonicalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Receives canonical octets: a hash, or a vector.
pub trait Sink {
    /// Takes the next octets.
    fn put(&mut self, octets: &[u8]);

    /// Takes the next octets, given as a part of `whole`. A sink that copies blocks of fixed length may read past the end of
    /// `part`.
    fn put_part(&mut self, whole: &[u8], part: Range<usize>) {
        self.put(&whole[part]);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

/// Appends one header field in the given form, including its CRLF (RFC 6376 §3.4.1, §3.4.2).
pub fn field(how: Canonicalization, field: Field<'_>, out: &mut Vec<u8>) {
    match how {
        Canonicalization::Simple => out.extend_from_slice(field.raw()),
        Canonicalization::Relaxed => {
            let start = out.len();
            out.extend_from_slice(field.name());
            out[start..].make_ascii_lowercase();
            out.push(b':');
            relaxed_value(field.value(), out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a field's value unfolded. Each run of white space becomes one space; white space at both ends is removed.
pub(super) fn relaxed_value(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = value;
    loop {
        let (word, gap) = rest.split_at(scan::until_gap(rest));
        out.extend_from_slice(word);
        let (is_space, len) = gap_len(gap);
        match gap.get(len) {
            None => return,
            // RFC 6376 §3.4.2: remove white space after the colon.
            Some(_) if is_space && out.len() > start => out.push(b' '),
            Some(_) => {}
        }
        if len == 0 {
            // A lone CR, which neither ends a line nor folds it.
            out.push(gap[0]);
            rest = &gap[1..];
        } else {
            rest = &gap[len..];
        }
    }
}

/// Returns the length of the white space and folds at the start of `gap`, and true if it contains a space or a tab. The CRLF
/// at the end of a field contains neither.
fn gap_len(gap: &[u8]) -> (bool, usize) {
    let mut len = 0;
    let mut is_space = false;
    loop {
        match gap.get(len..) {
            Some([b' ' | b'\t', ..]) => {
                is_space = true;
                len += 1;
            }
            Some([b'\r', b'\n', ..]) => len += 2,
            _ => return (is_space, len),
        }
    }
}

/// Octets that are dropped if they turn out to end a line or the body. They wait here until content follows, in this order: line
/// ends, white space, a CR.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    line_ends: u64,
    space: bool,
    cr: bool,
}

impl Pending {
    fn is_empty(self) -> bool {
        self.line_ends == 0 && !self.space && !self.cr
    }

    fn release<S: Sink>(&mut self, sink: &mut S) {
        const CRLF: [u8; 512] = {
            let mut lines = [b'\r'; 512];
            let mut at = 1;
            while at < lines.len() {
                lines[at] = b'\n';
                at += 2;
            }
            lines
        };
        let mut left = self.line_ends;
        while left > 0 {
            let now = left.min(256);
            sink.put(&CRLF[..2 * now as usize]);
            left -= now;
        }
        if self.space {
            sink.put(b" ");
        }
        if self.cr {
            sink.put(b"\r");
        }
        *self = Pending::default();
    }
}

/// Canonicalizes a body while it streams in (RFC 6376 §3.4.3, §3.4.4). The body may be split anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    how: Canonicalization,
    pending: Pending,
    has_content: bool,
}

impl Body {
    /// Makes the state before the first octet.
    pub fn new(how: Canonicalization) -> Self {
        Body { how, pending: Pending::default(), has_content: false }
    }

    /// Takes the next octets and passes those on whose canonical form is certain by now.
    pub fn update<S: Sink>(&mut self, chunk: &[u8], sink: &mut S) {
        let settled = chunk.iter().take_while(|b| self.step_pending(**b, sink)).count();
        let chunk = &chunk[settled..];
        let content = scan::trimmed_len(chunk);
        if content > 0 {
            self.has_content = true;
            match self.how {
                Canonicalization::Simple => sink.put(&chunk[..content]),
                Canonicalization::Relaxed => relaxed_lines(&chunk[..content], sink),
            }
        }
        for octet in &chunk[content..] {
            self.step(*octet, sink);
        }
    }

    /// Ends the body. The simple form always ends in one CRLF (RFC 6376 §3.4.3), the relaxed form only if the body is not empty
    /// (§3.4.4).
    pub fn finish<S: Sink>(mut self, sink: &mut S) {
        if self.pending.cr {
            self.pending.release(sink);
            self.has_content = true;
        }
        if self.has_content || self.how == Canonicalization::Simple {
            sink.put(b"\r\n");
        }
    }

    /// Takes one octet if something is pending. Returns false, and does nothing, if nothing is.
    fn step_pending<S: Sink>(&mut self, octet: u8, sink: &mut S) -> bool {
        !self.pending.is_empty() && {
            self.step(octet, sink);
            true
        }
    }

    fn step<S: Sink>(&mut self, octet: u8, sink: &mut S) {
        if self.pending.cr {
            if octet == b'\n' {
                self.pending = Pending { line_ends: self.pending.line_ends + 1, space: false, cr: false };
                return;
            }
            self.pending.release(sink);
            self.has_content = true;
        }
        match octet {
            b'\r' => self.pending.cr = true,
            b' ' | b'\t' if self.how == Canonicalization::Relaxed => self.pending.space = true,
            _ => {
                self.pending.release(sink);
                self.has_content = true;
                sink.put(&[octet]);
            }
        }
    }
}

/// Canonicalizes a piece in relaxed form. Nothing may be pending before it, and its last octet must be content.
fn relaxed_lines<S: Sink>(piece: &[u8], sink: &mut S) {
    // Everything before `done` has been passed on.
    let mut done = 0;
    scan::for_each_run(piece, |run| {
        sink.put_part(piece, done..run.start);
        let ends_line = matches!(piece[run.end..], [b'\r', b'\n', ..]);
        done = match piece[run.end - 1] {
            _ if ends_line => run.end,
            // Keep the last space of the run.
            b' ' => run.end - 1,
            _ => {
                sink.put(b" ");
                run.end
            }
        };
    });
    sink.put(&piece[done..]);
}

#[cfg(test)]
mod tests {
    use super::Canonicalization::{Relaxed, Simple};
    use super::*;

    fn body(how: Canonicalization, text: &str) -> String {
        let mut state = Body::new(how);
        let mut out = Vec::new();
        state.update(text.as_bytes(), &mut out);
        state.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn header(how: Canonicalization, text: &str) -> String {
        let mut out = Vec::new();
        field(how, Field::new(text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc6376_section_3_4_5_examples() {
        let text = " C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(body(Relaxed, text), " C\r\nD E\r\n");
        assert_eq!(body(Simple, text), " C \r\nD \t E\r\n");
        assert_eq!(header(Relaxed, "A: X\r\n"), "a:X\r\n");
        assert_eq!(header(Relaxed, "B : Y\t\r\n\tZ  \r\n".replace("B :", "B:").as_str()), "b:Y Z\r\n");
        assert_eq!(header(Simple, "B: Y\t\r\n\tZ  \r\n"), "B: Y\t\r\n\tZ  \r\n");
    }

    #[test]
    fn bodies_at_the_edge() {
        for (text, relaxed, simple) in [
            ("", "", "\r\n"),
            ("\r\n", "", "\r\n"),
            ("\r\n\r\n", "", "\r\n"),
            (" \t\r\n", "", " \t\r\n"),
            ("hello", "hello\r\n", "hello\r\n"),
            ("hello \t", "hello\r\n", "hello \t\r\n"),
            ("hello\r\n \r\n", "hello\r\n", "hello\r\n \r\n"),
            ("hello\r\n\t\t\r\n \r\n\r\n", "hello\r\n", "hello\r\n\t\t\r\n \r\n"),
            ("\r\nhello\r\n", "\r\nhello\r\n", "\r\nhello\r\n"),
            (" \r\n a\tb  c\r\n", "\r\n a b c\r\n", " \r\n a\tb  c\r\n"),
            // A lone CR or LF is content.
            ("a \rb\r\n", "a \rb\r\n", "a \rb\r\n"),
            ("a\r", "a\r\r\n", "a\r\r\n"),
            ("a\r\r\n", "a\r\r\n", "a\r\r\n"),
            ("a  \nb\n", "a \nb\n\r\n", "a  \nb\n\r\n"),
        ] {
            assert_eq!(body(Relaxed, text), relaxed, "{text:?}");
            assert_eq!(body(Simple, text), simple, "{text:?}");
        }
    }

    #[test]
    fn header_values_at_the_edge() {
        for (text, relaxed) in [
            ("Subject:\r\n", "subject:\r\n"),
            ("Subject: \r\n", "subject:\r\n"),
            ("Subject:x\r\n", "subject:x\r\n"),
            ("Subject: \t \r\n\t \r\n  x \t y \r\n", "subject:x y\r\n"),
            ("Subject: søde ord\r\n", "subject:søde ord\r\n"),
            ("Subject: a\r\n \r\n", "subject:a\r\n"),
            ("Subject: a\rb \r c\r\n", "subject:a\rb \r c\r\n"),
        ] {
            assert_eq!(header(Relaxed, text), relaxed, "{text:?}");
        }
    }
}

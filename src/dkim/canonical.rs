//! Canonicalization (RFC 6376 §3.4) at the speed of memory.
//!
//! Relaxed canonicalization changes little: most of a body passes through as it is. So nothing is copied octet by
//! octet. A kernel looks at 64 octets at a time for the places where something changes (a run of white space, a tab,
//! white space before a line end), and what lies between those places is handed on in one piece.
//!
//! Only CRLF ends a line here. A lone CR or LF is content like any other octet; intake refuses such messages, and this
//! module stays defined for them.

use std::fmt;
use std::ops::Range;

use super::scan;
use crate::message::Field;

/// How a header or body is brought into the form that is hashed (RFC 6376 §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Canonicalization {
    /// Octet by octet; the body loses trailing empty lines.
    Simple,
    /// White space is reduced; what relays do to a message on its way does not break the signature.
    #[default]
    Relaxed,
}

impl Canonicalization {
    /// As `c=` writes it.
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

/// Takes canonical octets: a hash, or a vector in tests.
pub trait Sink {
    /// The next octets.
    fn put(&mut self, octets: &[u8]);

    /// The next octets, as a part of what they stand in: copies of fixed length may read on behind them.
    fn put_part(&mut self, whole: &[u8], part: Range<usize>) {
        self.put(&whole[part]);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

/// Appends one header field in the chosen form, CRLF included (RFC 6376 §3.4.1, §3.4.2).
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

/// Appends a field's value unfolded, with each run of white space as one space and none at the ends.
pub(super) fn relaxed_value(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = value;
    loop {
        let (word, gap) = rest.split_at(scan::until_gap(rest));
        out.extend_from_slice(word);
        let (is_space, len) = gap_len(gap);
        match gap.get(len) {
            None => return,
            // RFC 6376 §3.4.2: no white space after the colon.
            Some(_) if is_space && out.len() > start => out.push(b' '),
            Some(_) => {}
        }
        if len == 0 {
            // A CR that ends no line, and no fold either.
            out.push(gap[0]);
            rest = &gap[1..];
        } else {
            rest = &gap[len..];
        }
    }
}

/// The length of the white space and folds at the start of `gap`, and whether any of it is white space: the final CRLF
/// of a field alone is none.
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

/// What may still turn out to be nothing: it is held until content follows. In this order: empty lines, white space, a CR.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    line_ends: u64,
    space: bool,
    cr: bool,
}

impl Held {
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
        *self = Held::default();
    }
}

/// Body canonicalization while the body streams in, split anywhere (RFC 6376 §3.4.3, §3.4.4).
#[derive(Clone, Copy, Debug)]
pub struct Body {
    how: Canonicalization,
    held: Held,
    has_content: bool,
}

impl Body {
    /// The state before the first octet.
    pub fn new(how: Canonicalization) -> Self {
        Body { how, held: Held::default(), has_content: false }
    }

    /// Takes the next octets and hands on what is certain by now.
    pub fn update<S: Sink>(&mut self, chunk: &[u8], sink: &mut S) {
        let held = chunk.iter().take_while(|b| self.step_held(**b, sink)).count();
        let chunk = &chunk[held..];
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

    /// Ends the body: RFC 6376 §3.4.3 always ends it with one CRLF, §3.4.4 only where there is anything.
    pub fn finish<S: Sink>(mut self, sink: &mut S) {
        if self.held.cr {
            self.held.release(sink);
            self.has_content = true;
        }
        if self.has_content || self.how == Canonicalization::Simple {
            sink.put(b"\r\n");
        }
    }

    /// One octet while something is held; `false`, and nothing done, when nothing is.
    fn step_held<S: Sink>(&mut self, octet: u8, sink: &mut S) -> bool {
        !self.held.is_empty() && {
            self.step(octet, sink);
            true
        }
    }

    fn step<S: Sink>(&mut self, octet: u8, sink: &mut S) {
        if self.held.cr {
            if octet == b'\n' {
                self.held = Held { line_ends: self.held.line_ends + 1, space: false, cr: false };
                return;
            }
            self.held.release(sink);
            self.has_content = true;
        }
        match octet {
            b'\r' => self.held.cr = true,
            b' ' | b'\t' if self.how == Canonicalization::Relaxed => self.held.space = true,
            _ => {
                self.held.release(sink);
                self.has_content = true;
                sink.put(&[octet]);
            }
        }
    }
}

/// Relaxed canonicalization of a piece that begins with nothing held and whose last octet is content.
fn relaxed_lines<S: Sink>(piece: &[u8], sink: &mut S) {
    // Everything before `done` has been handed on.
    let mut done = 0;
    scan::for_each_run(piece, |run| {
        sink.put_part(piece, done..run.start);
        let ends_line = matches!(piece[run.end..], [b'\r', b'\n', ..]);
        done = match piece[run.end - 1] {
            _ if ends_line => run.end,
            // The run's own last space is the one that stays.
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

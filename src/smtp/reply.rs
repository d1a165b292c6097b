//! Replies (RFC 5321 §4.2) with enhanced status codes (RFC 3463, RFC 2034).

use std::fmt;

use crate::digits::digits;

/// An enhanced status code, `class.subject.detail` (RFC 3463 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl EnhancedCode {
    /// Reads the code at the start of a reply's text; `None` where the text does not begin with one.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_ascii_whitespace().next()?;
        let mut parts = word.split('.');
        let class: u8 = digits(parts.next()?).filter(|c| matches!(c, 2 | 4 | 5))?;
        let subject: u16 = digits(parts.next()?).filter(|n| *n <= 999)?;
        let detail: u16 = digits(parts.next()?).filter(|n| *n <= 999)?;
        parts.next().is_none().then_some(EnhancedCode(class, subject, detail))
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The longest line of a reply, codes and CRLF included (RFC 5321 §4.5.3.1.5).
pub const LINE: usize = 512;

/// One SMTP reply: the code, the enhanced code if there is one, and the lines of its text.
///
/// The server writes it with [`Reply::write_to`]. The client reads it from a smarthost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code, from 200 to 599.
    pub code: u16,
    /// The enhanced status code. Greetings, replies to EHLO and 3xx replies have none.
    pub enhanced: Option<EnhancedCode>,
    /// The lines of the text, without codes and line ends. There is at least one.
    pub lines: Vec<String>,
}

impl Reply {
    /// A one-line reply with an enhanced code.
    pub fn new(code: u16, enhanced: EnhancedCode, text: impl Into<String>) -> Self {
        Reply { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// A one-line reply without an enhanced code: greetings, HELO answers, 334 and 354.
    pub fn bare(code: u16, text: impl Into<String>) -> Self {
        Reply { code, enhanced: None, lines: vec![text.into()] }
    }

    /// Returns true for a positive reply (2xx or 3xx).
    pub fn is_positive(&self) -> bool {
        matches!(self.code, 200..=399)
    }

    /// Returns true for a transient failure (4xx): trying again later may help.
    pub fn is_transient(&self) -> bool {
        matches!(self.code, 400..=499)
    }

    /// Returns true for a permanent failure (5xx): trying the same again does not help.
    pub fn is_permanent(&self) -> bool {
        matches!(self.code, 500..=599)
    }

    /// Appends the reply as it is sent. Whatever the text quotes, a line has at most `LINE` octets, all of them
    /// printable ASCII (RFC 5321 §4.2). Control characters become spaces, so that a reply is never split. Other
    /// characters become question marks, and what is too long is cut.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (i, line) in self.lines.iter().enumerate() {
            let start = out.len();
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if i == last { b' ' } else { b'-' });
            if let Some(code) = self.enhanced {
                out.extend_from_slice(code.to_string().as_bytes());
                out.push(b' ');
            }
            let room = LINE - b"\r\n".len() - (out.len() - start);
            // There is one question mark for each character: octets that only continue a character are skipped.
            let shown = line.bytes().filter(|b| !matches!(b, 0x80..=0xbf)).map(|b| match b {
                b' '..=b'~' => b,
                0x80.. => b'?',
                _ => b' ',
            });
            out.extend(shown.take(room));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The reply on one line, for logs and events: `550 5.1.1 no such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(code) = self.enhanced {
            write!(f, " {code}")?;
        }
        for line in &self.lines {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiline_reply_repeats_code_and_enhanced_code() {
        let mut reply = Reply::new(550, EnhancedCode(5, 7, 1), "first");
        reply.lines.push("second\r\n250 injected".into());
        let mut out = Vec::new();
        reply.write_to(&mut out);
        assert_eq!(out, b"550-5.7.1 first\r\n550 5.7.1 second  250 injected\r\n");
    }

    #[test]
    fn no_text_makes_a_line_too_long_or_takes_it_out_of_ascii() {
        let mut out = Vec::new();
        Reply::new(501, EnhancedCode(5, 1, 7), format!("søren\u{1b}[2J{}", "x".repeat(4000))).write_to(&mut out);
        assert!(out.starts_with(b"501 5.1.7 s?ren [2Jxxx") && out.ends_with(b"xxx\r\n"), "{}", out.escape_ascii());
        assert_eq!(out.len(), 512);
    }

    #[test]
    fn enhanced_code_is_read_only_at_the_start() {
        assert_eq!(EnhancedCode::parse("5.7.30 Basic auth"), Some(EnhancedCode(5, 7, 30)));
        for text in ["", "3.1.1 x", "5.7", "5.7.1.2", "see 5.7.1", "5.1000.1"] {
            assert_eq!(EnhancedCode::parse(text), None, "{text}");
        }
    }
}

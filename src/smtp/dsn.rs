//! The parameters of delivery status notifications (RFC 3461) as MAIL and RCPT carry them.

use std::fmt::Write as _;

/// How much of the message a delivery status notification returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message is returned.
    Full,
    /// Only the header is returned.
    Headers,
}

impl Ret {
    /// Reads the value of RET.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            v if v.eq_ignore_ascii_case("FULL") => Some(Ret::Full),
            v if v.eq_ignore_ascii_case("HDRS") => Some(Ret::Headers),
            _ => None,
        }
    }
}

/// When the sender wants to be told about a recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The sender wants to hear of success.
    pub success: bool,
    /// The sender wants to hear of failure.
    pub failure: bool,
    /// The sender wants to hear of delay.
    pub delay: bool,
}

impl Notify {
    /// The sender wants to hear nothing (NOTIFY=NEVER).
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };
    /// The default without NOTIFY: failures, and delays at the server's choice (RFC 3461 §4.1).
    pub const DEFAULT: Notify = Notify { success: false, failure: true, delay: true };

    /// Reads the value of NOTIFY: `NEVER` alone, or a list of the other words.
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Notify::NEVER);
        }
        value.split(',').try_fold(Notify::NEVER, |mut notify, word| {
            let wanted = match word {
                w if w.eq_ignore_ascii_case("SUCCESS") => &mut notify.success,
                w if w.eq_ignore_ascii_case("FAILURE") => &mut notify.failure,
                w if w.eq_ignore_ascii_case("DELAY") => &mut notify.delay,
                _ => return None,
            };
            *wanted = true;
            Some(notify)
        })
    }
}

/// Returns true if `text` is xtext (RFC 3461 §4): printable ASCII, in which `+`, `=` and all other octets are written
/// as `+HH`.
pub fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    let upper_hex = |b: Option<u8>| b.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    while let Some(b) = bytes.next() {
        let legal = match b {
            b'+' => upper_hex(bytes.next()) && upper_hex(bytes.next()),
            b'=' => false,
            b => (33..=126).contains(&b),
        };
        if !legal {
            return false;
        }
    }
    true
}

/// Decodes xtext (RFC 3461 §4). Returns `None` if it is not xtext, or if the decoded text is not printable ASCII.
pub fn xtext_decoded(text: &str) -> Option<String> {
    let mut octets = text.bytes();
    let mut out = String::new();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'+' => {
                let hex = [octets.next()?, octets.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            octet => octet,
        };
        if !matches!(octet, b' '..=b'~') {
            return None;
        }
        out.push(char::from(octet));
    }
    Some(out)
}

/// Returns true if `text` is a value of ORCPT: an address type, a semicolon, and an address in xtext (RFC 3461 §4.2) or
/// UTF-8 (RFC 6533 §3).
pub fn is_orcpt(text: &str) -> bool {
    let Some((kind, address)) = text.split_once(';') else { return false };
    let utf8 = kind.eq_ignore_ascii_case("utf-8") && address.chars().all(|c| !c.is_control() && c != ' ' && c != '=');
    !kind.is_empty()
        && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !address.is_empty()
        && (utf8 || is_xtext(address))
}

/// Writes an address as utf-8-addr-xtext (RFC 6533 §3), which is readable where only ASCII is allowed.
pub fn utf8_addr_xtext(address: &str) -> String {
    let mut out = String::new();
    for c in address.chars() {
        match c {
            '!'..='~' if !matches!(c, '+' | '=' | '\\') => out.push(c),
            c => {
                let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
            }
        }
    }
    out
}

/// Writes an ORCPT whose address is in UTF-8 in ASCII. Parts that are already encoded stay as they are.
pub fn orcpt_in_ascii(orcpt: &str) -> String {
    orcpt.split("\\x{").map(utf8_addr_xtext).collect::<Vec<_>>().join("\\x{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_stands_alone() {
        assert_eq!(Notify::parse("never"), Some(Notify::NEVER));
        assert_eq!(Notify::parse("SUCCESS,delay"), Some(Notify { success: true, failure: false, delay: true }));
        for refused in ["", "NEVER,FAILURE", "SUCCESS,", "x"] {
            assert_eq!(Notify::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn xtext_is_checked_to_the_last_digit() {
        for (text, legal) in
            [("user+40test.dk", true), ("", true), ("a+4", false), ("a=b", false), ("a+4a", false), ("å", false)]
        {
            assert_eq!(is_xtext(text), legal, "{text}");
        }
        assert!(is_orcpt("rfc822;user+40test.dk") && is_orcpt("utf-8;søren@test.dk"));
        assert_eq!(utf8_addr_xtext("søren+x@test.dk"), "s\\x{F8}ren\\x{2B}x@test.dk");
        assert_eq!(orcpt_in_ascii("utf-8;søren\\x{2B}æ\\@test.dk"), "utf-8;s\\x{F8}ren\\x{2B}\\x{E6}\\x{5C}@test.dk");
        assert!(!is_orcpt("rfc822;") && !is_orcpt("user@test.dk") && !is_orcpt(";a"));
    }

    #[test]
    fn xtext_is_decoded_only_to_printable_ascii() {
        assert_eq!(xtext_decoded("user+40test.dk").as_deref(), Some("user@test.dk"));
        for text in ["a+4", "a+zz", "a+0D+0A", "a+C3+A6", "æ"] {
            assert_eq!(xtext_decoded(text), None, "{text}");
        }
    }
}

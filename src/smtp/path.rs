//! Domains, mailboxes and reverse paths (RFC 5321 §4.1.2, RFC 6531 §3.3), parsed once.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::visible::is_unseen;

/// Why a domain or mailbox was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The text is not a DNS name: it has an empty label, a bad character, a label over 63 octets, or over 253 octets
    /// in all.
    #[error("\"{0}\" is not a domain name")]
    Domain(String),
    /// The text is not of the form `local-part@domain`.
    #[error("\"{0}\" is not a mail address")]
    Mailbox(String),
    /// The local part is over 64 octets (RFC 5321 §4.5.3.1.1), or the path is over 254.
    #[error("address is too long")]
    TooLong,
}

/// A DNS name as mail uses it: in lower case, with international names as A-labels, without a trailing dot.
///
/// Two names that are the same in DNS are equal. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Reads a name in either form (`Blåbær.dk`, `xn--blbr-roah.dk`, `test.dk.`). Fails if it is not a DNS host name of
    /// letters, digits, hyphens and underscores (RFC 1035 §2.3.1, RFC 5890).
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let refused = || PathError::Domain(text.to_owned());
        let name = text.strip_suffix('.').unwrap_or(text);
        let ascii = if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(name).map_err(|_| refused())?
        };
        let label_is_legal = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if ascii.len() > 253 || !ascii.split('.').all(label_is_legal) {
            return Err(refused());
        }
        Ok(Domain(ascii.into()))
    }

    /// The name in ASCII and lower case, without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if every reader takes `text` for this name. That is not so if the text must first be mapped (UTS
    /// 46: `Æ`, full-width letters, `。` for a dot), if IDNA 2003 and 2008 read one of its letters differently (`ß`), or
    /// if it ends with a dot.
    pub fn is_plainly(&self, text: &str) -> bool {
        let mut written = text.split('.');
        self.0.split('.').all(|label| written.next().is_some_and(|text| is_label(label, text)))
            && written.next().is_none()
    }

    /// Returns true if this is `parent` or a name below it.
    pub fn is_within(&self, parent: &Domain) -> bool {
        self == parent || self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Returns true if `text` is `label` itself or its U-label. DNS ignores the case of ASCII letters.
fn is_label(label: &str, text: &str) -> bool {
    text.eq_ignore_ascii_case(label) || {
        // These are the deviation characters of UTS 46 §4.
        let is_read_in_two_ways = text.contains(['\u{df}', '\u{3c2}', '\u{200c}', '\u{200d}']);
        let (unicode, sound) = idna::domain_to_unicode(label);
        sound.is_ok() && !is_read_in_two_ways && unicode.eq_ignore_ascii_case(text)
    }
}

/// The part of an address to the right of the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A host name.
    Domain(Domain),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// A mail address, `local-part@domain`. The local part is kept as it was written, quotes included, because only the
/// final host may interpret it (RFC 5321 §2.4). The domain is normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local: Box<str>,
    host: Host,
}

impl Mailbox {
    /// Reads `local-part@domain` without angle brackets. The local part is a dot-string or a quoted string (RFC 5321
    /// §4.1.2), and may hold UTF-8 (RFC 6531). Control characters, and characters that turn or hide text, are refused everywhere.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let refused = || PathError::Mailbox(text.to_owned());
        let (local, host) = text.rsplit_once('@').ok_or_else(refused)?;
        if local.len() > 64 || text.len() > 254 {
            return Err(PathError::TooLong);
        }
        if !local_part_is_legal(local) {
            return Err(refused());
        }
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(literal) => Host::Literal(parse_literal(literal).ok_or_else(refused)?),
            None => Host::Domain(Domain::parse(host)?),
        };
        let mailbox = Mailbox { local: local.into(), host };
        // An international name may be longer as A-labels than as it was written.
        match &mailbox.host {
            Host::Domain(domain) if local.len() + 1 + domain.as_str().len() > 254 => Err(PathError::TooLong),
            _ => Ok(mailbox),
        }
    }

    /// The local part, as it was written.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part to the right of the `@`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, or `None` for an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }

    /// Returns true if the address can only be sent to a server that offers SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Domain(domain) => write!(f, "{}@{domain}", self.local),
            Host::Literal(IpAddr::V4(ip)) => write!(f, "{}@[{ip}]", self.local),
            Host::Literal(IpAddr::V6(ip)) => write!(f, "{}@[IPv6:{ip}]", self.local),
        }
    }
}

/// Returns an address in the form in which addresses are compared: in lower case, with the domain in ASCII, without needless quotes. A text
/// that is no address is only changed to lower case.
pub fn comparable(address: &str) -> Cow<'_, str> {
    let address = address.trim();
    if is_usual(address) {
        return match address.bytes().any(|octet| octet.is_ascii_uppercase()) {
            true => Cow::Owned(address.to_ascii_lowercase()),
            false => Cow::Borrowed(address),
        };
    }
    let Ok(Mailbox { local, host }) = Mailbox::parse(address) else { return Cow::Owned(address.to_lowercase()) };
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut plain = String::with_capacity(address.len());
    let mut characters = quoted.unwrap_or(&local).chars();
    while let Some(character) = characters.next() {
        let is_escape = quoted.is_some() && character == '\\';
        plain.extend(if is_escape { characters.next() } else { Some(character) });
    }
    Cow::Owned(Mailbox { local: plain.to_lowercase().into(), host }.to_string().to_lowercase())
}

/// Returns true if these are one address, however it is written.
pub fn is_same_address(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    one.eq_ignore_ascii_case(other) || (!(is_usual(one) && is_usual(other)) && comparable(one) == comparable(other))
}

/// Returns true if another text for the same address differs in case only.
fn is_usual(address: &str) -> bool {
    address.is_ascii() && !address.ends_with('.') && !address.contains(['"', '['])
}

fn local_part_is_legal(local: &str) -> bool {
    if let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            let legal = match c {
                '\\' => chars.next().is_some_and(|escaped| !is_unseen(escaped)),
                '"' => false,
                c => !is_unseen(c),
            };
            if !legal {
                return false;
            }
        }
        return local.len() >= 2;
    }
    let atext =
        |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !is_unseen(c));
    local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}

fn parse_literal(literal: &str) -> Option<IpAddr> {
    match literal.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse().ok().map(IpAddr::V6),
        _ => literal.parse().ok().map(IpAddr::V4),
    }
}

/// The argument of MAIL FROM, where bounces go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// The null path `<>`: this message must never be answered with another one (RFC 5321 §4.5.5).
    Null,
    /// The address that bounces go to.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The address, unless the path is null.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// The text has no angle brackets, and is empty for the null path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |mailbox| mailbox.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        for (one, other, is_same) in [
            ("Ole@X.dk", "ole@x.dk", true),
            (" ole@x.dk\t", "ole@x.dk", true),
            ("ole@x.dk.", "ole@x.dk", true),
            ("ole@blåbær.dk", "OLE@xn--blbr-roah.dk", true),
            ("ØLE@x.dk", "øle@x.dk", true),
            ("\"ole\"@x.dk", "ole@x.dk", true),
            ("\"o\\l e\"@x.dk", "\"ol e\"@x.dk", true),
            ("ole@[IPv6:2001:db8::1]", "ole@[ipv6:2001:DB8:0::1]", true),
            ("Unknown Ole", "unknown ole", true),
            ("ole@x.dk", "ole+news@x.dk", false),
            ("ole@x.dk", "bo@x.dk", false),
            ("\"o.le\"@x.dk", "ole@x.dk", false),
            ("øle@x.dk", "ole@x.dk", false),
        ] {
            assert_eq!(is_same_address(one, other), is_same, "{one} {other}");
            assert_eq!(comparable(one) == comparable(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn domains_are_normalised() {
        for (text, name) in [
            ("Test.DK", "test.dk"),
            ("test.dk.", "test.dk"),
            ("blåbær.dk", "xn--blbr-roah.dk"),
            ("_x.test.dk", "_x.test.dk"),
        ] {
            assert_eq!(Domain::parse(text).unwrap().as_str(), name);
        }
        for text in
            ["", ".", "a..b", "-a.dk", "a-.dk", "a b.dk", "a\r.dk", "x".repeat(64).as_str(), "[1.2.3.4]", "a@b.dk"]
        {
            assert!(Domain::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_readers_must_map_first_is_not_plain() {
        for (text, plain) in [
            ("Test.DK", true),
            ("blåbær.dk", true),
            ("Blåbær.DK", true),
            ("XN--blbr-roah.dk", true),
            ("mail.blåbær.xn--blbr-roah.dk", true),
            ("BLÅBÆR.dk", false),
            ("bla\u{30a}bær.dk", false),
            ("ｔest.dk", false),
            ("test\u{3002}dk", false),
            ("te\u{ad}st.dk", false),
            ("straße.de", false),
            ("xn--strae-oqa.de", true),
            ("test.dk.", false),
        ] {
            let domain = Domain::parse(text).unwrap();
            assert_eq!(domain.is_plainly(text), plain, "{text} is {domain}");
            assert!(domain.is_plainly(domain.as_str()));
        }
    }

    #[test]
    fn a_name_is_within_itself_and_its_parents_only() {
        let d = |t| Domain::parse(t).unwrap();
        assert!(d("a.test.dk").is_within(&d("test.dk")));
        assert!(d("test.dk").is_within(&d("test.dk")));
        assert!(!d("atest.dk").is_within(&d("test.dk")));
        assert!(!d("dk").is_within(&d("test.dk")));
    }

    #[test]
    fn an_address_too_long_in_its_ascii_form_is_refused() {
        // Each label has five octets as written, and about ten as an A-label.
        let host = |labels: usize| format!("{}dk", "åж.".repeat(labels));
        let labels = (1..40).rfind(|n| Domain::parse(&host(*n)).is_ok()).unwrap();
        assert!(Mailbox::parse(&format!("a@{}", host(labels - 1))).is_ok());
        let long = format!("{}@{}", "x".repeat(64), host(labels - 1));
        assert!(long.len() <= 254);
        assert_eq!(Mailbox::parse(&long), Err(PathError::TooLong));
    }

    #[test]
    fn mailboxes_keep_quotes_and_refuse_controls() {
        for text in [
            "a@test.dk",
            "\"a b\"@test.dk",
            "\"a\\\"b\"@test.dk",
            "søren@test.dk",
            "a@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            "a+b.c@test.dk",
        ] {
            assert_eq!(Mailbox::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "a",
            "@test.dk",
            "a@",
            ".a@test.dk",
            "a..b@test.dk",
            "a b@test.dk",
            "\"a@test.dk",
            "\"a\"b\"@test.dk",
            "a\n@test.dk",
            "\"a\r\"@test.dk",
            "a\u{202e}b@test.dk",
            "\"a\u{200b}\"@test.dk",
            "a\u{a0}b@test.dk",
            "a@[x]",
            "\"@test.dk",
        ] {
            assert!(Mailbox::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| {
                let _ = Mailbox::parse(text);
                let _ = Domain::parse(text);
            },
            &[
                ("labels", |size| "a.".repeat(size / 2) + "dk"),
                ("signs", |size| "@".repeat(size)),
                ("a local part", |size| "a".repeat(size) + "@test.dk"),
                ("quotes", |size| format!("\"{}\"@test.dk", "\\\"".repeat(size / 2))),
                ("letters of its own", |size| "ø.".repeat(size / 3) + "dk"),
                ("encoded letters", |size| "xn--".repeat(size / 4) + ".dk"),
                ("letters that are mapped", |size| "ﷺ".repeat(size / 3) + ".dk"),
                ("marks", |size| "e\u{301}".repeat(size / 3) + ".dk"),
            ],
        );
    }
}

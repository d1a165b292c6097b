//! The syntax of SPF records (RFC 7208 §4.6, §5, §6, §12). Every term keeps its text, so that findings can quote it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::macros::MacroString;

/// The maximum length of a record that is evaluated, because each term takes time. All kinds of receivers must read it, and DNS servers
/// answer only records of a few hundred octets without TCP (RFC 7208 §3.4).
pub const MOST_OCTETS: usize = 8192;

/// A record that can be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The mechanisms in order.
    pub directives: Vec<Directive>,
    /// The domain whose record counts in place of this one (`redirect=`).
    pub redirect: Option<MacroString>,
    /// The modifiers as written, with `redirect=` and `exp=`.
    pub modifiers: Vec<String>,
}

/// A mechanism with its qualifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The meaning of a match.
    pub qualifier: Qualifier,
    /// The senders that the term matches.
    pub mechanism: Mechanism,
    /// The term as it is written in the record.
    pub text: String,
}

/// The qualifier of a mechanism: `+`, `-`, `~` or `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// The sender may send (`+`, or no qualifier).
    Pass,
    /// The sender may not send (`-`).
    Fail,
    /// The sender probably may not send (`~`).
    SoftFail,
    /// Nothing is said about the sender (`?`).
    Neutral,
}

impl Qualifier {
    /// Returns the character that records have for it.
    pub fn as_char(self) -> char {
        match self {
            Qualifier::Pass => '+',
            Qualifier::Fail => '-',
            Qualifier::SoftFail => '~',
            Qualifier::Neutral => '?',
        }
    }
}

/// A mechanism (RFC 7208 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Matches every sender (`all`).
    All,
    /// Matches if another domain's record passes (`include:`).
    Include(MacroString),
    /// Matches the addresses of a name, by default the domain itself (`a`).
    A(Target),
    /// Matches the addresses of mail exchangers (`mx`).
    Mx(Target),
    /// Matches by the name of the address (`ptr`). It should not be used (§5.5).
    Ptr(Option<MacroString>),
    /// Matches an IPv4 network (`ip4:`).
    Ip4(Ipv4Net),
    /// Matches an IPv6 network (`ip6:`).
    Ip6(Ipv6Net),
    /// Matches if a name exists (`exists:`).
    Exists(MacroString),
}

impl Mechanism {
    /// Returns true if it counts toward the ten lookups (§4.6.4).
    pub fn costs_a_lookup(&self) -> bool {
        !matches!(self, Mechanism::All | Mechanism::Ip4(_) | Mechanism::Ip6(_))
    }

    /// Returns true if it matches nearly every address.
    pub fn is_everybody(&self) -> bool {
        let shortest = match self {
            Mechanism::All => 0,
            Mechanism::Ip4(net) => net.prefix_len(),
            Mechanism::Ip6(net) => net.prefix_len(),
            Mechanism::A(target) | Mechanism::Mx(target) => target.v4.min(target.v6),
            Mechanism::Include(_) | Mechanism::Ptr(_) | Mechanism::Exists(_) => return false,
        };
        shortest < SHORTEST_PREFIX
    }
}

/// The shortest prefix that can belong to an organization. Half of the Internet, written twice, is everybody.
const SHORTEST_PREFIX: u8 = 8;

/// A name with prefix lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name; `None` is the domain under evaluation.
    pub name: Option<MacroString>,
    /// The prefix length for IPv4.
    pub v4: u8,
    /// The prefix length for IPv6.
    pub v6: u8,
}

/// A term that is not SPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The term as it is written in the record.
    pub term: String,
    /// The fault of the term.
    pub fault: Fault,
}

/// The fault of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The argument is not an IP address or network.
    Address,
    /// The argument is not a domain name.
    Name,
    /// The mechanism is unknown, or a colon is missing.
    Unknown,
    /// The record has `redirect=` or `exp=` twice.
    Twice,
    /// The term has a character that is not printable ASCII.
    Character,
}

impl Record {
    /// Reads a record that begins with `v=spf1`. The error has all faulty terms. One of them makes the record a permanent error for
    /// receivers (§4.6).
    pub fn parse(text: &str) -> Result<Self, Vec<SyntaxError>> {
        let (record, faults) = Self::parse_leniently(text);
        if faults.is_empty() { Ok(record) } else { Err(faults) }
    }

    /// Reads the terms that can be read, and returns the faults of the others.
    pub fn parse_leniently(text: &str) -> (Self, Vec<SyntaxError>) {
        let mut record = Record { directives: Vec::new(), redirect: None, modifiers: Vec::new() };
        let mut faults = Vec::new();
        let mut exp_seen = false;
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            if let Err(fault) = record.read(term, &mut exp_seen) {
                faults.push(SyntaxError { term: term.to_owned(), fault });
            }
        }
        (record, faults)
    }

    fn read(&mut self, term: &str, exp_seen: &mut bool) -> Result<(), Fault> {
        if !term.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Fault::Character);
        }
        if let Some((name, value)) = modifier(term) {
            if name.eq_ignore_ascii_case("redirect") {
                if self.redirect.is_some() {
                    return Err(Fault::Twice);
                }
                self.redirect = Some(MacroString::domain_spec(value).ok_or(Fault::Name)?);
            } else if name.eq_ignore_ascii_case("exp") {
                if std::mem::replace(exp_seen, true) {
                    return Err(Fault::Twice);
                }
                MacroString::domain_spec(value).ok_or(Fault::Name)?;
            }
            // Unknown modifiers are ignored (§6).
            self.modifiers.push(term.to_owned());
            return Ok(());
        }
        let (qualifier, bare) = match term.as_bytes()[0] {
            b'+' => (Qualifier::Pass, &term[1..]),
            b'-' => (Qualifier::Fail, &term[1..]),
            b'~' => (Qualifier::SoftFail, &term[1..]),
            b'?' => (Qualifier::Neutral, &term[1..]),
            _ => (Qualifier::Pass, term),
        };
        let mechanism = mechanism(bare)?;
        self.directives.push(Directive { qualifier, mechanism, text: term.to_owned() });
        Ok(())
    }

    /// Returns the position of `all`.
    pub fn all(&self) -> Option<usize> {
        self.directives.iter().position(|directive| directive.mechanism == Mechanism::All)
    }
}

/// Writes the record as it is published.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=spf1")?;
        self.directives.iter().try_for_each(|directive| write!(f, " {}", directive.text))?;
        self.modifiers.iter().try_for_each(|modifier| write!(f, " {modifier}"))
    }
}

/// Splits `name=value`. The name begins with a letter (§12).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    legal.then_some((name, value))
}

fn mechanism(text: &str) -> Result<Mechanism, Fault> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let argument = rest.strip_prefix(':');
    let named = |rest: Option<&str>| MacroString::domain_spec(rest.ok_or(Fault::Name)?).ok_or(Fault::Name);
    Ok(match &*name.to_ascii_lowercase() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(named(argument)?),
        "exists" => Mechanism::Exists(named(argument)?),
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(named(argument)?)),
        "a" => Mechanism::A(target(rest)?),
        "mx" => Mechanism::Mx(target(rest)?),
        "ip4" => Mechanism::Ip4(ip4(argument.ok_or(Fault::Address)?).ok_or(Fault::Address)?),
        "ip6" => Mechanism::Ip6(ip6(argument.ok_or(Fault::Address)?).ok_or(Fault::Address)?),
        _ => return Err(Fault::Unknown),
    })
}

/// Reads `[":" domain-spec] [ip4-cidr] ["/" ip6-cidr]`.
fn target(text: &str) -> Result<Target, Fault> {
    let (text, v6) = match text.rsplit_once("//") {
        Some((before, digits)) => (before, prefix_length(digits, 128).ok_or(Fault::Address)?),
        None => (text, 128),
    };
    // A slash may also be in a macro (`%{l/}`), so only digits at the very end are a prefix length.
    let (text, v4) = match text.rsplit_once('/') {
        Some((before, digits)) if !digits.contains('}') => (before, prefix_length(digits, 32).ok_or(Fault::Address)?),
        _ => (text, 32),
    };
    let name = match text {
        "" => None,
        text => Some(text.strip_prefix(':').and_then(MacroString::domain_spec).ok_or(Fault::Name)?),
    };
    Ok(Target { name, v4, v6 })
}

/// Reads a prefix length without a leading zero (RFC 7208 §5.6).
fn prefix_length(digits: &str, longest: u8) -> Option<u8> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|length| plain && *length <= longest)
}

fn ip4(text: &str) -> Option<Ipv4Net> {
    let (address, length) = match text.split_once('/') {
        Some((address, digits)) => (address, prefix_length(digits, 32)?),
        None => (text, 32),
    };
    Ipv4Net::new(address.parse::<Ipv4Addr>().ok()?, length).ok()
}

fn ip6(text: &str) -> Option<Ipv6Net> {
    let (address, length) = match text.split_once('/') {
        Some((address, digits)) => (address, prefix_length(digits, 128)?),
        None => (text, 128),
    };
    Ipv6Net::new(address.parse::<Ipv6Addr>().ok()?, length).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_guides_own_example_is_not_an_address() {
        let faults = Record::parse("v=spf1 ip4:111.222.333.444 include:spf.webcrm.com -all").unwrap_err();
        assert_eq!(faults, [SyntaxError { term: "ip4:111.222.333.444".to_owned(), fault: Fault::Address }]);
    }

    #[test]
    fn legal_terms_are_read() {
        let text = "v=spf1 a mx/24 a:mail.test.dk/24//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?include:_spf.test.dk \
                    exists:%{ir}.list.test.dk ptr ptr:test.dk ~all exp=e.test.dk future=x:y redirect=_spf.test.dk";
        let record = Record::parse(text).unwrap();
        assert_eq!(record.directives.len(), 10);
        assert_eq!(record.all(), Some(9));
        assert_eq!(record.modifiers, ["exp=e.test.dk", "future=x:y", "redirect=_spf.test.dk"]);
        assert_eq!(record.to_string(), text);
        assert!(Record::parse("V=SPF1  A  -ALL").is_ok());
    }

    #[test]
    fn faults_are_named() {
        for (term, fault) in [
            ("ip4:1.2.3", Fault::Address),
            ("ip4:1.2.3.4/33", Fault::Address),
            ("ip4:1.2.3.4/08", Fault::Address),
            ("ip4", Fault::Address),
            ("ip4:2001:db8::1", Fault::Address),
            ("ip6:192.0.2.1", Fault::Address),
            ("ip:192.0.2.1", Fault::Unknown),
            ("ipv4:192.0.2.1", Fault::Unknown),
            ("192.0.2.1", Fault::Unknown),
            ("all:x.dk", Fault::Unknown),
            ("include", Fault::Name),
            ("include:", Fault::Name),
            ("include:localhost", Fault::Name),
            ("include=x", Fault::Unknown),
            ("a:", Fault::Name),
            ("a/33", Fault::Address),
            ("redirect=", Fault::Name),
            ("-", Fault::Unknown),
            ("–all", Fault::Character),
        ] {
            let faults = Record::parse(&format!("v=spf1 {term}")).err();
            let expected = SyntaxError { term: term.to_owned(), fault };
            // `include=x` is a legal unknown modifier.
            match term {
                "include=x" => assert_eq!(faults, None),
                _ => assert_eq!(faults, Some(vec![expected]), "{term}"),
            }
        }
        assert_eq!(Record::parse("v=spf1 redirect=a.dk redirect=b.dk").unwrap_err()[0].fault, Fault::Twice);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "v=spf1 .{0,200}") {
            let _ = Record::parse(&text);
        }

        #[test]
        fn what_was_read_is_written_as_it_was(
            terms in prop::collection::vec(
                prop::sample::select(vec!["a", "mx", "-ip4:192.0.2.0/24", "include:x.dk", "?exists:%{i}.x.dk", "ip6:::1"]), 0..8)
        ) {
            let text = terms.iter().fold("v=spf1".to_owned(), |text, term| text + " " + term);
            prop_assert_eq!(Record::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_record_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::SHORT,
            |text: &String| drop(Record::parse_leniently(text)),
            &[
                ("short terms", |size| format!("v=spf1 {}", "a ".repeat(size / 2))),
                ("terms at fault", |size| format!("v=spf1 {}", "x ".repeat(size / 2))),
                ("a long name", |size| format!("v=spf1 include:{}dk", "a.".repeat(size / 2))),
                ("networks", |size| format!("v=spf1 {}", "ip4:192.0.2.0/24 ".repeat(size / 17))),
                ("modifiers", |size| {
                    format!("v=spf1 {}", (0..size / 8).map(|at| format!("x{at:05}= ")).collect::<String>())
                }),
                ("macros", |size| format!("v=spf1 exists:{}", "%{d}".repeat(size / 4))),
                ("many terms of macros", |size| format!("v=spf1 {}", "exists:%{d}.%{i} ".repeat(size / 17))),
                ("redirects", |size| format!("v=spf1 {}", "redirect=a.dk ".repeat(size / 14))),
                ("slashes", |size| format!("v=spf1 a:{}", "a/".repeat(size / 2))),
            ],
        );
    }
}

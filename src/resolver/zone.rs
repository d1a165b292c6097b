//! A fixed zone in memory: what tests and the demo ask instead of the DNS. It can be changed while it is in use, and made to
//! fail, so that a test can show what a dead name server does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Answer, Error, Kind, Lookup, Record, Resolver, normal};

/// Aliases followed for one question; more is a loop.
const LONGEST_CHAIN: usize = 8;

/// Names and their records. A name exists if it or a name below it has records.
#[derive(Debug, Default)]
pub struct FixedZone(RwLock<Content>);

#[derive(Debug, Default)]
struct Content {
    records: BTreeMap<String, Vec<Record>>,
    failing: BTreeSet<String>,
}

/// A line of zone text that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ZoneError {
    /// Counted from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

impl FixedZone {
    /// An empty zone: every question is answered with "no such name".
    pub fn new() -> Self {
        FixedZone::default()
    }

    /// Reads lines `name kind data`: absolute names, no TTL or class; TXT data is one or more quoted strings with `\"` and
    /// `\\`, or a bare word; `name FAIL` makes every question about the name fail; empty lines and `;` comments are skipped.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let zone = FixedZone::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') {
                continue;
            }
            let refused = |reason: &str| ZoneError { line: at + 1, reason: format!("{reason}: {line}") };
            let (name, rest) = line.split_once(char::is_whitespace).ok_or_else(|| refused("no kind"))?;
            let (kind, data) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            if kind == "FAIL" {
                zone.fail(name);
                continue;
            }
            let record = read(kind, data.trim()).ok_or_else(|| refused("cannot read"))?;
            zone.add(name, record);
        }
        Ok(zone)
    }

    /// Adds a record.
    ///
    /// # Panics
    /// Where `name` can be no DNS name: a zone is written by people who test.
    pub fn add(&self, name: &str, record: Record) {
        let name = normal(name).expect("zones hold DNS names");
        self.write().records.entry(name).or_default().push(record);
    }

    /// Adds a TXT record of one string per 255 octets.
    pub fn add_txt(&self, name: &str, text: &str) {
        self.add(name, Record::Txt(text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect()));
    }

    /// Takes a name's records of one kind out.
    pub fn remove(&self, name: &str, kind: Kind) {
        let Ok(name) = normal(name) else { return };
        let mut content = self.write();
        if let Some(records) = content.records.get_mut(&name) {
            records.retain(|record| record.kind() != kind);
            if records.is_empty() {
                content.records.remove(&name);
            }
        }
    }

    /// Makes every question about `name` and the names below it fail, as with a dead name server.
    pub fn fail(&self, name: &str) {
        if let Ok(name) = normal(name) {
            self.write().failing.insert(name);
        }
    }

    /// Ends [`FixedZone::fail`] for `name`.
    pub fn heal(&self, name: &str) {
        if let Ok(name) = normal(name) {
            self.write().failing.remove(&name);
        }
    }

    /// Answers a question at once.
    pub fn answer(&self, name: &str, kind: Kind) -> Result<Answer, Error> {
        let content = self.read();
        let mut at = normal(name)?;
        for _ in 0..LONGEST_CHAIN {
            if content.failing.iter().any(|dead| at == *dead || at.ends_with(&format!(".{dead}"))) {
                return Err(Error::Refused { name: at, kind, code: "SERVFAIL".to_owned() });
            }
            let Some(records) = content.records.get(&at) else {
                let below = format!(".{at}");
                let empty_non_terminal = content.records.keys().any(|other| other.ends_with(&below));
                return Ok(Answer { records: Vec::new(), no_such_name: !empty_non_terminal });
            };
            let found: Vec<_> = records.iter().filter(|record| record.kind() == kind).cloned().collect();
            let alias = records.iter().find_map(|r| if let Record::Cname(target) = r { Some(target) } else { None });
            match alias {
                Some(target) if found.is_empty() => at = normal(target)?,
                _ => return Ok(Answer { records: found, no_such_name: false }),
            }
        }
        Err(Error::Failed { name: name.to_owned(), kind, reason: "alias loop".to_owned() })
    }

    // The lock protects plain data that every writer leaves whole.
    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Resolver for FixedZone {
    fn query<'a>(&'a self, name: &'a str, kind: Kind) -> Lookup<'a> {
        Box::pin(std::future::ready(self.answer(name, kind)))
    }
}

fn read(kind: &str, data: &str) -> Option<Record> {
    Some(match kind {
        "A" => Record::A(data.parse::<Ipv4Addr>().ok()?),
        "AAAA" => Record::Aaaa(data.parse::<Ipv6Addr>().ok()?),
        "TXT" => Record::Txt(strings(data)?),
        "MX" => {
            let (preference, host) = data.split_once(char::is_whitespace)?;
            let host = host.trim();
            Record::Mx(preference.parse().ok()?, if host == "." { String::new() } else { normal(host).ok()? })
        }
        "CNAME" => Record::Cname(normal(data).ok()?),
        "PTR" => Record::Ptr(normal(data).ok()?),
        _ => return None,
    })
}

fn strings(data: &str) -> Option<Vec<Vec<u8>>> {
    if !data.starts_with('"') {
        return (!data.is_empty() && !data.contains(char::is_whitespace)).then(|| vec![data.as_bytes().to_vec()]);
    }
    let mut strings = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let mut octets = rest.strip_prefix('"')?.bytes();
        let mut string = Vec::new();
        loop {
            match octets.next()? {
                b'"' => break,
                b'\\' => string.push(octets.next()?),
                octet => string.push(octet),
            }
        }
        strings.push(string);
        rest = rest[rest.len() - octets.len()..].trim_start();
    }
    Some(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> FixedZone {
        FixedZone::parse(
            r#"
            ; comment
            test.dk TXT "v=spf1 " "-all"
            test.dk MX 10 mail.test.dk.
            www.test.dk CNAME Test.dk
            loop.dk CNAME loop.dk
            quoted.dk TXT "a\"b\\c"
            dead.dk FAIL
            "#,
        )
        .unwrap()
    }

    #[test]
    fn answers_follow_aliases_and_keep_strings_apart() {
        let answer = zone().answer("WWW.test.dk.", Kind::Txt).unwrap();
        assert_eq!(answer.records, [Record::Txt(vec![b"v=spf1 ".to_vec(), b"-all".to_vec()])]);
        assert_eq!(zone().answer("quoted.dk", Kind::Txt).unwrap().records, [Record::Txt(vec![b"a\"b\\c".to_vec()])]);
    }

    #[test]
    fn an_alias_can_be_asked_for_itself() {
        let answer = zone().answer("www.test.dk", Kind::Cname).unwrap();
        assert_eq!(answer.records, [Record::Cname("test.dk".to_owned())]);
    }

    #[test]
    fn absence_is_an_answer_and_failure_is_an_error() {
        assert_eq!(zone().answer("test.dk", Kind::A).unwrap(), Answer::default());
        assert!(!zone().answer("dk", Kind::A).unwrap().no_such_name, "empty non-terminal");
        assert!(zone().answer("other.dk", Kind::A).unwrap().no_such_name);
        assert!(zone().answer("x.dead.dk", Kind::A).is_err());
        assert!(zone().answer("loop.dk", Kind::A).is_err());
        let zone = zone();
        zone.heal("dead.dk");
        assert!(zone.answer("x.dead.dk", Kind::A).unwrap().no_such_name);
    }

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(FixedZone::parse("\nx.dk A one").err().unwrap().line, 2);
        assert!(FixedZone::parse("x.dk TXT \"open").is_err());
        assert!(FixedZone::parse("x.dk TXT two words").is_err());
    }
}

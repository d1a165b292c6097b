//! A fixed zone in memory, which tests and the demo use instead of DNS. It can be changed while it is in use. It can also be made
//! to fail, like a dead name server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Answer, Error, Lookup, Record, RecordType, Resolver, normal};

/// The most aliases followed for one question. A longer chain counts as a loop.
const LONGEST_CHAIN: usize = 8;

/// A set of names and their records. A name exists if it or a name below it has records.
#[derive(Debug, Default)]
pub struct FixedZone(RwLock<Content>);

#[derive(Debug, Default)]
struct Content {
    records: BTreeMap<String, Vec<Record>>,
    failing: BTreeSet<String>,
}

impl Content {
    /// Returns true if the name or one below it has records.
    fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        self.records.contains_key(name) || self.records.keys().any(|other| other.ends_with(&below))
    }

    /// Returns the wildcard records for a name that does not exist. The wildcard is the one below the nearest ancestor that exists
    /// (RFC 4592 §2.2.1).
    fn wildcard(&self, name: &str) -> Option<&Vec<Record>> {
        let mut at = name;
        while !self.exists(at) {
            at = at.split_once('.')?.1;
        }
        self.records.get(&format!("*.{at}")).filter(|_| at != name)
    }
}

/// The error for a line of zone text that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ZoneError {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// Why the line cannot be read, followed by the line itself.
    pub reason: String,
}

impl FixedZone {
    /// Makes an empty zone, which answers every question with "no such name".
    pub fn new() -> Self {
        FixedZone::default()
    }

    /// Reads a zone from lines of the form `name type data`.
    ///
    /// Names are absolute; there is no TTL and no class. A name that begins with `*.` is a wildcard. TXT data is a bare word, or one
    /// or more quoted strings with `\"` and `\\`. `name SOA` begins a zone. `name FAIL` makes every question about the name fail.
    /// Empty lines and `;` comments are skipped.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let zone = FixedZone::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') {
                continue;
            }
            let refused = |reason: &str| ZoneError { line: at + 1, reason: format!("{reason}: {line}") };
            let (name, rest) = line.split_once(char::is_whitespace).ok_or_else(|| refused("no record type"))?;
            let (record_type, data) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            if record_type == "FAIL" {
                zone.fail(name);
                continue;
            }
            let record = match record_type {
                "SOA" => normal(name).ok().map(Record::Soa),
                record_type => read(record_type, data.trim()),
            };
            let record = record.ok_or_else(|| refused("cannot read"))?;
            zone.add(name, record);
        }
        Ok(zone)
    }

    /// Adds a record to a name.
    ///
    /// # Panics
    /// Panics if `name` is not a DNS name, because only tests and the demo write zones.
    pub fn add(&self, name: &str, record: Record) {
        let name = normal(name).expect("zones hold DNS names");
        self.write().records.entry(name).or_default().push(record);
    }

    /// Adds a TXT record, split into strings of at most 255 octets.
    pub fn add_txt(&self, name: &str, text: &str) {
        self.add(name, Record::Txt(text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect()));
    }

    /// Removes a name's records of one type.
    pub fn remove(&self, name: &str, record_type: RecordType) {
        let Ok(name) = normal(name) else { return };
        let mut content = self.write();
        if let Some(records) = content.records.get_mut(&name) {
            records.retain(|record| record.record_type() != record_type);
            if records.is_empty() {
                content.records.remove(&name);
            }
        }
    }

    /// Makes every question about `name` and the names below it fail, as if the name server were dead.
    pub fn fail(&self, name: &str) {
        if let Ok(name) = normal(name) {
            self.write().failing.insert(name);
        }
    }

    /// Ends the effect of [`FixedZone::fail`] for `name`.
    pub fn heal(&self, name: &str) {
        if let Ok(name) = normal(name) {
            self.write().failing.remove(&name);
        }
    }

    /// Answers a question without waiting.
    pub fn answer(&self, name: &str, record_type: RecordType) -> Result<Answer, Error> {
        let content = self.read();
        let mut at = normal(name)?;
        for _ in 0..LONGEST_CHAIN {
            if content.failing.iter().any(|dead| at == *dead || at.ends_with(&format!(".{dead}"))) {
                return Err(Error::Refused { name: at, record_type, code: "SERVFAIL".to_owned() });
            }
            let Some(records) = content.records.get(&at).or_else(|| content.wildcard(&at)) else {
                return Ok(Answer { records: Vec::new(), no_such_name: !content.exists(&at) });
            };
            let found: Vec<_> = records.iter().filter(|record| record.record_type() == record_type).cloned().collect();
            let alias = records.iter().find_map(|r| if let Record::Cname(target) = r { Some(target) } else { None });
            match alias {
                Some(target) if found.is_empty() => at = normal(target)?,
                _ => return Ok(Answer { records: found, no_such_name: false }),
            }
        }
        Err(Error::Aliases { name: name.to_owned(), record_type })
    }

    // The lock may be poisoned: it protects plain data, which no writer leaves half-changed.
    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Resolver for FixedZone {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
        Box::pin(std::future::ready(self.answer(name, record_type)))
    }
}

fn read(record_type: &str, data: &str) -> Option<Record> {
    Some(match record_type {
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
        "NS" => Record::Ns(normal(data).ok()?),
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
        let answer = zone().answer("WWW.test.dk.", RecordType::Txt).unwrap();
        assert_eq!(answer.records, [Record::Txt(vec![b"v=spf1 ".to_vec(), b"-all".to_vec()])]);
        assert_eq!(
            zone().answer("quoted.dk", RecordType::Txt).unwrap().records,
            [Record::Txt(vec![b"a\"b\\c".to_vec()])]
        );
    }

    #[test]
    fn an_alias_can_be_asked_for_itself() {
        let answer = zone().answer("www.test.dk", RecordType::Cname).unwrap();
        assert_eq!(answer.records, [Record::Cname("test.dk".to_owned())]);
    }

    #[test]
    fn a_wildcard_answers_for_names_that_do_not_exist() {
        let zone = FixedZone::parse("*.w.dk A 192.0.2.1\na.w.dk TXT x\nb.c.w.dk TXT x").unwrap();
        let count = |name: &str| zone.answer(name, RecordType::A).unwrap().records.len();
        let names = ["x.w.dk", "x.y.w.dk", "a.w.dk", "x.a.w.dk", "c.w.dk", "x.c.w.dk", "w.dk"];
        assert_eq!(names.map(count), [1, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn absence_is_an_answer_and_failure_is_an_error() {
        assert_eq!(zone().answer("test.dk", RecordType::A).unwrap(), Answer::default());
        assert!(!zone().answer("dk", RecordType::A).unwrap().no_such_name, "empty non-terminal");
        assert!(zone().answer("other.dk", RecordType::A).unwrap().no_such_name);
        assert!(zone().answer("x.dead.dk", RecordType::A).is_err());
        assert!(zone().answer("loop.dk", RecordType::A).is_err());
        let zone = zone();
        zone.heal("dead.dk");
        assert!(zone.answer("x.dead.dk", RecordType::A).unwrap().no_such_name);
    }

    #[tokio::test]
    async fn a_name_lies_in_the_nearest_zone_above_it() {
        let zone = FixedZone::parse(
            "dk SOA\nsub.dk SOA\n_domainkey.sub.dk SOA\nalias.sub.dk CNAME www.other.dk\nwww.other.dk A 192.0.2.1\nother.dk SOA\n\
             www.other.dk SOA\nuk SOA\ndead.dk FAIL",
        )
        .unwrap();
        let zone: &dyn Resolver = &zone;
        for (name, expected) in [
            ("sub.dk", Some("sub.dk")),
            ("Nyhed.Sub.dk.", Some("sub.dk")),
            ("_dmarc.nyhed.sub.dk", Some("sub.dk")),
            ("postbud1._domainkey.sub.dk", Some("_domainkey.sub.dk")),
            // The alias's target is in another zone, which does not count.
            ("alias.sub.dk", Some("sub.dk")),
            ("_dmarc.alias.sub.dk", Some("sub.dk")),
            ("nobody.dk", None),
            ("a.nobody.dk", None),
            ("dk", None),
        ] {
            assert_eq!(zone.zone(name).await.unwrap().as_deref(), expected, "{name}");
        }
        assert!(zone.zone("x.dead.dk").await.is_err());
        assert!(zone.zone("a..b").await.is_err());
    }

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(FixedZone::parse("\nx.dk A one").err().unwrap().line, 2);
        assert!(FixedZone::parse("x.dk TXT \"open").is_err());
        assert!(FixedZone::parse("x.dk TXT two words").is_err());
    }
}

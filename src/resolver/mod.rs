//! DNS lookups. [`Resolver`] is the interface; [`Dns`] is the real DNS that the relay uses, [`FixedZone`] a zone in memory for
//! tests and the demo.
//!
//! An absence is an answer: if a name has no such record or does not exist, the caller gets an [`Answer`] without records. An
//! [`Error`](enum@Error) means that the question was not answered, so the caller cannot mistake a dead name server for a missing
//! record.

pub(crate) mod dns;
pub(crate) mod hosts;
pub(crate) mod memo;
mod public;
pub mod update;
pub(crate) mod zone;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;

pub use dns::Dns;
pub use hosts::HostsFile;
pub use memo::Memo;
pub use public::is_public;
pub use zone::FixedZone;

/// The settings for queries to real DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The recursive servers to query. If empty, the system's own are used (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// The time limit of one attempt at one server.
    pub timeout: Duration,
    /// The number of attempts before a question counts as unanswered.
    pub attempts: usize,
    /// The most answers that are cached.
    pub cache_entries: u64,
    /// The longest time that an answer is cached, even if its TTL is longer: customers change records and check them at once.
    pub longest_ttl: Duration,
    /// The longest time that an absence is cached.
    pub longest_negative_ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            servers: Vec::new(),
            timeout: Duration::from_secs(3),
            attempts: 3,
            cache_entries: 4096,
            longest_ttl: Duration::from_secs(300),
            longest_negative_ttl: Duration::from_secs(30),
        }
    }
}

/// A type of DNS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A text record, as used for SPF, DKIM and DMARC.
    Txt,
    /// A mail exchanger.
    Mx,
    /// An alias. A question for this type gets the alias itself and does not follow it.
    Cname,
    /// The name that belongs to an address.
    Ptr,
    /// The record at the start of every zone.
    Soa,
    /// A name server of a zone.
    Ns,
}

impl RecordType {
    /// Returns the name used in zone files.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Txt => "TXT",
            RecordType::Mx => "MX",
            RecordType::Cname => "CNAME",
            RecordType::Ptr => "PTR",
            RecordType::Soa => "SOA",
            RecordType::Ns => "NS",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The content of one record. Names are in lower case without a trailing dot; the root is the empty string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The strings as published. The value of the record is their concatenation (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    Txt(Vec<Vec<u8>>),
    /// The preference and the host name of a mail exchanger.
    Mx(u16, String),
    /// The name to which the alias points.
    Cname(String),
    /// The name that belongs to the address.
    Ptr(String),
    /// The name of the zone that begins here. If the name in the question is an alias, this name differs from it.
    Soa(String),
    /// The name of a name server.
    Ns(String),
}

impl Record {
    /// Returns the type of the record.
    pub fn record_type(&self) -> RecordType {
        match self {
            Record::A(_) => RecordType::A,
            Record::Aaaa(_) => RecordType::Aaaa,
            Record::Txt(_) => RecordType::Txt,
            Record::Mx(..) => RecordType::Mx,
            Record::Cname(_) => RecordType::Cname,
            Record::Ptr(_) => RecordType::Ptr,
            Record::Soa(_) => RecordType::Soa,
            Record::Ns(_) => RecordType::Ns,
        }
    }
}

/// The answer of DNS about one name and record type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The records of that type, after following aliases. Empty if there are none.
    pub records: Vec<Record>,
    /// True if the name does not exist at all (NXDOMAIN).
    pub no_such_name: bool,
}

/// Why a question was not answered. It says nothing about the records of the zone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No server answered in time.
    #[error("no answer to {record_type} {name} in time")]
    Timeout {
        /// The name in the question.
        name: String,
        /// The record type in the question.
        record_type: RecordType,
    },
    /// A name server answered with an error.
    #[error("the name server answers {code} to {record_type} {name}")]
    Refused {
        /// The name in the question.
        name: String,
        /// The record type in the question.
        record_type: RecordType,
        /// The name of the response code: SERVFAIL, REFUSED, …
        code: String,
    },
    /// A name server only named other servers and did not query them: it is not a resolver, or a delegation is broken.
    #[error("the name server refers to others for {record_type} {name} and does not query them")]
    Referral {
        /// The name in the question.
        name: String,
        /// The record type in the question.
        record_type: RecordType,
    },
    /// The aliases form a loop, or the chain of aliases is too long.
    #[error("the aliases of {name} form a loop or are too many (asked for {record_type})")]
    Aliases {
        /// The name in the question.
        name: String,
        /// The record type in the question.
        record_type: RecordType,
    },
    /// No name server could be reached, or its answer could not be used.
    #[error("cannot look up {record_type} {name}: {reason}")]
    Failed {
        /// The name in the question.
        name: String,
        /// The record type in the question.
        record_type: RecordType,
        /// What went wrong, in the words of the DNS library.
        reason: String,
    },
    /// The name is not a DNS name: it is longer than 253 octets, or a label is empty or longer than 63 octets. No zone can
    /// contain it.
    #[error("\"{0}\" is not a DNS name")]
    Name(String),
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// The future of one lookup.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + 'a>>;

/// Answers DNS questions. Implementations provide [`Resolver::query`]; callers use the typed methods of `dyn Resolver`.
pub trait Resolver: Send + Sync + 'static {
    /// Looks up the records of one type at a name, which may have a trailing dot and upper-case letters.
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a>;
}

/// A resolver that several parts of the relay share.
pub type SharedResolver = Arc<dyn Resolver>;

impl<'r> dyn Resolver + 'r {
    /// Looks up the TXT records of a name, each with its strings.
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<Vec<u8>>>, Error> {
        let strings = |record| if let Record::Txt(strings) = record { Some(strings) } else { None };
        self.data(name, RecordType::Txt, strings).await
    }

    /// Looks up the mail exchangers of a name, the most preferred first.
    pub async fn mx(&self, name: &str) -> Result<Vec<(u16, String)>, Error> {
        let exchange = |record| if let Record::Mx(preference, host) = record { Some((preference, host)) } else { None };
        let mut exchanges = self.data(name, RecordType::Mx, exchange).await?;
        exchanges.sort();
        Ok(exchanges)
    }

    /// Looks up the IPv4 addresses of a name.
    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Error> {
        self.data(name, RecordType::A, |record| if let Record::A(ip) = record { Some(ip) } else { None }).await
    }

    /// Looks up the IPv6 addresses of a name.
    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, Error> {
        self.data(name, RecordType::Aaaa, |record| if let Record::Aaaa(ip) = record { Some(ip) } else { None }).await
    }

    /// Looks up the addresses of a name in both families, IPv4 first. Returns an error if no address was found and the question for
    /// one family was not answered.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let (v4, v6) = tokio::join!(self.ipv4(name), self.ipv6(name));
        let v4 = v4.map(|found| found.into_iter().map(IpAddr::V4).collect::<Vec<_>>());
        let v6 = v6.map(|found| found.into_iter().map(IpAddr::V6).collect::<Vec<_>>());
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            // Addresses of one family are enough. Without any, the family that was not answered may still have some.
            (Ok(found), Err(error)) | (Err(error), Ok(found)) if found.is_empty() => Err(error),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Looks up the target of an alias. Returns `None` if the name is not an alias.
    pub async fn cname(&self, name: &str) -> Result<Option<String>, Error> {
        let target = |record| if let Record::Cname(target) = record { Some(target) } else { None };
        Ok(self.data(name, RecordType::Cname, target).await?.into_iter().next())
    }

    /// Looks up the zone of a name: the nearest name at or above it where a zone begins (RFC 1034 §4.2). A DNS panel shows the
    /// records of one zone. Returns `None` if no zone begins there below the top-level domains.
    pub async fn zone(&self, name: &str) -> Result<Option<String>, Error> {
        let name = normal(name)?;
        let mut at = name.as_str();
        while let Some((_, above)) = at.split_once('.') {
            let answer = self.query(at, RecordType::Soa).await?;
            if answer.records.iter().any(|record| matches!(record, Record::Soa(zone) if zone == at)) {
                return Ok(Some(at.to_owned()));
            }
            at = above;
        }
        Ok(None)
    }

    /// Looks up the name servers of a zone.
    pub async fn name_servers(&self, zone: &str) -> Result<Vec<String>, Error> {
        self.data(zone, RecordType::Ns, |record| if let Record::Ns(host) = record { Some(host) } else { None }).await
    }

    /// Looks up the names of an address.
    pub async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, Error> {
        let name = |record| if let Record::Ptr(name) = record { Some(name) } else { None };
        self.data(&reverse_name(address), RecordType::Ptr, name).await
    }

    /// Looks up records of one type and returns the data of each. An answer may also have records of other types, which `of` leaves out.
    async fn data<T>(&self, name: &str, record_type: RecordType, of: fn(Record) -> Option<T>) -> Result<Vec<T>, Error> {
        Ok(self.query(name, record_type).await?.records.into_iter().filter_map(of).collect())
    }
}

/// Joins the strings of a TXT record without spaces.
pub fn joined(strings: &[Vec<u8>]) -> Vec<u8> {
    strings.concat()
}

/// Returns the name in `in-addr.arpa` or `ip6.arpa` that has the PTR record of an address (RFC 1035 §3.5, RFC 3596 §2.5).
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// Returns a name in the form used for comparisons: lower case, no trailing dot. Returns an error if it is not a DNS name.
fn normal(name: &str) -> Result<String, Error> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() > 253 || bare.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(bare.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_of_both_families() {
        assert_eq!(reverse_name("40.74.40.57".parse().unwrap()), "57.40.74.40.in-addr.arpa");
        assert_eq!(
            reverse_name("2001:db8::cb01".parse().unwrap()),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    /// Answers questions for one record type and fails for every other.
    struct Half(RecordType, Vec<Record>);

    impl Resolver for Half {
        fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
            let failed = Error::Timeout { name: name.to_owned(), record_type };
            let answer = Answer { records: self.1.clone(), no_such_name: false };
            Box::pin(std::future::ready(if record_type == self.0 { Ok(answer) } else { Err(failed) }))
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_no_absence_of_addresses() {
        for (record_type, record) in [
            (RecordType::A, Record::A([192, 0, 2, 1].into())),
            (RecordType::Aaaa, Record::Aaaa("2001:db8::1".parse().unwrap())),
        ] {
            let addresses = async |half: Half| (&half as &dyn Resolver).addresses("mail.test.dk").await;
            assert_eq!(addresses(Half(record_type, vec![record])).await.unwrap().len(), 1);
            assert!(addresses(Half(record_type, Vec::new())).await.is_err(), "only {record_type} was answered");
        }
    }

    #[test]
    fn names_that_no_zone_can_hold_are_refused() {
        for name in ["", ".", "a..b", &"x".repeat(64), &"abc.".repeat(70)] {
            assert!(matches!(normal(name), Err(Error::Name(_))), "{name:?}");
        }
        assert_eq!(normal("_DMARC.Test.dk.").unwrap(), "_dmarc.test.dk");
    }
}

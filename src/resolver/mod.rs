//! The DNS as the relay asks it: one port, real DNS ([`Dns`]) behind it in service, a fixed zone ([`FixedZone`]) in tests
//! and the demo.
//!
//! An absence is an answer: a name without the record, and a name that does not exist, come back as an [`Answer`] with no
//! records. An [`Error`](enum@Error) means only that the question was not answered, so whoever asks cannot take a dead name server for a
//! missing record.

pub mod dns;
pub mod hosts;
pub mod memo;
pub mod zone;

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
pub use zone::FixedZone;

/// How real DNS is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Recursive servers to ask; empty: those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// One attempt's time at one server.
    pub timeout: Duration,
    /// Attempts before a question counts as unanswered.
    pub attempts: usize,
    /// Answers kept in memory.
    pub cache_entries: u64,
    /// An answer is asked for again after this long, whatever its TTL says: customers change records and look at once.
    pub longest_ttl: Duration,
    /// The same for an absence.
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

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Text.
    Txt,
    /// Mail exchanger.
    Mx,
    /// Alias; asked for itself, not followed.
    Cname,
    /// Name of an address.
    Ptr,
    /// The start of a zone.
    Soa,
}

impl Kind {
    /// As zone files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Txt => "TXT",
            Kind::Mx => "MX",
            Kind::Cname => "CNAME",
            Kind::Ptr => "PTR",
            Kind::Soa => "SOA",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One record's content. Names are lower case, without a trailing dot; the root is the empty string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// The character strings as they stand in the zone; their value is their concatenation (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    Txt(Vec<Vec<u8>>),
    /// Preference and exchange.
    Mx(u16, String),
    /// Target.
    Cname(String),
    /// Name.
    Ptr(String),
    /// The name of the zone that begins here. It differs from the name that was asked for where that one is an alias.
    Soa(String),
}

impl Record {
    /// What it answers to.
    pub fn kind(&self) -> Kind {
        match self {
            Record::A(_) => Kind::A,
            Record::Aaaa(_) => Kind::Aaaa,
            Record::Txt(_) => Kind::Txt,
            Record::Mx(..) => Kind::Mx,
            Record::Cname(_) => Kind::Cname,
            Record::Ptr(_) => Kind::Ptr,
            Record::Soa(_) => Kind::Soa,
        }
    }
}

/// What the DNS says about one name and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Records of the kind asked for, aliases followed; empty where there are none.
    pub records: Vec<Record>,
    /// The name does not exist at all (NXDOMAIN).
    pub no_such_name: bool,
}

/// The question was not answered. Says nothing about what the zone holds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No server answered in time.
    #[error("no answer to {kind} {name} in time")]
    Timeout {
        /// What was asked.
        name: String,
        /// What was asked for.
        kind: Kind,
    },
    /// A server answered with an error.
    #[error("the name server answers {code} to {kind} {name}")]
    Refused {
        /// What was asked.
        name: String,
        /// What was asked for.
        kind: Kind,
        /// The response code as RFC 1035 and its successors name it: SERVFAIL, REFUSED, …
        code: String,
    },
    /// A server only named other servers, without asking them: it does not resolve names, or a delegation is broken.
    #[error("the name server refers to others for {kind} {name}, and asks none of them")]
    Referral {
        /// What was asked.
        name: String,
        /// What was asked for.
        kind: Kind,
    },
    /// Aliases lead in a circle, or there are too many.
    #[error("the aliases of {name} lead nowhere (asked for {kind})")]
    Aliases {
        /// What was asked.
        name: String,
        /// What was asked for.
        kind: Kind,
    },
    /// No server could be reached, or what it answered is of no use.
    #[error("cannot look up {kind} {name}: {reason}")]
    Failed {
        /// What was asked.
        name: String,
        /// What was asked for.
        kind: Kind,
        /// What went wrong.
        reason: String,
    },
    /// No DNS name: over 253 octets, an empty label, or a label over 63. It can be in no zone.
    #[error("\"{0}\" is not a DNS name")]
    Name(String),
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// A lookup under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + 'a>>;

/// The port. Implementations need only [`Resolver::query`]; callers use the typed questions on `dyn Resolver`.
pub trait Resolver: Send + Sync + 'static {
    /// Asks one question. `name` may have a trailing dot and upper-case letters.
    fn query<'a>(&'a self, name: &'a str, kind: Kind) -> Lookup<'a>;
}

/// A resolver that stages share.
pub type SharedResolver = Arc<dyn Resolver>;

impl<'r> dyn Resolver + 'r {
    /// TXT records, each with its strings.
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<Vec<u8>>>, Error> {
        Ok(self
            .query(name, Kind::Txt)
            .await?
            .records
            .into_iter()
            .filter_map(|r| if let Record::Txt(strings) = r { Some(strings) } else { None })
            .collect())
    }

    /// Mail exchangers, most preferred first.
    pub async fn mx(&self, name: &str) -> Result<Vec<(u16, String)>, Error> {
        let mut exchanges: Vec<_> = self
            .query(name, Kind::Mx)
            .await?
            .records
            .into_iter()
            .filter_map(|r| if let Record::Mx(preference, host) = r { Some((preference, host)) } else { None })
            .collect();
        exchanges.sort();
        Ok(exchanges)
    }

    /// IPv4 addresses.
    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Error> {
        Ok(self
            .query(name, Kind::A)
            .await?
            .records
            .into_iter()
            .filter_map(|r| if let Record::A(ip) = r { Some(ip) } else { None })
            .collect())
    }

    /// IPv6 addresses.
    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, Error> {
        Ok(self
            .query(name, Kind::Aaaa)
            .await?
            .records
            .into_iter()
            .filter_map(|r| if let Record::Aaaa(ip) = r { Some(ip) } else { None })
            .collect())
    }

    /// Addresses of both families, IPv4 first; an error where none was found and a family was not answered.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let (v4, v6) = tokio::join!(self.ipv4(name), self.ipv6(name));
        let v4 = v4.map(|found| found.into_iter().map(IpAddr::V4).collect::<Vec<_>>());
        let v6 = v6.map(|found| found.into_iter().map(IpAddr::V6).collect::<Vec<_>>());
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            // One family alone is enough, if it has any: of the other nobody knows.
            (Ok(found), Err(error)) | (Err(error), Ok(found)) if found.is_empty() => Err(error),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Where an alias points, `None` where the name is none.
    pub async fn cname(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self
            .query(name, Kind::Cname)
            .await?
            .records
            .into_iter()
            .find_map(|r| if let Record::Cname(target) = r { Some(target) } else { None }))
    }

    /// The zone that a name lies in: the nearest name at or above it where a zone begins (RFC 1034 §4.2), which is the one whose
    /// records a DNS panel shows. `None` where DNS knows of none below the top-level domains.
    pub async fn zone(&self, name: &str) -> Result<Option<String>, Error> {
        let name = normal(name)?;
        let mut at = name.as_str();
        while let Some((_, above)) = at.split_once('.') {
            let answer = self.query(at, Kind::Soa).await?;
            if answer.records.iter().any(|record| matches!(record, Record::Soa(zone) if zone == at)) {
                return Ok(Some(at.to_owned()));
            }
            at = above;
        }
        Ok(None)
    }

    /// Names of an address.
    pub async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, Error> {
        Ok(self
            .query(&reverse_name(address), Kind::Ptr)
            .await?
            .records
            .into_iter()
            .filter_map(|r| if let Record::Ptr(name) = r { Some(name) } else { None })
            .collect())
    }
}

/// Joins a TXT record's strings, without spaces.
pub fn joined(strings: &[Vec<u8>]) -> Vec<u8> {
    strings.concat()
}

/// The name under `in-addr.arpa` or `ip6.arpa` that holds an address's PTR (RFC 1035 §3.5, RFC 3596 §2.5).
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

/// The form in which names are compared: lower case, no trailing dot. `Err` where it can be no name in DNS.
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

    /// Answers for one kind, fails for every other.
    struct Half(Kind, Vec<Record>);

    impl Resolver for Half {
        fn query<'a>(&'a self, name: &'a str, kind: Kind) -> Lookup<'a> {
            let failed = Error::Timeout { name: name.to_owned(), kind };
            let answer = Answer { records: self.1.clone(), no_such_name: false };
            Box::pin(std::future::ready(if kind == self.0 { Ok(answer) } else { Err(failed) }))
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_no_absence_of_addresses() {
        for (kind, record) in
            [(Kind::A, Record::A([192, 0, 2, 1].into())), (Kind::Aaaa, Record::Aaaa("2001:db8::1".parse().unwrap()))]
        {
            let addresses = async |half: Half| (&half as &dyn Resolver).addresses("mail.test.dk").await;
            assert_eq!(addresses(Half(kind, vec![record])).await.unwrap().len(), 1);
            assert!(addresses(Half(kind, Vec::new())).await.is_err(), "only {kind} was answered");
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

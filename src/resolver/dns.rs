//! Real DNS by the hickory library, with a bounded cache. The hosts file is not used here (see [`hosts`](super::hosts)).

use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{self, Name, RData};
use hickory_resolver::system_conf::read_system_conf;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::{Answer, Error, Lookup, Record, RecordType, Resolver, Settings, normal};

/// Queries recursive name servers. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    /// Asks without EDNS, for the few servers that refuse such a question (RFC 6891 §7).
    plain: TokioResolver,
    longest: Duration,
}

/// The error of a resolver that cannot be set up: the system's configuration cannot be read, or it names no server.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up DNS: {0}")]
pub struct SetupError(String);

/// Sets the library's resolver up. Nothing is asked over TLS: otherwise the library would read the system's certificates, and refuse to
/// work where there are none.
pub(crate) fn without_tls(config: ResolverConfig, options: ResolverOpts) -> Result<TokioResolver, SetupError> {
    let no_tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).with_tls_config(no_tls).build().map_err(|error| SetupError(error.to_string()))
}

impl Dns {
    /// Sets the resolver up without sending a query.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let setup = |error: NetError| SetupError(error.to_string());
        let (config, mut options) = if settings.servers.is_empty() {
            read_system_conf().map_err(setup)?
        } else {
            let servers = settings.servers.iter().map(|server| {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                connections.iter_mut().for_each(|connection| connection.port = server.port());
                NameServerConfig::new(server.ip(), true, connections)
            });
            (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), ResolverOpts::default())
        };
        if config.name_servers().is_empty() {
            return Err(SetupError("no name server is configured".to_owned()));
        }
        options.timeout = settings.timeout;
        options.attempts = settings.attempts;
        options.cache_size = settings.cache_entries;
        options.positive_max_ttl = Some(settings.longest_ttl);
        options.negative_max_ttl = Some(settings.longest_negative_ttl);
        options.edns0 = true;
        // Many name servers change the case of the question in their answer.
        options.case_randomization = false;
        options.try_tcp_on_error = true;
        // Checks of a domain must see what everybody sees. Delivery reads the hosts file itself, before each connection.
        options.use_hosts_file = ResolveHosts::Never;
        let attempts = u32::try_from(settings.attempts.max(1)).unwrap_or(u32::MAX);
        // Each attempt may use UDP and then TCP. The library limits the time of one server, not the time of the whole question.
        let longest = settings.timeout.saturating_mul(attempts.saturating_mul(2)).min(Duration::from_secs(60));
        let mut without_edns = options.clone();
        without_edns.edns0 = false;
        let plain = without_tls(config.clone(), without_edns)?;
        Ok(Dns { resolver: without_tls(config, options)?, plain, longest })
    }

    /// Asks with EDNS, and then without it if the server refuses that.
    async fn look_up(
        &self,
        name: Name,
        record_type: rr::RecordType,
    ) -> Result<hickory_resolver::lookup::Lookup, NetError> {
        match self.resolver.lookup(name.clone(), record_type).await {
            Err(error) if may_refuse_edns(&error) => self.plain.lookup(name, record_type).await,
            asked => asked,
        }
    }

    async fn ask(&self, name: &str, record_type: RecordType) -> Result<Answer, Error> {
        // The trailing dot makes the name absolute, so that no search list is used.
        let absolute = normal(name)? + ".";
        let question = Name::from_ascii(&absolute).map_err(|_| Error::Name(name.to_owned()))?;
        let asked_type = match record_type {
            RecordType::A => rr::RecordType::A,
            RecordType::Aaaa => rr::RecordType::AAAA,
            RecordType::Txt => rr::RecordType::TXT,
            RecordType::Mx => rr::RecordType::MX,
            RecordType::Cname => rr::RecordType::CNAME,
            RecordType::Ptr => rr::RecordType::PTR,
            RecordType::Soa => rr::RecordType::SOA,
            RecordType::Ns => rr::RecordType::NS,
        };
        let timeout = || Error::Timeout { name: name.to_owned(), record_type };
        let asked = tokio::time::timeout(self.longest, self.look_up(question, asked_type)).await;
        match asked.map_err(|_| timeout())? {
            Ok(lookup) => Ok(Answer {
                records: lookup
                    .answers()
                    .iter()
                    .filter_map(|record| read(&record.name, &record.data))
                    .filter(|record| record.record_type() == record_type)
                    .collect(),
                no_such_name: false,
            }),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match (none.response_code, absence(&none)) {
                (ResponseCode::NXDomain, _) => Ok(Answer { records: Vec::new(), no_such_name: true }),
                (ResponseCode::NoError, Absence::Known) => Ok(Answer::default()),
                (ResponseCode::NoError, Absence::Referral) => {
                    Err(Error::Referral { name: name.to_owned(), record_type })
                }
                (ResponseCode::NoError, Absence::OfAnotherZone(zone)) => {
                    let reason = format!("the answer is about another zone, {zone}");
                    Err(Error::Failed { name: name.to_owned(), record_type, reason })
                }
                (ResponseCode::NoError, Absence::Unproven) if self.gave_up(&none.query, &absolute).await => {
                    Err(Error::Aliases { name: name.to_owned(), record_type })
                }
                (ResponseCode::NoError, Absence::Unproven) => Ok(Answer::default()),
                (code, _) => Err(Error::Refused { name: name.to_owned(), record_type, code: mnemonic(code) }),
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                Err(Error::Refused { name: name.to_owned(), record_type, code: mnemonic(code) })
            }
            Err(NetError::Timeout) => Err(timeout()),
            Err(error) => Err(Error::Failed { name: name.to_owned(), record_type, reason: error.to_string() }),
        }
    }

    /// Returns true if the library stopped in the middle of a chain of aliases, which it reports as a name without records. `last`
    /// is its last question, which is about the name at which it stopped.
    async fn gave_up(&self, last: &Query, asked: &str) -> bool {
        if last.query_type() == rr::RecordType::CNAME {
            return false;
        }
        let alias = self.look_up(last.name().clone(), rr::RecordType::CNAME);
        let alias = tokio::time::timeout(self.longest, alias).await;
        match last.name().to_ascii().eq_ignore_ascii_case(asked) {
            // One answer may hold a whole loop, at whose end the library is back at the name in the question.
            true => matches!(alias, Ok(Ok(_))),
            // If that name is not an alias, the library followed the chain to its end.
            false => !matches!(alias, Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_))))),
        }
    }
}

/// Returns true if a server that does not know EDNS answers like this (RFC 6891 §7).
fn may_refuse_edns(error: &NetError) -> bool {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        _ => return false,
    };
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS)
}

/// What an answer without an error and without records says about the record.
#[derive(Debug, PartialEq, Eq)]
enum Absence {
    /// The zone does not have the record: the answer contains the zone's SOA.
    Known,
    /// The answer contains the SOA of this zone, which the name does not belong to. It says nothing about the name.
    OfAnotherZone(String),
    /// The server only names the servers of a zone. It does not know the record and did not query them.
    Referral,
    /// The answer is empty. Resolvers that leave the SOA out answer like this.
    Unproven,
}

/// Tells an absence from a referral: an absence has the SOA of the name's own zone in the authority section, or no name server there
/// (RFC 2308 §2.2). After aliases, the question is about the last name.
fn absence(none: &NoRecords) -> Absence {
    match (&none.soa, &none.ns) {
        (Some(soa), _) if soa.name.zone_of(none.query.name()) => Absence::Known,
        (Some(soa), _) => Absence::OfAnotherZone(soa.name.to_ascii()),
        (None, Some(_)) => Absence::Referral,
        (None, None) => Absence::Unproven,
    }
}

impl Resolver for Dns {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
        Box::pin(self.ask(name, record_type))
    }
}

/// Returns the name of a response code in IANA's registry, as `dig` prints it.
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        code => format!("RCODE {}", u16::from(code)),
    }
}

fn read(owner: &Name, data: &RData) -> Option<Record> {
    let plain = |name: &Name| name.to_lowercase().to_ascii().trim_end_matches('.').to_owned();
    Some(match data {
        RData::A(a) => Record::A(a.0),
        RData::AAAA(aaaa) => Record::Aaaa(aaaa.0),
        RData::TXT(txt) => Record::Txt(txt.txt_data.iter().map(|string| string.to_vec()).collect()),
        RData::MX(mx) => Record::Mx(mx.preference, plain(&mx.exchange)),
        RData::CNAME(cname) => Record::Cname(plain(&cname.0)),
        RData::PTR(ptr) => Record::Ptr(plain(&ptr.0)),
        RData::SOA(_) => Record::Soa(plain(owner)),
        RData::NS(ns) => Record::Ns(plain(&ns.0)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_server_is_an_error_and_not_an_absence() {
        let deaf = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            servers: vec![deaf.local_addr().unwrap()],
            timeout: Duration::from_millis(50),
            attempts: 1,
            ..Settings::default()
        };
        let dns = Dns::new(&settings).unwrap();
        assert!(dns.query("test.dk", RecordType::Txt).await.is_err());
    }

    #[tokio::test]
    async fn an_impossible_name_is_not_asked_for() {
        let settings = Settings { servers: vec!["127.0.0.1:9".parse().unwrap()], ..Settings::default() };
        let dns = Dns::new(&settings).unwrap();
        assert_eq!(dns.query("a..b", RecordType::A).await, Err(Error::Name("a..b".to_owned())));
    }
}

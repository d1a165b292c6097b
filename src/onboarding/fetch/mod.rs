//! Fetches the ownership file from a stranger's web server without being led anywhere else.
//!
//! Every hop is looked up with our resolver first, refused if any of its addresses is not public, and then connected to at
//! the looked-up address only: neither a redirect nor a second DNS answer can point us at our own network. Redirects stay in
//! the domain and are few, bodies are read to their first octet, no proxy is used, and one deadline covers it all.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::redirect::Policy;
use url::{Host, Url};

use super::{Finding, Settings};
use crate::resolver::Resolver;
use crate::smtp::Domain;

const MOST_REDIRECTS: usize = 5;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Fetcher {
    timeout: Duration,
    allow_private: bool,
    http_port: u16,
    https_port: u16,
}

/// What was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file is there and empty.
    Empty,
    /// It has content.
    NotEmpty,
    /// The server answers the like of any name.
    Anything,
}

/// Why it was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// An address that is not public.
    #[error("{0} is not a public address")]
    Private(String),
    /// Too many, out of the domain, or to something that is not a web address.
    #[error("redirected to {0}")]
    Redirect(String),
    /// The name server did not answer.
    #[error("{0}")]
    Unanswered(String),
    /// The name has no address: nobody meant to use the file.
    #[error("no web server")]
    NoServer,
    /// Anything else: no such name, no connection, not 200.
    #[error("{0}")]
    NotThere(String),
}

impl FetchError {
    /// As a finding about `url`.
    pub(super) fn finding(self, url: String) -> Option<Finding> {
        Some(match self {
            FetchError::NoServer => return None,
            FetchError::Private(_) => Finding::FileAddressRefused { url },
            FetchError::Redirect(_) => Finding::FileRedirectRefused { url },
            // The TXT record may still be there; a failure of the web alone breaks nothing.
            FetchError::Unanswered(reason) | FetchError::NotThere(reason) => Finding::FileNotThere { url, reason },
        })
    }
}

impl Fetcher {
    /// A fetcher as configured.
    pub fn new(settings: &Settings) -> Self {
        Fetcher {
            timeout: settings.http_timeout,
            allow_private: settings.http_allow_private,
            http_port: settings.http_port,
            https_port: settings.https_port,
        }
    }

    /// One GET with its redirects. `Ok(true)`: 200 with no body.
    async fn is_empty(&self, resolver: &dyn Resolver, url: &str, domain: &Domain) -> Result<bool, FetchError> {
        let mut url = Url::parse(url).map_err(|error| FetchError::NotThere(error.to_string()))?;
        for _ in 0..=MOST_REDIRECTS {
            let mut response = self.get(resolver, &url, domain).await?;
            if response.status().is_redirection() {
                let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
                url = url.join(to).map_err(|_| FetchError::Redirect(to.to_owned()))?;
                continue;
            }
            if response.status() != 200 {
                return Err(FetchError::NotThere(format!("HTTP {}", response.status().as_u16())));
            }
            // The first octet settles it: the rest is never read.
            while let Some(chunk) = response.chunk().await.map_err(reason)? {
                if !chunk.is_empty() {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Err(FetchError::Redirect(url.to_string()))
    }

    async fn get(&self, resolver: &dyn Resolver, url: &Url, domain: &Domain) -> Result<reqwest::Response, FetchError> {
        let elsewhere = || FetchError::Redirect(url.to_string());
        let (standard, port) = match url.scheme() {
            "http" => (80, self.http_port),
            "https" => (443, self.https_port),
            _ => return Err(elsewhere()),
        };
        // Only the standard port: another one on the same host may be a service that is not the domain's web server.
        if url.port_or_known_default().is_none_or(|asked| asked != standard && asked != port) {
            return Err(elsewhere());
        }
        let Some(Host::Domain(host)) = url.host() else { return Err(elsewhere()) };
        let host = Domain::parse(host).map_err(|_| elsewhere())?;
        if !host.is_within(domain) || !url.username().is_empty() || url.password().is_some() {
            return Err(elsewhere());
        }
        let addresses =
            resolver.addresses(host.as_str()).await.map_err(|error| FetchError::Unanswered(error.to_string()))?;
        if addresses.is_empty() {
            return Err(FetchError::NoServer);
        }
        if let Some(private) = addresses.iter().find(|address| !self.allow_private && !is_public(**address)) {
            return Err(FetchError::Private(private.to_string()));
        }
        let mut url = url.clone();
        url.set_port(Some(port)).map_err(|()| elsewhere())?;
        let addresses: Vec<SocketAddr> = addresses.into_iter().map(|address| (address, port).into()).collect();
        // A client of its own for each hop: it knows no address but the checked ones.
        let client = reqwest::Client::builder()
            .resolve_to_addrs(host.as_str(), &addresses)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("postbud/", env!("CARGO_PKG_VERSION"), " (domain ownership check)"))
            .build()
            .map_err(reason)?;
        client.get(url).send().await.map_err(reason)
    }
}

/// Whether the file at `url` exists and is empty. A server that answers the same of a name nobody can have put there proves
/// nothing; one that has a page of any name cannot tell whether the file is there.
pub async fn empty_file(
    fetcher: &Fetcher,
    resolver: &dyn Resolver,
    url: &str,
    domain: &Domain,
) -> Result<Fetched, FetchError> {
    let work = async {
        let is_empty = fetcher.is_empty(resolver, url, domain).await?;
        let nobodys =
            format!("{}/{:032x}.txt", url.rsplit_once('/').map_or(url, |(dir, _)| dir), rand::random::<u128>());
        match (is_empty, fetcher.is_empty(resolver, &nobodys, domain).await) {
            (true, Ok(true)) | (false, Ok(_)) => Ok(Fetched::Anything),
            // Nothing answered this time: the first answer must not count for more than it would have.
            (true, Err(FetchError::Unanswered(reason))) => Err(FetchError::Unanswered(reason)),
            (true, _) => Ok(Fetched::Empty),
            (false, _) => Ok(Fetched::NotEmpty),
        }
    };
    let late = || FetchError::NotThere(format!("no answer within {} s", fetcher.timeout.as_secs()));
    tokio::time::timeout(fetcher.timeout, work).await.map_err(|_| late())?
}

/// The library's error with its causes: the outermost alone says only "error sending request".
fn reason(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let _ = write!(text, ": {deeper}");
        cause = deeper.source();
    }
    FetchError::NotThere(text.chars().take(300).collect())
}

/// Whether an address belongs to the public Internet (RFC 6890 and the registries it founded).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b)) // RFC 6598: shared by carriers
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19))
                || ip.octets() == [168, 63, 129, 16]) // Azure's own services, reachable from every machine there
        }
        IpAddr::V6(ip) => match embedded_ipv4(ip) {
            Some(inner) => is_public(IpAddr::V4(inner)),
            // Only 2000::/3 is global unicast; 2001:db8::/32 and 3fff::/20 are for documents, 2001::/23 for protocols.
            None => {
                let [a, b, ..] = ip.segments();
                a & 0xe000 == 0x2000 && !(a == 0x2001 && (b == 0x0db8 || b < 0x0200)) && !(a == 0x3fff && b < 0x1000)
            }
        },
    }
}

/// Addresses that reach IPv4 through something: mapped, NAT64, 6to4.
fn embedded_ipv4(ip: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let s = ip.segments();
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        std::net::Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => ip.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for ip in ["40.74.40.57", "9.9.9.9", "2a01:4f9:c011:b43c::1", "::ffff:9.9.9.9", "64:ff9b::909:909"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.0.0.4",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "240.0.0.1",
            "168.63.129.16",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "::127.0.0.1",
            "100::1",
            "2001::1",
            "fec0::1",
            "3fff::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}

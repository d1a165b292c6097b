//! One HTTP request. It goes to the same host that was checked, and connects only to the addresses that were checked.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::failure::{self, FetchError};
use crate::http_client;
use crate::resolver::Resolver;
use crate::smtp::Domain;

/// The most addresses of a web server that are tried.
const MOST_ADDRESSES: usize = 8;

/// The target of a request: a web address in the domain. The same form of it is looked up, checked and requested.
#[derive(Debug)]
pub(super) struct Hop {
    url: Url,
    host: Domain,
    port: u16,
}

impl Hop {
    /// Checks a URL from us or from a redirect. Refuses other schemes and ports, logins, IP addresses in any form, and names outside
    /// the domain. The URL library has already normalized the host: it is in lower case, in A-labels and without percent codes, and
    /// `0x7f.1` and `2130706433` are recognized as addresses. This function removes a trailing dot.
    pub(super) fn to(url: &Url, domain: &Domain, http_port: u16, https_port: u16) -> Result<Self, FetchError> {
        let elsewhere = || FetchError::Redirect(url.to_string());
        let (standard, port) = match url.scheme() {
            "http" => (80, http_port),
            "https" => (443, https_port),
            _ => return Err(elsewhere()),
        };
        // Another port on the same host may belong to another service, not to the domain's web server.
        if url.port_or_known_default().is_none_or(|asked| asked != standard && asked != port) {
            return Err(elsewhere());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(elsewhere());
        }
        let Some(Host::Domain(name)) = url.host() else { return Err(elsewhere()) };
        let host = Domain::parse(name).ok().filter(|host| host.is_within(domain)).ok_or_else(elsewhere)?;
        let mut plain = url.clone();
        plain.set_host(Some(host.as_str())).map_err(|_| elsewhere())?;
        plain.set_port(Some(port)).map_err(|()| elsewhere())?;
        match plain.host() {
            Some(Host::Domain(name)) if name == host.as_str() => Ok(Hop { url: plain, host, port }),
            _ => Err(elsewhere()),
        }
    }

    /// The web address of the request.
    #[cfg(feature = "fuzzing")]
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Looks the host up, checks its addresses, and requests the URL from one of them.
    pub(super) async fn get(
        self,
        resolver: &dyn Resolver,
        may_connect: fn(IpAddr) -> bool,
    ) -> Result<reqwest::Response, FetchError> {
        let addresses = resolver.addresses(self.host.as_str()).await.map_err(FetchError::Unanswered)?;
        if addresses.is_empty() {
            return Err(FetchError::NoServer);
        }
        // Refuse the host if any address is private, because the connection could use that one.
        if let Some(private) = addresses.iter().find(|address| !may_connect(**address)) {
            return Err(FetchError::Private(*private));
        }
        let addresses = addresses.into_iter().take(MOST_ADDRESSES).map(|ip| SocketAddr::from((ip, self.port)));
        let pinned = Pinned { host: self.host, addresses: addresses.collect() };
        let client = http_client::builder()
            .dns_resolver(pinned)
            .user_agent(concat!("postbud/", env!("CARGO_PKG_VERSION"), " (domain ownership check)"))
            .build()
            .map_err(failure::of_http)?;
        client.get(self.url).send().await.map_err(failure::of_http)
    }
}

/// The only DNS answers that the HTTP client of one request gets. It never uses the system's resolver.
struct Pinned {
    host: Domain,
    addresses: Vec<SocketAddr>,
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let known = name.as_str() == self.host.as_str();
        let found = known.then(|| Box::new(self.addresses.clone().into_iter()) as Addrs);
        let unknown = || Error::new(ErrorKind::PermissionDenied, "a name that was not checked").into();
        Box::pin(std::future::ready(found.ok_or_else(unknown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the target of a redirect from `http://a.dk/x.txt`.
    fn hop(location: &str) -> Result<String, FetchError> {
        let from = Url::parse("http://a.dk/x.txt").unwrap();
        let url = from.join(location).map_err(|error| FetchError::Redirect(error.to_string()))?;
        let hop = Hop::to(&url, &Domain::parse("a.dk").unwrap(), 80, 443)?;
        assert_eq!(hop.url.host_str(), Some(hop.host.as_str()), "{location}");
        Ok(hop.url.to_string())
    }

    #[test]
    fn a_web_address_in_the_domain_is_asked_for_in_its_standard_form() {
        for (location, url) in [
            ("/y.txt", "http://a.dk/y.txt"),
            ("https://a.dk/y.txt", "https://a.dk/y.txt"),
            ("http://a.dk./y.txt", "http://a.dk/y.txt"),
            ("//A.DK.:80/y.txt", "http://a.dk/y.txt"),
            ("HTTPS://WWW.a.dk:443/", "https://www.a.dk/"),
            ("http:\\\\www.a.dk\\y", "http://www.a.dk/y"),
            ("http://%61.dk/", "http://a.dk/"),
            ("http://a\u{3002}dk/", "http://a.dk/"),
            ("http://bl\u{e5}b\u{e6}r.a.dk/", "http://xn--blbr-roah.a.dk/"),
            ("http://www.a.dk\t/\n", "http://www.a.dk/"),
        ] {
            assert_eq!(hop(location).as_deref(), Ok(url), "{location}");
        }
    }

    #[test]
    fn whatever_else_a_redirect_names_is_refused() {
        for location in [
            // Other names.
            "http://b.dk/",
            "http://a.dk.evil.dk/",
            "http://evila.dk/",
            "http://a.dk../",
            "http://.a.dk/",
            "http://localhost/",
            "http://metadata.google.internal/",
            "http://a.dk%2eevil.dk/",
            "http://a.dk%00.b.dk/",
            // Logins.
            "http://user@a.dk/",
            "http://user:password@a.dk/",
            "http://a.dk@169.254.169.254/",
            "http://a.dk:80@169.254.169.254/",
            // Ports.
            "http://a.dk:22/",
            "http://a.dk:443/",
            "https://a.dk:80/",
            "https://a.dk:8443/",
            "http://a.dk:0/",
            "http://a.dk:65536/",
            // Schemes.
            "file:///etc/passwd",
            "ftp://a.dk/",
            "gopher://a.dk/",
            "data:text/plain,",
            "javascript:0",
            "ws://a.dk/",
            "unix:/run/x",
            // Addresses.
            "http://169.254.169.254/",
            "http://169.254.169.254./",
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://017700000001/",
            "http://0/",
            "http://\u{ff11}27.0.0.1/",
            "http://127\u{3002}0\u{3002}0\u{3002}1/",
            "http://%31%32%37.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::]/",
            "http://[fe80::1%25eth0]/",
            "http://40.74.40.57/",
            "http://a.dk.127.0.0.1/",
        ] {
            assert!(hop(location).is_err(), "{location}: {:?}", hop(location));
        }
    }

    #[tokio::test]
    async fn a_name_that_was_not_checked_has_no_address() {
        let pinned = Pinned { host: Domain::parse("a.dk").unwrap(), addresses: vec!["192.0.2.1:80".parse().unwrap()] };
        let addresses = async |name: &str| pinned.resolve(name.parse().unwrap()).await.map(Iterator::count).ok();
        assert_eq!(addresses("a.dk").await, Some(1));
        for name in ["a.dk.", "A.dk", "b.dk", "localhost", "169.254.169.254"] {
            assert_eq!(addresses(name).await, None, "{name}");
        }
    }
}

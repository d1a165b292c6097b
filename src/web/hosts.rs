//! The host names under which the pages may be requested. A hostile page can make its own name resolve to this machine and then read our
//! answers (DNS rebinding), but it cannot choose the Host that the browser sends.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::digits::digits;

/// The names and addresses of the pages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hosts(Arc<KnownNames>);

#[derive(Debug)]
struct KnownNames {
    /// The address on which the pages listen.
    address: IpAddr,
    /// The names in lower case, without a trailing dot.
    names: Vec<String>,
}

impl Hosts {
    /// The pages at `address`, with these names and `localhost`.
    pub fn new(address: SocketAddr, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| plain(&name)).chain(["localhost".to_owned()]);
        Hosts(Arc::new(KnownNames { address: address.ip(), names: names.collect() }))
    }

    /// Returns true if `host`, as a request gives it, is a name of these pages. If they listen on all addresses of the machine, any IP
    /// address is accepted, because DNS rebinding needs a name.
    pub fn include(&self, host: &str) -> bool {
        let KnownNames { address, names } = &*self.0;
        let Some(name) = without_port(host) else { return false };
        // RFC 3986 §3.2.2: brackets hold IPv6 addresses and nothing else.
        let ip = match name.strip_prefix('[') {
            Some(literal) => match literal.strip_suffix(']').map(str::parse::<Ipv6Addr>) {
                Some(Ok(ip)) => Some(IpAddr::V6(ip)),
                _ => return false,
            },
            None => name.parse().map(IpAddr::V4).ok(),
        };
        match ip {
            Some(ip) => {
                let ip = ip.to_canonical();
                ip.is_loopback() || ip == *address || address.is_unspecified() || names.contains(&ip.to_string())
            }
            None => names.contains(&plain(name)),
        }
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Returns the host of `host:port`, or `None` if the port is not a number.
fn without_port(host: &str) -> Option<&str> {
    let port = match host.rfind(']') {
        Some(end) => host[end + 1..].strip_prefix(':').or(host[end + 1..].is_empty().then_some("0")),
        None => host.split_once(':').map_or(Some("0"), |(_, port)| Some(port)),
    };
    let port = port.filter(|port| digits::<u16>(port).is_some())?;
    Some(host.strip_suffix(port).and_then(|host| host.strip_suffix(':')).unwrap_or(host))
}

/// Answers 421 if the request names another host. HTTP/1.0 has no Host, and browsers do not use it.
pub(super) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(HOST).iter().map(HeaderValue::to_str);
    let header = (given.next(), given.next());
    // RFC 9112 §3.2.2: if the request target is an absolute URL, its host counts, whatever the Host field says.
    let authority =
        request.uri().authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let is_ours = match (authority, header) {
        (None, (Some(Ok(host)), None)) => hosts.include(host),
        (Some(authority), (Some(Ok(host)), None)) => hosts.include(authority) && hosts.include(host),
        (None, (None, _)) => request.version() < Version::HTTP_11,
        _ => false,
    };
    if is_ours {
        return next.run(request).await;
    }
    let text = "This is not a name of this endpoint: use its address or localhost, or list the name in `hosts` of its table.\n\
                If a link in a mail led you here, tell whoever sent it.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str) -> Hosts {
        Hosts::new(address.parse().unwrap(), ["relay.internal".to_owned(), "Other.Internal.".to_owned()])
    }

    #[test]
    fn the_pages_are_called_by_their_address_loopback_and_listed_names() {
        let hosts = hosts("10.0.0.4:8025");
        for host in [
            "10.0.0.4:8025",
            "10.0.0.4",
            "127.0.0.1:8025",
            "127.0.0.7:1",
            "localhost",
            "LOCALHOST:8025",
            "localhost.:8025",
            "[::1]:8025",
            "[::ffff:127.0.0.1]",
            "relay.internal",
            "Relay.Internal:9000",
            "other.internal.",
        ] {
            assert!(hosts.include(host), "{host}");
        }
        for host in [
            "",
            ":8025",
            "evil.example",
            "evil.example:8025",
            "localhost.evil.example",
            "evil.localhost",
            "10.0.0.5:8025",
            "192.0.2.1",
            "[2001:db8::1]",
            "relay.internal.evil.example",
            "relay",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f000001",
            "localhost:evil",
            "localhost:99999",
            "localhost:80:80",
            "localhost:+80",
            "[::1]:+9",
            "[::1",
            "[::1]evil",
            "[::1]]",
            "[[::1]",
            "[127.0.0.1]",
            "[localhost]",
            "::1",
            "localhost, evil.example",
            "localhost evil",
        ] {
            assert!(!hosts.include(host), "{host}");
        }
    }

    #[test]
    fn on_every_address_of_the_machine_any_address_is_its_own_and_no_name_is() {
        for address in ["0.0.0.0:8025", "[::]:8025"] {
            let hosts = hosts(address);
            assert!(hosts.include("192.0.2.1:8025") && hosts.include("[2001:db8::1]") && hosts.include("localhost"));
            assert!(!hosts.include("evil.example"));
        }
    }
}

//! Finds the client of a request: the peer of the connection, or the address that a trusted proxy names in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use ipnet::IpNet;

use super::secured::Secured;

/// The address of a request's client, in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// Marks a request from a trusted proxy, whose headers about the client are believed. Stored in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViaProxy;

/// The networks of the trusted proxies. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Proxies(networks.into())
    }

    /// Returns true if no proxy is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the client of a request from `peer`. Goes back through `X-Forwarded-For` from its end while the addresses are trusted
    /// proxies, and returns the first that is not. If an entry cannot be read, the last proxy before it counts as the client.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let mut hops: Vec<&str> = Vec::new();
        for value in headers.get_all("x-forwarded-for") {
            // A value that is not text makes all earlier values untrustworthy.
            let Ok(text) = value.to_str() else {
                hops.clear();
                continue;
            };
            hops.extend(text.split(','));
        }
        for hop in hops.into_iter().rev() {
            if !self.include(client) {
                break;
            }
            let Some(address) = address(hop.trim()) else { break };
            client = address;
        }
        client
    }
}

/// Reads an address with or without a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()))?;
    Some(address.to_canonical())
}

/// The permitted clients of an endpoint.
#[derive(Clone, Debug)]
pub struct Rules {
    pub proxies: Proxies,
    /// True if everybody may connect; otherwise only this machine and the proxies may.
    pub may_be_anybody: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(IpAddr);

impl Connected<IncomingStream<'_, Secured>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Secured>) -> Self {
        Peer(stream.remote_addr().ip().to_canonical())
    }
}

/// Adds the client to the request, and refuses clients that may not connect in plaintext.
pub(super) async fn check(
    State(rules): State<Rules>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if !rules.may_be_anybody && !peer.is_loopback() && !rules.proxies.include(peer) {
        let text = "This endpoint speaks plaintext and takes it from this machine and its proxies only: connect through a proxy \
                    in `proxies` of its table, or give the endpoint a certificate.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let client = rules.proxies.client(peer, request.headers());
    request.extensions_mut().insert(Client(client));
    if rules.proxies.include(peer) {
        request.extensions_mut().insert(ViaProxy);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let proxies =
            Proxies::new(["10.0.0.5/32", "10.0.1.0/24", "2001:db8::5/128"].map(|it| it.parse().unwrap()).into());
        for (peer, headers, expected) in [
            ("192.0.2.9", vec!["198.51.100.7"], "192.0.2.9"),
            ("10.0.0.5", vec![], "10.0.0.5"),
            ("10.0.0.5", vec!["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.5", vec!["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.5", vec!["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.5", vec!["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.5", vec!["2001:db8::7"], "2001:db8::7"),
            ("2001:db8::5", vec!["::ffff:198.51.100.7"], "198.51.100.7"),
            // The client wrote the first address itself; the proxy added the last one.
            ("10.0.0.5", vec!["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.5", vec!["127.0.0.1", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.5", vec!["198.51.100.7, 10.0.1.9"], "198.51.100.7"),
            ("10.0.0.5", vec!["127.0.0.1, 198.51.100.7, 10.0.1.9"], "198.51.100.7"),
            ("10.0.0.5", vec!["10.0.1.8, 10.0.1.9"], "10.0.1.8"),
            ("10.0.0.5", vec!["198.51.100.7, unknown"], "10.0.0.5"),
            ("10.0.0.5", vec!["198.51.100.7, "], "10.0.0.5"),
            ("10.0.0.5", vec!["127.1"], "10.0.0.5"),
            ("10.0.0.5", vec!["198.51.100.7, \u{e6}", "10.0.1.9"], "10.0.1.9"),
        ] {
            let mut map = HeaderMap::new();
            for header in &headers {
                map.append("x-forwarded-for", HeaderValue::from_bytes(header.as_bytes()).unwrap());
            }
            let found = proxies.client(peer.parse().unwrap(), &map);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {headers:?}");
        }
    }
}

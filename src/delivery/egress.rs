//! Opens connections: each one leaves from the configured address, or is not made.
//!
//! A bound IPv4 address skips the smarthost's IPv6 addresses, and the other way round. The bind reserves no port
//! (`IP_BIND_ADDRESS_NO_PORT`): the kernel picks one at connect, so that one local port serves many destinations. If
//! the address is gone from this machine, nothing is sent and the error says so.
//!
//! The kernel's ordinary limits give up no connection before delivery does. Each wait of a session has a limit of its
//! own. A slow server may keep its TCP window closed while it processes the content (RFC 5321 §4.5.3.2.5–6).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;

use super::{EgressError, EgressPath, Settings};
use crate::machine::net::{self, TcpStream};
use crate::resolver::{self, Resolver, is_public};
use crate::route::Route;

/// Azure drops an idle flow after 4 minutes and tells nobody.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// This many probes without an answer, half of `KEEPALIVE` apart, end a connection. That takes 11 minutes, and the
/// longest wait (for the reply to the final dot) is over after 10.
const UNANSWERED: u32 = 20;

/// Why no connection was made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The host's name could not be resolved, for now or at all.
    #[error("cannot resolve {host}: {reason}")]
    Resolve { host: String, reason: String },
    /// The host has an address that is not on the public internet, and the route allows none.
    #[error("{host} has the address {address}, which is not a public one")]
    Private { host: String, address: IpAddr },
    /// The host has no address of our own address's family.
    #[error("{host} has no address of the family of our own address {local}")]
    Family { host: String, local: IpAddr },
    /// Our own address cannot be bound any more.
    #[error("our egress address {local} is not on this machine any more: {source}")]
    EgressLost {
        local: IpAddr,
        #[source]
        source: io::Error,
    },
    /// The address refused the connection, is unreachable, or did not answer.
    #[error("cannot connect to {peer}: {reason}")]
    Connect {
        /// The address that was tried.
        peer: String,
        /// The system's error, or that the time limit passed.
        reason: String,
    },
    /// The proxy cannot be reached, or refused.
    #[error("the SOCKS5 proxy {proxy}: {reason}")]
    Proxy {
        proxy: SocketAddr,
        /// The proxy's answer, or what broke.
        reason: String,
        /// The proxy itself failed, and not the connection behind it.
        own_fault: bool,
    },
}

impl ConnectError {
    /// What a person can do, if known.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            ConnectError::EgressLost { .. } => Some(
                "mail waits: give this machine its egress address back, or correct egress.bind. Nothing leaves from another \
                 address",
            ),
            ConnectError::Private { .. } => Some(
                "the customer entered this server, so only public addresses of it are used: have its DNS name corrected, or take \
                 addresses = \"public\" out of [route] in the customer's file if it is meant to be in your own network",
            ),
            ConnectError::Family { .. } => {
                Some("the host needs an address of our egress address's family (A for IPv4, AAAA for IPv6)")
            }
            ConnectError::Proxy { own_fault: true, .. } => Some("mail waits: check the SOCKS5 proxy (egress.proxy)"),
            ConnectError::Proxy { .. } | ConnectError::Resolve { .. } | ConnectError::Connect { .. } => None,
        }
    }
}

/// Checks at start that the egress address can be bound.
pub fn check(path: &EgressPath) -> Result<(), EgressError> {
    match path {
        EgressPath::Bind(address) => {
            bound_socket(*address).map(drop).map_err(|source| EgressError::Bind { address: *address, source })
        }
        EgressPath::Socks5 { .. } => Ok(()),
    }
}

/// One end to connect to: an address of the smarthost, or the proxy in front of it.
#[derive(Clone, Copy)]
pub enum Endpoint<'a> {
    /// A connection from our address to one of the smarthost's.
    Direct {
        /// The address that the connection leaves from.
        local: IpAddr,
        /// The smarthost's address and port.
        peer: SocketAddr,
    },
    /// A connection through the proxy.
    Proxy {
        proxy: SocketAddr,
        /// Name and password, if the proxy wants them.
        login: Option<(&'a str, &'a str)>,
        /// The smarthost's address and port, if the proxy may not resolve the name and pick an address itself.
        peer: Option<SocketAddr>,
    },
}

impl Endpoint<'_> {
    /// The smarthost's address, if we know it.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Direct { peer, .. } => Some(*peer),
            Endpoint::Proxy { peer, .. } => *peer,
        }
    }
}

/// Returns the smarthost's endpoints in the order of its DNS answer. There is at least one.
pub async fn endpoints<'a>(settings: &'a Settings, route: &Route) -> Result<Vec<Endpoint<'a>>, ConnectError> {
    let local = match &settings.egress.path {
        EgressPath::Bind(local) => *local,
        EgressPath::Socks5 { proxy, login } => {
            let login = login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
            let through = |peer| Endpoint::Proxy { proxy: *proxy, login, peer };
            return match route.public_only {
                // An address that was not judged here is not connected to.
                true => Ok(resolve(settings, route, settings.egress.address)
                    .await?
                    .into_iter()
                    .map(Some)
                    .map(through)
                    .collect()),
                false => Ok(vec![through(None)]),
            };
        }
    };
    let reachable = resolve(settings, route, local).await?;
    Ok(reachable.into_iter().map(|peer| Endpoint::Direct { local, peer }).collect())
}

/// Connects to `target` within `limit`. Also returns the other end as text for people.
pub async fn connect(
    endpoint: Endpoint<'_>,
    target: (&str, u16),
    limit: Duration,
) -> Result<(TcpStream, String), ConnectError> {
    let connected = match endpoint {
        Endpoint::Direct { local, peer } => (connect_bound(local, peer, limit).await?, peer.to_string()),
        Endpoint::Proxy { proxy, login, peer: None } => connect_through(proxy, login, target, limit).await?,
        Endpoint::Proxy { proxy, login, peer: Some(peer) } => {
            connect_through(proxy, login, (&peer.ip().to_string(), peer.port()), limit).await?
        }
    };
    // Nagle's algorithm and the peer's delayed ACK would cost 41 ms a message.
    let _ = connected.0.set_nodelay(true);
    Ok(connected)
}

async fn connect_bound(local: IpAddr, peer: SocketAddr, limit: Duration) -> Result<TcpStream, ConnectError> {
    let socket = bound_socket(local).map_err(|source| ConnectError::EgressLost { local, source })?;
    let reason = match timeout(limit, net::connect(socket, peer)).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", limit.as_secs_f32()),
    };
    Err(ConnectError::Connect { peer: peer.to_string(), reason })
}

fn bound_socket(local: IpAddr) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    keep_alive(&SockRef::from(&socket))?;
    socket.bind(SocketAddr::new(local, 0))?;
    Ok(socket)
}

fn keep_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2).with_retries(UNANSWERED);
    socket.set_tcp_keepalive(&keepalive)
}

/// Returns the host's addresses as text, for the probe.
pub async fn resolve_for_people(settings: &Settings, route: &Route) -> Result<String, ConnectError> {
    let local = match &settings.egress.path {
        EgressPath::Bind(local) => *local,
        EgressPath::Socks5 { .. } if route.public_only => settings.egress.address,
        EgressPath::Socks5 { proxy, .. } => return Ok(format!("left to the proxy {proxy}")),
    };
    let found = resolve(settings, route, local).await?;
    Ok(found.iter().map(|peer| peer.ip().to_string()).collect::<Vec<_>>().join(", "))
}

/// Returns the host's addresses that can be reached from `local`. There is at least one.
async fn resolve(settings: &Settings, route: &Route, local: IpAddr) -> Result<Vec<SocketAddr>, ConnectError> {
    let (host, port) = (route.host.as_str(), route.port);
    let refused = |reason: String| ConnectError::Resolve { host: host.to_owned(), reason };
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let found: Vec<IpAddr> = match (literal, &settings.resolver) {
        (Ok(ip), _) => vec![ip],
        (_, None) => timeout(settings.timeouts.connect, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| refused("no answer in time".to_owned()))?
            .map_err(|error| refused(error.to_string()))?
            .map(|peer| peer.ip())
            .collect(),
        (_, Some(dns)) => match settings.hosts.addresses(host).await {
            found if found.is_empty() => ask(&**dns, host, local).await?,
            found => found,
        },
    };
    if found.is_empty() {
        return Err(refused("the name has no address".to_owned()));
    }
    // One private address among them is enough: the next answer may have it alone.
    if let Some(private) = found.iter().find(|ip| route.public_only && !is_public(**ip)) {
        return Err(ConnectError::Private { host: host.to_owned(), address: *private });
    }
    let reachable = found.into_iter().filter(|ip| ip.is_ipv4() == local.is_ipv4());
    let reachable: Vec<SocketAddr> = reachable.map(|ip| SocketAddr::new(ip, port)).collect();
    if reachable.is_empty() { Err(ConnectError::Family { host: host.to_owned(), local }) } else { Ok(reachable) }
}

/// Asks DNS for addresses of our own family. An error in the other family's lookup concerns no connection. The other
/// family is asked for only if ours has no address, to tell a host of that family from a name that has no address.
async fn ask(dns: &dyn Resolver, host: &str, local: IpAddr) -> Result<Vec<IpAddr>, ConnectError> {
    let of_family = async |v4: bool| -> Result<Vec<IpAddr>, resolver::Error> {
        Ok(match v4 {
            true => dns.ipv4(host).await?.into_iter().map(IpAddr::V4).collect(),
            false => dns.ipv6(host).await?.into_iter().map(IpAddr::V6).collect(),
        })
    };
    let ours = of_family(local.is_ipv4()).await;
    let ours = ours.map_err(|error| ConnectError::Resolve { host: host.to_owned(), reason: error.to_string() })?;
    if !ours.is_empty() {
        return Ok(ours);
    }
    of_family(!local.is_ipv4()).await.map_err(|_| ConnectError::Family { host: host.to_owned(), local })
}

async fn connect_through(
    proxy: SocketAddr,
    login: Option<(&str, &str)>,
    target: (&str, u16),
    limit: Duration,
) -> Result<(TcpStream, String), ConnectError> {
    let failed = |reason: String, own_fault| ConnectError::Proxy { proxy, reason, own_fault };
    let dialled = async {
        let stream = tokio::net::TcpStream::connect(proxy).await.map_err(|error| failed(error.to_string(), true))?;
        let _ = keep_alive(&SockRef::from(&stream));
        let through = match login {
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, target).await,
        };
        let through = through.map_err(|error| {
            use tokio_socks::Error as Socks;
            let behind = matches!(
                error,
                Socks::NetworkUnreachable | Socks::HostUnreachable | Socks::ConnectionRefused | Socks::TtlExpired
            );
            failed(error.to_string(), !behind)
        })?;
        Ok((net::of_system(through.into_inner()), format!("{}:{} through {proxy}", target.0, target.1)))
    };
    timeout(limit, dialled).await.unwrap_or_else(|_| Err(failed("no answer in time".to_owned(), true)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Egress, Timeouts};
    use super::*;
    use crate::resolver::{FixedZone, HostsFile};
    use crate::test_customers;

    #[tokio::test]
    async fn a_server_that_the_customer_chose_leads_into_no_network_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "127.0.1.1 own.test\n").unwrap();
        let zone = "out.test A 9.9.9.9\nown.test A 9.9.9.9\ninside.test A 10.0.0.5\nboth.test A 9.9.9.9\n\
                    both.test A 169.254.169.254\nloop.test A 127.0.0.1\nzero.test A 0.0.0.0";
        let local = IpAddr::from([192, 0, 2, 1]);
        let settings = Settings {
            hosts: HostsFile::new(hosts),
            resolver: Some(Arc::new(FixedZone::parse(zone).unwrap())),
            ..Settings::new("out.example.com", Egress::bound(local, local))
        };
        for (host, is_outside) in [
            ("out.test", true),
            ("9.9.9.9", true),
            // Its own name, which the hosts file leads to itself.
            ("own.test", false),
            ("inside.test", false),
            ("both.test", false),
            ("loop.test", false),
            ("zero.test", false),
            ("10.0.0.5", false),
            ("127.0.0.1", false),
        ] {
            let any = test_customers::route("own-server.x", host);
            assert!(endpoints(&settings, &any).await.is_ok(), "{host}: the operator may mean it");
            match endpoints(&settings, &Route { public_only: true, ..any }).await {
                Ok(_) => assert!(is_outside, "{host}"),
                Err(error) => assert!(!is_outside && matches!(error, ConnectError::Private { .. }), "{host}: {error}"),
            }
        }
        // A proxy would resolve the name itself, perhaps to another address. It is given the one that was judged.
        let proxy = ([192, 0, 2, 9], 1080).into();
        let path = EgressPath::Socks5 { proxy, login: None };
        let settings = Settings { egress: Egress { path, ..settings.egress.clone() }, ..settings };
        let route = |host: &str| Route { public_only: true, ..test_customers::route("own-server.x", host) };
        let outside = endpoints(&settings, &route("out.test")).await.unwrap();
        assert_eq!(outside[0].address().map(|peer| peer.ip()), Some([9, 9, 9, 9].into()));
        assert!(matches!(endpoints(&settings, &route("inside.test")).await, Err(ConnectError::Private { .. })));
        let any = test_customers::route("own-server.x", "inside.test");
        assert_eq!(endpoints(&settings, &any).await.unwrap()[0].address(), None);
    }

    #[tokio::test]
    async fn a_socket_is_kept_alive_and_no_wait_is_cut_short_by_the_kernel() {
        let socket = bound_socket([127, 0, 0, 1].into()).unwrap();
        let socket = SockRef::from(&socket);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
        let probes = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert!(KEEPALIVE + probes > Timeouts::default().data_end);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            None,
            "a closed window for 3 minutes is within RFC 5321's limits"
        );
    }
}

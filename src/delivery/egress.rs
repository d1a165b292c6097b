//! Getting out: every connection leaves from the configured address or not at all.
//!
//! A bound IPv4 address passes over the smarthost's IPv6 addresses, and the other way round. The bind reserves no port
//! (`IP_BIND_ADDRESS_NO_PORT`): the kernel picks one at connect, so the same local port serves many destinations. Where the
//! address is gone from this machine, nothing is sent and the trouble says so.
//!
//! The kernel gives up no connection before delivery does, by its ordinary limits: each wait of a session has a limit of its
//! own, and a server that takes its time over the content may have closed its window meanwhile (RFC 5321 §4.5.3.2.5–6).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;

use super::{EgressError, EgressPath, Settings};
use crate::resolver::{self, Resolver};

/// Azure forgets an idle flow after 4 minutes without telling anybody.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// So many probes without an answer, half of `KEEPALIVE` apart, end a connection: after 11 minutes, when the longest wait (10
/// minutes for the answer to the final dot) is over.
const UNANSWERED: u32 = 20;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name could not be resolved, for now or at all.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The smarthost.
        host: String,
        /// What DNS said.
        reason: String,
    },
    /// The name has addresses, but none that can be reached from ours.
    #[error("{host} has no address of the family of our own address {local}")]
    Family {
        /// The smarthost.
        host: String,
        /// What we are bound to.
        local: IpAddr,
    },
    /// Our own address is not this machine's any more.
    #[error("our egress address {local} is not on this machine any more: {source}")]
    EgressLost {
        /// What we are bound to.
        local: IpAddr,
        /// The errno.
        #[source]
        source: io::Error,
    },
    /// Refused, unreachable or silent.
    #[error("cannot connect to {peer}: {reason}")]
    Connect {
        /// The address tried.
        peer: String,
        /// The errno, or that it took too long.
        reason: String,
    },
    /// The proxy cannot be reached or will not do it.
    #[error("the SOCKS5 proxy {proxy}: {reason}")]
    Proxy {
        /// The proxy.
        proxy: SocketAddr,
        /// What it said.
        reason: String,
        /// The proxy itself failed, not the connection behind it.
        own_fault: bool,
    },
}

impl ConnectError {
    /// What a person can do, where something is known.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            ConnectError::EgressLost { .. } => Some(
                "mail waits: give this machine its egress address back, or correct egress.bind. Nothing leaves from another \
                 address",
            ),
            ConnectError::Family { .. } => {
                Some("the host needs an address of our egress address's family (A for IPv4, AAAA for IPv6)")
            }
            ConnectError::Proxy { own_fault: true, .. } => Some("mail waits: check the SOCKS5 proxy (egress.proxy)"),
            ConnectError::Proxy { .. } | ConnectError::Resolve { .. } | ConnectError::Connect { .. } => None,
        }
    }
}

/// Whether the egress address can be used from here; asked once, at start.
pub fn check(path: &EgressPath) -> Result<(), EgressError> {
    match path {
        EgressPath::Bind(address) => {
            bound_socket(*address).map(drop).map_err(|source| EgressError::Bind { address: *address, source })
        }
        EgressPath::Socks5 { .. } => Ok(()),
    }
}

/// One way to a smarthost.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// To this address of it, from ours.
    Direct {
        /// Ours.
        local: IpAddr,
        /// Its.
        peer: SocketAddr,
    },
    /// Through the proxy, which resolves the name and picks an address by itself.
    Proxy {
        /// The proxy.
        proxy: SocketAddr,
        /// Name and password, where it wants them.
        login: Option<(&'a str, &'a str)>,
    },
}

impl Way<'_> {
    /// The address that it leads to, where we know that.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Way::Direct { peer, .. } => Some(*peer),
            Way::Proxy { .. } => None,
        }
    }
}

/// The ways to the smarthost, in the order in which its name has them; never none.
pub async fn ways<'a>(settings: &'a Settings, host: &str, port: u16) -> Result<Vec<Way<'a>>, ConnectError> {
    let local = match &settings.egress.path {
        EgressPath::Bind(local) => *local,
        EgressPath::Socks5 { proxy, login } => {
            let login = login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
            return Ok(vec![Way::Proxy { proxy: *proxy, login }]);
        }
    };
    let reachable = resolve(settings, host, port, local).await?;
    Ok(reachable.into_iter().map(|peer| Way::Direct { local, peer }).collect())
}

/// Connects to `target` within `limit`. Gives the other end for people, too.
pub async fn connect(way: Way<'_>, target: (&str, u16), limit: Duration) -> Result<(TcpStream, String), ConnectError> {
    let connected = match way {
        Way::Direct { local, peer } => (connect_bound(local, peer, limit).await?, peer.to_string()),
        Way::Proxy { proxy, login } => connect_through(proxy, login, target, limit).await?,
    };
    // Nagle's algorithm with the peer's delayed ACK costs 41 ms a message.
    let _ = connected.0.set_nodelay(true);
    Ok(connected)
}

async fn connect_bound(local: IpAddr, peer: SocketAddr, limit: Duration) -> Result<TcpStream, ConnectError> {
    let socket = bound_socket(local).map_err(|source| ConnectError::EgressLost { local, source })?;
    let reason = match timeout(limit, socket.connect(peer)).await {
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

/// What a host resolves to, for the probe.
pub async fn resolve_for_people(settings: &Settings, host: &str, port: u16) -> Result<String, ConnectError> {
    match &settings.egress.path {
        EgressPath::Bind(local) => {
            let found = resolve(settings, host, port, *local).await?;
            Ok(found.iter().map(|peer| peer.ip().to_string()).collect::<Vec<_>>().join(", "))
        }
        EgressPath::Socks5 { proxy, .. } => Ok(format!("left to the proxy {proxy}")),
    }
}

/// The host's addresses that can be reached from `local`; never none.
async fn resolve(settings: &Settings, host: &str, port: u16, local: IpAddr) -> Result<Vec<SocketAddr>, ConnectError> {
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
    let reachable = found.into_iter().filter(|ip| ip.is_ipv4() == local.is_ipv4());
    let reachable: Vec<SocketAddr> = reachable.map(|ip| SocketAddr::new(ip, port)).collect();
    if reachable.is_empty() { Err(ConnectError::Family { host: host.to_owned(), local }) } else { Ok(reachable) }
}

/// Asks for addresses of our own family: what is wrong with the other one's lookup concerns no connection. Only where there
/// are none is the other family asked for, to tell a host of that family from a name that has no address.
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
        let stream = TcpStream::connect(proxy).await.map_err(|error| failed(error.to_string(), true))?;
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
        Ok((through.into_inner(), format!("{}:{} through {proxy}", target.0, target.1)))
    };
    timeout(limit, dialled).await.unwrap_or_else(|_| Err(failed("no answer in time".to_owned(), true)))
}

#[cfg(test)]
mod tests {
    use super::super::Timeouts;
    use super::*;

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

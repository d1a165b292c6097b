//! The settings of delivery: our name, our address, and the timeouts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::message::ReturnPaths;
use crate::resolver::{HostsFile, SharedResolver};

/// The settings of all deliveries. The configuration has checked them.
#[derive(Clone)]
pub struct Settings {
    /// The name in EHLO. It should be the PTR record of the egress address.
    pub hostname: String,
    /// How connections leave this machine.
    pub egress: Egress,
    /// The time limit of each phase.
    pub timeouts: Timeouts,
    /// Names that need no DNS. They are looked up first if `resolver` is set.
    pub hosts: HostsFile,
    /// The resolver of smarthosts' names. `None` is the system's, hosts file included.
    pub resolver: Option<SharedResolver>,
    /// Makes return paths for routes with `return_path = "verp"`. If it is `None`, mail keeps its own sender.
    pub return_paths: Option<Arc<ReturnPaths>>,
}

impl Settings {
    /// Settings with the default timeouts and the system's resolver.
    pub fn new(hostname: impl Into<String>, egress: Egress) -> Self {
        Settings {
            hostname: hostname.into(),
            egress,
            timeouts: Timeouts::default(),
            hosts: HostsFile::default(),
            resolver: None,
            return_paths: None,
        }
    }
}

/// The one address that every connection leaves from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The address that customers have allow-listed (`egress.address`). Advice names it.
    pub address: IpAddr,
    /// The way by which connections leave from this address.
    pub path: EgressPath,
    /// The address that a server's reply to EHLO should call us by, if it names one (`egress.expect_seen_as`).
    pub expect_seen_as: Option<IpAddr>,
}

impl Egress {
    /// Connections are bound to `local` and are seen outside as `address`.
    pub fn bound(address: IpAddr, local: IpAddr) -> Self {
        Egress { address, path: EgressPath::Bind(local), expect_seen_as: None }
    }
}

/// The way by which connections leave from the egress address. There is no choice that leaves it to the system: a connection
/// leaves from the configured address, or is not made.
#[derive(Clone, PartialEq, Eq)]
pub enum EgressPath {
    /// Connections leave from this local address. Smarthosts' addresses of the other family are not tried. With `bind = "any"` it
    /// is 0.0.0.0 or `::`, and the network gives the address.
    Bind(IpAddr),
    /// Connections go through a SOCKS5 proxy that owns the address (RFC 1928). The proxy resolves the names of hosts, except for
    /// routes that may use public addresses only.
    Socks5 {
        /// The address of the proxy.
        proxy: SocketAddr,
        /// Name and password (RFC 1929), if the proxy wants them.
        login: Option<(String, String)>,
    },
}

/// The debug text never shows the password.
impl std::fmt::Debug for EgressPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EgressPath::Bind(ip) => write!(f, "Bind({ip})"),
            EgressPath::Socks5 { proxy, .. } => write!(f, "Socks5({proxy})"),
        }
    }
}

/// The time limits of a session's phases (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The TCP connection, for each address of the host.
    pub connect: Duration,
    /// The wait for the 220 greeting.
    pub greeting: Duration,
    /// EHLO, STARTTLS, the TLS handshake and each step of AUTH, each for itself.
    pub handshake: Duration,
    /// The wait for the reply to MAIL.
    pub mail: Duration,
    /// The wait for the reply to RCPT.
    pub rcpt: Duration,
    /// The wait for the 354 after DATA.
    pub data_start: Duration,
    /// The time in which the network must accept one block of the content.
    pub data_block: Duration,
    /// The wait for the reply to the final dot. It is long, because giving up early makes duplicates.
    pub data_end: Duration,
    /// The wait for the reply to QUIT, when a connection is closed.
    pub quit: Duration,
}

/// The values of RFC 5321 §4.5.3.2.1–6, with a shorter connect: a host that is silent for 30 s is tried again later.
impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Timeouts {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            handshake: minutes(2),
            mail: minutes(5),
            rcpt: minutes(5),
            data_start: minutes(2),
            data_block: minutes(3),
            data_end: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

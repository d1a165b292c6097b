//! What delivery is told: our name, our address, how long to wait.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::resolver::{HostsFile, SharedResolver};

/// Settings of all deliveries. Configuration has checked them.
#[derive(Clone)]
pub struct Settings {
    /// The name in EHLO; should be the PTR of the egress address.
    pub hostname: String,
    /// Which way connections leave.
    pub egress: Egress,
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// Names that need no DNS; asked first, where `resolver` is set.
    pub hosts: HostsFile,
    /// Who resolves smarthosts' names; `None` is the system's resolver, hosts file included.
    pub resolver: Option<SharedResolver>,
}

impl Settings {
    /// With the usual timeouts and the system's resolver.
    pub fn new(hostname: impl Into<String>, egress: Egress) -> Self {
        Settings {
            hostname: hostname.into(),
            egress,
            timeouts: Timeouts::default(),
            hosts: HostsFile::default(),
            resolver: None,
        }
    }
}

/// The one address that every connection leaves from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// What customers have allow-listed (`egress.address`); named in advice.
    pub address: IpAddr,
    /// How connections come to leave from it.
    pub path: EgressPath,
    /// What a server's EHLO answer should call us, where it names an address at all (`egress.expect_seen_as`).
    pub expect_seen_as: Option<IpAddr>,
}

impl Egress {
    /// Bound to `local`, known outside as `address`.
    pub fn bound(address: IpAddr, local: IpAddr) -> Self {
        Egress { address, path: EgressPath::Bind(local), expect_seen_as: None }
    }
}

/// How connections come to leave from the egress address. There is no "as the system likes": a connection leaves from
/// the configured address or not at all.
#[derive(Clone, PartialEq, Eq)]
pub enum EgressPath {
    /// From this local address; smarthosts' addresses of the other family are not tried.
    Bind(IpAddr),
    /// Through a SOCKS5 proxy that owns the address (RFC 1928); it resolves the names.
    Socks5 {
        /// The proxy.
        proxy: SocketAddr,
        /// Name and password (RFC 1929), where it wants them.
        login: Option<(String, String)>,
    },
}

/// Never shows the password.
impl std::fmt::Debug for EgressPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EgressPath::Bind(ip) => write!(f, "Bind({ip})"),
            EgressPath::Socks5 { proxy, .. } => write!(f, "Socks5({proxy})"),
        }
    }
}

/// How long each phase of a session may take (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect, for each address of the host.
    pub connect: Duration,
    /// The 220 greeting.
    pub greeting: Duration,
    /// EHLO, STARTTLS, the TLS handshake and each step of AUTH.
    pub handshake: Duration,
    /// MAIL.
    pub mail: Duration,
    /// RCPT.
    pub rcpt: Duration,
    /// The 354 after DATA.
    pub data_start: Duration,
    /// One block of the content accepted by the network.
    pub data_block: Duration,
    /// The reply to the final dot. Long, because giving up early makes duplicates.
    pub data_end: Duration,
    /// RSET and QUIT; also how long an unneeded connection lingers.
    pub quit: Duration,
}

/// RFC 5321 §4.5.3.2.1–6, with a shorter connect: a host that is silent for 30 s is tried again later.
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

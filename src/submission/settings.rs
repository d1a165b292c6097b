//! What configuration gives the submission server, already checked, and the parts of the program it works with.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::{Counters, Limits, ServerTls, Submitters};
use crate::customers::{Requirement, Routing};
use crate::events::Events;
use crate::smtp::Domain;
use crate::{dkim, spool};

/// An address to take mail on: a table `[[listener]]`.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// How the connection is protected.
    pub tls: ListenerTls,
    /// Who may send.
    pub auth: ListenerAuth,
    /// Whether AUTH is offered without TLS. Configuration allows it on loopback listeners only.
    pub allow_plaintext_auth: bool,
    /// Who may connect; empty means everyone.
    pub allow_from: Vec<IpNet>,
}

impl ListenerSettings {
    /// Whether a client at `peer` may connect. An IPv4 client of an IPv6 socket counts as IPv4.
    pub fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(&peer))
    }
}

/// When a listener speaks TLS.
#[derive(Clone, Debug)]
pub enum ListenerTls {
    /// The listener has no TLS.
    Off,
    /// After STARTTLS (RFC 3207). AUTH is offered only then, unless `allow_plaintext_auth`.
    StartTls(ServerTls),
    /// From the first octet (RFC 8314 §3.3).
    Implicit(ServerTls),
}

/// Who may send over a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerAuth {
    /// Submitters who log in.
    Required,
    /// Whoever may connect, for all customers. Configuration demands `allow_from` with it.
    Off,
}

/// What every session works with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Our name in greeting, EHLO answer and Received.
    pub hostname: Domain,
    /// What clients may use up.
    pub limits: Limits,
    /// When the attempt after the first is due: stored with the message.
    pub first_retry: Duration,
    /// What a From domain must have verified before bulk mail of it is taken.
    pub bulk_requires: Vec<Requirement>,
    /// Customers and their keys, what their domains have verified, and where their mail goes. A reload replaces the customers.
    pub routing: Routing,
    /// Who may log in. A reload replaces them, and with them the cache of verified passwords.
    pub submitters: Arc<ArcSwap<Submitters>>,
    /// Where accepted mail goes.
    pub spool: Arc<dyn spool::Commit>,
    /// Who signs it.
    pub workers: dkim::Workers,
    /// Who is told.
    pub events: Events,
    /// What is counted.
    pub counters: Counters,
    /// The file that keeps, over a restart, from where each submitter has logged in: such clients are not kept out by others'
    /// wrong logins. `None`: they are forgotten.
    pub known_clients: Option<PathBuf>,
}

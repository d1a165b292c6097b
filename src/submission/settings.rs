//! The settings of the submission server, which are already checked, and the other stages that it uses.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::{Counters, Limits, ServerTls, Submitters};
use crate::customers::suppression::Suppression;
use crate::customers::{Requirement, Routing};
use crate::events::Events;
use crate::smtp::Domain;
use crate::{dkim, spool};

/// An address to accept mail on: a table `[[listener]]`.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The address to listen on. The system chooses a port for port 0.
    pub address: SocketAddr,
    /// How the connection is protected.
    pub tls: ListenerTls,
    /// Who may submit here.
    pub auth: ListenerAuth,
    /// True if AUTH is offered without TLS. Configuration allows it on loopback listeners only.
    pub allow_plaintext_auth: bool,
    /// Who may connect; empty means everyone.
    pub allow_from: Vec<IpNet>,
}

impl ListenerSettings {
    /// Returns true if a client at `peer` may connect. An IPv4 client of an IPv6 socket counts as IPv4.
    pub fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(&peer))
    }
}

/// When TLS begins on a listener.
#[derive(Clone, Debug)]
pub enum ListenerTls {
    /// The listener has no TLS.
    Off,
    /// TLS begins after STARTTLS (RFC 3207). AUTH is offered only then, unless the configuration allows it without TLS.
    StartTls(ServerTls),
    /// TLS begins with the first octet (RFC 8314 §3.3).
    Implicit(ServerTls),
}

/// Who may send over a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerAuth {
    /// Submitters, after they have logged in.
    Required,
    /// Every client that may connect, for all customers. The configuration then requires `allow_from`.
    Off,
}

/// The parts that all sessions use. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The relay's name in the greeting, the EHLO reply and Received.
    pub hostname: Domain,
    /// The limits of clients.
    pub limits: Limits,
    /// The time from the first attempt to the second. It is stored with the message.
    pub first_retry: Duration,
    /// The requirements that a From domain must have verified before its bulk mail is accepted.
    pub bulk_requires: Vec<Requirement>,
    /// The customers, their keys, the verification status of their domains, and their routes. A reload replaces the customers.
    pub routing: Routing,
    /// The submitters who may log in. A reload replaces them.
    pub submitters: Arc<ArcSwap<Submitters>>,
    /// Addresses to which the customers' mail is no longer sent.
    pub suppression: Suppression,
    /// The spool that makes messages durable.
    pub spool: Arc<dyn spool::Commit>,
    /// The threads that sign messages.
    pub workers: dkim::Workers,
    /// Takes the events of accepted and refused mail.
    pub events: Events,
    /// The counters of submission.
    pub counters: Counters,
    /// The file with the addresses of known clients, so that wrong logins of others do not lock them out after a restart. `None` if they
    /// are not stored.
    pub known_clients: Option<PathBuf>,
}

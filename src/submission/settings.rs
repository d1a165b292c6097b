//! The settings of the submission server, already checked, and the parts of the program that it works with.

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

/// An address to take mail on: a table `[[listener]]`.
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

/// The parts that every session works with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Our name in greeting, EHLO answer and Received.
    pub hostname: Domain,
    /// What clients may use up.
    pub limits: Limits,
    /// The time from the first attempt to the second. It is stored with the message.
    pub first_retry: Duration,
    /// What a From domain must have verified before bulk mail of it is taken.
    pub bulk_requires: Vec<Requirement>,
    /// The customers, their keys, the verification status of their domains, and their routes. A reload replaces the customers.
    pub routing: Routing,
    /// The submitters who may log in. A reload replaces them.
    pub submitters: Arc<ArcSwap<Submitters>>,
    /// Addresses that the customers' mail no longer goes to.
    pub suppression: Suppression,
    /// The spool that makes messages durable.
    pub spool: Arc<dyn spool::Commit>,
    /// The threads that sign messages.
    pub workers: dkim::Workers,
    /// The log of events.
    pub events: Events,
    /// The counters of submission.
    pub counters: Counters,
    /// The file that keeps the addresses of known clients over a restart, so that wrong logins of others do not keep them out. `None` if
    /// they are forgotten.
    pub known_clients: Option<PathBuf>,
}

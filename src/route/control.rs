//! What operators see of routes and may do to them. The queue implements it; the control socket and the web pages use it.

use std::future::Future;
use std::io;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::RouteId;
use crate::time::Timestamp;

/// Why a route is suspended, which decides what lifts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// An operator said so: stands until an operator takes it back.
    Operator,
    /// The login was refused, or one is missing, or TLS for it: trying it again would lock the account.
    Login,
    /// The server sees us under another address than customers have allowed.
    Address,
}

impl Cause {
    /// In plain words.
    pub fn lifted_by(self) -> &'static str {
        match self {
            Cause::Operator => "`postbud route resume`",
            Cause::Login => "a changed login, server or TLS in the configuration, or `postbud route resume`",
            Cause::Address => "a restart, a changed server in the configuration, or `postbud route resume`",
        }
    }

    /// Whether it outlives the process. Where the address was wrong, a new connection shows by itself whether it is right now.
    pub fn is_kept(self) -> bool {
        self != Cause::Address
    }
}

/// What a route does at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// Deliveries run.
    Ready,
    /// Backed off, tried again at an instant.
    Throttled {
        /// When.
        until: Timestamp,
        /// What was heard.
        reason: String,
    },
    /// Stopped until what caused it is mended.
    Suspended {
        /// What decides what lifts it.
        cause: Cause,
        /// What was heard, or what the operator said.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

impl RouteState {
    /// One word, as commands, pages and metrics write it.
    pub fn as_str(&self) -> &'static str {
        match self {
            RouteState::Ready => "ready",
            RouteState::Throttled { .. } => "throttled",
            RouteState::Suspended { .. } => "suspended",
        }
    }

    /// Why it is not ready.
    pub fn reason(&self) -> Option<&str> {
        match self {
            RouteState::Ready => None,
            RouteState::Throttled { reason, .. } | RouteState::Suspended { reason, .. } => Some(reason),
        }
    }
}

/// One route as operators see it.
#[derive(Clone, Debug)]
pub struct RouteStatus {
    /// Its name.
    pub id: RouteId,
    /// `mail.egenserver.dk:587`.
    pub server: String,
    /// What it does now.
    pub state: RouteState,
    /// Since when its server has taken part in no transaction, where that is so; also while it is ready to be tried again.
    pub in_trouble_since: Option<Timestamp>,
    /// Attempts being made at this moment.
    pub in_flight: u32,
    /// Recipients sent to since midnight UTC, and the cap.
    pub sent_today: u32,
    /// The cap a day, where there is one.
    pub per_day: Option<u32>,
}

/// Whether there is such a route. Ready once the switch would survive a restart; an error says that it holds, but would not.
pub type Switched = Pin<Box<dyn Future<Output = io::Result<bool>> + Send>>;

/// The operator's hand on the routes.
pub trait RouteControl: Send + Sync + 'static {
    /// Stops a route until it is resumed; attempts in flight end by themselves.
    fn suspend(&self, route: &RouteId, reason: &str) -> Switched;

    /// Lets a suspended or throttled route go on at once.
    fn resume(&self, route: &RouteId) -> Switched;

    /// Every route in the configuration, by name.
    fn list(&self) -> Vec<RouteStatus>;
}

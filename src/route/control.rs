//! The states of routes for operators, and the control of routes. The queue implements it; the control socket and the web pages use it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RouteId;
use crate::message::CustomerId;
use crate::time::Timestamp;

/// Why a route is suspended. It decides what lifts the suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// An operator suspended the route, until an operator resumes it.
    Operator,
    /// The login was refused or is missing, or the server demands TLS. Trying the login again could lock the account.
    Login,
    /// The server sees us under an address that customers have not allowed.
    Address,
}

impl Cause {
    /// What ends the suspension, for people.
    pub fn lifted_by(self) -> &'static str {
        match self {
            Cause::Operator => "`postbud route resume`",
            Cause::Login => "a changed login, server or TLS in the configuration, or `postbud route resume`",
            Cause::Address => "a restart, a changed server in the configuration, or `postbud route resume`",
        }
    }

    /// Returns true if the suspension outlives the process. A suspension for a wrong address does not, because the next
    /// connection shows whether the address is right.
    pub fn is_kept(self) -> bool {
        self != Cause::Address
    }
}

/// The state of a route at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// The route carries mail.
    Ready,
    /// The route backs off after trouble.
    Throttled {
        /// When the route is tried again.
        until: Timestamp,
        /// The server's reply, or what broke.
        reason: Arc<str>,
    },
    /// The route is stopped until the cause is removed.
    Suspended {
        /// The cause, which decides what lifts the suspension.
        cause: Cause,
        /// The server's reply, or the operator's words.
        reason: Arc<str>,
        /// When the route was suspended.
        since: Timestamp,
    },
}

impl RouteState {
    /// The state in one word, for commands, pages and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            RouteState::Ready => "ready",
            RouteState::Throttled { .. } => "throttled",
            RouteState::Suspended { .. } => "suspended",
        }
    }

    /// Why the route is not ready.
    pub fn reason(&self) -> Option<&str> {
        match self {
            RouteState::Ready => None,
            RouteState::Throttled { reason, .. } | RouteState::Suspended { reason, .. } => Some(reason),
        }
    }
}

/// One route as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// The name that commands and events use.
    pub id: RouteId,
    /// Host and port of the server: `mail.egenserver.dk:587`.
    pub server: Arc<str>,
    /// Says whether the route carries mail now.
    pub state: RouteState,
    /// Since when the server has taken part in no transaction, if the route is in trouble. It is set even while the
    /// route is ready to be tried again.
    pub in_trouble_since: Option<Timestamp>,
    /// The number of attempts in progress.
    pub in_flight: u32,
    /// The number of recipients sent to since midnight UTC.
    pub sent_today: u32,
    /// The most recipients a day, if there is a cap.
    pub per_day: Option<u32>,
    /// The server's reply, if its last refusal says that it accepts no passwords.
    pub password_hint: Option<String>,
}

impl RouteStatus {
    /// Joins the states that two nodes report of a route that both use. The reason comes from the node where the route is in the worse state.
    #[must_use]
    pub fn and(self, other: RouteStatus) -> RouteStatus {
        let rank = |status: &RouteStatus| match status.state {
            RouteState::Ready => 0,
            RouteState::Throttled { .. } => 1,
            RouteState::Suspended { .. } => 2,
        };
        let (in_flight, sent_today) =
            (self.in_flight + other.in_flight, self.sent_today.saturating_add(other.sent_today));
        let per_day = self.per_day.max(other.per_day);
        let password_hint = self.password_hint.clone().or_else(|| other.password_hint.clone());
        let in_trouble_since = [self.in_trouble_since, other.in_trouble_since].into_iter().flatten().min();
        let shown = if rank(&other) > rank(&self) { other } else { self };
        RouteStatus { in_flight, sent_today, per_day, password_hint, in_trouble_since, ..shown }
    }
}

/// The result of suspending or resuming a route; true if the route exists. It is ready once the change would survive a restart. An error
/// means that the change is in force, but would be lost at a restart.
pub type Switched = Pin<Box<dyn Future<Output = io::Result<bool>> + Send>>;

/// The operator's control of the routes, and of the customers whose mail takes them.
pub trait RouteControl: Send + Sync + 'static {
    /// Stops a route until it is resumed. Attempts in progress finish.
    fn suspend(&self, route: &RouteId, reason: &str) -> Switched;

    /// Lets a suspended or throttled route continue at once.
    fn resume(&self, route: &RouteId) -> Switched;

    /// Returns every route in the configuration, by name.
    fn list(&self) -> Vec<RouteStatus>;

    /// Shows `see` every route in the configuration, by name: its state, and since when its server has taken part in no transaction. Copies
    /// nothing, so it is cheaper than [`list`](Self::list) where there are thousands.
    fn visit(&self, see: &mut dyn FnMut(&RouteId, &RouteState, Option<Timestamp>)) {
        self.list().iter().for_each(|status| see(&status.id, &status.state, status.in_trouble_since));
    }

    /// Returns one route, if it is in the configuration.
    fn status(&self, route: &RouteId) -> Option<RouteStatus> {
        self.list().into_iter().find(|status| status.id == *route)
    }

    /// Returns the routes that are suspended, by name, and the reason of each.
    fn suspended(&self) -> Vec<(RouteId, Arc<str>)> {
        let reason = |status: RouteStatus| match status.state {
            RouteState::Suspended { reason, .. } => Some((status.id, reason)),
            _ => None,
        };
        self.list().into_iter().filter_map(reason).collect()
    }

    /// Returns the reason for which a route is suspended, if it is.
    fn suspension(&self, route: &RouteId) -> Option<Arc<str>> {
        match self.status(route)?.state {
            RouteState::Suspended { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Stops a customer's mail until it is resumed, or its bulk mail only. Attempts in progress finish.
    fn pause(&self, customer: &CustomerId, reason: &str, spares_single: bool) -> Switched;

    /// Lets a paused customer's mail continue at once. False if it was not paused.
    fn resume_customer(&self, customer: &CustomerId) -> Switched;
}

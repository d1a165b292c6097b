//! What operators see of routes and may do to them. The queue implements it; the control socket and the web pages use it.

use super::RouteId;
use crate::time::Timestamp;

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
    /// Stopped until a reload changes its credentials or an operator resumes it.
    Suspended {
        /// What was heard, or what the operator said.
        reason: String,
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
            RouteState::Throttled { reason, .. } | RouteState::Suspended { reason } => Some(reason),
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
    /// Attempts being made at this moment.
    pub in_flight: u32,
    /// Recipients sent to since midnight UTC, and the cap.
    pub sent_today: u32,
    /// The cap a day, where there is one.
    pub per_day: Option<u32>,
}

/// The operator's hand on the routes.
pub trait RouteControl: Send + Sync + 'static {
    /// Stops a route until it is resumed; attempts in flight end by themselves. Gives whether there is such a route.
    fn suspend(&self, route: &RouteId, reason: &str) -> bool;

    /// Lets a suspended or throttled route go on at once. Gives whether there is such a route.
    fn resume(&self, route: &RouteId) -> bool;

    /// Every route in the configuration, by name.
    fn list(&self) -> Vec<RouteStatus>;
}

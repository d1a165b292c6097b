//! A pause: a customer's mail is accepted, and stopped in the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Reaction, VolumeLimits};
use crate::message::{CustomerId, Urgency};
use crate::time::Timestamp;

/// Why a customer is paused. A later cause in this list replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseCause {
    /// Its messages of this hour or day are used up.
    Cap,
    /// More mail came than usual, as [`VolumeLimits::on_leap`](super::VolumeLimits::on_leap) measures it.
    Leap,
    /// Too many hard bounces.
    Bounces,
    /// Too many recipients complained.
    Complaints,
    /// An operator said so.
    Operator,
}

impl PauseCause {
    /// The name in lists and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            PauseCause::Cap => "cap",
            PauseCause::Leap => "leap",
            PauseCause::Bounces => "bounces",
            PauseCause::Complaints => "complaints",
            PauseCause::Operator => "operator",
        }
    }

    /// What the customer's file wants done where this is the trouble.
    pub fn reaction(self, limits: &VolumeLimits) -> Reaction {
        match self {
            PauseCause::Leap => limits.on_leap,
            PauseCause::Bounces => limits.on_bounces,
            PauseCause::Complaints => limits.on_complaints,
            PauseCause::Cap | PauseCause::Operator => Reaction::Pause,
        }
    }
}

/// The pause of one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What set it off.
    pub cause: PauseCause,
    /// What was seen, or what the operator said.
    pub reason: String,
    /// When it began, in milliseconds since 1970.
    since: u64,
    /// When it ends by itself.
    until: Option<u64>,
    /// True if single mail goes on.
    pub spares_single: bool,
}

/// The pauses by customer, also of customers that are not configured now.
pub type Pauses = BTreeMap<CustomerId, Pause>;

impl Pause {
    /// A pause that begins at `since`.
    pub fn new(cause: PauseCause, reason: impl Into<String>, since: Timestamp) -> Self {
        Pause { cause, reason: reason.into(), since: since.as_millis(), until: None, spares_single: false }
    }

    /// The same until a time.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Pause { until: Some(until.as_millis()), ..self }
    }

    /// The same for bulk mail only, or for all.
    #[must_use]
    pub fn sparing_single(self, spares_single: bool) -> Self {
        Pause { spares_single, ..self }
    }

    /// Returns the time at which mail stopped.
    pub fn since(&self) -> Timestamp {
        Timestamp::from_millis(self.since)
    }

    /// When it ends by itself.
    pub fn ends(&self) -> Option<Timestamp> {
        self.until.map(Timestamp::from_millis)
    }

    /// Returns true if mail of this urgency waits.
    pub fn stops(&self, urgency: Urgency) -> bool {
        !(self.spares_single && urgency == Urgency::Single)
    }
}

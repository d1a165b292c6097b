//! A pause: the customer's mail is still accepted, but stops in the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Reaction, VolumeLimits};
use crate::message::{CustomerId, Urgency};
use crate::time::Timestamp;

/// A cap is used up until the end of a day at most.
pub const LONGEST_CAP: Duration = Duration::from_secs(86_400);

/// Why a customer is paused. A later cause in this list replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseCause {
    /// The customer's cap for this hour or day is used up.
    Cap,
    /// Much more mail came than usual, as [`VolumeLimits::on_leap`](super::VolumeLimits::on_leap) defines it.
    Leap,
    /// Too many recipients bounced for good.
    Bounces,
    /// Too many recipients complained.
    Complaints,
    /// An operator paused the customer.
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

    /// Returns the reaction that the customer's file configures for this cause.
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
    /// The cause of the pause.
    pub cause: PauseCause,
    /// The numbers that caused it, or the operator's reason.
    pub reason: String,
    /// When it began, in milliseconds since 1970.
    since: u64,
    /// When it ends without an operator.
    until: Option<u64>,
    /// True if single mail is not paused.
    pub spares_single: bool,
}

/// The pauses by customer, including customers that are not configured now.
pub type Pauses = BTreeMap<CustomerId, Pause>;

impl Pause {
    /// Makes a pause that begins at `since` and has no end.
    pub fn new(cause: PauseCause, reason: impl Into<String>, since: Timestamp) -> Self {
        Pause { cause, reason: reason.into(), since: since.as_millis(), until: None, spares_single: false }
    }

    /// Returns the same pause with an end.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Pause { until: Some(until.as_millis()), ..self }
    }

    /// Returns the same pause, for bulk mail only if `spares_single` is true.
    #[must_use]
    pub fn sparing_single(self, spares_single: bool) -> Self {
        Pause { spares_single, ..self }
    }

    /// Returns the time at which mail stopped.
    pub fn since(&self) -> Timestamp {
        Timestamp::from_millis(self.since)
    }

    /// Returns when the pause ends without an operator.
    pub fn ends(&self) -> Option<Timestamp> {
        self.until.map(Timestamp::from_millis)
    }

    /// Returns true if a pause that ends by itself is over. One that began under a clock that was ahead is over, too: whether the cap is
    /// used up shows at the next message.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let was_ahead = |end: Timestamp| self.since() > now + Duration::from_secs(60) || end > now + LONGEST_CAP;
        self.ends().is_some_and(|end| end <= now || was_ahead(end))
    }

    /// Returns true if mail of this urgency waits.
    pub fn stops(&self, urgency: Urgency) -> bool {
        !(self.spares_single && urgency == Urgency::Single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_it_should_and_not_when_a_wrong_clock_said() {
        let now = Timestamp::from_millis(1_795_458_240_000);
        let (hour, year) = (Duration::from_secs(3600), Duration::from_secs(365 * 86_400));
        let pause = |since, until: Timestamp| Pause::new(PauseCause::Cap, "used up", since).until(until);
        for (since, until, is_over) in [
            (now - hour, now, true),
            (now - hour, now + hour, false),
            (now - hour, now + hour * 23, false),
            (now + year, now + year + hour, true),
            (now + hour, now + hour * 2, true),
        ] {
            assert_eq!(pause(since, until).is_over(now), is_over, "{since} {until}");
        }
        assert!(!Pause::new(PauseCause::Operator, "looks odd", now + year).is_over(now), "a person ends it");
    }
}

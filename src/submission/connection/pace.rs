//! When a message is too slow.

use std::time::Duration;

use tokio::time::Instant;

use crate::submission::Limits;

/// How a message has come so far.
pub(crate) struct Pace {
    begun: Instant,
    deadline: Instant,
    pub(crate) octets: u64,
}

impl Pace {
    /// A message whose transaction began at `started` and whose content begins now.
    pub(crate) fn new(started: Instant, limits: &Limits) -> Self {
        Pace { begun: Instant::now(), deadline: started + limits.transaction_timeout, octets: 0 }
    }

    /// It was we who let it wait.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        self.begun += waited;
    }

    /// When the whole message must be there.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long to wait for more: no longer than DATA may stand still, than the message may take, and than what has come so far
    /// has earned at the minimum rate.
    pub(crate) fn until(&self, now: Instant, limits: &Limits) -> Instant {
        (now + limits.data_timeout).min(self.deadline).min(self.earned_until(limits.minimum_rate, limits))
    }

    /// What the octets so far have earned at a rate a second.
    pub(crate) fn earned_until(&self, rate: u64, limits: &Limits) -> Instant {
        self.begun + limits.minimum_rate_grace + Duration::from_secs(self.octets / rate.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_message_earns_time_by_its_octets() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let limits = Limits {
            data_timeout: 180 * second,
            minimum_rate: 1000,
            minimum_rate_grace: 30 * second,
            ..Limits::default()
        };
        let mut pace = Pace { begun, deadline: begun + 600 * second, octets: 0 };
        let until = |pace: &Pace, at: u32| pace.until(begun + at * second, &limits) - begun;
        assert_eq!(until(&pace, 0), 30 * second);
        pace.octets = 20_000;
        assert_eq!(until(&pace, 0), 50 * second);
        pace.octets = 10_000_000;
        assert_eq!(until(&pace, 0), 180 * second);
        assert_eq!(until(&pace, 500), 600 * second);
    }
}

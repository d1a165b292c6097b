//! The retry schedule: when a message is tried again, and when it is given up.

use std::time::Duration;

use crate::spool::Backoff;
use crate::time::Timestamp;

/// The retry schedule of the `[retry]` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// Messages older than this are given up. RFC 5321 §4.5.4.1 asks for at least 4–5 days.
    pub give_up: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule { backoff: Backoff::default(), give_up: Duration::from_secs(5 * 86_400) }
    }
}

/// The shortest result of [`Schedule::latest`]. A message whose attempt panicked is due after a few minutes, whatever the schedule.
const LEAST_LATEST: Duration = Duration::from_secs(600);

impl Schedule {
    /// Returns the latest due time that this schedule can set at `now`. A later due time was set while the clock was ahead.
    pub fn latest(&self, now: Timestamp) -> Timestamp {
        now + self.backoff.longest_with_jitter().max(LEAST_LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attempt_is_set_later_than_the_latest() {
        let now = Timestamp::from_millis(1_000_000);
        for longest in [Duration::ZERO, Duration::from_secs(7200), Duration::MAX] {
            let backoff = Backoff { longest, ..Backoff::default() };
            let schedule = Schedule { backoff, ..Schedule::default() };
            assert!(schedule.backoff.next_attempt(u32::MAX, now, 1.0) <= schedule.latest(now));
            assert!(now + LEAST_LATEST <= schedule.latest(now));
        }
    }
}

//! When to try again: an exponential schedule with jitter, capped, ended by a maximum age.

use std::time::Duration;

use crate::time::Timestamp;

/// The retry schedule of the `[retry]` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Pause after the first failed attempt.
    pub first: Duration,
    /// Each further pause is this many times the one before; at least 1.
    pub factor: f64,
    /// No pause is longer.
    pub longest: Duration,
    /// A message older than this is given up. RFC 5321 §4.5.4.1 asks for at least 4–5 days.
    pub give_up: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            first: Duration::from_secs(60),
            factor: 2.0,
            longest: Duration::from_secs(2 * 3600),
            give_up: Duration::from_secs(5 * 86_400),
        }
    }
}

/// What comes back by itself after a panic is due a few minutes later, whatever the schedule.
const LEAST_LATEST: Duration = Duration::from_secs(600);

fn scaled(pause: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(pause.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

impl Schedule {
    /// When the attempt after number `attempts` (1 for the first) is due. `jitter` in 0..1 spreads it over the last fifth of
    /// the pause before and after, so that a burst that failed together does not come back together.
    pub fn next_attempt(&self, attempts: u32, now: Timestamp, jitter: f64) -> Timestamp {
        now + scaled(self.pause(attempts), 0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }

    /// No attempt that this schedule sets at `now` is due later: what is, was set by a clock that has been set back since.
    pub fn latest(&self, now: Timestamp) -> Timestamp {
        now + scaled(self.longest, 1.2).max(LEAST_LATEST)
    }

    /// The pause after attempt number `attempts`, without jitter.
    pub fn pause(&self, attempts: u32) -> Duration {
        let growth = self.factor.max(1.0).powi(i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX));
        let seconds = self.first.as_secs_f64() * growth;
        if seconds.is_finite() && seconds < self.longest.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.longest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let schedule = Schedule::default();
        let minutes: Vec<_> = [1, 2, 3, 7, 8, 9, u32::MAX].map(|n| schedule.pause(n).as_secs() / 60).into();
        assert_eq!(minutes, [1, 2, 4, 64, 120, 120, 120]);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let schedule = Schedule::default();
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(schedule.next_attempt(1, now, 0.0), now + Duration::from_secs(48));
        assert_eq!(schedule.next_attempt(1, now, 0.5), now + Duration::from_secs(60));
        assert_eq!(schedule.next_attempt(1, now, 1.0), now + Duration::from_secs(72));
    }

    #[test]
    fn absurd_schedules_do_not_overflow() {
        let never =
            Schedule { first: Duration::MAX, longest: Duration::MAX, factor: f64::INFINITY, ..Schedule::default() };
        for attempts in [0, 1, 2, u32::MAX] {
            assert_eq!(never.next_attempt(attempts, Timestamp::from_millis(1), 1.0), Timestamp::NEVER);
        }
        assert_eq!(never.latest(Timestamp::from_millis(1)), Timestamp::NEVER);
    }

    #[test]
    fn a_factor_under_one_never_shortens() {
        let schedule = Schedule { factor: 0.1, ..Schedule::default() };
        assert_eq!(schedule.pause(10), schedule.first);
    }
}

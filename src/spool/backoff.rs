//! The pauses between the attempts for one message: exponential growth with jitter, up to a longest pause.

use std::time::Duration;

use crate::time::Timestamp;

/// Computes when a message is tried again. It is plain data, so that any backend can apply it where its records are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The pause after the first failed attempt.
    pub first: Duration,
    /// Each further pause is this many times as long as the one before. A factor below 1 counts as 1.
    pub factor: f64,
    /// The longest pause, before jitter.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_secs(60), factor: 2.0, longest: Duration::from_secs(2 * 3600) }
    }
}

impl Backoff {
    /// Returns the due time of the attempt after attempt number `attempts` (1 for the first). `jitter` between 0 and 1 shortens or
    /// lengthens the pause by up to a fifth, so that messages that failed together are not tried again together.
    pub fn next_attempt(&self, attempts: u32, now: Timestamp, jitter: f64) -> Timestamp {
        now + scaled(self.pause(attempts), 0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }

    /// Returns the pause after attempt number `attempts`, without jitter.
    pub fn pause(&self, attempts: u32) -> Duration {
        let growth = self.factor.max(1.0).powi(i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX));
        let seconds = self.first.as_secs_f64() * growth;
        if seconds.is_finite() && seconds < self.longest.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.longest
        }
    }

    /// Returns the longest pause that [`next_attempt`](Self::next_attempt) can use, jitter included.
    pub fn longest_with_jitter(&self) -> Duration {
        scaled(self.longest, 1.2)
    }
}

fn scaled(pause: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(pause.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let minutes: Vec<_> = [1, 2, 3, 7, 8, 9, u32::MAX].map(|n| backoff.pause(n).as_secs() / 60).into();
        assert_eq!(minutes, [1, 2, 4, 64, 120, 120, 120]);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let backoff = Backoff::default();
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(backoff.next_attempt(1, now, 0.0), now + Duration::from_secs(48));
        assert_eq!(backoff.next_attempt(1, now, 0.5), now + Duration::from_secs(60));
        assert_eq!(backoff.next_attempt(1, now, 1.0), now + Duration::from_secs(72));
    }

    #[test]
    fn absurd_pauses_do_not_overflow() {
        let never = Backoff { first: Duration::MAX, longest: Duration::MAX, factor: f64::INFINITY };
        for attempts in [0, 1, 2, u32::MAX] {
            assert_eq!(never.next_attempt(attempts, Timestamp::from_millis(1), 1.0), Timestamp::NEVER);
        }
        assert_eq!(Timestamp::from_millis(1) + never.longest_with_jitter(), Timestamp::NEVER);
    }

    #[test]
    fn a_factor_under_one_never_shortens() {
        let backoff = Backoff { factor: 0.1, ..Backoff::default() };
        assert_eq!(backoff.pause(10), backoff.first);
    }
}

//! The clock-jump guard: protects decisions from a system clock that is wrong, or that is set while the relay runs.
//!
//! - **The clock jumps.** [`ClockJumpGuard`] compares the clock with the time that has really passed. After a jump ahead, the relay
//!   distrusts ages that it computes from the clock for an hour, so that the operator has time to correct the clock. After a jump back,
//!   everything that keeps times in memory shifts them back by the same amount.
//! - **A stored time was set while the clock was ahead.** The relay would wait for it until that time comes again. A time that no right
//!   clock can have set counts as now: see [`Timestamp::believed`].

use std::time::Duration;

use super::Timestamp;

/// Smaller jumps ahead are ignored: a busy machine runs late, and NTP slews the clock.
const AHEAD: Duration = Duration::from_secs(600);
/// Smaller jumps back are ignored.
const BACK: Duration = Duration::from_secs(5);
/// How long a jump ahead is distrusted.
const DISTRUST: Duration = Duration::from_secs(3600);

/// Compares the system clock with the time that has passed since the last look.
#[derive(Debug)]
pub struct ClockJumpGuard {
    clock: Timestamp,
    passed: Duration,
    distrusted_until: Duration,
}

/// What the clock did since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// The clock gained this much more than the time that passed.
    Ahead(Duration),
    /// The clock lost this much.
    Back(Duration),
}

impl ClockJumpGuard {
    /// Starts with the clock at `clock`.
    pub fn new(clock: Timestamp) -> Self {
        ClockJumpGuard { clock, passed: Duration::ZERO, distrusted_until: Duration::ZERO }
    }

    /// Compares again. `passed` is the time since [`new`](Self::new), by a clock that nobody can set.
    pub fn look(&mut self, clock: Timestamp, passed: Duration) -> Option<Jump> {
        let expected = self.clock + passed.saturating_sub(self.passed);
        (self.clock, self.passed) = (clock, passed);
        let (gained, lost) = (clock.since(expected), expected.since(clock));
        if gained >= AHEAD {
            self.distrusted_until = passed + DISTRUST;
            return Some(Jump::Ahead(gained));
        }
        (lost >= BACK).then_some(Jump::Back(lost))
    }

    /// Returns true if ages by the clock can be believed now.
    pub fn is_trusted(&self) -> bool {
        self.passed >= self.distrusted_until
    }
}

impl Timestamp {
    /// Returns this stored time, or `now` if it is later than `latest`, the latest time that a right clock can have set.
    #[must_use]
    pub fn believed(self, latest: Timestamp, now: Timestamp) -> Timestamp {
        if self > latest { now } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn a_jump_ahead_is_noticed_and_distrusted_for_an_hour() {
        let mut guard = ClockJumpGuard::new(START);
        let days = 10 * 24 * 60 * MINUTE;
        assert_eq!(guard.look(START + MINUTE, MINUTE), None);
        assert!(guard.is_trusted());
        assert_eq!(guard.look(START + 2 * MINUTE + days, 2 * MINUTE), Some(Jump::Ahead(days)));
        assert!(!guard.is_trusted());
        assert_eq!(guard.look(START + 3 * MINUTE, 3 * MINUTE), Some(Jump::Back(days)), "set right again");
        assert!(!guard.is_trusted());
        assert_eq!(guard.look(START + 62 * MINUTE, 62 * MINUTE), None);
        assert!(guard.is_trusted());
    }

    #[test]
    fn a_busy_machine_and_a_clock_that_is_slewed_are_no_jump() {
        let mut guard = ClockJumpGuard::new(START);
        assert_eq!(guard.look(START + 90 * MINUTE, 90 * MINUTE), None, "a look that came late");
        assert_eq!(guard.look(START + 92 * MINUTE, 91 * MINUTE), None);
        let second = Duration::from_secs(1);
        assert_eq!(guard.look(START + 92 * MINUTE - 4 * second, 91 * MINUTE), None, "slewed back");
    }

    #[test]
    fn a_jump_back_is_told_by_how_much_and_leaves_the_clock_trusted() {
        let mut guard = ClockJumpGuard::new(START);
        assert_eq!(guard.look(START - 80 * MINUTE, 10 * MINUTE), Some(Jump::Back(90 * MINUTE)));
        assert!(guard.is_trusted());
        assert_eq!(guard.look(START - 79 * MINUTE, 11 * MINUTE), None, "it goes on from there");
    }

    #[test]
    fn a_stored_time_that_no_right_clock_can_have_set_counts_as_now() {
        let now = START;
        for (stored, latest, believed) in [
            (START - MINUTE, now, START - MINUTE),
            (START, now, START),
            (START + MINUTE, now, now),
            (START + MINUTE, now + MINUTE, START + MINUTE),
            (Timestamp::NEVER, now + MINUTE, now),
        ] {
            assert_eq!(stored.believed(latest, now), believed, "{stored} {latest}");
        }
    }
}

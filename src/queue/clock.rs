//! Notices a clock that ran ahead of the time that passed: set by hand, by NTP, or because the machine slept. Pure.

use std::time::Duration;

use crate::time::Timestamp;

/// What a clock may gain between two looks without being noticed.
const JUMP: Duration = Duration::from_secs(600);
/// How long a jump is distrusted: whoever set the clock wrong has time to set it right.
const DISTRUST: Duration = Duration::from_secs(3600);

/// The clock and the time that passed, at the last look.
#[derive(Debug)]
pub(super) struct ClockJumpGuard {
    clock: Timestamp,
    passed: Duration,
    distrusted_until: Duration,
}

impl ClockJumpGuard {
    /// Begins to look: the clock says `clock`.
    pub fn new(clock: Timestamp) -> Self {
        ClockJumpGuard { clock, passed: Duration::ZERO, distrusted_until: Duration::ZERO }
    }

    /// Looks, `passed` after [`new`](Self::new) by a clock that nobody sets. Gives by how much the other one jumped ahead
    /// since the last look, where it did.
    pub fn look(&mut self, clock: Timestamp, passed: Duration) -> Option<Duration> {
        let gained = clock.since(self.clock).saturating_sub(passed.saturating_sub(self.passed));
        (self.clock, self.passed) = (clock, passed);
        let jumped = gained >= JUMP;
        if jumped {
            self.distrusted_until = passed + DISTRUST;
        }
        jumped.then_some(gained)
    }

    /// Whether ages by the clock are to be believed now.
    pub fn is_trusted(&self) -> bool {
        self.passed >= self.distrusted_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_jump_is_noticed_and_distrusted_for_an_hour() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        let mut guard = ClockJumpGuard::new(start);
        let days = 10 * 24 * 60 * MINUTE;
        assert_eq!(guard.look(start + MINUTE, MINUTE), None);
        assert!(guard.is_trusted());
        assert_eq!(guard.look(start + 2 * MINUTE + days, 2 * MINUTE), Some(days));
        assert!(!guard.is_trusted());
        assert_eq!(guard.look(start + 3 * MINUTE, 3 * MINUTE), None, "set right again");
        assert!(!guard.is_trusted());
        assert_eq!(guard.look(start + 62 * MINUTE, 62 * MINUTE), None);
        assert!(guard.is_trusted());
    }

    #[test]
    fn a_busy_machine_and_a_clock_that_is_slewed_are_no_jump() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        let mut guard = ClockJumpGuard::new(start);
        assert_eq!(guard.look(start + 90 * MINUTE, 90 * MINUTE), None, "a look that came late");
        assert_eq!(guard.look(start + 92 * MINUTE, 91 * MINUTE), None);
        assert_eq!(guard.look(start + 10 * MINUTE, 92 * MINUTE), None, "set back");
        assert!(guard.is_trusted());
    }
}

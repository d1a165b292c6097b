//! Reports wrong logins to the audit, singly while they are few. An attacker who tries many names and passwords must not fill the event
//! log, so beyond a limit they are only counted, and the count is reported with the first one after the hour.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Timestamp;

/// The number of wrong logins per hour that are reported singly.
const TOLD: u64 = 60;
const WINDOW: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    since: Option<Timestamp>,
    count: u64,
}

/// What is reported about a wrong login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ToTell {
    /// True if this one is reported.
    pub itself: bool,
    /// The number of earlier ones that were not reported.
    pub left_out: u64,
}

impl Failures {
    pub fn count(&self, now: Timestamp) -> ToTell {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if counted.since.is_none_or(|since| now.since(since) >= WINDOW || now < since) {
            left_out = counted.count.saturating_sub(TOLD);
            *counted = Counted { since: Some(now), count: 0 };
        }
        counted.count += 1;
        ToTell { itself: counted.count <= TOLD, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_wrong_logins_is_told_in_a_bounded_number_of_events() {
        let failures = Failures::default();
        let at = |second: u64| Timestamp::from_millis(1_800_000_000_000 + 1000 * second);
        let told: Vec<ToTell> = (0..1000).map(|second| failures.count(at(second))).collect();
        assert_eq!(told.iter().filter(|told| told.itself).count() as u64, TOLD);
        assert_eq!(failures.count(at(3600)), ToTell { itself: true, left_out: 1000 - TOLD });
        assert_eq!(failures.count(at(3601)), ToTell { itself: true, left_out: 0 });
    }
}

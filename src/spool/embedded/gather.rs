//! Decides how long the next batch gathers before it is written.
//!
//! A sync costs some 100 µs of CPU and several sleeps, regardless of the number of messages. A message that comes alone is synced at once.
//! If a batch had several messages, the next one gathers for [`MOMENT`]. If even the newest message had waited for long (mostly for its
//! signature), the next batch gathers for a fraction of that wait ([`SHARE`]), if that is longer. A client hardly notices this, and the saved
//! CPU shortens everybody's wait.

use std::time::Duration;

use crate::message::QueueId;
use crate::time::Timestamp;

/// The pause while no message has waited long. A whole millisecond would save little more, and at half of the highest rate a client would
/// wait half as long again for its 250.
const MOMENT: Duration = Duration::from_micros(500);
/// The pause is this fraction of the newest message's wait.
const SHARE: u32 = 8;
/// The longest pause, so that the first message after a burst does not wait long.
const LONGEST: Duration = Duration::from_millis(5);

/// The new messages that one round of writing made durable.
#[derive(Clone, Copy, Default)]
pub(super) struct Served {
    count: u64,
    newest: Option<QueueId>,
}

impl Served {
    pub fn add(&mut self, id: QueueId) {
        self.count += 1;
        self.newest = self.newest.max(Some(id));
    }

    pub fn count(self) -> u64 {
        self.count
    }

    /// Returns how long the next batch gathers.
    pub fn pause(self, now: Timestamp) -> Duration {
        let wait = self.newest.map_or(Duration::ZERO, |newest| now.since(newest.arrived()));
        let share = (wait / SHARE).min(LONGEST);
        match self.count {
            0 => Duration::ZERO,
            1 if share <= MOMENT => Duration::ZERO,
            _ => share.max(MOMENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pause after messages that have waited for these milliseconds.
    fn after(waits: &[u64]) -> Duration {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut served = Served::default();
        for &wait in waits {
            served.add(QueueId::first_at(now - Duration::from_millis(wait)));
        }
        served.pause(now)
    }

    #[test]
    fn nobody_and_whoever_is_alone_and_quick_make_nobody_wait() {
        assert_eq!(after(&[]), Duration::ZERO);
        assert_eq!(after(&[2]), Duration::ZERO);
    }

    #[test]
    fn several_that_were_quick_give_the_next_a_moment() {
        assert_eq!(after(&[1, 2]), MOMENT);
    }

    #[test]
    fn the_one_that_waited_least_decides() {
        assert_eq!(after(&[16]), Duration::from_millis(2));
        assert_eq!(after(&[24, 900, 16]), Duration::from_millis(2));
        assert_eq!(after(&[900, 1]), MOMENT);
    }

    #[test]
    fn the_longest_wait_and_a_clock_set_back_have_their_bounds() {
        assert_eq!(after(&[90_000, 80_000]), LONGEST);
        let ahead = QueueId::first_at(Timestamp::from_millis(2000));
        let mut served = Served::default();
        served.add(ahead);
        served.add(ahead);
        assert_eq!(served.pause(Timestamp::EPOCH), MOMENT);
    }
}

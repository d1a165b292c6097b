//! The time of a message's next attempt, and the compact form in which it is stored in memory and on disk.

use std::time::Duration;

use crate::spool::Expedited;
use crate::time::Timestamp;

/// When a message is tried next, and whether it was made due ahead of its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextTry {
    pub due: Timestamp,
    pub expedited: Option<Expedited>,
}

impl NextTry {
    /// A time that the schedule sets.
    pub fn at(due: Timestamp) -> NextTry {
        NextTry { due, expedited: None }
    }
}

/// [`Expedited`] as one number: 0 for none, 1 for [`Expedited::Requested`], and the seconds of [`Expedited::Released`] plus 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed(pub u32);

/// The number for a record that was released after zero seconds.
const RELEASED: u32 = 2;

impl Packed {
    pub fn new(expedited: Option<Expedited>) -> Packed {
        Packed(match expedited {
            None => 0,
            Some(Expedited::Requested) => 1,
            Some(Expedited::Released { kept_back }) => {
                // Round up, because a message must not grow older by the time on hold.
                let seconds = kept_back.as_secs().saturating_add(u64::from(kept_back.subsec_nanos() > 0));
                u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(RELEASED)
            }
        })
    }

    pub fn unpack(self) -> Option<Expedited> {
        match self.0 {
            0 => None,
            1 => Some(Expedited::Requested),
            released => Some(Expedited::Released { kept_back: Duration::from_secs(u64::from(released - RELEASED)) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_but_for_parts_of_a_second() {
        let released = |kept_back| Some(Expedited::Released { kept_back });
        let round_trip = |expedited| Packed::new(expedited).unpack();
        for expedited in [None, Some(Expedited::Requested), released(Duration::ZERO), released(Duration::from_secs(7))]
        {
            assert_eq!(round_trip(expedited), expedited);
        }
        assert_eq!(round_trip(released(Duration::from_millis(1))), released(Duration::from_secs(1)));
        let longest = Duration::from_secs(u64::from(u32::MAX - RELEASED));
        assert_eq!(round_trip(released(Duration::MAX)), released(longest));
    }
}

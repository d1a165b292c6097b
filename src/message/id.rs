//! Queue ids, which name a message in `250 … queued as`, the log, the events and the operator's commands.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Timestamp;

/// The id of a message. Ids sort by arrival, contain the time of arrival, and differ between nodes that make them at
/// the same time.
///
/// The 64 bits are, from the highest: 42 bits for the milliseconds since 1970 (until the year 2109), 6 for a counter
/// within the millisecond, and 16 for the number of the node that made the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u64);

const NODE_BITS: u32 = 16;
const COUNTER_BITS: u32 = 6;

// Crockford's base 32 has no I, L, O and U, so that an id can be read over the telephone.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_LEN: usize = 13;

impl QueueId {
    /// The lowest id of a message that arrived at this time.
    pub const fn first_at(arrived: Timestamp) -> Self {
        QueueId(arrived.as_millis() << (COUNTER_BITS + NODE_BITS))
    }

    /// Makes an id from its stored form.
    pub const fn from_u64(raw: u64) -> Self {
        QueueId(raw)
    }

    /// The id's stored form.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// When the message arrived.
    pub fn arrived(self) -> Timestamp {
        Timestamp::EPOCH + Duration::from_millis(self.0 >> (COUNTER_BITS + NODE_BITS))
    }
}

/// Makes the queue ids of one node. The ids of two nodes never collide as long as the nodes have different numbers.
#[derive(Debug)]
pub struct QueueIds {
    node: u16,
    /// The time and counter of the greatest id so far.
    last: AtomicU64,
}

/// If the clock was set back by less than this, new ids run a little ahead of it. The unit is that of
/// [`QueueIds::last`].
const FAR_AHEAD: u64 = (3600 * 1000) << COUNTER_BITS;

impl QueueIds {
    /// Makes ids for the node with this number. If several nodes share one spool, each of them needs another number.
    pub const fn new(node: u16) -> Self {
        QueueIds { node, last: AtomicU64::new(0) }
    }

    /// Makes a new id. It is greater than every id that was made or [observed](Self::observe) here before, unless these
    /// are more than an hour ahead of the clock. In that case ids follow the clock, because mail that seems to come
    /// from the future would not grow old until then. Such an id may have been made before, so a spool refuses an id
    /// that it holds.
    pub fn next(&self) -> QueueId {
        let now = Timestamp::now().as_millis() << COUNTER_BITS;
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last, now)));
        QueueId(after(last.unwrap_or_default(), now) << NODE_BITS | u64::from(self.node))
    }

    /// Makes later ids greater than this one. A spool calls it with the greatest id that it holds, so that a clock that
    /// was set back a little cannot make an id twice.
    pub fn observe(&self, id: QueueId) {
        self.last.fetch_max(id.0 >> NODE_BITS, Ordering::Relaxed);
    }
}

/// Returns what follows `last` at the time `now`. A counter that overflows runs on into the next millisecond.
fn after(last: u64, now: u64) -> u64 {
    if last > now + FAR_AHEAD { now } else { now.max(last + 1) }
}

/// The id as thirteen characters of Crockford's base 32.
impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TEXT_LEN];
        for (i, digit) in text.iter_mut().enumerate() {
            let shift = 5 * (TEXT_LEN - 1 - i);
            *digit = DIGITS[(self.0 >> shift) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).expect("DIGITS is ASCII"))
    }
}

impl serde::Serialize for QueueId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for QueueId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is no queue id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a queue id (13 letters and digits, as in \"queued as 6H0K9MEFC7721\")")]
pub struct NotAQueueId(String);

impl FromStr for QueueId {
    type Err = NotAQueueId;
    fn from_str(text: &str) -> Result<Self, NotAQueueId> {
        let refused = || NotAQueueId(text.to_owned());
        if text.len() != TEXT_LEN {
            return Err(refused());
        }
        text.bytes()
            .try_fold(0u64, |id, b| {
                let digit = DIGITS.iter().position(|d| *d == b.to_ascii_uppercase())? as u64;
                // Thirteen digits have one bit more than an id.
                Some(id.checked_mul(32)? | digit)
            })
            .map(QueueId)
            .ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_a_clock_that_was_far_ahead_and_bear_with_one_set_back_a_little() {
        let hour = FAR_AHEAD;
        assert_eq!(after(10, 500), 500);
        assert_eq!(after(500, 500), 501);
        assert_eq!(after(500 + hour, 500), 501 + hour);
        assert_eq!(after(501 + hour, 500), 500);
    }

    #[test]
    fn ids_are_unique_ascending_and_round_trip() {
        let ids = QueueIds::new(7);
        let ids: Vec<_> = (0..10_000).map(|_| ids.next()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        for id in [ids[0], ids[9_999], QueueId(0), QueueId(u64::MAX)] {
            assert_eq!(id.to_string().parse::<QueueId>().unwrap(), id);
            assert_eq!(id.to_string().to_lowercase().parse::<QueueId>().unwrap(), id);
        }
    }

    #[test]
    fn ids_tell_the_time_and_stay_with_the_clock_unless_they_are_made_very_fast() {
        let before = Timestamp::now();
        let id = QueueIds::new(u16::MAX).next();
        assert!((before..=Timestamp::now()).contains(&id.arrived()));
        let then = Timestamp::from_millis(1_795_458_240_123);
        assert_eq!(QueueId::first_at(then).arrived(), then);
        assert!(QueueId::first_at(then) < QueueId::first_at(then + Duration::from_millis(1)));
    }

    #[test]
    fn nodes_that_make_ids_at_the_same_time_make_different_ones() {
        let nodes = [QueueIds::new(1), QueueIds::new(2), QueueIds::new(u16::MAX)];
        let made: std::collections::HashSet<_> = (0..30_000).map(|n: usize| nodes[n % 3].next()).collect();
        assert_eq!(made.len(), 30_000);
    }

    #[test]
    fn later_ids_are_greater_than_one_that_another_node_made() {
        let other = QueueId::first_at(Timestamp::now() + Duration::from_secs(60));
        let ids = QueueIds::new(0);
        ids.observe(other);
        assert!(ids.next() > other);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "6H0K9MEFC772", "6H0K9MEFC77211", "6H0K9MEFC772U", "G000000000000", "ÆØÅ0000000"] {
            assert!(text.parse::<QueueId>().is_err(), "{text}");
        }
        assert!("FZZZZZZZZZZZZ".parse::<QueueId>().is_ok());
    }
}

//! Queue ids: what the client hears in `250 … queued as`, what the log, the events and the operator's commands name.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Timestamp;

/// Microseconds since the Unix epoch at which the id was made, pushed forward where two would be equal: ids are
/// unique within a spool, sort by arrival, and tell when the message came. After a clock that was far ahead they begin again where it
/// stands now, since mail that seems to come from the future would not grow old until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u64);

// Crockford's base 32: no I, L, O, U, so that an id survives being read over the telephone.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_LEN: usize = 11;

/// A clock set back by less is followed by ids that are a little ahead of it.
const FAR_AHEAD: u64 = 3600 * 1_000_000;

static LAST: AtomicU64 = AtomicU64::new(0);

impl QueueId {
    /// A new id, greater than every id made or [observed](Self::observe) by this process before, unless these are more than an
    /// hour ahead of the clock. Such an id may have been given before the clock was set back: the spool refuses one that it holds.
    pub fn next() -> Self {
        let now = Timestamp::now().as_millis() * 1000;
        let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last, now)));
        QueueId(after(last.unwrap_or_default(), now))
    }

    /// Makes later ids greater than this one: the spool calls it with the greatest id it holds, so that a clock
    /// set back a little cannot make an id twice.
    pub fn observe(self) {
        LAST.fetch_max(self.0, Ordering::Relaxed);
    }

    /// The stored form.
    pub const fn from_u64(raw: u64) -> Self {
        QueueId(raw)
    }

    /// The stored form.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// When the message arrived.
    pub fn arrived(self) -> Timestamp {
        Timestamp::EPOCH + Duration::from_micros(self.0)
    }
}

/// The id that follows `last` at `now`, both in microseconds.
fn after(last: u64, now: u64) -> u64 {
    if last > now + FAR_AHEAD { now } else { now.max(last + 1) }
}

/// Eleven characters of Crockford's base 32.
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

/// The text is no queue id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a queue id (11 letters and digits, as in \"queued as 1K3V9ZQ5W4H\")")]
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
                Some((id << 5) | digit)
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
        let ids: Vec<_> = (0..10_000).map(|_| QueueId::next()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        for id in &ids[..10] {
            assert_eq!(id.to_string().parse::<QueueId>().unwrap(), *id);
            assert_eq!(id.to_string().to_lowercase().parse::<QueueId>().unwrap(), *id);
        }
        assert!("".parse::<QueueId>().is_err());
        assert!("ÆØÅ00000".parse::<QueueId>().is_err());
    }
}

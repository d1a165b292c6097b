//! The ids of events, by which a reader recognises an event that it gets twice.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Serialize, Serializer};

use super::EventKind;
use crate::message::QueueId;
use crate::time::Timestamp;

/// The id of an event. If an event is written again, after a crash or for another reader, it has the same id.
///
/// For mail it is `<queue id>-<time>-<recipient><letter>`: the time of the event, the recipient's index in the envelope, and a letter for
/// the kind. It depends only on these facts, so an event that is made again gets the same id. A report of another service has a hash of the
/// recipient and of what distinguishes the report in place of the index. For all other events the id is the time, a random number of this
/// process, and a number that the process uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventId {
    Mail {
        queue_id: QueueId,
        at: Timestamp,
        /// The recipient's index in the envelope.
        index: usize,
        event: EventKind,
    },
    /// An event that another service reported and that can happen twice in the service's unit of time, like a click.
    Reported {
        queue_id: QueueId,
        at: Timestamp,
        event: EventKind,
        /// A hash that distinguishes it from other reports.
        key: u32,
    },
    Other {
        /// The time at which it was made.
        at: Timestamp,
        /// The number of such ids that this process made before.
        number: u64,
        /// A random number of this process.
        process: u32,
    },
}

impl EventId {
    /// Makes the id of another service's report about a recipient. `key` distinguishes this report from others of the same kind and time.
    pub fn reported(queue_id: QueueId, event: EventKind, recipient: &str, at: Timestamp, key: &str) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(recipient.as_bytes());
        hasher.update(&[0]);
        hasher.update(key.as_bytes());
        EventId::Reported { queue_id, at, event, key: hasher.finalize() }
    }

    /// Returns true if a text can be the id of an event that another service reported.
    pub(crate) fn is_reported(text: &str) -> bool {
        const REPORTED: [EventKind; 7] = [
            EventKind::Delayed,
            EventKind::Delivered,
            EventKind::Bounced,
            EventKind::Complained,
            EventKind::Unsubscribed,
            EventKind::Opened,
            EventKind::Clicked,
        ];
        text.ends_with(REPORTED.map(EventKind::letter))
    }

    /// Makes the id of an event that is not about mail from its facts, so that it is the same whenever it is made.
    pub fn of_facts(at: Timestamp, facts: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for fact in facts {
            context.update(&(fact.len() as u64).to_be_bytes());
            context.update(fact.as_bytes());
        }
        let digest = context.finish();
        let part = |from: usize| u32::from_be_bytes(digest.as_ref()[from..from + 4].try_into().expect("four octets"));
        EventId::Other { at, number: part(0).into(), process: part(4) }
    }

    /// Makes a new id for an event that is not about mail.
    pub fn new(at: Timestamp) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static PROCESS: LazyLock<u32> = LazyLock::new(rand::random);
        EventId::Other { at, number: NEXT.fetch_add(1, Ordering::Relaxed), process: *PROCESS }
    }
}

impl EventId {
    /// Reads the recipient's index from the text of a mail event's id.
    pub(super) fn index_in(text: &str) -> Option<usize> {
        let last = text.rsplit('-').next()?;
        let digits = last.trim_end_matches(|c: char| c.is_ascii_lowercase());
        digits.parse().ok()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventId::Mail { queue_id, at, index, event } => {
                write!(f, "{queue_id}-{}-{index}{}", Digits(at.as_millis()), event.letter())
            }
            EventId::Reported { queue_id, at, event, key } => {
                write!(f, "{queue_id}-{}-{}{}", Digits(at.as_millis()), Digits((*key).into()), event.letter())
            }
            EventId::Other { at, number, process } => {
                write!(f, "{}-{}-{}", Digits(at.as_millis()), Digits((*process).into()), Digits(*number))
            }
        }
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// Writes a number in Crockford's base 32, as in queue ids.
struct Digits(u64);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut text = [b'0'; 13];
        let (mut left, mut from) = (self.0, text.len() - 1);
        text[from] = DIGITS[(left & 31) as usize];
        while left >= 32 {
            left >>= 5;
            from -= 1;
            text[from] = DIGITS[(left & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text[from..]).expect("DIGITS is ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_of_mail_is_made_of_what_the_event_says() {
        let at = Timestamp::from_millis(1_795_458_240_123);
        let id = |index, event| EventId::Mail { queue_id: QueueId::from_u64(7), at, index, event }.to_string();
        assert_eq!(id(0, EventKind::Relayed), "0000000000007-1M84TD3KV-0r");
        assert_eq!(id(12, EventKind::Relayed), "0000000000007-1M84TD3KV-12r");
        let all: HashSet<_> = EventKind::ALL.iter().map(|kind| id(0, *kind)).collect();
        assert_eq!(all.len(), EventKind::ALL.len(), "each kind has a letter of its own");
    }

    #[test]
    fn other_ids_are_made_once() {
        let at = Timestamp::now();
        let made: HashSet<_> = (0..1000).map(|_| EventId::new(at).to_string()).collect();
        assert_eq!(made.len(), 1000);
    }

    #[test]
    fn every_number_has_its_digits() {
        for (number, digits) in [(0, "0"), (31, "Z"), (32, "10"), (u64::MAX, "FZZZZZZZZZZZZ")] {
            assert_eq!(Digits(number).to_string(), digits);
        }
    }
}

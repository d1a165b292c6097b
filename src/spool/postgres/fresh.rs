//! The messages that were written a moment ago, so that their first attempt need not read them from the database.
//!
//! Most mail is tried at once, and reading it back costs the server much of what writing it did. The memory is bounded. A message that
//! finds no room is read from the database when it is tried. Older messages stay, because they are tried first, but only for a few seconds:
//! one that was not tried by then waits for a cap or for its server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::rows::{Encoded, Row};
use crate::spool::index::Place;

/// The most octets that are kept.
const MOST: usize = 16 << 20;
/// How long a message is kept.
const LONGEST: Duration = Duration::from_secs(5);

/// A shard, and a place in its log.
type Key = (u32, Place);

/// The first rows of recent messages.
#[derive(Default)]
pub(super) struct Fresh(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rows: HashMap<Key, Row>,
    /// The messages in the order in which they came, with their times. Some were taken since.
    order: VecDeque<(Instant, Key)>,
    octets: usize,
}

impl Fresh {
    /// Keeps a message that was written at this place, if there is room. A message of several chunks is not kept.
    pub fn keep(&self, shard: u32, place: Place, message: &Encoded) {
        let (now, key) = (Instant::now(), (shard, place));
        let mut kept = self.kept();
        kept.tidy_up(now);
        if kept.octets + message.disk_len() as usize > MOST {
            return;
        }
        let Some(row) = message.only_row() else { return };
        kept.octets += row.len();
        kept.rows.insert(key, row);
        kept.order.push_back((now, key));
    }

    /// Takes the row of a message out, if it is still kept.
    pub fn take(&self, shard: u32, place: Place) -> Option<Row> {
        self.kept().take(&(shard, place))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while it holds the recent messages")
    }
}

impl Kept {
    fn take(&mut self, key: &Key) -> Option<Row> {
        let row = self.rows.remove(key)?;
        self.octets -= row.len();
        Some(row)
    }

    /// Removes what is too old, and what was taken.
    fn tidy_up(&mut self, now: Instant) {
        while let Some((_, key)) =
            self.order.pop_front_if(|(since, key)| *since + LONGEST < now || !self.rows.contains_key(key))
        {
            self.take(&key);
        }
        // Behind an old message there may be many that were taken.
        if self.order.len() > 2 * self.rows.len() + 64 {
            self.order.retain(|(_, key)| self.rows.contains_key(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, QueueId, References, Urgency};
    use crate::smtp::ReversePath;
    use crate::spool::Draft;
    use crate::time::Timestamp;

    fn message(content: usize) -> Encoded {
        let lane = Lane {
            customer: CustomerId::new("c"),
            domain: crate::test_customers::domain("test.dk"),
            urgency: Urgency::Single,
            kind: MailKind::Mail,
        };
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: Vec::new(),
            body: BodyKind::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            references: References::default(),
        };
        let draft = Draft {
            id: QueueId::from_u64(7),
            lane,
            envelope,
            message_id: String::new(),
            prefix: Vec::new(),
            header_len: 0,
            content: vec![vec![b'a'; content / 2].into(), vec![b'b'; content - content / 2].into()],
            retry_at: Timestamp::now(),
            held: None,
            lines: Vec::new(),
        };
        Encoded::draft(draft).unwrap()
    }

    fn place(at: u32) -> Place {
        Place { segment: 1, at }
    }

    #[test]
    fn a_message_is_taken_once_and_as_it_was_written() {
        let fresh = Fresh::default();
        fresh.keep(3, place(9), &message(1000));
        assert!(fresh.take(4, place(9)).is_none() && fresh.take(3, place(8)).is_none());
        let row = fresh.take(3, place(9)).unwrap();
        let body = row.body.unwrap();
        assert_eq!(body, [vec![b'a'; 500], vec![b'b'; 500]].concat());
        assert!(super::super::rows::is_sound(&body, row.crc));
        assert!(super::super::rows::unseal(&row.head.unwrap()).is_some());
        assert!(fresh.take(3, place(9)).is_none());
    }

    #[test]
    fn a_message_of_several_chunks_is_not_kept() {
        let fresh = Fresh::default();
        fresh.keep(0, place(1), &message(1 << 20));
        assert!(fresh.take(0, place(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_keep_their_room_until_they_are_taken_or_too_old() {
        let fresh = Fresh::default();
        let large = message(64 << 10);
        let room = (MOST / (65 << 10)) as u32;
        (0..2 * room).for_each(|at| fresh.keep(0, place(at), &large));
        assert!(fresh.kept().octets <= MOST);
        assert!(fresh.take(0, place(2 * room - 1)).is_none());
        assert!((0..room).all(|at| fresh.take(0, place(at)).is_some()));
        fresh.keep(0, place(7), &large);
        tokio::time::advance(LONGEST + Duration::from_millis(1)).await;
        fresh.keep(0, place(8), &large);
        assert!(fresh.take(0, place(7)).is_none() && fresh.take(0, place(8)).is_some());
    }

    #[test]
    fn what_was_taken_is_forgotten_although_an_older_message_stays() {
        let fresh = Fresh::default();
        fresh.keep(0, place(0), &message(10));
        for at in 1..10_000 {
            fresh.keep(0, place(at), &message(10));
            assert!(fresh.take(0, place(at)).is_some());
        }
        assert!(fresh.kept().order.len() < 100);
        assert!(fresh.take(0, place(0)).is_some());
        assert_eq!(fresh.kept().octets, 0);
    }
}

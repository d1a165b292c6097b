//! The column `note` of a row, which holds all that the index needs. A start reads no other column of a message.

use std::sync::Arc;

use crate::message::Lane;
use crate::spool::codec::{Damaged, Reader, Status, Writer};
use crate::spool::index::Fact;
use crate::spool::next_try::NextTry;

/// The numbers of the kinds of notes.
mod tag {
    pub const MESSAGE: u8 = 1;
    pub const STATE: u8 = 2;
    pub const DUE: u8 = 3;
    pub const HOLD: u8 = 4;
    pub const RELEASE: u8 = 5;
    pub const DONE: u8 = 6;
}

#[derive(Debug, PartialEq)]
pub(super) enum Note {
    /// A message, or the copy of one.
    Message {
        /// The octets of all its rows.
        disk_len: u32,
        lane: Lane,
        domains: u32,
        status: Status,
    },
    /// An attempt ended. The recipients' states are in the row's column `head`.
    State(Status),
    Due(NextTry),
    Hold(Arc<str>),
    Release(NextTry),
    Done,
}

/// Encodes the note of a message.
pub(super) fn of_message(disk_len: u32, lane: &Lane, domains: u32, status: &Status) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(96));
    out.byte(tag::MESSAGE);
    out.number(disk_len.into());
    out.lane(lane);
    out.number(domains.into());
    out.status(status);
    out.0
}

/// Encodes the note of a fact.
pub(super) fn of_fact(fact: &Fact) -> Vec<u8> {
    let mut out = Writer::default();
    match fact {
        Fact::State(state) => {
            out.byte(tag::STATE);
            out.status(&state.status);
        }
        Fact::Due(next) => {
            out.byte(tag::DUE);
            out.next_try(*next);
        }
        Fact::Hold(reason) => {
            out.byte(tag::HOLD);
            out.text(reason);
        }
        Fact::Release(next) => {
            out.byte(tag::RELEASE);
            out.next_try(*next);
        }
        Fact::Done => out.byte(tag::DONE),
    }
    out.0
}

pub(super) fn read(note: &[u8]) -> Result<Note, Damaged> {
    let mut r = Reader::new(note);
    let read = match r.byte()? {
        tag::MESSAGE => {
            Note::Message { disk_len: r.number32()?, lane: r.lane()?, domains: r.number32()?, status: r.status()? }
        }
        tag::STATE => Note::State(r.status()?),
        tag::DUE => Note::Due(r.next_try()?),
        tag::HOLD => Note::Hold(r.text()?.into()),
        tag::RELEASE => Note::Release(r.next_try()?),
        tag::DONE => Note::Done,
        _ => return Err(Damaged),
    };
    r.end()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::{CustomerId, MailKind, Urgency};
    use crate::smtp::Domain;
    use crate::spool::Expedited;
    use crate::spool::codec::State;
    use crate::time::Timestamp;

    fn status() -> Status {
        let expedited = Some(Expedited::Released { kept_back: Duration::from_secs(4) });
        let next = NextTry { due: Timestamp::from_millis(1_795_458_240_123), expedited };
        Status { attempts: 7, next, delay_notified: true, untried: false, hold: Some("why".into()) }
    }

    #[test]
    fn every_note_round_trips_and_every_shorter_or_longer_one_is_refused() {
        let lane = Lane {
            customer: CustomerId::new("test-as"),
            domain: Domain::parse("test.dk").unwrap(),
            urgency: Urgency::Bulk,
            kind: MailKind::Bounce,
        };
        let state = State { status: status(), waited_for_caps: Duration::ZERO, recipients: Vec::new() };
        let next = status().next;
        let notes = [
            (
                of_message(70_000, &lane, 9, &status()),
                Note::Message { disk_len: 70_000, lane, domains: 9, status: status() },
            ),
            (of_fact(&Fact::State(Arc::new(state))), Note::State(status())),
            (of_fact(&Fact::Due(next)), Note::Due(next)),
            (of_fact(&Fact::Hold("why".into())), Note::Hold("why".into())),
            (of_fact(&Fact::Release(next)), Note::Release(next)),
            (of_fact(&Fact::Done), Note::Done),
        ];
        for (octets, note) in notes {
            assert_eq!(read(&octets).unwrap(), note);
            for len in 0..octets.len() {
                assert_eq!(read(&octets[..len]), Err(Damaged), "{note:?} cut to {len}");
            }
            assert_eq!(read(&[&octets[..], &[0]].concat()), Err(Damaged));
        }
        assert_eq!(read(&[99]), Err(Damaged));
    }
}

//! The footer lists all notes of a segment in order, so that a start reads footers instead of messages.

use std::collections::HashMap;

use super::note::Note;
use crate::message::{Lane, QueueId};
use crate::spool::codec::{Damaged, Reader, Writer};

/// The numbers of the kinds of notes in the footer.
mod tag {
    pub const PUT: u8 = 1;
    pub const STATE: u8 = 2;
    pub const DUE: u8 = 3;
    pub const HOLD: u8 = 4;
    pub const RELEASE: u8 = 5;
    pub const DONE: u8 = 6;
    pub const CLEAN: u8 = 7;
}

/// Collects the notes of a segment while it is written or scanned. Each lane is stored once.
#[derive(Default)]
pub(super) struct Footer {
    lanes: Vec<Lane>,
    numbers: HashMap<Lane, u64>,
    notes: Writer,
}

impl Footer {
    pub fn push(&mut self, note: &Note) {
        match note {
            Note::Put { id, at, disk_len, lane, domains, status } => {
                let lane = self.number(lane);
                let out = self.start(tag::PUT, *id);
                out.number((*at).into());
                out.number((*disk_len).into());
                out.number(lane);
                out.number((*domains).into());
                out.status(status);
            }
            Note::State { id, at, status } => {
                let out = self.start(tag::STATE, *id);
                out.number((*at).into());
                out.status(status);
            }
            Note::Due { id, next } => self.start(tag::DUE, *id).next_try(*next),
            Note::Hold { id, reason } => self.start(tag::HOLD, *id).text(reason),
            Note::Release { id, next } => self.start(tag::RELEASE, *id).next_try(*next),
            Note::Done { id } => {
                self.start(tag::DONE, *id);
            }
            Note::Clean => self.notes.byte(tag::CLEAN),
        }
    }

    fn start(&mut self, tag: u8, id: QueueId) -> &mut Writer {
        self.notes.byte(tag);
        self.notes.number(id.as_u64());
        &mut self.notes
    }

    fn number(&mut self, lane: &Lane) -> u64 {
        if let Some(number) = self.numbers.get(lane) {
            return *number;
        }
        let number = self.lanes.len() as u64;
        self.lanes.push(lane.clone());
        self.numbers.insert(lane.clone(), number);
        number
    }

    /// Returns the payload of the footer frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(self.lanes.len() as u64);
        for lane in &self.lanes {
            out.lane(lane);
        }
        out.0.extend_from_slice(&self.notes.0);
        out.0
    }
}

/// Reads a footer's payload, note by note.
pub(super) fn read(payload: &[u8], mut each: impl FnMut(Note)) -> Result<(), Damaged> {
    let mut r = Reader::new(payload);
    let mut lanes = Vec::new();
    for _ in 0..r.number()? {
        lanes.push(r.lane()?);
    }
    while !r.is_empty() {
        let tag = r.byte()?;
        if tag == tag::CLEAN {
            each(Note::Clean);
            continue;
        }
        let id = r.id()?;
        each(match tag {
            tag::PUT => {
                let (at, disk_len) = (r.number32()?, r.number32()?);
                let lane = usize::try_from(r.number()?).ok().and_then(|i| lanes.get(i)).ok_or(Damaged)?.clone();
                Note::Put { id, at, disk_len, lane, domains: r.number32()?, status: r.status()? }
            }
            tag::STATE => Note::State { id, at: r.number32()?, status: r.status()? },
            tag::DUE => Note::Due { id, next: r.next_try()? },
            tag::HOLD => Note::Hold { id, reason: r.text()?.into() },
            tag::RELEASE => Note::Release { id, next: r.next_try()? },
            tag::DONE => Note::Done { id },
            _ => return Err(Damaged),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{CustomerId, MailKind, Urgency};
    use crate::smtp::Domain;
    use crate::spool::Expedited;
    use crate::spool::codec::Status;
    use crate::spool::next_try::NextTry;
    use crate::time::Timestamp;

    #[test]
    fn notes_come_back_in_order() {
        let domain = Domain::parse("x.dk").unwrap();
        let lane = Lane { customer: CustomerId::new("x"), domain, urgency: Urgency::Bulk, kind: MailKind::Mail };
        let status = Status {
            attempts: 2,
            next: NextTry::at(Timestamp::NEVER),
            delay_notified: false,
            untried: true,
            hold: Some("x".into()),
        };
        let id = QueueId::from_u64(u64::MAX);
        let due = Timestamp::from_millis(1 << 40);
        let hurried = NextTry { due, expedited: Some(Expedited::Requested) };
        let notes = [
            Note::Put { id, at: 64, disk_len: u32::MAX, lane, domains: 1 << 31, status: status.clone() },
            Note::State { id, at: 9, status },
            Note::Due { id, next: NextTry::at(due) },
            Note::Due { id, next: hurried },
            Note::Hold { id, reason: "why".into() },
            Note::Release { id, next: hurried },
            Note::Done { id },
            Note::Clean,
        ];
        let mut footer = Footer::default();
        notes.iter().for_each(|note| footer.push(note));
        let payload = footer.encode();
        let mut found = Vec::new();
        read(&payload, |note| found.push(note)).unwrap();
        assert_eq!(found, notes);
    }
}

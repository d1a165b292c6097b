//! Notes: what of a frame concerns the index; and the footer, which is all notes of a segment in order, so that a start reads
//! footers and no bodies.

use std::collections::HashMap;
use std::sync::Arc;

use super::codec::{Damaged, Reader, Status, Writer};
use super::next_try::NextTry;
use crate::message::{Lane, QueueId};

/// One change of the index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Note {
    /// A message with its frame's offset.
    Put { id: QueueId, at: u32, disk_len: u32, lane: Lane, domains: u32, status: Status },
    /// A state with its frame's offset.
    State { id: QueueId, at: u32, status: Status },
    /// A new time for the next attempt.
    Due { id: QueueId, next: NextTry },
    /// Held.
    Hold { id: QueueId, reason: Arc<str> },
    /// Released.
    Release { id: QueueId, next: NextTry },
    /// Settled or set aside.
    Done { id: QueueId },
    /// The program stopped in good order.
    Clean,
}

/// Why a message is held of which a result was damaged.
pub(super) const DOUBTFUL: &str = "a result cannot be read: some recipients may have it already";

impl Note {
    /// Whether an unreadable result before this note matters no more: here stands all that is known of the message, or that it is
    /// held for that result already.
    pub fn ends_doubt(&self) -> bool {
        match self {
            Note::Put { .. } | Note::State { .. } | Note::Done { .. } => true,
            Note::Hold { reason, .. } => **reason == *DOUBTFUL,
            Note::Due { .. } | Note::Release { .. } | Note::Clean => false,
        }
    }

    /// Whose.
    pub fn id(&self) -> Option<QueueId> {
        match self {
            Note::Put { id, .. }
            | Note::State { id, .. }
            | Note::Due { id, .. }
            | Note::Hold { id, .. }
            | Note::Release { id, .. }
            | Note::Done { id } => Some(*id),
            Note::Clean => None,
        }
    }
}

/// Collects the notes of a segment while it is written or scanned. A lane's name is stored once.
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
                let out = self.start(1, *id);
                out.number((*at).into());
                out.number((*disk_len).into());
                out.number(lane);
                out.number((*domains).into());
                out.status(status);
            }
            Note::State { id, at, status } => {
                let out = self.start(2, *id);
                out.number((*at).into());
                out.status(status);
            }
            Note::Due { id, next } => self.start(3, *id).next_try(*next),
            Note::Hold { id, reason } => self.start(4, *id).text(reason),
            Note::Release { id, next } => self.start(5, *id).next_try(*next),
            Note::Done { id } => {
                self.start(6, *id);
            }
            Note::Clean => self.notes.byte(7),
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

    /// The payload of the footer frame.
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
        if tag == 7 {
            each(Note::Clean);
            continue;
        }
        let id = r.id()?;
        each(match tag {
            1 => {
                let (at, disk_len) = (r.number32()?, r.number32()?);
                let lane = usize::try_from(r.number()?).ok().and_then(|i| lanes.get(i)).ok_or(Damaged)?.clone();
                Note::Put { id, at, disk_len, lane, domains: r.number32()?, status: r.status()? }
            }
            2 => Note::State { id, at: r.number32()?, status: r.status()? },
            3 => Note::Due { id, next: r.next_try()? },
            4 => Note::Hold { id, reason: r.text()?.into() },
            5 => Note::Release { id, next: r.next_try()? },
            6 => Note::Done { id },
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

//! Messages whose results may be in octets that the disk did not return at this start.
//!
//! Such a message looks as if it still waited, although a later frame may say that it was relayed. It must not be sent again as long as the
//! next start may find that frame, so recovery holds it until then. The hold is only in memory: the next start decides anew.

use std::collections::HashSet;
use std::sync::Arc;

use super::note::Note;
use crate::message::QueueId;
use crate::spool::Filter;
use crate::spool::index::{Entry, Index, Place};

/// The reason for holding such a message. It reaches the disk only if the message is copied forward.
pub(super) const HIDDEN: &str =
    "a result may be in what the disk did not return at the start: some recipients may have it already";

/// The messages that are in doubt because of each segment.
#[derive(Default)]
pub(super) struct Hidden(Vec<(u32, HashSet<QueueId>)>);

impl Hidden {
    /// Puts in doubt all messages whose last known frame is before `end`, up to which the disk did not return all of a segment.
    pub fn add(&mut self, index: &Index, end: Place) {
        let is_before = |entry: &Entry| entry.place < end && entry.state.is_none_or(|state| state < end);
        let (all, _) = index.select(&Filter::default(), 0, QueueId::from_u64(0), usize::MAX, usize::MAX);
        self.0.push((end.segment, all.iter().filter(|entry| is_before(entry)).map(|entry| entry.id).collect()));
    }

    /// Takes a message out of doubt if a later note has its whole state.
    pub fn note(&mut self, note: &Note) {
        if self.0.is_empty() || !note.ends_doubt() {
            return;
        }
        let Some(id) = note.id() else { return };
        for (_, in_doubt) in &mut self.0 {
            in_doubt.remove(&id);
        }
    }

    /// Holds the messages in doubt because of a segment that the next start reads again. Returns their number.
    pub fn hold(&mut self, index: &mut Index, segment: u32) -> usize {
        let reason = Arc::from(HIDDEN);
        let mut held = 0;
        for (_, ids) in self.0.extract_if(.., |(in_doubt, _)| *in_doubt == segment) {
            for id in ids {
                if index.get(id).is_some_and(|entry| !entry.held()) {
                    index.hold(id, &reason);
                    held += 1;
                }
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::index::tests;

    fn put(index: &mut Index, raw: u64, place: Place) -> QueueId {
        let id = tests::put(index, raw, "x");
        index.moved(id, place, 100);
        id
    }

    #[test]
    fn a_message_before_the_hidden_octets_is_in_doubt_until_a_later_note_has_its_state() {
        let mut index = Index::default();
        let at = |segment, at| Place { segment, at };
        let [before, inside, behind] =
            [(1, at(1, 64)), (2, at(2, 64)), (3, at(2, 9000))].map(|(raw, place)| put(&mut index, raw, place));
        let [settled, held] = [(4, at(1, 99)), (5, at(1, 200))].map(|(raw, place)| put(&mut index, raw, place));
        index.hold(held, &Arc::from("by an operator"));
        let mut hidden = Hidden::default();
        hidden.add(&index, at(2, 4096));
        hidden.note(&Note::Done { id: settled });
        hidden.note(&Note::Clean);
        assert_eq!(hidden.hold(&mut index, 1), 0, "the next start reads only what it could not read");
        assert_eq!(hidden.hold(&mut index, 2), 2);
        let reason = |id| index.hold_reason(index.get(id).unwrap()).map(|words| words.to_string());
        assert_eq!([before, inside].map(reason), [Some(HIDDEN.to_owned()), Some(HIDDEN.to_owned())]);
        assert_eq!([behind, settled].map(reason), [None, None]);
        assert_eq!(reason(held).as_deref(), Some("by an operator"));
    }
}

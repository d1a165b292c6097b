//! Moves all mail of one spool, with its state, to another spool of either backend. An interrupted move continues when it is run again.
//!
//! Both spools store a durable [`Mark`] of the move. A relay does not start with a marked spool. So two relays never work on the same mail,
//! and no relay works on half of it.
//!
//! | what was done | source's mark | target's mark | who may start | the next run |
//! |---|---|---|---|---|
//! | nothing | none | none | a relay on the source | begins |
//! | the target is marked | none | arriving | a relay on the source | goes on: nothing was copied yet |
//! | the source is marked | leaving | arriving | nobody | goes on |
//! | some mail is copied | leaving | arriving | nobody | copies what the target lacks |
//! | all mail is copied and compared | left | arriving | nobody | removes the target's mark |
//! | the target's mark is removed | left | none | a relay on the target | reports that the move is done |
//!
//! A message keeps its queue id, so the next run skips what the target already holds. The source keeps its mail, now as copies. Its mark
//! says where the mail went. The operator deletes it.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

use super::codec::{Meta, State};
use super::{Durable, Error, Pending, Spool};
use crate::message::QueueId;
use crate::time::Timestamp;

/// The most messages that are copied at once, and the most octets. A larger message is copied alone.
const MESSAGES: usize = 256;
const OCTETS: u64 = 16 << 20;

/// A message with its content and its state.
pub struct Whole {
    pub(super) id: QueueId,
    pub(super) meta: Meta,
    pub(super) state: State,
    pub(super) content: Vec<u8>,
}

/// A spool whose mail can be moved. It was opened for a move, so nobody else works on it.
pub trait Movable: Spool {
    /// Returns the spool's address, as operators read it. A later run recognises the spool by it.
    fn place(&self) -> String;

    /// Returns the mark of the move in which the spool takes part, if there is one.
    fn mark(&self) -> Pending<Result<Option<Mark>, Error>>;

    /// Replaces the mark, and answers after that is durable.
    fn set_mark(&self, mark: Option<Mark>) -> Pending<Result<(), Error>>;

    /// Waits until all accepted mail is in the log, including mail that other nodes accepted.
    fn gathered(&self) -> Pending<Result<(), Error>>;

    /// Returns every message with the octets that it takes, oldest first.
    fn holdings(&self) -> Vec<(QueueId, u64)>;

    /// Returns true if it holds this message.
    fn holds(&self, id: QueueId) -> bool;

    /// Reads a message with its state.
    fn copy_out(&self, id: QueueId) -> Pending<Result<Whole, Error>>;

    /// Makes a message of another spool durable, with its state.
    fn copy_in(&self, message: Whole) -> Pending<Result<Durable, Error>>;

    /// Deletes messages, and answers after that is durable.
    fn forget(&self, ids: Vec<QueueId>) -> Pending<Result<(), Error>>;
}

/// The mark of a move. Each of the two spools stores one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Identifies the move. Both spools have the same.
    pub id: String,
    /// How far the move is.
    pub stage: MoveStage,
    /// The address of the other spool.
    pub other: String,
    /// When this mark was set.
    pub since: String,
}

/// How far a move is, for the spool that has the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveStage {
    /// Its mail is being copied to the other spool.
    Leaving,
    /// Its mail is in the other spool. What it still holds are copies.
    Left,
    /// It is being filled from the other spool.
    Arriving,
}

/// Says what keeps a relay from starting, and what to do.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { stage, other, since, .. } = self;
        match stage {
            MoveStage::Leaving => write!(
                f,
                "its mail is being moved to {other} since {since}. Run `postbud spool move` again, which goes on, or with --cancel"
            ),
            MoveStage::Left => write!(
                f,
                "its mail was moved to {other} at {since}, and what it holds are copies. Use that spool, and delete this one"
            ),
            MoveStage::Arriving => write!(
                f,
                "it is being filled from {other} since {since}. Run `postbud spool move` again, which goes on, or with --cancel"
            ),
        }
    }
}

/// Why mail was not moved, or not all of it.
#[derive(Debug, ThisError)]
pub enum MoveError {
    /// A spool failed. What was copied stays copied.
    #[error("{place}: {source}. Run the same command again: it goes on where it stopped")]
    Spool {
        /// The address of that spool.
        place: String,
        /// The spool's error.
        #[source]
        source: Error,
    },
    /// The target has mail of its own.
    #[error(
        "{place} holds {messages} messages already. Mail is moved to an empty spool only: let a relay deliver them first, or name another \
         schema or folder"
    )]
    NotEmpty {
        /// The target of the move.
        place: String,
        /// The number of messages that it holds.
        messages: usize,
    },
    /// One of the two spools takes part in another move.
    #[error("{place} takes part in another move: {mark}")]
    Other {
        /// The address of that spool.
        place: String,
        /// The mark that was found there.
        mark: Box<Mark>,
    },
    /// There is nothing to take back.
    #[error("no move from {source_place} to {place} is under way")]
    NoMove {
        /// The spool that the mail would have come from.
        source_place: String,
        /// The target of the move.
        place: String,
    },
    /// All mail is in the target already.
    #[error(
        "the mail of {place} is in {other} already, so there is nothing to take back. To move it back, swap the two"
    )]
    Done {
        /// The source of the move.
        place: String,
        /// The target of the move.
        other: String,
    },
    /// Some messages could not be read. All others are copied.
    #[error(
        "{count} messages in {place} cannot be read, among them {first}; the log says why. All others are copied. Mend the cause and run the \
         same command again, or leave them behind with --leave-unreadable"
    )]
    Unreadable {
        /// The source of the move.
        place: String,
        /// The number of these messages.
        count: usize,
        /// The oldest of them.
        first: QueueId,
    },
    /// The target lacks what was copied into it.
    #[error(
        "{place} lacks message {id}, which was copied into it. Do not start a relay with it; run the same command again"
    )]
    Lacks {
        /// The target of the move.
        place: String,
        /// A message that it lacks.
        id: QueueId,
    },
}

/// The progress of the copying.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Progress {
    /// Messages that the target holds.
    pub moved: u64,
    /// Messages that the source holds.
    pub messages: u64,
    /// Octets that were copied by this run.
    pub octets: u64,
}

/// The result of a move.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// Messages that this run copied.
    pub copied: u64,
    /// The octets of these messages.
    pub octets: u64,
    /// Messages that an earlier run had copied.
    pub copied_before: u64,
    /// Messages that stay behind because they cannot be read.
    pub left_behind: BTreeSet<QueueId>,
    /// Messages that turned out to be damaged, and were put into the source's quarantine.
    pub set_aside: u64,
    /// True if an earlier run had finished the move.
    pub was_done: bool,
}

/// A move that may begin or go on.
pub struct Move<'a> {
    source: &'a dyn Movable,
    target: &'a dyn Movable,
    id: String,
    is_done: bool,
}

impl<'a> Move<'a> {
    /// Marks both spools, unless an earlier run did. An error says why the move is impossible.
    pub async fn begin(source: &'a dyn Movable, target: &'a dyn Movable) -> Result<Move<'a>, MoveError> {
        let (from, to) = marks(source, target).await?;
        // Mail that is still in transit to the target is its own, too, and must not be deleted when the move is taken back.
        target.gathered().await.map_err(|source| MoveError::Spool { place: target.place(), source })?;
        let held = target.holdings().len();
        let is_source = |mark: &Mark| mark.other == source.place();
        match (from, to) {
            (Some(from), to) if from.stage == MoveStage::Left => match to {
                Some(to) if to.id == from.id => Ok(Move { source, target, id: from.id, is_done: false }),
                None if from.other == target.place() => Ok(Move { source, target, id: from.id, is_done: true }),
                _ => Err(other(source, from)),
            },
            (Some(from), Some(to)) if from.id == to.id && from.stage == MoveStage::Leaving => {
                Ok(Move { source, target, id: from.id, is_done: false })
            }
            (Some(from), _) => Err(other(source, from)),
            (None, Some(to)) if to.stage != MoveStage::Arriving || !is_source(&to) => Err(other(target, to)),
            (None, _) if held > 0 => Err(MoveError::NotEmpty { place: target.place(), messages: held }),
            (None, to) => {
                let id = match to {
                    Some(to) => to.id,
                    None => format!("{:016x}", rand::random::<u64>()),
                };
                // The target first: as long as only it is marked, the source is still whole, and may be used.
                set_mark(target, Some(mark(&id, MoveStage::Arriving, source))).await?;
                set_mark(source, Some(mark(&id, MoveStage::Leaving, target))).await?;
                Ok(Move { source, target, id, is_done: false })
            }
        }
    }

    /// Returns the id of the move, which is the same in all its runs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns true if an earlier run finished it.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Copies what the target lacks, compares the two spools, and removes the target's mark. With `leave_unreadable`, messages that cannot
    /// be read do not prevent that.
    pub async fn finish(self, leave_unreadable: bool, mut progress: impl FnMut(Progress)) -> Result<Moved, MoveError> {
        if self.is_done {
            return Ok(Moved { was_done: true, ..Moved::default() });
        }
        let of_source = |source| MoveError::Spool { place: self.source.place(), source };
        self.source.gathered().await.map_err(of_source)?;
        let all = self.source.holdings();
        let mut moved = Moved::default();
        let mut lacking: Vec<(QueueId, u64)> = all.iter().copied().filter(|(id, _)| !self.target.holds(*id)).collect();
        moved.copied_before = (all.len() - lacking.len()) as u64;
        let mut so_far = Progress { moved: moved.copied_before, messages: all.len() as u64, octets: 0 };
        progress(so_far);
        lacking.reverse();
        while let Some(batch) = next_batch(&mut lacking) {
            let copied = try_join_all(batch.iter().map(|(id, _)| self.copy(*id))).await?;
            for ((id, octets), is_there) in batch.into_iter().zip(copied) {
                if is_there {
                    moved.copied += 1;
                    moved.octets += octets;
                } else if self.source.holds(id) {
                    moved.left_behind.insert(id);
                } else {
                    moved.set_aside += 1;
                }
            }
            so_far.moved = moved.copied_before + moved.copied;
            so_far.octets = moved.octets;
            progress(so_far);
        }
        if let Some(first) = moved.left_behind.first().copied().filter(|_| !leave_unreadable) {
            let count = moved.left_behind.len();
            return Err(MoveError::Unreadable { place: self.source.place(), count, first });
        }
        let is_missing = |(id, _): &(QueueId, u64)| !self.target.holds(*id) && !moved.left_behind.contains(id);
        if let Some((id, _)) = self.source.holdings().into_iter().find(is_missing) {
            return Err(MoveError::Lacks { place: self.target.place(), id });
        }
        set_mark(self.source, Some(mark(&self.id, MoveStage::Left, self.target))).await?;
        set_mark(self.target, None).await?;
        Ok(moved)
    }

    /// Copies a message. Returns false if it cannot be read.
    async fn copy(&self, id: QueueId) -> Result<bool, MoveError> {
        match self.source.copy_out(id).await {
            Ok(message) => {
                let copied = self.target.copy_in(message).await;
                let _: Durable = copied.map_err(|source| MoveError::Spool { place: self.target.place(), source })?;
                Ok(true)
            }
            Err(error @ (Error::Corrupt { .. } | Error::Unknown(_))) => {
                tracing::error!(%id, %error, "a message is not moved");
                Ok(false)
            }
            Err(source) => Err(MoveError::Spool { place: self.source.place(), source }),
        }
    }
}

/// Returns the id of the move from `source` to `target`, if it is under way and can be taken back. Returns `None` if only the source is
/// marked, because the target was emptied or made anew.
pub async fn under_way(source: &dyn Movable, target: &dyn Movable) -> Result<Option<String>, MoveError> {
    let (from, to) = marks(source, target).await?;
    if from.as_ref().is_some_and(|from| from.stage == MoveStage::Left) {
        return Err(MoveError::Done { place: source.place(), other: target.place() });
    }
    let is_its_own = |to: &Mark| {
        to.stage == MoveStage::Arriving && from.as_ref().map_or(to.other == source.place(), |from| from.id == to.id)
    };
    match (from.as_ref(), to) {
        (_, Some(to)) if is_its_own(&to) => Ok(Some(to.id)),
        (_, Some(to)) => Err(other(target, to)),
        (None, None) => Err(MoveError::NoMove { source_place: source.place(), place: target.place() }),
        // Somebody has emptied the target by other means, or made it anew.
        (Some(from), None) if from.stage == MoveStage::Leaving && from.other == target.place() => Ok(None),
        (Some(from), None) => Err(other(source, from.clone())),
    }
}

/// Takes back a move that is not finished: the target is emptied, and the source can be used again. Returns how many messages were
/// deleted at the target. If it is interrupted, it is run again.
pub async fn cancel(source: &dyn Movable, target: &dyn Movable) -> Result<u64, MoveError> {
    let mut deleted = 0;
    if under_way(source, target).await?.is_some() {
        let ids: Vec<QueueId> = target.holdings().into_iter().map(|(id, _)| id).collect();
        deleted = ids.len() as u64;
        target.forget(ids).await.map_err(|source| MoveError::Spool { place: target.place(), source })?;
    }
    set_mark(source, None).await?;
    set_mark(target, None).await?;
    Ok(deleted)
}

async fn marks(source: &dyn Movable, target: &dyn Movable) -> Result<(Option<Mark>, Option<Mark>), MoveError> {
    let of = |place: String| move |source| MoveError::Spool { place, source };
    Ok((source.mark().await.map_err(of(source.place()))?, target.mark().await.map_err(of(target.place()))?))
}

async fn set_mark(spool: &dyn Movable, mark: Option<Mark>) -> Result<(), MoveError> {
    spool.set_mark(mark).await.map_err(|source| MoveError::Spool { place: spool.place(), source })
}

fn mark(id: &str, stage: MoveStage, other: &dyn Movable) -> Mark {
    Mark { id: id.to_owned(), stage, other: other.place(), since: Timestamp::now().to_string() }
}

fn other(spool: &dyn Movable, mark: Mark) -> MoveError {
    MoveError::Other { place: spool.place(), mark: Box::new(mark) }
}

/// Takes as many messages from the end as are copied at once.
fn next_batch(lacking: &mut Vec<(QueueId, u64)>) -> Option<Vec<(QueueId, u64)>> {
    let mut batch = Vec::new();
    let mut octets = 0;
    while batch.len() < MESSAGES
        && let Some((id, len)) = lacking.pop_if(|(_, len)| batch.is_empty() || octets + *len <= OCTETS)
    {
        octets += len;
        batch.push((id, len));
    }
    (!batch.is_empty()).then_some(batch)
}

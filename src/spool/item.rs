//! The items that a backend's committer writes, each with the caller that waits for it.

use tokio::sync::oneshot;

use super::index::{Index, Place, Summary};
use super::{Durable, Error};
use crate::time::Timestamp;

/// The channel to the caller that waits for an answer.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A message that is encoded for the log of a backend.
pub(super) trait Summarized {
    fn summary(&self) -> &Summary;
}

/// An item for the committer to write: a message `M` or a change `C` of that backend.
pub(super) enum Item<M, C> {
    /// A new message. The caller is answered when it is durable.
    Draft(Box<M>, Reply<Durable>),
    /// A message copied forward. The answer says whether the copy is durable.
    Copy(Box<M>, oneshot::Sender<bool>),
    /// A change. It must be written, now or later. A waiting caller is answered after it is written.
    Change(C, Option<Reply<()>>),
    /// A barrier. It is answered when everything before it is durable.
    Barrier(Reply<()>),
}

impl<M: Summarized, C> Item<M, C> {
    /// Adds a durable message to the index, or updates the place of one that was copied. `now` is the present time.
    pub fn enter(&self, index: &mut Index, place: Place, now: Timestamp) {
        match self {
            Item::Draft(message, _) => index.put(message.summary(), place, Some(now)),
            Item::Copy(message, _) => {
                let Summary { id, disk_len, .. } = message.summary();
                index.moved(*id, place, *disk_len);
            }
            Item::Change(..) | Item::Barrier(_) => {}
        }
    }

    /// Tells the caller that waits for the item that it is written. The caller may have gone; the item counts in any case.
    pub fn answer(self) {
        match self {
            Item::Draft(message, reply) => {
                let id = message.summary().id;
                // Drop the message before the answer, because the answer gives its memory budget to another message.
                drop(message);
                drop(reply.send(Ok(Durable::new(id))));
            }
            Item::Copy(_, reply) => drop(reply.send(true)),
            Item::Barrier(reply) | Item::Change(_, Some(reply)) => drop(reply.send(Ok(()))),
            Item::Change(_, None) => {}
        }
    }

    /// Tells the caller that waits for the item that it is refused.
    pub fn refuse(self, error: impl Fn() -> Error) {
        match self {
            Item::Draft(_, reply) => drop(reply.send(Err(error()))),
            Item::Copy(_, reply) => drop(reply.send(false)),
            Item::Barrier(reply) | Item::Change(_, Some(reply)) => drop(reply.send(Err(error()))),
            Item::Change(_, None) => {}
        }
    }
}

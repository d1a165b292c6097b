//! The queue to the committer: items in the order in which they will be written.
//!
//! It has no limit in octets, because the caller of a commit holds the draft's memory anyway and has a budget for it.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::rows::Encoded;
use crate::message::{Lane, QueueId};
use crate::spool::codec::Status;
use crate::spool::index::LogEntry;
use crate::spool::{Durable, Error};

/// A message in transit, with the data for its owner's index.
pub(super) struct Arrival {
    /// The number of its row.
    pub seq: i32,
    pub id: QueueId,
    pub lane: Lane,
    pub domains: u32,
    pub disk_len: u32,
    pub status: Status,
    /// The lines for the outbox.
    pub lines: Vec<u8>,
}

/// Messages of one table to be moved to a shard's log.
pub(super) struct Adoption {
    /// The number of the table.
    pub table: i32,
    pub messages: Vec<Arrival>,
}

impl Adoption {
    /// Returns the numbers of their rows.
    pub fn rows(&self) -> Vec<i32> {
        self.messages.iter().map(|message| message.seq).collect()
    }
}

/// The channel to the caller that waits for an answer.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// An item for the committer to write. A waiting caller is answered after it is durable.
pub(super) enum Item {
    Draft(Box<Encoded>, Reply<Durable>),
    /// A message copied forward. The answer says whether it was written.
    Copy(Box<Encoded>, oneshot::Sender<bool>),
    /// Messages that another node accepted. Answered when it is known whether they were moved to the log.
    Adoption(Box<Adoption>, oneshot::Sender<bool>),
    /// A fact about a message. It must be written, now or later.
    Fact(LogEntry, Option<Reply<()>>),
    /// A barrier. It is answered after everything before it is durable.
    Barrier(Reply<()>),
}

impl Item {
    /// Returns the approximate octets of the item.
    pub fn len(&self) -> u64 {
        match self {
            Item::Draft(message, _) | Item::Copy(message, _) => message.disk_len.into(),
            Item::Fact(entry, _) => 200 + entry.lines.len() as u64,
            // These rows are moved within the database.
            Item::Adoption(..) | Item::Barrier(_) => 0,
        }
    }

    /// Returns the lines for the outbox.
    pub fn lines(&self) -> &[u8] {
        match self {
            Item::Draft(message, _) => &message.lines,
            Item::Fact(entry, _) => &entry.lines,
            Item::Copy(..) | Item::Adoption(..) | Item::Barrier(_) => &[],
        }
    }

    /// Tells the caller that waits for the item that it is refused.
    pub fn refuse(self, error: impl Fn() -> Error) {
        match self {
            Item::Draft(_, reply) => drop(reply.send(Err(error()))),
            Item::Copy(_, reply) | Item::Adoption(_, reply) => drop(reply.send(false)),
            Item::Barrier(reply) | Item::Fact(_, Some(reply)) => drop(reply.send(Err(error()))),
            Item::Fact(_, None) => {}
        }
    }
}

/// The sending end, which all callers share.
pub(super) struct Inbox(Mutex<Option<UnboundedSender<Item>>>);

impl Inbox {
    /// Makes an inbox, and the receiving end for the committer.
    pub fn new() -> (Inbox, UnboundedReceiver<Item>) {
        let (sender, receiver) = unbounded_channel();
        (Inbox(Mutex::new(Some(sender))), receiver)
    }

    /// Adds items in order. If the spool is stopping, returns the first refused item.
    pub fn push(&self, items: impl IntoIterator<Item = Item>) -> Result<(), Item> {
        let sender = self.sender();
        for item in items {
            match &*sender {
                Some(open) => open.send(item).map_err(|refused| refused.0)?,
                None => return Err(item),
            }
        }
        Ok(())
    }

    /// Accepts no more items. Those inside are still written.
    pub fn stop(&self) {
        self.sender().take();
    }

    fn sender(&self) -> MutexGuard<'_, Option<UnboundedSender<Item>>> {
        self.0.lock().expect("nothing panics while it holds the inbox")
    }
}

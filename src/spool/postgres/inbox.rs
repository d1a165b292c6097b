//! The queue to the committer: requests in the order in which they will be written.
//!
//! It has no limit in octets, because the caller of a commit holds the draft's memory anyway and has a budget for it.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::rows::Encoded;
use crate::spool::index::{LogEntry, Summary};
use crate::spool::{Error, item};

/// A message in transit, with the data for its owner's index.
pub(super) struct Arrival {
    /// The number of its row.
    pub seq: i32,
    pub message: Summary,
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

/// An item for the log.
pub(super) type Item = item::Item<Encoded, LogEntry>;

impl Item {
    /// Returns the approximate octets of the item.
    pub fn len(&self) -> u64 {
        match self {
            Item::Draft(message, _) | Item::Copy(message, _) => message.disk_len().into(),
            Item::Change(entry, _) => 200 + entry.lines.len() as u64,
            Item::Barrier(_) => 0,
        }
    }

    /// Returns the lines for the outbox.
    pub fn lines(&self) -> &[u8] {
        match self {
            Item::Draft(message, _) => &message.lines,
            Item::Change(entry, _) => &entry.lines,
            Item::Copy(..) | Item::Barrier(_) => &[],
        }
    }
}

/// What the committer is asked to do.
pub(super) enum Request {
    /// To write an item.
    Write(Item),
    /// To move messages to the log that another node accepted. Answered when it is known whether they were moved.
    Adopt(Box<Adoption>, oneshot::Sender<bool>),
}

impl Request {
    /// Tells the caller that waits for the answer that the request is refused.
    pub fn refuse(self, error: impl Fn() -> Error) {
        match self {
            Request::Write(item) => item.refuse(error),
            Request::Adopt(_, reply) => drop(reply.send(false)),
        }
    }
}

/// The sending end, which all callers share.
pub(super) struct Inbox(Mutex<Option<UnboundedSender<Request>>>);

impl Inbox {
    /// Makes an inbox, and the receiving end for the committer.
    pub fn new() -> (Inbox, UnboundedReceiver<Request>) {
        let (sender, receiver) = unbounded_channel();
        (Inbox(Mutex::new(Some(sender))), receiver)
    }

    /// Adds requests in order. If the spool is stopping, returns the first refused one.
    pub fn push(&self, requests: impl IntoIterator<Item = Request>) -> Result<(), Request> {
        let sender = self.sender();
        for request in requests {
            match &*sender {
                Some(open) => open.send(request).map_err(|refused| refused.0)?,
                None => return Err(request),
            }
        }
        Ok(())
    }

    /// Accepts no more requests. Those inside are still written.
    pub fn stop(&self) {
        self.sender().take();
    }

    fn sender(&self) -> MutexGuard<'_, Option<UnboundedSender<Request>>> {
        self.0.lock().expect("nothing panics while it holds the inbox")
    }
}

//! The way to the committer: items in the order in which they are to stand in the log.
//!
//! It has no bound in octets. Whoever commits holds the draft's memory anyway and has budgeted for it.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::rows::Encoded;
use super::transit::Adoption;
use crate::spool::index::LogEntry;
use crate::spool::{Durable, Error};

/// Where an answer goes that somebody waits for.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Something that the committer is to write. Whoever waits is answered once it is durable.
pub(super) enum Item {
    Draft(Box<Encoded>, Reply<Durable>),
    /// A message copied forward. Answered with whether it was written.
    Copy(Box<Encoded>, oneshot::Sender<bool>),
    /// Messages that another node took. Answered once it is known whether they are moved to the log.
    Adoption(Box<Adoption>, oneshot::Sender<bool>),
    /// A fact about a message. It must be written, if not now then later.
    Fact(LogEntry, Option<Reply<()>>),
    /// Answered once everything before it is durable.
    Barrier(Reply<()>),
}

impl Item {
    /// Octets that it takes, about.
    pub fn len(&self) -> u64 {
        match self {
            Item::Draft(message, _) | Item::Copy(message, _) => message.disk_len.into(),
            Item::Fact(entry, _) => 200 + entry.lines.len() as u64,
            // They are moved within the database.
            Item::Adoption(..) | Item::Barrier(_) => 0,
        }
    }

    /// What it has for the outbox.
    pub fn lines(&self) -> &[u8] {
        match self {
            Item::Draft(message, _) => &message.lines,
            Item::Fact(entry, _) => &entry.lines,
            Item::Copy(..) | Item::Adoption(..) | Item::Barrier(_) => &[],
        }
    }

    /// Tells whoever waits for it that it is refused.
    pub fn refuse(self, error: impl Fn() -> Error) {
        match self {
            Item::Draft(_, reply) => drop(reply.send(Err(error()))),
            Item::Copy(_, reply) | Item::Adoption(_, reply) => drop(reply.send(false)),
            Item::Barrier(reply) | Item::Fact(_, Some(reply)) => drop(reply.send(Err(error()))),
            Item::Fact(_, None) => {}
        }
    }
}

/// The sending end, which everybody shares.
pub(super) struct Inbox(Mutex<Option<UnboundedSender<Item>>>);

impl Inbox {
    /// An inbox, and the end that the committer has.
    pub fn new() -> (Inbox, UnboundedReceiver<Item>) {
        let (sender, receiver) = unbounded_channel();
        (Inbox(Mutex::new(Some(sender))), receiver)
    }

    /// Adds items in order. Gives the first that was refused back once the spool is stopping.
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

    /// Takes nothing more. What is in is still written.
    pub fn stop(&self) {
        self.sender().take();
    }

    fn sender(&self) -> MutexGuard<'_, Option<UnboundedSender<Item>>> {
        self.0.lock().expect("nothing panics while it holds the inbox")
    }
}

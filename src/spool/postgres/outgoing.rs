//! The queue to the writer of mail in transit (`transit`): messages for shards that other nodes own.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::rows::Encoded;
use crate::spool::Durable;
use crate::spool::item::Reply;

/// A message for a shard that another node owns.
pub(super) struct Departure {
    pub shard: u32,
    pub message: Box<Encoded>,
    pub reply: Reply<Durable>,
}

/// The queue to the writer of mail in transit.
pub(super) struct Outgoing(Mutex<Option<UnboundedSender<Departure>>>);

impl Outgoing {
    /// Makes the queue, and the receiving end for the writer.
    pub fn new() -> (Outgoing, UnboundedReceiver<Departure>) {
        let (sender, receiver) = unbounded_channel();
        (Outgoing(Mutex::new(Some(sender))), receiver)
    }

    /// Sends a message. Returns the reply channel if the process is stopping.
    pub fn push(&self, shard: u32, message: Box<Encoded>, reply: Reply<Durable>) -> Result<(), Reply<Durable>> {
        let departure = Departure { shard, message, reply };
        match &*self.sender() {
            Some(open) => open.send(departure).map_err(|refused| refused.0.reply),
            None => Err(departure.reply),
        }
    }

    /// Accepts no more messages. Those inside are still written.
    pub fn stop(&self) {
        self.sender().take();
    }

    fn sender(&self) -> MutexGuard<'_, Option<UnboundedSender<Departure>>> {
        self.0.lock().expect("nothing panics while it holds the way out")
    }
}

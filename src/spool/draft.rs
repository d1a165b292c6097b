//! A message to be made durable, and the receipt for it.

use crate::message::{Envelope, Lane, Piece, QueueId};
use crate::time::Timestamp;

/// A message ready to be made durable.
pub struct Draft {
    /// The queue id from [`Commit::next_id`](super::Commit::next_id).
    pub id: QueueId,
    /// The lane in which it will wait.
    pub lane: Lane,
    /// The envelope as accepted.
    pub envelope: Envelope,
    /// The Message-ID without angle brackets, for events.
    pub message_id: String,
    /// Header lines that go before the content: signatures, Received, an added Date and Message-ID. Lines end with CRLF.
    pub prefix: Vec<u8>,
    /// The message as accepted: header (Bcc dropped), blank line, body. Lines end with CRLF, dots are not stuffed.
    pub content: Vec<Piece>,
    /// The length of the header block within `content`. The blank line begins there, so that a route can cut fields.
    pub header_len: u32,
    /// When the second attempt is due. It is stored with the message, so that the first attempt needs no write before dialling.
    pub retry_at: Timestamp,
    /// The reason, if the message is held from the start.
    pub held: Option<String>,
    /// Lines for the [`Outbox`](super::Outbox): the events about this message. The spool does not interpret them.
    pub lines: Vec<u8>,
}

/// Proof that a message is on disk and synced. Only a spool can make one, and a 250 needs one.
#[derive(Debug)]
#[must_use = "the client waits for its 250"]
pub struct Durable {
    id: QueueId,
}

impl Durable {
    /// Makes the receipt for a message that the calling backend has just synced.
    pub(super) fn new(id: QueueId) -> Self {
        Durable { id }
    }

    /// The message's queue id.
    pub fn id(&self) -> QueueId {
        self.id
    }
}

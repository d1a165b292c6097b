//! The outbox: what commits and changes tell the journal. The spool keeps it in its own log, with the facts it tells of, until the
//! journal has it on disk.
//!
//! A fact and its lines become durable in one write. So a crash leaves both or neither, and the journal gets the same lines again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Error, Pending};
use crate::message::QueueId;

/// What a change of many records tells, by record. Records that are not named here change without a line.
pub type LinesById = BTreeMap<QueueId, Vec<u8>>;

/// A place in the outbox, as text that only its backend understands. The journal keeps it across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxPosition(String);

impl OutboxPosition {
    /// A position, as a backend writes it or the journal has kept it.
    pub fn new(text: impl Into<String>) -> Self {
        OutboxPosition(text.into())
    }

    /// Returns the position as the journal keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of the outbox.
#[derive(Clone, Debug)]
pub struct OutboxPage {
    /// Whole lines, in the order of the log.
    pub lines: Vec<u8>,
    /// The position behind the last line.
    pub position: OutboxPosition,
    /// True if there is more: ask again at once.
    pub more: bool,
}

/// Hands the journal what commits and changes told it. There is one journal.
pub trait Outbox: Send + Sync + 'static {
    /// The lines behind `after`, or all there are. Only lines that would survive a power cut are handed out. The same position gets
    /// the same lines again, until a later one was confirmed. A position of another spool counts as none.
    fn lines(&self, after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>>;

    /// The journal has everything before `position` on disk, so the spool need not keep it.
    fn confirm(&self, position: OutboxPosition);

    /// Notified when there are new lines. It is a hint only.
    fn filled(&self) -> Arc<Notify>;
}

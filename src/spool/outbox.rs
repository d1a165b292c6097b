//! The outbox: event lines of commits and changes for the journal. The spool stores them in its own log, together with the facts that they
//! report, until the journal has them on disk.
//!
//! A fact and its lines become durable in one write. After a crash either both or neither are there, and the journal gets the same lines
//! again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Error, Pending};
use crate::message::QueueId;

/// The lines for a change of many records, by record. Records that are not listed change without a line.
pub type LinesById = BTreeMap<QueueId, Vec<u8>>;

/// A place in the outbox, as text that only its backend understands. The journal stores it across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxPosition(String);

impl OutboxPosition {
    /// Makes a position from the text of a backend or of the journal.
    pub fn new(text: impl Into<String>) -> Self {
        OutboxPosition(text.into())
    }

    /// Returns the text that the journal stores.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A page of the outbox.
#[derive(Clone, Debug)]
pub struct OutboxPage {
    /// Complete lines, in the order of the log.
    pub lines: Vec<u8>,
    /// The position behind the last line.
    pub position: OutboxPosition,
    /// True if there are more lines now.
    pub more: bool,
}

/// Gives the event lines of commits and changes to the journal. There is one journal.
pub trait Outbox: Send + Sync + 'static {
    /// Returns the lines behind `after`, or from the start. Only lines that would survive a power cut are returned. The same position gives
    /// the same lines again, until a later one is confirmed. A position of another spool counts as none.
    fn lines(&self, after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>>;

    /// Records that the journal has everything before `position` on disk, so that the spool need not keep it.
    fn confirm(&self, position: OutboxPosition);

    /// Notified when there are new lines. It is only a hint.
    fn filled(&self) -> Arc<Notify>;
}

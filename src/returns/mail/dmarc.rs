//! Passes DMARC reports that come as mail to their reader. The listener accepts mail for the addresses in `[returns.dmarc]`.

use thiserror::Error;

use crate::time::Timestamp;

/// Reads DMARC reports that came as mail.
pub trait DmarcReports: Send + Sync {
    /// Processes one message as received: header, blank line and body, with CRLF line ends, and at most the listener's `message_size`.
    /// Called on a thread that may block. After a crash the same message may come again.
    ///
    /// Returns `Ok` also for a message without a report, or with an unwanted one; the reader counts these. After an error the message stays
    /// on disk and comes again later.
    fn take(&self, message: &[u8], received: Timestamp) -> Result<(), NotTaken>;
}

/// Why a report cannot be processed now. The message is kept, and tried again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

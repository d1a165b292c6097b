//! The way of DMARC reports that come as mail: the listener takes mail for the addresses in `[returns.dmarc]`, and hands each
//! whole message to whoever reads reports.

use thiserror::Error;

use crate::time::Timestamp;

/// Reads DMARC reports that came as mail.
pub trait DmarcReports: Send + Sync {
    /// Takes one message as it came: header, blank line and body, with CRLF line ends, of at most the listener's `message_size`.
    /// Called on a thread that may block. The same message may come again after a crash.
    ///
    /// A message that holds no report, or one that is not wanted, is the reader's to count: that is `Ok`. After an error the
    /// message stays on disk and comes again later.
    fn take(&self, message: &[u8], received: Timestamp) -> Result<(), NotTaken>;
}

/// Why a report cannot be taken now. The message is kept, and tried again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

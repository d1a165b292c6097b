//! The errors of a spool, by who must act.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

use crate::message::QueueId;

/// Why a call of the port failed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no room for new mail, and the operator must make room. The client gets 452 4.3.1 and tries again later.
    #[error("the spool has no room for new mail: {lack}")]
    Full {
        /// Which resource is short, and what to do about it.
        lack: String,
    },
    /// A read, a write or a sync failed. The outcome of a write is unknown, so the client gets 451 4.3.0.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed, and the file.
        what: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The record does not match its checksum. It was set aside.
    #[error("record {id} cannot be read and was set aside: {why}")]
    Corrupt {
        /// The id of the record.
        id: QueueId,
        /// The part that does not match.
        why: String,
    },
    /// The spool holds no such record; it may have been settled already.
    #[error("no message {0} in the queue")]
    Unknown(QueueId),
    /// The spool is stopping, or it gave up after failed writes.
    #[error("the spool takes no more work: {0}")]
    Stopped(String),
}

/// Returns true if a call failed because the process or the system lacks memory or open files. Every other call would fail as well, and
/// this one may succeed later. Any other error is about the file in which it occurred.
pub fn is_short_of_means(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    let means = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    means.map(|errno| Some(errno.raw_os_error())).contains(&source.raw_os_error())
}

/// Returns true if a read failed for now: the spool's database is away, or [means](is_short_of_means) are lacking. Nothing is known to be
/// wrong with the record, and the same call may succeed later.
pub fn is_for_now(error: &Error) -> bool {
    let is_away = matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotConnected);
    is_away || is_short_of_means(error)
}

//! The embedded spool's messages to operators.

use std::fmt;
use std::path::PathBuf;

use crate::message::QueueId;

/// A message to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something cannot be read. It was copied to `file` and is not delivered.
    Quarantined {
        /// The message that it belonged to, if that is known.
        id: Option<QueueId>,
        /// The path of the copy.
        file: PathBuf,
        /// The part that does not match its checksum.
        why: String,
    },
    /// The last write before a crash is incomplete. Nobody was told that it was accepted. `file` has the remains.
    Torn {
        /// The path of the copy.
        file: PathBuf,
        /// The part that is missing from the write.
        why: String,
    },
    /// A result of this message is damaged, so some recipients may already have the message. It is held.
    Doubtful {
        /// The id of the message.
        id: QueueId,
    },
    /// A part of a segment cannot be read, set aside or closed. It may not be lost.
    Unreadable {
        /// The part and its place, the system's error, and what happens next.
        why: String,
    },
    /// New mail is refused, because there is too little space or there are too few inodes.
    Full {
        /// Which resource is short, and what to do about it.
        lack: String,
    },
    /// There is room again, so new mail is accepted.
    Roomy,
    /// A write or a sync failed. Its messages were refused, and its segment is not written again.
    Failed {
        /// The failed operation, its place, and the error of the system.
        why: String,
    },
    /// The spool can be written again.
    Recovered,
    /// Writing failed repeatedly. The spool does no more work until the program is started again on a working disk.
    Stopped {
        /// The error of the last write.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Quarantined { id: Some(id), file, why } => {
                write!(f, "message {id} cannot be read ({why}); it is set aside in {}", file.display())
            }
            Notice::Quarantined { id: None, file, why } => {
                write!(f, "part of the spool cannot be read ({why}); it is set aside in {}", file.display())
            }
            Notice::Torn { file, why } => write!(
                f,
                "the last write before the crash is incomplete ({why}) and was never acknowledged; what there is of it is in {}",
                file.display()
            ),
            Notice::Doubtful { id } => write!(
                f,
                "a result of message {id} cannot be read: some recipients may have it already, so it is held; release or remove it"
            ),
            Notice::Unreadable { why } => write!(f, "{why}"),
            Notice::Full { lack } => {
                write!(f, "new mail is refused, because the spool has no room for it: {lack}")
            }
            Notice::Roomy => write!(f, "the spool's disk has room again: new mail is taken"),
            Notice::Failed { why } => write!(f, "the spool could not be written: {why}"),
            Notice::Recovered => write!(f, "the spool can be written again"),
            Notice::Stopped { why } => {
                write!(f, "the spool takes no more work after repeated failures ({why}): check the disk and restart")
            }
        }
    }
}

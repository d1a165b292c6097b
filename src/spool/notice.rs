//! The spool's messages to operators.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::message::QueueId;

/// A message to the operator. The embedded spool sends all of these but those about shards. A spool in a database sends none about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something on the disk cannot be read. It was copied to `file` and is not delivered.
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
    /// This message cannot be read now, so it is held. [`Notice::Unreadable`] reports the cause, once for many messages.
    Unread {
        /// The id of the message.
        id: QueueId,
        /// The system's error.
        why: String,
    },
    /// A part of a segment's file cannot be read, set aside or closed. No mail is known to be lost.
    Unreadable {
        /// The part and its place, the system's error, and what happens next.
        why: String,
    },
    /// The spool holds a message by itself, because a part of it, or one of its results, does not match its checksum.
    Held {
        /// The id of the message.
        id: QueueId,
        /// The damage, in words.
        why: String,
    },
    /// New mail is refused, because there is no room for it.
    Full {
        /// Which resource is short, and what to do about it.
        lack: String,
    },
    /// There is room again, so new mail is accepted.
    Roomy,
    /// The spool cannot be written, or would not keep what is written.
    Failed {
        /// The failed operation, and the error of the system or the database.
        why: String,
    },
    /// The spool can be written again.
    Recovered,
    /// A shard's log in the database cannot be read, so its mail waits. New mail for it is accepted.
    ShardWaits {
        /// The number of the shard.
        shard: u32,
        /// The error of the database.
        why: String,
    },
    /// The shard's mail is delivered again, by this node or another one.
    ShardGoesOn {
        /// The number of the shard.
        shard: u32,
    },
    /// The spool does no more work until the program is started again.
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
            Notice::Unread { why, .. } | Notice::Unreadable { why } => write!(f, "{why}"),
            Notice::Held { id, why } => write!(f, "{why}, so message {id} is held: release or remove it"),
            Notice::Full { lack } => write!(f, "new mail is refused, because the spool has no room for it: {lack}"),
            Notice::Roomy => write!(f, "the spool has room again: new mail is taken"),
            Notice::Failed { why } => write!(f, "the spool cannot be written, so no mail is taken or delivered: {why}"),
            Notice::Recovered => write!(f, "the spool can be written again"),
            Notice::ShardWaits { shard, why } => {
                write!(f, "the mail in shard {shard} waits, because this node cannot take the shard: {why}")
            }
            Notice::ShardGoesOn { shard } => write!(f, "the mail in shard {shard} is delivered again"),
            Notice::Stopped { why } => {
                write!(f, "the spool takes no more work until the program is started again: {why}")
            }
        }
    }
}

/// The receiver of a spool's notices. By default they go to the log. Cheap to clone.
#[derive(Clone, Default)]
pub struct Notices(Option<Arc<dyn Fn(Notice) + Send + Sync>>);

impl Notices {
    /// Passes notices to `receiver`. It is called from the spool's threads, so it must not block.
    pub fn to(receiver: impl Fn(Notice) + Send + Sync + 'static) -> Notices {
        Notices(Some(Arc::new(receiver)))
    }

    /// Passes a notice to the receiver, or to the log if there is none.
    pub(super) fn tell(&self, notice: Notice) {
        match &self.0 {
            Some(receiver) => receiver(notice),
            None => tracing::warn!("{notice}"),
        }
    }
}

//! The embedded spool: an append-only log of segment files in one folder, written by one process.
//!
//! # States on disk
//!
//! The log is a row of segments, and a segment is a row of frames. Each frame has a length, a checksum, and a mark by which the next
//! frame is found behind damage (`frame`). A message is a message frame followed by its chunks. What happens to it later is a frame
//! of its own, always behind it. Segments are filled, read and deleted in the order of their numbers. The file of a deleted segment
//! is used again for a later one, unless something in it could not be read.
//!
//! | a message is | put there by | a crash at that point leaves | the next start |
//! |---|---|---|---|
//! | absent | | nothing | does nothing |
//! | being written | the committer, before its sync | some of its frames, or all of them | takes it as waiting if all of them are there: the client heard nothing or 451, and may send it again. Otherwise sets what is left of it aside as *torn*: nobody was told that it was accepted |
//! | refused after a failed write or sync | the committer | frames that may be whole | ignores it, because the next segment begins by declaring that part void (at the latest at the stop). Only a crash before that brings it back, or a disk that takes no more |
//! | waiting, never tried | the sync of a commit | the message | takes it. It is due when the commit said that the second attempt would be, since the first may have been under way; after a stop in good order it is due at once |
//! | leased, first attempt | a claim, in memory only | the message as before | does as before: the attempt may be made twice |
//! | leased, later attempt | a claim, once the next due time is synced | the message with that due time | waits until then, so that there is no tight loop |
//! | settled in part or deferred | a settlement: a state frame with every recipient's state | that state, if the process died. After a power cut perhaps the state before it, until the next sync (at most `settle_delay` later) | takes the last state there is; what was delivered since is attempted again |
//! | settled | a settlement: a done frame | the done frame; after a power cut perhaps the message as it was, until the next sync | forgets it, or takes it as it was |
//! | held, released, expedited | an operator's call, answered after the sync | the frame | takes it so |
//! | copied forward | compaction, when most of the disk space is settled mail | two copies, the later one with the present state | replaces the earlier one by the later |
//! | in a deleted segment | the keeper, oldest segment first, once nobody waits in it | the segment, or a file that is not a segment any more | reads the segment again: every message in it has its done frame or its copy behind it. Or removes the file |
//! | unreadable | the disk | octets that do not match their checksum, or that the disk does not return | copies them to `quarantine/`, names them in `quarantine/LIST`, in the log and by a [`Notice`], and goes on behind the next mark. After the first read error in a segment the file is kept until the start after, which scans it again, unless the disk is full |
//! | in doubt | the disk: a state, done or hold frame of it is unreadable, and is not part of the last write | its id, from the frame's head | holds it for that reason, because some recipients may have it. If even the id is unreadable, takes the message as it was before |
//!
//! The footer of a segment repeats what its frames mean, so that a start need not read messages. A damaged footer costs time only.
//! What a start takes from a footer is compared with its checksum when it is read for delivery.

mod active;
mod commit;
mod committer;
mod compaction;
mod dir;
mod encoded;
mod footer;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod gather;
mod inbox;
mod inspect;
mod intervene;
mod keeper;
mod leasing;
mod lock;
mod note;
mod notice;
mod outbox;
mod owner;
mod pool;
mod quarantine;
mod read;
mod recovery;
mod scan;
mod segments;
mod settings;
mod shared;
mod space;
mod spare;
mod unreadable;
mod work;
mod writing;
mod zeros;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::watch;

use self::committer::Committer;
use self::dir::Dir;
use self::keeper::Keeper;
use self::lock::Lock;
use self::note::DOUBTFUL;
use self::shared::Shared;
use super::{Health, Pending, Spool};
use crate::message::QueueId;

pub use self::notice::Notice;
pub use self::settings::Settings;

/// Smaller segments would consist of their own frames.
const MIN_SEGMENT: u64 = 16 << 10;
/// Offsets within a segment have 32 bits.
const MAX_SEGMENT: u64 = 1 << 30;

/// The spool of one process in a folder of its own. Dropping it stops it as [`Spool::stop`] does.
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a spool cannot be opened. The operator must act.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which file.
        what: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// Another process has this spool open.
    #[error("{path} is in use by another postbud (process {pid})")]
    InUse {
        /// The folder of the spool.
        path: String,
        /// The process that holds it.
        pid: String,
    },
    /// The spool was written in a format that this program does not read.
    #[error(
        "{path} has format {found}, and this program reads format {known}. Start the postbud that wrote it, or drain the spool with it \
         first"
    )]
    OtherFormat {
        /// The folder of the spool.
        path: String,
        /// The format found there.
        found: u32,
        /// The format of this program.
        known: u32,
    },
}

impl Embedded {
    /// Opens the spool in `settings.dir`, or makes one. Blocks while segments are read: under 5 s for a million messages.
    pub fn open(settings: Settings) -> Result<Arc<Embedded>, OpenError> {
        let failed = |what: &str, source| OpenError::Io { what: format!("{what} {}", settings.dir.display()), source };
        if !(MIN_SEGMENT..=MAX_SEGMENT).contains(&settings.segment_size) {
            return Err(failed("segment_size of", io::ErrorKind::InvalidInput.into()));
        }
        std::fs::create_dir_all(&settings.dir).map_err(|source| failed("making", source))?;
        let lock = Lock::take(&settings.dir)?;
        quarantine::prepare(&settings.dir).map_err(|source| failed("making the quarantine in", source))?;
        let dir = Dir::open(&settings.dir).map_err(|source| failed("opening", source))?;
        // A file that is synced in a folder is lost with the folder, if the folder's own name is not on disk.
        dir.sync().map_err(|source| failed("syncing", source))?;
        let failed_at =
            |(path, source): (PathBuf, _)| OpenError::Io { what: format!("syncing {}", path.display()), source };
        dir.sync_parents().map_err(failed_at)?;
        let mut recovered = recovery::recover(&settings, &dir)?;
        let set_aside = quarantine::count(&settings.dir);
        let doubtful = std::mem::take(&mut recovered.doubtful);
        let shared = Arc::new(Shared::new(settings, dir, recovered, lock));
        shared.quarantined.store(set_aside, Ordering::Relaxed);
        shared.look_at_space();
        for id in doubtful {
            hold_doubtful(&shared, id);
        }
        let (send, chores) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&shared), send);
        let keeper = Keeper::new(Arc::clone(&shared), chores);
        let threads = vec![start("spool-commit", move || committer.run())?, start("spool-keep", move || keeper.run())?];
        Ok(Arc::new(Embedded { shared, threads: Mutex::new(threads) }))
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.threads.lock().expect("nothing panics while it holds the threads"))
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let failed = |source| OpenError::Io { what: format!("starting thread {name}"), source };
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(failed)
}

fn hold_doubtful(shared: &Shared, id: QueueId) {
    if shared.index().get(id).is_some() {
        unreadable::hold(shared, id, DOUBTFUL.into());
        shared.tell(Notice::Doubtful { id });
    }
}

/// Returns true if the disk, or a file system with checksums of its own, says that it cannot return these octets.
fn is_bad_block(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, super::Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| super::Error::Stopped("the program is stopping".into()))
}

impl Spool for Embedded {
    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health()
    }

    fn stop(&self) -> Pending<()> {
        self.shared.inbox.stop();
        let threads = self.take_threads();
        Box::pin(async move {
            // A thread that panicked has said so on stderr; what it left is what a crash leaves.
            let _ = blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await;
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.inbox.stop();
        self.take_threads().into_iter().for_each(|thread| drop(thread.join()));
    }
}

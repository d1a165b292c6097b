//! The embedded spool: an append-only log of segment files in one folder, written by one process.
//!
//! # States on disk
//!
//! The log is a sequence of segments, and a segment is a sequence of frames. Each frame has a length, a checksum, and a mark by which the
//! next frame is found behind damage (`frame`). A message is a message frame followed by its chunks. Each later event of the message is a
//! frame of its own, always behind the message. Segments are filled, read and deleted in the order of their numbers. The file of a deleted
//! segment is reused for a later one, unless a part of it could not be read.
//!
//! | a message is | by | a crash at that point leaves | the next start |
//! |---|---|---|---|
//! | absent | | nothing | does nothing |
//! | being written | the committer, before its sync | some or all of its frames | treats it as waiting if all frames are there: the client got no reply or 451, and may send it again. Otherwise sets the remains aside as *torn*: nobody was told that it was accepted |
//! | refused after a failed write or sync | the committer | frames that may be complete | ignores it, because the next segment begins by declaring that part void (at the stop at the latest). Only a crash before that brings it back, or a disk that accepts no more writes |
//! | waiting, never tried | the sync of a commit | the message | treats it as waiting. It is due at the time of the second attempt, which the commit recorded, because the first may have been in progress; after a clean stop it is due at once |
//! | leased, first attempt | a claim, in memory only | the message as before | as before: the attempt may be made twice |
//! | leased, later attempt | a claim, after the next due time is synced | the message with that due time | waits until then, so that there is no tight loop |
//! | partly settled or deferred | a settlement: a state frame with the states of all recipients | that state, if only the process died. After a power cut perhaps the previous state, until the next sync (at most `settle_delay` later) | uses the last state on disk; recipients that were relayed since are tried again |
//! | settled | a settlement: a done frame | the done frame; after a power cut perhaps the message as before, until the next sync | forgets the message, or treats it as before |
//! | held, released, expedited | an operator's call, answered after the sync | the frame | applies it |
//! | copied forward | compaction, when most of the disk space is settled mail | two copies, the later one with the present state | replaces the earlier copy by the later one |
//! | in a deleted segment | the keeper, oldest segment first, after nobody waits in it and the results of its mail are synced | the segment, or a file that is no longer a segment | reads the segment again: every message in it has a later done frame or copy. Or removes the file |
//! | unreadable | the disk | octets that do not match their checksum, or that the disk does not return | copies them to `quarantine/`, reports them in `quarantine/LIST`, in the log and by a [`Notice`], and continues behind the next mark. After the first read error in a segment, the file is kept until the following start, which scans it again, unless the disk is full. Until then it holds the messages whose results may be in what the disk did not return, and those in it are not lost yet |
//! | in doubt | the disk: a state, done or hold frame of it is unreadable, and is not part of the last write | its id, from the frame's head | holds it for that reason, because some recipients may have it. If even the id is unreadable, treats the message as it was before |
//!
//! The footer of a segment repeats the meaning of its frames, so that a start need not read messages. A damaged footer only costs time.
//! Facts from a footer are checked against the message's checksum when it is read for delivery.

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
mod hidden;
mod inbox;
mod inspect;
mod intervene;
mod keeper;
mod leasing;
mod lock;
mod lost;
mod moving;
mod note;
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
mod skipped;
mod space;
mod spare;
mod unreadable;
mod work;
mod writing;
mod zeros;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};

use thiserror::Error;
use tokio::sync::watch;

use self::committer::Committer;
use self::dir::Dir;
use self::keeper::Keeper;
use self::lock::Lock;
use self::note::{DOUBTFUL, RETURNED};
use self::shared::Shared;
use self::skipped::Skipped;
use super::moving::Mark;
use super::{Health, Notice, Pending, Spool};
use crate::machine::threads::{self, Thread};
use crate::message::QueueId;

pub use self::lost::{Lost, set_told, untold};
pub use self::settings::Settings;

/// In smaller segments, the frames of the segment itself would take most of the space.
const MIN_SEGMENT: u64 = 16 << 10;
/// The largest segment. Offsets in a segment have 32 bits.
const MAX_SEGMENT: u64 = 1 << 30;

/// The spool of one process in a folder of its own. Dropping it stops it as [`Spool::stop`] does.
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Thread>>,
}

/// Why a spool cannot be opened. The operator must act.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed, and the file.
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
    /// The spool takes part in a move.
    #[error("{path} cannot be used now: {mark}")]
    Moving {
        /// The folder of the spool.
        path: String,
        /// What it says of the move.
        mark: Box<Mark>,
    },
}

/// Refuses the spool in `dir` if this program cannot read its format. Only reads.
pub fn check(dir: &Path) -> Result<(), OpenError> {
    recovery::check_format(dir)
}

impl Embedded {
    /// Opens the spool in `settings.dir`, or creates it. Blocks while segments are read: under 5 s for a million messages.
    pub fn open(settings: Settings) -> Result<Arc<Embedded>, OpenError> {
        let failed = |what: &str, source| OpenError::Io { what: format!("{what} {}", settings.dir.display()), source };
        if !(MIN_SEGMENT..=MAX_SEGMENT).contains(&settings.segment_size) {
            return Err(failed("segment_size of", io::ErrorKind::InvalidInput.into()));
        }
        std::fs::create_dir_all(&settings.dir).map_err(|source| failed("making", source))?;
        let lock = Lock::take(&settings.dir)?;
        let mark =
            moving::read_mark(&settings.dir).map_err(|source| failed("reading the mark of a move in", source))?;
        if let Some(mark) = mark.filter(|_| !settings.for_move) {
            return Err(OpenError::Moving { path: settings.dir.display().to_string(), mark: Box::new(mark) });
        }
        quarantine::prepare(&settings.dir).map_err(|source| failed("making the quarantine in", source))?;
        let dir = Dir::open(&settings.dir).map_err(|source| failed("opening", source))?;
        // A synced file is lost if the name of its folder is not on disk.
        dir.sync().map_err(|source| failed("syncing", source))?;
        let failed_at =
            |(path, source): (PathBuf, _)| OpenError::Io { what: format!("syncing {}", path.display()), source };
        dir.sync_parents().map_err(failed_at)?;
        let mut recovered = recovery::recover(&settings, &dir)?;
        let skipped = Skipped::load(&settings.dir, settings.has_journal)
            .map_err(|source| failed("reading the quarantine in", source))?;
        let set_aside = quarantine::count(&settings.dir);
        let doubtful = std::mem::take(&mut recovered.doubtful);
        let returned = std::mem::take(&mut recovered.returned);
        let shared = Arc::new(Shared::new(settings, dir, recovered, skipped, lock));
        shared.quarantined.store(set_aside, Ordering::Relaxed);
        shared.look_at_space();
        for id in doubtful {
            hold_doubtful(&shared, id);
        }
        for id in returned {
            unreadable::hold(&shared, id, RETURNED.into());
            shared.tell(Notice::Unreadable { why: format!("message {id} is held: {RETURNED}") });
        }
        let (send, chores) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&shared), send);
        let keeper = Keeper::new(Arc::clone(&shared), chores);
        let threads = vec![start("spool-commit", move || committer.run())?, start("spool-keep", move || keeper.run())?];
        Ok(Arc::new(Embedded { shared, threads: Mutex::new(threads) }))
    }

    fn take_threads(&self) -> Vec<Thread> {
        std::mem::take(&mut *self.threads.lock().expect("nothing panics while it holds the threads"))
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Thread, OpenError> {
    let failed = |source| OpenError::Io { what: format!("starting thread {name}"), source };
    Thread::start(name, work).map_err(failed)
}

fn hold_doubtful(shared: &Shared, id: QueueId) {
    if shared.index().get(id).is_some() {
        unreadable::hold(shared, id, DOUBTFUL.into());
        let why = "a result cannot be read, and some recipients may have the message already".to_owned();
        shared.tell(Notice::Held { id, why });
    }
}

/// Returns true if the disk, or a file system with checksums, reports that it cannot return these octets.
fn is_bad_block(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, super::Error> {
    threads::blocking(work).await.map_err(|_| super::Error::Stopped("the program is stopping".into()))
}

impl Spool for Embedded {
    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health()
    }

    fn stop(&self) -> Pending<()> {
        self.shared.inbox.stop();
        let threads = self.take_threads();
        Box::pin(async move {
            // A panicked thread has reported that on stderr. The files are in the state that a crash leaves.
            for thread in threads {
                thread.ended().await;
            }
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.inbox.stop();
        self.take_threads().into_iter().for_each(Thread::join);
    }
}

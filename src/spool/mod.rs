//! The spool: holds accepted messages and the truth about each of their recipients until every one is settled.
//!
//! [`Spool`] is the port. The embedded implementation is an append-only segment log; a shared backend would be a table
//! with a lease column. The spool *holds*; every decision (when to retry, which lane goes first, when to give up) is the
//! queue's. Its promises:
//!
//! * [`Spool::commit`] returns a [`Durable`] only after the message would survive a power cut. Nothing else makes one,
//!   and only a [`Durable`] can be answered with 250.
//! * A record leaves only when all its recipients are settled. What cannot be read is set aside and reported, not deleted.
//! * The bytes of waiting messages are on disk, never in memory.
//!
//! # States on disk
//!
//! The embedded spool ([`Embedded`]) is a row of segments, each a row of frames with a length, a checksum and a mark to find
//! the next frame by. A message is a message frame with its chunks; what happens to it later is a frame of its own, always
//! behind it. Segments are filled, read and deleted in the order of their numbers. The file of a deleted one becomes another,
//! unless something in it could not be read.
//!
//! | a message is | put there by | a crash at that point leaves | the start does |
//! |---|---|---|---|
//! | absent | | nothing | nothing |
//! | being written | the committer, before its sync | some of its frames, or all of them | all there: takes it as waiting (the client heard nothing or 451, and may send it again); else sets what can be told of it aside as *torn*: nobody was told it was accepted |
//! | refused after a failed write or sync | the committer | its frames may be whole | ignores it: the next segment begins by declaring that batch void, at the latest at the stop; only a crash before that, or a disk that takes no more, brings it back |
//! | waiting, never tried | a commit's sync | the message | takes it; due when the commit said the second attempt would be, since the first may have been under way. After a stop in good order at once |
//! | leased, first attempt | a claim; in memory only | as before | as before: the attempt may be made twice |
//! | leased, later attempt | a claim, once the next due time is synced | the message with that due time | waits until then: no tight loop |
//! | settled in part or deferred | a settlement: a state frame with every recipient's state | the state, or the one before it until the next sync (≤ `settle_delay`) | takes the last state there is; what was delivered since is attempted twice |
//! | settled | a settlement: a done frame | the done frame, or the message as it was until the next sync | forgets it, or takes it as it was |
//! | held, released, expedited | an operator's call, answered after the sync | the frame | takes it so |
//! | copied forward | the keeper, when most of the disk space is settled mail | two copies, the later one with the present state | the later one replaces the earlier |
//! | in a deleted segment | the keeper, oldest segment first, once nobody waits in it | the segment, or a file that is none any more | reads it again: every message in it has its done frame or its copy behind it; or removes the file |
//! | unreadable | the disk | octets that do not match their checksum, or that it does not give | copies them to `quarantine/`, names them in `quarantine/LIST`, in the log and by a [`Notice`]; goes on behind the next mark. A segment of which the disk did not give something for the first time stays until the next start, however little waits in it, and is read again then (on a full disk it goes) |
//! | in doubt | the disk: a state, done or hold frame of it is unreadable, and it is not of the last write | its id, from the frame's head | holds it with that reason: some recipients may have it. Where even the id is unreadable, the message is taken as it was before |
//!
//! A segment's footer repeats the frames' meaning, so that a start need not read messages; a damaged footer costs time only.
//! What a start reads from a footer is checked against its checksums when it is read for delivery.

mod blank;
mod committer;
mod embedded;
mod footer;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod gather;
mod guard;
mod inbox;
mod index;
mod keeper;
mod lock;
mod prepared;
mod quarantine;
mod read;
mod record;
mod recovery;
mod scan;
mod segment;
pub mod settings;
mod shared;
mod sorted;
mod stock;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use crate::message::{CustomerId, Envelope, Lane, Piece, QueueId, Recipient};
use crate::smtp::Domain;
use crate::time::Timestamp;

pub use embedded::Embedded;
pub use settings::{Counters, Notice, Settings};

/// A future as the port returns it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A message ready to be made durable.
pub struct Draft {
    /// Its queue id.
    pub id: QueueId,
    /// Where it will wait.
    pub lane: Lane,
    /// Envelope as accepted.
    pub envelope: Envelope,
    /// The Message-ID, without angle brackets, for events.
    pub message_id: String,
    /// Header lines that go before the message: signatures, Received, added Date and Message-ID. CRLF line ends.
    pub prefix: Vec<u8>,
    /// The message as accepted: header (Bcc dropped), blank line, body; CRLF line ends, dots not stuffed.
    pub content: Vec<Piece>,
    /// The last octet of the header block within `content` (where the blank line begins), so that a route may cut fields.
    pub header_len: u32,
    /// When the attempt after the first is due. Stored now, so that the first attempt needs no write before dialling.
    pub retry_at: Timestamp,
    /// Not to be delivered until released; with the reason.
    pub held: Option<String>,
}

/// Proof that a message is on disk and synced. Only a spool makes one.
#[derive(Debug)]
#[must_use = "the client waits for its 250"]
pub struct Durable {
    id: QueueId,
}

impl Durable {
    /// The message's queue id.
    pub fn id(&self) -> QueueId {
        self.id
    }
}

/// What happened to one recipient so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// To be tried; with the last reply heard, if any.
    Waiting {
        /// `451 4.7.1 greylisted`, or the error of the connection.
        last_reply: Option<String>,
    },
    /// The smarthost took it.
    Delivered {
        /// Its 250.
        reply: String,
    },
    /// Given up: bounced, expired or removed by an operator.
    Failed {
        /// The last reply heard or the reason.
        reply: String,
    },
}

impl RecipientState {
    /// Whether an attempt is still owed.
    pub fn is_waiting(&self) -> bool {
        matches!(self, RecipientState::Waiting { .. })
    }
}

/// The due time of a record that an operator made due at once: earlier than every other. It also says for how long the record was
/// not to be tried for the operator's sake (on hold), since that must not make it older.
pub fn at_once(kept_back: Duration) -> Timestamp {
    (Timestamp::EPOCH + kept_back).min(EARLIEST_REAL)
}

/// Whether this is the due time of a record that an operator released: it is owed an attempt, however old it is.
pub fn is_released(due: Timestamp) -> bool {
    kept_back(due).is_some_and(|time| !time.is_zero())
}

/// For a due time that [`at_once`] made, how long the record was kept back.
pub fn kept_back(due: Timestamp) -> Option<Duration> {
    (due <= EARLIEST_REAL).then(|| due.since(Timestamp::EPOCH))
}

/// The year 2000: no mail was due before, and none is held for thirty years.
const EARLIEST_REAL: Timestamp = Timestamp::from_millis(946_684_800_000);

/// All that is known of a record, without its bytes.
#[derive(Clone, Debug)]
pub struct Record {
    /// Queue id.
    pub id: QueueId,
    /// Where it waits.
    pub lane: Lane,
    /// Envelope as accepted.
    pub envelope: Envelope,
    /// One state a recipient, in the envelope's order.
    pub recipients: Vec<RecipientState>,
    /// Message-ID without angle brackets.
    pub message_id: String,
    /// Prefix and content together, in octets.
    pub size: u64,
    /// Attempts made that count toward the schedule.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// Time spent waiting for the route's own caps; does not count toward the maximum age.
    pub waited_for_caps: Duration,
    /// Whether a delay notice was sent.
    pub delay_notified: bool,
    /// Not to be delivered until released; with the reason.
    pub held: Option<String>,
    /// An attempt is being made at this moment.
    pub leased: bool,
}

impl Record {
    /// The recipients still owed an attempt, with their index in the envelope.
    pub fn waiting(&self) -> impl Iterator<Item = (usize, &Recipient)> {
        let states = self.recipients.iter();
        self.envelope
            .recipients
            .iter()
            .zip(states)
            .enumerate()
            .filter(|(_, (_, state))| state.is_waiting())
            .map(|(i, (r, _))| (i, r))
    }
}

/// A record handed out for one attempt. It comes back through [`Spool::settle`]; a lease that is dropped is given back as
/// if nothing had been tried.
pub struct Lease {
    /// The record as of now.
    pub record: Record,
    /// The bytes to send.
    pub bytes: Bytes,
    guard: Box<dyn std::any::Any + Send + Sync>,
}

/// The bytes of a leased message: the prefix and the start of the content in memory, the rest read in chunks.
pub struct Bytes {
    /// Header lines that go first.
    pub prefix: Vec<u8>,
    /// The octet of the content at which the blank line begins.
    pub header_len: u32,
    /// Content, prefix not counted, in octets.
    pub content_len: u64,
    source: Arc<dyn ReadChunk>,
}

impl Bytes {
    /// Puts together what a backend has read and what it will read later.
    pub fn new(prefix: Vec<u8>, header_len: u32, content_len: u64, source: Arc<dyn ReadChunk>) -> Self {
        Bytes { prefix, header_len, content_len, source }
    }

    /// How many chunks the content has.
    pub fn chunks(&self) -> usize {
        self.source.chunks()
    }

    /// Reads chunk `index` (≤ 256 KiB; the header block lies wholly in the first). Small messages are in memory
    /// already; others are read on a blocking thread.
    pub async fn chunk(&self, index: usize) -> Result<Vec<u8>, Error> {
        Arc::clone(&self.source).read(index).await
    }
}

/// How a backend hands out content.
pub trait ReadChunk: Send + Sync {
    /// How many chunks there are.
    fn chunks(&self) -> usize;
    /// Reads one.
    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>>;
}

/// What the queue decided after an attempt.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// New states, by index in the envelope; recipients not named stay as they are.
    pub results: Vec<(usize, RecipientState)>,
    /// When the next attempt is due, if recipients are still waiting.
    pub due: Timestamp,
    /// Whether this attempt counts toward the schedule (a failure of the route does not).
    pub counts: bool,
    /// To be added to [`Record::waited_for_caps`].
    pub waited_for_caps: Duration,
    /// Set once a delay notice went out.
    pub delay_notified: bool,
    /// Hold the record, with the reason.
    pub hold: Option<String>,
}

/// How a settlement was taken. Either way it stands, and can be told of.
#[derive(Debug)]
pub enum Settled {
    /// It is written with the next sync.
    Soon,
    /// The spool cannot be written for now: it is written once that works again, and a crash before then has the attempt made once
    /// more. The caller stops delivering: sending on would only make duplicates.
    InTrouble(Error),
}

/// Which records are meant: those that fit everything given.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these.
    pub ids: Option<Arc<BTreeSet<QueueId>>>,
    /// In these lanes.
    pub lanes: Option<Arc<BTreeSet<Lane>>>,
    /// Of this customer.
    pub customer: Option<CustomerId>,
    /// With a waiting recipient in this domain.
    pub recipient_domain: Option<Domain>,
    /// Accepted after this one: the next page of a list that was cut at its limit. Costs nothing for what it skips.
    pub after: Option<QueueId>,
    /// Arrived before this.
    pub arrived_before: Option<Timestamp>,
    /// Held, or not held.
    pub held: Option<bool>,
    /// Tried before, or not.
    pub deferred: Option<bool>,
    /// With a delay notice sent, or not.
    pub delay_notified: Option<bool>,
    /// Due after this.
    pub due_after: Option<Timestamp>,
}

impl Filter {
    /// One record.
    pub fn one(id: QueueId) -> Self {
        Filter::of([id])
    }

    /// These records.
    pub fn of(ids: impl IntoIterator<Item = QueueId>) -> Self {
        Filter { ids: Some(Arc::new(ids.into_iter().collect())), ..Filter::default() }
    }

    /// The lowest id that can fit, as far as [`after`](Self::after) says.
    pub fn first(&self) -> QueueId {
        QueueId::from_u64(self.after.map_or(0, |id| id.as_u64().saturating_add(1)))
    }
}

/// Counts of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Records waiting, leased and held together.
    pub records: u64,
    /// Of these held.
    pub held: u64,
    /// Of these tried before.
    pub deferred: u64,
    /// Of these leased at this moment.
    pub leased: u64,
    /// When the first record that is neither held nor leased is due.
    pub next_due: Option<Timestamp>,
    /// When the last of these is due.
    pub last_due: Option<Timestamp>,
    /// Octets on disk.
    pub bytes: u64,
    /// The oldest record.
    pub oldest: Option<QueueId>,
}

/// What the spool holds.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// By lane.
    pub lanes: BTreeMap<Lane, LaneStats>,
    /// Octets the spool takes on disk, settled records not yet given back included.
    pub disk_bytes: u64,
    /// Records set aside as unreadable since the spool was made.
    pub quarantined: u64,
}

/// What went wrong, by who must act.
#[derive(Debug, Error)]
pub enum Error {
    /// Less space or fewer inodes than must stay free, or none for the next file: the operator makes room; the client tries again
    /// later (452 4.3.1).
    #[error("the spool has no room for new mail: {lack}")]
    Full {
        /// What there is too little of, and what to do about it.
        lack: String,
    },
    /// A write or sync failed. What was written is of unknown outcome; the client hears 451 4.3.0.
    #[error("{what}: {source}")]
    Io {
        /// What was being done to which file.
        what: String,
        /// The errno.
        #[source]
        source: std::io::Error,
    },
    /// A record does not match its checksum. It has been set aside.
    #[error("record {id} cannot be read and was set aside: {why}")]
    Corrupt {
        /// Its id.
        id: QueueId,
        /// What does not match.
        why: String,
    },
    /// Another process has this spool open.
    #[error("{path} is in use by another postbud (process {pid})")]
    InUse {
        /// The spool.
        path: String,
        /// Who holds it.
        pid: String,
    },
    /// The spool was written by a newer program.
    #[error(
        "{path} has format {found}; this program reads up to {known}. Start the newer postbud again, or drain the spool with it first"
    )]
    Newer {
        /// The spool.
        path: String,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// No such record, or already settled.
    #[error("no message {0} in the queue")]
    Unknown(QueueId),
    /// The spool is stopping or has stopped after a failed sync.
    #[error("the spool takes no more work: {0}")]
    Stopped(String),
}

/// Whether the disk, or a file system with checksums of its own, says that it cannot give these octets.
fn is_bad_block(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

/// Whether something failed because the process or the system had too little of something (open files, memory), so that every
/// other call would fail likewise, and this one succeed another time. Any other error is about the file that it was met in.
pub fn is_short_of_means(error: &Error) -> bool {
    use rustix::io::Errno;
    let Error::Io { source, .. } = error else { return false };
    let means = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    means.map(|errno| Some(errno.raw_os_error())).contains(&source.raw_os_error())
}

/// The port. All methods may be called from any thread and none blocks an async worker for long.
pub trait Spool: Send + Sync + 'static {
    /// Makes a message durable. The future may be dropped: the commit finishes all the same.
    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>>;

    /// Hands out up to `max` records of `lane` that are due at `now`, oldest due time first. For a record tried before,
    /// `retry_at(attempts so far + 1)` is saved durably before its lease is returned, so that a crash while dialling cannot make
    /// a tight loop. Records that cannot be read are held or set aside, and the others handed out. Where that is for want of
    /// means (too many open files) they stay as they are; an error where that leaves none, and the caller asks again later.
    fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        max: usize,
        retry_at: &dyn Fn(u32) -> Timestamp,
    ) -> Pending<Result<Vec<Lease>, Error>>;

    /// Records what came of an attempt. The write rides the next sync. After an error nothing is recorded, and the lease is given
    /// back.
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>>;

    /// Counts, from memory.
    fn stats(&self) -> Stats;

    /// The lanes with a record that can be claimed at `now`, and when the next of the others becomes due. What the queue looks
    /// at whenever it is woken: cheap, O(lanes due).
    fn due(&self, now: Timestamp) -> (Vec<Lane>, Option<Timestamp>);

    /// Records that match, oldest first, at most `limit`. Leaves out, and logs, what cannot be read.
    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>>;

    /// One record and its header block (prefix first), for `queue show`.
    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>>;

    /// Holds matching records, with one sync for thousands of them. Returns how many. A record leased at this moment is held
    /// once its attempt ends.
    fn hold(&self, filter: Filter, reason: String) -> Pending<Result<u64, Error>>;

    /// Releases matching held records, with one sync; they are [due at once](at_once), and the time since they were due
    /// before does not make them older. Returns how many.
    fn release(&self, filter: Filter) -> Pending<Result<u64, Error>>;

    /// Makes matching records [due at once](at_once), with one sync; what is due already stays due since then. Returns how many.
    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>>;

    /// Leases matching records whether due or not, held or not, so that an operator's decision can be settled on them. Leaves out
    /// what cannot be read, as [`claim`](Self::claim) does.
    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>>;

    /// Waits until everything that was settled so far is durable.
    fn sync(&self) -> Pending<Result<(), Error>>;

    /// Told whenever a record may have become due earlier than before (commit, release, expedite). A hint only.
    fn changed(&self) -> Arc<Notify>;

    /// Stops: finishes what was begun, syncs, closes. Later calls answer [`Error::Stopped`].
    fn stop(&self) -> Pending<()>;
}

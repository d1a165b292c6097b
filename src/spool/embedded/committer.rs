//! The committer: one thread that takes everything that waits, writes it, syncs once and answers all.
//!
//! While one batch syncs the next one gathers, and under load a little longer ([`gather`](super::gather)). A change that
//! nobody waits for (a settlement) rides the next draft's sync, or gets its own after `settle_delay`.
//!
//! When a write or a sync fails, the whole batch counts as not written: drafts are refused, changes go back to the front of
//! the line. The segment is abandoned: never written to or synced again, since after a failed fsync the kernel calls the
//! lost pages clean. The next segment begins by declaring the failed part void, so that a restart does not bring back what
//! was refused; only a crash before that can.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::codec::Writer;
use super::footer::Note;
use super::frame::{HEAD, Head, Kind};
use super::gather::Served;
use super::inbox::{Change, Item, Taken};
use super::index::{Place, Put};
use super::keeper::Chore;
use super::segment::Stage;
use super::shared::Shared;
use super::writing::Writing;
use crate::message::QueueId;
use crate::spool::{Durable, Error};
use crate::time::Timestamp;

/// Failed syncs in a row after which the spool takes no more work.
const FAILURES: u32 = 3;
/// How long to wait before changes that could not be written are tried again.
const RETRY: Duration = Duration::from_millis(500);
/// After a failure with nothing left to be written, how long until it is tried whether the disk takes anything again. Delivery
/// waits for that, and whoever sends mail here only while it can be written.
const PROBE: Duration = Duration::from_secs(5);
/// The room that is looked for then: what a usual message takes.
const USUAL: u64 = 64 << 10;
/// The most that is written before a sync.
const BATCH: u64 = 16 << 20;
/// What a file system reads before it overwrites a part of it.
const BLOCK: u64 = 4096;
const ZEROS: &[u8] = &[0; BLOCK as usize];

/// The thread's state.
pub(super) struct Committer {
    shared: Arc<Shared>,
    keeper: Sender<Chore>,
    active: Option<Writing>,
    /// What failed and is not yet declared void on disk.
    voids: Vec<Place>,
    /// To be written, in order.
    line: VecDeque<Item>,
    failures: u32,
    heads: Vec<u8>,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, keeper: Sender<Chore>) -> Self {
        let (line, voids) = (VecDeque::new(), Vec::new());
        Committer { shared, keeper, active: None, voids, line, failures: 0, heads: Vec::new() }
    }

    /// Runs until the spool is stopped.
    pub fn run(mut self) {
        let _answers = AnswersAll(Arc::clone(&self.shared));
        loop {
            let retry = match self.line.is_empty() {
                true => self.is_to_probe().then_some(PROBE),
                false => Some(RETRY),
            };
            let Taken { items, stopping } = self.shared.inbox.take(self.shared.settings.settle_delay, retry);
            self.line.extend(items);
            if self.line.is_empty() && !stopping && self.is_to_probe() {
                self.probe();
            }
            let served = self.write_line();
            if stopping {
                break self.finish();
            }
            let pause = served.pause(Timestamp::now());
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
    }

    fn is_to_probe(&self) -> bool {
        self.shared.is_troubled() && self.shared.stopped().is_none()
    }

    /// Writes nothing but what failed so far, to see whether that works again.
    fn probe(&mut self) {
        if let Err(error) = self.make_room(USUAL.min(self.shared.smallest() / 4), true) {
            self.no_segment(&error);
        } else if let Err(error) = self.declare_voids() {
            self.failed(Vec::new(), &error);
        } else {
            self.wrote(Vec::new(), &mut Served::default());
        }
    }

    /// Writes what is in the line, batch by batch, until it is empty or writing fails.
    fn write_line(&mut self) -> Served {
        let mut served = Served::default();
        while !self.line.is_empty() {
            if let Some(error) = self.shared.stopped() {
                self.line.drain(..).for_each(|item| refuse(item, || Error::Stopped(error.clone())));
                break;
            }
            let (batch, len) = match self.next_batch() {
                Ok(batch) => batch,
                Err(error) if self.no_room(&error) => continue,
                Err(_) => break,
            };
            if let Err(error) = self.write(&batch, len) {
                self.failed(batch, &error);
                break;
            }
            self.wrote(batch, &mut served);
        }
        served
    }

    /// Takes as many items as fit the segment, with the room they need.
    fn next_batch(&mut self) -> io::Result<(Vec<Item>, u64)> {
        let (first_len, is_draft) =
            self.line.front().map_or((0, false), |first| (frames_len(first), matches!(first, Item::Draft(..))));
        self.make_room(first_len, is_draft)?;
        let active = self.active.as_ref().expect("make_room() left one");
        let mut len = self.opening_len(active);
        let reserve = self.reserve(active);
        let mut batch = Vec::with_capacity(self.line.len());
        while let Some(item) = self.line.front() {
            let item_len = frames_len(item);
            let kept = if matches!(item, Item::Draft(..)) { reserve } else { 0 };
            let fits = active.end + len + item_len + kept <= active.limit && len + item_len <= BATCH;
            if !fits && !batch.is_empty() {
                break;
            }
            len += item_len;
            batch.extend(self.line.pop_front());
        }
        Ok((batch, len))
    }

    /// Sees to it that the active segment has room for `len` octets: takes the next segment if not, and makes it longer for what
    /// is longer than a segment.
    fn make_room(&mut self, len: u64, is_draft: bool) -> io::Result<()> {
        let end = |this: &Self, active: &Writing| {
            let reserve = if is_draft { this.reserve(active) } else { 0 };
            active.end + this.opening_len(active) + len + reserve
        };
        if !self.active.as_ref().is_some_and(|active| active.is_new() || end(self, active) <= active.limit) {
            self.turn_over()?;
        }
        let active = self.active.as_ref().expect("there was one, or it was just taken");
        let limit = end(self, active);
        match &mut self.active {
            Some(active) if limit > active.limit => active.grow(limit),
            _ => Ok(()),
        }
    }

    /// Takes the next segment.
    fn turn_over(&mut self) -> io::Result<()> {
        let next = self.shared.next_segment()?;
        self.shared.segments.add(&next, Stage::Active);
        if let Some(full) = self.active.replace(next) {
            self.shared.segments.set_stage(full.number, Stage::Sealing);
            // The keeper outlives the committer; were it gone, the segment would be scanned at the next start.
            let _ = self.keeper.send(Chore::Seal(Box::new(full)));
        }
        let _ = self.keeper.send(Chore::MakeSpare);
        Ok(())
    }

    /// Room that drafts leave for settlements in the last segment there is.
    fn reserve(&self, active: &Writing) -> u64 {
        if self.shared.has_spare() { 0 } else { active.limit / 8 }
    }

    /// What precedes the items of a batch.
    fn opening_len(&self, active: &Writing) -> u64 {
        let voids = if active.is_new() { self.voids.len() as u64 } else { 0 };
        HEAD as u64 + voids * (HEAD as u64 + 10)
    }

    /// One write, one sync.
    fn write(&mut self, batch: &[Item], len: u64) -> io::Result<()> {
        let active = self.active.as_mut().expect("make_room() left one");
        self.heads.clear();
        let mut opening = Vec::new();
        if active.is_new() {
            for void in &self.voids {
                let mut out = Writer::default();
                out.number(void.segment.into());
                out.number(void.at.into());
                opening.extend_from_slice(&Head::of(Kind::Void, QueueId::from_u64(0), &out.0).encode(active.mark));
                opening.extend_from_slice(&out.0);
            }
        }
        let mut at = active.end + (opening.len() + HEAD) as u64;
        let end = at + batch.iter().map(frames_len).sum::<u64>();
        let begins = Head::of(Kind::Batch, QueueId::from_u64(end), &[]);
        opening.extend_from_slice(&begins.encode(active.mark));
        for item in batch {
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => {
                    active.footer.push(&message.note(at as u32));
                    message.heads(active.mark, &mut self.heads);
                }
                Item::Note(change) => {
                    let note = &change.note;
                    match note {
                        Note::State { id, status, .. } => {
                            active.footer.push(&Note::State { id: *id, at: at as u32, status: status.clone() });
                        }
                        other => active.footer.push(other),
                    }
                    self.heads.extend_from_slice(&change.head.encode(active.mark));
                }
                Item::Barrier(_) => {}
            }
            at += frames_len(item);
        }
        let mut heads = self.heads.chunks_exact(HEAD);
        let mut slices = Vec::with_capacity(1 + batch.len() * 5);
        slices.push(IoSlice::new(&opening));
        for item in batch {
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => message.slices(&mut heads, &mut slices),
                Item::Note(change) => {
                    slices.push(IoSlice::new(heads.next().expect("one head was made for each frame")));
                    if !change.payload.is_empty() {
                        slices.push(IoSlice::new(&change.payload));
                    }
                }
                Item::Barrier(_) => {}
            }
        }
        debug_assert!(at == end && end - active.end <= len);
        // To the end of the block: of a block written in part the rest would have to be read first.
        let rest = (end.next_multiple_of(BLOCK).min(active.limit)).saturating_sub(end);
        slices.push(IoSlice::new(&ZEROS[..rest as usize]));
        let began = Instant::now();
        write_all_at(&active.file, &mut slices, active.end)?;
        rustix::fs::fdatasync(&active.file)?;
        let written = end - active.end;
        active.end = end;
        let counters = &self.shared.settings.counters;
        counters.sync_seconds.observe(began.elapsed().as_secs_f64());
        counters.syncs.inc();
        counters.written.inc_by(written);
        Ok(())
    }

    /// The batch is durable: the index learns of it, everyone is answered.
    fn wrote(&mut self, batch: Vec<Item>, served: &mut Served) {
        let active = self.active.as_ref().expect("it was just written to");
        let segment = active.number;
        let mut at = active.end - batch.iter().map(frames_len).sum::<u64>();
        let before = served.count();
        let now = Timestamp::now();
        {
            let mut index = self.shared.index();
            for item in &batch {
                let place = Place { segment, at: at as u32 };
                at += frames_len(item);
                match item {
                    Item::Draft(message, _) => {
                        served.add(message.id);
                        let lane = index.intern(&message.lane);
                        let (domains, status) = (message.domains, message.status.clone());
                        let put = Put { id: message.id, place, disk_len: message.disk_len(), lane, domains, status };
                        index.put(put, Some(now));
                    }
                    Item::Copy(message, _) => index.moved(message.id, place, message.disk_len()),
                    Item::Note(Change { note: Note::State { id, .. }, state: Some(state), .. }) => {
                        index.state_written(*id, state, place);
                    }
                    Item::Note(_) | Item::Barrier(_) => {}
                }
            }
            self.shared.settings.counters.records.set(index.len() as i64);
        }
        for item in batch {
            // Whoever waited may have gone; the message is durable all the same.
            match item {
                Item::Draft(message, reply) => {
                    let id = message.id;
                    // Before the answer: with it the room of this message in memory is another's.
                    drop(message);
                    let _ = reply.send(Ok(Durable::new(id)));
                }
                Item::Copy(_, reply) => drop(reply.send(true)),
                Item::Barrier(reply) => drop(reply.send(Ok(()))),
                Item::Note(_) => {}
            }
        }
        let drafts = served.count() - before;
        if drafts > 0 {
            self.shared.settings.counters.commits.inc_by(drafts);
            self.shared.changed.notify_one();
        }
        self.failures = 0;
        self.voids.clear();
        self.shared.set_recovered();
    }

    /// A write or sync failed: see the module's comment.
    fn failed(&mut self, batch: Vec<Item>, error: &io::Error) {
        let why = match self.active.take() {
            Some(active) => {
                self.voids.push(Place { segment: active.number, at: active.end as u32 });
                self.shared.segments.close(active.number, None);
                format!("segment {:08x}, offset {}: {error}", active.number, active.end)
            }
            None => error.to_string(),
        };
        self.trouble(why, error);
        let mut line = self.refuse_but_changes(batch, error);
        line.append(&mut self.line);
        self.line = line;
    }

    /// There is no room for the first in the line. On a full disk it alone is refused, if it is a draft: shorter ones behind it
    /// may have room. Else every draft is, and changes wait. Returns whether the rest of the line may be tried.
    fn no_room(&mut self, error: &io::Error) -> bool {
        if is_full(error)
            && let Some(draft) = self.line.pop_front_if(|item| matches!(item, Item::Draft(..) | Item::Copy(..)))
        {
            // Not a fault of the disk, and results can still be recorded: the guard says the rest. It is full for everybody where
            // a usual message finds no room.
            if frames_len(&draft) < self.shared.smallest() {
                self.shared.space.set_spare(if self.shared.has_spare() { Ok(()) } else { Err(error) });
                self.shared.look_at_space();
            }
            self.refuse_for(draft, error);
            return true;
        }
        self.no_segment(error);
        let line = std::mem::take(&mut self.line);
        self.line = self.refuse_but_changes(line, error);
        false
    }

    fn no_segment(&mut self, error: &io::Error) {
        self.trouble(format!("no segment can be made in {}: {error}", self.shared.dir.path.display()), error);
    }

    /// Counts and tells. Comes before the refusals: who has one finds the state that explains it.
    fn trouble(&mut self, why: String, error: &io::Error) {
        self.shared.settings.counters.failures.inc();
        if !is_full(error) && error.kind() != io::ErrorKind::ReadOnlyFilesystem {
            self.failures += 1;
        }
        if self.failures >= FAILURES {
            self.shared.stop_with(why);
        } else {
            self.shared.set_troubled(why);
        }
    }

    /// Refuses what somebody waits for. Returns the changes, in order: they are tried again.
    fn refuse_but_changes(&self, items: impl IntoIterator<Item = Item>, error: &io::Error) -> VecDeque<Item> {
        let (changes, others): (VecDeque<_>, VecDeque<_>) =
            items.into_iter().partition(|item| matches!(item, Item::Note(_)));
        others.into_iter().for_each(|item| self.refuse_for(item, error));
        changes
    }

    fn refuse_for(&self, item: Item, error: &io::Error) {
        refuse(item, || match is_full(error) {
            true => self.shared.space.error(&self.shared.settings),
            false => Error::Io { what: "writing the spool".into(), source: again(error) },
        });
    }

    /// A batch of nothing but voids.
    fn declare_voids(&mut self) -> io::Result<()> {
        self.make_room(0, false)?;
        let len = self.active.as_ref().map_or(0, |active| self.opening_len(active));
        self.write(&[], len)
    }

    /// The last words: nothing is in flight any more. Then the segment is sealed.
    fn finish(mut self) {
        if !self.line.is_empty() {
            self.write_line();
        }
        let lost = self.line.len();
        if lost > 0 {
            tracing::error!(
                results = lost,
                "results could not be recorded before the stop: these attempts will be made again"
            );
        }
        if !self.voids.is_empty()
            && let Err(error) = self.declare_voids()
        {
            tracing::warn!(%error, "that mail was refused after a failed write could not be recorded: it may come back");
        }
        let in_order = lost == 0 && self.shared.nothing_leased();
        if let Some(mut active) = self.active.take() {
            if in_order && self.shared.stopped().is_none() {
                let clean = Head::of(Kind::Clean, QueueId::from_u64(0), &[]).encode(active.mark);
                let written = write_all_at(&active.file, &mut [IoSlice::new(&clean)], active.end);
                match written.and_then(|()| Ok(rustix::fs::fdatasync(&active.file)?)) {
                    Ok(()) => {
                        active.end += HEAD as u64;
                        active.footer.push(&Note::Clean);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the clean stop could not be recorded; the next start reads more");
                        return;
                    }
                }
            }
            self.shared.segments.set_stage(active.number, Stage::Sealing);
            let _ = self.keeper.send(Chore::Seal(Box::new(active)));
        }
    }
}

/// However the thread ends, nobody waits for it for ever.
struct AnswersAll(Arc<Shared>);

impl Drop for AnswersAll {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_with("the committer panicked".into());
        }
        self.0.inbox.abandon();
    }
}

/// Octets of an item's frames.
fn frames_len(item: &Item) -> u64 {
    match item {
        Item::Draft(message, _) | Item::Copy(message, _) => message.disk_len().into(),
        Item::Note(change) => change.head.frame_len(),
        Item::Barrier(_) => 0,
    }
}

fn refuse(item: Item, error: impl Fn() -> Error) {
    match item {
        Item::Draft(_, reply) => drop(reply.send(Err(error()))),
        Item::Copy(_, reply) => drop(reply.send(false)),
        Item::Barrier(reply) => drop(reply.send(Err(error()))),
        Item::Note(_) => {}
    }
}

/// The same error once more; `io::Error` cannot be cloned.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn write_all_at(file: &std::fs::File, mut slices: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
    // IOV_MAX on Linux.
    const MOST: usize = 1024;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = &slices[..slices.len().min(MOST)];
        match rustix::io::pwritev(file, some, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

//! The embedded spool: the port over the segment log of one directory.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::committer::Committer;
use super::footer::{DOUBTFUL, Note};
use super::inbox::{Change, Item, NOTES};
use super::index::{Entry, Index, Wanted};
use super::keeper::Keeper;
use super::lock::Lock;
use super::prepared::Prepared;
use super::read::{self, Patience, Unread};
use super::record::{State, Status, domain_bit};
use super::segment::Dir;
use super::shared::Shared;
use super::{
    Draft, Durable, Error, Filter, Lease, Pending, Record, Settings, Settled, Settlement, Spool, Stats, at_once,
    is_short_of_means, kept_back,
};
use super::{quarantine, recovery};
use crate::message::{Lane, QueueId};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Entries looked at while the index is locked.
const LOOK: usize = 20_000;
/// How often a message is looked for again that moved while it was being read.
const TRIES: usize = 5;

/// The embedded spool. Dropping it stops it as [`Spool::stop`] does.
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the spool in `settings.dir`, or makes one. Errors where another process has it open, where a newer program
    /// wrote it, or where the directory cannot be used. Blocks while segments are read: under 5 s for a million messages.
    pub fn open(settings: Settings) -> Result<Arc<Embedded>, Error> {
        let failed = |what: &str, source| Error::Io { what: format!("{what} {}", settings.dir.display()), source };
        if !(MIN_SEGMENT..=1 << 30).contains(&settings.segment_size) {
            return Err(failed("segment_size of", std::io::ErrorKind::InvalidInput.into()));
        }
        std::fs::create_dir_all(&settings.dir).map_err(|source| failed("making", source))?;
        let lock = Lock::take(&settings.dir)?;
        quarantine::prepare(&settings.dir).map_err(|source| failed("making the quarantine in", source))?;
        let dir = Dir::open(&settings.dir).map_err(|source| failed("opening", source))?;
        // What is synced in a folder is lost with it, if its own name is not on disk.
        dir.sync().map_err(|source| failed("syncing", source))?;
        dir.sync_parents()
            .map_err(|(path, source)| Error::Io { what: format!("syncing {}", path.display()), source })?;
        let recovered = recovery::recover(&settings, &dir)?;
        let set_aside = quarantine::count(&settings.dir);
        let shared =
            Arc::new(Shared::new(settings, dir, recovered.segments, recovered.index, recovered.next_segment, lock));
        shared.quarantined.store(set_aside, Ordering::Relaxed);
        shared.look_at_space();
        for id in recovered.doubtful {
            hold_doubtful(&shared, id);
        }
        let (send, chores) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&shared), send);
        let keeper = Keeper::new(Arc::clone(&shared), chores);
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).map_err(|source| failed_thread(name, source))
        };
        let threads = vec![
            start("spool-commit", Box::new(move || committer.run()))?,
            start("spool-keep", Box::new(move || keeper.run()))?,
        ];
        Ok(Arc::new(Embedded { shared, threads: Mutex::new(threads) }))
    }
}

/// Smaller segments would consist of their own frames.
const MIN_SEGMENT: u64 = 16 << 10;

fn failed_thread(name: &str, source: std::io::Error) -> Error {
    Error::Io { what: format!("starting thread {name}"), source }
}

fn hold_doubtful(shared: &Shared, id: QueueId) {
    if shared.index().get(id).is_some() {
        read::hold(shared, id, DOUBTFUL.into());
        shared.tell(super::Notice::Doubtful { id });
    }
}

/// For a message that was on hold, however briefly: it [was kept back](super::is_released).
const LEAST_KEPT_BACK: Duration = Duration::from_millis(1);
/// A lease that a panic dropped comes back after this long.
const AFTER_PANIC: Duration = Duration::from_secs(300);

/// What makes a dropped lease come back.
struct Held {
    shared: Arc<Shared>,
    id: QueueId,
    due: Timestamp,
    settled: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled {
            // A message that makes the program panic must not do so again at once, and again.
            let due = if std::thread::panicking() { Timestamp::now() + AFTER_PANIC } else { self.due };
            self.shared.index().give_back(self.id, due);
            self.shared.changed.notify_one();
        }
    }
}

fn held(shared: &Arc<Shared>, entry: &Entry) -> Held {
    Held { shared: Arc::clone(shared), id: entry.id, due: entry.due, settled: false }
}

impl Embedded {
    /// Changes every matching record that `change` has a change for. Answered once all of it is durable.
    fn change_matching(
        &self,
        filter: Filter,
        change: impl Fn(&mut Index, &Entry) -> Option<Note> + Send + Sync + 'static,
    ) -> Pending<Result<u64, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.may_work()?;
            let mut changed = 0;
            let mut from = Some(filter.first());
            let bits = filter.recipient_domain.as_ref().map_or(0, domain_bit);
            while let Some(start) = from {
                let (found, next) = shared.index().select(&filter, bits, start, LOOK, usize::MAX);
                from = next;
                let found = in_domain(&shared, &filter, found).await?;
                {
                    let mut index = shared.index();
                    let mut changes = Vec::new();
                    for id in found {
                        let Some(entry) = index.get(id).copied() else { continue };
                        if index.matches(&entry, &filter, bits)
                            && let Some(note) = change(&mut index, &entry)
                        {
                            changes.push(Change::new(note, None));
                        }
                    }
                    changed += changes.len() as u64;
                    if changes.is_empty() {
                        continue;
                    }
                    shared.write(&mut index, changes);
                }
                shared.synced().await?;
            }
            shared.changed.notify_one();
            Ok(changed)
        })
    }
}

/// How many entries to select for `most` records: more where the disk has the last word.
fn enough(filter: &Filter, most: usize) -> usize {
    if filter.recipient_domain.is_some() { usize::MAX } else { most }
}

/// Of these, the ones with a recipient waiting in the filter's domain, if it names one.
async fn in_domain(shared: &Arc<Shared>, filter: &Filter, found: Vec<Entry>) -> Result<Vec<QueueId>, Error> {
    let Some(domain) = filter.recipient_domain.clone() else {
        return Ok(found.into_iter().map(|entry| entry.id).collect());
    };
    let shared = Arc::clone(shared);
    blocking(move || {
        let waits =
            |id: &QueueId| read_again(&shared, *id, read::record).is_ok_and(|record| waits_in(&record, &domain));
        found.into_iter().map(|entry| entry.id).filter(waits).collect()
    })
    .await
}

fn waits_in(record: &Record, domain: &Domain) -> bool {
    record.waiting().any(|(_, recipient)| recipient.address.domain() == Some(domain))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped("the program is stopping".into()))
}

/// Reads a message; again where it moved meanwhile, and sets it aside where it is damaged.
fn read_again<T>(
    shared: &Arc<Shared>,
    id: QueueId,
    read: impl Fn(&Shared, &Wanted) -> Result<T, Unread>,
) -> Result<T, Error> {
    let mut last = Unread::Gone;
    for _ in 0..TRIES {
        let Some(wanted) = shared.index().wanted(id) else { return Err(Error::Unknown(id)) };
        match read(shared, &wanted) {
            Ok(found) => return Ok(found),
            Err(Unread::Damaged(why)) => {
                read::quarantine(shared, id, &why);
                last = Unread::Damaged(why);
                break;
            }
            Err(other) => last = other,
        }
    }
    Err(read::error(id, last))
}

/// What was read of what was leased, and why some was not that may be read another time.
struct Read {
    leases: Vec<Lease>,
    failed: Option<Error>,
}

impl Read {
    /// One that cannot be read for now is no reason to keep the others back.
    fn any(self) -> Result<Vec<Lease>, Error> {
        match self.failed {
            Some(error) if self.leases.is_empty() => Err(error),
            _ => Ok(self.leases),
        }
    }
}

/// Reads what was leased: at once what is cached, the rest on a blocking thread. What is not there to be read is set aside or
/// held; where it is the process or the system that lacks something, that says nothing of a message, and gives it back.
async fn read_leases(shared: &Arc<Shared>, wanted: Vec<(Wanted, Held)>) -> Result<Read, Error> {
    let mut leases: Vec<Option<Lease>> = Vec::with_capacity(wanted.len());
    let mut later = Vec::new();
    for (wanted, held) in wanted {
        match read::lease(shared, &wanted, Patience::Never) {
            Ok((record, bytes)) => leases.push(Some(Lease { record, bytes, guard: Box::new(held) })),
            Err(_) => {
                later.push((leases.len(), wanted, held));
                leases.push(None);
            }
        }
    }
    let mut failed = None;
    if !later.is_empty() {
        let shared = Arc::clone(shared);
        let read = blocking(move || {
            let read_one = |(place, wanted, held): (usize, Wanted, Held)| (place, read_slowly(&shared, wanted, held));
            later.into_iter().map(read_one).collect::<Vec<_>>()
        });
        for (place, lease) in read.await? {
            match lease {
                Ok(lease) => leases[place] = lease,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    Ok(Read { leases: leases.into_iter().flatten().collect(), failed })
}

fn read_slowly(shared: &Arc<Shared>, wanted: Wanted, held: Held) -> Result<Option<Lease>, Error> {
    let (id, due) = (wanted.entry.id, wanted.entry.due);
    let read = read_again(shared, id, |_, now| {
        // The index says when it is due again should this attempt come to nothing; the caller wants when it was due.
        let entry = Entry { due, ..now.entry };
        read::lease(shared, &Wanted { entry, ..now.clone() }, Patience::Wait)
    });
    match read {
        Ok((record, bytes)) => Ok(Some(Lease { record, bytes, guard: Box::new(held) })),
        Err(failed @ Error::Io { .. }) if is_short_of_means(&failed) => Err(failed),
        Err(Error::Io { source, .. }) => {
            read::hold_unread(shared, &wanted.entry, &source);
            Ok(None)
        }
        // Set aside or settled: nothing to hand out.
        Err(_) => Ok(None),
    }
}

impl Spool for Embedded {
    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>> {
        let refuse = |error| -> Pending<Result<Durable, Error>> { Box::pin(std::future::ready(Err(error))) };
        if let Err(error) = self.shared.may_work().and_then(|()| self.shared.guard.admit(&self.shared.settings)) {
            return refuse(error);
        }
        let id = draft.id;
        let no_good = |kind: std::io::ErrorKind| Error::Io { what: format!("message {id}"), source: kind.into() };
        if self.shared.index().get(id).is_some() {
            return refuse(no_good(std::io::ErrorKind::AlreadyExists));
        }
        let Some(prepared) = Prepared::draft(draft) else {
            return refuse(no_good(std::io::ErrorKind::FileTooLarge));
        };
        let (reply, answer) = oneshot::channel();
        let stopped = || Error::Stopped("it is stopping".into());
        match self.shared.inbox.push([Item::Draft(Box::new(prepared), reply)]) {
            Ok(_) => Box::pin(async move { answer.await.unwrap_or_else(|_| Err(stopped())) }),
            Err(_) => refuse(stopped()),
        }
    }

    fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        max: usize,
        retry_at: &dyn Fn(u32) -> Timestamp,
    ) -> Pending<Result<Vec<Lease>, Error>> {
        if let Err(error) = self.shared.may_deliver() {
            return Box::pin(std::future::ready(Err(error)));
        }
        let mut claimed = Vec::new();
        let must_sync;
        {
            let mut changes = Vec::new();
            let mut index = self.shared.index();
            for entry in index.claimable(lane, now, max) {
                // The first attempt after a commit needs no write: the commit record says when the second is due.
                if !(entry.fresh && entry.untried) {
                    let due = retry_at(u32::from(entry.attempts) + 1);
                    changes.push(Change::new(Note::Due { id: entry.id, due }, None));
                    index.set_due(entry.id, due);
                }
                index.lease(entry.id);
                let Some(wanted) = index.wanted(entry.id) else { continue };
                let wanted = Wanted { entry: Entry { due: entry.due, ..wanted.entry }, ..wanted };
                claimed.push((wanted, held(&self.shared, &entry)));
            }
            must_sync = !changes.is_empty();
            if must_sync {
                self.shared.write(&mut index, changes);
            }
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if must_sync {
                shared.synced().await?;
            }
            read_leases(&shared, claimed).await?.any()
        })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>> {
        let Lease { mut record, mut guard, .. } = lease;
        if let Err(error) = self.shared.may_work() {
            return Box::pin(std::future::ready(Err(error)));
        }
        for (index, state) in settlement.results {
            if let Some(recipient) = record.recipients.get_mut(index) {
                *recipient = state;
            }
        }
        let mut waiting_notes = 0;
        {
            let mut index = self.shared.index();
            if let Some(held) = (&mut *guard as &mut dyn Any).downcast_mut::<Held>() {
                held.settled = true;
            }
            let id = record.id;
            // No entry: it was found damaged and set aside meanwhile.
            if let Some(entry) = index.get(id).copied() {
                let change = if record.recipients.iter().any(|state| state.is_waiting()) {
                    let hold = settlement.hold.map(Arc::from).or_else(|| index.hold_reason(&entry));
                    let status = Status {
                        attempts: record.attempts + u32::from(settlement.counts),
                        due: settlement.due,
                        delay_notified: record.delay_notified || settlement.delay_notified,
                        untried: false,
                        hold,
                    };
                    let state = Arc::new(State {
                        status: status.clone(),
                        waited_for_caps: record.waited_for_caps + settlement.waited_for_caps,
                        recipients: State::compact(&record.recipients),
                    });
                    index.set_state(id, &state);
                    Change::new(Note::State { id, at: 0, status }, Some(state))
                } else {
                    index.remove(id);
                    Change::new(Note::Done { id }, None)
                };
                waiting_notes = self.shared.write(&mut index, vec![change]);
            }
        }
        let settled = |written: Result<(), Error>| Ok(written.map_or_else(Settled::InTrouble, |()| Settled::Soon));
        let may_go_on = self.shared.may_deliver();
        if waiting_notes < NOTES || may_go_on.is_err() {
            return Box::pin(std::future::ready(settled(may_go_on)));
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { settled(shared.synced().await) })
    }

    fn stats(&self) -> Stats {
        let lanes = self.shared.index().stats();
        let quarantined = self.shared.quarantined.load(Ordering::Relaxed);
        Stats { lanes, disk_bytes: self.shared.disk_bytes(), quarantined }
    }

    fn due(&self, now: Timestamp) -> (Vec<Lane>, Option<Timestamp>) {
        self.shared.index().due(now)
    }

    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking_flat(move || {
            let bits = filter.recipient_domain.as_ref().map_or(0, domain_bit);
            let mut records = Vec::new();
            let mut from = Some(filter.first());
            while let Some(start) = from.filter(|_| records.len() < limit) {
                let most = enough(&filter, limit - records.len());
                let (found, next) = shared.index().select(&filter, bits, start, LOOK, most);
                from = next;
                for entry in found {
                    if records.len() == limit {
                        break;
                    }
                    match read_again(&shared, entry.id, read::record) {
                        Ok(record) if filter.recipient_domain.as_ref().is_none_or(|d| waits_in(&record, d)) => {
                            records.push(record);
                        }
                        // Settled or set aside since, or not in that domain.
                        Ok(_) | Err(Error::Unknown(_) | Error::Corrupt { .. }) => {}
                        Err(error) if is_short_of_means(&error) => return Err(error),
                        // It is on hold, or will be once it is due.
                        Err(error) => tracing::warn!(id = %entry.id, %error, "a message is not listed"),
                    }
                }
            }
            Ok(records)
        }))
    }

    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking_flat(move || read_again(&shared, id, read::header)))
    }

    fn hold(&self, filter: Filter, reason: String) -> Pending<Result<u64, Error>> {
        let reason: Arc<str> = reason.into();
        self.change_matching(filter, move |index, entry| {
            if entry.held() {
                return None;
            }
            index.hold(entry.id, &reason);
            Some(Note::Hold { id: entry.id, reason: Arc::clone(&reason) })
        })
    }

    fn release(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        let now = Timestamp::now();
        self.change_matching(filter, move |index, entry| {
            if !entry.held() {
                return None;
            }
            let kept_back = kept_back(entry.due).unwrap_or_else(|| now.since(entry.due));
            let due = at_once(kept_back.max(LEAST_KEPT_BACK));
            index.release(entry.id, due);
            Some(Note::Release { id: entry.id, due })
        })
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        let now = Timestamp::now();
        self.change_matching(filter, move |index, entry| {
            if entry.held() || entry.leased {
                return None;
            }
            // What is due already has waited since then, for our own caps or for a server's trouble: the queue tells them apart.
            let due = if entry.due <= now { entry.due } else { at_once(Duration::ZERO) };
            index.set_due(entry.id, due);
            Some(Note::Due { id: entry.id, due })
        })
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        let found = self.shared.may_deliver();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            found?;
            let bits = filter.recipient_domain.as_ref().map_or(0, domain_bit);
            let mut all = Read { leases: Vec::new(), failed: None };
            let mut from = Some(filter.first());
            while let Some(start) = from.filter(|_| all.leases.len() < limit) {
                let most = enough(&filter, limit - all.leases.len());
                let (found, next) = shared.index().select(&filter, bits, start, LOOK, most);
                from = next;
                let found = in_domain(&shared, &filter, found).await?;
                let seized: Vec<_> = {
                    let mut index = shared.index();
                    let mut seize = |id| {
                        let entry = *index.get(id)?;
                        if entry.leased || !index.matches(&entry, &filter, bits) {
                            return None;
                        }
                        index.lease(id);
                        Some((index.wanted(id)?, held(&shared, &entry)))
                    };
                    found.into_iter().filter_map(&mut seize).take(limit - all.leases.len()).collect()
                };
                let Read { leases, failed } = read_leases(&shared, seized).await?;
                all.leases.extend(leases);
                all.failed = all.failed.or(failed);
            }
            all.any()
        })
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.synced().await })
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changed)
    }

    fn stop(&self) -> Pending<()> {
        self.shared.inbox.stop();
        let threads = std::mem::take(&mut *self.threads.lock().expect("nothing panics while it holds the threads"));
        Box::pin(async move {
            // A thread that panicked has said so on stderr; what it left is what a crash leaves.
            let _ = blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await;
        })
    }
}

async fn blocking_flat<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    blocking(work).await?
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.inbox.stop();
        let threads = std::mem::take(&mut *self.threads.lock().expect("nothing panics while it holds the threads"));
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

//! Leases: reading the messages that are handed out, and taking back those that nobody settled.

use std::sync::Arc;
use std::time::Duration;

use super::index::{Entry, Wanted};
use super::next_try::NextTry;
use super::read::{self, Patience, Unread};
use super::shared::Shared;
use super::{blocking, unreadable};
use crate::message::QueueId;
use crate::spool::{Error, Lease, LeaseGuard, is_short_of_means};
use crate::time::Timestamp;

/// A lease that a panic dropped comes back after this long.
const AFTER_PANIC: Duration = Duration::from_secs(300);
/// How often a message is looked for again that moved while it was being read.
const TRIES: usize = 5;

/// Gives a leased message back when it is dropped, unless the message was settled.
pub(super) struct Guard {
    shared: Arc<Shared>,
    id: QueueId,
    /// When the message was due before it was leased.
    before: NextTry,
    settled: bool,
}

impl Guard {
    /// The guard for a message that the caller leases, with its entry from before.
    pub fn new(shared: &Arc<Shared>, entry: &Entry) -> Guard {
        Guard { shared: Arc::clone(shared), id: entry.id, before: entry.next_try(), settled: false }
    }
}

impl LeaseGuard for Guard {
    fn settled(&mut self) {
        self.settled = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.settled {
            // A message that makes the program panic must not do so again at once.
            let panicking = std::thread::panicking();
            let next = if panicking { NextTry::at(Timestamp::now() + AFTER_PANIC) } else { self.before };
            self.shared.index().give_back(self.id, next);
            self.shared.changed.notify_one();
        }
    }
}

/// What was read of what was leased.
pub(super) struct Leased {
    pub leases: Vec<Lease>,
    /// Why some messages were not read that may be readable later.
    pub failed: Option<Error>,
}

impl Leased {
    /// The leases. A message that cannot be read at the moment is an error only if there is no other.
    pub fn any(self) -> Result<Vec<Lease>, Error> {
        match self.failed {
            Some(error) if self.leases.is_empty() => Err(error),
            _ => Ok(self.leases),
        }
    }
}

/// Reads what was leased: cached messages at once, the others on a blocking thread. A message that is not there to be read is set
/// aside or held. If the process or the system is short of something, that says nothing about a message, and it is given back.
pub(super) async fn read_leases(shared: &Arc<Shared>, wanted: Vec<(Wanted, Guard)>) -> Result<Leased, Error> {
    let mut leases: Vec<Option<Lease>> = Vec::with_capacity(wanted.len());
    let mut later = Vec::new();
    for (wanted, guard) in wanted {
        match read::lease(shared, &wanted, Patience::Never) {
            Ok((record, bytes)) => leases.push(Some(Lease::new(record, bytes, Box::new(guard)))),
            Err(_) => {
                later.push((leases.len(), wanted, guard));
                leases.push(None);
            }
        }
    }
    let mut failed = None;
    if !later.is_empty() {
        let shared = Arc::clone(shared);
        let read = blocking(move || {
            let read_one =
                |(place, wanted, guard): (usize, Wanted, Guard)| (place, read_slowly(&shared, wanted, guard));
            later.into_iter().map(read_one).collect::<Vec<_>>()
        });
        for (place, lease) in read.await? {
            match lease {
                Ok(lease) => leases[place] = lease,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    Ok(Leased { leases: leases.into_iter().flatten().collect(), failed })
}

fn read_slowly(shared: &Arc<Shared>, wanted: Wanted, guard: Guard) -> Result<Option<Lease>, Error> {
    let (id, before) = (wanted.entry.id, wanted.entry.next_try());
    let read = read_again(shared, id, |_, now| {
        // The index says when the message is due if this attempt comes to nothing. The caller wants to know when it was due.
        let mut entry = now.entry;
        entry.set_next_try(before);
        read::lease(shared, &Wanted { entry, ..now.clone() }, Patience::Wait)
    });
    match read {
        Ok((record, bytes)) => Ok(Some(Lease::new(record, bytes, Box::new(guard)))),
        Err(failed @ Error::Io { .. }) if is_short_of_means(&failed) => Err(failed),
        Err(Error::Io { source, .. }) => {
            unreadable::hold_unread(shared, &wanted.entry, &source);
            Ok(None)
        }
        // It was set aside or settled, so there is nothing to hand out.
        Err(_) => Ok(None),
    }
}

/// Reads a message, again if it moved meanwhile, and sets it aside if it is damaged.
pub(super) fn read_again<T>(
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
                unreadable::set_aside(shared, id, &why);
                last = Unread::Damaged(why);
                break;
            }
            Err(other) => last = other,
        }
    }
    Err(read::error(id, last))
}

//! Reads the messages that are leased.

use std::sync::Arc;

use super::read::{self, Patience, Unread};
use super::shared::Shared;
use super::{blocking, unreadable};
use crate::message::QueueId;
use crate::spool::index::MessageToRead;
use crate::spool::owner::{Guard, Leased};
use crate::spool::{Error, Lease, is_short_of_means};

/// How often a message is looked up again if it moved while it was being read.
const TRIES: usize = 5;

/// Reads leased messages: cached ones at once, the others on a blocking thread. A message that cannot be read is set aside or held. If the
/// process or system lacks memory or open files, that says nothing about the message, and it is given back.
pub(super) async fn read_leases(
    shared: &Arc<Shared>,
    wanted: Vec<(MessageToRead, Guard<Shared>)>,
) -> Result<Leased, Error> {
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
            let read_one = |(place, wanted, guard): (usize, MessageToRead, Guard<Shared>)| {
                (place, read_slowly(&shared, wanted, guard))
            };
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

fn read_slowly(shared: &Arc<Shared>, wanted: MessageToRead, guard: Guard<Shared>) -> Result<Option<Lease>, Error> {
    let (id, before) = (wanted.entry.id, wanted.entry.next_try());
    let read = read_again(shared, id, |_, now| {
        // The index has the due time for the case that this attempt fails. The caller needs the time at which the message was due.
        let mut entry = now.entry;
        entry.set_next_try(before);
        read::lease(shared, &MessageToRead { entry, ..now.clone() }, Patience::Wait)
    });
    match read {
        Ok((record, bytes)) => Ok(Some(Lease::new(record, bytes, Box::new(guard)))),
        Err(failed @ Error::Io { .. }) if is_short_of_means(&failed) => Err(failed),
        Err(Error::Io { source, .. }) => {
            unreadable::hold_unread(shared, &wanted.entry, &source);
            Ok(None)
        }
        // The message was set aside or settled, so there is nothing to lease.
        Err(_) => Ok(None),
    }
}

/// Reads a message, tries again if it moved meanwhile, and sets it aside if it is damaged.
pub(super) fn read_again<T>(
    shared: &Arc<Shared>,
    id: QueueId,
    read: impl Fn(&Shared, &MessageToRead) -> Result<T, Unread>,
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

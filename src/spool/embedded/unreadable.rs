//! Handles messages that cannot be read: damaged ones are set aside, others are held.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::lost::Fate;
use super::note::Change;
use super::quarantine::{self, Stretch};
use super::segments::Source;
use super::shared::Shared;
use crate::message::QueueId;
use crate::spool::Notice;
use crate::spool::index::Entry;

/// Sets a damaged message aside. If that fails (on a full disk), the message is held instead.
pub(super) fn set_aside(shared: &Shared, id: QueueId, why: &str) {
    let Some(entry) = shared.index().get(id).copied() else { return };
    let start = u64::from(entry.place.at);
    let end = start + u64::from(entry.disk_len);
    let segment = entry.place.segment;
    shared.segments.note_damage(segment, start..end);
    let copied = match shared.segments.source(segment) {
        Ok(Some(Source { file, mark, .. })) => {
            let stretch = Stretch { segment, mark, start, end, ids: vec![id], why: why.to_owned() };
            quarantine::set_aside(&shared.dir, &file, &stretch, (Fate::Lost, &[id]), false)
        }
        Ok(None) => return,
        Err(error) => Err(error),
    };
    match copied {
        Ok(new) => {
            shared.drop_record(id);
            if let Some(file) = new {
                shared.quarantined.fetch_add(1, Ordering::Relaxed);
                shared.settings.counters.quarantined.inc();
                shared.tell(Notice::Quarantined { id: Some(id), file, why: why.to_owned() });
            }
        }
        Err(error) => {
            let reason = format!("it cannot be read ({why}) and could not be set aside ({error})");
            shared.tell(Notice::Unreadable { why: format!("message {id} is held: {reason}") });
            hold_and_tell(shared, id, reason);
        }
    }
}

/// Holds a message whose place in the spool cannot be read. The operator is told once an hour for each segment, because a missing file may
/// hold thousands of messages.
pub(super) fn hold_unread(shared: &Shared, entry: &Entry, error: &io::Error) {
    let (id, segment) = (entry.id, entry.place.segment);
    if shared.segments.is_news(segment) {
        let path = shared.segments.path(segment).unwrap_or_default();
        let why = format!(
            "message {id} cannot be read from {}: {error}. It is held, and so is all other mail there that cannot be read. Once the \
             cause is mended, release it with `postbud queue release`",
            path.display()
        );
        shared.tell(Notice::Unreadable { why });
    } else {
        tracing::debug!(%id, segment, %error, "a message cannot be read and is held");
    }
    if !shared.index().get(id).is_some_and(Entry::held) {
        hold_and_tell(shared, id, format!("it cannot be read from the spool: {error}"));
    }
}

fn hold_and_tell(shared: &Shared, id: QueueId, reason: String) {
    hold(shared, id, reason.clone());
    shared.tell(Notice::Unread { id, why: reason });
}

/// Holds a message that cannot be delivered for now.
pub(super) fn hold(shared: &Shared, id: QueueId, reason: String) {
    let reason: Arc<str> = reason.into();
    let mut index = shared.index();
    if index.get(id).is_some() {
        index.hold(id, &reason);
        shared.write(&mut index, vec![Change::hold(id, reason, &[])]);
    }
}

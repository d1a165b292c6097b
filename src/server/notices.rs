//! Turns the spool's notices into alerts, and into events of the mail that it holds.

use std::sync::Weak;

use tokio::sync::mpsc;

use crate::events::{Event, EventKind, Events, Mail, Subject, Told};
use crate::message::QueueId;
use crate::spool::{Filter, Record, Spool, embedded, postgres};
use crate::time::Timestamp;

/// Raises or ends an alert, or writes to the log, for a notice of the embedded spool.
pub(super) fn tell_of_disk(events: &Events, notice: embedded::Notice) {
    use embedded::Notice;
    let detail = notice.to_string();
    match notice {
        Notice::Full { .. } => events.raise(Subject::SpoolRoom, detail),
        Notice::Roomy => events.resolve(&Subject::SpoolRoom, detail),
        Notice::Failed { .. } | Notice::Stopped { .. } => events.raise(Subject::SpoolWrites, detail),
        Notice::Recovered => events.resolve(&Subject::SpoolWrites, detail),
        // Every crash may leave one, and the operator can do nothing about it.
        Notice::Torn { .. } => tracing::warn!("{detail}"),
        Notice::Quarantined { id: Some(id), .. } | Notice::Doubtful { id } => {
            events.emit(Event::alert(detail).about_message(id));
        }
        Notice::Quarantined { id: None, .. } | Notice::Unreadable { .. } => events.alert(detail),
    }
}

/// Raises or ends an alert for a notice of the shared spool.
pub(super) fn tell_of_database(events: &Events, notice: postgres::Notice) {
    use postgres::Notice;
    let detail = notice.to_string();
    match notice {
        Notice::Full { .. } => events.raise(Subject::SpoolRoom, detail),
        Notice::Roomy => events.resolve(&Subject::SpoolRoom, detail),
        Notice::Failed { .. } | Notice::Stopped { .. } => events.raise(Subject::SpoolWrites, detail),
        Notice::Recovered => events.resolve(&Subject::SpoolWrites, detail),
        Notice::Damaged { id, .. } => events.emit(Event::alert(detail).about_message(id)),
    }
}

/// Emits events for mail that the spool itself holds: one for each waiting recipient. Ends with the spool.
pub(super) async fn tell_of_held(
    spool: Weak<dyn Spool>,
    events: Events,
    mut held: mpsc::UnboundedReceiver<(QueueId, String)>,
) {
    while let Some((id, why)) = held.recv().await {
        let Some(spool) = spool.upgrade() else { return };
        match spool.list(Filter::one(id), 1).await {
            Ok(found) => found.iter().for_each(|record| tell_of_hold(&events, record, &why)),
            // The alert has already reported it.
            Err(error) => tracing::warn!(%id, %error, "a message that the spool holds cannot be read"),
        }
    }
}

fn tell_of_hold(events: &Events, record: &Record, why: &str) {
    let (mail, now) = (Mail::of(record), Timestamp::now());
    for (index, _) in record.waiting() {
        let told = Told::new(EventKind::Held, index, now).because(why);
        events.emit(mail.event(&told));
    }
}

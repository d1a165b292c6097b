//! What the spool says about its disk or its database becomes alerts for operators, and events of the mail that it holds.

use std::sync::Weak;

use tokio::sync::mpsc;

use crate::events::{Event, EventKind, Events, Mail, Subject, Told};
use crate::message::QueueId;
use crate::spool::{Filter, Record, Spool, embedded, postgres};
use crate::time::Timestamp;

/// Raises, ends or logs what the embedded spool says.
pub(super) fn tell_of_disk(events: &Events, notice: embedded::Notice) {
    use embedded::Notice;
    let detail = notice.to_string();
    match notice {
        Notice::Full { .. } => events.raise(Subject::SpoolRoom, detail),
        Notice::Roomy => events.resolve(&Subject::SpoolRoom, detail),
        Notice::Failed { .. } | Notice::Stopped { .. } => events.raise(Subject::SpoolWrites, detail),
        Notice::Recovered => events.resolve(&Subject::SpoolWrites, detail),
        // Every crash may leave one, and there is nothing to do about it.
        Notice::Torn { .. } => tracing::warn!("{detail}"),
        Notice::Quarantined { id: Some(id), .. } | Notice::Doubtful { id } => {
            events.emit(Event::alert(detail).about_message(id));
        }
        Notice::Quarantined { id: None, .. } | Notice::Unreadable { .. } => events.alert(detail),
    }
}

/// Raises or ends what the shared spool says.
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

/// Tells of mail that the spool itself holds: one event for each recipient that waits. Ends with the spool.
pub(super) async fn tell_of_held(
    spool: Weak<dyn Spool>,
    events: Events,
    mut held: mpsc::UnboundedReceiver<(QueueId, String)>,
) {
    while let Some((id, why)) = held.recv().await {
        let Some(spool) = spool.upgrade() else { return };
        match spool.list(Filter::one(id), 1).await {
            Ok(found) => found.iter().for_each(|record| tell_of_hold(&events, record, &why)),
            // The alert has told of it.
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

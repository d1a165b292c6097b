//! What the spool says about its disk or its database becomes alerts for operators.

use crate::events::{Events, Subject};
use crate::spool::{embedded, postgres};

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
        Notice::Quarantined { .. } | Notice::Doubtful { .. } | Notice::Unreadable { .. } => events.alert(detail),
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
        Notice::Damaged { .. } => events.alert(detail),
    }
}

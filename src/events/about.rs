//! Events about records: which message, whose, and which of its recipients.

use super::{Event, EventKind, NOTIFICATION};
use crate::message::MailKind;
use crate::route::RouteId;
use crate::spool::Record;
use crate::time::Timestamp;

impl Event {
    /// An event about a whole record.
    pub fn of_record(kind: EventKind, record: &Record, now: Timestamp) -> Self {
        Event {
            id: Some(record.id.to_string()),
            message_id: Some(record.message_id.clone()),
            customer: Some(record.lane.customer.to_string()),
            kind: (record.lane.kind == MailKind::Bounce).then_some(NOTIFICATION),
            ..Event::new(kind, now)
        }
    }

    /// An event about the recipient at `index` of a record's envelope, and the route that its mail goes, if there is one.
    pub fn of_recipient(
        kind: EventKind,
        record: &Record,
        index: usize,
        route: Option<&RouteId>,
        now: Timestamp,
    ) -> Self {
        Event {
            recipient: record.envelope.recipients.get(index).map(|to| to.address.to_string()),
            route: route.map(ToString::to_string),
            ..Event::of_record(kind, record, now)
        }
    }
}

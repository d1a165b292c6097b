//! Finds the recipient that a report is about: by the queue id that was sent with the mail, or else by Mailjet's id. If the table does not
//! know the mail, the event log may.

use super::report::{Kind, Report};
use super::state::State;
use super::store::{self, Mail, Meant, Taken, name_of, recipient_of};
use crate::database::{self, Transaction};
use crate::events::EventKind;
use crate::record::event::Known;
use crate::record::journal::Position;
use crate::time::Timestamp;

/// The rows of the inbox in one pass. A row has up to 500 reports.
const ROWS: i64 = 20;

/// A report with its mail.
pub(super) struct Matched {
    pub report: Report,
    pub mail: Mail,
    /// When Mailjet sent it.
    pub came: Timestamp,
}

/// The due rows, and the mails of their reports.
pub(super) struct Found {
    pub rows: Vec<Taken>,
    pub matched: Vec<Matched>,
    /// Reports without a mail, with the time at which Mailjet sent them.
    pub unmatched: Vec<(Report, Timestamp)>,
    /// What is about another node's mail, with the node and the time at which Mailjet brought it.
    pub foreign: Vec<(String, Report, Timestamp)>,
    /// Since when the oldest row has waited.
    pub oldest: Option<Timestamp>,
}

/// Reads the due rows, and finds their mails.
pub(super) fn find(tables: &Transaction<'_>, now: Timestamp) -> Result<Found, database::Error> {
    let rows = store::due(tables, now, ROWS)?;
    let (matched, unmatched, foreign) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = Found { rows: Vec::new(), matched, unmatched, foreign, oldest: store::oldest(tables)? };
    for row in &rows {
        for report in &row.reports {
            match matching(tables, report)? {
                Some(mail) if mail.node != tables.node() => found.foreign.push((mail.node, report.clone(), row.came)),
                Some(mail) => found.matched.push(Matched { report: report.clone(), mail, came: row.came }),
                None => found.unmatched.push((report.clone(), row.came)),
            }
        }
    }
    found.rows = rows;
    Ok(found)
}

/// Finds the recipient that a report is about, by the queue id that was sent with the mail, or else by Mailjet's id.
fn matching(tables: &Transaction<'_>, report: &Report) -> Result<Option<Mail>, database::Error> {
    let meant = report.place.map_or_else(|| Meant::Named(recipient_of(&report.email)), Meant::At);
    if let Some(id) = report.mail
        && let Some(mail) = store::by_id(tables, id, meant)?
    {
        return Ok(Some(mail));
    }
    let number = report.number.and_then(|number| i64::try_from(number).ok());
    for name in [name_of(&report.guid), number].into_iter().flatten() {
        if let Some(mail) = store::by_name(tables, name, meant)? {
            return Ok(Some(mail));
        }
    }
    Ok(None)
}

/// Makes the row of a recipient whose mail only the event log knows.
pub(super) fn recalled(report: &Report, known: &Known, came: Timestamp) -> Option<Mail> {
    // Another recipient may have been erased, so the only one left need not be the right one.
    let to = known.recipient_named(&report.email)?;
    let mut state = State::default();
    for (kind, heard) in [
        (EventKind::Delivered, Kind::Sent),
        (EventKind::Bounced, Kind::Bounce),
        (EventKind::Complained, Kind::Spam),
        (EventKind::Unsubscribed, Kind::Unsub),
    ] {
        if to.was(kind) {
            state.hear(heard, kind == EventKind::Bounced);
        }
    }
    if !to.was(EventKind::Relayed) {
        return None;
    }
    Some(Mail {
        id: known.queue_id,
        place: u32::try_from(to.index).ok()?,
        node: String::new(),
        name: None,
        recipient: recipient_of(&to.address.to_string()),
        customer: known.customer.to_string(),
        route: to.route.clone().unwrap_or_default(),
        at: Position::default(),
        relayed: known.queue_id.arrived().min(came),
        state,
    })
}

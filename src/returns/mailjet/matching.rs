//! Finds the recipient that a report is about: by the queue id that was sent with the mail, or else by Mailjet's id. If the table does not
//! know the mail, the event log may.

use super::report::{Kind, Report};
use super::state::State;
use super::store::{self, Bound, Mail, Meant, Which, name_of, recipient_of};
use crate::database::{self, Transaction};
use crate::events::EventKind;
use crate::record::event::Known;
use crate::record::journal::Position;
use crate::time::Timestamp;

/// The most that one pass reads of the inbox. Each pass waits for a sync of the journal, up to 200 ms, so it must be able to take all that
/// came in meanwhile. The events of a pass must fit into the journal's buffer.
pub(super) const PASS: Bound = Bound { rows: 2_000, reports: 10_000, octets: 4 << 20 };

/// A report with its mail.
pub(super) struct Matched {
    pub report: Report,
    pub mail: Mail,
    /// When Mailjet sent it.
    pub came: Timestamp,
}

/// The due rows, and the mails of their reports.
#[derive(Default)]
pub(super) struct Found {
    /// The numbers of the rows.
    pub rows: Vec<i64>,
    /// The number of the reports that count as waiting at this node. The others are in the count of the node that took them.
    pub counted: usize,
    pub matched: Vec<Matched>,
    /// Reports without a mail, with the time at which Mailjet sent them.
    pub unmatched: Vec<(Report, Timestamp)>,
    /// Reports about another node's mail, with the node and the time at which Mailjet sent them.
    pub foreign: Vec<(String, Report, Timestamp)>,
    /// Since when the oldest row has waited.
    pub oldest: Option<Timestamp>,
}

/// Reads the due rows, up to `bound`, and finds their mails.
pub(super) fn find(tables: &Transaction<'_>, now: Timestamp, bound: Bound) -> Result<Found, database::Error> {
    let mut found = Found { oldest: store::oldest(tables)?, ..Found::default() };
    let mut reports = Vec::new();
    for row in store::due(tables, now, bound)? {
        found.rows.push(row.number);
        found.counted += if row.handed { 0 } else { row.reports.len() };
        reports.extend(row.reports.into_iter().map(|report| (report, row.came)));
    }
    let mails = mails(tables, &reports)?;
    for ((report, came), mail) in reports.into_iter().zip(mails) {
        match mail {
            Some(mail) if mail.node != tables.node() => found.foreign.push((mail.node, report, came)),
            Some(mail) => found.matched.push(Matched { report, mail, came }),
            None => found.unmatched.push((report, came)),
        }
    }
    Ok(found)
}

/// Finds the recipient that each report is about: by the queue id that was sent with the mail, else by Mailjet's GUID, and else by its
/// number.
fn mails(tables: &Transaction<'_>, reports: &[(Report, Timestamp)]) -> Result<Vec<Option<Mail>>, database::Error> {
    let by_id = |report: &Report| report.mail.map(Which::Id);
    let by_guid = |report: &Report| name_of(&report.guid).map(Which::Name);
    let by_number = |report: &Report| report.number.and_then(|number| i64::try_from(number).ok()).map(Which::Name);
    let meant = |report: &Report| report.place.map_or_else(|| Meant::Named(recipient_of(&report.email)), Meant::At);
    let mut mails: Vec<Option<Mail>> = reports.iter().map(|_| None).collect();
    for which in [&by_id as &dyn Fn(&Report) -> Option<Which>, &by_guid, &by_number] {
        let key = |(at, (report, _)): (usize, &(Report, Timestamp))| match mails[at] {
            None => Some((at, (which(report)?, meant(report)))),
            Some(_) => None,
        };
        let wanted: Vec<(usize, (Which, Meant))> = reports.iter().enumerate().filter_map(key).collect();
        let found = store::find(tables, wanted.iter().map(|(_, key)| *key))?;
        wanted.into_iter().for_each(|(at, key)| mails[at] = found.get(&key).cloned());
    }
    Ok(mails)
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

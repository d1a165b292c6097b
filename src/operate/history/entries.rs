//! Keeps audit events and alerts for lists, because the journal is long and not sorted by kind.

use serde_json::Value;

use crate::database::{Error, Transaction, Value as Parameter};
use crate::operate::queue::Page;
use crate::record::erase::without;
use crate::time::Timestamp;

/// The maximum number of kept audit events.
const AUDIT: i64 = 50_000;
/// The number of rows that are read at once.
const PART: i64 = 500;
/// The approximate number of rows that are read for one page. If few of them match, the page is short, and the next one continues.
const MOST_READ: i64 = 5_000;
/// The maximum number of kept alerts.
const ALERTS: i64 = 5_000;

const OF_AUDIT: &str = "audit";
const OF_ALERT: &str = "alert";

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its position in the list.
    pub id: String,
    /// The event as in the journal.
    pub event: Value,
}

/// A past or open alert.
#[derive(Clone, Debug, PartialEq)]
pub struct PastAlert {
    /// Its position in the list.
    pub id: String,
    /// When it was first raised.
    pub since: Timestamp,
    /// When it ended. `None` if it is open, or if it is a notice of a single event.
    pub ended: Option<Timestamp>,
    /// Why it ended.
    pub ended_detail: Option<String>,
    /// Its latest event.
    pub event: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only events of actors whose name contains this text.
    pub actor: Option<String>,
    pub customer: Option<String>,
    /// Only commands of this kind, such as `queue.hold` or `queue`.
    pub command: Option<String>,
}

impl AuditFilter {
    fn fits(&self, event: &Value) -> bool {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_lowercase();
        self.actor.as_deref().is_none_or(|actor| text("actor").contains(&actor.to_lowercase()))
            && self.customer.as_deref().is_none_or(|customer| text("customer") == customer.to_lowercase())
            && self.command.as_deref().is_none_or(|command| text("command").starts_with(&command.to_lowercase()))
    }
}

/// An event that is kept here.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub event_id: String,
    pub at: Timestamp,
    pub is_alert: bool,
    pub subject: Option<String>,
    pub cured: bool,
    pub detail: Option<String>,
    pub line: String,
}

impl Told {
    fn id(&self) -> String {
        format!("{:015}-{}", self.at.as_millis(), self.event_id)
    }

    /// Stores it. An alert with the same subject as an open one replaces it. The end of an alert is stored with the alert.
    pub fn write(&self, tables: &Transaction<'_>) -> Result<(), Error> {
        let subject = self.subject.as_deref();
        if self.is_alert
            && let Some(subject) = subject
        {
            if self.cured {
                return end(tables, subject, self.at, self.detail.as_deref());
            }
            let open = [OF_ALERT.into(), tables.node().into(), subject.into()];
            let sql = "SELECT id FROM history_entry WHERE kind = $1 AND node = $2 AND subject = $3 AND ended IS NULL";
            if let Some(id) = tables.first(sql, &open, |row| Ok(row.text(0)?.to_owned()))? {
                let row = [self.line.as_str().into(), id.as_str().into()];
                return tables.execute("UPDATE history_entry SET told = $1 WHERE id = $2", &row).map(drop);
            }
        }
        let (id, kind) = (self.id(), if self.is_alert { OF_ALERT } else { OF_AUDIT });
        let sql = "INSERT INTO history_entry (id, kind, node, subject, at, told) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (id) DO NOTHING";
        let row = [
            id.as_str().into(),
            kind.into(),
            tables.node().into(),
            subject.into(),
            self.at.into(),
            self.line.as_str().into(),
        ];
        tables.execute(sql, &row).map(drop)
    }
}

/// Removes entries beyond the maximum numbers.
pub(super) fn tidy(tables: &Transaction<'_>) -> Result<(), Error> {
    for (kind, most) in [(OF_AUDIT, AUDIT), (OF_ALERT, ALERTS)] {
        let sql = "SELECT id FROM history_entry WHERE kind = $1 ORDER BY id DESC LIMIT 1 OFFSET $2";
        let first_too_much = tables.first(sql, &[kind.into(), most.into()], |row| Ok(row.text(0)?.to_owned()))?;
        if let Some(id) = first_too_much {
            tables.execute(
                "DELETE FROM history_entry WHERE kind = $1 AND id <= $2",
                &[kind.into(), id.as_str().into()],
            )?;
        }
    }
    Ok(())
}

/// Returns how often somebody was erased. Whoever has read lines of the journal may write them as long as it is the same.
pub(super) fn erasures(tables: &Transaction<'_>) -> Result<i64, Error> {
    let count = tables.first("SELECT count FROM history_erasure WHERE one = 1", &[], |row| row.integer(0))?;
    Ok(count.unwrap_or_default())
}

/// Erases a recipient, who has been erased from the journal before, from the audit events.
pub(super) fn erase(tables: &Transaction<'_>, recipient: &str) -> Result<(), Error> {
    let sql = "INSERT INTO history_erasure (one, count) VALUES (1, 1) \
               ON CONFLICT (one) DO UPDATE SET count = history_erasure.count + 1";
    tables.execute(sql, &[])?;
    let mut erased = Vec::new();
    tables.query("SELECT id, told FROM history_entry WHERE kind = $1", &[OF_AUDIT.into()], |row| {
        if let Some(left) = without(row.text(1)?, recipient) {
            erased.push((row.text(0)?.to_owned(), left));
        }
        Ok::<_, Error>(())
    })?;
    erased.iter().try_for_each(|(id, left)| {
        let row = [left.as_str().into(), id.as_str().into()];
        tables.execute("UPDATE history_entry SET told = $1 WHERE id = $2", &row).map(drop)
    })
}

/// Returns the subjects of this node's open alerts.
pub(super) fn open_subjects(tables: &Transaction<'_>) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let sql =
        "SELECT subject FROM history_entry WHERE kind = $1 AND node = $2 AND ended IS NULL AND subject IS NOT NULL";
    tables.query(sql, &[OF_ALERT.into(), tables.node().into()], |row| {
        found.push(row.text(0)?.to_owned());
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Returns true if an alert is open at any node.
pub(super) fn is_open_anywhere(tables: &Transaction<'_>, subject: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM history_entry WHERE kind = $1 AND subject = $2 AND ended IS NULL LIMIT 1";
    Ok(tables.first(sql, &[OF_ALERT.into(), subject.into()], |_| Ok(()))?.is_some())
}

/// Ends an alert of this node that was open when the relay stopped, and that the relay has not raised again.
pub(super) fn end_unseen(tables: &Transaction<'_>, subject: &str, now: Timestamp) -> Result<(), Error> {
    end(tables, subject, now, Some("it was not seen again after a restart of the relay"))
}

fn end(tables: &Transaction<'_>, subject: &str, at: Timestamp, detail: Option<&str>) -> Result<(), Error> {
    let sql = "UPDATE history_entry SET ended = $1, ended_detail = $2 WHERE kind = $3 AND node = $4 AND subject = $5 AND ended IS NULL";
    let row = [at.into(), detail.into(), OF_ALERT.into(), tables.node().into(), subject.into()];
    tables.execute(sql, &row).map(drop)
}

/// Returns audit events, the latest first.
pub(super) fn audit(
    tables: &Transaction<'_>,
    filter: &AuditFilter,
    before: Option<&str>,
    limit: usize,
) -> Result<Page<Entry>, Error> {
    page(tables, OF_AUDIT, before, (limit, MOST_READ), |row| {
        let entry = Entry { id: row.id, event: row.event };
        filter.fits(&entry.event).then_some(entry)
    })
}

/// Returns alerts, the latest first.
pub(super) fn alerts(tables: &Transaction<'_>, before: Option<&str>, limit: usize) -> Result<Page<PastAlert>, Error> {
    page(tables, OF_ALERT, before, (limit, i64::MAX), |row| {
        let Row { id, at, ended, ended_detail, event } = row;
        Some(PastAlert { id, since: at, ended, ended_detail, event })
    })
}

struct Row {
    id: String,
    at: Timestamp,
    ended: Option<Timestamp>,
    ended_detail: Option<String>,
    event: Value,
}

/// Reads rows in parts until `limit` of them match, or about `most_read` were read.
fn page<T>(
    tables: &Transaction<'_>,
    kind: &str,
    before: Option<&str>,
    (limit, most_read): (usize, i64),
    mut fits: impl FnMut(Row) -> Option<T>,
) -> Result<Page<T>, Error> {
    // Sorts after every id.
    let mut behind = before.unwrap_or("~").to_owned();
    let (mut items, mut last, mut read) = (Vec::new(), None, 0);
    // Often each row fits. One more tells whether there is a next page.
    let mut most = i64::try_from(limit.saturating_add(1)).unwrap_or(PART).min(PART);
    loop {
        let sql = "SELECT id, at, ended, ended_detail, told FROM history_entry WHERE kind = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let parameters: [Parameter<'_>; 3] = [kind.into(), behind.as_str().into(), most.into()];
        let (mut rows, mut has_more) = (0, false);
        let mut read_to = None;
        tables.query(sql, &parameters, |row| {
            rows += 1;
            let id = row.text(0)?.to_owned();
            read_to = Some(id.clone());
            if has_more {
                return Ok::<_, Error>(());
            }
            let row = Row {
                at: row.time(1)?,
                ended: row.maybe_time(2)?,
                ended_detail: row.maybe_text(3)?.map(str::to_owned),
                event: serde_json::from_str(row.text(4)?).unwrap_or_default(),
                id: id.clone(),
            };
            if let Some(item) = fits(row) {
                if items.len() == limit {
                    has_more = true;
                } else {
                    items.push(item);
                    last = Some(id);
                }
            }
            Ok(())
        })?;
        if has_more {
            return Ok(Page::new(items, last));
        }
        match read_to {
            Some(id) if rows == most => {
                read += rows;
                if read >= most_read {
                    return Ok(Page::new(items, Some(id)));
                }
                (behind, most) = (id, PART);
            }
            _ => return Ok(Page::new(items, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::SCHEMA;
    use super::*;
    use crate::database::Database;

    fn told(n: u64, is_alert: bool, subject: Option<&str>, cured: bool) -> Told {
        let line = json!({"actor": format!("operator a{}", n % 3), "command": "queue.hold", "n": n}).to_string();
        Told {
            event_id: format!("E{n}"),
            at: Timestamp::from_millis(1_795_458_240_000 + n),
            is_alert,
            subject: subject.map(str::to_owned),
            cured,
            detail: Some("over".into()),
            line,
        }
    }

    #[test]
    fn audit_events_are_listed_in_pages_with_a_filter_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        for _ in 0..2 {
            let write =
                |tables: &Transaction<'_>| (0..1200).try_for_each(|n| told(n, false, None, false).write(tables));
            database.write_blocking(write).unwrap();
        }
        let filter = AuditFilter { actor: Some("A1".into()), command: Some("queue".into()), ..AuditFilter::default() };
        let (mut seen, mut before) = (Vec::new(), None::<String>);
        loop {
            let page = database.read_blocking(|tables| audit(tables, &filter, before.as_deref(), 70)).unwrap();
            seen.extend(page.items.iter().map(|entry| entry.event["n"].as_u64().unwrap()));
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, (0..1200).rev().filter(|n| n % 3 == 1).collect::<Vec<_>>());
        let none = AuditFilter { customer: Some("x".into()), ..AuditFilter::default() };
        assert!(database.read_blocking(|tables| audit(tables, &none, None, 70)).unwrap().items.is_empty());
    }

    #[test]
    fn a_filter_that_nothing_matches_reads_a_part_of_the_audit_for_each_page() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let write = |tables: &Transaction<'_>| (0..2000).try_for_each(|n| told(n, false, None, false).write(tables));
        database.write_blocking(write).unwrap();
        for (most, pages) in [(i64::MAX, 1), (600, 3), (1000, 2), (1, 5)] {
            let (mut count, mut before, mut read) = (0, None::<String>, 0);
            loop {
                let page = database.read_blocking(|tables| {
                    page(tables, OF_AUDIT, before.as_deref(), (400, most), |row| {
                        read += 1;
                        (row.event["n"] == 7).then_some(row.id)
                    })
                });
                let page = page.unwrap();
                count += 1;
                assert_eq!(page.items.len(), usize::from(page.next.is_none()), "the oldest part has the one that fits");
                match page.next {
                    Some(next) => before = Some(next),
                    None => break,
                }
            }
            assert_eq!((count, read), (pages, 2000), "{most}");
        }
    }

    #[test]
    fn an_erased_recipient_leaves_the_audit_and_what_was_done_stays() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let line = |n: u64, recipient: &str| {
            let line = json!({
                "event_id": format!("E{n}"), "event": "audit", "actor": "anna", "command": "suppression.add",
                "customer": "acme", "recipient": recipient, "detail": format!("{recipient} was put on the list")
            });
            Told { line: line.to_string(), ..told(n, false, None, false) }
        };
        let lines = [line(1, "Ole@x.dk"), line(2, "else@x.dk"), told(3, false, None, false)];
        database.write_blocking(|tables| lines.iter().try_for_each(|line| line.write(tables))).unwrap();
        database.write_blocking(|tables| erase(tables, "ole@X.dk")).unwrap();
        let left = database.read_blocking(|tables| audit(tables, &AuditFilter::default(), None, 9)).unwrap().items;
        let erased = json!({
            "event_id": "E1", "event": "audit", "actor": "anna", "command": "suppression.add", "customer": "acme",
            "erased": true
        });
        assert_eq!(left[2].event, erased);
        assert!(left[1].event["detail"].as_str().unwrap().contains("else@x.dk") && left[0].event["n"] == 3, "{left:?}");
    }

    #[test]
    fn an_alert_is_one_row_from_its_beginning_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let write = |told: Told| database.write_blocking(|tables| told.write(tables)).unwrap();
        let list = || database.read_blocking(|tables| alerts(tables, None, 10)).unwrap().items;
        write(told(1, true, Some("route:a"), false));
        write(told(2, true, Some("route:a"), false));
        write(told(3, true, None, false));
        let found = list();
        assert_eq!(found.iter().map(|it| it.event["n"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(found[1].since.as_millis() % 10, 1);
        assert_eq!(database.read_blocking(open_subjects).unwrap(), ["route:a"]);
        write(told(4, true, Some("route:a"), true));
        assert_eq!(list()[1].ended.unwrap().as_millis() % 10, 4);
        write(told(5, true, Some("route:a"), false));
        assert_eq!(list().len(), 3);
        database.write_blocking(|tables| end_unseen(tables, "route:a", told(6, true, None, true).at)).unwrap();
        assert!(database.read_blocking(open_subjects).unwrap().is_empty());
    }
}

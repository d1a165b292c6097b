//! The inbox: reports that were answered with 200 and are not in the record yet.

use super::{Taken, values};
use crate::database::{Error, Transaction, Value, list, portions};
use crate::time::Timestamp;

/// Returns the number of reports of this node that wait.
pub(in super::super) fn waiting(tables: &Transaction<'_>) -> Result<i64, Error> {
    let sql = "SELECT CAST(sum(reports) AS BIGINT) FROM mailjet_inbox WHERE node = $1 AND handed = 0";
    let found = tables.first(sql, &[tables.node().into()], |row| row.maybe_integer(0))?;
    Ok(found.flatten().unwrap_or_default())
}

/// Returns since when the next due report has waited.
pub(in super::super) fn oldest(tables: &Transaction<'_>) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT came FROM mailjet_inbox WHERE node = $1 ORDER BY due, number LIMIT 1";
    tables.first(sql, &[tables.node().into()], |row| row.time(0))
}

/// Puts rows into this node's inbox, each with the time at which it is due.
pub(in super::super) fn put(tables: &Transaction<'_>, rows: &[(Taken, Timestamp)]) -> Result<(), Error> {
    put_at(tables, &rows.iter().map(|(taken, due)| (tables.node(), taken, *due)).collect::<Vec<_>>())
}

/// Puts rows into the inboxes of these nodes, each with the time at which it is due.
pub(in super::super) fn put_at(tables: &Transaction<'_>, rows: &[(&str, &Taken, Timestamp)]) -> Result<(), Error> {
    let body = |taken: &Taken| serde_json::to_string(&taken.reports).expect("reports have texts and numbers");
    let bodies: Vec<String> = rows.iter().map(|(_, taken, _)| body(taken)).collect();
    let rows: Vec<[Value<'_>; 7]> = rows.iter().zip(&bodies).map(|(row, body)| values_of(row, body)).collect();
    tables.insert("mailjet_inbox (number, due, came, reports, body, node, handed)", &rows, "")
}

fn values_of<'a>((node, taken, due): &(&'a str, &Taken, Timestamp), body: &'a str) -> [Value<'a>; 7] {
    [
        taken.number.into(),
        (*due).into(),
        taken.came.into(),
        i64::try_from(taken.reports.len()).unwrap_or(i64::MAX).into(),
        body.into(),
        (*node).into(),
        i64::from(taken.handed).into(),
    ]
}

/// Takes over the reports that have been due at other nodes since `due`, because those nodes do not run.
pub(in super::super) fn adopt(tables: &Transaction<'_>, due: Timestamp) -> Result<usize, Error> {
    let sql = "UPDATE mailjet_inbox SET node = $1, handed = 1 WHERE node <> $1 AND due < $2";
    tables.execute(sql, &[tables.node().into(), due.into()])
}

/// How much of the inbox is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Bound {
    pub rows: i64,
    pub reports: i64,
    /// The octets of the reports as they are stored.
    pub octets: i64,
}

/// Returns the due rows of this node's inbox, up to `bound`, but at least one.
pub(in super::super) fn due(tables: &Transaction<'_>, now: Timestamp, bound: Bound) -> Result<Vec<Taken>, Error> {
    let which = [tables.node().into(), now.into()];
    // The sizes are read without the reports, because thousands of full rows would need much memory.
    let sql = "SELECT reports, CAST(octet_length(body) AS BIGINT) FROM mailjet_inbox WHERE node = $1 AND due <= $2 \
               ORDER BY due, number LIMIT $3";
    let (mut rows, mut reports, mut octets) = (0, 0, 0);
    tables.query(sql, &[which[0], which[1], bound.rows.into()], |row| {
        reports += row.integer(0)?;
        octets += row.integer(1)?;
        if rows == 0 || (reports <= bound.reports && octets <= bound.octets) {
            rows += 1;
        }
        Ok::<_, Error>(())
    })?;
    let sql = "SELECT number, came, body, handed FROM mailjet_inbox WHERE node = $1 AND due <= $2 ORDER BY due, number LIMIT $3";
    let mut found = Vec::new();
    tables.query(sql, &[which[0], which[1], rows.into()], |row| {
        // Only a later version can have written reports that cannot be read. They are dropped with their row.
        let reports = serde_json::from_str(row.text(2)?).unwrap_or_default();
        let handed = row.integer(3)? != 0;
        found.push(Taken { number: row.integer(0)?, came: row.time(1)?, reports, handed });
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Removes rows from the inbox.
pub(in super::super) fn done(tables: &Transaction<'_>, numbers: &[i64]) -> Result<(), Error> {
    portions(numbers).try_for_each(|numbers| {
        let sql = format!("DELETE FROM mailjet_inbox WHERE number IN {}", list(1, numbers.len()));
        tables.execute(&sql, &values(numbers)).map(drop)
    })
}

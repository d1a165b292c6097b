//! The lists in the database.

use std::time::Duration;

use super::{Change, Entry, Reason};
use crate::database::{Error, Row, Schema, Transaction, Value};
use crate::message::CustomerId;
use crate::time::Timestamp;

/// The tables: the suppressed addresses, the hard bounces of addresses that are not suppressed yet, and the addresses that were taken off a
/// list. `changed` is the number of the write that changed a row last, by which other nodes find what is new. Times are milliseconds since
/// 1970.
pub const SCHEMA: Schema = Schema {
    owner: "suppression",
    steps: &[
        "CREATE TABLE suppression (
                  customer TEXT NOT NULL,
                  address TEXT NOT NULL,
                  reason TEXT NOT NULL,
                  since BIGINT NOT NULL,
                  expires BIGINT,
                  note TEXT NOT NULL,
                  PRIMARY KEY (customer, address)
              );
              CREATE INDEX suppression_expires ON suppression (expires) WHERE expires IS NOT NULL;
              CREATE TABLE suppression_bounce (customer TEXT NOT NULL, address TEXT NOT NULL, at BIGINT NOT NULL);
              CREATE INDEX suppression_bounce_address ON suppression_bounce (customer, address);
              CREATE INDEX suppression_bounce_at ON suppression_bounce (at);",
        "ALTER TABLE suppression ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;
             CREATE INDEX suppression_changed ON suppression (changed);
             CREATE TABLE suppression_removed (
                 customer TEXT NOT NULL,
                 address TEXT NOT NULL,
                 changed BIGINT NOT NULL,
                 at BIGINT NOT NULL,
                 PRIMARY KEY (customer, address)
             );
             CREATE INDEX suppression_removed_changed ON suppression_removed (changed);",
    ],
};

/// For so long it is known which addresses were taken off a list. A node that was away for longer reads all lists at its start.
const REMOVALS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// An unknown name can only come from a later version. The address stays suppressed, as if by an operator.
fn reason(name: &str) -> Reason {
    name.parse().unwrap_or(Reason::Operator)
}

fn entry(row: Row<'_>) -> Result<Entry, Error> {
    Ok(Entry {
        address: row.text(0)?.to_owned(),
        reason: reason(row.text(1)?),
        since: row.time(2)?,
        expires: row.maybe_time(3)?,
        note: row.text(4)?.to_owned(),
    })
}

/// Calls `each` for every entry that has not expired.
pub(super) fn each(
    tables: &Transaction<'_>,
    now: Timestamp,
    mut found: impl FnMut(&str, &str, Reason, Option<Timestamp>),
) -> Result<(), Error> {
    let sql = "SELECT customer, address, reason, expires FROM suppression WHERE expires IS NULL OR expires > $1";
    tables.query(sql, &[now.into()], |row| {
        found(row.text(0)?, row.text(1)?, reason(row.text(2)?), row.maybe_time(3)?);
        Ok(())
    })
}

/// Everything that the writes behind `seen` have changed, in their order.
pub(super) fn changes(tables: &Transaction<'_>, seen: i64) -> Result<Vec<Change>, Error> {
    let sql = "SELECT customer, address, reason, expires, changed FROM suppression WHERE changed > $1 \
               UNION ALL SELECT customer, address, NULL, NULL, changed FROM suppression_removed WHERE changed > $1 ORDER BY 5";
    let mut changes = Vec::new();
    tables.query(sql, &[seen.into()], |row| {
        let now = match row.maybe_text(2)? {
            Some(name) => Some((reason(name), row.maybe_time(3)?)),
            None => None,
        };
        changes.push(Change { customer: CustomerId::new(row.text(0)?), address: row.text(1)?.to_owned(), now });
        Ok::<_, Error>(())
    })?;
    Ok(changes)
}

/// Returns up to `limit` entries of a customer in the order of addresses, starting after `after`.
pub(super) fn list(
    tables: &Transaction<'_>,
    customer: &str,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT address, reason, since, expires, note FROM suppression
               WHERE customer = $1 AND address > $2 AND (expires IS NULL OR expires > $3) ORDER BY address LIMIT $4";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut entries = Vec::new();
    let which = [customer.into(), after.unwrap_or_default().into(), now.into(), limit.into()];
    tables.query(sql, &which, |row| {
        entries.push(entry(row)?);
        Ok::<_, Error>(())
    })?;
    Ok(entries)
}

/// Returns an entry that has not expired.
pub(super) fn find(
    tables: &Transaction<'_>,
    customer: &str,
    address: &str,
    now: Timestamp,
) -> Result<Option<Entry>, Error> {
    let sql = "SELECT address, reason, since, expires, note FROM suppression
               WHERE customer = $1 AND address = $2 AND (expires IS NULL OR expires > $3)";
    tables.first(sql, &[customer.into(), address.into(), now.into()], entry)
}

/// Writes an entry and replaces an existing one. `number` is that of the write.
pub(super) fn put(tables: &Transaction<'_>, number: i64, customer: &str, entry: &Entry) -> Result<(), Error> {
    let which = [customer.into(), entry.address.as_str().into()];
    tables.execute("DELETE FROM suppression_removed WHERE customer = $1 AND address = $2", &which)?;
    let sql = "INSERT INTO suppression (customer, address, reason, since, expires, note, changed)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (customer, address) DO UPDATE SET reason = excluded.reason,
               since = excluded.since, expires = excluded.expires, note = excluded.note, changed = excluded.changed";
    let row: [Value<'_>; 7] = [
        customer.into(),
        entry.address.as_str().into(),
        entry.reason.as_str().into(),
        entry.since.into(),
        entry.expires.into(),
        entry.note.as_str().into(),
        number.into(),
    ];
    tables.execute(sql, &row).map(drop)
}

/// Removes an entry and the bounces of its address. Returns true if there was an entry. `number` is that of the write.
pub(super) fn remove(
    tables: &Transaction<'_>,
    number: i64,
    customer: &str,
    address: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let which = [customer.into(), address.into()];
    tables.execute("DELETE FROM suppression_bounce WHERE customer = $1 AND address = $2", &which)?;
    if tables.execute("DELETE FROM suppression WHERE customer = $1 AND address = $2", &which)? == 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO suppression_removed (customer, address, changed, at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (customer, address) DO UPDATE SET changed = excluded.changed, at = excluded.at";
    tables.execute(sql, &[customer.into(), address.into(), number.into(), now.into()])?;
    Ok(true)
}

/// Returns true if a hard bounce with this timestamp is recorded.
pub(super) fn has_bounced(
    tables: &Transaction<'_>,
    customer: &str,
    address: &str,
    at: Timestamp,
) -> Result<bool, Error> {
    let sql = "SELECT at FROM suppression_bounce WHERE customer = $1 AND address = $2 AND at = $3 LIMIT 1";
    let which = [customer.into(), address.into(), at.into()];
    Ok(tables.first(sql, &which, |row| row.integer(0))?.is_some())
}

/// Records a hard bounce.
pub(super) fn note_bounce(tables: &Transaction<'_>, customer: &str, address: &str, at: Timestamp) -> Result<(), Error> {
    let bounce = [customer.into(), address.into(), at.into()];
    tables.execute("INSERT INTO suppression_bounce (customer, address, at) VALUES ($1, $2, $3)", &bounce).map(drop)
}

/// Returns the number of hard bounces since `from`.
pub(super) fn bounces_since(
    tables: &Transaction<'_>,
    customer: &str,
    address: &str,
    from: Timestamp,
) -> Result<u32, Error> {
    let sql = "SELECT count(*) FROM suppression_bounce WHERE customer = $1 AND address = $2 AND at > $3";
    let since = [customer.into(), address.into(), from.into()];
    let count = tables.first(sql, &since, |row| row.integer(0))?;
    Ok(count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default())
}

/// Forgets the bounces of an address.
pub(super) fn forget_bounces(tables: &Transaction<'_>, customer: &str, address: &str) -> Result<(), Error> {
    let which = [customer.into(), address.into()];
    tables.execute("DELETE FROM suppression_bounce WHERE customer = $1 AND address = $2", &which).map(drop)
}

/// Removes entries that expired, and bounces before `bounces_from`.
pub(super) fn tidy(tables: &Transaction<'_>, now: Timestamp, bounces_from: Timestamp) -> Result<(), Error> {
    tables.execute("DELETE FROM suppression WHERE expires <= $1", &[now.into()])?;
    tables.execute("DELETE FROM suppression_removed WHERE at < $1", &[(now - REMOVALS_KEPT).into()])?;
    tables.execute("DELETE FROM suppression_bounce WHERE at < $1", &[bounces_from.into()]).map(drop)
}

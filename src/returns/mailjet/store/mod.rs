//! The stored data: reports that are not in the log yet, the mails that Mailjet took, and the state of each.
//!
//! | table | a row for | kept until |
//! |---|---|---|
//! | `mailjet_inbox` | reports that were answered with 200 | the record has them |
//! | `mailjet_mail` | each recipient that Mailjet accepted, with its position in the journal | `keep` is over |
//! | `mailjet_seen` | an opening or a click that was reported | `keep` is over |
//! | `mailjet_read` | a node, with the position up to which its journal was read for new mails | |
//!
//! If several nodes share the tables, the node that relayed a mail emits the events about it, because its journal has the mail's data.
//! Reports wait in the rows of the node that received them. Reports about another node's mail are handed to that node.
//!
//! The functions take many rows at once, because in a shared database each statement costs a round trip.
//!
//! Queue ids begin with the time of arrival, so the rows of one day lie together, and the rows of mails that are too old are one range.
//! Times are milliseconds since 1970.

mod find;
mod inbox;
mod mails;

use std::collections::HashSet;
use std::time::Duration;

pub(super) use self::find::{Meant, Which, find};
pub(super) use self::inbox::{Bound, adopt, done, due, oldest, put, put_at, waiting};
pub(super) use self::mails::{add, ask_at, gaps, heard, to_ask};
use super::report::Report;
use super::state::State;
use crate::database::{Error, Schema, Transaction, Value, portions};
use crate::message::QueueId;
use crate::record::journal::Position;
use crate::smtp::comparable;
use crate::time::Timestamp;

pub const SCHEMA: Schema = Schema {
    owner: "mailjet",
    steps: &[
        "CREATE TABLE mailjet_inbox (
                  number BIGINT PRIMARY KEY,
                  due BIGINT NOT NULL,
                  came BIGINT NOT NULL,
                  reports BIGINT NOT NULL,
                  body TEXT NOT NULL
              );
              CREATE INDEX mailjet_inbox_due ON mailjet_inbox (due, number);
              CREATE TABLE mailjet_mail (
                  mail BIGINT NOT NULL,
                  place BIGINT NOT NULL,
                  name BIGINT,
                  recipient BIGINT NOT NULL,
                  customer TEXT NOT NULL,
                  route TEXT NOT NULL,
                  file BIGINT NOT NULL,
                  line BIGINT NOT NULL,
                  relayed BIGINT NOT NULL,
                  state BIGINT NOT NULL,
                  ask BIGINT,
                  PRIMARY KEY (mail, place)
              );
              CREATE INDEX mailjet_mail_name ON mailjet_mail (name) WHERE name IS NOT NULL;
              CREATE INDEX mailjet_mail_ask ON mailjet_mail (ask) WHERE ask IS NOT NULL;
              CREATE TABLE mailjet_seen (
                  mail BIGINT NOT NULL,
                  report BIGINT NOT NULL,
                  PRIMARY KEY (mail, report)
              );
              CREATE TABLE mailjet_place (id BIGINT PRIMARY KEY, position TEXT NOT NULL);",
        "ALTER TABLE mailjet_inbox ADD COLUMN node TEXT NOT NULL DEFAULT '';
             ALTER TABLE mailjet_inbox ADD COLUMN handed BIGINT NOT NULL DEFAULT 0;
             DROP INDEX mailjet_inbox_due;
             CREATE INDEX mailjet_inbox_node ON mailjet_inbox (node, due, number);
             ALTER TABLE mailjet_mail ADD COLUMN node TEXT NOT NULL DEFAULT '';
             DROP INDEX mailjet_mail_ask;
             CREATE INDEX mailjet_mail_node ON mailjet_mail (node, ask) WHERE ask IS NOT NULL;
             CREATE TABLE mailjet_read (node TEXT PRIMARY KEY, position TEXT NOT NULL);
             INSERT INTO mailjet_read SELECT '', position FROM mailjet_place;
             DROP TABLE mailjet_place;",
    ],
};

/// Reports that were stored with one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The number of the row. Numbers only grow.
    pub number: i64,
    /// When Mailjet sent them.
    pub came: Timestamp,
    pub reports: Vec<Report>,
    /// True if another node took them and handed them on.
    pub handed: bool,
}

/// A recipient of a mail that Mailjet took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub id: QueueId,
    /// The recipient's index in the envelope.
    pub place: u32,
    /// The node that relayed it. Empty where there is one only.
    pub node: String,
    /// A number made from Mailjet's id of the mail in its reply ([`name_of`]).
    pub name: Option<i64>,
    /// A number made from the recipient's address ([`recipient_of`]).
    pub recipient: i64,
    /// The customer's id.
    pub customer: String,
    /// The route of the mail.
    pub route: String,
    /// The place of its `relayed` event in the journal.
    pub at: Position,
    pub relayed: Timestamp,
    /// The reports about it so far.
    pub state: State,
}

/// Converts an id for a column. Its order is right until the year 2039, and equality always.
fn stored(id: QueueId) -> i64 {
    id.as_u64().cast_signed()
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn values(numbers: &[i64]) -> Vec<Value<'static>> {
    numbers.iter().map(|number| Value::Integer(*number)).collect()
}

/// Returns the openings and clicks among these that were reported before.
pub(super) fn seen(tables: &Transaction<'_>, reports: &[(QueueId, i64)]) -> Result<HashSet<(QueueId, i64)>, Error> {
    let mut found = HashSet::new();
    for portion in portions(reports) {
        let pair = |row: usize| format!("(CAST(${} AS BIGINT), CAST(${} AS BIGINT))", row * 2 + 1, row * 2 + 2);
        let pairs: Vec<String> = (0..portion.len()).map(pair).collect();
        let sql = format!(
            "WITH asked (id, number) AS (VALUES {}) SELECT mail, report FROM asked JOIN mailjet_seen ON mail = id AND report = number",
            pairs.join(", ")
        );
        let numbers: Vec<i64> = portion.iter().flat_map(|(id, report)| [stored(*id), *report]).collect();
        tables.query(&sql, &values(&numbers), |row| {
            found.insert((QueueId::from_u64(row.integer(0)?.cast_unsigned()), row.integer(1)?));
            Ok::<_, Error>(())
        })?;
    }
    Ok(found)
}

/// Remembers that openings and clicks were reported.
pub(super) fn see<'a>(
    tables: &Transaction<'_>,
    reports: impl IntoIterator<Item = &'a (QueueId, i64)>,
) -> Result<(), Error> {
    let row = |(id, report): &(QueueId, i64)| [stored(*id).into(), (*report).into()];
    let rows: Vec<[Value<'_>; 2]> = reports.into_iter().map(row).collect();
    tables.insert("mailjet_seen (mail, report)", &rows, "ON CONFLICT (mail, report) DO NOTHING")
}

/// Returns the position up to which this node's journal was read.
pub(super) fn place(tables: &Transaction<'_>) -> Result<Option<String>, Error> {
    let sql = "SELECT position FROM mailjet_read WHERE node = $1";
    tables.first(sql, &[tables.node().into()], |row| row.text(0).map(str::to_owned))
}

/// Stores the position up to which this node's journal was read.
pub(super) fn set_place(tables: &Transaction<'_>, position: &str) -> Result<(), Error> {
    let sql = "INSERT INTO mailjet_read (node, position) VALUES ($1, $2)
               ON CONFLICT (node) DO UPDATE SET position = excluded.position";
    tables.execute(sql, &[tables.node().into(), position.into()]).map(drop)
}

/// Removes up to `most` recipients of mails that arrived longer ago than `keep`. Returns true if there may be more.
pub(super) fn forget(tables: &Transaction<'_>, now: Timestamp, keep: Duration, most: i64) -> Result<bool, Error> {
    let before = stored(QueueId::first_at(now - keep));
    let seen = tables.execute("DELETE FROM mailjet_seen WHERE mail < $1", &[before.into()])?;
    // Removed in portions, because a statement blocks the database for all others.
    let sql = "DELETE FROM mailjet_mail WHERE mail < (
                   SELECT coalesce(max(mail), 0) + 1 FROM (
                       SELECT mail FROM mailjet_mail WHERE mail < $1 ORDER BY mail LIMIT $2) AS oldest)";
    let gone = tables.execute(sql, &[before.into(), most.into()])?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    Ok(gone >= most || seen >= most)
}

/// Returns the number for Mailjet's id of a mail: the numeric id itself, or a hash of the other id.
pub(super) fn name_of(name: &str) -> Option<i64> {
    let name = name.trim().to_ascii_lowercase();
    if (9..=19).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_digit()) {
        return name.parse().ok();
    }
    let is_guid = name.len() == 36
        && name.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    is_guid.then(|| hash(&[name.as_bytes()]))
}

/// Returns the number for a recipient's address, however it is written.
pub(super) fn recipient_of(address: &str) -> i64 {
    hash(&[comparable(address).as_bytes()])
}

/// Returns 64 bits of a digest of these parts.
pub(super) fn hash(parts: &[&[u8]]) -> i64 {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let first: [u8; 8] = digest.as_ref()[..8].try_into().expect("a digest of 32 octets");
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests;

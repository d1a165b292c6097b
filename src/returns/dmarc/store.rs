//! The stored data of reports: the list of reports, and the sums of each day by source and result. Days are counted in UTC since 1970.

use crate::database::{Error, Schema, Transaction, Value};
use crate::smtp::Domain;

use super::aggregate::{Row, Sum};
use super::report::Disposition;
use super::sources::Source;

/// The tables of the reports.
pub const SCHEMA: Schema = Schema {
    owner: "dmarc",
    steps: &["CREATE TABLE dmarc_report (
                  key TEXT NOT NULL,
                  domain TEXT NOT NULL,
                  reporter TEXT NOT NULL,
                  day BIGINT NOT NULL,
                  ends BIGINT NOT NULL,
                  taken BIGINT NOT NULL,
                  messages BIGINT NOT NULL,
                  PRIMARY KEY (key, domain)
              );
              CREATE INDEX dmarc_report_day ON dmarc_report (domain, day);
              CREATE TABLE dmarc_sum (
                  domain TEXT NOT NULL,
                  day BIGINT NOT NULL,
                  source TEXT NOT NULL,
                  ours BIGINT NOT NULL,
                  dkim BIGINT NOT NULL,
                  spf BIGINT NOT NULL,
                  disposition TEXT NOT NULL,
                  forwarded BIGINT NOT NULL,
                  messages BIGINT NOT NULL,
                  example TEXT,
                  PRIMARY KEY (domain, day, source, ours, dkim, spf, disposition, forwarded)
              );"],
};

/// The most reports for one domain and day. A busy domain gets reports from three hundred receivers.
pub(super) const MOST_REPORTS: i64 = 2_000;
/// The most sources of one domain and day that are counted separately.
const MOST_SOURCES: i64 = 500;
/// The most messages in one sum.
const MOST_MESSAGES: i64 = 1_000_000_000_000;

/// A report on one domain, to be stored.
pub(super) struct NewReport<'a> {
    /// The identity of the report.
    pub key: &'a str,
    pub domain: &'a Domain,
    pub reporter: &'a str,
    pub day: i64,
    /// In seconds since 1970, like `taken`.
    pub ends: i64,
    pub taken: i64,
    pub messages: u64,
}

/// One sum of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaySum {
    pub day: i64,
    pub row: Row,
    pub messages: u64,
    /// One of the addresses.
    pub example: String,
}

/// A reporter on a domain, by its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    pub name: String,
    pub reports: u64,
    /// The number of messages in its reports.
    pub messages: u64,
}

/// Returns true if a report is already stored.
pub(super) fn is_known(tables: &Transaction<'_>, key: &str) -> Result<bool, Error> {
    let found = tables.first("SELECT 1 FROM dmarc_report WHERE key = $1", &[key.into()], |row| row.integer(0))?;
    Ok(found.is_some())
}

/// Returns true if a domain already has the maximum number of reports for a day.
pub(super) fn is_full(tables: &Transaction<'_>, domain: &Domain, day: i64) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM dmarc_report WHERE domain = $1 AND day = $2";
    let count = tables.first(sql, &[domain.as_str().into(), day.into()], |row| row.integer(0))?;
    Ok(count.unwrap_or_default() >= MOST_REPORTS)
}

/// Stores a report and adds its sums.
pub(super) fn put<'r>(
    tables: &Transaction<'_>,
    report: &NewReport<'_>,
    rows: impl IntoIterator<Item = (&'r Row, &'r Sum)>,
) -> Result<(), Error> {
    let domain: Value<'_> = report.domain.as_str().into();
    let sql = "INSERT INTO dmarc_report (key, domain, reporter, day, ends, taken, messages) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let row = [
        report.key.into(),
        domain,
        report.reporter.into(),
        report.day.into(),
        report.ends.into(),
        report.taken.into(),
        integer(report.messages).into(),
    ];
    tables.execute(sql, &row)?;
    let count = "SELECT count(DISTINCT source) FROM dmarc_sum WHERE domain = $1 AND day = $2";
    let mut sources = tables.first(count, &[domain, report.day.into()], |row| row.integer(0))?.unwrap_or_default();
    for (row, sum) in rows {
        let mut source = row.source.to_string();
        let there = "SELECT 1 FROM dmarc_sum WHERE domain = $1 AND day = $2 AND source = $3 LIMIT 1";
        let is_there =
            tables.first(there, &[domain, report.day.into(), source.as_str().into()], |row| row.integer(0))?;
        if is_there.is_none() && sources >= MOST_SOURCES {
            source = Source::Others.to_string();
        }
        sources += i64::from(is_there.is_none());
        add(tables, report, row, &source, sum)?;
    }
    Ok(())
}

fn add(tables: &Transaction<'_>, report: &NewReport<'_>, row: &Row, source: &str, sum: &Sum) -> Result<(), Error> {
    let sql = "INSERT INTO dmarc_sum (domain, day, source, ours, dkim, spf, disposition, forwarded, messages, example)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               ON CONFLICT (domain, day, source, ours, dkim, spf, disposition, forwarded) DO UPDATE SET messages =
               CASE WHEN dmarc_sum.messages > 1000000000000 THEN dmarc_sum.messages
                    ELSE dmarc_sum.messages + excluded.messages END";
    let example = sum.example.map(|address| address.to_string());
    let [ours, dkim, spf, forwarded] = [row.ours, row.dkim, row.spf, row.forwarded].map(i64::from);
    let row: [Value<'_>; 10] = [
        report.domain.as_str().into(),
        report.day.into(),
        source.into(),
        ours.into(),
        dkim.into(),
        spf.into(),
        row.disposition.as_str().into(),
        forwarded.into(),
        integer(sum.messages).into(),
        example.as_deref().into(),
    ];
    tables.execute(sql, &row).map(drop)
}

/// Returns the sums of a domain since a day, in the order of days.
pub(super) fn sums(tables: &Transaction<'_>, domain: &str, from: i64) -> Result<Vec<DaySum>, Error> {
    let sql = "SELECT day, source, ours, dkim, spf, disposition, forwarded, messages, example FROM dmarc_sum
               WHERE domain = $1 AND day >= $2 ORDER BY day, source";
    let mut found = Vec::new();
    tables.query(sql, &[domain.into(), from.into()], |row| {
        let is = |column| row.integer(column).map(|value| value != 0);
        let disposition = match row.text(5)? {
            "quarantine" => Disposition::Quarantine,
            "reject" => Disposition::Reject,
            _ => Disposition::None,
        };
        let source = Source::stored(row.text(1)?);
        found.push(DaySum {
            day: row.integer(0)?,
            row: Row { source, ours: is(2)?, dkim: is(3)?, spf: is(4)?, disposition, forwarded: is(6)? },
            messages: u64::try_from(row.integer(7)?).unwrap_or_default(),
            example: row.maybe_text(8)?.unwrap_or_default().to_owned(),
        });
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Returns the reporters on a domain since a day, those with the most messages first.
pub(super) fn reporters(tables: &Transaction<'_>, domain: &str, from: i64) -> Result<Vec<Reporter>, Error> {
    let sql = "SELECT reporter, count(*), CAST(sum(messages) AS BIGINT) FROM dmarc_report
               WHERE domain = $1 AND day >= $2 GROUP BY reporter ORDER BY 3 DESC, reporter";
    let mut found = Vec::new();
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    tables.query(sql, &[domain.into(), from.into()], |row| {
        let (reports, messages) = (number(row.integer(1)?), number(row.integer(2)?));
        found.push(Reporter { name: row.text(0)?.to_owned(), reports, messages });
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Returns the end of the newest report of each domain, in seconds since 1970.
pub(super) fn newest(tables: &Transaction<'_>) -> Result<Vec<(String, i64)>, Error> {
    let mut found = Vec::new();
    tables.query("SELECT domain, max(ends) FROM dmarc_report GROUP BY domain", &[], |row| {
        found.push((row.text(0)?.to_owned(), row.integer(1)?));
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Removes data about days before this one.
pub(super) fn tidy(tables: &Transaction<'_>, before: i64) -> Result<(), Error> {
    tables.execute("DELETE FROM dmarc_report WHERE day < $1", &[before.into()])?;
    tables.execute("DELETE FROM dmarc_sum WHERE day < $1", &[before.into()]).map(drop)
}

fn integer(messages: u64) -> i64 {
    i64::try_from(messages).unwrap_or(i64::MAX).min(MOST_MESSAGES)
}

//! The table of links.

use std::time::Duration;

use super::Link;
use crate::database::{Error, Row, Schema, Transaction};
use crate::message::CustomerId;
use crate::onboarding::Lang;
use crate::operate::tokens::Digest;
use crate::time::Timestamp;

/// The table. Times are milliseconds since 1970.
pub const SCHEMA: Schema = Schema {
    owner: "link",
    steps: &[
        "CREATE TABLE link (digest TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, customer TEXT NOT NULL, language TEXT, \
              created BIGINT NOT NULL, expires BIGINT NOT NULL, last_used BIGINT); \
              CREATE INDEX link_customer ON link (customer);",
    ],
};

/// How long an expired link is kept, so that its holder learns that it has expired.
const KEPT_EXPIRED: Duration = Duration::from_secs(90 * 86_400);

const COLUMNS: &str = "digest, id, customer, language, created, expires, last_used";

#[derive(Clone)]
pub(super) struct StoredLink {
    pub digest: Digest,
    pub id: String,
    pub customer: CustomerId,
    pub language: Option<Lang>,
    pub created: Timestamp,
    pub expires: Timestamp,
    pub last_used: Option<Timestamp>,
}

impl StoredLink {
    /// Returns true if it is no longer valid.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Returns the link as lists show it.
    pub fn shown(&self, now: Timestamp) -> Link {
        Link {
            id: self.id.clone(),
            customer: self.customer.to_string(),
            language: self.language.map(|lang| lang.to_string()),
            created: self.created.to_string(),
            expires: self.expires.to_string(),
            expired: self.has_expired(now),
            last_used: self.last_used.map(|at| at.to_string()),
        }
    }
}

/// Returns the row with this digest.
pub(super) fn find(tables: &Transaction<'_>, digest: &Digest) -> Result<Option<StoredLink>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM link WHERE digest = $1");
    tables.first(&sql, &[digest.to_hex().as_str().into()], |row| read(&row)).map(Option::flatten)
}

/// Returns the rows of one customer, or of all, the newest first.
pub(super) fn list(tables: &Transaction<'_>, customer: Option<&str>) -> Result<Vec<StoredLink>, Error> {
    let mut all = Vec::new();
    let keep = |row: Row<'_>| {
        all.extend(read(&row)?);
        Ok::<_, Error>(())
    };
    match customer {
        Some(customer) => {
            let sql = format!("SELECT {COLUMNS} FROM link WHERE customer = $1 ORDER BY created DESC, id");
            tables.query(&sql, &[customer.into()], keep)?;
        }
        None => tables.query(&format!("SELECT {COLUMNS} FROM link ORDER BY created DESC, id"), &[], keep)?,
    }
    Ok(all)
}

/// Adds a row, and deletes links that expired long ago. Returns false if the customer already has `most` valid links.
pub(super) fn add(tables: &Transaction<'_>, kept: &StoredLink, now: Timestamp, most: usize) -> Result<bool, Error> {
    let long_ago = now - KEPT_EXPIRED;
    tables.execute("DELETE FROM link WHERE expires < $1", &[long_ago.into()])?;
    let counting = list(tables, Some(kept.customer.as_str()))?.iter().filter(|it| !it.has_expired(now)).count();
    if counting >= most {
        return Ok(false);
    }
    let digest = kept.digest.to_hex();
    let sql = "INSERT INTO link (digest, id, customer, language, created, expires) VALUES ($1, $2, $3, $4, $5, $6)";
    let row = [
        digest.as_str().into(),
        kept.id.as_str().into(),
        kept.customer.as_str().into(),
        kept.language.map(Lang::as_str).into(),
        kept.created.into(),
        kept.expires.into(),
    ];
    tables.execute(sql, &row).map(|_| true)
}

/// Removes a row by its id. Returns the customer of the link.
pub(super) fn remove(tables: &Transaction<'_>, customer: Option<&str>, id: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT customer FROM link WHERE id = $1";
    let of = tables.first(sql, &[id.into()], |row| row.text(0).map(str::to_owned))?;
    let Some(of) = of.filter(|of| customer.is_none_or(|customer| customer == of)) else { return Ok(None) };
    tables.execute("DELETE FROM link WHERE id = $1", &[id.into()])?;
    Ok(Some(of))
}

/// Stores the time of a use.
pub(super) fn save_use(tables: &Transaction<'_>, digest: &Digest, at: Timestamp) -> Result<(), Error> {
    let digest = digest.to_hex();
    let row = [at.into(), digest.as_str().into()];
    tables.execute("UPDATE link SET last_used = $1 WHERE digest = $2", &row).map(drop)
}

/// Reads a row. An invalid row is left out with a warning, so its link is not valid.
fn read(row: &Row<'_>) -> Result<Option<StoredLink>, Error> {
    let Some(digest) = Digest::from_hex(row.text(0)?) else {
        tracing::warn!("the link {} is not understood and does not count", row.text(1)?);
        return Ok(None);
    };
    Ok(Some(StoredLink {
        digest,
        id: row.text(1)?.to_owned(),
        customer: CustomerId::new(row.text(2)?),
        language: row.maybe_text(3)?.and_then(|text| text.parse().ok()),
        created: row.time(4)?,
        expires: row.time(5)?,
        last_used: row.maybe_time(6)?,
    }))
}

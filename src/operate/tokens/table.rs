//! The table of tokens.

use std::collections::BTreeSet;

use super::RoleName;
use super::secret::Digest;
use crate::database::{Error, Row, Schema, Transaction};
use crate::message::CustomerId;
use crate::time::Timestamp;

/// The table. Times are milliseconds since 1970. Customers are separated by spaces, which no id contains.
pub const SCHEMA: Schema = Schema {
    owner: "token",
    steps: &["CREATE TABLE token (digest TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, \
              customers TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT, last_used BIGINT)"],
};

#[derive(Clone)]
pub(super) struct StoredToken {
    pub digest: Digest,
    pub name: String,
    pub role: RoleName,
    pub customers: BTreeSet<CustomerId>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub last_used: Option<Timestamp>,
}

impl StoredToken {
    /// Returns true if it is no longer valid.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }
}

/// Reads every row. An invalid row is left out with a warning, so its token is not valid.
pub(super) fn read_all(tables: &Transaction<'_>) -> Result<Vec<StoredToken>, Error> {
    let mut all = Vec::new();
    let sql = "SELECT digest, name, role, customers, created, expires, last_used FROM token";
    tables.query(sql, &[], |row| {
        match read(&row)? {
            Some(kept) => all.push(kept),
            None => tracing::warn!("the token {} is not understood and does not count", row.text(1)?),
        }
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

fn read(row: &Row<'_>) -> Result<Option<StoredToken>, Error> {
    let roles = [RoleName::Customer, RoleName::Read, RoleName::Operate, RoleName::Admin];
    let role = row.text(2)?;
    let role = roles.into_iter().find(|known| known.as_str() == role);
    let (Some(digest), Some(role)) = (Digest::from_hex(row.text(0)?), role) else { return Ok(None) };
    Ok(Some(StoredToken {
        digest,
        name: row.text(1)?.to_owned(),
        role,
        customers: row.text(3)?.split_whitespace().map(CustomerId::new).collect(),
        created: row.time(4)?,
        expires: row.maybe_time(5)?,
        last_used: row.maybe_time(6)?,
    }))
}

/// Adds a row. Returns false if its name is taken.
pub(super) fn add(tables: &Transaction<'_>, kept: &StoredToken) -> Result<bool, Error> {
    let customers: Vec<&str> = kept.customers.iter().map(CustomerId::as_str).collect();
    let (digest, customers) = (kept.digest.to_hex(), customers.join(" "));
    let sql = "INSERT INTO token (digest, name, role, customers, created, expires) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (name) DO NOTHING";
    let row = [
        digest.as_str().into(),
        kept.name.as_str().into(),
        kept.role.as_str().into(),
        customers.as_str().into(),
        kept.created.into(),
        kept.expires.into(),
    ];
    let is_new = tables.execute(sql, &row)? > 0;
    if is_new {
        tables.announce()?;
    }
    Ok(is_new)
}

pub(super) fn remove(tables: &Transaction<'_>, digest: &Digest) -> Result<(), Error> {
    tables.execute("DELETE FROM token WHERE digest = $1", &[digest.to_hex().as_str().into()])?;
    tables.announce().map(drop)
}

/// Stores the time of a use.
pub(super) fn save_use(tables: &Transaction<'_>, digest: &Digest, at: Timestamp) -> Result<(), Error> {
    let digest = digest.to_hex();
    let row = [at.into(), digest.as_str().into()];
    tables.execute("UPDATE token SET last_used = $1 WHERE digest = $2", &row).map(drop)
}

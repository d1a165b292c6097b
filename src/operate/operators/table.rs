//! The tables of operators and of their sessions.

use super::sessions::Session;
use super::{StoredOperator, role_named};
use crate::database::{Error, Schema, Transaction};
use crate::operate::tokens::secret::Digest;
use crate::time::Timestamp;

/// The tables. Times are milliseconds since 1970. An operator without a password can only log in through a trusted proxy.
pub const SCHEMA: Schema = Schema {
    owner: "operator",
    steps: &[
        "CREATE TABLE operator (name TEXT PRIMARY KEY, role TEXT NOT NULL, password_hash TEXT, created BIGINT NOT NULL, \
              last_login BIGINT); \
              CREATE TABLE operator_session (digest TEXT PRIMARY KEY, operator TEXT NOT NULL, address TEXT NOT NULL, \
              created BIGINT NOT NULL, last_seen BIGINT NOT NULL)",
    ],
};

/// The stored operators and sessions.
pub(super) type All = (Vec<StoredOperator>, Vec<(Digest, Session)>);

/// Reads every operator and session. An invalid operator is left out with a warning.
pub(super) fn read_all(tables: &Transaction<'_>) -> Result<All, Error> {
    let (mut operators, mut sessions) = (Vec::new(), Vec::new());
    let sql = "SELECT name, role, password_hash, created, last_login FROM operator";
    tables.query(sql, &[], |row| {
        let name = row.text(0)?.to_owned();
        match role_named(row.text(1)?) {
            Some(role) => operators.push(StoredOperator {
                name,
                role,
                password_hash: row.maybe_text(2)?.map(str::to_owned),
                created: row.time(3)?,
                last_login: row.maybe_time(4)?,
            }),
            None => tracing::warn!("the operator {name} is not understood and cannot log in"),
        }
        Ok::<_, Error>(())
    })?;
    let sql = "SELECT digest, operator, address, created, last_seen FROM operator_session";
    tables.query(sql, &[], |row| {
        if let Some(digest) = Digest::from_hex(row.text(0)?) {
            let (created, last_seen) = (row.time(3)?, row.time(4)?);
            let (operator, address) = (row.text(1)?.to_owned(), row.text(2)?.to_owned());
            sessions.push((digest, Session { operator, address, created, last_seen, saved: last_seen }));
        }
        Ok::<_, Error>(())
    })?;
    Ok((operators, sessions))
}

/// Adds an operator. Returns false if the name is taken.
pub(super) fn add(tables: &Transaction<'_>, kept: &StoredOperator) -> Result<bool, Error> {
    let sql = "INSERT INTO operator (name, role, password_hash, created) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    let row = [
        kept.name.as_str().into(),
        kept.role.as_str().into(),
        kept.password_hash.as_deref().into(),
        kept.created.into(),
    ];
    let is_new = tables.execute(sql, &row)? > 0;
    if is_new {
        tables.announce()?;
    }
    Ok(is_new)
}

/// Writes an operator's role and password, and ends all sessions of the operator.
pub(super) fn change(tables: &Transaction<'_>, kept: &StoredOperator) -> Result<(), Error> {
    let sql = "UPDATE operator SET role = $1, password_hash = $2 WHERE name = $3";
    let row = [kept.role.as_str().into(), kept.password_hash.as_deref().into(), kept.name.as_str().into()];
    tables.execute(sql, &row)?;
    end_sessions_of(tables, &kept.name)
}

/// Removes an operator and all sessions of the operator.
pub(super) fn remove(tables: &Transaction<'_>, name: &str) -> Result<(), Error> {
    tables.execute("DELETE FROM operator WHERE name = $1", &[name.into()])?;
    end_sessions_of(tables, name)
}

/// Ends all sessions of an operator that was changed or removed.
fn end_sessions_of(tables: &Transaction<'_>, name: &str) -> Result<(), Error> {
    tables.execute("DELETE FROM operator_session WHERE operator = $1", &[name.into()])?;
    tables.announce().map(drop)
}

/// Adds a session, and stores the time of the login.
pub(super) fn begin_session(tables: &Transaction<'_>, digest: &Digest, session: &Session) -> Result<(), Error> {
    let (digest, created) = (digest.to_hex(), session.created);
    let sql =
        "INSERT INTO operator_session (digest, operator, address, created, last_seen) VALUES ($1, $2, $3, $4, $5)";
    let row = [
        digest.as_str().into(),
        session.operator.as_str().into(),
        session.address.as_str().into(),
        created.into(),
        session.last_seen.into(),
    ];
    tables.execute(sql, &row)?;
    let row = [created.into(), session.operator.as_str().into()];
    tables.execute("UPDATE operator SET last_login = $1 WHERE name = $2", &row)?;
    tables.announce().map(drop)
}

pub(super) fn end_sessions(tables: &Transaction<'_>, digests: &[Digest]) -> Result<(), Error> {
    for digest in digests {
        tables.execute("DELETE FROM operator_session WHERE digest = $1", &[digest.to_hex().as_str().into()])?;
    }
    tables.announce().map(drop)
}

/// Stores when a session was last used, so that the other nodes do not end it as idle.
pub(super) fn save_seen(tables: &Transaction<'_>, digest: &Digest, at: Timestamp) -> Result<(), Error> {
    let digest = digest.to_hex();
    let row = [at.into(), digest.as_str().into()];
    tables.execute("UPDATE operator_session SET last_seen = $1 WHERE digest = $2", &row)?;
    tables.announce().map(drop)
}

//! Operators: the people who use the pages, and their sessions.
//!
//! An operator has a name, a role of the API (`read`, `operate` or `admin`) and a password, of which only an Argon2id hash is stored. An
//! operator without a password can only log in through a trusted proxy. Passwords are checked, and wrong ones are slowed down, exactly as
//! at submission (`Logins`).
//!
//! All operators and sessions are in memory. A change takes effect at once at the node that made it, and within a second at the others.
//! While the database does not answer, nobody is let in, because the operator may have been removed. A change of the role or the password
//! ends the operator's sessions.

mod commands;
mod failures;
mod logins;
mod sessions;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

pub use logins::{LoginRefused, OpenSession};
pub use sessions::SessionTimes;
pub use table::SCHEMA;

use super::tokens::RoleName;
use super::tokens::secret::Digest;
use super::{Actor, Error, ErrorKind, Role};
use crate::database::{self, Database};
use crate::submission::{Allowed, Limits, Logins, Submitter, Submitters};
use crate::time::Timestamp;
use failures::Failures;
use sessions::{Seen, Sessions};

/// The maximum number of operators. All are in memory, and a person must be able to read the list.
const MOST: usize = 1_000;
const LONGEST_NAME: usize = 64;
/// The minimum length of a password, in characters.
pub const SHORTEST_PASSWORD: usize = 12;

/// An operator as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The name, which the audit shows.
    pub name: String,
    /// The operator's role.
    pub role: RoleName,
    /// False if the operator can only log in through a trusted proxy.
    pub has_password: bool,
    /// When the operator was added, RFC 3339.
    pub created: String,
    /// When the operator last logged in with a password, RFC 3339; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<String>,
    /// The number of the operator's sessions.
    pub sessions: u64,
}

/// An operator to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    pub name: String,
    /// The operator's role.
    pub role: RoleName,
    /// The hash of the password; absent if the operator logs in only through a trusted proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<PasswordHash>,
}

/// A change of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorChange {
    Role(RoleName),
    Password(PasswordHash),
    /// Only ends all sessions.
    LogOut,
}

/// An Argon2id hash in PHC form. No output contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a password, if it is long enough. Takes tens of milliseconds.
    pub fn of(password: &str) -> Result<Self, Error> {
        if password.chars().count() < SHORTEST_PASSWORD {
            let message = format!("the password has fewer than {SHORTEST_PASSWORD} characters");
            return Err(Error::invalid(message, "take four or five words that do not belong together"));
        }
        let failed = |error| Error::failed(format!("the password cannot be hashed: {error}"), "nothing was changed");
        crate::submission::hash_password(password).map(PasswordHash).map_err(failed)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

#[derive(Clone)]
struct StoredOperator {
    name: String,
    role: RoleName,
    password_hash: Option<String>,
    created: Timestamp,
    last_login: Option<Timestamp>,
}

impl StoredOperator {
    fn submitter(&self) -> Option<Submitter> {
        let password_hash = self.password_hash.clone()?;
        Some(Submitter {
            username: self.name.clone(),
            password_hash,
            customers: Allowed::All,
            urgency: None,
            test: None,
        })
    }

    fn actor(&self, address: Option<IpAddr>) -> Actor {
        let role = match self.role {
            RoleName::Admin => Role::Admin,
            RoleName::Operate => Role::Operate,
            // The table has no customers, so such a row gets the smaller permissions.
            RoleName::Read | RoleName::Customer => Role::Read,
        };
        Actor::of_operator(&self.name, role).at(address)
    }
}

/// The operators of a relay. Cheap to clone.
#[derive(Clone)]
pub struct Operators(Arc<Inner>);

struct Inner {
    database: Database,
    known: RwLock<BTreeMap<String, StoredOperator>>,
    /// The operators with a password, in the form in which logins are checked.
    passwords: ArcSwap<Submitters>,
    logins: Logins,
    sessions: Sessions,
    failures: Failures,
    /// Held while the tables are changed or read, until memory has the result.
    changing: tokio::sync::Mutex<()>,
}

impl Operators {
    /// Reads all operators and sessions. Answers to wrong logins are delayed as the `login_…` settings of `limits` say. Blocks.
    pub fn open(database: Database, limits: &Limits, times: SessionTimes) -> Result<Self, database::Error> {
        let database = database.of(&SCHEMA);
        let (operators, sessions) = database.read_blocking(table::read_all)?;
        let known: BTreeMap<String, StoredOperator> =
            operators.into_iter().map(|kept| (kept.name.clone(), kept)).collect();
        let passwords = ArcSwap::from_pointee(passwords(&known));
        Ok(Operators(Arc::new(Inner {
            database,
            known: RwLock::new(known),
            passwords,
            logins: Logins::new(limits, None),
            sessions: Sessions::new(times, sessions),
            failures: Failures::default(),
            changing: tokio::sync::Mutex::default(),
        })))
    }

    /// Follows changes that other nodes make.
    pub async fn follow(&self) {
        let read_again = || {
            let operators = self.clone();
            async move { operators.read_again().await }
        };
        self.0.database.changes().follow("which operators there are", read_again).await;
    }

    async fn read_again(&self) -> Result<(), database::Error> {
        let _changing = self.0.changing.lock().await;
        let (operators, sessions) = self.0.database.read(table::read_all).await?;
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = operators.into_iter().map(|kept| (kept.name.clone(), kept)).collect();
        let before = self.0.passwords.load();
        self.0.passwords.store(Arc::new(passwords(&known).remembering(&before)));
        self.0.sessions.replace(sessions);
        Ok(())
    }

    /// Returns an error while it is unknown what other nodes have changed.
    pub fn is_current(&self) -> Result<(), Error> {
        self.0.database.is_current().map_err(|error| {
            let message = format!("which operators there are is not known now: {error}");
            Error::new(ErrorKind::Unavailable, message, "try again once the database answers")
        })
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<String, StoredOperator>> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the operator of a session, and records its use. Returns `None` if there is no such session, or if it has ended.
    pub fn look(&self, session: &str, address: Option<IpAddr>, now: Timestamp) -> Option<Actor> {
        let digest = Digest::of(session);
        let Seen::Open { operator, save } = self.0.sessions.look(&digest, now) else { return None };
        if save {
            self.save_seen(digest, now);
        }
        self.known().get(&operator).map(|kept| kept.actor(address))
    }

    /// Returns true if a session is still valid. This does not count as use.
    pub fn is_open(&self, session: &str, now: Timestamp) -> bool {
        self.0.sessions.is_open(&Digest::of(session), now)
    }

    /// Returns the operator that a trusted proxy names, or `None` if there is none.
    pub fn named_by_proxy(&self, name: &str, address: Option<IpAddr>) -> Option<Actor> {
        self.known().get(name).map(|kept| kept.actor(address))
    }

    /// Writes it after the request was answered, so that a failure does not affect the answer.
    fn save_seen(&self, digest: Digest, now: Timestamp) {
        let database = self.0.database.clone();
        tokio::spawn(async move {
            if let Err(error) = database.write(move |tables| table::save_seen(tables, &digest, now)).await {
                tracing::warn!("when an operator was last seen is not kept: {error}");
            }
        });
    }

    /// Replaces the data of an operator in memory, or removes the operator.
    fn put(&self, name: &str, kept: Option<StoredOperator>) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        match kept {
            Some(kept) => known.insert(name.to_owned(), kept),
            None => known.remove(name),
        };
        let before = self.0.passwords.load();
        self.0.passwords.store(Arc::new(passwords(&known).remembering(&before)));
    }

    /// Records a login with a password, if the password is still the operator's.
    fn logged_in(&self, checked: &Submitter, address: IpAddr, now: Timestamp) -> Option<Actor> {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        let kept = known.get_mut(&checked.username)?;
        if kept.password_hash.as_ref() != Some(&checked.password_hash) {
            return None;
        }
        kept.last_login = Some(now);
        Some(kept.actor(Some(address)))
    }

    fn shown(&self, kept: &StoredOperator, now: Timestamp) -> Operator {
        Operator {
            name: kept.name.clone(),
            role: kept.role,
            has_password: kept.password_hash.is_some(),
            created: kept.created.to_string(),
            last_login: kept.last_login.map(|at| at.to_string()),
            sessions: self.0.sessions.of(&kept.name, None, now).len() as u64,
        }
    }
}

/// Returns the operators with a password. Hashes are checked when they are stored. A hash in the format of a newer version lets nobody in.
fn passwords(known: &BTreeMap<String, StoredOperator>) -> Submitters {
    let all: Vec<Submitter> = known.values().filter_map(StoredOperator::submitter).collect();
    let usable = |submitter: &Submitter| match Submitters::new(vec![submitter.clone()]) {
        Ok(_) => true,
        Err(_) => {
            tracing::warn!("the password of the operator {} is not understood", submitter.username);
            false
        }
    };
    Submitters::new(all.into_iter().filter(usable).collect())
        .unwrap_or_else(|_| Submitters::new(Vec::new()).expect("no submitter is a legal list of submitters"))
}

/// Returns the role with this name, if operators can have it.
fn role_named(name: &str) -> Option<RoleName> {
    [RoleName::Read, RoleName::Operate, RoleName::Admin].into_iter().find(|role| role.as_str() == name)
}

fn not_kept(error: database::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the operators cannot be written: {error}"), "nothing was changed")
}

#[cfg(test)]
mod tests;

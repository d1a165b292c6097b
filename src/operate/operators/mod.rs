//! Operators: the people who use the pages, and their sessions.
//!
//! An operator has a name, a role of the API (`read`, `operate` or `admin`) and a password, of which only an Argon2id hash is stored. An
//! operator without a password can only log in through a trusted proxy. Passwords are checked, and wrong ones are slowed down, exactly as
//! at submission (`Logins`).
//!
//! All operators and sessions are in memory. A change takes effect at once at the node that made it, and within a second at the others.
//! While the database does not answer, nobody is let in, because the operator may have been removed. A change of the role or the password
//! ends the operator's sessions.

mod failures;
mod kept;
mod sessions;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use kept::SCHEMA;
pub use sessions::SessionTimes;

use super::actor::Need;
use super::audit::{self, Act};
use super::tokens::RoleName;
use super::tokens::secret::{Digest, Secret};
use super::{Actor, Error, ErrorKind, Role, Service};
use crate::database::{self, Database};
use crate::events::Action;
use crate::submission::{Allowed, Credentials, Limits, Login, Logins, Submitter, Submitters};
use crate::time::Timestamp;
use failures::Failures;
use sessions::{Seen, Session, Sessions};

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
struct Kept {
    name: String,
    role: RoleName,
    password_hash: Option<String>,
    created: Timestamp,
    last_login: Option<Timestamp>,
}

impl Kept {
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

/// Returns the role with this name, if operators can have it.
fn role_named(name: &str) -> Option<RoleName> {
    [RoleName::Read, RoleName::Operate, RoleName::Admin].into_iter().find(|role| role.as_str() == name)
}

/// A session as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The address of the login; empty if it is unknown.
    pub address: String,
    pub created: Timestamp,
    /// When the session was last used.
    pub last_seen: Timestamp,
    /// True if it is the session of this request.
    pub is_own: bool,
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// The name or the password is wrong.
    Wrong,
    /// Too many logins from this address or with this name were wrong. This one was not checked.
    Throttled,
    /// Too many other logins are being checked.
    Busy,
}

/// The operators of a relay. Cheap to clone.
#[derive(Clone)]
pub struct Operators(Arc<Inner>);

struct Inner {
    database: Database,
    known: RwLock<BTreeMap<String, Kept>>,
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
        let (operators, sessions) = database.read_blocking(kept::read_all)?;
        let known: BTreeMap<String, Kept> = operators.into_iter().map(|kept| (kept.name.clone(), kept)).collect();
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
        let (operators, sessions) = self.0.database.read(kept::read_all).await?;
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

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<String, Kept>> {
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
            if let Err(error) = database.write(move |tables| kept::save_seen(tables, &digest, now)).await {
                tracing::warn!("when an operator was last seen is not kept: {error}");
            }
        });
    }

    /// Replaces the data of an operator in memory, or removes the operator.
    fn put(&self, name: &str, kept: Option<Kept>) {
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

    fn shown(&self, kept: &Kept, now: Timestamp) -> Operator {
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
fn passwords(known: &BTreeMap<String, Kept>) -> Submitters {
    let all: Vec<Submitter> = known.values().filter_map(Kept::submitter).collect();
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

fn not_kept(error: database::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the operators cannot be written: {error}"), "nothing was changed")
}

impl Service {
    pub async fn add_operator(&self, actor: &Actor, new: &NewOperator) -> Result<Operator, Error> {
        actor.may(Need::Admin)?;
        check_name(&new.name)?;
        let role = role_named(new.role.as_str()).ok_or_else(no_role)?;
        if let Some(hash) = &new.password_hash {
            check_hash(&new.name, hash)?;
        }
        if self.operators.known().len() >= MOST {
            return Err(Error::conflict(format!("there are {MOST} operators already"), "remove those who left"));
        }
        let now = Timestamp::now();
        let kept = Kept {
            name: new.name.clone(),
            role,
            password_hash: new.password_hash.as_ref().map(|hash| hash.0.clone()),
            created: now,
            last_login: None,
        };
        let row = kept.clone();
        let _changing = self.operators.0.changing.lock().await;
        if !self.operators.0.database.write(move |tables| kept::add(tables, &row)).await.map_err(not_kept)? {
            let message = format!("there is an operator \"{}\" already", new.name);
            return Err(Error::conflict(message, "give the new one another name, or change that one"));
        }
        let shown = self.operators.shown(&kept, now);
        self.operators.put(&new.name, Some(kept));
        let how = if shown.has_password { "a password" } else { "no password: a trusted proxy logs in" };
        let detail = format!("operator \"{}\" added with the role {} and {how}", new.name, role.as_str());
        audit::tell(&self.events, actor, Act::new(Action::OperatorAdd, detail));
        Ok(shown)
    }

    /// Returns all operators by name.
    pub fn list_operators(&self, actor: &Actor) -> Result<Vec<Operator>, Error> {
        actor.may(Need::Admin)?;
        let now = Timestamp::now();
        Ok(self.operators.known().values().map(|kept| self.operators.shown(kept, now)).collect())
    }

    /// Changes an operator's role or password. All sessions of the operator end.
    pub async fn change_operator(&self, actor: &Actor, name: &str, change: &OperatorChange) -> Result<(), Error> {
        actor.may(Need::Admin)?;
        self.replace_operator(actor, name, change).await
    }

    /// Removes an operator. All sessions of the operator end.
    pub async fn remove_operator(&self, actor: &Actor, name: &str) -> Result<(), Error> {
        actor.may(Need::Admin)?;
        self.operator(name)?;
        let row = name.to_owned();
        let _changing = self.operators.0.changing.lock().await;
        self.operators.0.database.write(move |tables| kept::remove(tables, &row)).await.map_err(not_kept)?;
        self.operators.put(name, None);
        self.operators.0.sessions.end_all_of(name, None);
        audit::tell(&self.events, actor, Act::new(Action::OperatorRemove, format!("operator \"{name}\" removed")));
        Ok(())
    }

    /// Changes an operator's own password, if the old one is right. All sessions of the operator end.
    pub async fn change_own_password(
        &self,
        actor: &Actor,
        old: Zeroizing<String>,
        new: Zeroizing<String>,
    ) -> Result<(), Error> {
        let name = actor.operator().ok_or_else(|| {
            Error::new(ErrorKind::Forbidden, format!("{actor} is no operator"), "log in to the pages")
        })?;
        self.operator(name)?;
        let credentials = Credentials { username: Zeroizing::new(name.to_owned()), password: old };
        let address = actor.address().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        match self.check_password(credentials, address).await {
            Ok(_) => {}
            Err(LoginRefused::Wrong) => {
                return Err(Error::invalid("the old password is wrong", "give the one that you logged in with"));
            }
            Err(LoginRefused::Throttled | LoginRefused::Busy) => {
                let message = "too many passwords were wrong lately, so that this one was not looked at";
                return Err(Error::new(ErrorKind::Unavailable, message, "wait a minute, and try again"));
            }
        }
        let hashed = tokio::task::spawn_blocking(move || PasswordHash::of(&new)).await;
        let hash = hashed.map_err(|error| Error::failed(error.to_string(), "nothing was changed"))??;
        self.replace_operator(actor, name, &OperatorChange::Password(hash)).await
    }

    async fn replace_operator(&self, actor: &Actor, name: &str, change: &OperatorChange) -> Result<(), Error> {
        let _changing = self.operators.0.changing.lock().await;
        let mut kept = self.operator(name)?;
        let detail = match change {
            OperatorChange::Role(role) => {
                kept.role = role_named(role.as_str()).ok_or_else(no_role)?;
                format!("operator \"{name}\" has the role {} now", kept.role.as_str())
            }
            OperatorChange::Password(hash) => {
                check_hash(name, hash)?;
                kept.password_hash = Some(hash.0.clone());
                format!("operator \"{name}\" has another password")
            }
            OperatorChange::LogOut => format!("operator \"{name}\" was logged out everywhere"),
        };
        let row = kept.clone();
        self.operators.0.database.write(move |tables| kept::change(tables, &row)).await.map_err(not_kept)?;
        self.operators.put(name, Some(kept));
        self.operators.0.sessions.end_all_of(name, None);
        audit::tell(&self.events, actor, Act::new(Action::OperatorChange, detail));
        Ok(())
    }

    fn operator(&self, name: &str) -> Result<Kept, Error> {
        let found = self.operators.known().get(name).cloned();
        found.ok_or_else(|| {
            Error::not_found(format!("there is no operator \"{name}\""), "`postbud operator list` names them")
        })
    }

    /// Checks a password as at submission, so the answer to a wrong one is delayed. Returns the operator's name and hash.
    async fn check_password(&self, credentials: Credentials, address: IpAddr) -> Result<Arc<Submitter>, LoginRefused> {
        let passwords = self.operators.0.passwords.load_full();
        match self.operators.0.logins.check(passwords, credentials, address).await {
            Login::Right { submitter, .. } => Ok(submitter),
            Login::Wrong { username } => {
                self.tell_of_failure(&username, address);
                Err(LoginRefused::Wrong)
            }
            Login::Throttled => Err(LoginRefused::Throttled),
            Login::Busy => Err(LoginRefused::Busy),
        }
    }

    /// Logs an operator in. Returns the secret of the new session, which only its cookie has.
    pub async fn log_in(
        &self,
        credentials: Credentials,
        address: IpAddr,
    ) -> Result<Result<Secret, LoginRefused>, Error> {
        let checked = match self.check_password(credentials, address).await {
            Ok(checked) => checked,
            Err(refused) => return Ok(Err(refused)),
        };
        let (name, secret, now) = (&checked.username, Secret::new(), Timestamp::now());
        let (digest, session) = (Digest::of(secret.as_str()), Session::begin(name, Some(address), now));
        let row = session.clone();
        let not_kept =
            |error| Error::new(ErrorKind::Unavailable, format!("the session cannot be kept: {error}"), "try again");
        let inner = &self.operators.0;
        let _changing = inner.changing.lock().await;
        inner.database.write(move |tables| kept::begin_session(tables, &digest, &row)).await.map_err(not_kept)?;
        let ended = inner.sessions.begin(digest, session, now);
        if !ended.is_empty() {
            inner.database.write(move |tables| kept::end_sessions(tables, &ended)).await.map_err(not_kept)?;
        }
        let Some(actor) = self.operators.logged_in(&checked, address, now) else {
            // The operator was removed or got another password while this was written.
            inner.sessions.end(&digest);
            inner.database.write(move |tables| kept::end_sessions(tables, &[digest])).await.map_err(not_kept)?;
            return Ok(Err(LoginRefused::Wrong));
        };
        audit::tell(&self.events, &actor, Act::new(Action::OperatorLogin, "logged in to the pages"));
        Ok(Ok(secret))
    }

    pub async fn log_out(&self, actor: &Actor, session: &str) -> Result<(), Error> {
        let digest = Digest::of(session);
        let _changing = self.operators.0.changing.lock().await;
        if self.operators.0.sessions.end(&digest).is_none() {
            return Ok(());
        }
        let ended = self.operators.0.database.write(move |tables| kept::end_sessions(tables, &[digest])).await;
        audit::tell(&self.events, actor, Act::new(Action::OperatorLogout, "logged out of the pages"));
        ended.map_err(not_kept)
    }

    /// Ends all other sessions of the operator. Returns their number.
    pub async fn log_out_others(&self, actor: &Actor, session: Option<&str>) -> Result<u64, Error> {
        let Some(name) = actor.operator() else { return Ok(0) };
        let keep = session.map(Digest::of);
        let _changing = self.operators.0.changing.lock().await;
        let ended = self.operators.0.sessions.end_all_of(name, keep.as_ref());
        let count = ended.len() as u64;
        self.operators.0.database.write(move |tables| kept::end_sessions(tables, &ended)).await.map_err(not_kept)?;
        let detail = format!("{count} other sessions ended");
        audit::tell(&self.events, actor, Act { changed: Some(count), ..Act::new(Action::OperatorLogout, detail) });
        Ok(count)
    }

    /// Returns the operator's own sessions, the last used first.
    pub fn own_sessions(&self, actor: &Actor, session: Option<&str>) -> Vec<OpenSession> {
        let Some(name) = actor.operator() else { return Vec::new() };
        let asking = session.map(Digest::of);
        let all = self.operators.0.sessions.of(name, asking.as_ref(), Timestamp::now());
        all.into_iter()
            .map(|(Session { address, created, last_seen, .. }, is_own)| OpenSession {
                address,
                created,
                last_seen,
                is_own,
            })
            .collect()
    }

    /// Reports a wrong login. An unknown name is left out, because it may be a password in the wrong field.
    fn tell_of_failure(&self, username: &str, address: IpAddr) {
        let told = self.operators.0.failures.count(Timestamp::now());
        let nobody = |detail: String, left_out: Option<u64>| {
            let actor = Actor::new("nobody", Role::Read).at(Some(address));
            let act = Act { changed: left_out, ..Act::new(Action::OperatorLoginFailed, detail) };
            audit::tell(&self.events, &actor, act);
        };
        if told.left_out > 0 {
            nobody(
                format!("{} more logins to the pages were wrong in the hour before", told.left_out),
                Some(told.left_out),
            );
        }
        if told.itself {
            let whose = match self.operators.known().contains_key(username) {
                true => format!("the operator \"{username}\""),
                false => "a name that no operator has".to_owned(),
            };
            nobody(format!("a login to the pages was wrong, with {whose}"), None);
        }
    }
}

fn no_role() -> Error {
    Error::invalid("an operator cannot have the role \"customer\"", "give read, operate or admin")
}

fn check_hash(name: &str, hash: &PasswordHash) -> Result<(), Error> {
    let submitter = Submitter {
        username: name.to_owned(),
        password_hash: hash.0.clone(),
        customers: Allowed::All,
        urgency: None,
        test: None,
    };
    let refused = |_| Error::invalid("the password's hash is not Argon2id", "give the password to `postbud operator`");
    Submitters::new(vec![submitter]).map(drop).map_err(refused)
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST_NAME && name.bytes().all(is_legal) {
        return Ok(());
    }
    let message = format!("\"{name}\" is no name for an operator");
    Err(Error::invalid(message, "use up to 64 letters, digits and -_.@, as in anna or anna@webcrm.dk"))
}

#[cfg(test)]
mod tests;

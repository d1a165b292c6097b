//! Operators: the people who work with the pages, and their sessions.
//!
//! An operator has a name, a role of the API (`read`, `operate` or `admin`) and a password, of which an Argon2id hash is kept; one
//! without a password comes through a trusted proxy only, which has logged it in. Passwords are checked and wrong ones slowed
//! down exactly as submitters' are (`Logins`).
//!
//! All operators and sessions are in memory. A change counts from that moment on at the node that made it, and within a second at the
//! others. While their database does not answer, nobody is let in: the operator may have been removed. Another role or password ends
//! the operator's sessions.

mod failures;
mod kept;
mod sessions;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

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

/// More operators are refused: all are in memory, and a person has to be able to read their list.
const MOST: usize = 1_000;
const LONGEST_NAME: usize = 64;
/// After the operators could not be read, when that is tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// The shortest password, in characters.
pub const SHORTEST_PASSWORD: usize = 12;

/// An operator as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The name, which the audit shows.
    pub name: String,
    /// What the operator may do.
    pub role: RoleName,
    /// False if the operator can only come through a trusted proxy.
    pub has_password: bool,
    /// When the operator was added, RFC 3339.
    pub created: String,
    /// When the operator last logged in with a password, RFC 3339; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<String>,
    /// How many sessions of the operator there are.
    pub sessions: u64,
}

/// An operator to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    pub name: String,
    /// What the operator may do.
    pub role: RoleName,
    /// The password's hash; absent for one who comes through a trusted proxy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<PasswordHash>,
}

/// What is changed of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorChange {
    Role(RoleName),
    Password(PasswordHash),
    /// Nothing, but every session ends.
    LogOut,
}

/// An Argon2id hash in PHC form. No output shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a password that is long enough. Takes tens of milliseconds.
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
            // The table has no customers: whoever wrote such a row meant less, not more.
            RoleName::Read | RoleName::Customer => Role::Read,
        };
        Actor::of_operator(&self.name, role).at(address)
    }
}

/// A role that an operator can have.
fn role_named(name: &str) -> Option<RoleName> {
    [RoleName::Read, RoleName::Operate, RoleName::Admin].into_iter().find(|role| role.as_str() == name)
}

/// A session as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The address of the login; empty where it is not known.
    pub address: String,
    pub created: Timestamp,
    /// When something was last asked in it.
    pub last_seen: Timestamp,
    /// True if it is the one that asks.
    pub is_own: bool,
}

/// Why somebody is not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// The name or the password is wrong.
    Wrong,
    /// Too many were wrong from this address, or with this name. It was not looked at.
    Throttled,
    /// Too many others are being checked.
    Busy,
}

/// The operators of a relay. Cheap to clone.
#[derive(Clone)]
pub struct Operators(Arc<Inner>);

struct Inner {
    database: Database,
    known: RwLock<BTreeMap<String, Kept>>,
    /// Those with a password, as their logins are checked.
    passwords: ArcSwap<Submitters>,
    logins: Logins,
    sessions: Sessions,
    failures: Failures,
    /// Held from a change of the tables, or from reading them, until memory shows it.
    changing: tokio::sync::Mutex<()>,
}

impl Operators {
    /// Reads all operators and sessions. Wrong logins are slowed down by the `login_…` settings of `limits`. Blocks.
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

    /// Follows what other nodes change.
    pub async fn follow(&self) {
        let mut changes = self.0.database.changes();
        loop {
            match self.read_again().await {
                Ok(()) => changes.next().await,
                Err(error) => {
                    tracing::warn!("which operators there are is not known anew: {error}");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
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

    /// Fails while it is not known what other nodes have changed.
    pub fn is_current(&self) -> Result<(), Error> {
        self.0.database.is_current().map_err(|error| {
            let message = format!("which operators there are is not known now: {error}");
            Error::new(ErrorKind::Unavailable, message, "try again once the database answers")
        })
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<String, Kept>> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who a session belongs to, and notes that it was seen. `None`: there is none, or it is over.
    pub fn look(&self, session: &str, address: Option<IpAddr>, now: Timestamp) -> Option<Actor> {
        let digest = Digest::of(session);
        let Seen::Open { operator, save } = self.0.sessions.look(&digest, now) else { return None };
        if save {
            self.save_seen(digest, now);
        }
        self.known().get(&operator).map(|kept| kept.actor(address))
    }

    /// Returns true if a session counts still. Does not keep it from becoming idle.
    pub fn is_open(&self, session: &str, now: Timestamp) -> bool {
        self.0.sessions.is_open(&Digest::of(session), now)
    }

    /// The operator that a trusted proxy names. `None`: there is no such operator.
    pub fn named_by_proxy(&self, name: &str, address: Option<IpAddr>) -> Option<Actor> {
        self.known().get(name).map(|kept| kept.actor(address))
    }

    /// Writes it behind the request's back: whether it can be written must not decide whether the request is answered.
    fn save_seen(&self, digest: Digest, now: Timestamp) {
        let database = self.0.database.clone();
        tokio::spawn(async move {
            if let Err(error) = database.write(move |tables| kept::save_seen(tables, &digest, now)).await {
                tracing::warn!("when an operator was last seen is not kept: {error}");
            }
        });
    }

    /// Replaces what is known of an operator, or forgets it.
    fn put(&self, name: &str, kept: Option<Kept>) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        match kept {
            Some(kept) => known.insert(name.to_owned(), kept),
            None => known.remove(name),
        };
        let before = self.0.passwords.load();
        self.0.passwords.store(Arc::new(passwords(&known).remembering(&before)));
    }

    /// Notes a login with a password, if it is still the operator's.
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

/// Hashes were checked when they came; one that a newer version wrote lets nobody in.
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

    /// Every operator, by name.
    pub fn list_operators(&self, actor: &Actor) -> Result<Vec<Operator>, Error> {
        actor.may(Need::Admin)?;
        let now = Timestamp::now();
        Ok(self.operators.known().values().map(|kept| self.operators.shown(kept, now)).collect())
    }

    /// Changes an operator's role or password. Every session of it ends.
    pub async fn change_operator(&self, actor: &Actor, name: &str, change: &OperatorChange) -> Result<(), Error> {
        actor.may(Need::Admin)?;
        self.replace_operator(actor, name, change).await
    }

    /// Removes an operator. Every session of it ends.
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

    /// Changes an operator's own password: whoever knows the old one may. Every session of the operator ends.
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

    /// Checks a password as a submitter's is checked: a wrong one is answered late. Gives the operator's name and hash.
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

    /// Logs an operator in. Gives the secret of the new session, which only its cookie holds.
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
            // Removed, or with another password, while this was written.
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

    /// Ends every other session of the operator. Gives how many there were.
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

    /// The operator's own sessions, the last seen first.
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

    /// A name that nobody has may be a password in the wrong field: it is not told.
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

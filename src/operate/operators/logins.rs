//! What operators do for themselves: they log in and out, see and end their sessions, and change their passwords.

use std::net::IpAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::sessions::Session;
use super::table;
use super::{OperatorChange, PasswordHash, not_kept};
use crate::events::Action;
use crate::operate::audit::{self, Act};
use crate::operate::tokens::secret::{Digest, Secret};
use crate::operate::{Actor, Error, ErrorKind, Role, Service};
use crate::submission::{Credentials, Login, Submitter};
use crate::time::Timestamp;

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

impl Service {
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
        inner.database.write(move |tables| table::begin_session(tables, &digest, &row)).await.map_err(not_kept)?;
        let ended = inner.sessions.begin(digest, session, now);
        if !ended.is_empty() {
            inner.database.write(move |tables| table::end_sessions(tables, &ended)).await.map_err(not_kept)?;
        }
        let Some(actor) = self.operators.logged_in(&checked, address, now) else {
            // The operator was removed or got another password while this was written.
            inner.sessions.end(&digest);
            inner.database.write(move |tables| table::end_sessions(tables, &[digest])).await.map_err(not_kept)?;
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
        let ended = self.operators.0.database.write(move |tables| table::end_sessions(tables, &[digest])).await;
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
        self.operators.0.database.write(move |tables| table::end_sessions(tables, &ended)).await.map_err(not_kept)?;
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

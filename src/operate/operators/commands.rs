//! The commands that administrators have for operators: add, list, change and remove.

use super::table;
use super::{
    LONGEST_NAME, MOST, NewOperator, Operator, OperatorChange, PasswordHash, StoredOperator, not_kept, role_named,
};
use crate::events::Action;
use crate::operate::actor::Need;
use crate::operate::audit::{self, Act};
use crate::operate::{Actor, Error, Service};
use crate::submission::{Allowed, Submitter, Submitters};
use crate::time::Timestamp;

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
        let kept = StoredOperator {
            name: new.name.clone(),
            role,
            password_hash: new.password_hash.as_ref().map(|hash| hash.0.clone()),
            created: now,
            last_login: None,
        };
        let row = kept.clone();
        let _changing = self.operators.0.changing.lock().await;
        if !self.operators.0.database.write(move |tables| table::add(tables, &row)).await.map_err(not_kept)? {
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
        self.operators.0.database.write(move |tables| table::remove(tables, &row)).await.map_err(not_kept)?;
        self.operators.put(name, None);
        self.operators.0.sessions.end_all_of(name, None);
        audit::tell(&self.events, actor, Act::new(Action::OperatorRemove, format!("operator \"{name}\" removed")));
        Ok(())
    }

    pub(super) async fn replace_operator(
        &self,
        actor: &Actor,
        name: &str,
        change: &OperatorChange,
    ) -> Result<(), Error> {
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
        self.operators.0.database.write(move |tables| table::change(tables, &row)).await.map_err(not_kept)?;
        self.operators.put(name, Some(kept));
        self.operators.0.sessions.end_all_of(name, None);
        audit::tell(&self.events, actor, Act::new(Action::OperatorChange, detail));
        Ok(())
    }

    pub(super) fn operator(&self, name: &str) -> Result<StoredOperator, Error> {
        let found = self.operators.known().get(name).cloned();
        found.ok_or_else(|| {
            Error::not_found(format!("there is no operator \"{name}\""), "`postbud operator list` names them")
        })
    }
}

fn no_role() -> Error {
    Error::invalid("an operator cannot have the role \"customer\"", "give read, operate or admin")
}

pub(super) fn check_hash(name: &str, hash: &PasswordHash) -> Result<(), Error> {
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

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST_NAME && name.bytes().all(is_legal) {
        return Ok(());
    }
    let message = format!("\"{name}\" is no name for an operator");
    Err(Error::invalid(message, "use up to 64 letters, digits and -_.@, as in anna or anna@webcrm.dk"))
}

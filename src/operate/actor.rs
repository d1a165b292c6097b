//! Who commands, and what they may.

use std::fmt;

use super::Error;
use super::error::ErrorKind;
use crate::message::CustomerId;

/// Whoever gives a command: a person or a program, with a name for the audit and a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    role: Role,
}

/// What an actor may do. Each role may do what the one before it may, but that a customer sees its own things only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look at the one customer's own things.
    Customer(CustomerId),
    /// Look at everything.
    Read,
    /// Change the queue and the routes, and check domains.
    Operate,
    /// Change customers and keys.
    Admin,
}

/// What a command needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need<'a> {
    /// To look at one customer's things.
    ReadOf(&'a CustomerId),
    /// May look at everything.
    Read,
    /// To change the queue or the routes, or to check domains.
    Operate,
    /// To change customers or keys.
    Admin,
}

impl Actor {
    /// An actor of this name with this role.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Actor { name: name.into(), role }
    }

    /// A user of this machine who may write to the relay's folders, or is connected to its socket: an administrator.
    pub fn user(uid: u32) -> Self {
        Actor::new(format!("uid {uid}"), Role::Admin)
    }

    /// The user that this process runs as.
    pub fn this_process() -> Self {
        Actor::user(rustix::process::geteuid().as_raw())
    }

    /// Refuses a command that needs more than the actor's role gives.
    pub(super) fn may(&self, need: Need<'_>) -> Result<(), Error> {
        let allowed = match (&self.role, need) {
            (Role::Customer(own), Need::ReadOf(customer)) => own == customer,
            (Role::Customer(_), _) => false,
            (Role::Read, need) => matches!(need, Need::ReadOf(_) | Need::Read),
            (Role::Operate, need) => !matches!(need, Need::Admin),
            (Role::Admin, _) => true,
        };
        if allowed {
            return Ok(());
        }
        let role = match need {
            Need::ReadOf(_) | Need::Read => "read",
            Need::Operate => "operate",
            Need::Admin => "admin",
        };
        Err(Error::new(
            ErrorKind::Forbidden,
            format!("{self} may not do this"),
            format!("it needs the role \"{role}\""),
        ))
    }
}

/// Writes the name of the actor.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_it_is_for() {
        let (own, other) = (CustomerId::new("a"), CustomerId::new("b"));
        let needs = [Need::ReadOf(&own), Need::ReadOf(&other), Need::Read, Need::Operate, Need::Admin];
        for (role, allowed) in [
            (Role::Customer(own.clone()), [true, false, false, false, false]),
            (Role::Read, [true, true, true, false, false]),
            (Role::Operate, [true, true, true, true, false]),
            (Role::Admin, [true; 5]),
        ] {
            let actor = Actor::new("x", role);
            assert_eq!(needs.map(|need| actor.may(need).is_ok()), allowed, "{actor:?}");
        }
        let refused = Actor::new("x", Role::Read).may(Need::Operate).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Forbidden);
        assert!(refused.to_string().contains("\"operate\""), "{refused}");
    }
}

//! Who commands, and what they may.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::Error;
use super::error::ErrorKind;
use crate::message::CustomerId;

/// What the names of operators of the pages begin with: a token or a user of the machine may have the same name.
const OPERATOR: &str = "operator ";

/// Whoever gives a command: a person or a program, with a name for the audit and a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    role: Role,
    address: Option<IpAddr>,
}

/// What an actor may do. Each role may do what the one before it may, but that a customer sees its own things only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look at these customers' own things.
    Customer(BTreeSet<CustomerId>),
    /// The holder of a link: look at this customer's own things, have its domains checked, and enter its own server.
    Link(CustomerId),
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
    /// To have one customer's domains checked.
    CheckOf(&'a CustomerId),
    /// To do for one customer what it does itself: enter its own server.
    OwnOf(&'a CustomerId),
    /// To change the queue or the routes, or to check domains.
    Operate,
    /// To change customers or keys.
    Admin,
}

impl Actor {
    /// An actor of this name with this role.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Actor { name: name.into(), role, address: None }
    }

    /// The same actor at the other end of a connection from this address.
    #[must_use]
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Actor { address, ..self }
    }

    /// Where the command came from, if it came over the network.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The name of the operator of the pages that it is, if it is one.
    pub fn operator(&self) -> Option<&str> {
        self.name.strip_prefix(OPERATOR)
    }

    /// An operator of the pages.
    pub(super) fn of_operator(name: &str, role: Role) -> Self {
        Actor::new(format!("{OPERATOR}{name}"), role)
    }

    /// What the actor may do.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Returns true if the actor may look at this customer's things.
    pub fn may_see(&self, customer: &CustomerId) -> bool {
        self.may(Need::ReadOf(customer)).is_ok()
    }

    /// Returns true if the actor may look at every customer's things.
    pub fn may_see_everything(&self) -> bool {
        self.may(Need::Read).is_ok()
    }

    /// Refuses whoever may not change the queue or the routes, or check domains.
    pub(super) fn may_operate(&self) -> Result<(), Error> {
        self.may(Need::Operate)
    }

    /// Refuses whoever may not change customers or keys.
    pub(super) fn may_administer(&self) -> Result<(), Error> {
        self.may(Need::Admin)
    }

    /// Refuses whoever may not look at the things of the customer with this id.
    pub(super) fn may_read(&self, customer: &str) -> Result<(), Error> {
        self.may(Need::ReadOf(&CustomerId::new(customer)))
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
            (Role::Customer(own), Need::ReadOf(customer)) => own.contains(customer),
            (Role::Link(own), Need::ReadOf(customer) | Need::CheckOf(customer) | Need::OwnOf(customer)) => {
                own == customer
            }
            (Role::Customer(_) | Role::Link(_), _) => false,
            (Role::Read, need) => matches!(need, Need::ReadOf(_) | Need::Read),
            (Role::Operate, need) => !matches!(need, Need::Admin | Need::OwnOf(_)),
            (Role::Admin, _) => true,
        };
        if allowed {
            return Ok(());
        }
        let role = match need {
            Need::ReadOf(_) | Need::Read => "read",
            Need::CheckOf(_) | Need::Operate => "operate",
            Need::OwnOf(_) | Need::Admin => "admin",
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
        let needs = [
            Need::ReadOf(&own),
            Need::ReadOf(&other),
            Need::CheckOf(&own),
            Need::CheckOf(&other),
            Need::OwnOf(&own),
            Need::OwnOf(&other),
            Need::Read,
            Need::Operate,
            Need::Admin,
        ];
        for (role, allowed) in [
            (
                Role::Customer(BTreeSet::from([own.clone()])),
                [true, false, false, false, false, false, false, false, false],
            ),
            (Role::Link(own.clone()), [true, false, true, false, true, false, false, false, false]),
            (Role::Read, [true, true, false, false, false, false, true, false, false]),
            (Role::Operate, [true, true, true, true, false, false, true, true, false]),
            (Role::Admin, [true; 9]),
        ] {
            let actor = Actor::new("x", role);
            assert_eq!(needs.map(|need| actor.may(need).is_ok()), allowed, "{actor:?}");
        }
        let refused = Actor::new("x", Role::Read).may(Need::Operate).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Forbidden);
        assert!(refused.to_string().contains("\"operate\""), "{refused}");
    }
}

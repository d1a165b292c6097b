//! The actor of a command, and the permissions of each role.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::Error;
use super::error::ErrorKind;
use crate::message::CustomerId;

/// The prefix of the names of operators of the pages, because a token or a user of the machine may have the same name.
const OPERATOR: &str = "operator ";

/// The person or program that gives a command, with a role and a name for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    role: Role,
    address: Option<IpAddr>,
}

/// The permissions of an actor. Each role includes the ones before it, except that a customer sees only its own data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// May read these customers' own data.
    Customer(BTreeSet<CustomerId>),
    /// The holder of a link: may read this customer's own data, have its domains checked, and enter its own server.
    Link(CustomerId),
    /// May read everything, and probe routes.
    Read,
    /// May also change the queue, the routes and suppression lists, pause customers, check domains, send test mails, and acknowledge
    /// alerts.
    Operate,
    /// May also change customers, keys, links, tokens and operators, and erase recipients from the record.
    Admin,
}

/// The permission that a command needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need<'a> {
    /// To read one customer's data.
    ReadOf(&'a CustomerId),
    /// To read everything, and to probe routes.
    Read,
    /// To have one customer's domains checked.
    CheckOf(&'a CustomerId),
    /// To do on behalf of one customer what the customer may do: enter its own server.
    OwnOf(&'a CustomerId),
    /// To do what the role [`Role::Operate`] may.
    Operate,
    /// To do what only the role [`Role::Admin`] may.
    Admin,
}

impl Actor {
    /// Makes an actor with this name and role.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Actor { name: name.into(), role, address: None }
    }

    /// Returns the same actor with the address of its connection.
    #[must_use]
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Actor { address, ..self }
    }

    /// Returns the address from which the command came, if it came over the network.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns the name of the operator, if the actor is an operator of the pages.
    pub fn operator(&self) -> Option<&str> {
        self.name.strip_prefix(OPERATOR)
    }

    /// Makes the actor of an operator of the pages.
    pub(super) fn of_operator(name: &str, role: Role) -> Self {
        Actor::new(format!("{OPERATOR}{name}"), role)
    }

    /// Returns the actor's role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Returns true if the actor may read this customer's data.
    pub fn may_see(&self, customer: &CustomerId) -> bool {
        self.may(Need::ReadOf(customer)).is_ok()
    }

    /// Returns true if the actor may read every customer's data.
    pub fn may_see_everything(&self) -> bool {
        self.may(Need::Read).is_ok()
    }

    /// Refuses an actor that has neither the role [`Role::Operate`] nor [`Role::Admin`].
    pub(super) fn may_operate(&self) -> Result<(), Error> {
        self.may(Need::Operate)
    }

    /// Refuses an actor that has not the role [`Role::Admin`].
    pub(super) fn may_administer(&self) -> Result<(), Error> {
        self.may(Need::Admin)
    }

    /// Refuses an actor that may not read the data of the customer with this id.
    pub(super) fn may_read(&self, customer: &str) -> Result<(), Error> {
        self.may(Need::ReadOf(&CustomerId::new(customer)))
    }

    /// Makes the actor of a user of this machine who may write to the relay's folders, or is connected to its socket: an administrator.
    pub fn user(uid: u32) -> Self {
        Actor::new(format!("uid {uid}"), Role::Admin)
    }

    /// Makes the actor of the user that runs this process.
    pub fn this_process() -> Self {
        Actor::user(rustix::process::geteuid().as_raw())
    }

    /// Refuses a command that needs a permission that the actor does not have.
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

/// Writes the actor's name.
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

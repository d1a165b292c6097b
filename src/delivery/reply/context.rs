//! What the judge of a reply knows besides the reply: the route, the addresses, and whom the server has taken.

use std::net::IpAddr;

use crate::delivery::tls::Fallback;
use crate::message::Recipient;
use crate::route::{Login, Route, RouteKind};
use crate::smtp::{Domain, Mailbox};

/// The data that the classification needs in addition to the reply.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The kind of server that replied.
    pub kind: RouteKind,
    /// The sender's and the recipient's domains belong to the same customer.
    pub internal: bool,
    /// The egress address that customers have allow-listed.
    pub egress: IpAddr,
    /// The route's login, if it has one.
    pub login: Option<&'a Login>,
    /// The address in MAIL FROM, if there is one.
    pub sender: Option<&'a Mailbox>,
    /// The recipients that the reply may name: the one of RCPT, or all of the message after that.
    pub recipients: &'a [Recipient],
    /// Why the connection has no TLS although the route asks for it.
    pub fallback: Option<&'a Fallback>,
    /// Which other recipients the server took in this transaction.
    pub taken: TakenRecipients,
}

impl<'a> Context<'a> {
    /// The context of a reply that concerns no recipient, or the first one.
    pub fn of(route: &'a Route, egress: IpAddr, fallback: Option<&'a Fallback>) -> Self {
        let (kind, login) = (route.kind, route.login.as_ref());
        let taken = TakenRecipients::Nobody;
        Context { kind, internal: false, egress, login, sender: None, recipients: &[], fallback, taken }
    }
}

/// Returns true if mail between these domains stays with one customer.
pub fn is_internal(from: &Domain, to: &Domain) -> bool {
    to.is_within(from) || from.is_within(to)
}

/// Which recipients of the same message a server took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenRecipients {
    /// The server took none.
    Nobody,
    /// The server took only recipients in the sender's own domain, so it may not relay for us.
    Internal,
    /// The server took recipients in other domains, too.
    Others,
}

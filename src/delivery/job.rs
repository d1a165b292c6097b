//! The input of one transaction: the content, the recipients, and the options.

use std::net::IpAddr;

use super::body::Body;
use super::tls::Fallback;
use crate::message::Envelope;
use crate::route::Route;
use crate::smtp::{Domain, Mailbox, ReversePath};

/// One message and the recipients of one transaction.
pub struct Job<'a> {
    /// The route to the smarthost.
    pub route: &'a Route,
    pub envelope: &'a Envelope,
    /// MAIL FROM: the envelope's, or the return path of the one recipient.
    pub sender: &'a ReversePath,
    /// The indices, in the envelope, of the recipients to send to.
    pub recipients: &'a [usize],
    /// The domain of the message's From address.
    pub from_domain: &'a Domain,
    pub body: &'a Body<'a>,
    /// The egress address that customers have allow-listed.
    pub egress: IpAddr,
    /// Each command is sent after the reply to the one before, even if the server offers PIPELINING.
    pub one_by_one: bool,
    /// MAIL and RCPT carry the optional parameters that the server offers (SIZE, BODY, RET, ENVID, NOTIFY, ORCPT).
    pub parameters: bool,
    /// Why the connection has no TLS although the route asks for it.
    pub fallback: Option<Fallback>,
}

impl Job<'_> {
    /// Returns true if the sender's address or the header needs SMTPUTF8 (RFC 6531 §3.4). Recipients' addresses are not
    /// looked at.
    pub fn needs_smtputf8(&self) -> bool {
        let sender = self.sender.mailbox();
        sender.is_some_and(Mailbox::needs_smtputf8) || !self.body.header_is_ascii()
    }
}

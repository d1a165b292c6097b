//! One delivery: what is to be sent to whom, and how.

use std::net::IpAddr;

use super::body::Body;
use super::tls::Fallback;
use crate::message::Envelope;
use crate::route::Route;
use crate::smtp::{Domain, Mailbox};

/// What is to be sent to whom.
pub struct Job<'a> {
    /// Where to.
    pub route: &'a Route,
    /// The envelope.
    pub envelope: &'a Envelope,
    /// Which of its recipients.
    pub recipients: &'a [usize],
    /// The From domain.
    pub from_domain: &'a Domain,
    /// The message.
    pub body: &'a Body<'a>,
    /// The address that customers have allow-listed.
    pub egress: IpAddr,
    /// Each command waits for the answer to the one before, even where the server offers PIPELINING.
    pub one_by_one: bool,
    /// MAIL and RCPT carry what the server offers and the message can do without (SIZE, BODY, RET, ENVID, NOTIFY, ORCPT).
    pub parameters: bool,
    /// Why the connection has no TLS, where it was to have it.
    pub fallback: Option<Fallback>,
}

impl Job<'_> {
    /// Whether the message itself asks for SMTPUTF8 (RFC 6531 §3.4), whoever it is for.
    pub fn needs_smtputf8(&self) -> bool {
        let sender = self.envelope.reverse_path.mailbox();
        sender.is_some_and(Mailbox::needs_smtputf8) || !self.body.header_is_ascii()
    }
}

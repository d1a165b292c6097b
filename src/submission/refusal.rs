//! A refused message: the reply for the client, and the known data of the message. [`refusals`](super::refusals) reports it.

use crate::customers::suppression::Reason;
use crate::message::{CustomerId, Envelope, Header};
use crate::smtp::{Domain, EnhancedCode, Mailbox, Reply, ReversePath};

/// A recipient that was left out, and the reason.
pub(super) type LeftOut = (Mailbox, Reason);

/// The refusal of a message: the reply for the client, the label for metrics, and the information for operators.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) reply: Reply,
    /// The label of the metric and the reason in the event.
    pub(super) reason: &'static str,
    /// The cause, for the operator only.
    pub(super) cause: Option<String>,
    /// An alert to raise: the domain it is about, and what to do.
    pub(super) alert: Option<Box<(Domain, String)>>,
    /// The known data of the message.
    pub(super) about: Box<RefusedMessage>,
}

/// The known data of a refused message.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusedMessage {
    pub(super) sender: Option<ReversePath>,
    pub(super) recipients: Option<usize>,
    pub(super) from_domain: Option<Domain>,
    pub(super) customer: Option<CustomerId>,
    pub(super) message_id: Option<String>,
    /// Its recipients on the customer's suppression list, if it was refused because of them.
    pub(super) suppressed: Vec<LeftOut>,
}

impl Refusal {
    pub(super) fn new(code: u16, enhanced: EnhancedCode, reason: &'static str, text: impl Into<String>) -> Self {
        let reply = Reply::new(code, enhanced, text);
        Refusal { reply, reason, cause: None, alert: None, about: Box::default() }
    }

    /// Adds the fields of the header, and the customer whose domain is in From.
    pub(super) fn with_header(mut self, header: &Header, customer: Option<&CustomerId>) -> Self {
        self.about.from_domain = header.from.domain().cloned();
        self.about.customer = customer.cloned();
        self.about.message_id = header.message_id.clone();
        self
    }

    pub(super) fn with_envelope(mut self, envelope: &Envelope) -> Self {
        self.about.sender = Some(envelope.reverse_path.clone());
        self.about.recipients = Some(envelope.recipients.len());
        self
    }
}

//! Forwards returned mail to the original envelope sender, who would have got it if our return path had not replaced the sender.
//!
//! The mail goes through the queue like a notification: with the null sender, so that nothing answers it, and over the route of
//! notifications. Its text and signatures are not changed. It is not the customer's mail, so the customer's key does not sign it.

use std::sync::Arc;

use super::Settings;
use super::inbox::Arrival;
use super::read::header;
use crate::customers::Routing;
use crate::message::headers::fields;
use crate::message::{BodyKind, Envelope, Lane, MailKind, Notify, QueueId, Recipient, Urgency};
use crate::record::event::Known;
use crate::smtp::{Domain, Mailbox, ReversePath};
use crate::spool::{self, Commit, Draft};
use crate::time::Timestamp;

/// The spool takes content in pieces of at most this many octets.
const PIECE: usize = 256 << 10;

/// Sends returned mail on to the original envelope sender.
pub(super) struct Forwarder {
    pub hostname: Domain,
    pub settings: Arc<Settings>,
    pub routing: Routing,
    pub spool: Arc<dyn Commit>,
    /// The time from the commit to the second attempt.
    pub retry_first: std::time::Duration,
}

/// Why mail is not forwarded. Its event is emitted in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotForwarded {
    /// The mail had the null sender.
    NullSender,
    /// It would come back here, or has passed too many servers.
    Loop,
    /// The customer is gone, or its route does not accept the null sender.
    NoRoute,
    /// It has no body.
    Malformed,
}

impl NotForwarded {
    pub fn as_str(self) -> &'static str {
        match self {
            NotForwarded::NullSender => "null_sender",
            NotForwarded::Loop => "loop",
            NotForwarded::NoRoute => "no_route",
            NotForwarded::Malformed => "malformed",
        }
    }
}

impl Forwarder {
    /// Commits a message to the spool, for the sender of the mail that it is about.
    pub async fn forward(
        &self,
        known: &Known,
        arrival: &Arrival,
        message: &[u8],
    ) -> Result<Result<QueueId, NotForwarded>, spool::Error> {
        let to = match self.recipient(known, message) {
            Ok(to) => to,
            Err(why) => return Ok(Err(why)),
        };
        let id = self.spool.next_id();
        let draft = self.draft(id, known, to, arrival, message);
        Ok(Ok(self.spool.commit(draft).await?.id()))
    }

    fn recipient(&self, known: &Known, message: &[u8]) -> Result<Mailbox, NotForwarded> {
        let to = Mailbox::parse(&known.sender).map_err(|_| NotForwarded::NullSender)?;
        let header = header(message);
        let received = fields(header).flatten().filter(|field| field.is("Received")).count();
        if to.domain() == Some(&self.settings.domain) || received >= self.settings.limits.received {
            return Err(NotForwarded::Loop);
        }
        if header.len() == message.len() {
            return Err(NotForwarded::Malformed);
        }
        let customer = self.routing.customer(&known.customer).ok_or(NotForwarded::NoRoute)?;
        let takes = self.routing.view().takes_notifications(&customer, &known.from_domain);
        if takes { Ok(to) } else { Err(NotForwarded::NoRoute) }
    }

    fn draft(&self, id: QueueId, known: &Known, to: Mailbox, arrival: &Arrival, message: &[u8]) -> Draft {
        let header = header(message);
        let now = Timestamp::now();
        let shown = |c: &char| c.is_ascii_alphanumeric() || ".-_:[]".contains(*c);
        let client: String = arrival.client.chars().filter(shown).take(100).collect();
        let client = if client.is_empty() { "unknown" } else { &client };
        let prefix = format!(
            "Received: from {client} ([{}])\r\n\tby {} (postbud) id {id};\r\n\t{}\r\nX-Postbud-Returned: {}\r\n",
            arrival.peer,
            self.hostname,
            now.rfc5322(),
            known.queue_id
        );
        let is_ascii = message.is_ascii();
        Draft {
            id,
            lane: Lane {
                customer: known.customer.clone(),
                domain: known.from_domain.clone(),
                urgency: Urgency::Single,
                kind: MailKind::Bounce,
            },
            envelope: Envelope {
                reverse_path: ReversePath::Null,
                smtputf8: to.needs_smtputf8() || !header.is_ascii(),
                recipients: vec![Recipient { notify: Some(Notify::NEVER), ..Recipient::new(to) }],
                body: if is_ascii { BodyKind::SevenBit } else { BodyKind::EightBit },
                ret: None,
                envid: None,
                references: Default::default(),
            },
            message_id: super::read::message_id(header).unwrap_or_default(),
            prefix: prefix.into_bytes(),
            content: message.chunks(PIECE).map(|piece| piece.to_vec().into()).collect(),
            header_len: u32::try_from(header.len()).expect("a header is at most 64 KiB"),
            retry_at: now + self.retry_first,
            held: None,
            lines: Vec::new(),
        }
    }
}

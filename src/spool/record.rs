//! The spool's description of a message and each of its recipients, without the message's bytes.

use std::time::Duration;

use crate::message::{Envelope, Lane, QueueId, Recipient, ReplyText};
use crate::time::Timestamp;

/// The state of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// The recipient will be tried again.
    Waiting {
        /// The last reply (`451 4.7.1 greylisted`) or the connection's error, if there was an attempt.
        last_reply: Option<ReplyText>,
    },
    /// The next server took the message.
    Relayed {
        /// The reply with which the server took it.
        reply: ReplyText,
    },
    /// The recipient was given up: bounced, expired, or removed by an operator.
    Failed {
        /// The last reply, or the reason.
        reply: ReplyText,
    },
}

impl RecipientState {
    /// Returns true if the recipient will be tried again.
    pub fn is_waiting(&self) -> bool {
        matches!(self, RecipientState::Waiting { .. })
    }
}

/// Says that a record was made due ahead of its schedule. Such a record goes before the others of its lane. The mark ends with the next
/// attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expedited {
    /// An operator asked for an attempt at once. Nothing else changes.
    Requested,
    /// It was released from hold. It gets one attempt, however old it is.
    Released {
        /// How long it was kept back, in whole seconds. This time does not make it older.
        kept_back: Duration,
    },
}

impl Expedited {
    /// How long the record was kept from being tried.
    pub fn kept_back(self) -> Duration {
        match self {
            Expedited::Requested => Duration::ZERO,
            Expedited::Released { kept_back } => kept_back,
        }
    }
}

/// Everything about a message but its bytes.
#[derive(Clone, Debug)]
pub struct Record {
    /// The queue id, which also tells when the message arrived.
    pub id: QueueId,
    /// The lane in which it waits.
    pub lane: Lane,
    /// The envelope as accepted.
    pub envelope: Envelope,
    /// One state for each recipient, in the envelope's order.
    pub recipients: Vec<RecipientState>,
    /// The Message-ID without angle brackets.
    pub message_id: String,
    /// The octets of prefix and content together.
    pub size: u64,
    /// The number of attempts that count for the schedule.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// Set if `due` comes from an operator (or from the relay in an operator's place), and not from the schedule.
    pub expedited: Option<Expedited>,
    /// Time spent waiting for the route's own caps. It does not count toward the maximum age.
    pub waited_for_caps: Duration,
    /// True once a delay notice was sent.
    pub delay_notified: bool,
    /// The reason, if the record is held.
    pub held: Option<String>,
    /// True while an attempt is being made.
    pub leased: bool,
}

impl Record {
    /// Returns the recipients that will be tried again, with their index in the envelope.
    pub fn waiting(&self) -> impl Iterator<Item = (usize, &Recipient)> {
        let states = self.recipients.iter();
        self.envelope
            .recipients
            .iter()
            .zip(states)
            .enumerate()
            .filter(|(_, (_, state))| state.is_waiting())
            .map(|(i, (r, _))| (i, r))
    }

    /// Returns true if the record was released from hold and has not been tried since.
    pub fn is_released(&self) -> bool {
        matches!(self.expedited, Some(Expedited::Released { .. }))
    }
}

//! What the spool knows about a message and each of its recipients, without the message's bytes.

use std::time::Duration;

use crate::message::{Envelope, Heard, Lane, QueueId, Recipient};
use crate::time::Timestamp;

/// What has happened to one recipient so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// An attempt is still owed.
    Waiting {
        /// The last reply heard (`451 4.7.1 greylisted`) or the error of the connection, if there was an attempt.
        last_reply: Option<Heard>,
    },
    /// The next server took the message.
    Relayed {
        /// The reply with which the server took it.
        reply: Heard,
    },
    /// The recipient was given up: bounced, expired, or removed by an operator.
    Failed {
        /// The last reply heard, or the reason.
        reply: Heard,
    },
}

impl RecipientState {
    /// Returns true if an attempt is still owed.
    pub fn is_waiting(&self) -> bool {
        matches!(self, RecipientState::Waiting { .. })
    }
}

/// Says that a record was made due ahead of its schedule. Such a record goes before the others of its lane. The mark ends with the
/// next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expedited {
    /// Somebody asked for an attempt at once; nothing else changes.
    Requested,
    /// It was released from hold. It is owed one attempt, however old it is.
    Released {
        /// How long it was kept from being tried. This time does not make it older. Whole seconds.
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

/// All that is known of a message, without its bytes.
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
    /// Octets of prefix and content together.
    pub size: u64,
    /// How many attempts were made that count toward the schedule.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// Set if `due` is not the schedule's but comes from an operator (or from the relay in an operator's place).
    pub expedited: Option<Expedited>,
    /// Time spent waiting for the route's own caps. It does not count toward the maximum age.
    pub waited_for_caps: Duration,
    /// True once a delay notice was sent.
    pub delay_notified: bool,
    /// The reason, if the record is not to be delivered until somebody releases it.
    pub held: Option<String>,
    /// True while an attempt is being made.
    pub leased: bool,
}

impl Record {
    /// The recipients still owed an attempt, with their index in the envelope.
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

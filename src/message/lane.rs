//! Lanes: a message waits in one together with other mail of the same customer, domain, urgency and kind.

use super::{CustomerId, Urgency};
use crate::smtp::Domain;

/// Who wrote a message, a submitter or the relay. The two kinds may take different routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MailKind {
    /// The message was accepted from a submitter.
    Mail,
    /// The message is a delivery status notification that the relay wrote.
    Bounce,
}

/// The lane that a message waits in. The queue serves the lanes of a route in turn.
///
/// The route is not part of a lane. It is resolved from the lane when the next attempt is made, by the customer's
/// configuration and by what the domain has verified. All mail of a lane therefore takes the same route, and mail from
/// domains in different tiers never shares a lane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The customer whose mail it is.
    pub customer: CustomerId,
    /// The From domain, whose key signed the message.
    pub domain: Domain,
    /// Single mail goes before bulk mail.
    pub urgency: Urgency,
    /// Who wrote the message, a submitter or the relay.
    pub kind: MailKind,
}

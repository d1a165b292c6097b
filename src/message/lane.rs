//! The lane of a message: which other messages it shares a waiting line with.

use super::{CustomerId, Urgency};
use crate::smtp::Domain;

/// Whether a message came from a submitter or was written by the relay. The two may take different routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MailKind {
    /// Accepted from a submitter.
    Mail,
    /// A delivery status notification that the relay wrote.
    Bounce,
}

/// The waiting line that a message belongs to.
///
/// The route is not part of a lane. It follows from the lane, by the customer's configuration and by what the domain has verified
/// when the next attempt is made. All mail of a lane therefore takes the same route, and mail from domains in different tiers never
/// shares a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The customer whose mail it is.
    pub customer: CustomerId,
    /// The From domain, whose key signed the message.
    pub domain: Domain,
    /// Single mail goes before bulk mail.
    pub urgency: Urgency,
    /// Mail from a submitter, or a notification of the relay.
    pub kind: MailKind,
}

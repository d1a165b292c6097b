//! Lanes: a message waits in one together with other mail of the same customer, domain, urgency and kind.

use super::{CustomerId, Urgency};
use crate::smtp::Domain;

/// Who wrote a message, and whether it is in earnest. The kinds may take different routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MailKind {
    /// The message was accepted from a submitter.
    Mail,
    /// The message is a delivery status notification that the relay wrote.
    Bounce,
    /// The message was accepted in test mode and stays here: its only route is one that makes up what comes of it. The spool keeps the
    /// kind, so neither a restart nor another configuration lets it leave.
    Test,
    /// The message was accepted in test mode, and goes to recipients that it may really reach.
    TestLeaving,
}

impl MailKind {
    /// The name in metrics and in what operators see.
    pub fn as_str(self) -> &'static str {
        match self {
            MailKind::Mail => "mail",
            MailKind::Bounce => "bounce",
            MailKind::Test => "test",
            MailKind::TestLeaving => "test-leaving",
        }
    }

    /// Returns true for mail in test mode.
    pub fn is_test(self) -> bool {
        matches!(self, MailKind::Test | MailKind::TestLeaving)
    }

    /// Returns true for customers' mail that leaves: it counts under their caps and stops where they are paused.
    pub fn is_traffic(self) -> bool {
        matches!(self, MailKind::Mail | MailKind::TestLeaving)
    }
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
    /// Who wrote the message, and whether it is in earnest.
    pub kind: MailKind,
}

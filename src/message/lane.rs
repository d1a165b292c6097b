//! Lanes: a message waits in a lane together with other mail of the same customer, From domain, urgency and kind.

use super::{CustomerId, Urgency};
use crate::smtp::Domain;

/// Who wrote a message, and whether it is test mail. The kinds may take different routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MailKind {
    /// The message was accepted from a submitter.
    Mail,
    /// The message is a delivery status notification that the relay wrote.
    Bounce,
    /// The message was accepted in test mode and never leaves this machine: its only route invents the outcome. The spool stores the kind,
    /// so neither a restart nor a change of configuration lets the message leave.
    Test,
    /// The message was accepted in test mode for recipients that test mail may really reach.
    TestLeaving,
}

impl MailKind {
    /// Returns the name in metrics and on operators' pages.
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

    /// Returns true for customers' mail that leaves this machine. It counts toward the customer's limits, and waits while the customer is
    /// paused.
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
    /// Who wrote the message, and whether it is test mail.
    pub kind: MailKind,
}

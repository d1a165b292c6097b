//! The kinds of events.

use serde::{Deserialize, Serialize};

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The mail is durable in the spool, and its 250 is on its way. One event for each recipient.
    Accepted,
    /// The next server took the mail for this recipient. That server is now responsible for the mail.
    Relayed,
    /// An attempt for this recipient failed, and the mail will be tried again.
    Deferred,
    /// The mail has waited for longer than `[retry] delay_notice`, or waits at the next server, which has reported it. A recipient has at
    /// most one event of each of the two.
    Delayed,
    /// The recipient's own server took the mail, as the next server reports.
    Delivered,
    /// The mail was given up for this recipient: a server refused it for good (perhaps after the next server had taken it), or an operator
    /// gave it up and the sender was told.
    Bounced,
    /// The mail was given up for this recipient because it was too old.
    Expired,
    /// The mail is held by an operator or by the relay until somebody releases it.
    Held,
    /// The mail is no longer held. It is due at once.
    Released,
    /// An operator gave the mail up for this recipient without telling the sender.
    Removed,
    /// Lost for this recipient: the spool's disk no longer returns the mail as it was written. It was accepted, and is not delivered.
    Lost,
    /// Submission refused a message or a recipient. It was never accepted, so it has no queue id.
    Rejected,
    /// The recipient marked the mail as spam, as the next server reports.
    Complained,
    /// The recipient unsubscribed, as the next server reports.
    Unsubscribed,
    /// The recipient opened the mail, as the next server reports.
    Opened,
    /// The recipient followed a link in the mail, as the next server reports.
    Clicked,
    /// Another system reported on mail that the event log does not know.
    Unmatched,
    /// The recipient is on the customer's suppression list. The mail is not sent to this address, unless the list's mode is `event`: then
    /// the recipient has an event `accepted` too.
    Suppressed,
    /// A customer's mail was paused in the queue.
    Paused,
    /// A customer's pause ended.
    Resumed,
    /// Something that an operator must look at. With `cured`, the trouble is over.
    Alert,
    /// Somebody changed something, logged in, or commanded a check, a probe or an export: who, and what.
    Audit,
    /// Events of a customer were left out, because its share of the log was used up.
    Omitted,
    /// A domain has published all required records, and was verified.
    #[serde(rename = "domain.verified")]
    DomainVerified,
    /// A record that a domain had published has disappeared.
    #[serde(rename = "domain.vanished")]
    DomainVanished,
    /// A domain's mail uses another route from now on.
    #[serde(rename = "domain.tier_moved")]
    DomainTierMoved,
}

impl EventKind {
    /// Lists every kind of event.
    pub const ALL: [EventKind; 26] = [
        EventKind::Accepted,
        EventKind::Relayed,
        EventKind::Deferred,
        EventKind::Delayed,
        EventKind::Delivered,
        EventKind::Bounced,
        EventKind::Expired,
        EventKind::Held,
        EventKind::Released,
        EventKind::Removed,
        EventKind::Lost,
        EventKind::Rejected,
        EventKind::Complained,
        EventKind::Unsubscribed,
        EventKind::Opened,
        EventKind::Clicked,
        EventKind::Unmatched,
        EventKind::Suppressed,
        EventKind::Paused,
        EventKind::Resumed,
        EventKind::Alert,
        EventKind::Audit,
        EventKind::Omitted,
        EventKind::DomainVerified,
        EventKind::DomainVanished,
        EventKind::DomainTierMoved,
    ];

    /// Returns the name in events and metrics.
    pub fn as_str(self) -> &'static str {
        self.names().0
    }

    /// Returns the letter in event ids.
    pub(super) fn letter(self) -> char {
        self.names().1
    }

    fn names(self) -> (&'static str, char) {
        match self {
            EventKind::Accepted => ("accepted", 'a'),
            EventKind::Relayed => ("relayed", 'r'),
            EventKind::Deferred => ("deferred", 'd'),
            EventKind::Delayed => ("delayed", 'l'),
            EventKind::Delivered => ("delivered", 'v'),
            EventKind::Bounced => ("bounced", 'b'),
            EventKind::Expired => ("expired", 'x'),
            EventKind::Held => ("held", 'h'),
            EventKind::Released => ("released", 'e'),
            EventKind::Removed => ("removed", 'm'),
            EventKind::Lost => ("lost", 'z'),
            EventKind::Rejected => ("rejected", 'j'),
            EventKind::Complained => ("complained", 'c'),
            EventKind::Unsubscribed => ("unsubscribed", 'u'),
            EventKind::Opened => ("opened", 'o'),
            EventKind::Clicked => ("clicked", 'k'),
            EventKind::Unmatched => ("unmatched", 'i'),
            EventKind::Suppressed => ("suppressed", 's'),
            EventKind::Paused => ("paused", 'p'),
            EventKind::Resumed => ("resumed", 'q'),
            EventKind::Alert => ("alert", 'f'),
            EventKind::Audit => ("audit", 'g'),
            EventKind::Omitted => ("omitted", 'n'),
            EventKind::DomainVerified => ("domain.verified", 'w'),
            EventKind::DomainVanished => ("domain.vanished", 'y'),
            EventKind::DomainTierMoved => ("domain.tier_moved", 't'),
        }
    }

    /// Returns true if this relay does nothing more for the recipient after this event, apart from a suppressed recipient in the mode `event`.
    /// The next server may still report something later.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            EventKind::Relayed
                | EventKind::Bounced
                | EventKind::Expired
                | EventKind::Removed
                | EventKind::Lost
                | EventKind::Rejected
                | EventKind::Suppressed
        )
    }

    /// Returns true if a recipient can have any number of such events.
    pub fn comes_again(self) -> bool {
        matches!(
            self,
            EventKind::Deferred
                | EventKind::Held
                | EventKind::Released
                | EventKind::Rejected
                | EventKind::Opened
                | EventKind::Clicked
                | EventKind::Unmatched
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_json_is_the_name_in_metrics() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}

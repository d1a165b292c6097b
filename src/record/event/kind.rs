//! What can happen.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The mail is durable in the spool; its 250 is on its way. One for each recipient.
    Accepted,
    /// The next server took the mail for this recipient. Its end here; what becomes of it there, that server knows.
    Relayed,
    /// Tried for this recipient without success; will be tried again.
    Deferred,
    /// Waiting for longer than `[retry] delay_notice`, or at the next server, as that one reports; told once a recipient of each.
    Delayed,
    /// The recipient's own server took the mail, as the next server reports.
    Delivered,
    /// Given up for this recipient: a server refused it for good, also after the next server had taken it, or an operator ended it
    /// and its sender was told.
    Bounced,
    /// Given up for this recipient because the mail grew too old.
    Expired,
    /// Kept back until somebody releases it, by an operator or by the relay.
    Held,
    /// No longer kept back; it is due at once.
    Released,
    /// Given up for this recipient by an operator, without a word to the sender.
    Removed,
    /// A message or a recipient that submission refused; never accepted, so it has no queue id.
    Rejected,
    /// The recipient marked the mail as spam, as the next server reports.
    Complained,
    /// The recipient wants no more such mail, as the next server reports.
    Unsubscribed,
    /// The recipient opened the mail, as the next server reports.
    Opened,
    /// The recipient followed a link of the mail, as the next server reports.
    Clicked,
    /// Another system reported on mail that the record does not know.
    Unmatched,
    /// The recipient is on the customer's suppression list and was left out.
    Suppressed,
    /// A customer's mail is stopped in the queue.
    Paused,
    /// A customer's mail goes on.
    Resumed,
    /// Something a person must look at; with `cured`, the end of it.
    Alert,
    /// Somebody changed something: who, and what.
    Audit,
    /// Events of a customer that went beyond its share of the log are not in it.
    Omitted,
    /// A domain has published what it needs, and passed.
    #[serde(rename = "domain.verified")]
    DomainVerified,
    /// A domain no longer has what it had published.
    #[serde(rename = "domain.vanished")]
    DomainVanished,
    /// A domain's mail takes another route from now on.
    #[serde(rename = "domain.tier_moved")]
    DomainTierMoved,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 25] = [
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

    /// The name in events and metrics.
    pub fn as_str(self) -> &'static str {
        self.names().0
    }

    /// The letter in event ids.
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

    /// Returns true if nothing follows for that recipient from this relay: what the next server reports later comes on top.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            EventKind::Relayed
                | EventKind::Bounced
                | EventKind::Expired
                | EventKind::Removed
                | EventKind::Rejected
                | EventKind::Suppressed
        )
    }

    /// Returns true if there can be any number of such events for one recipient.
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

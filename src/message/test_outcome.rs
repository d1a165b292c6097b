//! The recipients of test mail whose outcome is agreed: `bounce@test.postbud.invalid` bounces. `docs/webcrm.md` lists them.

use crate::smtp::Mailbox;

/// The domain of agreed recipients. RFC 2606 §2: no such domain will ever exist, so that what leaves by mistake arrives nowhere.
pub const TEST_DOMAIN: &str = "test.postbud.invalid";

/// What is made to happen to a recipient of test mail that stays here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// It is relayed and delivered. Recipients elsewhere, and names that are not agreed, have this outcome.
    Delivered,
    /// It is relayed, and nothing more is heard, as from a customer's own server.
    Relayed,
    /// The next server refuses it: there is no such address.
    Bounced,
    /// It is relayed, and the recipient's server refuses it later.
    BouncedLater,
    /// The next server refuses it: the mailbox is full.
    MailboxFull,
    /// The next server refuses it as spam.
    Spam,
    /// It is deferred at the first attempt, then relayed and delivered.
    Deferred,
    /// The next server takes ten seconds before it takes it.
    Slow,
    /// It is delivered, and the recipient complains.
    Complained,
    /// It is delivered, and the recipient unsubscribes.
    Unsubscribed,
    /// It is delivered, and the recipient opens it.
    Opened,
    /// It is treated as one on the customer's suppression list.
    Suppressed,
}

impl TestOutcome {
    /// The agreed names, each with its outcome.
    pub const ALL: [(&str, TestOutcome); 12] = [
        ("deliver", TestOutcome::Delivered),
        ("relay", TestOutcome::Relayed),
        ("bounce", TestOutcome::Bounced),
        ("late-bounce", TestOutcome::BouncedLater),
        ("full", TestOutcome::MailboxFull),
        ("spam", TestOutcome::Spam),
        ("defer", TestOutcome::Deferred),
        ("slow", TestOutcome::Slow),
        ("complain", TestOutcome::Complained),
        ("unsubscribe", TestOutcome::Unsubscribed),
        ("open", TestOutcome::Opened),
        ("suppressed", TestOutcome::Suppressed),
    ];

    /// The outcome of a recipient. What stands behind a `+` tells recipients apart and changes nothing.
    pub fn of(recipient: &Mailbox) -> Self {
        if !is_test_address(recipient) {
            return TestOutcome::Delivered;
        }
        let name = recipient.local().split('+').next().unwrap_or_default();
        let agreed = Self::ALL.iter().find(|(agreed, _)| name.eq_ignore_ascii_case(agreed));
        agreed.map_or(TestOutcome::Delivered, |(_, outcome)| *outcome)
    }
}

/// Returns true if the recipient is in the test domain.
pub fn is_test_address(recipient: &Mailbox) -> bool {
    recipient.domain().is_some_and(|domain| domain.as_str() == TEST_DOMAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreed_names_have_their_outcome_and_everybody_else_is_delivered() {
        for (address, outcome) in [
            ("bounce@test.postbud.invalid", TestOutcome::Bounced),
            ("Late-Bounce+order-7@Test.Postbud.Invalid", TestOutcome::BouncedLater),
            ("suppressed+1+2@test.postbud.invalid", TestOutcome::Suppressed),
            ("bouncer@test.postbud.invalid", TestOutcome::Delivered),
            ("+bounce@test.postbud.invalid", TestOutcome::Delivered),
            ("bounce@sub.test.postbud.invalid", TestOutcome::Delivered),
            ("bounce@example.com", TestOutcome::Delivered),
            ("bounce@[192.0.2.1]", TestOutcome::Delivered),
        ] {
            assert_eq!(TestOutcome::of(&Mailbox::parse(address).unwrap()), outcome, "{address}");
        }
    }

    #[test]
    fn the_handbook_lists_every_agreed_name() {
        let text = include_str!("../../docs/webcrm.md");
        for (name, _) in TestOutcome::ALL {
            assert!(text.contains(&format!("| `{name}@` |")), "docs/webcrm.md does not list {name}@");
        }
        assert!(text.contains(TEST_DOMAIN));
    }
}

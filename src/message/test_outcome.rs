//! The test recipients with a fixed outcome: `bounce@test.postbud.invalid` bounces. `docs/webcrm.md` lists them.

use crate::smtp::Mailbox;

/// The domain of the test recipients. RFC 2606 §2: this domain will never exist, so mail that leaves by mistake arrives nowhere.
pub const TEST_DOMAIN: &str = "test.postbud.invalid";

/// The invented outcome of a recipient of test mail that stays on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// The mail is relayed and delivered. Recipients in other domains, and unknown names, have this outcome.
    Delivered,
    /// The mail is relayed, and nothing more is heard, as with a customer's own server.
    Relayed,
    /// The next server refuses the mail because the address does not exist.
    Bounced,
    /// The mail is relayed, and the recipient's server refuses it later.
    BouncedLater,
    /// The next server refuses the mail because the mailbox is full.
    MailboxFull,
    /// The next server refuses the mail as spam.
    Spam,
    /// The mail is deferred at the first attempt, then relayed and delivered.
    Deferred,
    /// The next server needs ten seconds to take the mail.
    Slow,
    /// The mail is delivered, and the recipient complains.
    Complained,
    /// The mail is delivered, and the recipient unsubscribes.
    Unsubscribed,
    /// The mail is delivered, and the recipient opens it.
    Opened,
    /// The recipient is treated as if on the customer's suppression list.
    Suppressed,
}

impl TestOutcome {
    /// The names before the `@`, each with its outcome.
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

    /// Returns the outcome of a recipient. A `+` and the text behind it do not change the outcome, so a test can use many recipients.
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

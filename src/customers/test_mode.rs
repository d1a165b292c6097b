//! Test mode of a login or a customer. Its mail is accepted, checked, signed, stored and recorded like any other, but does not leave this
//! machine.
//!
//! There are two exceptions: mail leaves if test mode allows all of its recipients, or if it is redirected to one address. If both the
//! login and the customer are in test mode, mail leaves only if both allow it.

use std::fmt;

use super::suppression::folded;
use crate::message::is_test_address;
use crate::smtp::{Domain, Mailbox};

/// The test mode of a login or a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestMode {
    /// The recipients to which mail may really be sent.
    pub allow: Vec<AllowedRecipient>,
    /// The address that gets all mail instead of its recipients.
    pub redirect: Option<Mailbox>,
}

/// Recipients that test mail may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedRecipient {
    /// This address, in the form that suppression lists compare.
    Address(String),
    /// Every address in this domain.
    Domain(Domain),
}

/// Writes it as customers' files do.
impl fmt::Display for AllowedRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowedRecipient::Address(address) => f.write_str(address),
            AllowedRecipient::Domain(domain) => write!(f, "*@{domain}"),
        }
    }
}

/// What happens to mail in test mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestWay {
    /// It stays on this machine, and its outcome is invented.
    Stays,
    /// It is sent to its recipients.
    Leaves,
    /// It is sent to this address instead.
    Redirected(Mailbox),
}

impl AllowedRecipient {
    /// Reads `anna@webcrm.com` or `*@webcrm.com`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*@") {
            Some(domain) => Domain::parse(domain).ok().map(AllowedRecipient::Domain),
            None => Mailbox::parse(text).ok().map(|address| AllowedRecipient::Address(folded(&address))),
        }
    }

    fn includes(&self, recipient: &Mailbox) -> bool {
        match self {
            AllowedRecipient::Address(address) => folded(recipient) == *address,
            AllowedRecipient::Domain(domain) => recipient.domain() == Some(domain),
        }
    }
}

impl TestMode {
    fn way<'a>(&self, mut recipients: impl Iterator<Item = &'a Mailbox> + Clone) -> TestWay {
        // If one recipient has a fixed test outcome, the whole mail stays here.
        if recipients.clone().any(is_test_address) || recipients.clone().next().is_none() {
            return TestWay::Stays;
        }
        if recipients.all(|recipient| self.allow.iter().any(|allowed| allowed.includes(recipient))) {
            return TestWay::Leaves;
        }
        self.redirect.clone().map_or(TestWay::Stays, TestWay::Redirected)
    }
}

/// Returns what happens to a mail to these recipients under all given test modes. Returns `None` if no test mode is given.
pub fn way<'a>(
    modes: impl IntoIterator<Item = &'a TestMode>,
    recipients: impl Iterator<Item = &'a Mailbox> + Clone,
) -> Option<TestWay> {
    let ways = modes.into_iter().map(|mode| mode.way(recipients.clone()));
    ways.reduce(|one, other| if one == other { one } else { TestWay::Stays })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    fn mode(allow: &[&str], redirect: Option<&str>) -> TestMode {
        let allow = allow.iter().map(|text| AllowedRecipient::parse(text).unwrap()).collect();
        TestMode { allow, redirect: redirect.map(mailbox) }
    }

    fn way_of(modes: &[TestMode], recipients: &[&str]) -> Option<TestWay> {
        let recipients: Vec<Mailbox> = recipients.iter().map(|text| mailbox(text)).collect();
        way(modes, recipients.iter())
    }

    #[test]
    fn mail_leaves_only_where_all_of_its_recipients_may_be_reached() {
        let (closed, open) = (mode(&[], None), mode(&["Dev@webcrm.com", "*@qa.webcrm.com"], None));
        let redirected = mode(&["dev@webcrm.com"], Some("catch@webcrm.com"));
        let catch = || Some(TestWay::Redirected(mailbox("catch@webcrm.com")));
        let stays = Some(TestWay::Stays);
        for (modes, recipients, expected) in [
            (vec![], vec!["a@example.com"], None),
            (vec![closed.clone()], vec!["a@example.com"], stays.clone()),
            (vec![open.clone()], vec!["dev@webcrm.com", "x@qa.webcrm.com"], Some(TestWay::Leaves)),
            (vec![open.clone()], vec!["dev@webcrm.com", "a@example.com"], stays.clone()),
            (vec![open.clone()], vec!["x@sub.qa.webcrm.com"], stays.clone()),
            (vec![open.clone()], vec!["dev@webcrm.com", "bounce@test.postbud.invalid"], stays.clone()),
            (vec![redirected.clone()], vec!["a@example.com", "dev@webcrm.com"], catch()),
            (vec![redirected.clone()], vec!["dev@webcrm.com"], Some(TestWay::Leaves)),
            (vec![redirected.clone()], vec!["a@example.com", "defer@test.postbud.invalid"], stays.clone()),
            (vec![redirected.clone(), redirected.clone()], vec!["a@example.com"], catch()),
            (vec![redirected.clone(), closed.clone()], vec!["a@example.com"], stays.clone()),
            (vec![open.clone(), redirected], vec!["dev@webcrm.com"], Some(TestWay::Leaves)),
            (vec![open, closed], vec!["dev@webcrm.com"], stays),
        ] {
            assert_eq!(way_of(&modes, &recipients), expected, "{modes:?} {recipients:?}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_reached_who_is_not_named(
            recipients in prop::collection::vec("[a-c]{1,2}@(a|b|test\\.postbud)\\.(dk|invalid)", 0..4),
            modes in prop::collection::vec(
                (prop::collection::vec("([a-c]{1,2}|\\*)@(a|b)\\.dk", 0..3), prop::option::of("[xy]@y\\.dk")), 1..3),
        ) {
            let modes: Vec<TestMode> = modes.iter().map(|(allow, redirect)| {
                mode(&allow.iter().map(String::as_str).collect::<Vec<_>>(), redirect.as_deref())
            }).collect();
            let parsed: Vec<Mailbox> = recipients.iter().map(|text| mailbox(text)).collect();
            let named = |mode: &TestMode, to: &Mailbox| mode.allow.iter().any(|allowed| allowed.includes(to));
            match way(&modes, parsed.iter()).expect("there is a mode") {
                TestWay::Stays => {}
                TestWay::Leaves => {
                    prop_assert!(parsed.iter().all(|to| !is_test_address(to)));
                    prop_assert!(modes.iter().all(|mode| parsed.iter().all(|to| named(mode, to))));
                }
                TestWay::Redirected(to) => {
                    prop_assert!(modes.iter().all(|mode| mode.redirect.as_ref() == Some(&to)));
                }
            }
        }
    }
}

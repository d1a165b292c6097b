//! Decides whether a message is in test mode, and what happens to it.

use super::policy::Identity;
use super::refusal::Refusal;
use crate::customers::Customer;
use crate::customers::test_mode::{self, TestWay};
use crate::message::{Envelope, MailKind, Recipient, TEST_DOMAIN, is_test_address};
use crate::smtp::EnhancedCode;

/// The number of recipients that the event of a redirected mail names.
const NAMED: usize = 5;

/// The kind of mail, and what its event says about test mode.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) kind: MailKind,
    pub(super) detail: Option<String>,
}

/// Returns true if mail of this login for this customer is in test mode.
pub(super) fn is_on(identity: &Identity, customer: &Customer) -> bool {
    identity.test_mode().is_some() || customer.test.is_some()
}

/// Decides about a message whose customer and recipients are known. If it is redirected, changes its envelope.
pub(super) fn judge(identity: &Identity, customer: &Customer, envelope: &mut Envelope) -> Result<Judged, Refusal> {
    let modes = identity.test_mode().into_iter().chain(customer.test.as_ref());
    let way = test_mode::way(modes, envelope.recipients.iter().map(|recipient| &recipient.address));
    let judged = |kind| Judged { kind, detail: None };
    match way {
        None => match envelope.recipients.iter().find(|recipient| is_test_address(&recipient.address)) {
            None => Ok(judged(MailKind::Mail)),
            Some(recipient) => {
                let text = format!(
                    "{} is for mail in test mode, and neither this login nor customer \"{}\" is in it: addresses in {TEST_DOMAIN} are \
                     nobody's",
                    recipient.address, customer.id
                );
                Err(Refusal::new(550, EnhancedCode(5, 7, 1), "test_address", text))
            }
        },
        Some(TestWay::Stays) => Ok(judged(MailKind::Test)),
        Some(TestWay::Leaves) => Ok(judged(MailKind::TestLeaving)),
        Some(TestWay::Redirected(address)) => {
            let named: Vec<String> =
                envelope.recipients.iter().take(NAMED).map(|recipient| recipient.address.to_string()).collect();
            let more = match envelope.recipients.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let detail = format!("test mode: redirected from {}{more}", named.join(", "));
            envelope.recipients = vec![Recipient::new(address)];
            Ok(Judged { kind: MailKind::TestLeaving, detail: Some(detail) })
        }
    }
}

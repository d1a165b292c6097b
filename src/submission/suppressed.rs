//! Handles recipients on the customer's suppression list.
//!
//! If the customer is known before the content, the recipient is refused at RCPT. Otherwise the recipient is left out after From is read:
//! the reply to the content says so, and the message goes to its other recipients. A message without other recipients is refused.

use std::borrow::Cow;

use super::client::Client;
use super::policy::Identity;
use super::refusal::{LeftOut, Refusal};
use super::{Allowed, Context, test_mode};
use crate::customers::suppression::{Mode, Reason};
use crate::customers::{Customer, RoutingView};
use crate::events::{Event, EventKind, Mail, PendingEvents};
use crate::message::{CustomerId, Envelope, TestOutcome};
use crate::smtp::{EnhancedCode, Mailbox, Reply, ReversePath};
use crate::time::Timestamp;

/// RFC 3463: delivery not authorized. Only this rule answers RCPT with it.
pub(super) const SUPPRESSED: EnhancedCode = EnhancedCode(5, 7, 1);
/// The number of left-out recipients that the reply names.
const NAMED: usize = 5;

/// The reason for which the suppressed test address is on the list.
const PLAYED: Reason = Reason::HardBounce;

/// Returns the only customer that mail with this sender can be from, or `None` if only From can tell.
pub(super) fn customer<'a>(
    routing: &'a RoutingView<'_>,
    identity: &Identity,
    sender: &ReversePath,
) -> Option<&'a Customer> {
    let directory = routing.directory();
    if let Identity::Submitter(submitter) = identity
        && let Allowed::Listed(ids) = &submitter.customers
        && ids.len() == 1
    {
        return ids.first().and_then(|id| directory.get(id)).map(|customer| &**customer);
    }
    // From and MAIL FROM must be in domains of one customer, but several customers may share a bounce domain.
    let domain = sender.mailbox()?.domain().filter(|domain| !directory.is_bounce_domain(domain))?;
    directory.by_domain(domain).map(|customer| &**customer)
}

/// Returns the refusal of a recipient at RCPT, or `None` if it is accepted for now.
pub(super) fn at_rcpt(
    context: &Context,
    identity: &Identity,
    sender: &ReversePath,
    recipient: &Mailbox,
) -> Option<Reply> {
    let plays = plays_suppressed(recipient);
    if context.suppression.is_empty() && !plays {
        return None;
    }
    let routing = context.routing.view();
    let customer = customer(&routing, identity, sender)?;
    let played = (plays && test_mode::is_on(identity, customer)).then_some(PLAYED);
    let reason = played.or_else(|| context.suppression.refusal_reason(customer, recipient))?;
    Some(refused(recipient, &customer.id, reason))
}

/// The reply about one recipient.
pub(super) fn refused(recipient: &Mailbox, customer: &CustomerId, reason: Reason) -> Reply {
    let text = format!("{recipient} is on the suppression list of customer \"{customer}\" ({reason})");
    Reply::new(550, SUPPRESSED, text)
}

/// What events say of a message that was refused because all of its recipients are suppressed. The reply names several of them; an event
/// names one and no other, so that nothing of a person is left once that person is erased.
pub(super) fn all_refused(customer: &CustomerId) -> Reply {
    Reply::new(550, SUPPRESSED, format!("all recipients are on the suppression list of customer \"{customer}\""))
}

/// Reports a recipient that was refused at RCPT. These refusals are reported singly, like accepted recipients, as long as the customer has
/// room in the log.
pub(super) fn tell_of_refused(
    context: &Context,
    client: Client<'_>,
    sender: &ReversePath,
    recipient: &Mailbox,
    reply: &Reply,
) {
    let Some(identity) = client.identity else { return };
    let routing = context.routing.view();
    let Some(customer) = customer(&routing, identity, sender) else { return };
    let played = plays_suppressed(recipient).then_some(PLAYED);
    let reason = context.suppression.reason(&customer.id, recipient).or(played).map(Reason::as_str);
    let event = Event::suppressed(client.submission(), &customer.id, reply, reason.unwrap_or("suppressed"));
    context.events.emit_of_refused(Event {
        test: test_mode::is_on(identity, customer),
        sender: Some(Cow::Owned(sender.to_string())),
        recipient: Some(Cow::Owned(recipient.to_string())),
        ..event
    });
    context.suppression.counters().refused.inc();
}

/// Removes the recipients that the customer's list refuses from an envelope. If none are left, the message is refused.
pub(super) fn leave_out(
    envelope: &mut Envelope,
    identity: &Identity,
    customer: &Customer,
    context: &Context,
) -> Result<Vec<LeftOut>, Refusal> {
    let mut left_out = Vec::new();
    let is_test = test_mode::is_on(identity, customer);
    if !is_test && (customer.suppression.mode != Mode::Refuse || context.suppression.is_empty()) {
        return Ok(left_out);
    }
    let refuses = |address: &Mailbox| match is_test && plays_suppressed(address) {
        true => Some(PLAYED),
        false => context.suppression.refusal_reason(customer, address),
    };
    envelope.recipients.retain(|recipient| match refuses(&recipient.address) {
        Some(reason) => {
            left_out.push((recipient.address.clone(), reason));
            false
        }
        None => true,
    });
    if !envelope.recipients.is_empty() {
        return Ok(left_out);
    }
    let text = format!("{} on the suppression list of customer \"{}\"", named(&left_out), customer.id);
    let mut refusal = Refusal::new(550, SUPPRESSED, "suppressed", text);
    refusal.about.suppressed = left_out;
    Err(refusal)
}

/// Returns true if test mail treats the recipient as suppressed.
fn plays_suppressed(recipient: &Mailbox) -> bool {
    TestOutcome::of(recipient) == TestOutcome::Suppressed
}

/// Adds the events of recipients that were left out of a message. They become durable with it, because its 250 says that they were.
pub(super) fn tell_of_left_out(pending: &mut PendingEvents, mail: &Mail<'_>, left_out: &[LeftOut], context: &Context) {
    let now = Timestamp::now();
    for (address, reason) in left_out {
        let recipient = address.to_string();
        let event = mail.reported(EventKind::Suppressed, &recipient, now, "");
        context.events.write_one(pending, Event { reason: Some(reason.as_str()), ..event });
        context.suppression.counters().refused.inc();
    }
}

/// Returns the recipients on the customer's list that get the mail anyway, because the list only reports.
pub(super) fn noted(envelope: &Envelope, customer: &Customer, context: &Context) -> Vec<LeftOut> {
    if customer.suppression.mode != Mode::Event || context.suppression.is_empty() {
        return Vec::new();
    }
    let reason = |address: &Mailbox| context.suppression.reason(&customer.id, address);
    let addresses = envelope.recipients.iter().map(|to| &to.address);
    addresses.filter_map(|address| reason(address).map(|reason| (address.clone(), reason))).collect()
}

/// Adds the events of [`noted`] recipients.
pub(super) fn tell_of_noted(pending: &mut PendingEvents, mail: &Mail<'_>, noted: &[LeftOut], context: &Context) {
    let now = Timestamp::now();
    for (address, reason) in noted {
        let recipient = address.to_string();
        let event = mail.reported(EventKind::Suppressed, &recipient, now, "");
        let detail = "the recipient is on the suppression list and gets the mail all the same";
        let event = Event { reason: Some(reason.as_str()), detail: Some(detail.into()), ..event };
        context.events.write_one(pending, event);
        context.suppression.counters().noted.inc();
    }
}

/// Returns the reply's line about recipients that were left out.
pub(super) fn in_reply(left_out: &[LeftOut]) -> String {
    format!("{} suppressed and left out", named(left_out))
}

fn named(left_out: &[LeftOut]) -> String {
    let names: Vec<String> =
        left_out.iter().take(NAMED).map(|(address, reason)| format!("{address} ({reason})")).collect();
    let is = if left_out.len() == 1 { "is" } else { "are" };
    match left_out.len().saturating_sub(NAMED) {
        0 => format!("{} {is}", names.join(", ")),
        more => format!("{} and {more} more {is}", names.join(", ")),
    }
}

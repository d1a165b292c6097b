//! Events that are not about mail in the spool: alerts, audit, refusals, customers and domains.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Action, Event, EventKind, Text};
use crate::message::{CustomerId, FailureClass, QueueId};
use crate::record::subject::Subject;
use crate::route::RouteId;
use crate::smtp::{Domain, Reply};
use crate::time::Timestamp;

impl<'a> Event<'a> {
    /// Makes an alert: something that an operator must look at now.
    pub fn alert(detail: impl Into<Cow<'a, str>>) -> Self {
        Event { detail: Some(detail.into()), ..Event::new(EventKind::Alert, Timestamp::now()) }
    }

    /// Makes the event that ends an alert.
    pub fn cured(alert: &Event<'a>, detail: impl Into<Cow<'a, str>>, now: Timestamp) -> Self {
        Event {
            subject: alert.subject.clone(),
            customer: alert.customer.clone(),
            route: alert.route.clone(),
            detail: Some(detail.into()),
            cured: true,
            ..Event::new(EventKind::Alert, now)
        }
    }

    pub fn audit(
        actor: impl Into<Cow<'a, str>>,
        command: Action,
        detail: impl Into<Cow<'a, str>>,
        at: Timestamp,
    ) -> Self {
        Event {
            actor: Some(actor.into()),
            command: Some(command),
            detail: Some(detail.into()),
            ..Event::new(EventKind::Audit, at)
        }
    }

    /// Another system reported on mail that the event log does not know.
    pub fn unmatched(detail: impl Into<Cow<'a, str>>, at: Timestamp) -> Self {
        Event { detail: Some(detail.into()), ..Event::new(EventKind::Unmatched, at) }
    }

    /// Makes an event about a customer's mail as a whole.
    pub fn of_customer(event: EventKind, customer: &'a CustomerId, detail: impl Into<Cow<'a, str>>) -> Self {
        Event { detail: Some(detail.into()), ..Event::new(event, Timestamp::now()).about_customer(customer) }
    }

    /// Makes an event about a customer's domain.
    pub fn of_domain(
        event: EventKind,
        customer: &'a CustomerId,
        domain: &'a Domain,
        detail: impl Into<Cow<'a, str>>,
        at: Timestamp,
    ) -> Self {
        Event {
            from_domain: Some(domain.as_str().into()),
            detail: Some(detail.into()),
            ..Event::new(event, at).about_customer(customer)
        }
    }

    /// Makes the event that reports omitted events of a customer.
    pub fn omitted(customer: impl Into<Cow<'a, str>>, left_out: u64) -> Self {
        let detail = format!("{left_out} events of this customer are left out: its share of the log is used up");
        Event {
            customer: Some(customer.into()),
            left_out: Some(left_out),
            detail: Some(detail.into()),
            ..Event::new(EventKind::Omitted, Timestamp::now())
        }
    }

    /// Makes the event for a message or command that submission refused with this reply.
    pub fn rejected(by: Submission<'a>, reply: &Reply, reason: &'static str, class: FailureClass) -> Self {
        Event {
            code: Some(reply.code),
            status: reply.enhanced,
            reply: Some(Cow::Owned(reply.lines.join(" "))),
            reason: Some(reason),
            class: Some(class),
            ..Event::new(EventKind::Rejected, Timestamp::now()).handed_in(by)
        }
    }

    /// Makes the event for a recipient that submission refused because of the customer's suppression list.
    pub fn suppressed(by: Submission<'a>, customer: &'a CustomerId, reply: &Reply, reason: &'static str) -> Self {
        Event {
            event: EventKind::Suppressed,
            ..Event::rejected(by, reply, reason, FailureClass::Policy).about_customer(customer)
        }
    }

    /// Makes the event that counts refusals that are not reported one by one.
    pub fn more_rejected(by: Submission<'a>, left_out: u64, detail: impl Into<Cow<'a, str>>) -> Self {
        Event {
            left_out: Some(left_out),
            detail: Some(detail.into()),
            ..Event::new(EventKind::Rejected, Timestamp::now()).handed_in(by)
        }
    }

    /// Adds the subject of lasting trouble.
    pub fn with_subject(self, subject: Subject) -> Self {
        Event { subject: Some(subject), ..self }
    }

    /// Adds the customer.
    pub fn about_customer(self, customer: &'a CustomerId) -> Self {
        Event { customer: Some(customer.as_str().into()), ..self }
    }

    /// Adds the message.
    pub fn about_message(self, id: QueueId) -> Self {
        Event { queue_id: Some(id), ..self }
    }

    /// Adds the route.
    pub fn about_route(self, route: &'a RouteId) -> Self {
        Event { route: Some(route.as_str().into()), ..self }
    }

    /// Adds who submitted the mail.
    pub fn handed_in(self, by: Submission<'a>) -> Self {
        Event {
            test: self.test || by.test,
            submitter: by.submitter,
            peer: by.peer.map(|peer| Cow::Owned(peer.to_canonical().to_string())),
            ..self
        }
    }
}

/// The client that submitted mail, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Submission<'a> {
    /// The name that the client logged in with.
    pub submitter: Text<'a>,
    pub peer: Option<IpAddr>,
    /// True if the login is in test mode.
    pub test: bool,
}

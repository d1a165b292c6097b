//! Events about mail: the part that all events of a message share, and the part about one recipient.

use std::borrow::Cow;
use std::sync::Arc;

use super::{About, Event, EventId, EventKind, Submission, Text};
use crate::message::{Envelope, FailureClass, Lane, MailKind, QueueId, ReplyText};
use crate::route::{Route, RouteId};
use crate::spool::{Draft, Record};
use crate::time::Timestamp;

/// The fields that all events of one message share. Made once for all recipients.
#[derive(Clone, Debug)]
pub struct Mail<'a> {
    id: QueueId,
    lane: &'a Lane,
    envelope: &'a Envelope,
    message_id: &'a str,
    sender: String,
    envid: Text<'a>,
    handed_in: Submission<'a>,
}

/// The event of one recipient of a message, or of a recipient that was left out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipientEvent {
    pub event: EventKind,
    pub at: Timestamp,
    /// The recipient's index in the envelope.
    pub index: usize,
    /// The server's reply, or the error.
    pub heard: Option<ReplyText>,
    /// The route that was tried, or that the mail would use.
    pub route: Option<RouteId>,
    /// The host that was tried, and the number of the attempt.
    pub attempt: Option<(Arc<str>, u32)>,
    /// The failure class, if no server gave it.
    pub class: Option<FailureClass>,
    /// The relay's own text, for people.
    pub detail: Option<Arc<str>>,
    /// How it came, if it was reported after the next server had taken the mail.
    pub reason: Option<&'static str>,
    /// When the next attempt will be made.
    pub next_attempt: Option<Timestamp>,
    /// The operator who did it.
    pub actor: Option<Arc<str>>,
}

impl<'a> Mail<'a> {
    /// Makes the part for a message in the spool.
    pub fn of(record: &'a Record) -> Self {
        Mail::new(record.id, &record.lane, &record.envelope, &record.message_id)
    }

    /// Makes the part for a message that is about to be made durable.
    pub fn of_draft(draft: &'a Draft) -> Self {
        Mail::new(draft.id, &draft.lane, &draft.envelope, &draft.message_id)
    }

    /// Makes the part for a message with these fields.
    pub fn new(id: QueueId, lane: &'a Lane, envelope: &'a Envelope, message_id: &'a str) -> Self {
        let envid = envelope.decoded_envid();
        let sender = envelope.reverse_path.to_string();
        Mail { id, lane, envelope, message_id, sender, envid, handed_in: Submission::default() }
    }

    /// Adds who submitted the message.
    pub fn handed_in(self, by: Submission<'a>) -> Self {
        Mail { handed_in: by, ..self }
    }

    /// Returns the customer whose mail it is.
    pub fn customer(&self) -> &crate::message::CustomerId {
        &self.lane.customer
    }

    /// Makes the event about a recipient.
    pub fn event<'e>(&'e self, told: &'e RecipientEvent) -> Event<'e> {
        let id = EventId::Mail { queue_id: self.id, at: told.at, index: told.index, event: told.event };
        let heard = told.heard.as_ref();
        let mut event = Event {
            recipient: self.envelope.recipients.get(told.index).map(|to| Cow::Owned(to.address.to_string())),
            route: told.route.as_ref().map(|route| route.as_str().into()),
            server: told.attempt.as_ref().map(|(server, _)| Cow::Borrowed(&**server)),
            attempt: told.attempt.as_ref().map(|(_, number)| *number),
            code: heard.and_then(ReplyText::code),
            status: heard.and_then(ReplyText::status),
            reply: heard.and_then(ReplyText::reply).map(Cow::Borrowed),
            class: told.class.or(heard.and_then(|heard| heard.class)),
            reason: told.reason,
            next_attempt: told.next_attempt,
            actor: told.actor.as_deref().map(Cow::Borrowed),
            ..self.event_with(id, told.event, told.at)
        };
        let own_words = heard.and_then(ReplyText::own_words);
        event.detail = match (own_words, told.detail.as_deref()) {
            (Some(broke), Some(detail)) if broke != detail => Some(Cow::Owned(format!("{broke}: {detail}"))),
            (Some(detail), _) | (None, Some(detail)) => Some(Cow::Borrowed(detail)),
            (None, None) => None,
        };
        event
    }

    /// Makes the event for another service's report about this mail, such as Mailjet's. `key` distinguishes it from other reports of the
    /// same time.
    pub fn reported<'e>(&'e self, event: EventKind, recipient: &'e str, at: Timestamp, key: &str) -> Event<'e> {
        let id = EventId::reported(self.id, event, recipient, at, key);
        Event { recipient: Some(recipient.into()), ..self.event_with(id, event, at) }
    }

    fn event_with(&self, id: EventId, event: EventKind, at: Timestamp) -> Event<'_> {
        let references = &self.envelope.references;
        Event {
            about: (self.lane.kind == MailKind::Bounce).then_some(About::Notification),
            test: self.lane.kind.is_test(),
            queue_id: Some(self.id),
            message_id: Some(self.message_id.into()),
            reference: references.reference.as_deref().map(Cow::Borrowed),
            campaign: references.campaign.as_deref().map(Cow::Borrowed),
            tags: Cow::Borrowed(&references.tags),
            envid: self.envid.as_deref().map(Cow::Borrowed),
            customer: Some(self.lane.customer.as_str().into()),
            from_domain: Some(self.lane.domain.as_str().into()),
            sender: Some(Cow::Borrowed(&self.sender)),
            submitter: self.handed_in.submitter.as_deref().map(Cow::Borrowed),
            peer: self.handed_in.peer.map(|peer| Cow::Owned(peer.to_canonical().to_string())),
            ..Event::with_id(id, event, at)
        }
    }
}

impl RecipientEvent {
    /// Makes an event of the recipient at `index`.
    pub fn new(event: EventKind, index: usize, at: Timestamp) -> Self {
        RecipientEvent {
            event,
            at,
            index,
            heard: None,
            route: None,
            attempt: None,
            class: None,
            detail: None,
            reason: None,
            next_attempt: None,
            actor: None,
        }
    }

    /// Makes the event for a recipient's result of an attempt.
    pub fn of_attempt(event: EventKind, index: usize, at: Timestamp, tried: &Tried, heard: ReplyText) -> Self {
        RecipientEvent {
            heard: Some(heard),
            route: Some(tried.route.clone()),
            attempt: Some((Arc::clone(&tried.server), tried.number)),
            ..RecipientEvent::new(event, index, at)
        }
    }

    /// Adds the relay's own text.
    pub fn because(self, detail: impl Into<Arc<str>>) -> Self {
        RecipientEvent { detail: Some(detail.into()), ..self }
    }

    /// Adds the operator who did it.
    pub fn by(self, actor: &Arc<str>) -> Self {
        RecipientEvent { actor: Some(Arc::clone(actor)), ..self }
    }

    /// Adds the route.
    pub fn on(self, route: Option<&RouteId>) -> Self {
        RecipientEvent { route: route.cloned(), ..self }
    }
}

/// One attempt, as the events of all its recipients describe it.
#[derive(Clone, Debug)]
pub struct Tried {
    route: RouteId,
    server: Arc<str>,
    number: u32,
}

impl Tried {
    /// Describes the attempt for a record over a route that ends now.
    pub fn new(record: &Record, route: &Route) -> Self {
        Tried { route: route.id.clone(), server: route.host.as_str().into(), number: record.attempts + 1 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::record::event::fixtures::{AT, envelope, lane};

    fn json_of(kind: MailKind, told: &RecipientEvent) -> Value {
        let (lane, envelope) = (lane(kind), envelope());
        let mail = Mail::new(QueueId::from_u64(7), &lane, &envelope, "1@test.dk");
        serde_json::to_value(mail.event(told)).unwrap()
    }

    #[test]
    fn an_event_of_mail_carries_all_that_names_it_and_the_reply_in_its_parts() {
        let tried = Tried { route: RouteId::new("mailjet.trusted"), server: "in-v3.mailjet.com".into(), number: 2 };
        let heard = ReplyText::new("452 4.2.2 the inbox is full", Some(FailureClass::MailboxFull));
        let mut told = RecipientEvent::of_attempt(EventKind::Deferred, 1, AT, &tried, heard);
        told.next_attempt = Some(AT);
        assert_eq!(
            json_of(MailKind::Mail, &told),
            json!({
                "event_id": "0000000000007-1M84TD3KV-1d", "at": "2026-11-23T18:24:00.123Z", "event": "deferred",
                "queue_id": "0000000000007", "message_id": "1@test.dk", "reference": "order 7", "campaign": "spring",
                "tags": ["x", "y"], "envid": "a-b", "customer": "test-as", "from_domain": "test.dk",
                "sender": "news@test.dk", "recipient": "b@x.dk", "route": "mailjet.trusted",
                "server": "in-v3.mailjet.com", "attempt": 2, "code": 452, "status": "4.2.2",
                "reply": "the inbox is full", "class": "mailbox_full", "next_attempt": "2026-11-23T18:24:00.123Z"
            })
        );
    }

    #[test]
    fn what_the_relay_says_itself_is_never_a_reply() {
        let broke = RecipientEvent {
            heard: Some("connection refused".into()),
            ..RecipientEvent::new(EventKind::Deferred, 0, AT)
        };
        for (told, detail) in [
            (broke.clone(), "connection refused"),
            (broke.because("look at the server"), "connection refused: look at the server"),
            (RecipientEvent::new(EventKind::Held, 0, AT).because("looks odd"), "looks odd"),
        ] {
            let event = json_of(MailKind::Mail, &told);
            assert_eq!(event["detail"], detail);
            assert!(["code", "status", "reply"].iter().all(|name| event.get(name).is_none()), "{event}");
        }
    }

    #[test]
    fn events_of_our_own_notifications_are_marked() {
        let told = RecipientEvent::new(EventKind::Relayed, 0, AT);
        assert_eq!(json_of(MailKind::Mail, &told).get("about"), None);
        assert_eq!(json_of(MailKind::Bounce, &told)["about"], "notification");
        for kind in [MailKind::Test, MailKind::TestLeaving] {
            assert_eq!(json_of(kind, &told)["test"], true);
        }
        assert_eq!(json_of(MailKind::Mail, &told).get("test"), None);
    }

    #[test]
    fn reports_of_another_service_have_ids_of_their_own() {
        let (lane, envelope) = (lane(MailKind::Mail), envelope());
        let mail = Mail::new(QueueId::from_u64(7), &lane, &envelope, "1@test.dk");
        let id = |key| mail.reported(EventKind::Clicked, "a@x.dk", AT, key).event_id.to_string();
        assert_eq!(id("https://x.dk/1"), id("https://x.dk/1"));
        assert_ne!(id("https://x.dk/1"), id("https://x.dk/2"));
    }
}

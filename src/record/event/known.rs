//! A mail as the event log knows it. Later reports of other systems about it become events with the same fields, long after the spool has
//! forgotten the mail.

use std::borrow::Cow;

use serde_json::Value;

use super::{About, Event, EventId, EventKind};
use crate::message::{CustomerId, QueueId};
use crate::smtp::{Domain, Mailbox, is_same_address};
use crate::time::Timestamp;

/// A mail in the event log.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The mail's queue id.
    pub queue_id: QueueId,
    /// The customer whose mail it is.
    pub customer: CustomerId,
    /// The domain in From.
    pub from_domain: Domain,
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// The Message-ID without angle brackets.
    pub message_id: String,
    /// True if the mail is one of the relay's own notifications.
    pub is_notification: bool,
    /// True if the mail was sent in test mode.
    pub is_test: bool,
    reference: Option<String>,
    campaign: Option<String>,
    tags: Vec<Box<str>>,
    envid: Option<String>,
    recipients: Vec<KnownRecipient>,
    /// True if a recipient was erased, so that there were more than `recipients`.
    has_erased: bool,
}

/// A recipient of such a mail.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownRecipient {
    /// The recipient's index in the envelope.
    pub index: usize,
    pub address: Mailbox,
    /// The last route of the mail.
    pub route: Option<String>,
    /// The kinds of events of this recipient so far, oldest first.
    pub told: Vec<EventKind>,
    /// The kinds among them that another system reported later, with a `reason`.
    pub reported: Vec<EventKind>,
}

impl KnownRecipient {
    /// Returns true if the recipient already has an event of this kind.
    pub fn was(&self, kind: EventKind) -> bool {
        self.told.contains(&kind)
    }
}

impl Known {
    /// Returns true if bounces and complaints about the mail count for its customer and its suppression list. Notifications and mail in
    /// test mode count for nobody.
    pub fn counts(&self) -> bool {
        !self.is_notification && !self.is_test
    }

    /// Reads the events of one mail, oldest first. Returns `None` if none of them has the mail's fields.
    pub fn of(events: &[Value]) -> Option<Known> {
        let first = events.iter().find(|event| event["message_id"].is_string())?;
        let text = |name: &str| first[name].as_str().map(str::to_owned);
        let tags = first["tags"].as_array().into_iter().flatten();
        let mut known = Known {
            queue_id: first["queue_id"].as_str()?.parse().ok()?,
            customer: CustomerId::new(first["customer"].as_str()?),
            from_domain: Domain::parse(first["from_domain"].as_str()?).ok()?,
            sender: text("sender")?,
            message_id: text("message_id")?,
            is_notification: first["about"].is_string(),
            is_test: first["test"] == true,
            reference: text("reference"),
            campaign: text("campaign"),
            tags: tags.filter_map(Value::as_str).map(Into::into).collect(),
            envid: text("envid"),
            recipients: Vec::new(),
            has_erased: events.iter().any(|event| event["erased"] == true),
        };
        events.iter().for_each(|event| known.note(event));
        Some(known)
    }

    /// Takes over what one event says about its recipient.
    fn note(&mut self, event: &Value) {
        let (Some(address), Some(kind)) = (event["recipient"].as_str(), kind_of(event)) else { return };
        // The command that sent a test mail names its recipient, too, and has an id of another kind.
        if kind == EventKind::Audit {
            return;
        }
        let found = match self.recipients.iter().position(|to| to.address.to_string() == address) {
            Some(at) => &mut self.recipients[at],
            None => {
                let index = event["event_id"].as_str().and_then(EventId::index_in);
                let (Ok(address), Some(index)) = (Mailbox::parse(address), index) else { return };
                self.recipients.push(KnownRecipient {
                    index,
                    address,
                    route: None,
                    told: Vec::new(),
                    reported: Vec::new(),
                });
                self.recipients.last_mut().expect("it was just pushed")
            }
        };
        found.told.push(kind);
        if event["reason"].is_string() {
            found.reported.push(kind);
        }
        if let Some(route) = event["route"].as_str() {
            found.route = Some(route.to_owned());
        }
    }

    /// Returns the recipient at this index of the envelope, or `None` if it was erased.
    pub fn recipient(&self, index: usize) -> Option<&KnownRecipient> {
        self.recipients.iter().find(|to| to.index == index)
    }

    /// Returns the recipient with this address, however it is written.
    pub fn recipient_named(&self, address: &str) -> Option<&KnownRecipient> {
        self.recipients.iter().find(|to| is_same_address(&to.address.to_string(), address))
    }

    /// Returns the accepted recipients that have no final event of this relay yet.
    pub fn unended(&self) -> impl Iterator<Item = &KnownRecipient> {
        // In the mode "event" a suppressed recipient is accepted all the same.
        let is_end = |kind: &EventKind| kind.is_final() && *kind != EventKind::Suppressed;
        self.recipients.iter().filter(move |to| to.was(EventKind::Accepted) && !to.told.iter().any(is_end))
    }

    /// Returns the recipient, if the mail had only one.
    pub fn only_recipient(&self) -> Option<&KnownRecipient> {
        match self.recipients.as_slice() {
            [only] if !self.has_erased => Some(only),
            _ => None,
        }
    }

    /// Makes an event about a recipient of this mail.
    pub fn event<'a>(&'a self, kind: EventKind, to: &'a KnownRecipient, at: Timestamp) -> Event<'a> {
        let id = EventId::Mail { queue_id: self.queue_id, at, index: to.index, event: kind };
        Event {
            about: self.is_notification.then_some(About::Notification),
            test: self.is_test,
            queue_id: Some(self.queue_id),
            message_id: Some(Cow::Borrowed(&self.message_id)),
            reference: self.reference.as_deref().map(Cow::Borrowed),
            campaign: self.campaign.as_deref().map(Cow::Borrowed),
            tags: Cow::Borrowed(&self.tags),
            envid: self.envid.as_deref().map(Cow::Borrowed),
            customer: Some(self.customer.as_str().into()),
            from_domain: Some(self.from_domain.as_str().into()),
            sender: Some(Cow::Borrowed(&self.sender)),
            recipient: Some(Cow::Owned(to.address.to_string())),
            route: to.route.as_deref().map(Cow::Borrowed),
            ..Event::with_id(id, kind, at)
        }
    }
}

fn kind_of(event: &Value) -> Option<EventKind> {
    serde_json::from_value(event["event"].clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::RecipientEvent;
    use crate::message::{Envelope, MailKind, Recipient};
    use crate::record::event::Mail;
    use crate::record::event::fixtures::{AT, envelope, lane};

    #[test]
    fn what_is_reported_later_names_the_mail_as_its_own_events_do() {
        let recipients = ["a@x.dk", "B@x.dk"].map(|to| Recipient::new(Mailbox::parse(to).unwrap()));
        let (lane, envelope) = (lane(MailKind::Mail), Envelope { recipients: recipients.into(), ..envelope() });
        let mail = Mail::new(QueueId::from_u64(7), &lane, &envelope, "1@test.dk");
        let told = |kind, index| serde_json::to_value(mail.event(&RecipientEvent::new(kind, index, AT))).unwrap();
        let life = [
            told(EventKind::Accepted, 0),
            told(EventKind::Accepted, 1),
            told(EventKind::Relayed, 1),
            json!({"event_id": "1M84TD3KV-2-9", "event": "audit", "queue_id": "0000000000007", "recipient": "c@x.dk"}),
        ];
        let known = Known::of(&life).unwrap();
        let second = known.recipient(1).unwrap();
        assert_eq!(known.recipient_named("b@x.dk"), Some(second));
        assert_eq!((known.only_recipient(), known.recipient(2)), (None, None));
        assert_eq!(known.unended().map(|to| to.index).collect::<Vec<_>>(), [0]);
        assert!(second.was(EventKind::Relayed) && !known.recipient(0).unwrap().was(EventKind::Relayed));
        let later = serde_json::to_value(known.event(EventKind::Bounced, second, AT)).unwrap();
        assert_eq!(later, told(EventKind::Bounced, 1));
        assert_eq!(Known::of(&life[3..]), None);
        // Of two recipients, one of whom was erased, the other one is not the only one.
        let erased = json!({
            "event_id": "0000000000007-1M84TD3KV-0a", "event": "accepted", "queue_id": "0000000000007", "customer": "test-as",
            "from_domain": "test.dk", "erased": true
        });
        let left = Known::of(&[erased, life[1].clone()]).unwrap();
        assert_eq!((left.recipient(0), left.only_recipient()), (None, None));
        assert!(Known::of(&life[1..2]).unwrap().only_recipient().is_some());
    }
}

//! The events `accepted` of a message, one for each recipient, and the memory that they need until the message is on disk. Beside them are
//! those of recipients that were left out.

use std::sync::Arc;

use super::Context;
use crate::events::{EventKind, Mail, PendingEvents, RecipientEvent};
use crate::message::{Envelope, Header, References};
use crate::smtp::Mailbox;
use crate::time::Timestamp;

/// The octets of an event `accepted` besides the texts that webCRM chooses.
const EVENT: usize = 450;

/// Returns the octets of the events of a message with this envelope and header, and of recipients that the customer's
/// suppression list reports or leaves out, which have an event of their own. Characters that JSON escapes count once.
pub(super) fn octets_of_events<'a>(
    envelope: &'a Envelope,
    suppressed: impl Iterator<Item = &'a Mailbox>,
    header: &Header,
) -> usize {
    let References { reference, campaign, tags, .. } = &header.references;
    let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
    let tags: usize = tags.iter().map(|tag| tag.len() + 3).sum();
    let message_id = header.message_id.as_deref().map_or(0, str::len);
    let from_domain = header.from.domain().map_or(0, |domain| domain.as_str().len());
    let envid = envelope.envid.as_deref().map_or(0, str::len);
    let sender = envelope.reverse_path.mailbox().map_or(0, octets_of);
    let same = EVENT + text(reference) + text(campaign) + tags + message_id + from_domain + envid + sender;
    envelope.recipients.iter().map(|to| &to.address).chain(suppressed).map(|to| same + octets_of(to)).sum()
}

fn octets_of(mailbox: &Mailbox) -> usize {
    // An address literal is shorter than this.
    mailbox.local().len() + mailbox.domain().map_or(60, |domain| domain.as_str().len())
}

/// Makes the events of a message. They are published once it is durable.
pub(super) fn accepted_events(
    mail: &Mail<'_>,
    recipients: usize,
    detail: Option<String>,
    context: &Context,
) -> PendingEvents {
    let now = Timestamp::now();
    let detail: Option<Arc<str>> = detail.map(Arc::from);
    let told =
        |index| RecipientEvent { detail: detail.clone(), ..RecipientEvent::new(EventKind::Accepted, index, now) };
    let told: Vec<RecipientEvent> = (0..recipients).map(told).collect();
    context.events.write(mail, &told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Submission;
    use crate::message::{BodyKind, CustomerId, Lane, MailKind, QueueId, Recipient, Urgency, scan};
    use crate::smtp::{Domain, ReversePath};

    /// What is counted of a message with this header, and what its events take.
    fn counted_and_taken(header: &str, from: &str, to: &[String], envid: Option<&str>) -> (usize, usize) {
        let header = scan::scan(header.as_bytes(), scan::Bounds { fields: 100, received: 10 }).unwrap();
        let domain = Domain::parse(from.rsplit('@').next().unwrap()).unwrap();
        let envelope = Envelope {
            reverse_path: ReversePath::Mailbox(Mailbox::parse(from).unwrap()),
            recipients: to.iter().map(|to| Recipient::new(Mailbox::parse(to).unwrap())).collect(),
            body: BodyKind::SevenBit,
            smtputf8: false,
            ret: None,
            envid: envid.map(Into::into),
            references: header.references.clone(),
        };
        let lane = Lane { customer: CustomerId::new("test-as"), domain, urgency: Urgency::Bulk, kind: MailKind::Mail };
        let message_id = header.message_id.clone().unwrap_or_default();
        let id = QueueId::from_u64(u64::MAX);
        let by = Submission {
            submitter: Some("webcrm".into()),
            peer: Some("2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap()),
            ..Submission::default()
        };
        let mail = Mail::new(id, &lane, &envelope, &message_id).handed_in(by);
        let taken = (0..to.len()).map(|index| {
            let mut line = Vec::new();
            mail.event(&RecipientEvent::new(EventKind::Accepted, index, Timestamp::now())).write_line(&mut line);
            line.len()
        });
        (octets_of_events(&envelope, std::iter::empty(), &header), taken.sum())
    }

    #[test]
    fn what_is_counted_covers_what_is_written_and_not_much_more() {
        let domain = format!("{}.{}.{}.dk", "d".repeat(60), "e".repeat(60), "f".repeat(60));
        let (long_from, long_to) = (format!("{}@{domain}", "s".repeat(64)), format!("{}@{domain}", "r".repeat(64)));
        let named = format!(
            "X-Postbud-Reference: {}\r\nX-Postbud-Campaign: {}\r\nX-Postbud-Tags: {}\r\n",
            "r".repeat(255),
            "c".repeat(255),
            vec!["t".repeat(64); 20].join(",")
        );
        for (fields, from, to, count, envid) in [
            ("", "a@b.dk", "c@d.dk", 1, None),
            ("", "a@b.dk", "c@d.dk", 1000, None),
            ("Message-ID: <0123456789abcdef@b.dk>\r\n", "a@b.dk", "c@d.dk", 10, Some("order-7")),
            ("", &long_from, &long_to, 100, None),
            (&named, &long_from, &long_to, 3, Some("x")),
        ] {
            let header = format!("From: <{from}>\r\n{fields}");
            let (counted, taken) = counted_and_taken(&header, from, &vec![to.to_owned(); count], envid);
            assert!(counted >= taken && counted <= taken + 250 * count, "{counted} for {taken}: {header}");
        }
    }
}

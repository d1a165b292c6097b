//! Decides which event a returned mail causes, or why none. Has no side effects.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use super::read::{Action, Complaint, DeliveryStatus, Reading, Said, fate_of};
use crate::delivery::class_of_quoted;
use crate::events::{Event, EventKind};
use crate::message::FailureClass;
use crate::record::event::{Known, KnownRecipient};
use crate::smtp::Reply;
use crate::time::Timestamp;

/// How long a report waits for the event that its mail was relayed. That event is written shortly after.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The `reason` of events from returned mail.
const RETURNED: &str = "returned_mail";
/// The `reason` of events from complaints.
const FEEDBACK: &str = "feedback_report";

/// The result of a message for one recipient of a mail.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Consequence<'k> {
    Tell(Box<Tell<'k>>),
    /// No event, for this counted reason.
    Nothing(&'static str),
    /// The log does not have the event that the mail was relayed yet. Try again later.
    Wait,
}

/// An event, and its other effects.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tell<'k> {
    pub event: Event<'k>,
    pub to: &'k KnownRecipient,
    /// The effect on the suppression list and the customer's rates.
    pub effect: Effect,
}

/// The effect of a report on the suppression list and a customer's rates, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The address accepts no mail.
    HardBounce(String),
    Complaint(String),
    /// The recipient unsubscribed.
    Unsubscription(String),
}

/// When the mail came back, and the data for judging it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub at: Timestamp,
    pub now: Timestamp,
    /// Our egress address.
    pub egress: IpAddr,
}

/// Decides about mail to the return path of a recipient. `earlier` are events about the recipient that the log does not have yet.
pub(super) fn of_returned<'k>(
    known: &'k Known,
    to: &'k KnownRecipient,
    reading: &'k Reading,
    moment: Moment,
    earlier: &[EventKind],
) -> Consequence<'k> {
    let fates = match reading {
        Reading::Statuses(fates) => fates,
        Reading::Complaint(complaint) => return of_complaint(known, to, complaint, moment, earlier),
        Reading::AutoReply => return Consequence::Nothing("auto_reply"),
        Reading::Other => return Consequence::Nothing("other"),
    };
    let Some(fate) = fate_of(fates, &to.address.to_string()) else { return Consequence::Nothing("other") };
    let was = |kind: EventKind| to.was(kind) || earlier.contains(&kind);
    let is_over = [EventKind::Bounced, EventKind::Expired, EventKind::Removed, EventKind::Lost].into_iter().any(was);
    let was_delayed = to.reported.contains(&EventKind::Delayed) || earlier.contains(&EventKind::Delayed);
    let kind = match fate.action {
        Action::Failed if is_over => return Consequence::Nothing("duplicate"),
        Action::Failed => EventKind::Bounced,
        Action::Delayed if is_over || was(EventKind::Delivered) || was_delayed => {
            return Consequence::Nothing("duplicate");
        }
        Action::Delayed => EventKind::Delayed,
        // A late report never turns a bounce into a delivery.
        Action::Delivered if is_over || was(EventKind::Delivered) => return Consequence::Nothing("duplicate"),
        Action::Delivered => EventKind::Delivered,
        // The fate behind that server is unknown.
        Action::Relayed => return Consequence::Nothing("relayed"),
        Action::Expanded => return Consequence::Nothing("expanded"),
    };
    if !to.was(EventKind::Relayed) && moment.now < moment.at + PATIENCE {
        return Consequence::Wait;
    }
    let class = (kind != EventKind::Delivered).then(|| class_of(fate, moment.egress));
    let event = Event {
        reason: Some(RETURNED),
        server: fate.server.as_deref().map(Cow::Borrowed),
        code: fate.said.code,
        status: fate.said.status,
        reply: (!fate.said.text.is_empty()).then_some(Cow::Borrowed(fate.said.text.as_str())),
        class,
        detail: Some(detail(fate)),
        ..known.event(kind, to, moment.at)
    };
    let effect = match (kind, class) {
        (EventKind::Bounced, Some(FailureClass::Hard)) => Effect::HardBounce(fate.said.line()),
        _ => Effect::None,
    };
    Consequence::Tell(Box::new(Tell { event, to, effect }))
}

/// Decides about a complaint about mail to this recipient. `earlier` are events about the recipient that the log does not have yet.
pub(super) fn of_complaint<'k>(
    known: &'k Known,
    to: &'k KnownRecipient,
    complaint: &'k Complaint,
    moment: Moment,
    earlier: &[EventKind],
) -> Consequence<'k> {
    let by = complaint.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let said = format!("feedback report of type {}{by}", complaint.kind);
    let (kind, effect) = match complaint.kind.as_str() {
        "not-spam" => return Consequence::Nothing("not_spam"),
        // RFC 6591: it is about authentication, and not from the recipient.
        "auth-failure" => return Consequence::Nothing("auth_failure"),
        "opt-out" | "opt-out-list" => (EventKind::Unsubscribed, Effect::Unsubscription(said.clone())),
        _ => (EventKind::Complained, Effect::Complaint(said.clone())),
    };
    if to.was(kind) || earlier.contains(&kind) {
        return Consequence::Nothing("duplicate");
    }
    let event = Event { reason: Some(FEEDBACK), detail: Some(Cow::Owned(said)), ..known.event(kind, to, moment.at) };
    Consequence::Tell(Box::new(Tell { event, to, effect }))
}

/// Returns the recipient that a complaint is about: the one that it names, or the only one.
pub(super) fn complained_of<'k>(known: &'k Known, complaint: &Complaint) -> Option<&'k KnownRecipient> {
    let named = complaint.recipients.iter().find_map(|name| known.recipient_named(name));
    named.or_else(|| known.only_recipient())
}

/// Returns the relay's own text. The server's text is in `reply`.
fn detail(fate: &DeliveryStatus) -> Cow<'static, str> {
    match (fate.action, &fate.until) {
        (Action::Delayed, Some(until)) => format!("returned mail: the next server still tries, until {until}").into(),
        (Action::Delayed, None) => "returned mail: the next server still tries".into(),
        (Action::Delivered, _) => "returned mail: delivered".into(),
        _ => "returned mail: not delivered".into(),
    }
}

/// Returns the failure class, by the same function as for replies of the next server.
fn class_of(fate: &DeliveryStatus, egress: IpAddr) -> FailureClass {
    let Said { code, status, text } = &fate.said;
    // Without a reply, the status code shows whether a later attempt could help. Mail that expired could not.
    let by_status = || match status {
        Some(status) if status.0 == 4 => 450,
        None if fate.action == Action::Delayed => 450,
        _ => 550,
    };
    let reply = Reply {
        code: code.filter(|code| (400..600).contains(code)).unwrap_or_else(by_status),
        enhanced: *status,
        lines: vec![text.clone()],
    };
    class_of_quoted(&reply, egress)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::smtp::EnhancedCode;

    const AT: Timestamp = Timestamp::from_millis(1_795_458_240_123);

    fn known(kinds: &[(&str, Option<&str>)]) -> Known {
        let event = |(kind, reason): &(&str, Option<&str>)| {
            let mut event = json!({
                "event_id": "0000000000007-1M84TD3KV-0a", "at": "2026-11-23T18:24:00.123Z", "event": kind,
                "queue_id": "0000000000007", "message_id": "1@test.dk", "customer": "test-as", "from_domain": "test.dk",
                "sender": "news@test.dk", "recipient": "a@x.dk", "route": "own-server.test-as"
            });
            if let Some(reason) = reason {
                event["reason"] = json!(reason);
            }
            event
        };
        Known::of(&kinds.iter().map(event).collect::<Vec<_>>()).unwrap()
    }

    fn fate(action: Action, words: &str, status: Option<EnhancedCode>) -> Reading {
        let said = Said::of(words).or_status(status);
        Reading::Statuses(vec![DeliveryStatus {
            action,
            recipients: vec!["a@x.dk".into()],
            said,
            server: None,
            until: None,
        }])
    }

    fn moment(later: u64) -> Moment {
        Moment { at: AT, now: AT + Duration::from_secs(later), egress: "40.74.40.57".parse().unwrap() }
    }

    fn told(kinds: &[(&str, Option<&str>)], reading: &Reading) -> Result<serde_json::Value, &'static str> {
        let known = known(kinds);
        match of_returned(&known, known.only_recipient().unwrap(), reading, moment(0), &[]) {
            Consequence::Tell(tell) => Ok(serde_json::to_value(&tell.event).unwrap()),
            Consequence::Nothing(what) => Err(what),
            Consequence::Wait => Err("wait"),
        }
    }

    const RELAYED: [(&str, Option<&str>); 2] = [("accepted", None), ("relayed", None)];

    #[test]
    fn a_failure_is_a_late_bounce_with_its_class() {
        let event = told(&RELAYED, &fate(Action::Failed, "550 5.1.1 no such user", None)).unwrap();
        assert_eq!(
            event,
            json!({
                "event_id": "0000000000007-1M84TD3KV-0b", "at": "2026-11-23T18:24:00.123Z", "event": "bounced",
                "queue_id": "0000000000007", "message_id": "1@test.dk", "customer": "test-as", "from_domain": "test.dk",
                "sender": "news@test.dk", "recipient": "a@x.dk", "route": "own-server.test-as", "code": 550,
                "status": "5.1.1", "reply": "no such user", "class": "hard", "reason": "returned_mail",
                "detail": "returned mail: not delivered"
            })
        );
    }

    #[test]
    fn the_class_is_that_of_the_reply_or_of_the_status() {
        for (words, status, class) in [
            ("550 5.1.1 no such user", None, "hard"),
            ("550 Unknown user", None, "hard"),
            ("552 5.2.2 mailbox full", None, "mailbox_full"),
            ("554 5.7.1 Service unavailable; blocked using zen.spamhaus.org", None, "blocked"),
            ("550 5.7.26 unauthenticated email", None, "auth"),
            ("", Some(EnhancedCode(5, 1, 1)), "hard"),
            ("", Some(EnhancedCode(5, 2, 2)), "mailbox_full"),
            ("", Some(EnhancedCode(4, 4, 7)), "network"),
            ("connect to mx.x.dk[192.0.2.1]:25: Connection timed out", Some(EnhancedCode(4, 4, 1)), "network"),
            ("Host or domain name not found. Name service error", Some(EnhancedCode(5, 4, 4)), "hard"),
            ("", None, "unknown"),
        ] {
            let event = told(&RELAYED, &fate(Action::Failed, words, status)).unwrap();
            assert_eq!(event["class"], class, "{words} {status:?}");
        }
    }

    #[test]
    fn what_was_told_before_is_not_told_again_and_no_bounce_becomes_a_delivery() {
        let bounced = [RELAYED[0], RELAYED[1], ("bounced", Some(RETURNED))];
        let delivered = [RELAYED[0], RELAYED[1], ("delivered", Some(RETURNED))];
        let late = [("delayed", None), RELAYED[1]];
        let reported_late = [RELAYED[1], ("delayed", Some(RETURNED))];
        let kind = |kinds: &[_], action| told(kinds, &fate(action, "", None)).map(|event| event["event"].clone());
        for (kinds, action, expected) in [
            (&RELAYED[..], Action::Failed, Ok("bounced")),
            (&RELAYED[..], Action::Delayed, Ok("delayed")),
            (&RELAYED[..], Action::Delivered, Ok("delivered")),
            (&RELAYED[..], Action::Relayed, Err("relayed")),
            (&RELAYED[..], Action::Expanded, Err("expanded")),
            (&bounced[..], Action::Failed, Err("duplicate")),
            (&bounced[..], Action::Delivered, Err("duplicate")),
            (&bounced[..], Action::Delayed, Err("duplicate")),
            (&delivered[..], Action::Delivered, Err("duplicate")),
            (&delivered[..], Action::Failed, Ok("bounced")),
            (&late[..], Action::Delayed, Ok("delayed")),
            (&reported_late[..], Action::Delayed, Err("duplicate")),
        ] {
            assert_eq!(kind(kinds, action), expected.map(Into::into), "{kinds:?} {action:?}");
        }
        // The same, where the event before is in the same batch, so that the log does not have it yet.
        let known = known(&RELAYED);
        for (earlier, action, is_told) in [
            (EventKind::Bounced, Action::Delivered, false),
            (EventKind::Bounced, Action::Delayed, false),
            (EventKind::Bounced, Action::Failed, false),
            (EventKind::Delivered, Action::Delivered, false),
            (EventKind::Delivered, Action::Delayed, false),
            (EventKind::Delivered, Action::Failed, true),
            (EventKind::Delayed, Action::Delayed, false),
            (EventKind::Delayed, Action::Delivered, true),
            (EventKind::Complained, Action::Failed, true),
        ] {
            let reading = fate(action, "", None);
            let found = of_returned(&known, known.only_recipient().unwrap(), &reading, moment(0), &[earlier]);
            assert_eq!(matches!(found, Consequence::Tell(_)), is_told, "{earlier:?} {action:?}");
        }
        assert_eq!(told(&RELAYED, &Reading::AutoReply), Err("auto_reply"));
        assert_eq!(told(&RELAYED, &Reading::Other), Err("other"));
    }

    #[test]
    fn a_report_that_is_faster_than_the_record_waits_for_it() {
        let (known, reading) = (known(&RELAYED[..1]), fate(Action::Failed, "", None));
        let to = known.only_recipient().unwrap();
        assert_eq!(of_returned(&known, to, &reading, moment(0), &[]), Consequence::Wait);
        assert!(matches!(of_returned(&known, to, &reading, moment(120), &[]), Consequence::Tell(_)));
    }

    #[test]
    fn a_complaint_is_told_by_its_type() {
        let known = known(&RELAYED);
        let to = known.only_recipient().unwrap();
        for (kind, expected) in [
            ("abuse", Some(EventKind::Complained)),
            ("fraud", Some(EventKind::Complained)),
            ("whatever", Some(EventKind::Complained)),
            ("opt-out", Some(EventKind::Unsubscribed)),
            ("not-spam", None),
            ("auth-failure", None),
        ] {
            let complaint = Complaint { kind: kind.into(), recipients: vec![], about: Default::default(), by: None };
            assert_eq!(complained_of(&known, &complaint), Some(to));
            let found = match of_complaint(&known, to, &complaint, moment(0), &[]) {
                Consequence::Tell(tell) => Some(tell.event.event),
                _ => None,
            };
            assert_eq!(found, expected, "{kind}");
            let again = of_complaint(&known, to, &complaint, moment(0), found.as_slice());
            assert!(matches!(again, Consequence::Nothing(_)), "{kind}");
        }
    }
}

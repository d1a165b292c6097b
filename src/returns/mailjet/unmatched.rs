//! Reports Mailjet's reports that match no mail of ours. Other users of the same Mailjet account cause some, so only a few per minute are
//! reported singly. For the others, their number is reported. A report counts as done only after it is written.

use super::report::Report;
use crate::events::Event;
use crate::smtp::Mailbox;
use crate::time::Timestamp;
use crate::visible::visible;

/// The number of reports per minute that are reported singly.
const ONE_BY_ONE: usize = 10;

/// Limits the events about reports without a mail.
#[derive(Default)]
pub(super) struct Unmatched {
    minute: u64,
    /// How many were reported singly in this minute.
    told: usize,
    /// How many others there were since their number was last reported.
    left_out: u64,
    /// The same counts after the pending events.
    next: Option<(usize, u64)>,
}

impl Unmatched {
    /// Returns the events about reports. They count as done only after [`told`](Self::told).
    pub fn events(&mut self, unknown: &[Report], now: Timestamp) -> Vec<Event<'static>> {
        let minute = now.as_secs() / 60;
        let is_new_minute = minute != self.minute;
        let of_before = self.left_out;
        if is_new_minute {
            (self.minute, self.told) = (minute, 0);
        }
        let room = ONE_BY_ONE.saturating_sub(self.told);
        let mut events: Vec<Event<'static>> = unknown.iter().take(room).map(|report| unmatched(report, now)).collect();
        let mut left_out = self.left_out + unknown.len().saturating_sub(room) as u64;
        // A number is reported after its minute is over.
        if is_new_minute && of_before > 0 {
            let detail = format!("{of_before} more reports of Mailjet's fit no mail that the record knows");
            events.push(Event { left_out: Some(of_before), reason: Some("mailjet"), ..Event::unmatched(detail, now) });
            left_out -= of_before;
        }
        self.next = Some((self.told + unknown.len().min(room), left_out));
        events
    }

    /// Records that the events that [`events`](Self::events) last returned are written.
    pub fn told(&mut self) {
        if let Some(next) = self.next.take() {
            (self.told, self.left_out) = next;
        }
    }
}

fn unmatched(report: &Report, now: Timestamp) -> Event<'static> {
    let kind = report.kind.as_str();
    // The recipient of a mail of ours may have been erased, so its address does not come back.
    if let Some(id) = report.mail {
        let detail = format!(
            "Mailjet reports \"{kind}\" for a recipient of {id} that the record does not know: it was erased, or the mail is older than \
             [events] keep"
        );
        return Event { reason: Some("mailjet"), ..Event::unmatched(detail, now) };
    }
    let name = match (report.number, report.guid.as_str()) {
        (Some(number), _) => number.to_string(),
        (None, guid) => visible(guid).into_owned(),
    };
    let detail = format!(
        "Mailjet reports \"{kind}\" for its message {name}, which is no mail that the record knows: it was sent by another client of this \
         Mailjet account, or longer ago than [events] keep"
    );
    // In a field of its own, so that `record erase` and `trace` find it.
    let recipient = Mailbox::parse(&visible(&report.email)).ok().map(|to| to.to_string().into());
    Event { reason: Some("mailjet"), recipient, ..Event::unmatched(detail, now) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::Kind;
    use super::*;
    use crate::message::QueueId;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    #[test]
    fn of_a_flood_that_fits_no_mail_ten_a_minute_are_told_and_the_rest_as_a_number() {
        let flood = vec![Report { email: "a\u{202e}@x.dk".into(), ..Report::new(Kind::Sent) }; 100];
        let mut unmatched = Unmatched::default();
        let mut tell = |reports: &[Report], after: u64| {
            let events = unmatched.events(reports, NOW + Duration::from_secs(after));
            unmatched.told();
            (events.len(), events.iter().filter_map(|event| event.left_out).sum::<u64>())
        };
        assert_eq!(tell(&flood, 0), (10, 0));
        assert_eq!(tell(&flood, 1), (0, 0));
        assert_eq!(tell(&flood[..5], 61), (6, 190));
        assert_eq!(tell(&flood[..5], 62), (5, 0));
        assert_eq!(tell(&flood[..5], 63), (0, 0));
        assert_eq!(tell(&[], 121), (1, 5));
        assert_eq!(tell(&[], 181), (0, 0));
    }

    #[test]
    fn the_address_is_where_it_is_erased_and_that_of_a_mail_of_ours_is_not_told() {
        let told = |mail, email: &str| {
            let report = Report { mail, email: email.into(), number: Some(12_345), ..Report::new(Kind::Open) };
            unmatched(&report, NOW)
        };
        let of_others = told(None, "Ole@x.dk");
        assert_eq!(of_others.recipient.as_deref(), Some("Ole@x.dk"));
        let of_ours = told(Some(QueueId::from_u64(7)), "Ole@x.dk");
        assert_eq!(of_ours.recipient, None);
        assert!(of_ours.detail.as_deref().unwrap().contains("0000000000007"), "{of_ours:?}");
        for event in [of_others, of_ours, told(None, "\u{202e}"), told(None, "")] {
            assert!(!event.detail.as_deref().unwrap().contains("Ole@x.dk"), "{event:?}");
            assert!(!event.recipient.is_some_and(|to| to.contains('\u{202e}')));
        }
    }

    #[test]
    fn what_was_not_written_is_not_taken_for_told() {
        let flood = vec![Report::new(Kind::Sent); 20];
        let mut unmatched = Unmatched::default();
        for _ in 0..3 {
            assert_eq!(unmatched.events(&flood, NOW).len(), 10);
        }
        unmatched.told();
        assert_eq!(unmatched.events(&flood, NOW).len(), 0);
    }
}

//! Reports mail that matches no mail of ours. Anybody can send such reports, so only a few per minute are reported singly. For the others,
//! their number is reported.

use crate::events::{Event, EventKind, Events};
use crate::time::Timestamp;
use crate::visible::visible;

/// The number of reports per minute that are reported singly.
const TOLD: u64 = 20;
/// The most octets of a text.
const LONGEST: usize = 500;

/// The count of a minute.
#[derive(Debug, Default)]
pub(super) struct Unmatched {
    minute: u64,
    count: u64,
    left_out: u64,
}

impl Unmatched {
    /// Returns the event for a report, if it is reported singly.
    pub fn event(&mut self, what: String, now: Timestamp) -> Option<Event<'static>> {
        let minute = now.as_millis() / 60_000;
        if self.minute != minute {
            (self.minute, self.count) = (minute, 0);
        }
        self.count += 1;
        if self.count > TOLD {
            self.left_out += 1;
            return None;
        }
        let shown = visible(&what);
        let shown = shown[..shown.floor_char_boundary(LONGEST)].to_owned();
        Some(Event::unmatched(shown, now))
    }

    /// Reports the number of others when their minute is over.
    pub fn tell_left_out(&mut self, events: &Events, now: Timestamp) {
        if self.left_out == 0 || self.minute == now.as_millis() / 60_000 {
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        let detail = format!("{left_out} more reports about mail that the record does not know");
        let event = Event { left_out: Some(left_out), ..Event::unmatched(detail, now) };
        debug_assert_eq!(event.event, EventKind::Unmatched);
        events.emit(event);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_in_one() {
        let at = Timestamp::from_millis(1_795_458_240_000);
        let (mut unmatched, events) = (Unmatched::default(), Events::default());
        let mut heard = events.subscribe();
        let told = (0..100).filter_map(|n| unmatched.event(format!("{n}\u{1b}[2J{}", "æ".repeat(900)), at)).count();
        assert_eq!(told, TOLD as usize);
        unmatched.tell_left_out(&events, at);
        assert!(heard.try_recv().is_err(), "the minute goes on");
        let later = at + Duration::from_secs(60);
        unmatched.tell_left_out(&events, later);
        assert_eq!(heard.try_recv().unwrap().left_out, Some(80));
        let event = unmatched.event("x\u{1b}".into(), later).unwrap();
        assert_eq!(event.detail.as_deref(), Some("x\\u{1b}"));
    }
}

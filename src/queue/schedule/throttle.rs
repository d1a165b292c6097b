//! The throttle of one route: its caps over time, and how it recovers from trouble. Pure: time comes in as `now`.
//!
//! ```text
//!            BackOff                    BackOff (pause doubles)
//!   Ready ───────────► Throttled ◄────────────────────────────┐
//!     ▲  success          │ pause over: one connection ───────┘
//!     └───────────────────┘
//!     any ── Suspend ──► Suspended ── credentials changed, or by command ──► Ready (slow start)
//! ```
//!
//! Trouble within a message's transaction may be that message's own. It leaves the route in doubt, and the route goes on as before.
//! If another message meets trouble and none was taken between the two, the route backs off. That pause stays short: the server
//! takes connections, and mail that it would take waits behind mail that it does not take.
//!
//! Slow start: after trouble the route gets one connection, then twice as many with every success. If trouble comes again soon, the
//! server bears fewer connections than the cap says. For a while it gets half as many as it had when it complained.
//!
//! If the clock goes back, the times that are kept here go back with it, so that nothing waits for the wrong time to come again. The
//! day's count goes on.

use std::collections::VecDeque;
use std::time::Duration;

use super::throttle_state::ThrottleState;
use crate::message::QueueId;
use crate::route::{Caps, Cause, RouteState};
use crate::time::Timestamp;

const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// The longest pause after trouble within transactions.
const LONGEST_IN_DOUBT: Duration = Duration::from_secs(60);
/// How long a server gets no more connections than it was seen to bear.
const CEILING: Duration = Duration::from_secs(10 * 60);
/// A minute as the server counts it, and the time that a message may take on its way there.
const MINUTE: Duration = Duration::from_secs(62);
/// Intervals of trouble that are kept. Mail that waited before the oldest of them counts as having waited for the server.
const REMEMBERED_TROUBLES: usize = 32;
const DAY_MILLIS: u64 = 86_400_000;

/// A route's caps, and its recovery from trouble.
#[derive(Debug)]
pub struct Throttle {
    caps: Caps,
    state: RouteState,
    /// Connections allowed during slow start. `None` once as many succeeded as the cap allows.
    slow_start: Option<u32>,
    /// The number of connections that slow start stops at, and until when it does.
    ceiling: Option<(u32, Timestamp)>,
    pause: Duration,
    /// The first message that met trouble since a message was taken.
    doubted: Option<QueueId>,
    sent_last_minute: VecDeque<Timestamp>,
    day: u64,
    sent_today: u32,
    troubles: VecDeque<(Timestamp, Option<Timestamp>)>,
    /// The trouble that began when the server last took part in a transaction, over all pauses and attempts since.
    lasting: Option<LastingTrouble>,
}

/// Trouble that has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastingTrouble {
    /// When the route last went from carrying mail to trouble.
    pub since: Timestamp,
    /// What was heard last.
    pub reason: String,
    /// Whether [`Throttle::overdue_trouble`] has given it.
    told: bool,
}

impl Throttle {
    /// The throttle of a ready route, with what a former process saved of it. Trouble that went on then counts until `now`.
    pub fn new(caps: Caps, saved: &ThrottleState, now: Timestamp) -> Self {
        let time = Timestamp::from_millis;
        // The strict reading: all of the last minute's messages were sent at its end, and none of them later than now.
        let last_sent = time(saved.last_sent).believed(now, now);
        let last_minute = caps.per_minute.map_or(0, |cap| cap.min(saved.in_last_minute));
        let troubles = saved.troubles.iter().take(REMEMBERED_TROUBLES);
        let mut throttle = Throttle {
            caps,
            state: RouteState::Ready,
            slow_start: None,
            ceiling: None,
            pause: FIRST_PAUSE,
            doubted: None,
            sent_last_minute: (0..last_minute).map(|_| last_sent).collect(),
            day: saved.day,
            sent_today: saved.recipients,
            troubles: troubles.map(|(from, to)| (time(*from), Some(to.map_or(now, time)))).collect(),
            lasting: None,
        };
        // The clock may have been set back since.
        throttle.turn_to_day(now);
        throttle
    }

    /// The part that must outlive a restart.
    pub fn persisted(&self) -> ThrottleState {
        let millis = Timestamp::as_millis;
        ThrottleState {
            day: self.day,
            recipients: self.sent_today,
            last_sent: self.sent_last_minute.back().copied().map_or(0, millis),
            in_last_minute: u32::try_from(self.sent_last_minute.len()).unwrap_or(u32::MAX),
            troubles: self.troubles.iter().map(|(from, to)| (millis(*from), to.map(millis))).collect(),
        }
    }

    /// The state at `now`. A route whose pause is over is ready.
    pub fn state(&mut self, now: Timestamp) -> &RouteState {
        if matches!(self.state, RouteState::Throttled { until, .. } if until <= now) {
            self.state = RouteState::Ready;
            self.end_trouble(now);
        }
        &self.state
    }

    /// Takes changed caps.
    pub fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// How many attempts may run at once at `now`.
    pub fn concurrency(&mut self, now: Timestamp) -> u32 {
        match self.state(now) {
            RouteState::Ready => {
                self.ceiling = self.ceiling.filter(|(_, until)| *until > now);
                self.slow_start.unwrap_or(self.caps.concurrency).min(self.most())
            }
            _ => 0,
        }
    }

    /// Takes one message with up to `wanted` recipients out of the caps. Returns how many recipients it may have: 0 if a cap is used up
    /// or the route carries nothing now.
    pub fn take(&mut self, wanted: u32, now: Timestamp) -> u32 {
        // A worker may still have messages that it claimed before the trouble began: each would be another refused login.
        if *self.state(now) != RouteState::Ready {
            return 0;
        }
        let allowed = self.allowance(now).min(wanted).min(self.caps.recipients_per_transaction.max(1));
        if allowed > 0 {
            if self.caps.per_minute.is_some() {
                self.sent_last_minute.push_back(now);
            }
            self.sent_today = self.sent_today.saturating_add(allowed);
        }
        allowed
    }

    /// Gives back what [`take`](Self::take) took for recipients of whom the server never heard.
    pub fn give_back(&mut self, recipients: u32) {
        self.sent_today = self.sent_today.saturating_sub(recipients);
    }

    /// Recipients that the caps allow at `now`.
    pub fn allowance(&mut self, now: Timestamp) -> u32 {
        self.turn_to_day(now);
        while self.sent_last_minute.front().is_some_and(|sent| *sent + MINUTE <= now) {
            self.sent_last_minute.pop_front();
        }
        let minute_is_full = self.caps.per_minute.is_some_and(|cap| self.sent_last_minute.len() >= cap as usize);
        if minute_is_full { 0 } else { self.caps.per_day.map_or(u32::MAX, |cap| cap.saturating_sub(self.sent_today)) }
    }

    /// When something may be sent next: once the pause is over and the caps allow it. `None` if only a person can help.
    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let pause_over = match self.state(now) {
            RouteState::Throttled { until, .. } => *until,
            RouteState::Suspended { .. } => return None,
            RouteState::Ready => now,
        };
        Some(pause_over.max(self.caps_allow(now)))
    }

    /// When the caps allow something to be sent.
    fn caps_allow(&mut self, now: Timestamp) -> Timestamp {
        if self.allowance(now) > 0 {
            return now;
        }
        let day_is_full = self.caps.per_day.is_some_and(|cap| self.sent_today >= cap);
        match self.sent_last_minute.front() {
            Some(sent) if !day_is_full => *sent + MINUTE,
            _ => Timestamp::from_millis((self.day + 1) * DAY_MILLIS),
        }
    }

    /// The UTC day of the last call, counted from the epoch, and the recipients sent on it.
    pub fn sent_today(&self) -> (u64, u32) {
        (self.day, self.sent_today)
    }

    /// The server took part in a transaction, whether it took the message or not.
    pub fn reached(&mut self) {
        self.lasting = None;
    }

    /// The trouble that keeps the route from carrying mail, until the server takes part in a transaction again.
    pub fn lasting_trouble(&self) -> Option<&LastingTrouble> {
        self.lasting.as_ref()
    }

    /// The same trouble, once it has lasted for this long. It is given once.
    pub fn overdue_trouble(&mut self, after: Duration, now: Timestamp) -> Option<LastingTrouble> {
        let overdue = |it: &&mut LastingTrouble| !it.told && now.since(it.since) >= after;
        let trouble = self.lasting.as_mut().filter(overdue)?;
        trouble.told = true;
        Some(trouble.clone())
    }

    /// The server took a message.
    pub fn succeeded(&mut self) {
        self.reached();
        self.pause = FIRST_PAUSE;
        self.doubted = None;
        let most = self.most();
        self.slow_start = self.slow_start.map(|n| n.saturating_mul(2).min(most)).filter(|n| *n < self.caps.concurrency);
    }

    /// The most connections that the server may get.
    fn most(&self) -> u32 {
        self.ceiling.map_or(self.caps.concurrency, |(most, _)| most.min(self.caps.concurrency))
    }

    /// Backs off, because the server asks for less. The pause doubles with every trouble until a success. Trouble of attempts that were
    /// under way when the pause began does not lengthen it. `jitter` is in 0..1. Returns true if the route carried mail before.
    pub fn back_off(&mut self, reason: &str, at_least: Option<Duration>, now: Timestamp, jitter: f64) -> bool {
        self.back_off_for(LONGEST_PAUSE, reason, at_least, now, jitter)
    }

    /// A message met trouble within its transaction. The trouble counts as the message's own until another message meets some and none
    /// was taken between. Returns true if the route backs off for it, and carried mail before.
    pub fn doubt(
        &mut self,
        message: QueueId,
        reason: &str,
        at_least: Option<Duration>,
        now: Timestamp,
        jitter: f64,
    ) -> bool {
        match self.doubted {
            Some(first) if first != message => self.back_off_for(LONGEST_IN_DOUBT, reason, at_least, now, jitter),
            _ => {
                self.doubted = Some(message);
                false
            }
        }
    }

    fn back_off_for(
        &mut self,
        longest: Duration,
        reason: &str,
        at_least: Option<Duration>,
        now: Timestamp,
        jitter: f64,
    ) -> bool {
        if *self.state(now) != RouteState::Ready {
            return false;
        }
        self.note_lasting(reason, now);
        let news = self.pause == FIRST_PAUSE;
        let pause =
            self.pause.min(longest).max(at_least.unwrap_or_default()).mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let again = self.troubles.back().and_then(|(_, to)| *to).is_some_and(|to| now.since(to) < CEILING);
        let had = self.slow_start.unwrap_or(self.most());
        if again && had > 1 {
            self.ceiling = Some((had / 2, now + CEILING));
        }
        self.slow_start = Some(1);
        self.state = RouteState::Throttled { until: now + pause, reason: reason.to_owned() };
        self.begin_trouble(now);
        news
    }

    /// Stops the route. `since` lies before `now` if a former process stopped it. An operator's suspension replaces one that the relay
    /// found necessary, and not the other way round. Returns true if the route was not suspended before: only then is an alert
    /// news.
    pub fn suspend(&mut self, cause: Cause, reason: &str, since: Timestamp, now: Timestamp) -> bool {
        let news = !matches!(self.state, RouteState::Suspended { .. });
        if news {
            self.begin_trouble(now);
            self.slow_start = Some(1);
        }
        if cause != Cause::Operator {
            self.note_lasting(reason, since);
        }
        if news || cause == Cause::Operator {
            self.state = RouteState::Suspended { cause, reason: reason.to_owned(), since };
        }
        news
    }

    /// Starts the route again, slowly. Returns true if it was not ready.
    pub fn resume(&mut self, now: Timestamp) -> bool {
        let news = *self.state(now) != RouteState::Ready;
        self.state = RouteState::Ready;
        self.lasting = None;
        self.end_trouble(now);
        news
    }

    /// How much of the time from `due` to `now` a message waited for our own caps and fairness, not for the server's trouble. That much
    /// does not make it older.
    pub fn own_waiting(&self, due: Timestamp, now: Timestamp) -> Duration {
        let trouble: Duration =
            self.troubles.iter().map(|(from, to)| to.unwrap_or(now).min(now).since((*from).max(due))).sum();
        now.since(due).saturating_sub(trouble)
    }

    /// The clock went back by `by`, and says `now`. The pause, the ceiling and the minute go on from there, so that nothing waits for
    /// the wrong time to come again. Trouble cannot have begun later than now.
    pub fn clock_went_back(&mut self, by: Duration, now: Timestamp) {
        self.sent_last_minute.iter_mut().for_each(|sent| *sent = *sent - by);
        self.ceiling = self.ceiling.map(|(most, until)| (most, until - by));
        for (from, to) in &mut self.troubles {
            *from = from.believed(now, now);
            *to = to.map(|to| to.believed(now, now));
        }
        if let Some(trouble) = &mut self.lasting {
            trouble.since = trouble.since.believed(now, now);
        }
        match &mut self.state {
            RouteState::Throttled { until, .. } => *until = *until - by,
            RouteState::Suspended { since, .. } => *since = since.believed(now, now),
            RouteState::Ready => {}
        }
    }

    /// Begins a new day, with nothing sent. If `now` lies on an earlier day, the clock was set back. The count goes on then, as the
    /// server's may do.
    fn turn_to_day(&mut self, now: Timestamp) {
        let today = day_of(now);
        if today > self.day {
            self.sent_today = 0;
            self.day = today;
        } else if today + 1 < self.day {
            // The clock was set back by days. The count must end with the present day, not with the wrong one.
            self.day = today;
        }
    }

    fn note_lasting(&mut self, reason: &str, since: Timestamp) {
        let begun = || LastingTrouble { since, reason: String::new(), told: false };
        self.lasting.get_or_insert_with(begun).reason = reason.to_owned();
    }

    fn begin_trouble(&mut self, now: Timestamp) {
        if self.troubles.back().is_some_and(|(_, to)| to.is_none()) {
            return;
        }
        if self.troubles.len() == REMEMBERED_TROUBLES {
            // The two oldest become one. The pause between them then counts as trouble, too.
            if let (Some((from, _)), Some(next)) = (self.troubles.pop_front(), self.troubles.front_mut()) {
                next.0 = from;
            }
        }
        self.troubles.push_back((now, None));
    }

    fn end_trouble(&mut self, now: Timestamp) {
        if let Some((_, to @ None)) = self.troubles.back_mut() {
            *to = Some(now);
        }
    }
}

/// The UTC day, counted from the epoch.
fn day_of(now: Timestamp) -> u64 {
    now.as_millis() / DAY_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps() -> Caps {
        Caps {
            concurrency: 8,
            per_minute: Some(3),
            per_day: Some(10),
            recipients_per_transaction: 4,
            messages_per_connection: 100,
            idle: Duration::from_secs(60),
        }
    }

    /// A route that sent so many recipients on the day of `at(0)`.
    fn fresh(caps: Caps, sent_today: u32) -> Throttle {
        Throttle::new(caps, &ThrottleState { day: 20_000, recipients: sent_today, ..ThrottleState::default() }, at(0))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(20_000 * DAY_MILLIS + seconds * 1000)
    }

    #[test]
    fn no_window_of_a_minute_holds_more_than_the_cap() {
        let mut throttle = fresh(Caps { per_day: None, ..caps() }, 0);
        let sent: Vec<u64> = (0..300).filter(|s| throttle.take(1, at(*s)) == 1).collect();
        assert!(sent.windows(4).all(|w| w[3] - w[0] > 60), "{sent:?}");
        assert_eq!(sent.len(), 15);
        assert_eq!(throttle.next_change(at(299)), Some(at(248) + MINUTE));
    }

    #[test]
    fn a_server_that_bears_less_than_the_cap_is_asked_for_more_only_now_and_then() {
        let mut throttle = fresh(Caps { per_minute: None, per_day: None, ..caps() }, 0);
        let (mut pauses, mut sent) = (0, 0);
        for second in 0..3600 {
            // It bears two connections; each delivers a message a second.
            match throttle.concurrency(at(second)) {
                0 => {}
                n @ 1..=2 => (0..n).for_each(|_| {
                    sent += 1;
                    throttle.succeeded();
                }),
                _ => {
                    throttle.back_off("421 too many connections", None, at(second), 0.0);
                    pauses += 1;
                }
            }
        }
        assert!(pauses <= 16 && sent > 6_600, "{pauses} pauses, {sent} sent");
        // One that bears more again gets it.
        let mut later = 3600 + 700;
        while throttle.concurrency(at(later)) < 8 {
            throttle.succeeded();
            later += 1;
        }
        assert!(later < 4320, "{later}");
    }

    #[test]
    fn what_was_claimed_before_the_trouble_is_not_tried_in_it() {
        let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 0);
        throttle.suspend(Cause::Login, "535", at(0), at(0));
        assert_eq!(throttle.take(1, at(0)), 0);
        throttle.resume(at(1));
        assert_eq!(throttle.take(1, at(1)), 1);
        throttle.back_off("421 busy", None, at(2), 0.0);
        assert_eq!(throttle.take(1, at(3)), 0);
        assert_eq!(throttle.sent_today(), (20_000, 1));
    }

    #[test]
    fn the_day_counts_recipients_and_ends_at_midnight_utc() {
        let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 3);
        assert_eq!(throttle.take(100, at(0)), 4, "recipients a transaction");
        assert_eq!(throttle.take(100, at(0)), 3, "what is left of the day");
        assert_eq!(throttle.take(1, at(0)), 0);
        let midnight = Timestamp::from_millis(20_001 * DAY_MILLIS);
        assert_eq!(throttle.next_change(at(0)), Some(midnight));
        assert_eq!(throttle.take(1, midnight), 1);
        throttle.give_back(1);
        assert_eq!(throttle.sent_today(), (20_001, 0));
    }

    #[test]
    fn backing_off_doubles_until_a_success_and_restarts_slowly() {
        let mut throttle = fresh(caps(), 0);
        assert!(throttle.back_off("421 busy", None, at(0), 0.0));
        throttle.back_off("421 busy", None, at(1), 0.0); // heard by another attempt that was under way
        assert_eq!(throttle.concurrency(at(14)), 0);
        assert_eq!(throttle.concurrency(at(15)), 1);
        assert!(!throttle.back_off("421 busy", None, at(15), 0.0), "no second alert");
        assert_eq!(throttle.next_change(at(16)), Some(at(45)));
        assert_eq!(throttle.concurrency(at(45)), 1);
        let grown: Vec<u32> = (0..4)
            .map(|_| {
                throttle.succeeded();
                throttle.concurrency(at(45))
            })
            .collect();
        assert_eq!(grown, [2, 4, 8, 8]);
        throttle.back_off("421 busy", None, at(50), 0.0);
        assert_eq!(throttle.next_change(at(50)), Some(at(65)), "a success reset the pause");
    }

    #[test]
    fn a_message_that_hears_421_again_and_again_stops_no_other() {
        let mut throttle = fresh(Caps { per_minute: None, per_day: None, ..caps() }, 0);
        let (poison, other) = (QueueId::from_u64(1), QueueId::from_u64(2));
        for n in 0..20 {
            assert!(!throttle.doubt(poison, "421 bye", None, at(n), 0.0));
            assert_eq!(throttle.concurrency(at(n)), 8, "alone");
        }
        throttle.succeeded();
        assert!(!throttle.doubt(other, "421 bye", None, at(20), 0.0), "one was taken between");
        assert_eq!(throttle.concurrency(at(20)), 8);
    }

    #[test]
    fn a_second_message_that_hears_421_makes_it_the_routes_with_short_pauses() {
        let mut throttle = fresh(Caps { per_minute: None, per_day: None, ..caps() }, 0);
        let doubt =
            |throttle: &mut Throttle, message, now| throttle.doubt(QueueId::from_u64(message), "421", None, now, 0.0);
        assert!(!doubt(&mut throttle, 1, at(0)));
        assert!(doubt(&mut throttle, 2, at(0)), "news");
        assert_eq!(throttle.concurrency(at(14)), 0);
        let mut now = at(0);
        for message in 3..20 {
            let then = throttle.next_change(now).unwrap();
            assert!(then.since(now) <= Duration::from_secs(60), "{:?}", then.since(now));
            now = then;
            assert!(!doubt(&mut throttle, message, now), "no second alert");
            assert_eq!(throttle.concurrency(now), 0);
        }
        // A server that asks for more time gets it.
        let then = throttle.next_change(now).unwrap();
        throttle.doubt(QueueId::from_u64(99), "421 in 5 minutes", Some(Duration::from_secs(300)), then, 0.0);
        assert_eq!(throttle.next_change(then), Some(then + Duration::from_secs(300)));
    }

    #[test]
    fn a_suspended_route_waits_for_a_person() {
        let mut throttle = fresh(caps(), 0);
        assert!(throttle.suspend(Cause::Login, "535 wrong password", at(0), at(0)));
        assert!(!throttle.suspend(Cause::Login, "535 wrong password", at(1), at(1)), "no second alert");
        throttle.back_off("421", None, at(2), 0.0);
        assert_eq!(throttle.next_change(at(1_000_000)), None);
        assert!(throttle.resume(at(1_000_000)));
        assert_eq!(throttle.concurrency(at(1_000_000)), 1);
    }

    #[test]
    fn trouble_lasts_over_pauses_until_the_server_answers_and_is_told_once() {
        let mut throttle = fresh(caps(), 0);
        let (after, since) = (Duration::from_secs(900), |it: LastingTrouble| (it.since, it.reason));
        assert!(throttle.overdue_trouble(Duration::ZERO, at(0)).is_none());
        throttle.back_off("connection refused", None, at(10), 0.0);
        for second in [30, 120, 600] {
            throttle.back_off("no answer", None, at(second), 0.0);
            assert!(throttle.overdue_trouble(after, at(second)).is_none());
        }
        assert_eq!(throttle.overdue_trouble(after, at(910)).map(since), Some((at(10), "no answer".into())));
        throttle.back_off("no answer", None, at(3000), 0.0);
        assert!(throttle.overdue_trouble(after, at(9000)).is_none(), "told");
        throttle.reached();
        assert!(throttle.lasting_trouble().is_none());
        throttle.back_off("421", None, at(9000), 0.0);
        assert_eq!(throttle.overdue_trouble(after, at(9900)).map(since), Some((at(9000), "421".into())), "anew");
        throttle.resume(at(9901));
        assert!(throttle.lasting_trouble().is_none(), "an operator knows");
        throttle.suspend(Cause::Operator, "moving", at(9902), at(9902));
        assert!(throttle.lasting_trouble().is_none(), "an operator wanted it");
    }

    #[test]
    fn something_may_be_sent_once_both_the_pause_and_the_caps_allow_it() {
        let mut throttle = fresh(caps(), 9);
        throttle.back_off("421", None, at(0), 0.0);
        assert_eq!(throttle.next_change(at(0)), Some(at(15)));
        assert_eq!(throttle.take(1, at(15)), 1);
        throttle.back_off("421", None, at(16), 0.0);
        assert_eq!(throttle.next_change(at(16)), Some(at(86_400)), "the day's cap is used up");
    }

    #[test]
    fn waiting_for_the_servers_trouble_is_not_our_own_waiting() {
        let mut throttle = fresh(caps(), 0);
        throttle.suspend(Cause::Login, "535", at(100), at(100));
        throttle.resume(at(160));
        assert_eq!(throttle.own_waiting(at(0), at(200)), Duration::from_secs(140));
        assert_eq!(throttle.own_waiting(at(130), at(200)), Duration::from_secs(40));
        throttle.suspend(Cause::Login, "535", at(200), at(200));
        assert_eq!(throttle.own_waiting(at(130), at(300)), Duration::from_secs(40));
        for n in 0..100 {
            throttle.resume(at(300 + 2 * n));
            throttle.suspend(Cause::Login, "535", at(301 + 2 * n), at(301 + 2 * n));
        }
        assert!(throttle.troubles.len() <= REMEMBERED_TROUBLES);
    }

    #[test]
    fn the_minutes_cap_holds_across_a_restart() {
        let mut throttle = fresh(caps(), 0);
        assert_eq!((0..5).map(|s| throttle.take(1, at(s))).sum::<u32>(), 3);
        let saved = throttle.persisted();
        let mut throttle = Throttle::new(caps(), &saved, at(6));
        assert_eq!(throttle.take(1, at(6)), 0, "the minute is full");
        assert_eq!(throttle.sent_today(), (20_000, 3));
        assert_eq!(throttle.take(1, at(2) + MINUTE), 1);
        // The clock was set back while nothing ran.
        let earlier = at(0) - Duration::from_secs(3 * 86_400);
        let mut throttle = Throttle::new(caps(), &saved, earlier);
        assert_eq!(throttle.take(1, earlier), 0);
        assert_eq!(throttle.take(1, earlier + MINUTE), 1, "not when the old time comes again");
    }

    #[test]
    fn trouble_is_remembered_across_a_restart_so_that_mail_behind_it_grows_old() {
        let mut throttle = fresh(caps(), 0);
        throttle.suspend(Cause::Login, "535", at(100), at(100));
        let mut throttle = Throttle::new(caps(), &throttle.persisted(), at(1000));
        throttle.suspend(Cause::Login, "535", at(100), at(1000));
        assert_eq!(throttle.own_waiting(at(0), at(2000)), Duration::from_secs(100));
        assert!(matches!(throttle.state(at(2000)), RouteState::Suspended { since, .. } if *since == at(100)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_wait_for_the_wrong_time() {
        const YEARS: u64 = 5 * 365 * 86_400;
        let mut throttle = fresh(caps(), 0);
        assert_eq!(throttle.take(3, at(YEARS)), 3);
        throttle.take(1, at(YEARS));
        throttle.back_off("421", None, at(YEARS), 0.0);
        assert_eq!(throttle.sent_today(), (20_000 + YEARS / 86_400, 4));
        throttle.clock_went_back(Duration::from_secs(YEARS), at(0));
        assert_eq!(throttle.next_change(at(0)), Some(at(15)), "the pause goes on");
        assert_eq!(throttle.concurrency(at(15)), 1);
        assert!(throttle.allowance(at(15)) > 0);
        assert_eq!(throttle.sent_today(), (20_000, 4), "what was sent under the wrong day counts");
        assert_eq!(throttle.take(9, at(63)), 4, "the minute has passed");
    }

    #[test]
    fn a_clock_set_back_over_midnight_does_not_give_the_day_again() {
        let mut throttle = fresh(Caps { per_minute: None, ..caps() }, 0);
        assert_eq!(throttle.take(4, at(0)), 4);
        assert_eq!(throttle.take(4, at(0)), 4);
        let yesterday = at(0) - Duration::from_secs(60);
        assert_eq!(throttle.allowance(yesterday), 2);
        assert_eq!(throttle.allowance(at(0)), 2, "the same day once more");
    }

    #[test]
    fn an_operators_suspension_takes_the_place_of_a_refused_logins_and_not_the_other_way_round() {
        let mut throttle = fresh(caps(), 0);
        let cause = |throttle: &mut Throttle| match throttle.state(at(9)) {
            RouteState::Suspended { cause, .. } => *cause,
            other => panic!("{other:?}"),
        };
        assert!(throttle.suspend(Cause::Login, "535", at(1), at(1)));
        assert!(!throttle.suspend(Cause::Operator, "moving", at(2), at(2)));
        assert_eq!(cause(&mut throttle), Cause::Operator);
        throttle.suspend(Cause::Login, "535", at(3), at(3));
        assert_eq!(cause(&mut throttle), Cause::Operator);
    }
}

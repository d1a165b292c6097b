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

mod allowance;
mod troubles;

use std::time::Duration;

use super::throttle_state::ThrottleState;
use crate::message::QueueId;
use crate::route::{Caps, Cause, RouteState};
use crate::time::Timestamp;
use allowance::Allowance;
pub use troubles::LastingTrouble;
use troubles::Troubles;

const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// The longest pause after trouble within transactions.
const LONGEST_IN_DOUBT: Duration = Duration::from_secs(60);
/// How long a server gets no more connections than it was seen to bear.
const CEILING: Duration = Duration::from_secs(10 * 60);

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
    allowance: Allowance,
    troubles: Troubles,
}

impl Throttle {
    /// The throttle of a ready route, with what a former process saved of it. Trouble that went on then counts until `now`.
    pub fn new(caps: Caps, saved: &ThrottleState, now: Timestamp) -> Self {
        Throttle {
            caps,
            state: RouteState::Ready,
            slow_start: None,
            ceiling: None,
            pause: FIRST_PAUSE,
            doubted: None,
            allowance: Allowance::new(caps, saved, now),
            troubles: Troubles::new(&saved.troubles, now),
        }
    }

    /// The part that must outlive a restart.
    pub fn persisted(&self) -> ThrottleState {
        ThrottleState { troubles: self.troubles.persisted(), ..self.allowance.persisted() }
    }

    /// The state at `now`. A route whose pause is over is ready.
    pub fn state(&mut self, now: Timestamp) -> &RouteState {
        if matches!(self.state, RouteState::Throttled { until, .. } if until <= now) {
            self.state = RouteState::Ready;
            self.troubles.end(now);
        }
        &self.state
    }

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
        self.allowance.take(wanted, self.caps, now)
    }

    /// Gives back what [`take`](Self::take) took for recipients of whom the server never heard.
    pub fn give_back(&mut self, recipients: u32) {
        self.allowance.give_back(recipients);
    }

    /// Recipients that the caps allow at `now`.
    pub fn allowance(&mut self, now: Timestamp) -> u32 {
        self.allowance.recipients(self.caps, now)
    }

    /// When something may be sent next: once the pause is over and the caps allow it. `None` if only a person can help.
    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let pause_over = match self.state(now) {
            RouteState::Throttled { until, .. } => *until,
            RouteState::Suspended { .. } => return None,
            RouteState::Ready => now,
        };
        Some(pause_over.max(self.allowance.from(self.caps, now)))
    }

    /// The UTC day of the last call, counted from the epoch, and the recipients sent on it.
    pub fn sent_today(&self) -> (u64, u32) {
        self.allowance.sent_today()
    }

    /// The server took part in a transaction, whether it took the message or not.
    pub fn reached(&mut self) {
        self.troubles.reached();
    }

    /// The trouble that keeps the route from carrying mail, until the server takes part in a transaction again.
    pub fn lasting_trouble(&self) -> Option<&LastingTrouble> {
        self.troubles.lasting()
    }

    /// The same trouble, once it has lasted for this long. It is given once.
    pub fn overdue_trouble(&mut self, after: Duration, now: Timestamp) -> Option<LastingTrouble> {
        self.troubles.overdue(after, now)
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
        self.troubles.note_lasting(reason, now);
        let news = self.pause == FIRST_PAUSE;
        let pause =
            self.pause.min(longest).max(at_least.unwrap_or_default()).mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let again = self.troubles.last_end().is_some_and(|end| now.since(end) < CEILING);
        let had = self.slow_start.unwrap_or(self.most());
        if again && had > 1 {
            self.ceiling = Some((had / 2, now + CEILING));
        }
        self.slow_start = Some(1);
        self.state = RouteState::Throttled { until: now + pause, reason: reason.to_owned() };
        self.troubles.begin(now);
        news
    }

    /// Stops the route. `since` lies before `now` if a former process stopped it. An operator's suspension replaces one that the relay
    /// found necessary, and not the other way round. Returns true if the route was not suspended before: only then is an alert
    /// news.
    pub fn suspend(&mut self, cause: Cause, reason: &str, since: Timestamp, now: Timestamp) -> bool {
        let news = !matches!(self.state, RouteState::Suspended { .. });
        if news {
            self.troubles.begin(now);
            self.slow_start = Some(1);
        }
        if cause != Cause::Operator {
            self.troubles.note_lasting(reason, since);
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
        self.troubles.reached();
        self.troubles.end(now);
        news
    }

    /// How much of the time from `due` to `now` a message waited for our own caps and fairness, not for the server's trouble. That much
    /// does not make it older.
    pub fn own_waiting(&self, due: Timestamp, now: Timestamp) -> Duration {
        now.since(due).saturating_sub(self.troubles.between(due, now))
    }

    /// The clock went back by `by`, and says `now`. The pause, the ceiling and the minute go on from there, so that nothing waits for
    /// the wrong time to come again. Trouble cannot have begun later than now.
    pub fn clock_went_back(&mut self, by: Duration, now: Timestamp) {
        self.allowance.clock_went_back(by);
        self.troubles.clock_went_back(now);
        self.ceiling = self.ceiling.map(|(most, until)| (most, until - by));
        match &mut self.state {
            RouteState::Throttled { until, .. } => *until = *until - by,
            RouteState::Suspended { since, .. } => *since = since.believed(now, now),
            RouteState::Ready => {}
        }
    }
}

#[cfg(test)]
mod tests;

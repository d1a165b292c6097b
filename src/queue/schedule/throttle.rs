//! The throttle of one route: its caps over time, and its recovery from trouble. Has no side effects: the time comes in as `now`.
//!
//! ```text
//!            BackOff                    BackOff (pause doubles)
//!   Ready ───────────► Throttled ◄────────────────────────────┐
//!     ▲  success          │ pause over: one connection ───────┘
//!     └───────────────────┘
//!     any ── Suspend ──► Suspended ── credentials changed, or by command ──► Ready (slow start)
//! ```
//!
//! Trouble within a message's transaction may be that message's own, so the route is only in doubt and continues as before. If another
//! message meets trouble before any message was taken, the route backs off. That pause stays short, because the server does take
//! connections, and mail that it would take waits behind mail that it refuses.
//!
//! Slow start: after trouble the route gets one connection, and twice as many with every success. If trouble comes back soon, the server
//! supports fewer connections than the cap allows. For a while the route then gets half as many as it had when the server complained.
//!
//! If the clock goes back, the stored times are shifted by the same amount, so that nothing waits for the wrong time to come again. The
//! day's count continues.

mod allowance;
mod troubles;

use std::time::Duration;

use super::throttle_state::ThrottleState;
use crate::message::QueueId;
use crate::route::{Caps, Cause, RouteState};
use crate::time::Timestamp;
use allowance::Allowance;
pub use allowance::{ChunkRequest, Taken};
pub use troubles::LastingTrouble;
use troubles::Troubles;

const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// The longest pause after trouble within transactions.
const LONGEST_IN_DOUBT: Duration = Duration::from_secs(60);
/// How long a server gets no more connections than it was seen to support.
const CEILING: Duration = Duration::from_secs(10 * 60);

/// A route's caps, and its recovery from trouble.
#[derive(Debug)]
pub struct Throttle {
    caps: Caps,
    state: RouteState,
    /// The number of connections allowed during slow start. `None` once it has reached the cap.
    slow_start: Option<u32>,
    /// The limit of connections after repeated trouble, and when it ends.
    ceiling: Option<(u32, Timestamp)>,
    pause: Duration,
    /// The first message that met trouble since the last message was taken.
    doubted: Option<QueueId>,
    allowance: Allowance,
    troubles: Troubles,
}

impl Throttle {
    /// Makes the throttle of a ready route from its saved state. Trouble that had not ended when the state was saved counts until `now`.
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

    /// Returns the part of the state that survives a restart.
    pub fn persisted(&self) -> ThrottleState {
        ThrottleState { troubles: self.troubles.persisted(), ..self.allowance.persisted() }
    }

    /// Returns the state at `now`. A route whose pause is over is ready.
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

    /// Returns how many attempts may run at once.
    pub fn concurrency(&mut self, now: Timestamp) -> u32 {
        match self.state(now) {
            RouteState::Ready => {
                self.ceiling = self.ceiling.filter(|(_, until)| *until > now);
                self.slow_start.unwrap_or(self.caps.concurrency).min(self.most())
            }
            _ => 0,
        }
    }

    /// Takes one message with up to `wanted` recipients from the caps.
    pub fn take(&mut self, wanted: u32, now: Timestamp) -> Taken {
        // A worker may still hold messages that it claimed before the trouble began. Sending them would repeat, for example, a refused
        // login.
        let wanted = if *self.state(now) == RouteState::Ready { wanted } else { 0 };
        self.allowance.take(wanted, self.caps, now)
    }

    /// Gives back what [`take`](Self::take) took for recipients that never reached the server.
    pub fn give_back(&mut self, unheard: Taken) {
        self.allowance.give_back(unheard, self.caps);
    }

    /// Returns the chunk of the day's allowance that this node is to take next, where several share it.
    pub fn wanted(&mut self, now: Timestamp) -> Option<ChunkRequest> {
        self.allowance.wanted(self.caps, now)
    }

    /// Adds what this node has taken of a day's allowance.
    pub fn reserve(&mut self, day: u64, recipients: u32, now: Timestamp) {
        self.allowance.reserve(day, recipients, now);
    }

    /// Gives up what this node has taken and not spent. Returns the day and the number of recipients.
    pub fn give_up_reserved(&mut self) -> (u64, u32) {
        self.allowance.give_up_reserved()
    }

    /// Returns how many recipients the caps allow at `now`.
    pub fn allowance(&mut self, now: Timestamp) -> u32 {
        self.allowance.recipients(self.caps, now)
    }

    /// Returns when something may be sent next: after the pause, and when the caps allow it. Returns `None` if only a person can help.
    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let pause_over = match self.state(now) {
            RouteState::Throttled { until, .. } => *until,
            RouteState::Suspended { .. } => return None,
            RouteState::Ready => now,
        };
        Some(pause_over.max(self.allowance.from(self.caps, now)))
    }

    /// Returns the UTC day of the last call (counted from 1970) and the recipients sent on it.
    pub fn sent_today(&self) -> (u64, u32) {
        self.allowance.sent_today()
    }

    /// Records that the server took part in a transaction, whether or not it took the message.
    pub fn reached(&mut self) {
        self.troubles.reached();
    }

    /// Returns the trouble that keeps the route from carrying mail. It lasts until the server takes part in a transaction again.
    pub fn lasting_trouble(&self) -> Option<&LastingTrouble> {
        self.troubles.lasting()
    }

    /// Returns that trouble if it has lasted for `after`. Returns it once.
    pub fn overdue_trouble(&mut self, after: Duration, now: Timestamp) -> Option<LastingTrouble> {
        self.troubles.overdue(after, now)
    }

    /// Records that the server took a message.
    pub fn succeeded(&mut self) {
        self.reached();
        self.pause = FIRST_PAUSE;
        self.doubted = None;
        let most = self.most();
        self.slow_start = self.slow_start.map(|n| n.saturating_mul(2).min(most)).filter(|n| *n < self.caps.concurrency);
    }

    /// Returns the most connections that the server may get.
    fn most(&self) -> u32 {
        self.ceiling.map_or(self.caps.concurrency, |(most, _)| most.min(self.caps.concurrency))
    }

    /// Backs off because the server asks for less. The pause doubles each time until a success. Attempts that were already running when the
    /// pause began do not lengthen it. `jitter` is in 0..1. Returns true if the route carried mail before.
    pub fn back_off(&mut self, reason: &str, at_least: Option<Duration>, now: Timestamp, jitter: f64) -> bool {
        self.back_off_for(LONGEST_PAUSE, reason, at_least, now, jitter)
    }

    /// Records that a message met trouble within its transaction. It counts as that message's own trouble until another message meets some
    /// before any message was taken. Returns true if the route backs off now and carried mail before.
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
        self.state = RouteState::Throttled { until: now + pause, reason: reason.into() };
        self.troubles.begin(now);
        news
    }

    /// Suspends the route. `since` is earlier than `now` if a former process suspended it. An operator's suspension replaces one that the
    /// relay made, but not the other way round. Returns true if the route was not suspended before, so that only then an alert is raised.
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
            self.state = RouteState::Suspended { cause, reason: reason.into(), since };
        }
        news
    }

    /// Resumes the route with a slow start. Returns true if it was not ready.
    pub fn resume(&mut self, now: Timestamp) -> bool {
        let news = *self.state(now) != RouteState::Ready;
        self.state = RouteState::Ready;
        self.troubles.reached();
        self.troubles.end(now);
        news
    }

    /// Returns how much of the time from `due` to `now` a message waited for our own caps and fairness, and not for the server's trouble.
    /// That time does not make the message older.
    pub fn own_waiting(&self, due: Timestamp, now: Timestamp) -> Duration {
        now.since(due).saturating_sub(self.troubles.between(due, now))
    }

    /// Shifts the pause, the ceiling and the minute, because the clock went back by `by` to `now`, so that nothing waits for the wrong time
    /// to come again. Trouble cannot have begun later than now.
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

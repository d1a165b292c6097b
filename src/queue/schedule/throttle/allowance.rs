//! The caps over time: messages per minute and recipients per day.
//!
//! Recipients are counted under the day that the clock showed. If the clock is set back, what was sent under a later day counts to the
//! present one, too, because the server's clock may have shown that one. The counts of a few other days are kept, so that a clock that was
//! ahead or behind for a while finds the count of the present day as it was.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::queue::schedule::throttle_state::ThrottleState;
use crate::route::Caps;
use crate::time::Timestamp;

/// The minute for the cap: 60 seconds, and some time that a message may take on its way to the server.
pub(super) const MINUTE: Duration = Duration::from_secs(62);
pub(super) const DAY_MILLIS: u64 = 86_400_000;
/// How many earlier days are kept, and how many later ones. A clock may go ahead and back several times before somebody finds the cause.
const OTHERS: usize = 4;

/// The mail sent in the last minute and today.
#[derive(Debug)]
pub(super) struct Allowance {
    sent_last_minute: VecDeque<Timestamp>,
    day: u64,
    /// What was sent, by day.
    sent: BTreeMap<u64, u32>,
    /// What was sent under days further ahead than tomorrow, before the clock was set back to the present day. It counts to this day alone.
    ahead: u32,
    /// Where several nodes share the cap of the day: what this node has taken of it and not spent yet. A process begins with nothing, so
    /// whatever an earlier one knew, no recipient is spent twice.
    reserved: u32,
}

/// The recipients that one transaction took from the caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many. 0 if a cap is used up or the route carries nothing now.
    pub recipients: u32,
    /// The UTC day, counted from 1970, to whose cap they count.
    pub day: u64,
}

/// A chunk of the day's allowance that a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRequest {
    /// The UTC day, counted from 1970.
    pub day: u64,
    /// The cap of the day.
    pub cap: u32,
    /// The recipients that are asked for.
    pub chunk: u32,
    /// What this node has sent on that day. It counts if no node has asked for anything yet.
    pub sent: u32,
}

impl Allowance {
    /// Continues from the state that a former process saved.
    pub(super) fn new(caps: Caps, saved: &ThrottleState, now: Timestamp) -> Self {
        // Assume the worst case: all messages of the last minute were sent at its end, and none later than now.
        let last_sent = saved.last_sent.map(|millis| Timestamp::from_millis(millis).believed(now, now));
        let last_minute = caps.per_minute.map_or(0, |cap| cap.min(saved.in_last_minute));
        let mut sent = saved.other_days.clone();
        sent.insert(saved.day, saved.recipients);
        let mut allowance = Allowance {
            sent_last_minute: (0..last_minute).filter_map(|_| last_sent).collect(),
            day: saved.day,
            sent,
            ahead: saved.ahead,
            reserved: 0,
        };
        // The clock may have been set back since the state was saved.
        allowance.turn_to_day(now);
        allowance
    }

    /// Returns the part of the state that survives a restart.
    pub(super) fn persisted(&self) -> ThrottleState {
        ThrottleState {
            day: self.day,
            recipients: self.sent.get(&self.day).copied().unwrap_or_default(),
            other_days: self
                .sent
                .iter()
                .filter(|(day, _)| **day != self.day)
                .map(|(day, sent)| (*day, *sent))
                .collect(),
            ahead: self.ahead,
            last_sent: self.sent_last_minute.back().copied().map(Timestamp::as_millis),
            in_last_minute: u32::try_from(self.sent_last_minute.len()).unwrap_or(u32::MAX),
            troubles: Vec::new(),
        }
    }

    /// Takes one message with up to `wanted` recipients.
    pub(super) fn take(&mut self, wanted: u32, caps: Caps, now: Timestamp) -> Taken {
        let allowed = self.recipients(caps, now).min(wanted).min(caps.recipients_per_transaction.max(1));
        if allowed > 0 {
            if caps.per_minute.is_some() {
                self.sent_last_minute.push_back(now);
            }
            let sent = self.sent.entry(self.day).or_default();
            *sent = sent.saturating_add(allowed);
            self.reserved = self.reserved.saturating_sub(allowed);
        }
        Taken { recipients: allowed, day: self.day }
    }

    /// Gives back what was taken for recipients that never reached the server.
    pub(super) fn give_back(&mut self, Taken { recipients, day }: Taken, caps: Caps) {
        if let Some(sent) = self.sent.get_mut(&day) {
            *sent = sent.saturating_sub(recipients);
        }
        // What was taken yesterday is nothing of today's allowance.
        if is_shared(caps) && day == self.day {
            self.reserved = self.reserved.saturating_add(recipients);
        }
    }

    /// Returns the chunk of the day's allowance that is to be taken next. `None` if enough is left, or no other node shares the cap.
    pub(super) fn wanted(&mut self, caps: Caps, now: Timestamp) -> Option<ChunkRequest> {
        let cap = caps.per_day.filter(|_| is_shared(caps))?;
        self.turn_to_day(now);
        let chunk = chunk(cap, caps.day_shared_by);
        let (day, sent) = self.sent_today();
        (self.reserved <= chunk / 4).then_some(ChunkRequest { day, cap, chunk, sent })
    }

    /// Adds what was taken of a day's allowance.
    pub(super) fn reserve(&mut self, day: u64, recipients: u32, now: Timestamp) {
        self.turn_to_day(now);
        if day == self.day {
            self.reserved = self.reserved.saturating_add(recipients);
        }
    }

    /// Gives up what is reserved and not spent. Returns it with its day.
    pub(super) fn give_up_reserved(&mut self) -> (u64, u32) {
        (self.day, std::mem::take(&mut self.reserved))
    }

    /// Returns how many recipients the caps allow at `now`.
    pub(super) fn recipients(&mut self, caps: Caps, now: Timestamp) -> u32 {
        self.turn_to_day(now);
        while self.sent_last_minute.front().is_some_and(|sent| *sent + MINUTE <= now) {
            self.sent_last_minute.pop_front();
        }
        let minute_is_full = caps.per_minute.is_some_and(|cap| self.sent_last_minute.len() >= cap as usize);
        if minute_is_full { 0 } else { self.left_today(caps) }
    }

    /// Returns when the caps next allow something to be sent.
    pub(super) fn from(&mut self, caps: Caps, now: Timestamp) -> Timestamp {
        if self.recipients(caps, now) > 0 {
            return now;
        }
        let day_is_full = self.left_today(caps) == 0;
        match self.sent_last_minute.front() {
            Some(sent) if !day_is_full => *sent + MINUTE,
            _ => Timestamp::from_millis((self.day + 1) * DAY_MILLIS),
        }
    }

    fn left_today(&self, caps: Caps) -> u32 {
        match caps.per_day {
            None => u32::MAX,
            Some(_) if is_shared(caps) => self.reserved,
            Some(cap) => cap.saturating_sub(self.sent_today().1),
        }
    }

    /// Returns the UTC day of the last call (counted from 1970) and the recipients that count to it.
    pub(super) fn sent_today(&self) -> (u64, u32) {
        // A clock that is set back over midnight shows tomorrow again soon, and what was sent then counts to both days.
        let sent = self.sent.range(self.day..self.day + 2).map(|(_, sent)| *sent);
        (self.day, sent.fold(self.ahead, u32::saturating_add))
    }

    /// Shifts the stored times, because the clock went back by `by`.
    pub(super) fn clock_went_back(&mut self, by: Duration) {
        self.sent_last_minute.iter_mut().for_each(|sent| *sent = *sent - by);
    }

    /// Goes to another day, to a new one or, if the clock was set back, to an earlier one.
    fn turn_to_day(&mut self, now: Timestamp) {
        let today = day_of(now);
        if today == self.day {
            return;
        }
        let is_back = today < self.day;
        (self.day, self.reserved, self.ahead) = (today, 0, 0);
        if is_back {
            let ahead = self.sent.range(today + 2..).map(|(_, sent)| *sent);
            self.ahead = ahead.fold(0, u32::saturating_add);
        } else if !self.sent.contains_key(&today) {
            // It is no day to which the clock comes back, so later days were wrong.
            self.sent.split_off(&today);
        }
        while self.sent.range(..today).count() > OTHERS {
            self.sent.pop_first();
        }
        while self.sent.range(today + 1..).count() > OTHERS {
            self.sent.pop_last();
        }
    }
}

fn is_shared(caps: Caps) -> bool {
    caps.day_shared_by > 1 && caps.per_day.is_some()
}

/// Returns how much of a day's allowance a node takes at once. A node takes the next chunk when a quarter of one is left, so all nodes
/// together hold less than a third of the allowance unspent, or one recipient each if it is small.
fn chunk(cap: u32, nodes: u32) -> u32 {
    (cap / (4 * nodes.max(1))).clamp(1, 1_000)
}

/// Returns the UTC day, counted from 1970.
fn day_of(now: Timestamp) -> u64 {
    now.as_millis() / DAY_MILLIS
}

//! When a route was in trouble: for how long mail waited for its server, and whether its people should hear of it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Intervals of trouble that are kept. Mail that waited before the oldest of them counts as having waited for the server.
pub(super) const REMEMBERED: usize = 32;

/// The troubles of a route.
#[derive(Debug)]
pub(super) struct Troubles {
    /// Each from and to; the last may go on.
    intervals: VecDeque<(Timestamp, Option<Timestamp>)>,
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
    /// True once [`Troubles::overdue`] has given it.
    told: bool,
}

impl Troubles {
    /// Goes on from what a former process saved. Trouble that went on then counts until `now`.
    pub(super) fn new(saved: &[(u64, Option<u64>)], now: Timestamp) -> Self {
        let time = Timestamp::from_millis;
        let intervals = saved.iter().take(REMEMBERED).map(|(from, to)| (time(*from), Some(to.map_or(now, time))));
        Troubles { intervals: intervals.collect(), lasting: None }
    }

    /// The part that must outlive a restart, in milliseconds since the epoch.
    pub(super) fn persisted(&self) -> Vec<(u64, Option<u64>)> {
        self.intervals.iter().map(|(from, to)| (from.as_millis(), to.map(Timestamp::as_millis))).collect()
    }

    /// Trouble begins, unless some goes on.
    pub(super) fn begin(&mut self, now: Timestamp) {
        if self.intervals.back().is_some_and(|(_, to)| to.is_none()) {
            return;
        }
        if self.intervals.len() == REMEMBERED {
            // The two oldest become one. The pause between them then counts as trouble, too.
            if let (Some((from, _)), Some(next)) = (self.intervals.pop_front(), self.intervals.front_mut()) {
                next.0 = from;
            }
        }
        self.intervals.push_back((now, None));
    }

    /// Trouble that goes on ends.
    pub(super) fn end(&mut self, now: Timestamp) {
        if let Some((_, to @ None)) = self.intervals.back_mut() {
            *to = Some(now);
        }
    }

    /// When the last trouble ended. `None` if it goes on, or if there was none.
    pub(super) fn last_end(&self) -> Option<Timestamp> {
        self.intervals.back().and_then(|(_, to)| *to)
    }

    /// How much of the time from `due` to `now` was trouble.
    pub(super) fn between(&self, due: Timestamp, now: Timestamp) -> Duration {
        self.intervals.iter().map(|(from, to)| to.unwrap_or(now).min(now).since((*from).max(due))).sum()
    }

    /// Notes what was heard of trouble that may last.
    pub(super) fn note_lasting(&mut self, reason: &str, since: Timestamp) {
        let begun = || LastingTrouble { since, reason: String::new(), told: false };
        self.lasting.get_or_insert_with(begun).reason = reason.to_owned();
    }

    /// The server took part in a transaction, or an operator resumed the route.
    pub(super) fn reached(&mut self) {
        self.lasting = None;
    }

    /// The trouble that lasts.
    pub(super) fn lasting(&self) -> Option<&LastingTrouble> {
        self.lasting.as_ref()
    }

    /// The trouble that lasts, once it has done so for `after`. It is given once.
    pub(super) fn overdue(&mut self, after: Duration, now: Timestamp) -> Option<LastingTrouble> {
        let is_overdue = |it: &&mut LastingTrouble| !it.told && now.since(it.since) >= after;
        let trouble = self.lasting.as_mut().filter(is_overdue)?;
        trouble.told = true;
        Some(trouble.clone())
    }

    /// The clock went back and says `now`. Trouble cannot have begun later.
    pub(super) fn clock_went_back(&mut self, now: Timestamp) {
        for (from, to) in &mut self.intervals {
            *from = from.believed(now, now);
            *to = to.map(|to| to.believed(now, now));
        }
        if let Some(trouble) = &mut self.lasting {
            trouble.since = trouble.since.believed(now, now);
        }
    }
}

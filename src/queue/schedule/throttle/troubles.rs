//! The times when a route was in trouble: how long mail waited for the server, and whether an operator should hear of it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// The number of intervals that are kept. Before the oldest of them, all waiting counts as waiting for the server.
pub(super) const REMEMBERED: usize = 32;

/// The troubles of a route.
#[derive(Debug)]
pub(super) struct Troubles {
    /// The start and end of each interval. The last one may not have ended.
    intervals: VecDeque<(Timestamp, Option<Timestamp>)>,
    /// The trouble that has lasted since the server last took part in a transaction, across all pauses and attempts.
    lasting: Option<LastingTrouble>,
}

/// Trouble that has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastingTrouble {
    /// When the route last went from carrying mail to trouble.
    pub since: Timestamp,
    /// The last reply or error.
    pub reason: String,
    /// True after [`Troubles::overdue`] has returned it.
    told: bool,
}

impl Troubles {
    /// Continues from what a former process saved. Trouble that had not ended counts until `now`.
    pub(super) fn new(saved: &[(u64, Option<u64>)], now: Timestamp) -> Self {
        let time = Timestamp::from_millis;
        let intervals = saved.iter().take(REMEMBERED).map(|(from, to)| (time(*from), Some(to.map_or(now, time))));
        Troubles { intervals: intervals.collect(), lasting: None }
    }

    /// Returns the part that survives a restart, in milliseconds since 1970.
    pub(super) fn persisted(&self) -> Vec<(u64, Option<u64>)> {
        self.intervals.iter().map(|(from, to)| (from.as_millis(), to.map(Timestamp::as_millis))).collect()
    }

    /// Begins an interval, unless one is open.
    pub(super) fn begin(&mut self, now: Timestamp) {
        if self.intervals.back().is_some_and(|(_, to)| to.is_none()) {
            return;
        }
        if self.intervals.len() == REMEMBERED {
            // Join the two oldest intervals. The time between them then counts as trouble, too.
            if let (Some((from, _)), Some(next)) = (self.intervals.pop_front(), self.intervals.front_mut()) {
                next.0 = from;
            }
        }
        self.intervals.push_back((now, None));
    }

    /// Ends the open interval, if there is one.
    pub(super) fn end(&mut self, now: Timestamp) {
        if let Some((_, to @ None)) = self.intervals.back_mut() {
            *to = Some(now);
        }
    }

    /// Returns when the last trouble ended, or `None` if trouble goes on or there was none.
    pub(super) fn last_end(&self) -> Option<Timestamp> {
        self.intervals.back().and_then(|(_, to)| *to)
    }

    /// Returns how much of the time from `due` to `now` was trouble.
    pub(super) fn between(&self, due: Timestamp, now: Timestamp) -> Duration {
        self.intervals.iter().map(|(from, to)| to.unwrap_or(now).min(now).since((*from).max(due))).sum()
    }

    /// Records the last reply or error of trouble that may last.
    pub(super) fn note_lasting(&mut self, reason: &str, since: Timestamp) {
        let begun = || LastingTrouble { since, reason: String::new(), told: false };
        self.lasting.get_or_insert_with(begun).reason = reason.to_owned();
    }

    /// Ends the lasting trouble: the server took part in a transaction, or an operator resumed the route.
    pub(super) fn reached(&mut self) {
        self.lasting = None;
    }

    /// Returns the lasting trouble.
    pub(super) fn lasting(&self) -> Option<&LastingTrouble> {
        self.lasting.as_ref()
    }

    /// Returns the lasting trouble if it has lasted for `after`. Returns it once.
    pub(super) fn overdue(&mut self, after: Duration, now: Timestamp) -> Option<LastingTrouble> {
        let is_overdue = |it: &&mut LastingTrouble| !it.told && now.since(it.since) >= after;
        let trouble = self.lasting.as_mut().filter(is_overdue)?;
        trouble.told = true;
        Some(trouble.clone())
    }

    /// Corrects the intervals after the clock went back to `now`, because trouble cannot have begun later.
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

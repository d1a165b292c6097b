//! Trouble of routes: what attempts report, suspensions, and when trouble is over.

use std::time::Duration;

use super::{Entry, Routes};
use crate::delivery::{Outcome, Scope, Trouble, Verdict};
use crate::message::QueueId;
use crate::queue::schedule::suspensions::{Suspended, Suspension};
use crate::queue::schedule::throttle::{LastingTrouble, Taken};
use crate::route::microsoft::says_passwords_are_off;
use crate::route::{Cause, Route, RouteId, RouteState};
use crate::time::Timestamp;

impl Routes {
    /// Records what a transaction says about its route. `route` is the route as it was configured at that time, and `taken` is what was
    /// taken from its caps. Returns true if new trouble begins, which means that the route carried mail until now.
    pub fn report(
        &mut self,
        route: &Route,
        message: QueueId,
        outcome: &Outcome,
        taken: Taken,
        now: Timestamp,
        jitter: f64,
    ) -> bool {
        let Some(entry) = self.routes.get_mut(&route.id) else { return false };
        // A failed connection, greeting or login counts no recipient at the server, so the caps get them back.
        let heard = outcome
            .recipients
            .iter()
            .filter(|r| r.meaning.scope != Scope::Route || r.meaning.verdict != Verdict::Deferred);
        let heard = u32::try_from(heard.count()).unwrap_or(u32::MAX);
        let unheard = taken.recipients.saturating_sub(heard);
        entry.throttle.give_back(Taken { recipients: unheard, ..taken });
        // The list of routes shows the remedy together with the reply.
        let told = outcome.trouble.as_ref().map(Trouble::in_words).unwrap_or_default();
        if let Some(trouble) = &outcome.trouble {
            entry.password_hint = says_passwords_are_off(trouble.reason()).then(|| trouble.reason().to_owned());
        }
        match &outcome.trouble {
            Some(Trouble::BackOff { at_least, .. }) => entry.throttle.back_off(&told, *at_least, now, jitter),
            Some(Trouble::Doubt { at_least, .. }) => entry.throttle.doubt(message, &told, *at_least, now, jitter),
            // If a reload replaced the login during the attempt, the refusal says nothing about the new login.
            Some(Trouble::Suspend { .. }) if self.fingerprints.of(route) != self.fingerprints.of(&entry.route) => false,
            Some(Trouble::Suspend { cause, .. }) => self.suspend(&route.id, *cause, &told, now).unwrap_or_default(),
            None => {
                if outcome.recipients.iter().any(|r| r.meaning.verdict == Verdict::Relayed) {
                    entry.throttle.succeeded();
                    entry.password_hint = None;
                } else if unheard < taken.recipients {
                    entry.throttle.reached();
                }
                false
            }
        }
    }

    /// Returns why a route carries nothing now, if its server is in trouble or it is suspended.
    pub fn trouble(&mut self, id: &RouteId, now: Timestamp) -> Option<String> {
        let state = self.routes.get_mut(id)?.throttle.state(now);
        state.reason().map(|reason| format!("route {id} is {}: {reason}", state.as_str()))
    }

    /// Returns when a route next carries mail, as far as its caps and its server's trouble show. Returns `None` if only a person can help.
    pub fn carries_from(&mut self, id: &RouteId, now: Timestamp) -> Option<Timestamp> {
        self.routes.get_mut(id).map_or(Some(now), |entry| entry.throttle.next_change(now))
    }

    /// Returns the routes that have carried no mail for `after` since their trouble began. Each trouble is returned once.
    pub fn overdue_troubles(&mut self, after: Duration, now: Timestamp) -> Vec<(RouteId, LastingTrouble)> {
        let overdue = |(id, entry): (&RouteId, &mut Entry)| {
            let trouble = entry.throttle.overdue_trouble(after, now)?;
            (!entry.gone).then(|| (id.clone(), trouble))
        };
        self.routes.iter_mut().filter_map(overdue).collect()
    }

    /// Returns why an alert about a route may end, or `None` while the trouble or suspension lasts.
    pub fn over(&mut self, id: &RouteId, now: Timestamp) -> Option<&'static str> {
        let Some(entry) = self.routes.get_mut(id).filter(|entry| !entry.gone) else {
            return Some("the route is no longer configured");
        };
        let lasts = entry.throttle.lasting_trouble().is_some()
            || matches!(entry.throttle.state(now), RouteState::Suspended { .. });
        (!lasts).then_some("the route goes on")
    }

    /// Suspends a route. Returns `None` if there is no such route, and true if it was not suspended before.
    pub fn suspend(&mut self, id: &RouteId, cause: Cause, reason: &str, now: Timestamp) -> Option<bool> {
        self.suspend_since(id, cause, reason, now, now)
    }

    /// Suspends a route that another node suspended at `since`.
    pub fn suspend_since(
        &mut self,
        id: &RouteId,
        cause: Cause,
        reason: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<bool> {
        let entry = self.routes.get_mut(id)?;
        let news = entry.throttle.suspend(cause, reason, since, now);
        if let RouteState::Suspended { cause, reason, since } = entry.throttle.state(now).clone() {
            let fingerprint = self.fingerprints.of(&entry.route);
            self.suspended.insert(id.clone(), Suspension { cause, reason: reason.to_string(), since, fingerprint });
        }
        Some(news)
    }

    /// Resumes a route. Returns `None` if there is no such route, and true if it was not ready before.
    pub fn resume(&mut self, id: &RouteId, now: Timestamp) -> Option<bool> {
        let news = self.routes.get_mut(id)?.throttle.resume(now);
        self.suspended.remove(id);
        Some(news)
    }

    /// Returns the suspensions that are saved for the next process.
    pub fn suspended(&self) -> Suspended {
        let kept = self.suspended.iter().filter(|(_, suspension)| suspension.cause.is_kept());
        kept.map(|(id, suspension)| (id.clone(), suspension.clone())).collect()
    }
}

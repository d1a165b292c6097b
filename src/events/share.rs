//! Each customer's share of the log, so that one customer's events neither push out the others' nor delay them at the webhook.
//!
//! A customer may write a number of octets per day, at once or over time. Unused octets are saved up to one day's share. A customer's
//! server could cause endless events, because deferred mail makes an event at every attempt, and a client can name a recipient on the
//! suppression list again and again. So when half of the share is used, repeated events are left out. Final results are always written:
//! each accepted recipient has a limited number of them. Omitted events are counted, and an event reports the number. Has no side effects:
//! the time comes in as `now`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::EventKind;

/// A used-up share is full again after this time.
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
pub(super) struct Shares {
    share: u64,
    accounts: Mutex<HashMap<String, Account>>,
}

#[derive(Debug)]
struct Account {
    /// The octets that may still be written.
    left: u64,
    /// The time for which `left` was computed.
    at: Instant,
    /// Events left out since the last report.
    left_out: u64,
    /// True if events were left out, and since then never more than half of the share was left.
    crowded: bool,
}

/// A report about one customer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This many of its events were left out.
    LeftOut(u64),
    /// Events are no longer left out.
    Over,
}

impl Shares {
    /// Gives each customer `share` octets per day.
    pub(super) fn new(share: u64) -> Self {
        Shares { share, accounts: Mutex::default() }
    }

    pub(super) fn share(&self) -> u64 {
        self.share
    }

    /// Returns true if a customer's event goes into the log. Otherwise counts it as left out. `comes_again` is true if there can be any
    /// number of such events.
    pub(super) fn admits(
        &self,
        customer: &str,
        kind: EventKind,
        comes_again: bool,
        octets: usize,
        now: Instant,
    ) -> bool {
        // These kinds are about what the operator must know or has done, and there are few of them.
        if matches!(kind, EventKind::Alert | EventKind::Audit | EventKind::Omitted) {
            return true;
        }
        let (share, octets) = (self.share, octets as u64);
        let mut accounts = self.accounts();
        let account = match accounts.get_mut(customer) {
            Some(account) => account,
            None => accounts.entry(customer.to_owned()).or_insert(Account::new(share, now)),
        };
        account.refill(share, now);
        if comes_again && account.left < octets.saturating_add(share / 2) {
            account.left_out += 1;
            account.crowded = true;
            return false;
        }
        account.left = account.left.saturating_sub(octets);
        true
    }

    /// Returns the reports since the last call, by customer. Forgets customers whose share is full.
    pub(super) fn news(&self, now: Instant) -> Vec<(String, News)> {
        let share = self.share;
        let mut news = Vec::new();
        self.accounts().retain(|customer, account| {
            account.refill(share, now);
            if account.left_out > 0 {
                news.push((customer.clone(), News::LeftOut(std::mem::take(&mut account.left_out))));
            } else if account.crowded && account.left > share / 2 {
                account.crowded = false;
                news.push((customer.clone(), News::Over));
            }
            account.left < share || account.crowded
        });
        news
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn new(share: u64, now: Instant) -> Self {
        Account { left: share, at: now, left_out: 0, crowded: false }
    }

    fn refill(&mut self, share: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let back = u128::from(share) * passed / DAY.as_millis();
        // Keep `at` until a whole octet has come back, so that fractions add up.
        if back > 0 {
            self.left = share.min(self.left.saturating_add(u64::try_from(back).unwrap_or(u64::MAX)));
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: u64 = 1000;
    const LINE: usize = 10;

    fn admitted(shares: &Shares, customer: &str, kind: EventKind, events: u64, now: Instant) -> u64 {
        (0..events).map(|_| u64::from(shares.admits(customer, kind, kind.comes_again(), LINE, now))).sum()
    }

    #[test]
    fn a_customer_writes_its_share_and_no_more_and_others_are_not_touched() {
        let (shares, now) = (Shares::new(SHARE), Instant::now());
        assert_eq!(admitted(&shares, "flood", EventKind::Deferred, 1000, now), 50);
        assert_eq!(admitted(&shares, "other", EventKind::Deferred, 50, now), 50);
        assert_eq!(shares.news(now), [("flood".to_owned(), News::LeftOut(950))]);
        assert_eq!(shares.news(now), [], "told once");
    }

    #[test]
    fn what_became_of_the_mail_is_told_however_much_of_the_share_is_used() {
        let (shares, now) = (Shares::new(SHARE), Instant::now());
        assert_eq!(admitted(&shares, "x", EventKind::Deferred, 1000, now), 50);
        for kind in EventKind::ALL.into_iter().filter(|kind| !kind.comes_again()) {
            assert_eq!(admitted(&shares, "x", kind, 1000, now), 1000, "{kind:?}");
        }
        assert_eq!(shares.news(now), [("x".to_owned(), News::LeftOut(950))]);
        assert_eq!(admitted(&shares, "x", EventKind::Rejected, 1, now), 0);
    }

    #[test]
    fn a_share_comes_back_within_a_day_and_its_end_is_told() {
        let (shares, start) = (Shares::new(SHARE), Instant::now());
        let hours = |hours: u64| start + Duration::from_secs(hours * 3600);
        admitted(&shares, "x", EventKind::Relayed, 100, start);
        admitted(&shares, "x", EventKind::Deferred, 1, start);
        assert_eq!(shares.news(start), [("x".to_owned(), News::LeftOut(1))]);
        assert_eq!(shares.news(hours(11)), [], "not half yet");
        assert_eq!(shares.news(hours(13)), [("x".to_owned(), News::Over)]);
        assert_eq!(admitted(&shares, "x", EventKind::Deferred, 100, hours(13)), 4);
        assert_eq!(admitted(&shares, "x", EventKind::Deferred, 1000, hours(1000)), 50, "half of a day's share");
        assert_eq!(shares.news(hours(2000)), [("x".to_owned(), News::LeftOut(96 + 950))]);
        assert_eq!(shares.news(hours(2000)), [("x".to_owned(), News::Over)]);
        assert_eq!(shares.news(hours(2000)), []);
        assert!(shares.accounts().is_empty(), "whole again, and forgotten");
    }

    #[test]
    fn looking_often_does_not_keep_the_share_from_coming_back() {
        let (shares, start) = (Shares::new(SHARE), Instant::now());
        admitted(&shares, "x", EventKind::Relayed, 100, start);
        let mut now = start;
        for _ in 0..86_400 {
            now += Duration::from_secs(1);
            shares.news(now);
        }
        let found = admitted(&shares, "x", EventKind::Deferred, 100, now);
        assert!((49..=50).contains(&found), "{found}");
    }
}

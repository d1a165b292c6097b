//! Which holds raise an alert. The first message of a customer that is held for a reason does. Those of the hour after it are counted
//! and told together when the hour is over, because a hundred thousand messages may be held for one reason within a minute. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::CustomerId;

const TOLD_FOR: Duration = Duration::from_secs(3600);

/// The holds that were told in the last hour. Time comes from a clock that nobody sets.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<(CustomerId, String), Told>);

#[derive(Debug)]
struct Told {
    until: Duration,
    /// Messages that were held since, and not told.
    more: u64,
}

/// Messages that were held in an hour that is over, without the one that was told at its beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct More {
    pub customer: CustomerId,
    pub reason: String,
    pub count: u64,
}

impl Holds {
    /// Notes that a message is held. Returns true if an alert must tell of it.
    pub fn is_news(&mut self, customer: &CustomerId, reason: &str, now: Duration) -> bool {
        match self.0.get_mut(&(customer.clone(), reason.to_owned())) {
            Some(told) => {
                told.more += 1;
                false
            }
            None => {
                let told = Told { until: now + TOLD_FOR, more: 0 };
                self.0.insert((customer.clone(), reason.to_owned()), told);
                true
            }
        }
    }

    /// Gives the messages of the hours that are over. After an hour with some, the next hour begins; after one with none, the next message
    /// is news again.
    pub fn over(&mut self, now: Duration) -> Vec<More> {
        let mut over = Vec::new();
        self.0.retain(|(customer, reason), told| {
            if told.until > now {
                return true;
            }
            let count = std::mem::take(&mut told.more);
            told.until = now + TOLD_FOR;
            if count > 0 {
                over.push(More { customer: customer.clone(), reason: reason.clone(), count });
            }
            count > 0
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_counted_by_the_hour() {
        let (mut holds, x, y) = (Holds::default(), CustomerId::new("x"), CustomerId::new("y"));
        let at = Duration::from_secs;
        assert!(holds.is_news(&x, "expired", at(0)));
        for second in 1..1000 {
            assert!(!holds.is_news(&x, "expired", at(second)));
        }
        assert!(holds.is_news(&y, "expired", at(5)), "another customer's");
        assert!(holds.is_news(&x, "unreadable", at(5)), "another reason");
        assert_eq!(holds.over(at(3599)), []);
        let more = More { customer: x.clone(), reason: "expired".into(), count: 999 };
        assert_eq!(holds.over(at(3600)), [more]);
        assert!(!holds.is_news(&x, "expired", at(3700)));
        assert_eq!(holds.over(at(7200)).len(), 1);
        assert_eq!(holds.over(at(10_800)), []);
        assert!(holds.is_news(&x, "expired", at(10_801)));
        assert!(holds.is_news(&y, "expired", at(10_801)));
    }
}

//! Decides which holds raise an alert, because a hundred thousand messages may be held for one reason within a minute. The first message
//! that is held for a customer and a reason raises an alert. The holds of the following hour are counted, and reported together when the
//! hour is over. Has no side effects.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::CustomerId;

const TOLD_FOR: Duration = Duration::from_secs(3600);

/// The holds that raised an alert in the last hour. Times come from the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<(CustomerId, String), Told>);

#[derive(Debug)]
struct Told {
    until: Duration,
    /// Messages held since the alert, which have not been reported.
    more: u64,
}

/// The messages held in an hour that is over, without the one that raised the alert.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct More {
    pub customer: CustomerId,
    pub reason: String,
    pub count: u64,
}

impl Holds {
    /// Records that a message is held. Returns true if this hold must raise an alert.
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

    /// Returns the counts of the hours that are over. If an hour had further holds, another hour begins. If it had none, the next hold
    /// raises an alert again.
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

//! Decides which holds raise an alert, because a hundred thousand messages may be held for one reason within a minute. The first message
//! that is held for a customer and a reason raises an alert. The holds of the following hour are counted, and reported together when the
//! hour is over. Has no side effects.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::CustomerId;

const ALERT_INTERVAL: Duration = Duration::from_secs(3600);

/// The holds that raised an alert in the last hour. Times come from the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<(CustomerId, String), AlertedHold>);

#[derive(Debug)]
struct AlertedHold {
    until: Duration,
    /// Messages held since the alert, which have not been reported.
    further: u64,
}

/// The messages held in an hour that is over, without the one that raised the alert.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FurtherHolds {
    pub customer: CustomerId,
    pub reason: String,
    pub count: u64,
}

impl Holds {
    /// Records that a message is held. Returns true if this hold must raise an alert.
    pub fn needs_alert(&mut self, customer: &CustomerId, reason: &str, now: Duration) -> bool {
        match self.0.get_mut(&(customer.clone(), reason.to_owned())) {
            Some(alerted) => {
                alerted.further += 1;
                false
            }
            None => {
                let alerted = AlertedHold { until: now + ALERT_INTERVAL, further: 0 };
                self.0.insert((customer.clone(), reason.to_owned()), alerted);
                true
            }
        }
    }

    /// Returns the counts of the hours that are over. If an hour had further holds, another hour begins. If it had none, the next hold
    /// raises an alert again.
    pub fn take_ended(&mut self, now: Duration) -> Vec<FurtherHolds> {
        let mut over = Vec::new();
        self.0.retain(|(customer, reason), alerted| {
            if alerted.until > now {
                return true;
            }
            let count = std::mem::take(&mut alerted.further);
            alerted.until = now + ALERT_INTERVAL;
            if count > 0 {
                over.push(FurtherHolds { customer: customer.clone(), reason: reason.clone(), count });
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
        assert!(holds.needs_alert(&x, "expired", at(0)));
        for second in 1..1000 {
            assert!(!holds.needs_alert(&x, "expired", at(second)));
        }
        assert!(holds.needs_alert(&y, "expired", at(5)), "another customer's");
        assert!(holds.needs_alert(&x, "unreadable", at(5)), "another reason");
        assert_eq!(holds.take_ended(at(3599)), []);
        let further = FurtherHolds { customer: x.clone(), reason: "expired".into(), count: 999 };
        assert_eq!(holds.take_ended(at(3600)), [further]);
        assert!(!holds.needs_alert(&x, "expired", at(3700)));
        assert_eq!(holds.take_ended(at(7200)).len(), 1);
        assert_eq!(holds.take_ended(at(10_800)), []);
        assert!(holds.needs_alert(&x, "expired", at(10_801)));
        assert!(holds.needs_alert(&y, "expired", at(10_801)));
    }
}

//! The forecast: when the last waiting message of a route leaves, and whether the route's caps let it leave in time.

use std::time::Duration;

use crate::route::Caps;
use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// Returns when the last of `messages` leaves if only the caps delay them. Each has at least one recipient. Returns `None` if all of them
/// leave in time: within the rest of today's cap, and within a day by the cap per minute.
pub fn last_leaves(messages: u64, caps: &Caps, sent_today: u32, now: Timestamp) -> Option<Timestamp> {
    let by_day = caps.per_day.and_then(|cap| {
        let later = messages.checked_sub(u64::from(cap.saturating_sub(sent_today))).filter(|n| *n > 0)?;
        let midnight = Timestamp::from_millis((now.as_millis() / 86_400_000 + 1) * 86_400_000);
        let whole_days = u32::try_from((later - 1) / u64::from(cap.max(1))).unwrap_or(u32::MAX);
        Some(midnight + DAY.saturating_mul(whole_days))
    });
    let by_minute = caps.per_minute.and_then(|cap| {
        let minutes = messages.div_ceil(u64::from(cap.max(1)));
        let needed = Duration::from_secs(minutes.saturating_mul(60));
        (needed > DAY).then(|| now + needed)
    });
    by_day.max(by_minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(20_000 * 86_400_000 + 43_200_000);

    fn caps(per_minute: Option<u32>, per_day: Option<u32>) -> Caps {
        Caps { per_minute, per_day, ..Caps::default() }
    }

    #[test]
    fn what_fits_into_today_is_no_news() {
        assert_eq!(last_leaves(1_000_000, &caps(None, None), 0, NOON), None);
        assert_eq!(last_leaves(1_000, &caps(Some(30), Some(10_000)), 9_000, NOON), None);
    }

    #[test]
    fn the_days_cap_moves_the_rest_to_the_days_after() {
        let midnight = NOON + DAY / 2;
        assert_eq!(last_leaves(1_001, &caps(None, Some(10_000)), 9_000, NOON), Some(midnight));
        assert_eq!(last_leaves(11_000, &caps(None, Some(10_000)), 9_000, NOON), Some(midnight));
        assert_eq!(last_leaves(11_001, &caps(None, Some(10_000)), 9_000, NOON), Some(midnight + DAY));
    }

    #[test]
    fn the_minutes_cap_counts_when_it_takes_more_than_a_day() {
        assert_eq!(last_leaves(30 * 1440, &caps(Some(30), None), 0, NOON), None);
        assert_eq!(
            last_leaves(30 * 1440 + 1, &caps(Some(30), None), 0, NOON),
            Some(NOON + DAY + Duration::from_secs(60))
        );
    }
}

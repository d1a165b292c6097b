//! Formats times for customers: in Danish time, in words.

use jiff::tz::Offset;

use crate::onboarding::Lang;
use crate::time::Timestamp;

const MONTHS_DA: [&str; 12] = [
    "januar",
    "februar",
    "marts",
    "april",
    "maj",
    "juni",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "december",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Formats the day and the time: `29. november kl. 16.05`, `29 November, 16:05 Danish time`.
pub(super) fn moment(at: Timestamp, lang: Lang) -> String {
    let Some(local) = local(at) else { return at.to_string() };
    let (hour, minute) = (local.hour(), local.minute());
    match lang {
        Lang::Da => format!("{} kl. {hour:02}.{minute:02}", date(at, lang)),
        Lang::En => format!("{}, {hour:02}:{minute:02} Danish time", date(at, lang)),
    }
}

/// Formats the day: `29. november`, `29 November`.
pub(super) fn date(at: Timestamp, lang: Lang) -> String {
    let Some(local) = local(at) else { return at.to_string() };
    let month = usize::from(local.month().unsigned_abs()) - 1;
    match lang {
        Lang::Da => format!("{}. {}", local.day(), MONTHS_DA[month]),
        Lang::En => format!("{} {}", local.day(), MONTHS_EN[month]),
    }
}

/// Converts to Danish time: one hour ahead of UTC, and two from the last Sunday of March to that of October, each from 01:00 UTC (EU
/// directive 2000/84).
fn local(at: Timestamp) -> Option<jiff::civil::DateTime> {
    let instant = jiff::Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()?;
    let year = Offset::UTC.to_datetime(instant).year();
    let change = |month: i8| {
        let last = jiff::civil::date(year, month, 31);
        let sunday =
            last.checked_sub(jiff::Span::new().days(i64::from(last.weekday().to_sunday_zero_offset()))).ok()?;
        Offset::UTC.to_timestamp(sunday.at(1, 0, 0, 0)).ok()
    };
    let is_summer = instant >= change(3)? && instant < change(10)?;
    Some(Offset::constant(if is_summer { 2 } else { 1 }).to_datetime(instant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_read_danish_time_in_summer_and_winter() {
        for (at, da, en) in [
            ("2026-11-29T15:05:00Z", "29. november kl. 16.05", "29 November, 16:05 Danish time"),
            ("2026-07-01T22:30:00Z", "2. juli kl. 00.30", "2 July, 00:30 Danish time"),
            ("2026-03-29T00:59:59Z", "29. marts kl. 01.59", "29 March, 01:59 Danish time"),
            ("2026-03-29T01:00:00Z", "29. marts kl. 03.00", "29 March, 03:00 Danish time"),
            ("2026-10-25T00:59:00Z", "25. oktober kl. 02.59", "25 October, 02:59 Danish time"),
            ("2026-10-25T01:00:00Z", "25. oktober kl. 02.00", "25 October, 02:00 Danish time"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!((moment(at, Lang::Da).as_str(), moment(at, Lang::En).as_str()), (da, en));
        }
        moment(Timestamp::NEVER, Lang::Da);
    }
}

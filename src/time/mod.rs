//! Points in time as the relay stores and compares them: milliseconds since the Unix epoch.
//!
//! Decisions take `now` as an argument, so that they can be tested; only the edges read the clock.

mod clock_jump;

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use clock_jump::{ClockJumpGuard, Jump};

/// A wall-clock instant in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest instant; a record due at it is due at once.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// Later than any real instant.
    pub const NEVER: Timestamp = Timestamp(u64::MAX);

    /// Reads the system clock.
    pub fn now() -> Self {
        #[cfg(test)]
        if let Some(machine) = crate::simulation::here() {
            return machine.clock_says();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as u64)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as DKIM's `t=` wants them (RFC 6376 §3.5).
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant in the form of RFC 5322 §3.3, always in UTC: `Mon, 23 Nov 2026 18:24:00 +0000`.
    pub fn rfc5322(self) -> String {
        self.instant().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
    }

    /// The instant in a sentence for people, to the second: `2026-11-23 18:24:00 UTC`.
    pub fn in_words(self) -> String {
        let text = self.to_string();
        format!("{} {} UTC", &text[..10], &text[11..19])
    }

    fn instant(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-23T18:24:00.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every event says two or three times when something was, so this does not go through a format string.
        let (year, month, day) = civil(self.0 / 86_400_000);
        let (second, millis) = (self.0 / 1000 % 86_400, self.0 % 1000);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        if year > 9999 {
            return f.write_str("9999-12-31T23:59:59.999Z");
        }
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, digits, value) in
            [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, hour), (14, 2, minute), (17, 2, second), (20, 3, millis)]
        {
            let mut left = value;
            for place in text[at..at + digits].iter_mut().rev() {
                *place = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

/// The year, month and day of a day since 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from March, the leap day is the last of a year; a cycle of 400 years has 146,097 days.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (cycle * 400 + year + u64::from(month <= 2), month, day)
}

/// Reads RFC 3339 with any offset; what is finer than a millisecond is cut off. Before 1970 is 1970.
impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let instant: jiff::Timestamp = text.parse()?;
        Ok(Timestamp(u64::try_from(instant.as_millisecond()).unwrap_or_default()))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_text_forms_are_utc() {
        let t = Timestamp::from_millis(1_795_458_240_123);
        assert_eq!(t.rfc5322(), "Mon, 23 Nov 2026 18:24:00 +0000");
        assert_eq!(t.to_string(), "2026-11-23T18:24:00.123Z");
        assert_eq!("2026-11-23T19:24:00.1239+01:00".parse::<Timestamp>().unwrap(), t);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn every_day_has_its_date() {
        for day in (0..146_097 * 3).step_by(7).chain([58, 59, 60, 11_015, 11_016, 11_017]) {
            let time = Timestamp(day * 86_400_000 + 86_399_999);
            let right = time.instant().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            assert_eq!(time.to_string(), right);
        }
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::NEVER.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::NEVER + Duration::from_secs(1), Timestamp::NEVER);
        assert_eq!(Timestamp::EPOCH - Duration::from_secs(1), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::NEVER), Duration::ZERO);
    }
}

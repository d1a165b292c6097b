//! Reads the times in a report. The standard requires seconds since 1970; reporters also write milliseconds, fractions and dates.

use crate::time::Timestamp;

/// Reads a time as seconds since 1970. The second value is false if it is not written in the standard's form.
pub(super) fn seconds(text: &str) -> Option<(u64, bool)> {
    let text = text.trim();
    let whole = text.split('.').next().unwrap_or_default();
    if let Ok(number) = whole.parse::<u64>() {
        let (seconds, in_seconds) = match number {
            0..100_000_000_000 => (number, true),
            100_000_000_000..100_000_000_000_000 => (number / 1_000, false),
            100_000_000_000_000..100_000_000_000_000_000 => (number / 1_000_000, false),
            _ => return None,
        };
        // `2026` alone is a year, not a time.
        return (seconds > 9_999).then_some((seconds, in_seconds && whole.len() == text.len()));
    }
    let candidates = [
        text.to_owned(),
        text.replacen(' ', "T", 1),
        format!("{}Z", text.replacen(' ', "T", 1)),
        format!("{text}T00:00:00Z"),
    ];
    let found = candidates.iter().find_map(|text| text.parse::<Timestamp>().ok());
    found.map(|time| (time.as_secs(), false)).filter(|(seconds, _)| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_reporters_write_them() {
        for (text, read) in [
            ("1795910400", Some((1_795_910_400, true))),
            (" 1795910400\n", Some((1_795_910_400, true))),
            ("1795910400.0", Some((1_795_910_400, false))),
            ("1795910400000", Some((1_795_910_400, false))),
            ("1795910400000000", Some((1_795_910_400, false))),
            ("2026-11-29T00:00:00Z", Some((1_795_910_400, false))),
            ("2026-11-29T01:00:00+01:00", Some((1_795_910_400, false))),
            ("2026-11-29 00:00:00", Some((1_795_910_400, false))),
            ("2026-11-29", Some((1_795_910_400, false))),
            ("2026", None),
            ("0", None),
            ("-1", None),
            ("yesterday", None),
            ("", None),
            ("99999999999999999999999999", None),
        ] {
            assert_eq!(seconds(text), read, "{text:?}");
        }
    }
}

//! Reads ages and times on the command line.

use std::time::Duration;

use anyhow::anyhow;

use crate::time::Timestamp;

/// Reads an age in seconds: `90s`, `5m`, `4h`, `2d`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let refused = || format!("\"{text}\" is no age; write a number and s, m, h or d, as in 4h");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(refused()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| refused())?;
    number.checked_mul(unit).ok_or_else(refused)
}

/// Reads a time in RFC 3339, or an age: `90s`, `5m`, `4h`, `5d`.
pub(super) fn ago_or_at(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = seconds(text).map_err(|_| {
        anyhow!("\"{text}\" is no time: give one like 2026-11-29T08:00:00Z, or how long ago, like 5m, 4h or 5d")
    })?;
    Ok(Timestamp::now() - Duration::from_secs(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_carry_their_unit() {
        assert_eq!(["90s", "5m", "4h", "2d"].map(|text| seconds(text).unwrap()), [90, 300, 14_400, 172_800]);
        for text in ["", "5", "h", "-1h", "1w", "99999999999999999999d", "1h "] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_given_as_it_is_or_as_how_long_ago() {
        assert_eq!(ago_or_at("1970-01-01T00:00:01Z").unwrap(), Timestamp::from_millis(1000));
        let then = ago_or_at("2h").unwrap();
        let ago = Timestamp::now().since(then);
        assert!(ago >= Duration::from_secs(7200) && ago < Duration::from_secs(7260), "{ago:?}");
        for text in ["", "h", "5", "5 m", "-5m", "5w", "yesterday", "fem dage", "5å"] {
            assert!(ago_or_at(text).is_err(), "{text:?}");
        }
    }
}

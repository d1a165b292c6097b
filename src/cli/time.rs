//! Points in time as they are given on the command line.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::time::Timestamp;

/// Reads a time in RFC 3339, or how long ago it was: `90s`, `5m`, `4h`, `5d`.
pub(super) fn ago_or_at(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let hint =
        || format!("\"{text}\" is no time: give one like 2026-11-29T08:00:00Z, or how long ago, like 5m, 4h or 5d");
    let Some((unit_at, unit)) = text.char_indices().last() else { bail!(hint()) };
    let secs_a_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => bail!(hint()),
    };
    let count: u64 = text[..unit_at].parse().ok().with_context(hint)?;
    Ok(Timestamp::now() - Duration::from_secs(count.saturating_mul(secs_a_unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_as_it_is_or_as_how_long_ago() {
        assert_eq!(ago_or_at("1970-01-01T00:00:01Z").unwrap(), Timestamp::from_millis(1000));
        let ago = Timestamp::now().since(ago_or_at("2h").unwrap());
        assert!(ago >= Duration::from_secs(7200) && ago < Duration::from_secs(7260), "{ago:?}");
        for text in ["", "h", "5", "5 m", "-5m", "5w", "yesterday", "fem dage", "5å"] {
            assert!(ago_or_at(text).is_err(), "{text:?}");
        }
    }
}

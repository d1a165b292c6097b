//! Numbers in strangers' text.

use std::str::FromStr;

/// Reads a number that consists of digits. `str::parse` also takes a plus sign, which the grammars here do not have.
pub(crate) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_number() {
        assert_eq!(digits("0025"), Some(25_u16));
        for none in ["", "+9", "-1", " 7", "7 ", "٣", "65536"] {
            assert_eq!(digits::<u16>(none), None, "{none:?}");
        }
    }
}

//! Octets in hexadecimal.

use std::fmt::Write as _;

/// Writes octets as small hexadecimal digits, two for each.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

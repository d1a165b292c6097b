//! SPF (RFC 7208): the published record, whether and why it lets us send, and the record with us added.
//!
//! mail-auth gives a result but no lookup counts and no reason, so the record is parsed (`record`) and walked
//! ([`walk`](mod@walk)) here; mail-auth's result checks ours in the tests.

#[cfg(test)]
mod broken;
pub(crate) mod check;
pub mod macros;
pub mod merge;
pub(crate) mod obstacle;
pub(crate) mod proposal;
pub(crate) mod record;
mod remarks;
pub(crate) mod repair;
pub mod walk;

use crate::plain;

pub use merge::{Merged, merge};
pub use record::{Directive, Mechanism, Qualifier, Record, SyntaxError};
pub use walk::{Limits, Problem, Query, SpfResult, Step, Walk, walk};

/// Returns true if a TXT value claims to be an SPF record: exactly `v=spf1`, then a space or the end (RFC 7208 §4.5).
pub fn is_spf(text: &[u8]) -> bool {
    let (version, rest) = text.split_at(text.len().min(6));
    version.eq_ignore_ascii_case(b"v=spf1") && (rest.is_empty() || rest[0] == b' ')
}

/// Returns true if a TXT value was meant to be an SPF record but is not one. It may have quotation marks from a web form, a byte order
/// mark, a wrong version, a missing space, or no version at all.
pub fn looks_like_spf(text: &[u8]) -> bool {
    !is_spf(text) && text.len() <= record::MOST_OCTETS && repair::is_meant(&plain::text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_version_is_spf() {
        for text in ["v=spf1", "V=SPF1 -all", "v=spf1  a"] {
            assert!(is_spf(text.as_bytes()), "{text}");
        }
        for text in ["v=spf10 -all", "v=spf1;a", "v=spf", "", "\"v=spf1 -all\"", " v=spf1"] {
            assert!(!is_spf(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn near_misses_are_recognised() {
        for text in [
            "v=spf10 -all",
            "\"v=spf1 -all\"",
            "v= spf1 -all",
            "v = spf1 -all",
            "spf1 a",
            "v=spf1;a",
            "v=spf2 -all",
            " v=spf1 -all",
            "\u{feff}v=spf1 -all",
            "\u{a0}v=spf1 -all",
            "v=spf1\u{a0}-all",
            "v=spf1-all",
            "v=spf1include:x.dk -all",
            "ｖ=spf1 -all",
            "v=sp\u{ad}f1 -all",
            "“v=spf1 -all”",
            "test.dk. IN TXT \"v=spf1 -all\"",
            "@ 3600 IN TXT ( \"v=spf1 mx\" \" -all\" )",
            "SPF: v=spf1 -all",
            "include:x.dk -all",
            "mx a ip4:192.0.2.1 ~all",
        ] {
            assert!(looks_like_spf(text.as_bytes()), "{text}");
        }
        assert!(looks_like_spf(b"v=spf1\xa0-all"), "a no-break space of Windows");
        for text in [
            "v=spf1 -all",
            "google-site-verification=x",
            "v=DMARC1; p=none",
            "v=DKIM1; k=rsa; p=MIIB",
            "spf2.0/pra -all",
            "my spf1 record",
            "all",
            "a text about all",
            "",
        ] {
            assert!(!looks_like_spf(text.as_bytes()), "{text}");
        }
    }
}

//! SPF (RFC 7208): what a domain publishes, whether it lets us send, why, and how it reads with us added.
//!
//! mail-auth gives a verdict but no lookup counts and no reason, so the record is parsed ([`record`]) and walked
//! ([`walk`](mod@walk)) here; mail-auth's verdict checks ours in the tests.

pub mod check;
pub mod macros;
pub mod merge;
pub mod obstacle;
pub mod proposal;
pub mod record;
pub mod walk;

pub use merge::{Merged, merge};
pub use record::{Directive, Mechanism, Qualifier, Record, SyntaxError};
pub use walk::{Limits, Problem, Query, Step, Verdict, Walk, walk};

/// Whether a TXT value claims to be an SPF record: exactly `v=spf1`, then a space or the end (RFC 7208 §4.5).
pub fn is_spf(text: &[u8]) -> bool {
    let (version, rest) = text.split_at(text.len().min(6));
    version.eq_ignore_ascii_case(b"v=spf1") && (rest.is_empty() || rest[0] == b' ')
}

/// Whether a TXT value was meant to be an SPF record and is none: quotes of a web form kept, a dash of a word processor, a
/// wrong version, a missing space.
pub fn looks_like_spf(text: &[u8]) -> bool {
    let squeezed: Vec<u8> = text
        .iter()
        .filter(|octet| octet.is_ascii_alphanumeric() || **octet == b'=')
        .take(16)
        .map(u8::to_ascii_lowercase)
        .collect();
    !is_spf(text) && (squeezed.starts_with(b"v=spf") || squeezed.starts_with(b"spf1") || squeezed.starts_with(b"vspf1"))
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
        for text in
            ["v=spf10 -all", "\"v=spf1 -all\"", "v= spf1 -all", "spf1 a", "v=spf1;a", "v=spf2 -all", " v=spf1 -all"]
        {
            assert!(looks_like_spf(text.as_bytes()), "{text}");
        }
        for text in ["v=spf1 -all", "google-site-verification=x", "v=DMARC1; p=none", "spf2.0/pra -all", ""] {
            assert!(!looks_like_spf(text.as_bytes()), "{text}");
        }
    }
}

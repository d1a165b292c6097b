//! The token itself, and its stored digest.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::hex::{hex, octets};

/// The prefix of every token, by which programs find secrets in source code.
const PREFIX: &str = "postbud_";

/// A new token: 256 random bits as text.
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[allow(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let random = Zeroizing::new(rand::random::<[u8; 32]>());
        Secret(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random.as_slice()))))
    }

    /// Returns the text that its holder presents.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::operate) struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of a presented token.
    pub fn of(secret: &str) -> Self {
        Digest(digest(&SHA256, secret.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 octets"))
    }

    /// Returns the digest as in the table.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        octets(text).map(Digest)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_another_and_its_digest_reads_back() {
        let (one, other) = (Secret::new(), Secret::new());
        assert_ne!(one.as_str(), other.as_str());
        assert_eq!(one.as_str().len(), PREFIX.len() + 43);
        let digest = Digest::of(one.as_str());
        assert!(Digest::from_hex(&digest.to_hex()) == Some(digest) && digest != Digest::of(other.as_str()));
        for text in ["", "00", "zz", &"0".repeat(63), &"é".repeat(32)] {
            assert!(Digest::from_hex(text).is_none(), "{text}");
        }
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}

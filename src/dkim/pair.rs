//! The key pairs of the library, of the types that DKIM knows.

use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};

/// A private key with its public one.
pub(super) enum Pair {
    Rsa { pair: RsaKeyPair, bits: usize },
    Ed25519(Ed25519KeyPair),
}

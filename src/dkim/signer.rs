//! Skeleton of the signing API; replaced by the engine.

use crate::message::Field;
use crate::time::Timestamp;

/// Everything prepared once for a domain: one or more keys, their header lists and canonicalizations.
pub struct Signer;

/// Takes the body while it streams in.
pub struct BodyHasher;

/// The finished body hashes, one a canonicalization.
#[derive(Clone)]
pub struct BodyHash;

/// Why a message could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("not signed")]
pub struct SignError;

impl Signer {
    /// A hasher for the body of a message this signer will sign.
    pub fn body_hasher(&self) -> BodyHasher {
        BodyHasher
    }

    /// Appends the finished `DKIM-Signature:` fields, each with its CRLF, to `out`.
    pub fn sign(
        &self,
        fields: &[Field<'_>],
        body: &BodyHash,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), SignError> {
        let _ = (fields, body, now, out);
        Err(SignError)
    }
}

impl BodyHasher {
    /// Takes the next octets of the body, split anywhere; CRLF line ends, dots not stuffed.
    pub fn update(&mut self, chunk: &[u8]) {
        let _ = chunk;
    }

    /// Ends the body.
    pub fn finish(self) -> BodyHash {
        BodyHash
    }
}

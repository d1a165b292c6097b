//! Skeleton of the signer threads; replaced by the engine.

use std::sync::Arc;

use super::{BodyHash, SignError, Signer};
use crate::time::Timestamp;

/// One message to sign.
pub struct Job {
    /// Whose keys.
    pub signer: Arc<Signer>,
    /// The header block: fields with CRLF, the added ones first, without the blank line.
    pub header: Vec<u8>,
    /// The hashed body.
    pub body: BodyHash,
    /// For `t=`.
    pub now: Timestamp,
}

/// Signer threads behind a bounded queue.
#[derive(Clone)]
pub struct Workers;

impl Workers {
    /// Signs on a signer thread; waits while the queue is full. Gives the `DKIM-Signature:` fields.
    pub async fn sign(&self, job: Job) -> Result<Vec<u8>, SignError> {
        let mut out = Vec::new();
        job.signer.sign(&[], &job.body, job.now, &mut out)?;
        Ok(out)
    }
}

//! The DKIM signing engine (RFC 6376, RFC 8463): streaming body hash, header selection, signature.

pub mod signer;
pub mod workers;

pub use signer::{BodyHash, BodyHasher, SignError, Signer};
pub use workers::{Job, Workers};

//! The DKIM signing engine (RFC 6376, RFC 8463).
//!
//! A message is signed while it comes in, in one pass and without a copy of it:
//!
//! ```text
//! Signer ──body_hasher()──► BodyHasher ──update(chunk)…──► BodyHash ─┐
//!    ▲                      canonical                                ├─ Job ─► Workers ─► DKIM-Signature fields
//! Profiles (key, header list)                    header block ───────┘         Signer::sign
//! ```
//!
//! A [`Signer`] is prepared once for a From domain and holds a [`Profile`] for each signature. If a signature cannot be made,
//! signing returns an error and the caller does not send the message: nothing leaves unsigned.

pub(crate) mod body;
pub mod canonical;
mod der;
mod expiry;
mod fold;
pub(crate) mod headers;
pub mod key;
mod known;
mod pair;
pub mod record;
mod scan;
pub(crate) mod selector;
pub(crate) mod signer;
pub(crate) mod tags;
pub mod verify;
pub(crate) mod workers;

pub use body::{BodyHash, BodyHasher};
pub use canonical::Canonicalization;
pub(crate) use der::rsa_public_bits;
pub use expiry::expiry;
pub use headers::HeaderList;
pub use key::{KeyError, KeyType, SigningKey};
pub(crate) use known::count as keys_in_use;
pub use record::KeyRecord;
pub use selector::{Selector, key_host};
pub use signer::{Profile, SignError, Signer};
pub use workers::{Job, Signed, Workers, one_a_core};

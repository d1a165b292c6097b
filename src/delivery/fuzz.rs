//! For `tests/fuzz` only (feature `fuzzing`): what a smarthost's certificate says, in words.

use super::certificate::{PublicKey, broken_signature_among, describe, is_pinnable};
use crate::visible::is_unseen;

/// Describes octets that a server sent for its certificate.
///
/// # Panics
/// Panics if a description holds a character that is not shown, or has no bound.
pub fn certificate(octets: &[u8]) {
    let key = PublicKey::of(octets);
    let fault = key.as_ref().and_then(PublicKey::fault);
    if let Some(key) = &key {
        assert!(key.info().len() <= octets.len());
        assert!(fault.is_some() || is_pinnable(octets, false), "a key without a fault can be pinned");
    }
    assert!(key.is_some() || !is_pinnable(octets, true));
    let _ = broken_signature_among(std::iter::once(octets));
    let Some(described) = describe(octets) else { return };
    assert_eq!(described.key_fault, fault);
    let single = [&described.subject, &described.issuer, &described.not_after];
    for text in single.into_iter().chain(&described.names).chain(&described.faults) {
        assert!(!text.chars().any(is_unseen), "{text:?}");
        assert!(text.len() <= 5_000, "{} octets", text.len());
    }
    assert!(described.names.len() <= octets.len());
    assert!(described.usable_names().count() <= described.names.len());
}

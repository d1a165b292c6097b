//! The time at which signatures expire.

use crate::message::headers::fields;
use crate::time::Timestamp;

/// Returns the time at which the last signature in a header expires (`x=`, RFC 6376 §3.5). Returns `None` if one of the signatures
/// does not expire or if there is no signature. The header must be one that the [`Signer`](super::Signer) has signed.
pub fn expiry(header: &[u8]) -> Option<Timestamp> {
    let signatures = fields(header).flatten().filter(|field| field.is("DKIM-Signature"));
    let each: Option<Vec<Timestamp>> = signatures.map(|field| expires(field.value())).collect();
    each?.into_iter().max()
}

fn expires(value: &[u8]) -> Option<Timestamp> {
    let value = value.split(|b| *b == b';').find_map(|tag| tag.trim_ascii().strip_prefix(b"x="))?;
    let seconds: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dkim::{BodyHasher, Canonicalization, Profile, Selector, Signer, SigningKey};
    use crate::message::Field;
    use crate::smtp::Domain;

    fn signed(expires: &[Option<Duration>], now: Timestamp) -> Vec<u8> {
        let profiles = expires.iter().map(|expires| {
            // Long, so that the field is folded around its dates.
            let domain = Domain::parse(&format!("{}.test.dk", "x".repeat(50))).unwrap();
            let key = SigningKey::generate_ed25519().unwrap();
            Profile { expires: *expires, ..Profile::new(domain, Selector::parse("postbud1").unwrap(), key) }
        });
        let (mut out, body) =
            (b"Received: by x; x=1;\r\n".to_vec(), BodyHasher::new([Canonicalization::Relaxed]).finish());
        let from = Field::new(b"From: a@test.dk\r\n").unwrap();
        Signer::new(profiles.collect()).unwrap().sign(&[from], &body, now, &mut out).unwrap();
        out
    }

    #[test]
    fn mail_counts_as_signed_until_its_last_signature_expires() {
        let (now, day) = (Timestamp::from_millis(1_795_000_000_000), Duration::from_secs(86_400));
        for (each, last) in [
            (vec![Some(day)], Some(now + day)),
            (vec![Some(day), Some(7 * day), Some(2 * day)], Some(now + 7 * day)),
            (vec![Some(day), None], None),
        ] {
            assert_eq!(expiry(&signed(&each, now)), last, "{each:?}");
        }
        assert_eq!(expiry(b"Date: x\r\nFrom: a@test.dk; x=1\r\n"), None);
    }
}

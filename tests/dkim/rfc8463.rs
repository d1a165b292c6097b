//! RFC 8463 Appendix A: its keys and its message. Ed25519 is deterministic, so the RFC's `b=` must come out of our key
//! and our canonicalization to the octet; the RSA key there has 1024 bits, which we do not sign with, so that signature
//! is checked.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postbud::dkim::{BodyHasher, Canonicalization, KeyRecord, SigningKey, canonical};
use postbud::message::{Field, headers};

use crate::model;

const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const ED25519_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RSA_RECORD: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

const ED25519_SIGNATURE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n";
const RSA_SIGNATURE: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n";

const HEADER: &str = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
const BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

/// What the RFC signs, canonicalized by the engine.
fn signed(signature: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for field in headers::fields(HEADER.as_bytes()) {
        canonical::field(Canonicalization::Relaxed, field.unwrap(), &mut out);
    }
    let before_b = signature.find(" b=").unwrap() + 3;
    canonical::field(Canonicalization::Relaxed, Field::new(&signature.as_bytes()[..before_b]).unwrap(), &mut out);
    // RFC 6376 §3.7: the signature's own field goes without its CRLF.
    out.truncate(out.len() - 2);
    out
}

#[test]
fn the_key_is_the_rfcs() {
    let key = SigningKey::from_ed25519_seed(&BASE64.decode(SEED).unwrap().try_into().unwrap()).unwrap();
    assert!(KeyRecord::parse(ED25519_RECORD).is_of(&key));
    assert!(!KeyRecord::parse(RSA_RECORD).is_of(&key));
}

#[test]
fn the_body_hash_is_the_rfcs() {
    let mut hasher = BodyHasher::new([Canonicalization::Relaxed]);
    hasher.update(BODY.as_bytes());
    let hash = hasher.finish();
    assert_eq!(hash.get(Canonicalization::Relaxed).unwrap(), b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
}

#[test]
fn our_ed25519_signature_is_the_rfcs_to_the_octet() {
    let key = SigningKey::from_ed25519_seed(&BASE64.decode(SEED).unwrap().try_into().unwrap()).unwrap();
    let mut signature = [0; 64];
    key.sign_digest(&digest(&SHA256, &signed(ED25519_SIGNATURE)), &mut signature).unwrap();
    assert_eq!(BASE64.encode(signature), model::tag(ED25519_SIGNATURE.as_bytes(), "b").unwrap());
}

#[test]
fn the_rfcs_rsa_signature_verifies_over_our_canonical_octets() {
    let b = BASE64.decode(model::tag(RSA_SIGNATURE.as_bytes(), "b").unwrap()).unwrap();
    let key = KeyRecord::parse(RSA_RECORD).public_key;
    UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
        .verify(&signed(RSA_SIGNATURE), &b)
        .unwrap();
}

#[test]
fn the_model_verifies_the_rfcs_message() {
    for (signature, record) in [(ED25519_SIGNATURE, ED25519_RECORD), (RSA_SIGNATURE, RSA_RECORD)] {
        let key = KeyRecord::parse(record).public_key;
        assert_eq!(model::verify(signature.as_bytes(), HEADER.as_bytes(), BODY.as_bytes(), &key), Ok(()));
    }
}

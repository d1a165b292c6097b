//! Finds the type and size of the key in a file or record before the cryptographic library reads it, because the library does
//! not say why it refuses a key.

use pkcs1::der::Decode;
use pkcs1::der::asn1::UintRef;
use pkcs1::{RsaPrivateKey, RsaPublicKey};
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};

const RSA_ENCRYPTION: ObjectIdentifier = pkcs1::ALGORITHM_OID;
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The content of a PKCS#8 file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pkcs8 {
    Rsa { bits: usize },
    Ed25519,
    Other(&'static str),
}

/// Reads PrivateKeyInfo (RFC 5208) or OneAsymmetricKey (RFC 5958).
pub(super) fn pkcs8(der: &[u8]) -> Option<Pkcs8> {
    let info = PrivateKeyInfo::from_der(der).ok()?;
    Some(match info.algorithm.oid {
        RSA_ENCRYPTION => Pkcs8::Rsa { bits: rsa_private_bits(info.private_key)? },
        ED25519 => Pkcs8::Ed25519,
        EC_PUBLIC_KEY => Pkcs8::Other("EC"),
        ED448 => Pkcs8::Other("Ed448"),
        _ => Pkcs8::Other("different"),
    })
}

/// Returns the bits of the modulus of an RSAPrivateKey (RFC 8017 A.1.2).
pub(super) fn rsa_private_bits(der: &[u8]) -> Option<usize> {
    bits(RsaPrivateKey::from_der(der).ok()?.modulus)
}

/// Returns the RSAPublicKey in a record's `p=`, which is a SubjectPublicKeyInfo or the bare key; `None` where it is neither.
pub(super) fn rsa_public_key(der: &[u8]) -> Option<&[u8]> {
    let key = match SubjectPublicKeyInfoRef::from_der(der) {
        Ok(info) if info.algorithm.oid == RSA_ENCRYPTION => info.subject_public_key.as_bytes()?,
        Ok(_) => return None,
        Err(_) => der,
    };
    rsa_public_bits(key).map(|_| key)
}

/// What the `p=` of a key record contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InRecord {
    Rsa {
        bits: usize,
    },
    /// The 32 octets of an Ed25519 key.
    Ed25519,
    /// A SubjectPublicKeyInfo with an Ed25519 key.
    WrappedEd25519,
    /// A private key, of any type.
    Private,
}

/// Recognizes what a record publishes, and returns the octets of the public key. `None` if it is no whole key.
pub(super) fn in_record(der: &[u8]) -> Option<(InRecord, &[u8])> {
    // An RSA key that is cut off after 32 octets is not an Ed25519 key: it says how long it should be.
    if der.len() == 32 && !der.starts_with(&[0x30, 0x81]) && !der.starts_with(&[0x30, 0x82]) {
        return Some((InRecord::Ed25519, der));
    }
    if pkcs8(der).is_some() || rsa_private_bits(der).is_some() {
        return Some((InRecord::Private, &[]));
    }
    if let Ok(info) = SubjectPublicKeyInfoRef::from_der(der)
        && info.algorithm.oid == ED25519
    {
        return Some((InRecord::WrappedEd25519, info.subject_public_key.as_bytes()?));
    }
    rsa_public_key(der).and_then(rsa_public_bits).map(|bits| (InRecord::Rsa { bits }, der))
}

/// Returns the bits of the modulus of an RSAPublicKey (RFC 8017 A.1.1).
pub(crate) fn rsa_public_bits(der: &[u8]) -> Option<usize> {
    bits(RsaPublicKey::from_der(der).ok()?.modulus)
}

fn bits(modulus: UintRef<'_>) -> Option<usize> {
    let digits = modulus.as_bytes();
    let first = digits.first().filter(|first| **first != 0)?;
    Some(digits.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_reach_past_the_end_are_refused() {
        for der in [&b""[..], b"\x30", b"\x30\x05", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"\x30\x82\x01"] {
            assert_eq!(pkcs8(der), None);
            assert_eq!(rsa_private_bits(der), None);
            assert_eq!(rsa_public_key(der), None);
        }
    }

    #[test]
    fn the_modulus_is_measured_in_bits() {
        // SEQUENCE { INTEGER 0x00ff (8 bits), INTEGER 3 }
        assert_eq!(rsa_public_bits(b"\x30\x07\x02\x02\x00\xff\x02\x01\x03"), Some(8));
        assert_eq!(rsa_public_bits(b"\x30\x06\x02\x01\x7f\x02\x01\x03"), Some(7));
    }
}

//! As much DER (X.690) as it takes to say what kind of key a file or record holds, and how large, before the
//! cryptographic library judges it: its refusals do not say why.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];

/// What a PKCS#8 file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pkcs8 {
    Rsa { bits: usize },
    Ed25519,
    Other(&'static str),
}

/// Reads PrivateKeyInfo (RFC 5208) or OneAsymmetricKey (RFC 5958).
pub(super) fn pkcs8(der: &[u8]) -> Option<Pkcs8> {
    let (body, _) = take(der, SEQUENCE)?;
    let (_version, rest) = take(body, INTEGER)?;
    let (algorithm, rest) = take(rest, SEQUENCE)?;
    let (oid, _) = take(algorithm, OID)?;
    Some(match oid {
        RSA_ENCRYPTION => Pkcs8::Rsa { bits: rsa_private_bits(take(rest, OCTET_STRING)?.0)? },
        ED25519 => Pkcs8::Ed25519,
        EC_PUBLIC_KEY => Pkcs8::Other("EC"),
        ED448 => Pkcs8::Other("Ed448"),
        _ => Pkcs8::Other("different"),
    })
}

/// The bits of the modulus of an RSAPrivateKey (RFC 8017 A.1.2).
pub(super) fn rsa_private_bits(der: &[u8]) -> Option<usize> {
    let (body, _) = take(der, SEQUENCE)?;
    let (_version, rest) = take(body, INTEGER)?;
    let (modulus, _) = take(rest, INTEGER)?;
    bits(modulus)
}

/// The RSAPublicKey in a record's `p=`: SubjectPublicKeyInfo, or bare. `None` where it is neither.
pub(super) fn rsa_public_key(der: &[u8]) -> Option<&[u8]> {
    let (body, after) = take(der, SEQUENCE)?;
    if !after.is_empty() {
        return None;
    }
    if let Some((algorithm, rest)) = take(body, SEQUENCE) {
        if take(algorithm, OID)?.0 != RSA_ENCRYPTION {
            return None;
        }
        let (key, after) = take(rest, BIT_STRING)?;
        // The first octet of a BIT STRING counts its unused bits.
        return match (key, after) {
            ([0, key @ ..], []) if rsa_public_bits(key).is_some() => Some(key),
            _ => None,
        };
    }
    rsa_public_bits(der).map(|_| der)
}

/// The bits of the modulus of an RSAPublicKey (RFC 8017 A.1.1).
pub(super) fn rsa_public_bits(der: &[u8]) -> Option<usize> {
    let (body, after) = take(der, SEQUENCE)?;
    let (modulus, rest) = take(body, INTEGER)?;
    let (_exponent, end) = take(rest, INTEGER)?;
    (after.is_empty() && end.is_empty()).then(|| bits(modulus)).flatten()
}

fn bits(integer: &[u8]) -> Option<usize> {
    let digits = integer.strip_prefix(&[0]).unwrap_or(integer);
    let first = digits.first()?;
    Some(digits.len() * 8 - first.leading_zeros() as usize)
}

/// Takes one element with the given tag: its content and what follows.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (len, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (octets.iter().fold(0, |len, b| len << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(len)
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

//! PBES2 (RFC 8018) with PBKDF2 and AES-CBC over `aws-lc-rs`, in the DER that PKCS#8 gives it (RFC 5208 §6, EncryptedPrivateKeyInfo).
//!
//! The `pkcs8` crate can decrypt too, but only with a second cryptographic library.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512};
use zeroize::Zeroizing;

use super::SealError;

const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";
const HMAC_SHA1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x07";
const HMAC_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x09";
const HMAC_SHA384: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x0a";
const HMAC_SHA512: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x0b";
const AES_128_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x02";
const AES_192_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x16";
const AES_256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The iterations for new encryptions. Passphrases of a relay are random and long, and a start decrypts many keys.
const ITERATIONS: u32 = 20_000;
/// The most iterations that are accepted, because a file that asks for more would delay the start.
const MOST_ITERATIONS: u32 = 10_000_000;
const IV_LEN: usize = 16;

pub(super) fn decrypt(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (scheme, content) = parse(der).ok_or(SealError::Damaged)?;
    let Scheme { salt, iterations, prf, cipher, iv } = scheme?;
    let mut key = Zeroizing::new(vec![0; cipher.1]);
    pbkdf2::derive(prf, iterations, salt, passphrase, &mut key);
    let mut text = Zeroizing::new(content.to_vec());
    let unbound = UnboundCipherKey::new(cipher.0, &key).map_err(|_| SealError::Damaged)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(unbound).map_err(|_| SealError::Damaged)?;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let plain = key.decrypt(&mut text, context).map_err(|_| SealError::WrongPassphrase)?;
    Ok(Zeroizing::new(plain.to_vec()))
}

/// Encrypts with AES-256 and HMAC-SHA256.
pub(super) fn encrypt(content: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, SealError> {
    let salt: [u8; 16] = rand::random();
    let iterations = NonZeroU32::new(ITERATIONS).expect("a constant that is not zero");
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, passphrase, &mut *key);
    let unbound = UnboundCipherKey::new(&AES_256, &*key).map_err(|_| SealError::Damaged)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(unbound).map_err(|_| SealError::Damaged)?;
    let iv: [u8; IV_LEN] = rand::random();
    let mut text = content.to_vec();
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| SealError::Damaged)?;
    let prf = tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, HMAC_SHA256), tlv(NULL, b"")].concat());
    let iterations = [&[0][..], &ITERATIONS.to_be_bytes()[1..]].concat();
    let kdf = tlv(SEQUENCE, &[tlv(OCTET_STRING, &salt), tlv(INTEGER, shortest(&iterations)), prf].concat());
    let kdf = tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, PBKDF2), kdf].concat());
    let cipher = tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, AES_256_CBC), tlv(OCTET_STRING, &iv)].concat());
    let scheme = tlv(SEQUENCE, &[kdf, cipher].concat());
    let scheme = tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, PBES2), scheme].concat());
    Ok(tlv(SEQUENCE, &[scheme, tlv(OCTET_STRING, &text)].concat()))
}

/// The parameters of an encryption.
struct Scheme<'a> {
    salt: &'a [u8],
    iterations: NonZeroU32,
    prf: pbkdf2::Algorithm,
    /// The cipher, and the length of its key in octets.
    cipher: (&'static Algorithm, usize),
    iv: [u8; IV_LEN],
}

type Parsed<'a> = (Result<Scheme<'a>, SealError>, &'a [u8]);

/// Returns `None` if the input is not an EncryptedPrivateKeyInfo.
fn parse(der: &[u8]) -> Option<Parsed<'_>> {
    let mut outer = Der(Der(der).take(SEQUENCE)?);
    let mut algorithm = Der(outer.take(SEQUENCE)?);
    let content = outer.take(OCTET_STRING)?;
    if algorithm.take(OBJECT_IDENTIFIER)? != PBES2 {
        return Some((Err(SealError::Unsupported("an older scheme than PBES2")), content));
    }
    let mut scheme = Der(algorithm.take(SEQUENCE)?);
    let (mut kdf, mut cipher) = (Der(scheme.take(SEQUENCE)?), Der(scheme.take(SEQUENCE)?));
    let kdf_name = kdf.take(OBJECT_IDENTIFIER)?;
    if kdf_name != PBKDF2 {
        let what = if kdf_name == SCRYPT { "scrypt" } else { "a key derivation other than PBKDF2" };
        return Some((Err(SealError::Unsupported(what)), content));
    }
    let mut parameters = Der(kdf.take(SEQUENCE)?);
    let salt = parameters.take(OCTET_STRING)?;
    let iterations = number(parameters.take(INTEGER)?)?;
    let iterations = NonZeroU32::new(iterations)?;
    // The optional key length is skipped, because the cipher determines it.
    if parameters.0.first() == Some(&INTEGER) {
        parameters.take(INTEGER)?;
    }
    let prf = match parameters.0.is_empty() {
        true => HMAC_SHA1,
        false => Der(parameters.take(SEQUENCE)?).take(OBJECT_IDENTIFIER)?,
    };
    let prf = match prf {
        HMAC_SHA1 => PBKDF2_HMAC_SHA1,
        HMAC_SHA256 => PBKDF2_HMAC_SHA256,
        HMAC_SHA384 => PBKDF2_HMAC_SHA384,
        HMAC_SHA512 => PBKDF2_HMAC_SHA512,
        _ => return Some((Err(SealError::Unsupported("an unusual hash")), content)),
    };
    let cipher_name = cipher.take(OBJECT_IDENTIFIER)?;
    let algorithm = match cipher_name {
        AES_128_CBC => (&AES_128, 16),
        AES_192_CBC => (&AES_192, 24),
        AES_256_CBC => (&AES_256, 32),
        _ => return Some((Err(SealError::Unsupported("a cipher other than AES-CBC")), content)),
    };
    if iterations.get() > MOST_ITERATIONS {
        return Some((Err(SealError::Unsupported("more than 10,000,000 iterations")), content));
    }
    let iv = cipher.take(OCTET_STRING)?.try_into().ok()?;
    Some((Ok(Scheme { salt, iterations, prf, cipher: algorithm, iv }), content))
}

fn number(octets: &[u8]) -> Option<u32> {
    let digits = shortest(octets);
    (digits.len() <= 5 && octets.first()? & 0x80 == 0).then_some(())?;
    u32::try_from(digits.iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet))).ok()
}

/// Removes leading zeros that an INTEGER does not need.
fn shortest(octets: &[u8]) -> &[u8] {
    match octets {
        [0, next, ..] if next & 0x80 == 0 => shortest(&octets[1..]),
        octets => octets,
    }
}

/// Reads DER elements one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [found, first, rest @ ..] = self.0 else { return None };
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
            _ => return None,
        };
        (*found == tag && length <= rest.len()).then(|| {
            self.0 = &rest[length..];
            &rest[..length]
        })
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        // Keys and passwords are much shorter than 64 KiB.
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&head[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_is_decrypted_and_no_octet_may_change_unseen_in_its_frame() {
        let content = vec![7; 1200];
        let der = encrypt(&content, b"right").unwrap();
        assert_eq!(*decrypt(&der, b"right").unwrap(), content);
        for length in 0..der.len() {
            assert!(decrypt(&der[..length], b"right").is_err(), "{length}");
        }
        assert_ne!(decrypt(&der, b"wrong").ok().map(|plain| plain.to_vec()), Some(content));
    }

    #[test]
    fn lengths_that_reach_past_the_end_and_numbers_that_are_none_are_refused() {
        for der in
            [&b""[..], b"\x30", b"\x30\x05", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"\x30\x82\x01", b"\x30\x81"]
        {
            assert_eq!(decrypt(der, b"x"), Err(SealError::Damaged), "{der:?}");
        }
        for (octets, expected) in [
            (&b"\x00\x00"[..], Some(0)),
            (b"\x08\x00", Some(2048)),
            (b"\x00\xff\xff\xff\xff", Some(u32::MAX)),
            (b"\xff", None),
            (b"\x01\x00\x00\x00\x00", None),
            (b"", None),
        ] {
            assert_eq!(number(octets), expected, "{octets:?}");
        }
    }
}

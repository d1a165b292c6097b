//! Private keys: reading from PEM, generating, writing as PEM, and signing.
//!
//! Supported keys are RSA (PKCS#1 or PKCS#8, 2048 bits or more) and Ed25519 (PKCS#8 v1 and v2, RFC 8410). PKCS#8 may be encrypted. A key that cannot
//! be used is refused before any mail is signed with it. The error gives the reason and says what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::{PemObject, SectionKind};
use zeroize::{Zeroize, Zeroizing};

use super::der;
use super::known::{self, Name};
use super::pair::Pair;
use crate::files::{self, ReadError};
use crate::sealed::{self, CommandError, Passphrase, SealError};

/// The smallest RSA key that signs. Verifiers accept 1024 bits (RFC 8301 §3.2), but signers should use 2048 or more.
pub const MIN_RSA_BITS: usize = 2048;
/// The length in octets of the longest signature, made by an RSA key of 8192 bits.
pub(super) const MAX_SIGNATURE_LEN: usize = 1024;

/// Why a key cannot be used. Each message tells the operator what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file holds no private key.
    #[error(
        "no private key in PEM form here: expected -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----; make one with `postbud dkim keygen`"
    )]
    NoKey,
    /// The key is encrypted in PKCS#8 and cannot be decrypted.
    #[error("the private key cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// The key is encrypted in the older form of PKCS#1.
    #[error(
        "the private key is encrypted in an old form: encrypt it anew with `openssl pkcs8 -topk8`, or remove the passphrase with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Encrypted,
    /// The command that fetches the key failed.
    #[error("{0}")]
    Command(#[from] CommandError),
    /// The file holds a public key or a certificate instead of the private key.
    #[error("this is a {0}, not a private key: give the file that holds the private key")]
    NotPrivate(&'static str),
    /// DKIM does not know this type of key, for example EC.
    #[error("this is a {0} key, which DKIM does not know: use RSA or Ed25519 (`postbud dkim keygen`)")]
    Unsupported(&'static str),
    /// The RSA key has fewer than [`MIN_RSA_BITS`] bits.
    #[error(
        "RSA with {0} bits is too weak (RFC 8301) and receivers reject it: make a 2048-bit key with `postbud dkim keygen` under a new selector"
    )]
    TooWeak(usize),
    /// The file holds a private key that cannot be decoded.
    #[error(
        "the private key is damaged ({0}): restore it, or make a new one with `postbud dkim keygen` under a new selector"
    )]
    Damaged(String),
    /// RSA keys are not generated in this size.
    #[error("RSA keys are made with 2048, 3072 or 4096 bits, not {0}")]
    NoSuchSize(usize),
    /// The random number generator or the cryptographic library failed.
    #[error("the key could not be made: the cryptographic library failed")]
    Library,
    /// The signer was given no profile.
    #[error("nothing to sign with: at least one key is needed")]
    NoProfile,
    /// `selector._domainkey.domain` is longer than a DNS name may be.
    #[error("{0} is longer than the 253 octets of a DNS name: choose a shorter selector")]
    NameTooLong(String),
    /// RFC 6376 or our own rules forbid this header list.
    #[error("header list: {0}")]
    HeaderList(String),
    /// `i=` is neither in the domain `d=` nor below it.
    #[error("identity {identity} is not in {domain} or below (RFC 6376 §3.5, i=)")]
    Identity {
        /// The value of `i=`.
        identity: String,
        /// The value of `d=`.
        domain: String,
    },
    /// The file could not be read.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The operating system's error text.
        reason: String,
    },
}

/// A private key that signs mail.
pub struct SigningKey(Arc<Pair>);

impl SigningKey {
    /// Reads the first private key of a PEM file. Another function reads one that is encrypted.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        Self::from_pem_with(pem, None)
    }

    fn new(pair: Pair) -> Self {
        SigningKey(Arc::new(pair))
    }

    /// Reads the first private key of a PEM file, which may be encrypted with this passphrase. A key that is in use already is not read
    /// again.
    pub fn from_pem_with(pem: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let name = Name::of(pem, passphrase);
        if let Some(pair) = known::find(&name) {
            return Ok(SigningKey(pair));
        }
        let key = Self::from_new_pem(pem, passphrase)?;
        known::keep(name, &key.0);
        Ok(key)
    }

    fn from_new_pem(pem: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        if let Some(opened) = sealed::open_key(pem, passphrase) {
            let pkcs8 = opened?;
            // The octets that a wrong passphrase gives may look like valid padding, but never like a key.
            return match der::pkcs8(&pkcs8) {
                Some(_) => Self::from_pkcs8(&pkcs8),
                None => Err(SealError::WrongPassphrase.into()),
            };
        }
        if memchr::memmem::find(pem, b"Proc-Type: 4,ENCRYPTED").is_some() {
            return Err(KeyError::Encrypted);
        }
        let mut other = None;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|e| KeyError::Damaged(e.to_string()))?;
            let der = Zeroizing::new(der);
            match kind {
                SectionKind::PrivateKey => return Self::from_pkcs8(&der),
                SectionKind::RsaPrivateKey => return Self::from_pkcs1(&der),
                SectionKind::EcPrivateKey => other = Some(KeyError::Unsupported("EC")),
                SectionKind::PublicKey => other = Some(KeyError::NotPrivate("public key")),
                SectionKind::Certificate => other = Some(KeyError::NotPrivate("certificate")),
                _ => {}
            }
        }
        Err(other.unwrap_or(KeyError::NoKey))
    }

    /// Reads the key from a PEM file, which may be encrypted with this passphrase. If other users may read the file, also returns a
    /// warning that says what to do.
    pub fn from_file(path: &Path, passphrase: Option<&Passphrase>) -> Result<(Self, Option<String>), KeyError> {
        let (pem, warning) = read(path)?;
        Ok((Self::from_pem_with(&pem, passphrase)?, warning))
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        // An encrypted PKCS#1 key has PEM headers ("Proc-Type: 4,ENCRYPTED") and a body that is not DER.
        let bits = der::rsa_private_bits(der).ok_or_else(|| KeyError::Damaged("not an RSAPrivateKey".into()))?;
        Self::rsa(bits, RsaKeyPair::from_der(der))
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        match der::pkcs8(der) {
            Some(der::Pkcs8::Rsa { bits }) => Self::rsa(bits, RsaKeyPair::from_pkcs8(der)),
            Some(der::Pkcs8::Ed25519) => Ed25519KeyPair::from_pkcs8(der)
                .map(|pair| SigningKey::new(Pair::Ed25519(pair)))
                .map_err(|e| KeyError::Damaged(e.to_string())),
            Some(der::Pkcs8::Other(name)) => Err(KeyError::Unsupported(name)),
            None => Err(KeyError::Damaged("not PKCS#8".into())),
        }
    }

    fn rsa(bits: usize, pair: Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>) -> Result<Self, KeyError> {
        if bits < MIN_RSA_BITS {
            return Err(KeyError::TooWeak(bits));
        }
        let pair = pair.map_err(|e| KeyError::Damaged(e.to_string()))?;
        Ok(SigningKey::new(Pair::Rsa { pair, bits }))
    }

    /// Makes the key from the 32 octets of an Ed25519 seed, the form in which RFC 8463 prints its example key.
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|e| KeyError::Damaged(e.to_string()))?;
        Ok(SigningKey::new(Pair::Ed25519(pair)))
    }

    /// Makes an RSA key with 2048, 3072 or 4096 bits. This can take seconds.
    pub fn generate_rsa(bits: usize) -> Result<Self, KeyError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            other => return Err(KeyError::NoSuchSize(other)),
        };
        let pair = RsaKeyPair::generate(size).map_err(|_| KeyError::Library)?;
        Ok(SigningKey::new(Pair::Rsa { pair, bits }))
    }

    /// Makes an Ed25519 key.
    pub fn generate_ed25519() -> Result<Self, KeyError> {
        Ok(SigningKey::new(Pair::Ed25519(Ed25519KeyPair::generate().map_err(|_| KeyError::Library)?)))
    }

    /// Makes another key of the same type. A new RSA key has at least as many bits as this one, up to 4096. This can take seconds.
    pub fn generate_like(&self) -> Result<Self, KeyError> {
        match *self.0 {
            Pair::Rsa { bits: ..=2048, .. } => Self::generate_rsa(2048),
            Pair::Rsa { bits: ..=3072, .. } => Self::generate_rsa(3072),
            Pair::Rsa { .. } => Self::generate_rsa(4096),
            Pair::Ed25519(_) => Self::generate_ed25519(),
        }
    }

    fn to_pkcs8(&self) -> Result<Pkcs8V1Der<'_>, KeyError> {
        match &*self.0 {
            Pair::Rsa { pair, .. } => pair.as_der(),
            Pair::Ed25519(pair) => pair.as_der(),
        }
        .map_err(|_| KeyError::Library)
    }

    /// Returns the private key as PKCS#8 in PEM, encrypted with this passphrase.
    pub fn to_sealed_pem(&self, passphrase: &Passphrase) -> Result<String, KeyError> {
        Ok(sealed::seal_key(self.to_pkcs8()?.as_ref(), passphrase)?)
    }

    /// Returns the private key as PKCS#8 v1 in PEM, which every tool reads.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let der = self.to_pkcs8()?;
        let mut text = BASE64.encode(der.as_ref());
        let mut pem = Zeroizing::new(String::with_capacity(text.len() * 66 / 64 + 64));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        text.zeroize();
        Ok(pem)
    }

    /// Returns the octets of the public key that `p=` holds in base64: SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), the bare
    /// 32 octets for Ed25519 (RFC 8463 §4.2).
    pub fn public_key(&self) -> Result<Vec<u8>, KeyError> {
        match &*self.0 {
            Pair::Rsa { pair, .. } => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyError::Library)?;
                Ok(der.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.public_key().as_ref().to_vec()),
        }
    }

    /// Returns true if both are one key in memory.
    #[cfg(test)]
    pub(super) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the value of `p=` in the key record.
    pub fn public_key_base64(&self) -> Result<String, KeyError> {
        Ok(BASE64.encode(self.public_key()?))
    }

    /// Returns the key type, which the key record has in `k=`.
    pub fn key_type(&self) -> KeyType {
        match &*self.0 {
            Pair::Rsa { .. } => KeyType::Rsa,
            Pair::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// Returns the size of the key in bits: the length of the modulus for RSA, 256 for Ed25519.
    pub fn bits(&self) -> usize {
        match &*self.0 {
            Pair::Rsa { bits, .. } => *bits,
            Pair::Ed25519(_) => 256,
        }
    }

    /// Returns the value of `a=` in signatures made with this key.
    pub fn algorithm(&self) -> &'static str {
        match &*self.0 {
            Pair::Rsa { .. } => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// Returns the length of a signature in octets.
    pub fn signature_len(&self) -> usize {
        match &*self.0 {
            Pair::Rsa { pair, .. } => pair.public_modulus_len(),
            Pair::Ed25519(_) => 64,
        }
    }

    /// Signs the SHA-256 digest of the header and writes the signature to `out`, which must have [`Self::signature_len`] octets.
    pub fn sign_digest(&self, digest: &Digest, out: &mut [u8]) -> Result<(), KeyError> {
        match &*self.0 {
            Pair::Rsa { pair, .. } => pair.sign_digest(&RSA_PKCS1_SHA256, digest, out).map_err(|_| KeyError::Library),
            Pair::Ed25519(pair) => {
                // RFC 8463 §3: PureEdDSA over the SHA-256 of the header.
                let signature = pair.try_sign(digest.as_ref()).map_err(|_| KeyError::Library)?;
                out.copy_from_slice(signature.as_ref());
                Ok(())
            }
        }
    }
}

/// Shows the type and size of the key, never the key itself.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {} bits)", self.key_type(), self.bits())
    }
}

/// The types of key that DKIM knows, named in `k=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `rsa` (RFC 6376).
    Rsa,
    /// `ed25519` (RFC 8463).
    Ed25519,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyType::Rsa => "rsa",
            KeyType::Ed25519 => "ed25519",
        })
    }
}

/// Reads a file with a key, of any form. If other users may read it, also returns a warning that says what to do.
pub fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Option<String>), KeyError> {
    let io = |e: std::io::Error| KeyError::Io { path: path.to_owned(), reason: e.to_string() };
    let pem = files::read_plain(path).map_err(|error| match error {
        ReadError::NotPlain(_) => KeyError::Io { path: path.to_owned(), reason: "is not a file with a key".to_owned() },
        ReadError::Io(error) => io(error),
    })?;
    let warning = readable_by_others(path).map_err(io)?;
    Ok((pem, warning))
}

/// Returns a warning if the group or others may read the key file.
fn readable_by_others(path: &Path) -> std::io::Result<Option<String>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode();
    Ok((mode & 0o077 != 0)
        .then(|| format!("{} can be read by others (mode {:03o}): chmod 600 it", path.display(), mode & 0o777)))
}

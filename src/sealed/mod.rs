//! Keys and passwords that are encrypted on disk, or that a command fetches from a vault.
//!
//! In memory they are in clear, and are wiped when dropped. A private key is encrypted in the usual way: PKCS#8 with a passphrase
//! (`-----BEGIN ENCRYPTED PRIVATE KEY-----`, PBES2). A password is encrypted with the same scheme in a block of our own. The passphrase is
//! kept in another place, so the disk or a backup alone reveals neither.

mod command;
mod pbes2;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;
use zeroize::Zeroizing;

pub use command::{CommandError, fetch};

/// The label of an encrypted private key (RFC 7468 §11).
const KEY: &str = "ENCRYPTED PRIVATE KEY";
/// The label of an encrypted password.
const SECRET: &str = "POSTBUD ENCRYPTED SECRET";
/// Precedes the password before encryption. After decryption with a wrong passphrase the text does not begin with it.
const MARK: &[u8] = b"postbud secret\n";

/// The passphrase of all encrypted keys and passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    pub fn new(text: Zeroizing<String>) -> Self {
        Passphrase(text)
    }

    pub(crate) fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The debug text never shows the passphrase.
impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why an encrypted key or password cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// No passphrase is configured.
    #[error(
        "it is encrypted, and the server file names no passphrase: set passphrase_file, passphrase_env or passphrase_command in [secrets]"
    )]
    NoPassphrase,
    /// The passphrase is wrong.
    #[error("the passphrase of [secrets] does not open it: give the one that it was encrypted with")]
    WrongPassphrase,
    /// The encryption scheme is not supported.
    #[error(
        "it is encrypted with {0}, which is not supported: encrypt it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256`, or with `postbud seal`"
    )]
    Unsupported(&'static str),
    #[error("it is damaged: restore it from a backup")]
    Damaged,
}

/// Returns true if a file's content is encrypted.
pub fn is_sealed(content: &[u8]) -> bool {
    [KEY, SECRET].iter().any(|label| block(content, label).is_some())
}

/// Decrypts a private key and returns it as PKCS#8. Returns `None` if the content has no encrypted key.
pub fn open_key(content: &[u8], passphrase: Option<&Passphrase>) -> Option<Result<Zeroizing<Vec<u8>>, SealError>> {
    block(content, KEY).map(|der| open(der, passphrase))
}

/// Decrypts a password. Content that is not encrypted is returned as it is.
pub fn open_secret(
    content: Zeroizing<Vec<u8>>,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let Some(der) = block(&content, SECRET) else { return Ok(content) };
    let opened = open(der, passphrase)?;
    let secret = opened.strip_prefix(MARK).ok_or(SealError::WrongPassphrase)?;
    Ok(Zeroizing::new(secret.to_vec()))
}

fn open(der: Option<Vec<u8>>, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let der = der.ok_or(SealError::Damaged)?;
    pbes2::decrypt(&der, passphrase.ok_or(SealError::NoPassphrase)?.octets())
}

/// Encrypts a private key (PKCS#8) into a PEM block.
pub fn seal_key(pkcs8: &[u8], passphrase: &Passphrase) -> Result<String, SealError> {
    Ok(armoured(KEY, &pbes2::encrypt(pkcs8, passphrase.octets())?))
}

/// Encrypts a password into a block.
pub fn seal_secret(secret: &[u8], passphrase: &Passphrase) -> Result<String, SealError> {
    let marked = Zeroizing::new([MARK, secret].concat());
    Ok(armoured(SECRET, &pbes2::encrypt(&marked, passphrase.octets())?))
}

/// Finds a block with this label. Returns `Some(None)` if the block is damaged.
fn block(content: &[u8], label: &str) -> Option<Option<Vec<u8>>> {
    let text = std::str::from_utf8(content).ok()?;
    let (_, after) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let Some((inner, _)) = after.split_once(&format!("-----END {label}-----")) else { return Some(None) };
    let base64: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
    Some(BASE64.decode(base64).ok())
}

fn armoured(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_password_comes_back_only_with_its_passphrase() {
        let sealed = seal_secret(b"tanstaaftanstaaf", &passphrase("right")).unwrap();
        let open = |text: &str, with: Option<&Passphrase>| open_secret(Zeroizing::new(text.as_bytes().to_vec()), with);
        assert_eq!(&**open(&sealed, Some(&passphrase("right"))).unwrap(), b"tanstaaftanstaaf");
        assert_eq!(&**open("plain\n", None).unwrap(), b"plain\n", "what is not encrypted stays");
        assert!(is_sealed(sealed.as_bytes()) && !is_sealed(b"plain\n"));
        assert_eq!(open(&sealed, None), Err(SealError::NoPassphrase));
        // A wrong passphrase may give well-formed padding by chance: never a password.
        for n in 0..400 {
            assert_eq!(open(&sealed, Some(&passphrase(&n.to_string()))), Err(SealError::WrongPassphrase));
        }
        for end in [40, 60, sealed.len() - 20] {
            assert!(open(&sealed[..end], Some(&passphrase("right"))).is_err());
        }
        assert_ne!(sealed, seal_secret(b"tanstaaftanstaaf", &passphrase("right")).unwrap(), "each has its own salt");
    }
}

//! Explains why a smarthost's certificate was refused, and what a person can do. Advice names only what works with this
//! certificate.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, OtherError};

use super::certificate::{Described, KeyFault, PublicKey, broken_signature_among, describe, fingerprint, is_pinnable};
use crate::hex::hex;

/// Why a certificate was refused, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRefusal {
    /// What is wrong with it.
    pub reason: String,
    /// What a person can do.
    pub advice: String,
    /// The key is too short for this handshake, but long enough for TLS 1.2 with PKCS #1 signatures.
    pub leaves_pkcs1: bool,
}

impl CertificateRefusal {
    /// A refusal that another kind of handshake does not change.
    pub fn new(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        CertificateRefusal { reason: reason.into(), advice: advice.into(), leaves_pkcs1: false }
    }

    /// Returns the refusal inside a handshake's error, if there is one.
    pub fn within(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<CertificateRefusal>().cloned()
            }
            _ => None,
        }
    }

    /// Wraps the refusal in the error that rustls passes on.
    pub fn into_error(self) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

impl fmt::Display for CertificateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.advice)
    }
}

impl StdError for CertificateRefusal {}

/// A certificate that the server showed, and the circumstances.
pub struct ShownCertificate<'a> {
    /// The certificate in DER.
    pub certificate: &'a CertificateDer<'a>,
    /// The certificates that came with it.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The route allows TLS 1.2.
    pub takes_tls12: bool,
}

impl ShownCertificate<'_> {
    /// The refusal of a certificate that is not the pinned one.
    pub fn not_pinned(&self) -> CertificateRefusal {
        let pin = hex(&fingerprint(self.certificate));
        let reason = format!("the server's certificate is not the pinned one; its SHA-256 is {pin}");
        let advice = match self.pin() {
            Some(_) => "if the customer has renewed it, pin the new one".to_owned(),
            None => self.another(),
        };
        CertificateRefusal::new(reason, advice)
    }

    /// The refusal of the pinned certificate, because its key cannot check the handshake's signature.
    pub fn unusable_key(&self, fault: Option<KeyFault>) -> CertificateRefusal {
        let leaves_pkcs1 = fault.is_some_and(KeyFault::leaves_pkcs1) && self.takes_tls12;
        let reason = match fault {
            Some(fault) => {
                format!("the handshake's signature cannot be checked by the key of the server's certificate: {fault}")
            }
            None => "the key of the server's certificate cannot be read".to_owned(),
        };
        let another = self.another();
        let advice = if leaves_pkcs1 { format!("{another}, or TLS 1.2 besides TLS 1.3") } else { another };
        CertificateRefusal { leaves_pkcs1, ..CertificateRefusal::new(reason, advice) }
    }

    /// The refusal of a certificate that is not accepted for this name.
    pub fn not_trusted(&self, error: &Error, expected: &ServerName<'_>) -> CertificateRefusal {
        let Some(cert) = describe(self.certificate) else {
            let reason = format!("the server's certificate cannot be read: {error}");
            return CertificateRefusal::new(reason, self.pin().unwrap_or_else(|| self.another()));
        };
        let Error::InvalidCertificate(why) = error else {
            return CertificateRefusal::new(error.to_string(), self.another());
        };
        let (reason, advice) = self.why(&cert, why, expected);
        match cert.faults.as_slice() {
            [] => CertificateRefusal::new(reason, advice),
            // Each of these faults would have the certificate refused after everything else is corrected.
            faults => {
                let reason = match is_of_fault(why) && !cert.self_signed {
                    true => refused_for(faults),
                    false => format!("{reason}; it is refused for more: {}", faults.join(", ")),
                };
                CertificateRefusal::new(reason, self.pin().unwrap_or_else(|| self.another()))
            }
        }
    }

    /// The refusal of an accepted certificate whose key could not check the handshake's signature. `None` if the key is
    /// in order.
    pub fn faulty(&self) -> Option<CertificateRefusal> {
        let cert = describe(self.certificate)?;
        cert.key_fault?;
        Some(CertificateRefusal::new(refused_for(&cert.faults), self.pin().unwrap_or_else(|| self.another())))
    }

    fn why(&self, cert: &Described, why: &CertificateError, expected: &ServerName<'_>) -> (String, String) {
        let or_pin = |advice: &str| match self.pin() {
            Some(pin) => format!("{advice}, or {pin}"),
            None => advice.to_owned(),
        };
        match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                format!("the server's certificate expired on {}", cert.not_after),
                "the server's administrator must renew it".to_owned(),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the server's certificate is not valid yet".to_owned(),
                "is this machine's clock right? If it is, the server needs another certificate".to_owned(),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let names = if cert.names.is_empty() {
                    format!("no name at all (subject {})", cert.subject)
                } else {
                    cert.names.join(", ")
                };
                let expected = expected.to_str();
                let wildcards: Vec<_> = cert.wildcards().collect();
                let advice = if cert.usable_names().next().is_some() {
                    "use one of its names as host, or name it in server_name".to_owned()
                } else if !wildcards.is_empty() {
                    or_pin(&format!("give in server_name a name that {} stands for", wildcards.join(", ")))
                } else {
                    or_pin("have the server given a certificate with its name in it (subjectAltName)")
                };
                (format!("the server's certificate is for {names}, not for {expected}"), advice)
            }
            // For a certificate that is its own CA, webpki gives only a text.
            _ if cert.self_signed => (
                format!("the server's certificate is self-signed ({})", cert.subject),
                self.pin().map_or_else(|| self.another(), |pin| format!("if it is the customer's, {pin}")),
            ),
            // An unknown authority with a known name shows as a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let parsed = ParsedCertificate::try_from(self.certificate);
                let advice = match parsed.and_then(|parsed| verify_server_name(&parsed, expected)).is_ok() {
                    true => or_pin("put the authority's certificate into ca_file"),
                    false => self.pin().unwrap_or_else(|| self.another()),
                };
                let issuer = &cert.issuer;
                (format!("the server's certificate comes from an authority that is not known here ({issuer})"), advice)
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
                "the server's certificate is not one for servers (extended key usage)".to_owned(),
                self.pin().unwrap_or_else(|| self.another()),
            ),
            _ => {
                let among = broken_signature_among(self.intermediates.iter().map(AsRef::as_ref));
                let reason = match among.filter(|_| is_of_fault(why)) {
                    Some(words) => {
                        format!("a certificate of the authorities that the server's comes from is refused: {words}")
                    }
                    None => format!("the server's certificate is refused: {why}"),
                };
                (reason, self.pin().unwrap_or_else(|| self.another()))
            }
        }
    }

    /// The advice to pin the certificate, if that works.
    fn pin(&self) -> Option<String> {
        let pin = hex(&fingerprint(self.certificate));
        let is_short = PublicKey::of(self.certificate).is_some_and(|key| key.fault().is_some());
        is_pinnable(self.certificate, self.takes_tls12).then(|| match is_short {
            true => format!("pin its SHA-256, which works over TLS 1.2: {pin}"),
            false => format!("pin its SHA-256: {pin}"),
        })
    }

    /// What the server's administrator should do.
    fn another(&self) -> String {
        let bad_key = PublicKey::of(self.certificate).is_none_or(|key| key.fault().is_some());
        match bad_key {
            true => {
                "the server needs another certificate, with an RSA key of 2,048 to 8,192 bits or one on the curve P-256"
            }
            false => "the server needs another certificate",
        }
        .to_owned()
    }
}

fn refused_for(faults: &[String]) -> String {
    format!("the server's certificate is refused: {}", faults.join(", "))
}

/// Returns true if the error may come from one of [`Described::faults`].
fn is_of_fault(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::BadEncoding
            | CertificateError::UnhandledCriticalExtension
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            | CertificateError::BadSignature
            | CertificateError::Other(_)
    )
}

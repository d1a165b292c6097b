//! Describes a certificate, and what in it the TLS library does not accept, in words. The server wrote the certificate,
//! so its content is shown as text only.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use pkcs1::der::asn1::{AnyRef, BitStringRef};
use pkcs1::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use pkcs8::ObjectIdentifier;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::dkim::rsa_public_bits;
use crate::smtp::Domain;
use crate::visible::visible;

const RSA_ENCRYPTION: ObjectIdentifier = pkcs1::ALGORITHM_OID;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The sizes in bits of the RSA keys whose signatures the library checks, whatever their kind.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The least size in bits of the RSA keys whose PKCS #1 signatures it checks. TLS 1.2 has such signatures.
const LEAST_RSA_BITS: usize = 1024;
/// The extensions that webpki reads. It refuses a certificate with any other extension that is critical.
const KNOWN_EXTENSIONS: [&str; 6] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.37"];
/// Signature algorithms that are broken, so that nobody signs or checks certificates with them any more.
const BROKEN_SIGNATURES: [(&str, &str); 5] = [
    ("1.2.840.113549.1.1.5", "signed with SHA-1"),
    ("1.3.14.3.2.29", "signed with SHA-1"),
    ("1.2.840.10045.4.1", "signed with SHA-1"),
    ("1.2.840.113549.1.1.4", "signed with MD5"),
    ("1.2.840.113549.1.1.2", "signed with MD2"),
];

/// The signature algorithms that the library checks.
static KNOWN: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| default_provider().signature_verification_algorithms);

/// The SHA-256 of a certificate's DER.
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    digest(&SHA256, certificate).as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// A certificate's public key.
pub struct PublicKey<'a> {
    /// The SubjectPublicKeyInfo (RFC 5280 §4.1).
    info: &'a [u8],
    /// The content of its AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The content of its bit string.
    pub bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Reads only the key, so that no other part of a certificate keeps the key from being used.
    pub fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut certificate = SliceReader::new(inside(certificate)?).ok()?;
        let mut fields = SliceReader::new(AnyRef::decode(&mut certificate).ok()?.value()).ok()?;
        // The fields before it are serial number, signature, issuer, validity and subject, and the version unless that
        // is 1.
        let version = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
        let mut before = 5;
        while before > 0 {
            let field = AnyRef::decode(&mut fields).ok()?;
            before -= usize::from(field.tag() != version);
        }
        let info = fields.tlv_bytes().ok()?;
        let mut parts = SliceReader::new(inside(info)?).ok()?;
        let algorithm = AnyRef::decode(&mut parts).ok()?.value();
        let bits = BitStringRef::decode(&mut parts).ok()?.as_bytes()?;
        Some(PublicKey { info, algorithm, bits })
    }

    pub fn info(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.info)
    }

    /// Why the key cannot check signatures, or not all kinds of them.
    pub fn fault(&self) -> Option<KeyFault> {
        let mut words = SliceReader::new(self.algorithm).ok()?;
        let kind = ObjectIdentifier::decode(&mut words).ok();
        if kind == Some(RSA_ENCRYPTION) {
            let bits = rsa_public_bits(self.bits).unwrap_or(0);
            return (!RSA_BITS.contains(&bits)).then_some(KeyFault::Bits(bits));
        }
        if KNOWN.all.iter().any(|algorithm| algorithm.public_key_alg_id().as_ref() == self.algorithm) {
            return None;
        }
        Some(match kind {
            Some(EC_PUBLIC_KEY) => KeyFault::Curve(ObjectIdentifier::decode(&mut words).ok()),
            kind => KeyFault::Kind(kind),
        })
    }
}

/// Returns true if a route may pin this certificate, because its key can check the handshake's signature.
pub fn is_pinnable(certificate: &[u8], takes_tls12: bool) -> bool {
    let allows = |fault: KeyFault| takes_tls12 && fault.leaves_pkcs1();
    PublicKey::of(certificate).is_some_and(|key| key.fault().is_none_or(allows))
}

/// Returns the content of a DER element.
fn inside(der: &[u8]) -> Option<&[u8]> {
    Some(AnyRef::from_der(der).ok()?.value())
}

/// Why a key cannot check signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is an RSA key of this many bits.
    Bits(usize),
    /// It is on an elliptic curve that the library does not know.
    Curve(Option<ObjectIdentifier>),
    /// It is of another kind.
    Kind(Option<ObjectIdentifier>),
}

impl KeyFault {
    /// Returns true if the key can still check PKCS #1 signatures.
    pub fn leaves_pkcs1(self) -> bool {
        matches!(self, KeyFault::Bits(bits) if (LEAST_RSA_BITS..*RSA_BITS.start()).contains(&bits))
    }
}

/// The fault in words: `a key of 1,024 bits`.
impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, what: &str, oid: &Option<ObjectIdentifier>| match oid {
            Some(oid) => write!(f, "{what} that is not known here ({oid})"),
            None => write!(f, "{what} that is not known here"),
        };
        match self {
            KeyFault::Bits(bits @ ..1000) => write!(f, "a key of {bits} bits"),
            KeyFault::Bits(bits) => write!(f, "a key of {},{:03} bits", bits / 1000, bits % 1000),
            KeyFault::Curve(oid) => named(f, "a key on a curve", oid),
            KeyFault::Kind(oid) => named(f, "a key of a kind", oid),
        }
    }
}

/// The parts of a certificate that a person wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The name of the subject.
    pub subject: String,
    /// The name of the issuer.
    pub issuer: String,
    /// The last moment of its validity.
    pub not_after: String,
    /// The names and addresses that the certificate is for.
    pub names: Vec<String>,
    /// The certificate is its own issuer.
    pub self_signed: bool,
    /// What keeps the certificate from being accepted, whatever its authority: `a version 1 certificate`.
    pub faults: Vec<String>,
    /// The fault of its key, which `faults` names, too.
    pub key_fault: Option<KeyFault>,
}

/// Describes a certificate for people. Returns `None` if it cannot be read.
pub fn describe(certificate: &[u8]) -> Option<Described> {
    let (_, cert) = X509Certificate::from_der(certificate).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = cert.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(dns) => names.push(visible(dns).into_owned()),
                GeneralName::IPAddress([a, b, c, d]) => names.push(format!("{a}.{b}.{c}.{d}")),
                GeneralName::IPAddress(v6) => {
                    names.extend(<[u8; 16]>::try_from(*v6).ok().map(|o| std::net::Ipv6Addr::from(o).to_string()));
                }
                _ => {}
            }
        }
    }
    let key_fault = PublicKey::of(certificate).and_then(|key| key.fault());
    let self_signed = cert.subject() == cert.issuer();
    let mut faults = Vec::new();
    if cert.version().0 != 2 {
        faults.push(format!("a version {} certificate", cert.version().0.saturating_add(1)));
    }
    faults.extend(key_fault.map(|fault| fault.to_string()));
    // Nobody checks a self-signed certificate's own signature.
    if !self_signed {
        faults.extend(broken_signature(&cert).map(str::to_owned));
    }
    let unknown = cert.extensions().iter().filter(|extension| extension.critical).map(|e| e.oid.to_id_string());
    let unknown: Vec<_> = unknown.filter(|oid| !KNOWN_EXTENSIONS.contains(&oid.as_str())).collect();
    if !unknown.is_empty() {
        faults.push(format!("a critical extension that is not known here ({})", unknown.join(", ")));
    }
    Some(Described {
        subject: visible(&cert.subject().to_string()).into_owned(),
        issuer: visible(&cert.issuer().to_string()).into_owned(),
        not_after: cert.validity().not_after.to_string(),
        names,
        self_signed,
        faults,
        key_fault,
    })
}

impl Described {
    /// The names that a route can use as `host` or `server_name`.
    pub fn usable_names(&self) -> impl Iterator<Item = &str> {
        let is_usable = |name: &&str| name.parse::<std::net::IpAddr>().is_ok() || Domain::parse(name).is_ok();
        self.names.iter().map(String::as_str).filter(is_usable)
    }

    /// The names that are wildcards: `*.test.dk`.
    pub fn wildcards(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| name.starts_with("*."))
    }
}

/// Names a signature algorithm that is broken: `signed with SHA-1`.
fn broken_signature(cert: &X509Certificate<'_>) -> Option<&'static str> {
    let oid = cert.signature_algorithm.algorithm.to_id_string();
    BROKEN_SIGNATURES.iter().find(|(known, _)| *known == oid).map(|(_, words)| *words)
}

/// Names the broken signature algorithm of the first of these certificates that has one.
pub fn broken_signature_among<'a>(certificates: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
    certificates.filter_map(|der| X509Certificate::from_der(der).ok()).find_map(|(_, cert)| broken_signature(&cert))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn what_a_stranger_wrote_into_a_certificate_is_shown_as_text() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a\x1b[31m\r\nb");
        params.subject_alt_names.push(SanType::DnsName("c\x1b]0;d\x07".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = describe(certificate.der()).unwrap();
        assert_eq!(found.names, ["c\\u{1b}]0;d\\u{7}"]);
        for text in [found.subject, found.issuer] {
            assert!(text.contains("a\\u{1b}[31m\\u{d}\\u{a}b"), "{text}");
        }
    }

    #[test]
    fn describing_a_certificate_costs_in_proportion_to_its_length() {
        fn certificate(names: usize, subject: String) -> Vec<u8> {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, subject);
            let name = |at: usize| SanType::DnsName(format!("a{at:05}.dk").try_into().unwrap());
            params.subject_alt_names.extend((0..names).map(name));
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
        }
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |certificate: &Vec<u8>| {
                describe(certificate);
                PublicKey::of(certificate).map(|key| key.fault().is_some());
                broken_signature_among(std::iter::once(certificate.as_slice()));
            },
            &[
                ("names", |size| certificate(size / 11, "x".to_owned())),
                ("a subject", |size| certificate(1, "x".repeat(size))),
                ("controls in the subject", |size| certificate(1, "\x1b".repeat(size))),
                ("no certificate", |size| vec![0x30; size]),
            ],
        );
    }
}

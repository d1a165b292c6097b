//! Whether a smarthost's certificate is the right one, and if not, why: in words that name the remedy.

use std::error::Error as StdError;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::visible::visible;

/// Why a certificate was refused, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub reason: String,
    /// What a person can do.
    pub advice: String,
}

impl Refusal {
    fn new(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Refusal { reason: reason.into(), advice: advice.into() }
    }

    /// The refusal inside a handshake's error, if that is what it was.
    pub fn within(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref::<Refusal>().cloned(),
            _ => None,
        }
    }

    fn into_error(self) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.advice)
    }
}

impl StdError for Refusal {}

/// Which certificates are right.
#[derive(Debug)]
pub enum Trust {
    /// All: opportunistic TLS.
    Anyone,
    /// The one with this SHA-256.
    Pinned([u8; 32]),
    /// Those that lead to a root and carry the server's name; or stand in the route's own file and carry the name.
    Roots {
        /// Follows the chain.
        verifier: Arc<WebPkiServerVerifier>,
        /// What stands in the route's own file.
        own: Vec<CertificateDer<'static>>,
    },
}

impl Trust {
    /// The system's roots and the route's own certificates.
    pub fn roots(
        system: &RootCertStore,
        own: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut store = system.clone();
        store.add_parsable_certificates(own.iter().cloned());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build().map_err(
                |error| format!("no certificate authority is known, neither of the system nor in ca_file: {error}"),
            )?;
        Ok(Trust::Roots { verifier, own })
    }
}

/// Checks certificates for rustls.
#[derive(Debug)]
pub struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// A verifier that trusts so.
    pub fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        Verifier { trust, provider }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Anyone => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(pin) if fingerprint(end_entity) == *pin => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) => Err(Refusal::new(
                format!(
                    "the server's certificate is not the pinned one; its SHA-256 is {}",
                    hex(&fingerprint(end_entity))
                ),
                "if the customer has renewed it, pin the new one",
            )
            .into_error()),
            Trust::Roots { verifier, own } => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .or_else(|error| match own.iter().any(|known| known == end_entity) {
                    // `openssl req -x509` makes certificates that are their own CA, which webpki takes for no server's. Whoever
                    // puts exactly this certificate into ca_file means it.
                    true => verify_known(end_entity, server_name, now),
                    false => Err(error),
                })
                .map_err(|error| refusal(&error, end_entity, server_name).into_error()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate trusted as such must still be valid now and carry the name.
fn verify_known(cert: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
    let (_, parsed) = X509Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    verify_server_name(&ParsedCertificate::try_from(cert)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// The SHA-256 of a certificate's DER.
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// As pins are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a person wants to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Subject.
    pub subject: String,
    /// Issuer.
    pub issuer: String,
    /// The last moment of its validity.
    pub not_after: String,
    /// The names and addresses it is for.
    pub names: Vec<String>,
    /// It is its own issuer.
    pub self_signed: bool,
}

/// Reads a certificate for people; `None` where it cannot be read. Whoever answers wrote it, so that what stands in it is shown as
/// text.
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
    Some(Described {
        subject: visible(&cert.subject().to_string()).into_owned(),
        issuer: visible(&cert.issuer().to_string()).into_owned(),
        not_after: cert.validity().not_after.to_string(),
        names,
        self_signed: cert.subject() == cert.issuer(),
    })
}

fn refusal(error: &Error, certificate: &[u8], expected: &ServerName<'_>) -> Refusal {
    const OTHER: &str = "the server needs another certificate";
    let expected = expected.to_str();
    let Some(cert) = describe(certificate) else {
        return Refusal::new(format!("the server's certificate cannot be read: {error}"), OTHER);
    };
    let pin = hex(&fingerprint(certificate));
    let Error::InvalidCertificate(why) = error else { return Refusal::new(error.to_string(), OTHER) };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::new(
            format!("the server's certificate expired on {}", cert.not_after),
            "the server's administrator must renew it",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Refusal::new(
            "the server's certificate is not valid yet",
            format!("is this machine's clock right? If it is, {OTHER}"),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = if cert.names.is_empty() {
                format!("no name at all (subject {})", cert.subject)
            } else {
                cert.names.join(", ")
            };
            Refusal::new(
                format!("the server's certificate is for {names}, not for {expected}"),
                "use one of its names as host, or name it in server_name",
            )
        }
        // What webpki says of a certificate that is its own CA comes as a text only.
        _ if cert.self_signed => Refusal::new(
            format!("the server's certificate is self-signed ({})", cert.subject),
            format!("if it is the customer's, pin its SHA-256: {pin}"),
        ),
        // A bad signature is what an unknown authority of a known name looks like.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::new(
            format!("the server's certificate comes from an authority that is not known here ({})", cert.issuer),
            format!("put the authority's certificate into ca_file, or pin the server's SHA-256: {pin}"),
        ),
        _ => Refusal::new(format!("the server's certificate is refused: {error}"), OTHER),
    }
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
}

//! Checks that a smarthost's certificate is accepted, and that the server has its key.
//!
//! Opportunistic TLS accepts any certificate, and a pin names one. In both cases only the certificate's key matters.
//! The key is read by itself, so that a certificate that the TLS library cannot read (of version 1, with an unknown
//! critical extension) works like any other.

use std::sync::Arc;

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{PublicKey, fingerprint};
use super::refusal::{CertificateRefusal, ShownCertificate};

/// Which certificates are accepted.
#[derive(Debug)]
pub enum Trust {
    /// All certificates, for opportunistic TLS.
    Anyone,
    /// Only the certificate with this SHA-256.
    Pinned([u8; 32]),
    /// Certificates for the server's name that lead to a root, or stand in the route's own file.
    Roots {
        /// Checks the chain up to a root.
        verifier: Arc<WebPkiServerVerifier>,
        /// The certificates in the route's own file.
        own: Vec<CertificateDer<'static>>,
    },
}

impl Trust {
    /// Accepts the system's roots and the route's own certificates.
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
    algorithms: WebPkiSupportedAlgorithms,
    /// The handshake uses TLS 1.2 with PKCS #1 signatures, which also keys of 1,024 bits can make.
    by_pkcs1: bool,
    /// The route allows TLS 1.2.
    takes_tls12: bool,
}

impl Verifier {
    /// A verifier that accepts these certificates.
    pub fn new(trust: Trust, provider: &CryptoProvider, takes_tls12: bool) -> Self {
        Verifier { trust, algorithms: provider.signature_verification_algorithms, by_pkcs1: false, takes_tls12 }
    }

    /// A verifier for the pinned certificate whose key is too short for all other kinds of signature.
    pub fn by_pkcs1(pin: [u8; 32], provider: &CryptoProvider) -> Self {
        Verifier { by_pkcs1: true, ..Verifier::new(Trust::Pinned(pin), provider, true) }
    }

    fn shown<'a>(
        &self,
        certificate: &'a CertificateDer<'a>,
        intermediates: &'a [CertificateDer<'a>],
    ) -> ShownCertificate<'a> {
        ShownCertificate { certificate, intermediates, takes_tls12: self.takes_tls12 }
    }

    /// Checks a handshake's signature: by the certificate's key alone if no authority vouches for it.
    fn check_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = match self.trust {
            Trust::Anyone | Trust::Pinned(_) => return self.signed_by_key(message, cert, dss, is_tls13),
            Trust::Roots { .. } if is_tls13 => verify_tls13_signature(message, cert, dss, &self.algorithms),
            Trust::Roots { .. } => verify_tls12_signature(message, cert, dss, &self.algorithms),
        };
        verified.map_err(|error| self.refused(error, cert))
    }

    /// Checks a handshake's signature by a certificate's key alone.
    fn signed_by_key(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = PublicKey::of(cert);
        let fault = key.as_ref().map_or(Some(None), |key| key.fault().map(Some));
        match (key, fault) {
            (Some(key), None) if is_tls13 => {
                verify_tls13_signature_with_raw_key(message, &key.info(), dss, &self.algorithms)
            }
            (Some(key), None) => self.signed(&key, message, dss),
            (Some(key), Some(Some(fault))) if self.by_pkcs1 && fault.leaves_pkcs1() => {
                signed_by_short_key(&key, message, dss)
            }
            // A route that accepts any certificate loses nothing if we cannot check that the server has this one's key.
            // It is still protected from eavesdroppers.
            _ if matches!(self.trust, Trust::Anyone) => Ok(HandshakeSignatureValid::assertion()),
            (_, fault) => Err(self.shown(cert, &[]).unusable_key(fault.flatten()).into_error()),
        }
    }

    /// Checks the signature of a TLS 1.2 handshake. Its scheme does not say which curve the key is on.
    fn signed(
        &self,
        key: &PublicKey<'_>,
        message: &[u8],
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, algorithms) = known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let fits = algorithms.iter().find(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm);
        let valid = fits.is_some_and(|fits| fits.verify_signature(key.bits, message, dss.signature()).is_ok());
        if valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
    }

    /// Explains why the key of a certificate from an accepted authority cannot be used.
    fn refused(&self, error: Error, cert: &CertificateDer<'_>) -> Error {
        self.shown(cert, &[]).faulty().map_or(error, CertificateRefusal::into_error)
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
            Trust::Pinned(_) => Err(self.shown(end_entity, intermediates).not_pinned().into_error()),
            Trust::Roots { verifier, own } => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .or_else(|error| match own.iter().any(|known| known == end_entity) {
                    // `openssl req -x509` makes certificates that are their own CA, which webpki does not accept for
                    // servers. An operator who puts exactly this certificate into ca_file wants it accepted.
                    true => verify_known(end_entity, server_name, now),
                    false => Err(error),
                })
                .map_err(|error| self.shown(end_entity, intermediates).not_trusted(&error, server_name).into_error()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        if self.by_pkcs1 {
            schemes.retain(|scheme| {
                !matches!(
                    scheme,
                    SignatureScheme::RSA_PSS_SHA256
                        | SignatureScheme::RSA_PSS_SHA384
                        | SignatureScheme::RSA_PSS_SHA512
                        | SignatureScheme::RSA_PKCS1_SHA384
                )
            });
        }
        schemes
    }
}

/// Checks the signature of an RSA key of 1,024 bits or a few more.
fn signed_by_short_key(
    key: &PublicKey<'_>,
    message: &[u8],
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithm = match dss.scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        SignatureScheme::RSA_PKCS1_SHA512 => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
    };
    let checked = UnparsedPublicKey::new(algorithm, key.bits).verify(message, dss.signature());
    checked.map(|()| HandshakeSignatureValid::assertion()).map_err(|_| CertificateError::BadSignature.into())
}

/// Checks a certificate that is itself accepted: it must be valid now and have the server's name.
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

//! Whether a smarthost's certificate is the right one, and whether the server has its key.
//!
//! Opportunistic TLS takes any certificate, and a pin names one: nothing but the key of such a certificate matters. It is read by
//! itself, so that a certificate that the TLS library cannot read (of version 1, with an unknown critical extension) is as good as
//! another one.

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
use super::refusal::{Refusal, Shown};

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
    algorithms: WebPkiSupportedAlgorithms,
    /// The handshake is one over TLS 1.2 with PKCS #1 signatures, by which also keys of 1,024 bits are checked.
    by_pkcs1: bool,
    /// The route takes TLS 1.2.
    takes_tls12: bool,
}

impl Verifier {
    /// A verifier that trusts so.
    pub fn new(trust: Trust, provider: &CryptoProvider, takes_tls12: bool) -> Self {
        Verifier { trust, algorithms: provider.signature_verification_algorithms, by_pkcs1: false, takes_tls12 }
    }

    /// One for the pinned certificate whose key is too short for every other kind of signature.
    pub fn by_pkcs1(pin: [u8; 32], provider: &CryptoProvider) -> Self {
        Verifier { by_pkcs1: true, ..Verifier::new(Trust::Pinned(pin), provider, true) }
    }

    fn shown<'a>(&self, certificate: &'a CertificateDer<'a>, intermediates: &'a [CertificateDer<'a>]) -> Shown<'a> {
        Shown { certificate, intermediates, takes_tls12: self.takes_tls12 }
    }

    /// Checks a handshake's signature by the key of a certificate of which nothing else matters.
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
            // Whoever takes any certificate has nothing to lose by not seeing that the server has the key of this one, and is still
            // safe from whoever only listens.
            _ if matches!(self.trust, Trust::Anyone) => Ok(HandshakeSignatureValid::assertion()),
            (_, fault) => Err(self.shown(cert, &[]).unusable_key(fault.flatten()).into_error()),
        }
    }

    /// The signature of a handshake over TLS 1.2, whose scheme does not say which curve the key is on.
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

    /// Says why the key of a certificate that an authority vouches for did not do.
    fn refused(&self, error: Error, cert: &CertificateDer<'_>) -> Error {
        self.shown(cert, &[]).faulty().map_or(error, Refusal::into_error)
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
                    // `openssl req -x509` makes certificates that are their own CA, which webpki takes for no server's. Whoever
                    // puts exactly this certificate into ca_file means it.
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
        match self.trust {
            Trust::Anyone | Trust::Pinned(_) => self.signed_by_key(message, cert, dss, false),
            Trust::Roots { .. } => {
                verify_tls12_signature(message, cert, dss, &self.algorithms).map_err(|error| self.refused(error, cert))
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            Trust::Anyone | Trust::Pinned(_) => self.signed_by_key(message, cert, dss, true),
            Trust::Roots { .. } => {
                verify_tls13_signature(message, cert, dss, &self.algorithms).map_err(|error| self.refused(error, cert))
            }
        }
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

/// The signature by an RSA key of 1,024 bits or a few more.
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

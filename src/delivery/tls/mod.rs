//! TLS with a smarthost, as the route's policy wants it. A refusal gives a reason that a person can act on.

pub(super) mod certificate;
mod refusal;
mod verifier;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore, SupportedProtocolVersion};
use thiserror::Error;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::refusal::CertificateRefusal;
use self::verifier::{Trust, Verifier};
use crate::files;
use crate::machine::net::TcpStream;
use crate::route::{Route, TlsMode, TlsVersion};

/// Why a route's TLS policy cannot be used: a file is missing or holds no certificate. The operator must act.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PolicyError(String);

/// Why the TLS handshake failed.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The server's certificate is not accepted.
    #[error("{0}")]
    Certificate(CertificateRefusal),
    /// There is no common version or cipher, the server sent an alert, or the port does not speak TLS.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

/// The result of the handshake, for logs and the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    pub version: &'static str,
    /// The IANA name of the cipher suite.
    pub cipher: String,
    /// The server's certificate in DER.
    pub certificate: Vec<u8>,
}

/// Why a connection has no TLS although its route uses TLS where possible: an earlier handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub reason: String,
    /// What a person can do, if known.
    pub advice: Option<String>,
}

/// The TLS client of one route. Its connections resume each other's sessions.
pub struct TlsClient {
    usual: TlsConnector,
    /// The connector for a pinned certificate whose key is too short for TLS 1.3. It speaks TLS 1.2 with PKCS #1
    /// signatures.
    by_pkcs1: Option<TlsConnector>,
    /// The server has such a short key.
    has_short_key: AtomicBool,
    name: ServerName<'static>,
}

impl TlsClient {
    /// Reads the policy's files, and blocks on disk meanwhile. Returns `None` if the route does not use TLS.
    pub fn of(route: &Route) -> Result<Option<Self>, PolicyError> {
        let policy = &route.tls;
        if policy.mode == TlsMode::Off {
            return Ok(None);
        }
        let name = policy.server_name.as_deref().unwrap_or(&route.host).trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name.clone())
            .map_err(|_| PolicyError(format!("\"{name}\" is no name that a certificate can have")))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trust = match (policy.mode, policy.pinned_sha256) {
            // This protects only from eavesdroppers. The configuration allows no CA and no pin with it.
            (TlsMode::Opportunistic, _) => Trust::Anyone,
            (_, Some(pin)) => Trust::Pinned(pin),
            (_, None) => {
                let own = policy.ca_file.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
                Trust::roots(&system_roots(), own, &provider).map_err(PolicyError)?
            }
        };
        let takes_tls12 = policy.minimum == TlsVersion::Tls12;
        let own = policy.client_certificate.as_ref().map(|(chain, key)| own_certificate(chain, key)).transpose()?;
        let connector = |versions: &[&'static SupportedProtocolVersion], verifier: Verifier| {
            let builder = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
                .with_protocol_versions(versions)
                .map_err(|error| PolicyError(error.to_string()))?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier));
            let config = match &own {
                None => builder.with_no_client_auth(),
                Some((path, chain, key)) => builder
                    .with_client_auth_cert(chain.clone(), key.clone_key())
                    .map_err(|error| unreadable(path, &error))?,
            };
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let by_pkcs1 = match trust {
            Trust::Pinned(pin) if takes_tls12 => {
                Some(connector(&[&rustls::version::TLS12], Verifier::by_pkcs1(pin, &provider))?)
            }
            _ => None,
        };
        let versions: &[&SupportedProtocolVersion] = match policy.minimum {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let usual = connector(versions, Verifier::new(trust, &provider, takes_tls12))?;
        Ok(Some(TlsClient { usual, by_pkcs1, has_short_key: AtomicBool::new(false), name }))
    }

    /// Returns true if the next handshake is made for a server with a short key. A failed handshake may change this: it
    /// found a short key, or another key than before.
    pub fn goes_by_pkcs1(&self) -> bool {
        self.has_short_key.load(Ordering::Acquire)
    }

    /// Makes the handshake. The caller limits its time.
    pub async fn handshake(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, TlsInfo), TlsError> {
        let by_pkcs1 = self.by_pkcs1.as_ref().filter(|_| self.goes_by_pkcs1());
        let connector = by_pkcs1.unwrap_or(&self.usual);
        let stream = connector.connect(self.name.clone(), stream).await.map_err(|error| {
            let error = explain(error);
            let is_short = matches!(&error, TlsError::Certificate(refusal) if refusal.leaves_pkcs1);
            self.has_short_key.store(is_short && by_pkcs1.is_none(), Ordering::Release);
            error
        })?;
        let session = stream.get_ref().1;
        let info = TlsInfo {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown")
                .to_owned(),
            certificate: session.peer_certificates().and_then(<[_]>::first).map(|c| c.to_vec()).unwrap_or_default(),
        };
        Ok((stream, info))
    }
}

/// The route's own certificates with their file, and its key.
type OwnCertificate<'a> = (&'a Path, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own_certificate<'a>(chain: &'a Path, key: &Path) -> Result<OwnCertificate<'a>, PolicyError> {
    let pem = files::read_plain(key).map_err(|error| unreadable(key, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| unreadable(key, &format_args!("no private key: {error}")))?;
    Ok((chain, read_certificates(chain)?, key))
}

fn explain(error: io::Error) -> TlsError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return TlsError::Handshake(match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        });
    };
    if let Some(refusal) = CertificateRefusal::within(tls) {
        return TlsError::Certificate(refusal);
    }
    TlsError::Handshake(match tls {
        rustls::Error::InvalidMessage(_) => {
            "what the server sent is not TLS; is this the right port and mode?".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::BadSignature | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => "the server does not have the key of the certificate that it shows".to_owned(),
        rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            format!(
                "no common TLS version or cipher (we speak 1.2 and 1.3, as far as the route's minimum allows): {tls}"
            )
        }
        // A server whose only certificate has a key of another kind (Ed448, brainpool curves) says no more than this.
        rustls::Error::AlertReceived(
            rustls::AlertDescription::HandshakeFailure | rustls::AlertDescription::InsufficientSecurity,
        ) => format!(
            "the server found no TLS version, cipher or kind of certificate that both know (we know keys of RSA, Ed25519 and \
             the curves P-256 and P-384, and P-521 in TLS 1.3 only): {tls}"
        ),
        other => about_our_certificate(&error).unwrap_or_else(|| other.to_string()),
    })
}

/// Explains what is wrong with the certificate that we showed, or did not show, if the server's alert says so. A TLS
/// 1.3 server sends the alert only after the handshake (RFC 8446 §4.4.2.4), so connections call this, too.
pub fn about_our_certificate(error: &io::Error) -> Option<String> {
    use rustls::AlertDescription as Alert;
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = tls else { return None };
    let explained = match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "the server wants a certificate of ours; give the route client_certificate and client_key"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => "the server does not accept the route's client_certificate",
        _ => return None,
    };
    Some(format!("{explained} ({tls})"))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PolicyError> {
    let pem = files::read_plain(path).map_err(|error| unreadable(path, &error))?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))?;
    if found.is_empty() { Err(unreadable(path, &"holds no certificate")) } else { Ok(found) }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> PolicyError {
    PolicyError(format!("{}: {error}", path.display()))
}

/// The system's root certificates, read once in the life of the program.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    }))
}

//! TLS of the listeners: certificate and key come from PEM files and can be replaced without a restart. Session tickets let a client that
//! connects for every message make only one full handshake.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};
use thiserror::Error;

use crate::files;

/// Why a certificate cannot be used. The operator must act. A running server keeps the old one.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or does not hold PEM of the wanted kind.
    #[error("{path}: {why}")]
    File {
        /// The file that cannot be used.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key do not match, or the library does not accept them.
    #[error("{certificate} with {private_key}: {source}")]
    Unusable {
        /// The file of the certificate chain.
        certificate: PathBuf,
        /// The file of the private key.
        private_key: PathBuf,
        /// The library's error.
        #[source]
        source: rustls::Error,
    },
}

/// A listener's certificate and key. Cheap to clone; all clones see a [`reload`](Self::reload).
#[derive(Clone)]
pub struct ServerTls(Arc<Files>);

struct Files {
    certificate: PathBuf,
    private_key: PathBuf,
    tickets: Arc<dyn ProducesTickets>,
    current: ArcSwap<Current>,
}

/// The settings for new connections.
struct Current {
    config: Arc<ServerConfig>,
    /// When the certificate expires, in seconds since 1970; `None` if that cannot be read.
    expires: Option<i64>,
}

impl ServerTls {
    /// Reads a certificate chain and its private key, both PEM.
    pub fn load(certificate: &Path, private_key: &Path) -> Result<Self, TlsError> {
        let unusable = |source| TlsError::Unusable {
            certificate: certificate.to_owned(),
            private_key: private_key.to_owned(),
            source,
        };
        let tickets = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        let current = read(certificate, private_key, &tickets)?;
        Ok(ServerTls(Arc::new(Files {
            certificate: certificate.to_owned(),
            private_key: private_key.to_owned(),
            tickets,
            current: ArcSwap::from_pointee(current),
        })))
    }

    /// Reads the files again. New connections use the new content. After an error nothing changes. Earlier tickets stay valid.
    pub fn reload(&self) -> Result<(), TlsError> {
        let files = &self.0;
        let config = read(&files.certificate, &files.private_key, &files.tickets)?;
        files.current.store(Arc::new(config));
        Ok(())
    }

    /// Returns the file that the certificate is read from.
    pub fn certificate(&self) -> &Path {
        &self.0.certificate
    }

    /// Returns the settings for the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().config)
    }

    /// Returns when the certificate in use expires, in seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        self.0.current.load().expires
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTls({})", self.0.certificate.display())
    }
}

/// The usual cipher suites, those with SHA-256 first. With one connection per message, most of a handshake's time is the key schedule's
/// hash, and processors compute SHA-256 in hardware but not SHA-384. AES-128 is as safe here (RFC 9325 §4.2).
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let has_sha384 = |suite: &SupportedCipherSuite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        )
    };
    provider.cipher_suites.sort_by_key(has_sha384);
    provider
}

fn read(certificate: &Path, private_key: &Path, tickets: &Arc<dyn ProducesTickets>) -> Result<Current, TlsError> {
    let in_file = |path: &Path, why: &dyn fmt::Display| TlsError::File { path: path.to_owned(), why: why.to_string() };
    let pem = |path: &Path| files::read_plain(path).map_err(|e| in_file(path, &e));
    let chain = CertificateDer::pem_slice_iter(&pem(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| in_file(certificate, &e))?;
    if chain.is_empty() {
        return Err(in_file(certificate, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem(private_key)?).map_err(|e| in_file(private_key, &e))?;
    let leaf = chain.first().and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let expires = leaf.map(|(_, leaf)| leaf.validity().not_after.timestamp());
    let unusable = |source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        private_key: private_key.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.ignore_client_order = true;
    // Stateless tickets serve any number of clients without memory. One per handshake is enough for a client that sends one message per
    // connection.
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Current { config: Arc::new(config), expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(dir: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_reload_replaces_the_certificate_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        write_pair(dir.path(), "one.test");
        let tls = ServerTls::load(&cert, &key).unwrap();
        let first = tls.config();
        write_pair(dir.path(), "two.test");
        tls.reload().unwrap();
        let second = tls.config();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(tls.expires().is_some_and(|at| at > 1_700_000_000), "{:?}", tls.expires());
        std::fs::write(&cert, "no certificate").unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::File { .. })));
        assert!(Arc::ptr_eq(&second, &tls.config()));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_by_name() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_pair(a.path(), "a.test");
        write_pair(b.path(), "b.test");
        let refused = ServerTls::load(&a.path().join("cert.pem"), &b.path().join("key.pem")).unwrap_err();
        assert!(matches!(refused, TlsError::Unusable { .. }), "{refused}");
    }
}

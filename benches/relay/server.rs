//! TLS as the sink speaks it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use postbud::load::Wire;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Speaks TLS from here on, as the server of `config`.
pub async fn accept_tls(wire: &mut Wire, config: &Arc<rustls::ServerConfig>) -> io::Result<()> {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(config));
    wire.secure(async |socket| acceptor.accept(socket).await.map(Into::into)).await
}

/// A server with one certificate that lets clients resume.
pub fn server_config(chain: &Path, key: &Path) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

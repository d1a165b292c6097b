//! `postbud dev-certs`: makes certificates for development and the demo (ECDSA P-256).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use crate::files;

/// Make certificates for development: a CA and a server certificate signed by it.
///
/// Writes ca.pem, server.pem (certificate and CA) and server.key (mode 0600) into a directory. The keys are ECDSA P-256. The CA's own key
/// is discarded, so nothing else can be signed with it. Do not use them in production: use certificates there that webCRM's servers already
/// trust. Existing files are never overwritten.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dev-certs
  postbud dev-certs --dir /tmp/certs --name localhost --name 127.0.0.1 --name relay.test")]
pub(super) struct Args {
    /// The directory to write to.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
    /// A name or address that the certificate is for; may be given several times.
    #[arg(long = "name", value_name = "NAME", default_values = ["localhost", "127.0.0.1", "::1"])]
    names: Vec<String>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let paths = ["ca.pem", "server.pem", "server.key"].map(|name| self.dir.join(name));
        if let Some(there) = paths.iter().find(|path| path.exists()) {
            anyhow::bail!("{} is already there and is never overwritten; move it away first", there.display());
        }
        let authority = Authority::new("postbud development CA")?;
        authority.issue(&self.names)?.write(&self.dir, "server")?;
        files::write_public(&paths[0], authority.pem().as_bytes())?;
        for path in paths {
            show!("{}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A certificate authority that lives as long as this value.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, both PEM.
pub(crate) struct Issued {
    /// The certificate, followed by its authority's.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// Makes an authority with a new key.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        lasts(&mut params, 10 * 365);
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), pem })
    }

    /// Returns the certificate of the authority.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a server certificate for these names and addresses.
    pub(crate) fn issue(&self, names: &[String]) -> anyhow::Result<Issued> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("postbud", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lasts(&mut params, 825);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain: certificate.pem() + &self.pem, key: key.serialize_pem() })
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key` (0600).
    pub(crate) fn write(&self, dir: &Path, name: &str) -> anyhow::Result<()> {
        files::write_secret(&dir.join(format!("{name}.key")), self.key.as_bytes())?;
        Ok(files::write_public(&dir.join(format!("{name}.pem")), self.chain.as_bytes())?)
    }
}

/// Sets the validity, beginning yesterday, so that a machine whose clock is slightly behind accepts the certificate.
fn lasts(params: &mut CertificateParams, days: u64) {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    let now = std::time::SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * u32::try_from(days).unwrap_or(u32::MAX)).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_certificate_is_signed_by_the_authority_and_names_what_was_asked() {
        let authority = Authority::new("test").unwrap();
        let issued = authority.issue(&["relay.test".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificates: Vec<_> =
            x509_parser::pem::Pem::iter_from_buffer(issued.chain.as_bytes()).map(Result::unwrap).collect();
        let [leaf, ca] = certificates.as_slice() else { panic!("two certificates") };
        let (leaf, ca) = (leaf.parse_x509().unwrap(), ca.parse_x509().unwrap());
        assert_eq!(leaf.issuer(), ca.subject());
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 2);
        assert!(ca.is_ca() && !leaf.is_ca());
    }
}

//! Certificates for test servers: valid ones, and invalid ones of every kind.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate of the authority.
    pub pem: String,
}

/// A certificate chain and its key, PEM; and the leaf, DER.
#[derive(Clone)]
pub struct Issued {
    /// The certificates, the leaf first.
    pub chain: String,
    /// The private key in PKCS #8.
    pub key: String,
    /// The leaf certificate in DER.
    pub der: Vec<u8>,
}

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Issues a certificate for these names that is valid now.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, SystemTime::now() - DAY, SystemTime::now() + DAY)
    }

    /// Issues a certificate that has expired.
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_for(names, SystemTime::now() - 3 * DAY, SystemTime::now() - DAY)
    }

    /// Issues a certificate that is not valid yet.
    pub fn issue_early(&self, names: &[&str]) -> Issued {
        self.issue_for(names, SystemTime::now() + DAY, SystemTime::now() + 3 * DAY)
    }

    fn issue_for(&self, names: &[&str], from: SystemTime, to: SystemTime) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf(names, from, to).signed_by(&key, &self.issuer).unwrap();
        Issued { chain: certificate.pem() + &self.pem, key: key.serialize_pem(), der: certificate.der().to_vec() }
    }
}

/// Makes a self-signed certificate. With `ca` it is also its own authority, as `openssl req -x509` makes it.
pub fn self_signed(names: &[&str], ca: bool) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = leaf(names, SystemTime::now() - DAY, SystemTime::now() + DAY);
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    Issued { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
}

impl Issued {
    /// Writes `cert.pem` and `cert.key` into `dir`.
    pub fn write(&self, dir: &Path) {
        std::fs::write(dir.join("cert.pem"), &self.chain).unwrap();
        std::fs::write(dir.join("cert.key"), &self.key).unwrap();
    }
}

fn leaf(names: &[&str], from: SystemTime, to: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (from.into(), to.into());
    params
}

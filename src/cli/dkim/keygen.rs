//! `postbud dkim keygen`: makes a new private key.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::dkim::record::render;
use crate::dkim::{Selector, SigningKey};
use crate::files;
use crate::smtp::Domain;

/// Make a private key for signing.
///
/// Writes a PEM file that only its owner can read (0600). If root runs the command, the file belongs to the owner of its folder. An
/// existing file is never overwritten, because a lost key that was published cannot be made again. With --domain and --selector the DNS
/// record is also printed.
///
/// RSA with 2048 bits is verified by every receiver and fits into DNS. Ed25519 is only for a second signature, because Gmail, Microsoft and
/// Yahoo do not verify it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim keygen --out keys/test.dk.pem
  postbud dkim keygen --out keys/test.dk.pem --domain test.dk --selector postbud1
  postbud dkim keygen --type ed25519 --out keys/test.dk.ed25519.pem")]
pub(super) struct Args {
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// The type of the key.
    #[arg(long = "type", value_name = "TYPE", default_value = "rsa")]
    kind: KeyKind,
    /// The size of an RSA key: 2048, 3072 or 4096. Larger keys sign more slowly, and many DNS panels do not accept their records.
    #[arg(long, value_name = "BITS", default_value_t = 2048)]
    bits: usize,
    /// The domain it will sign for; prints the DNS record.
    #[arg(long, requires = "selector")]
    domain: Option<String>,
    /// The name of its record below _domainkey.
    #[arg(long, requires = "domain")]
    selector: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeyKind {
    /// RSA, verified by everyone.
    Rsa,
    /// Ed25519 (RFC 8463), for a second signature.
    Ed25519,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        // Refuse a record that cannot be printed before the key is made.
        let name = match (&self.domain, &self.selector) {
            (Some(domain), Some(selector)) => Some((Domain::parse(domain)?, Selector::parse(selector)?)),
            _ => None,
        };
        let key = match self.kind {
            KeyKind::Rsa => SigningKey::generate_rsa(self.bits)?,
            KeyKind::Ed25519 => SigningKey::generate_ed25519()?,
        };
        files::write_secret(&self.out, key.to_pem()?.as_bytes())?;
        say!("{}: a new {} key with {} bits", self.out.display(), key.key_type(), key.bits());
        if let Some((domain, selector)) = name {
            let record = render(&domain, &selector, &key)?;
            show!("{}\tTXT\t{}", record.name, record.value);
        }
        Ok(ExitCode::SUCCESS)
    }
}

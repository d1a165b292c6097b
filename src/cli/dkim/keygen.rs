//! `postbud dkim keygen`: a new private key.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::dkim::record::render;
use crate::dkim::{Selector, SigningKey};
use crate::files;
use crate::smtp::Domain;

/// Make a private key to sign with.
///
/// Writes a PEM file that only its owner can read (0600); where root writes it, that is the owner of its folder. A file that
/// is there already is never overwritten: a key that was published and is lost cannot be made again. With --domain and
/// --selector the record to publish is printed too.
///
/// RSA with 2048 bits is what every receiver verifies, and fits DNS. Ed25519 is for a second signature only: Gmail,
/// Microsoft and Yahoo do not verify it.
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
    /// The kind of key.
    #[arg(long = "type", value_name = "TYPE", default_value = "rsa")]
    kind: Kind,
    /// The size of an RSA key: 2048, 3072 or 4096. Larger ones sign slower, and many DNS panels do not take their records.
    #[arg(long, value_name = "BITS", default_value_t = 2048)]
    bits: usize,
    /// The domain it will sign for; prints the record to publish.
    #[arg(long, requires = "selector")]
    domain: Option<String>,
    /// The name its record gets below _domainkey.
    #[arg(long, requires = "domain")]
    selector: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// RSA, verified by everyone.
    Rsa,
    /// Ed25519 (RFC 8463), for a second signature.
    Ed25519,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        // What cannot be printed afterwards is refused before there is a key.
        let name = match (&self.domain, &self.selector) {
            (Some(domain), Some(selector)) => Some((Domain::parse(domain)?, Selector::parse(selector)?)),
            _ => None,
        };
        let key = match self.kind {
            Kind::Rsa => SigningKey::generate_rsa(self.bits)?,
            Kind::Ed25519 => SigningKey::generate_ed25519()?,
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

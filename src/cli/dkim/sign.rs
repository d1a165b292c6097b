//! `postbud dkim sign`: signs a file as the relay would.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::message;
use crate::dkim::{Profile, Selector, Signer, SigningKey};
use crate::message::headers;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Sign a message and print it with its DKIM-Signature on top.
///
/// Reads a file, or standard input. Line ends become CRLF, as in mail; the signature is valid for exactly the printed text. With --field
/// only the signature is printed. Sends nothing and needs no configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim sign --key keys/test.dk.pem --domain test.dk --selector postbud1 newsletter.eml
  postbud dkim sign --key keys/test.dk.pem --domain test.dk --selector postbud1 < newsletter.eml | postbud dkim verify")]
pub(super) struct Args {
    /// The message; without it or with `-`, standard input.
    file: Option<PathBuf>,
    /// The private key file (PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The signing domain.
    #[arg(long)]
    domain: String,
    /// The name of the key's record below _domainkey.
    #[arg(long)]
    selector: String,
    /// Print only the DKIM-Signature field.
    #[arg(long)]
    field: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (key, warning) = SigningKey::from_file(&self.key, None)?;
        if let Some(warning) = warning {
            say!("postbud: {warning}");
        }
        let profile = Profile::new(Domain::parse(&self.domain)?, Selector::parse(&self.selector)?, key);
        let signer = Signer::new(vec![profile])?;
        let octets = message::read(self.file.as_ref())?;
        let (header, body) = message::split(&octets);
        let fields = headers::fields(header)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|line| anyhow::anyhow!("{:?} is no header field", String::from_utf8_lossy(line)))?;
        let mut hasher = signer.body_hasher();
        hasher.update(body);
        let mut out = Vec::with_capacity(octets.len() + 1024);
        signer.sign(&fields, &hasher.finish(), Timestamp::now(), &mut out)?;
        if !self.field {
            out.extend_from_slice(header);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(body);
        }
        std::io::stdout().lock().write_all(&out).context("standard output")?;
        Ok(ExitCode::SUCCESS)
    }
}

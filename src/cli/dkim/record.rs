//! `postbud dkim record`: prints the key records that a customer must publish.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use crate::cli::ConfigFile;
use crate::cli::output;
use crate::dkim::record::render;
use crate::dkim::{Selector, SigningKey};
use crate::operate::keys;
use crate::smtp::Domain;

/// Print the DNS records that publish a customer's keys.
///
/// Prints one TXT record for each domain and key: the exact host name, and the value on one line. The value must reach DNS unchanged,
/// without added quotation marks or spaces. DNS panels split it into strings of 255 octets themselves; --zone prints it split for a zone
/// file. `postbud domain records` prints everything that a customer must publish, with explanations.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim record test-as
  postbud dkim record test-as --zone
  postbud dkim record --key keys/test.dk.pem --domain test.dk --selector postbud1")]
pub(super) struct Args {
    /// The customer whose keys are printed.
    #[arg(required_unless_present = "key", conflicts_with_all = ["key", "domain", "selector"])]
    customer: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// A private key file, instead of a customer.
    #[arg(long, value_name = "FILE", requires_all = ["domain", "selector"])]
    key: Option<PathBuf>,
    /// The domain that the key signs for.
    #[arg(long, requires = "key")]
    domain: Option<String>,
    /// The name of its record below _domainkey.
    #[arg(long, requires = "key")]
    selector: Option<String>,
    /// Print lines for a zone file.
    #[arg(long, conflicts_with = "json")]
    zone: bool,
    /// Print a JSON list of objects with name, type and value.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let records = match (&self.customer, &self.key, &self.domain, &self.selector) {
            (_, Some(key), Some(domain), Some(selector)) => {
                let (key, _) = SigningKey::from_file(key, None)?;
                vec![render(&Domain::parse(domain)?, &Selector::parse(selector)?, &key)?]
            }
            (Some(customer), ..) => keys::records(&self.config.files(), customer)?,
            _ => bail!("name a customer, or --key with --domain and --selector"),
        };
        if self.json {
            let all = records.iter().map(|r| json!({ "name": r.name, "type": "TXT", "value": r.value }));
            output::json(&serde_json::Value::from_iter(all))?;
            return Ok(ExitCode::SUCCESS);
        }
        for record in records {
            match self.zone {
                true => show!("{}", record.zone_line()),
                false => show!("{}\tTXT\t{}", record.name, record.value),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

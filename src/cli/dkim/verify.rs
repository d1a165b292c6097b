//! `postbud dkim verify`: verifies a file's signatures as a receiver would.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::message;
use crate::cli::block_on;
use crate::cli::output;
use crate::dkim::verify::{Keys, verify};
use crate::resolver::{self, Dns};
use crate::visible::visible;

/// Verify the DKIM signatures of a message.
///
/// Reads a file, or standard input, and asks DNS for the keys as a receiver would. With --record the key is taken from there, so that a
/// record can be tested before it is published. Prints one line for each signature, from top to bottom.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim verify received.eml
  postbud dkim verify --record \"$(postbud dkim record test-as | cut -f3)\" signed.eml

Exit codes: 0 every signature verified; 1 one did not, or there is none.")]
pub(super) struct Args {
    /// The message; without it or with `-`, standard input.
    file: Option<PathBuf>,
    /// The TXT value of the key record to use for every signature, instead of DNS.
    #[arg(long, value_name = "TXT")]
    record: Option<String>,
    /// Print a JSON list of objects with domain, selector, verified and reason.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let octets = message::read(self.file.as_ref())?;
        let checks = block_on(async {
            let checks = match &self.record {
                Some(record) => verify(&octets, Keys::Record(record)).await,
                None => verify(&octets, Keys::Dns(&Dns::new(&resolver::Settings::default())?)).await,
            };
            Ok(checks?)
        })?;
        if self.json {
            let all = checks.iter().map(|v| {
                json!({
                    "domain": v.domain,
                    "selector": v.selector,
                    "verified": v.result.is_ok(),
                    "reason": v.result.as_ref().err(),
                })
            });
            output::json(&serde_json::Value::from_iter(all))?;
        } else {
            for check in &checks {
                let result =
                    check.result.as_ref().map_or_else(|reason| format!("broken: {reason}"), |()| "verified".into());
                let [domain, selector, result] = [&check.domain, &check.selector, &result].map(|text| visible(text));
                show!("{domain}\t{selector}\t{result}");
            }
            if checks.is_empty() {
                say!("the message has no DKIM signature");
            }
        }
        let good = !checks.is_empty() && checks.iter().all(|check| check.result.is_ok());
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

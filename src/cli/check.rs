//! `postbud check`: every mistake of the configuration, in one go.

use std::process::ExitCode;

use serde_json::json;

use super::ConfigFile;
use crate::cli::output;
use crate::config::{self, Counts, Loaded, Mistake, Refused, Remarks};
use crate::server::SpoolSettings;
use crate::spool::postgres;

/// Find every mistake in the configuration.
///
/// Reads the server file, every customer's file, and the keys, certificates and secrets they name. Each mistake is one line:
/// file, line, key, what is wrong and what would be right. A customer's unusable DKIM key is a mistake here, although the
/// relay would start without it and defer that customer's mail. Warnings should be put right, but are no mistakes.
///
/// Nothing is changed. No network is used, except to ask the database of `[spool] backend = "postgres"` whether it keeps what it
/// acknowledges and lets postbud work: `postbud domain check` looks at DNS, `postbud probe` at customers' servers.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud check --config config/postbud.toml
  postbud check --json | jq .mistakes
  postbud check && systemctl reload postbud

Exit codes: 0 no mistakes; 1 mistakes.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Answer as a start would: a customer's unusable DKIM key is a warning, because the relay starts and defers that
    /// customer's mail.
    #[arg(long)]
    start: bool,
    /// Print one JSON object: ok, mistakes, warnings, and what there is.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let found = config::load(&self.config.path);
        let mut remarks = match &found {
            Ok(Loaded { remarks, .. }) | Err(Refused { remarks }) => remarks.clone(),
        };
        let broken = std::mem::take(&mut remarks.broken);
        match self.start {
            true => remarks.warnings.extend(broken),
            false => remarks.mistakes.extend(broken),
        }
        // A start asks the database itself.
        if remarks.mistakes.is_empty()
            && !self.start
            && let Ok(loaded) = &found
        {
            remarks.mistakes.extend(self.unfit(&loaded.settings.spool));
        }
        remarks.mistakes.sort();
        let counts = found.as_ref().ok().map(Loaded::counts);
        let ok = remarks.mistakes.is_empty();
        if self.json {
            print_json(ok, &remarks, counts.as_ref())?;
        } else {
            print_text(ok, &remarks, counts.as_ref());
        }
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Args {
    /// What keeps the database from holding the spool, if the spool is in one.
    fn unfit(&self, spool: &SpoolSettings) -> Vec<Mistake> {
        let SpoolSettings::Postgres(settings) = spool else { return Vec::new() };
        let mistake = |what| Mistake { file: self.config.path.clone(), line: None, key: "spool.postgres".into(), what };
        postgres::check(settings).into_iter().map(mistake).collect()
    }
}

fn print_text(ok: bool, remarks: &Remarks, counts: Option<&Counts>) {
    for warning in &remarks.warnings {
        say!("warning: {warning}");
    }
    for mistake in &remarks.mistakes {
        show!("{mistake}");
    }
    match counts {
        Some(counts) if ok => show!(
            "OK: {}, {} with {}, {} and {}",
            plural(counts.listeners, "listener"),
            plural(counts.customers, "customer"),
            plural(counts.domains, "domain"),
            plural(counts.mailjet_tiers, "Mailjet tier"),
            plural(counts.own_servers, "own server"),
        ),
        _ => say!("{}", plural(remarks.mistakes.len(), "mistake")),
    }
}

fn print_json(ok: bool, remarks: &Remarks, counts: Option<&Counts>) -> anyhow::Result<()> {
    let all = json!({ "ok": ok, "mistakes": remarks.mistakes, "warnings": remarks.warnings, "found": counts });
    output::json(&all)
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

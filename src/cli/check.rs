//! `postbud check`: reports every mistake in the configuration at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::ConfigFile;
use crate::backup;
use crate::cli::output;
use crate::config::{self, Counts, Loaded, Mistake, Refused, Remarks};
use crate::files;
use crate::server::{Settings, SpoolSettings, unreadable_state};
use crate::spool::postgres;

/// Find every mistake in the configuration.
///
/// Reads the server file, every customer's file, and the keys, certificates and secrets that they name. Commands that they name for
/// secrets are run. Each mistake is one line: file, line, key, what is wrong and what would be right. A customer's unusable DKIM key is a
/// mistake here, although the relay would start without it and refuse that customer's mail temporarily. Warnings should be corrected, but
/// are no mistakes.
///
/// Also says whether this version can read the spool and the database in state_dir, which another version may have written. Root is
/// warned of files that the owner of state_dir, as whom the relay runs, cannot read.
///
/// Changes nothing and does not use the network, with one exception: the database of `[spool] backend = "postgres"` is asked whether its
/// settings keep acknowledged data safe and whether postbud may use it. `postbud domain check` checks DNS, and `postbud probe` checks
/// customers' servers.
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
    /// Decide as a start would: a customer's unusable DKIM key is only a warning, because the relay starts and refuses that customer's mail
    /// temporarily.
    #[arg(long)]
    start: bool,
    /// Print one JSON object: ok, mistakes, warnings, and the number of items.
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
        if remarks.mistakes.is_empty()
            && let Ok(loaded) = &found
        {
            remarks.mistakes.extend(self.unusable(&loaded.settings));
        }
        if let Ok(loaded) = &found {
            remarks.warnings.extend(hidden_from_the_relay(&self.config.path, &loaded.settings));
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
    /// Returns the reasons why this version cannot use what is stored, or the database cannot hold the spool.
    fn unusable(&self, settings: &Settings) -> Vec<Mistake> {
        let mistake = |key: &str, what| Mistake { file: self.config.path.clone(), line: None, key: key.into(), what };
        let mut found: Vec<_> = unreadable_state(settings).into_iter().map(|what| mistake("state_dir", what)).collect();
        // A start asks the database itself.
        if let (SpoolSettings::Postgres(settings), false) = (&settings.spool, self.start) {
            found.extend(postgres::check(settings).into_iter().map(|what| mistake("spool.postgres", what)));
        }
        found
    }
}

/// Returns a warning for each file that this process can read because it is root, and the relay's user, who owns state_dir, cannot.
pub(super) fn hidden_from_the_relay(server_file: &Path, settings: &Settings) -> Vec<Mistake> {
    let Ok(files) = backup::configuration_files(server_file, settings) else { return Vec::new() };
    let paths: Vec<PathBuf> = files.into_keys().collect();
    // Without a state_dir, it is not known who runs the relay.
    let hidden = files::unreadable_to_owner(&settings.state_dir, &paths).unwrap_or_default();
    let said = |why| {
        format!(
            "{why}, for the user that state_dir belongs to and the relay runs as: give the file, and the folders above it, to that user or its group"
        )
    };
    hidden.into_iter().map(|(file, why)| Mistake { file, line: None, key: String::new(), what: said(why) }).collect()
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

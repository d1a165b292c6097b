//! `postbud suppression …`: shows and changes customers' suppression lists.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use super::relay::{Columns, Running, understood};
use super::time;
use crate::customers::suppression::{Entry, csv};
use crate::files;
use crate::operate::socket::protocol::Command;
use crate::operate::suppression::{MOST, Suppressed};
use crate::time::Timestamp;

/// The octets of entries that are sent to the relay at once. The relay accepts all of them or none.
const PART: usize = 512 << 10;

/// Show and change the addresses to which a customer's mail is no longer sent.
///
/// Each customer has its own list. Hard bounces, complaints and unsubscriptions add addresses to it, as [suppression] in
/// the server file or in the customer's file says. A person can add and remove any address, whatever the reason of the entry.
///
/// Addresses are compared without regard to case. The commands talk to the running relay.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud suppression list test-as
  postbud suppression remove test-as anna@example.com
  postbud suppression import test-as unsubscribed.csv")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: SuppressionCommand,
}

#[derive(Debug, Subcommand)]
enum SuppressionCommand {
    /// List a customer's suppressed addresses.
    #[command(after_long_help = "\
Examples:
  postbud suppression list test-as
  postbud suppression list test-as --address anna@example.com
  postbud suppression list test-as --limit 0 --json | jq -r .address")]
    List {
        /// The customer's id.
        customer: String,
        /// Only this address; an error if it is not on the list.
        #[arg(long)]
        address: Option<String>,
        /// The maximum number of addresses; 0 for all.
        #[arg(long, default_value_t = 100, value_name = "COUNT")]
        limit: u64,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Add an address to a customer's list.
    #[command(after_long_help = "\
Examples:
  postbud suppression add test-as anna@example.com --reason 'asked by telephone'
  postbud suppression add test-as anna@example.com --expires-in 30d")]
    Add {
        /// The customer's id.
        customer: String,
        /// The recipient's address.
        address: String,
        /// The reason, shown in the list.
        #[arg(long, default_value = "")]
        reason: String,
        /// The time after which it is removed again: 12h, 30d.
        #[arg(long, value_name = "AGE", value_parser = time::seconds)]
        expires_in: Option<u64>,
    },
    /// Remove an address from a customer's list, whatever the reason of the entry.
    #[command(after_long_help = "\
Examples:
  postbud suppression remove test-as anna@example.com")]
    Remove {
        /// The customer's id.
        customer: String,
        /// The recipient's address.
        address: String,
    },
    /// Add the addresses of a CSV file to a customer's list.
    ///
    /// The first line names the columns: address, and optionally reason (hard_bounce, complaint, unsubscribe, operator), since, expires
    /// (times such as 2026-11-29T08:00:00Z) and note. Commas divide the columns, or semicolons or tabs as spreadsheets write them. A file
    /// with one address per line and no such first line is accepted too.
    ///
    /// The whole file is read before anything is sent: if one line is invalid, nothing of the file is imported. An address that is already
    /// on the list gets the values of the file.
    #[command(after_long_help = "\
Examples:
  postbud suppression import test-as unsubscribed.csv
  postbud suppression import test-as --dry-run unsubscribed.csv
  postbud suppression export old | postbud suppression import new -")]
    Import {
        /// The customer's id.
        customer: String,
        /// The file; - for standard input.
        file: PathBuf,
        /// Only print what is in the file.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write a customer's list as CSV.
    ///
    /// An apostrophe stands before whatever a spreadsheet would take for a formula. The import removes it.
    #[command(after_long_help = "\
Examples:
  postbud suppression export test-as > test-as.csv")]
    Export {
        /// The customer's id.
        customer: String,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let running = &self.running;
        match self.command {
            SuppressionCommand::List { customer, address, limit, json } => {
                list(running, customer, address, limit, json)?
            }
            SuppressionCommand::Add { customer, address, reason, expires_in } => {
                let done = format!("{address} is suppressed for {customer}");
                let command = Command::SuppressionAdd { customer, address, note: reason, expires_secs: expires_in };
                running.call(command, |_| {})?;
                show!("{done}");
            }
            SuppressionCommand::Remove { customer, address } => {
                let done = format!("{address} is no longer suppressed for {customer}");
                running.call(Command::SuppressionRemove { customer, address }, |_| {})?;
                show!("{done}");
            }
            SuppressionCommand::Import { customer, file, dry_run } => import(running, &customer, &file, dry_run)?,
            SuppressionCommand::Export { customer } => export(running, customer)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(running: &Running, customer: String, address: Option<String>, limit: u64, json: bool) -> anyhow::Result<()> {
    let command = Command::SuppressionList { customer, address, limit: (limit > 0).then_some(limit) };
    if json {
        return running.call_and_show(command).map(drop);
    }
    let (found, done) = running.items::<Suppressed>(command)?;
    let mut columns = Columns::new(&["ADDRESS", "REASON", "SINCE", "EXPIRES", "NOTE"]);
    for entry in found {
        let Suppressed { address, reason, since, expires, note } = entry;
        columns.row([address, reason, since, expires.unwrap_or_default(), note]);
    }
    columns.print();
    if done.more {
        say!("There are more; --limit 0 shows all");
    }
    Ok(())
}

fn import(running: &Running, customer: &str, file: &Path, dry_run: bool) -> anyhow::Result<()> {
    let name = file.display();
    let mut text = Vec::new();
    let input: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(files::open_named(file).with_context(|| format!("cannot read {name}"))?),
    };
    // Read one octet more than allowed, to notice a file that is too long.
    input.take(csv::LONGEST as u64 + 1).read_to_end(&mut text).with_context(|| format!("cannot read {name}"))?;
    let entries = match csv::read(&text, Timestamp::now()) {
        Ok(entries) => entries,
        Err(bad) => bail!("{name}: {bad}; nothing of the file was taken"),
    };
    if dry_run {
        show!("{} addresses; nothing was taken", entries.len());
        return Ok(());
    }
    let mut taken = 0;
    for Part { line, entries, .. } in parts(entries)? {
        let count = entries.len();
        let command = Command::SuppressionImport { customer: customer.to_owned(), entries };
        running.call(command, |_| {}).with_context(|| match taken {
            0 => "nothing of the file was taken".to_owned(),
            _ => format!("{taken} addresses before line {line} were taken, and nothing from there on"),
        })?;
        taken += count;
    }
    show!("{taken} addresses were taken");
    Ok(())
}

/// The entries that are sent to the relay at once.
#[derive(Default)]
struct Part {
    /// The number of the first entry's line.
    line: usize,
    entries: Vec<Suppressed>,
    octets: usize,
}

fn parts(entries: Vec<(usize, Entry)>) -> anyhow::Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for (line, entry) in entries {
        let entry = Suppressed::from(entry);
        let octets = serde_json::to_string(&entry)?.len() + 1;
        let part = match parts.last_mut() {
            Some(part) if part.entries.len() < MOST && part.octets + octets <= PART => part,
            _ => parts.push_mut(Part { line, ..Part::default() }),
        };
        part.octets += octets;
        part.entries.push(entry);
    }
    Ok(parts)
}

fn export(running: &Running, customer: String) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    out.write_all(csv::header().as_bytes())?;
    let mut written = Ok(());
    running.call(Command::SuppressionList { customer, address: None, limit: None }, |item| {
        if written.is_ok() {
            written = understood(item).and_then(|Suppressed { address, reason, since, expires, note }| {
                let expires = expires.unwrap_or_default();
                Ok(out.write_all(csv::record([&address, &reason, &since, &expires, &note]).as_bytes())?)
            });
        }
    })?;
    written?;
    Ok(out.flush()?)
}

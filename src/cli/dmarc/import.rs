//! `postbud dmarc import`: imports reports from files.

use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::cli::{ConfigFile, block_on, output, said};
use crate::files::{open_named, without_mark};
use crate::operate::Actor;
use crate::returns::dmarc::container::LONGEST;
use crate::returns::dmarc::{ReportRefused, TakenReport};
use crate::smtp::Domain;
use crate::visible::visible;

/// How often the progress is shown on a terminal.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// The maximum depth of folders.
const DEEPEST: u32 = 16;

/// Import DMARC reports from files.
///
/// Reads mails, zip and gzip archives and XML, whatever their names, in files, in folders with all subfolders, in mailbox files, and from
/// standard input (-). A maildir is also a folder; mails that are still being delivered to it are skipped. The type of each file is found
/// by its content.
///
/// A report counts once, however often it is imported. Only reports on domains of configured customers are accepted. Malformed reports are
/// accepted as far as their meaning is clear; repairs are listed, and refused reports are listed with the reason.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dmarc import ~/Maildir
  postbud dmarc import google.com!test.dk!1795824000!1795910399.zip
  postbud dmarc import - < report.eml
  postbud dmarc import reports/ --json | jq 'select(.outcome == \"refused\")'

Exit codes: 0 every report was taken, or had been before; 1 something was refused, or there was nothing to take.")]
pub(super) struct Args {
    /// Files, folders, or - for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object for each report or refused file, then one with the counts.
    #[arg(long)]
    json: bool,
}

/// The result for one report, or for a refused file.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(flatten)]
    report: Option<ReportLine<'a>>,
}

#[derive(Serialize)]
struct ReportLine<'a> {
    reporter: &'a str,
    domains: Vec<&'a str>,
    begins: String,
    ends: String,
    messages: u64,
    repairs: &'a [crate::returns::dmarc::report::Repair],
}

#[derive(Default, Serialize)]
struct Counts {
    files: u64,
    taken: u64,
    duplicates: u64,
    refused: u64,
    repaired: u64,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let import = site.import_dmarc(&Actor::this_process()).await?;
            let mut shown = Shown::new(self.json);
            let mut taking = |name: &str, octets: &[u8]| -> anyhow::Result<()> {
                match import.take(octets) {
                    Ok(taken) => {
                        for report in &taken.reports {
                            shown.report(name, report)?;
                        }
                        taken.refused.iter().try_for_each(|reason| shown.refused(name, reason, "malformed"))
                    }
                    // Further reports would fail in the same way.
                    Err(error @ ReportRefused::Storage(_)) => Err(error).context("nothing more was taken"),
                    Err(refused) => shown.refused(name, &refused.to_string(), refused.code()),
                }
            };
            let done = self.paths.iter().try_for_each(|path| each_file(path, &mut taking));
            shown.clear();
            let Counts { taken, refused, duplicates, .. } = shown.counts;
            import.finish(taken, refused)?;
            done?;
            shown.end()?;
            let is_good = refused == 0 && taken + duplicates > 0;
            Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// The output of the command.
struct Shown {
    json: bool,
    counts: Counts,
    /// When the progress was last shown; `None` without a terminal.
    told: Option<Instant>,
    is_told: bool,
}

impl Shown {
    fn new(json: bool) -> Self {
        let told = std::io::stderr().is_terminal().then(Instant::now);
        Shown { json, counts: Counts::default(), told, is_told: false }
    }

    fn report(&mut self, file: &str, report: &TakenReport) -> anyhow::Result<()> {
        let outcome = if report.duplicate { "duplicate" } else { "taken" };
        *match report.duplicate {
            true => &mut self.counts.duplicates,
            false => &mut self.counts.taken,
        } += 1;
        self.counts.repaired += u64::from(!report.repairs.is_empty() && !report.duplicate);
        if self.json {
            let domains = report.domains.iter().map(Domain::as_str).collect();
            let (begins, ends) = (report.begins.to_string(), report.ends.to_string());
            let (reporter, repairs) = (report.reporter.as_str(), &report.repairs[..]);
            let line = ReportLine { reporter, domains, begins, ends, messages: report.messages, repairs };
            return output::json_line(&Line { file, outcome, reason: None, code: None, report: Some(line) });
        }
        if !report.repairs.is_empty() && !report.duplicate {
            let words: Vec<&str> = report.repairs.iter().map(|repair| repair.words()).collect();
            self.say(&format!("{}: taken with repairs: {}", visible(file), words.join("; ")));
        }
        self.tell();
        Ok(())
    }

    fn refused(&mut self, file: &str, reason: &str, code: &'static str) -> anyhow::Result<()> {
        self.counts.refused += 1;
        if self.json {
            let (reason, code) = (Some(reason.to_owned()), Some(code));
            return output::json_line(&Line { file, outcome: "refused", reason, code, report: None });
        }
        self.say(&format!("{}: refused: {}", visible(file), visible(reason)));
        Ok(())
    }

    fn say(&mut self, line: &str) {
        self.clear();
        say!("{line}");
    }

    fn tell(&mut self) {
        if self.told.is_none_or(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        let Counts { taken, duplicates, refused, .. } = self.counts;
        said(format_args!("\r{taken} taken, {duplicates} duplicates, {refused} refused so far"));
        self.told = Some(Instant::now());
        self.is_told = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_told) {
            said(format_args!("\r{:60}\r", ""));
        }
    }

    fn end(&self) -> anyhow::Result<()> {
        let Counts { taken, duplicates, refused, repaired, .. } = self.counts;
        if self.json {
            return output::json_line(&self.counts);
        }
        show!("{taken} reports taken ({repaired} with repairs), {duplicates} duplicates, {refused} refused");
        if taken + duplicates + refused == 0 {
            say!("There was nothing to take");
        }
        Ok(())
    }
}

type Take<'a> = dyn FnMut(&str, &[u8]) -> anyhow::Result<()> + 'a;

/// Reads a file, every file of a folder, or standard input.
fn each_file(path: &Path, take: &mut Take<'_>) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return whole("standard input", io::stdin().lock(), take);
    }
    let found = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if found.is_dir() {
        return each_in_folder(path, 0, take);
    }
    one(path, take)
}

fn each_in_folder(folder: &Path, depth: u32, take: &mut Take<'_>) -> anyhow::Result<()> {
    let name = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(name)?.collect::<Result<Vec<_>, _>>().with_context(name)?;
    let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.path(), entry.file_type())).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    // In a maildir, this folder has mails that are still being written.
    let is_maildir = ["cur", "new", "tmp"].iter().all(|name| folder.join(name).is_dir());
    for (path, kind) in entries {
        let kind = kind.with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() && depth < DEEPEST && !(is_maildir && path.ends_with("tmp")) {
            each_in_folder(&path, depth + 1, take)?;
        }
        // Links and pipes may lead elsewhere. Files whose name begins with a dot, and index files of mail programs, are no reports.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if kind.is_file() && !name.starts_with('.') && !name.starts_with("dovecot") && name != "maildirfolder" {
            one(&path, take)?;
        }
    }
    Ok(())
}

fn one(path: &Path, take: &mut Take<'_>) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let file = open_named(path).with_context(|| format!("cannot read {name}"))?;
    whole(&name, file, take)
}

fn whole(name: &str, input: impl Read, take: &mut Take<'_>) -> anyhow::Result<()> {
    let mut octets = Vec::new();
    let unread = || format!("cannot read {name}");
    let mut input = input;
    input.by_ref().take(LONGEST as u64 + 1).read_to_end(&mut octets).with_context(unread)?;
    let octets = without_mark(octets);
    if octets.starts_with(b"From ") {
        return mailbox(name, octets, input, take);
    }
    take(name, &octets)
}

/// Reads the mails of a mailbox file (RFC 4155). A line of its own separates them.
fn mailbox(name: &str, mut octets: Vec<u8>, mut input: impl Read, take: &mut Take<'_>) -> anyhow::Result<()> {
    let mut number = 0;
    loop {
        let next = memchr::memmem::find(octets.get(5..).unwrap_or_default(), b"\nFrom ").map(|at| at + 6);
        let length = match next {
            Some(at) => at,
            None if octets.len() <= LONGEST => {
                // Read more of the file, or its end.
                let count = input.by_ref().take(1 << 20).read_to_end(&mut octets);
                if count.with_context(|| format!("cannot read {name}"))? > 0 {
                    continue;
                }
                octets.len()
            }
            None => octets.len(),
        };
        if length == 0 {
            return Ok(());
        }
        number += 1;
        let mail = &octets[..length];
        let header = memchr::memchr(b'\n', mail).map_or(mail.len(), |at| at + 1);
        take(&format!("{name} (mail {number})"), &mail[header..])?;
        octets.drain(..length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut take = |name: &str, octets: &[u8]| {
            let name = name.rsplit('/').next().unwrap().to_owned();
            found.push((name, String::from_utf8_lossy(octets).into_owned()));
            Ok(())
        };
        each_file(path, &mut take).unwrap();
        found
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn a_maildir_gives_its_mails_and_not_its_notes() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["cur", "new", "tmp", ".Junk/cur", ".Junk/new", ".Junk/tmp"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for (file, text) in [
            ("cur/1:2,S", "a"),
            ("new/2", "b"),
            ("tmp/3", "c"),
            (".Junk/new/4", "d"),
            ("dovecot-uidlist", "e"),
            (".x", "f"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("cur/again")).unwrap();
        assert_eq!(found(dir.path()), [pair("4", "d"), pair("1:2,S", "a"), pair("2", "b")]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_mail_or_a_mailbox() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box");
        for (text, mails) in [
            ("\u{feff}From a\nSubject: 1\n\nx\nFrom b\nlast", &["Subject: 1\n\nx\n", "last"][..]),
            ("\u{feff}Subject: 1\n\nx", &["Subject: 1\n\nx"]),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(found(&file).into_iter().map(|(_, mail)| mail).collect::<Vec<_>>(), mails, "{text:?}");
        }
    }

    #[test]
    fn a_mailbox_file_is_taken_mail_by_mail() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box");
        let long = "x".repeat(3 << 20);
        std::fs::write(&file, format!("From a\nSubject: 1\n\nx\nFrom b\n\n{long}\nFrom c\nlast")).unwrap();
        assert_eq!(
            found(&file),
            [
                pair("box (mail 1)", "Subject: 1\n\nx\n"),
                pair("box (mail 2)", &format!("\n{long}\n")),
                pair("box (mail 3)", "last")
            ]
        );
    }
}

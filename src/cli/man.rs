//! `postbud man`: writes a manual page for every command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

/// Write manual pages for every command into a directory.
///
/// There is one page for each command: postbud.1, postbud-run.1, postbud-dkim-keygen.1, and so on. Existing pages are replaced.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud man /usr/local/share/man/man1 && man postbud
  postbud man target/man && man -l target/man/postbud-run.1")]
pub(super) struct Args {
    /// The directory; it is made if it does not exist.
    dir: PathBuf,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let at = || format!("cannot write manual pages to {}", self.dir.display());
        std::fs::create_dir_all(&self.dir).with_context(at)?;
        clap_mangen::generate_to(super::definition(), &self.dir).with_context(at)?;
        let pages = std::fs::read_dir(&self.dir).with_context(at)?.flatten();
        let pages = pages.filter(|page| page.file_name().to_string_lossy().starts_with("postbud")).count();
        show!("{pages} manual pages in {}", self.dir.display());
        Ok(ExitCode::SUCCESS)
    }
}

//! `postbud backup`: one archive of what a restore needs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::ConfigFile;
use crate::backup::{self, Role};

/// Write one archive of what a restore needs.
///
/// It holds the server file, the customers' files, every key, certificate and password file that they name, and what lasts of
/// state_dir: what domains have verified, the secret of the ownership tokens, rotations under way, suspended routes. It does not
/// hold the spool: waiting mail stays on the machine that has it, because a copy that is started sends it a second time. Event
/// log and counters are not in it either.
///
/// The relay may run meanwhile: everything is read until two readings in a row agree. The archive (tar, zstd) has mode 600,
/// because every secret is in it: keep it where the keys may be. A file that exists is not overwritten.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud backup /var/backups/postbud-$(date +%F).tar.zst
  tar --zstd -tvf /var/backups/postbud-2026-11-29.tar.zst      What is in it")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The archive to write.
    archive: PathBuf,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (manifest, contents) = backup::collect(&self.config.path)?;
        backup::write(&self.archive, &manifest, &contents)?;
        let count = |role: Role| manifest.files.iter().filter(|file| file.role == role).count();
        show!(
            "{}: the server file, {} customers' files, {} keys, certificates and secrets, {} files of the state",
            self.archive.display(),
            count(Role::Customer),
            count(Role::Named),
            count(Role::State),
        );
        for left_out in &manifest.left_out {
            say!("not in it: {left_out}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

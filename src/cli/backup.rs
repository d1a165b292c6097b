//! `postbud backup`: writes one archive with everything that a restore needs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::ConfigFile;
use crate::backup::{self, Role};

/// Write one archive with everything that a restore needs.
///
/// It contains the server file, the customers' files, every key, certificate and password file that they name, and the lasting part of
/// state_dir: verified domains, the secret of the ownership tokens, key rotations in progress, suspended routes, the database postbud.db. It
/// does not contain the spool, because a copy of it that is started would send waiting mail a second time. It does not contain the event
/// log and the counters either.
///
/// The relay may run meanwhile: files are read again until two readings in a row are equal. The archive (tar, zstd) has mode 600, because
/// it contains every secret: keep it as safe as the keys. An existing file is not overwritten.
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

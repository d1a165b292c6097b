//! `postbud seal`: encrypts key and password files.

use std::path::PathBuf;
use std::process::ExitCode;

use super::ConfigFile;
use crate::operate::{Actor, seal};

/// Encrypt files with keys or passwords, in place.
///
/// The passphrase is that of [secrets] in the server file. A private key becomes an encrypted PKCS#8 file, as openssl makes it. A password,
/// a hash or another secret becomes a block in postbud's own format. The relay and every command decrypt both in memory. Files that are
/// already encrypted stay as they are. With --open the files are decrypted again, for example to change the passphrase.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud seal keys/*.pem config/secrets/*.password
  postbud seal --open keys/test.dk.pem")]
pub(super) struct Args {
    /// The files with keys or passwords.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Decrypt the files instead.
    #[arg(long)]
    open: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = self.config.files();
        for path in &self.files {
            match seal::file(&files, &Actor::this_process(), path, self.open)? {
                true => say!("{} {}", if self.open { "opened" } else { "sealed" }, path.display()),
                false => say!("{} stays as it is", path.display()),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `postbud restore`: restores an archive of `postbud backup`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::backup::{Archive, Doing, Plan};
use crate::config::{self, Refused, Remarks};

/// Restore an archive of `postbud backup`.
///
/// Checks every file of the archive first. Nothing is written while a relay runs with the same state_dir, or if an existing file differs
/// and is newer than the archive's. Older files, and the package's example if nobody has changed it, are replaced; files that are not in
/// the archive stay. Afterwards the configuration is checked. Mail in a spool is not changed.
///
/// Run it as root, after installing the package: files that belonged to the relay get the owner of state_dir.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud restore --dry-run /var/backups/postbud-2026-11-29.tar.zst
  postbud restore /var/backups/postbud-2026-11-29.tar.zst && systemctl start postbud
  postbud restore --root /tmp/look /var/backups/postbud-2026-11-29.tar.zst

Exit codes: 0 restored, or it could be; 1 something speaks against it, or the configuration has mistakes.")]
pub(super) struct Args {
    /// The archive that `postbud backup` wrote.
    archive: PathBuf,
    /// Only print what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Also replace files that are newer than the archive's, as for a way back to the version of before.
    #[arg(long)]
    replace_newer: bool,
    /// Restore below this folder instead of /.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let archive = Archive::read(&self.archive)?;
        let manifest = &archive.manifest;
        say!("backup of {} made {} by postbud {}", manifest.hostname, manifest.made, manifest.postbud);
        let root = std::path::absolute(&self.root)?;
        let plan = Plan::make(&archive, &root, self.replace_newer)?;
        for step in plan.steps() {
            let doing = match step.doing {
                Doing::Write => "write  ",
                Doing::Keep => "same   ",
                Doing::Replace => "replace",
                Doing::Newer => "NEWER  ",
            };
            show!("{doing} {}", step.path.display());
        }
        let objections = plan.objections();
        for objection in &objections {
            say!("{objection}");
        }
        if !objections.is_empty() {
            say!("nothing was written");
            return Ok(ExitCode::FAILURE);
        }
        if self.dry_run {
            say!("nothing was written: --dry-run");
            return Ok(ExitCode::SUCCESS);
        }
        plan.carry_out()?;
        let server_file = plan.server_file();
        match config::load(&server_file) {
            Ok(_) => {
                say!("restored; the configuration {} has no mistakes", server_file.display());
                Ok(ExitCode::SUCCESS)
            }
            Err(Refused { remarks: Remarks { mistakes, .. } }) => {
                for mistake in mistakes {
                    show!("{mistake}");
                }
                say!("restored, but the configuration has mistakes");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

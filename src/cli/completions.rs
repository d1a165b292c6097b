//! `postbud completions`: writes shell completions for postbud's command line.

use std::process::ExitCode;

use super::output;

/// Write shell completions to standard output.
///
/// Install the result where your shell looks for completions.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud completions bash > /etc/bash_completion.d/postbud
  postbud completions zsh > ~/.zfunc/_postbud
  postbud completions fish > ~/.config/fish/completions/postbud.fish")]
pub(super) struct Args {
    /// The shell that will read the script.
    shell: clap_complete::Shell,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        // Write it in one piece, because the generator panics if a write fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::definition(), "postbud", &mut script);
        output::text(&String::from_utf8_lossy(&script));
        Ok(ExitCode::SUCCESS)
    }
}

//! The postbud program. Exit codes: 0, the command succeeded; 1, the answer is no (mistakes found, not verified, refused) or the command
//! failed; 2, the command line is invalid.

use std::process::ExitCode;

fn main() -> ExitCode {
    postbud::cli::main()
}

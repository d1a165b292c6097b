//! The postbud program. Exit codes: 0 done; 1 the answer is no (mistakes found, not verified, refused) or it failed;
//! 2 the command line was not understood.

use std::process::ExitCode;

fn main() -> ExitCode {
    postbud::cli::main()
}

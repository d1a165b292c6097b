//! Reports tests that cannot run on this machine, so that `tests/run` counts them.

use std::io::Write;

/// Reports that the test `name` did not run, and why. Prints `SKIPPED name: reason` and appends the same line to the file in
/// `POSTBUD_SKIPPED`, because the output of a passing test is not shown. The caller then returns.
pub fn skip(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {}", reason.replace('\n', " "));
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("POSTBUD_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // Write the line at once, so that lines of concurrent tests stay whole.
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .expect("POSTBUD_SKIPPED can be written");
    }
}

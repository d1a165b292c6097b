//! `postbud hash-password`: makes the `password_hash` of a submitter.

use std::io::BufRead;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::ask::{NOT_UTF8, is_person};
use super::{said, signals};
use crate::files::line_of_text;

/// Hash a submitter's password (Argon2id).
///
/// Reads the password from standard input: on a terminal it asks twice and shows nothing; from a pipe it takes the first
/// line. Prints the hash in PHC form, for `password_hash` or the file named by `password_hash_file` of a [[submitter]].
/// The password itself is stored nowhere.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud hash-password
  openssl rand -base64 24 | tee webcrm.password | postbud hash-password > config/secrets/webcrm.hash")]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        show!("{}", hash(&read_password()?)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the hash of a password as a PHC string.
pub(crate) fn hash(password: &str) -> anyhow::Result<String> {
    crate::submission::hash_password(password).map_err(anyhow::Error::msg)
}

/// Asks for a secret once: hidden on a terminal, or as a line of a pipe.
pub(super) fn secret(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if !is_person() {
        return read_line();
    }
    let _quiet = Quiet::new()?;
    ask(prompt)
}

/// Reads a new password: on a terminal until it was typed twice the same, or as a line of a pipe.
pub(super) fn read_password() -> anyhow::Result<Zeroizing<String>> {
    if !is_person() {
        return read_line();
    }
    let _quiet = Quiet::new()?;
    loop {
        let password = ask("Password: ")?;
        if *ask("Once more: ")? == *password {
            return Ok(password);
        }
        say!("  the two passwords differ");
    }
}

/// Asks a person until there is an answer.
fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    loop {
        said(format_args!("{prompt}"));
        if !signals::wait_for_input()? {
            // The process ends when the echo is on again.
            say!("");
            bail!("interrupted");
        }
        let (line, is_end) = read()?;
        say!("");
        if is_end {
            bail!("the password is empty");
        }
        match text(&line) {
            Some("") => say!("  this needs an answer"),
            Some(line) => return Ok(Zeroizing::new(line.to_owned())),
            None => say!("  {NOT_UTF8}"),
        }
    }
}

fn read_line() -> anyhow::Result<Zeroizing<String>> {
    let (line, _) = read()?;
    match text(&line) {
        Some("") => bail!("the password is empty"),
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
        None => bail!("{NOT_UTF8}"),
    }
}

fn text(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok().map(line_of_text)
}

/// Reads a line, and returns whether the input has ended before it.
fn read() -> anyhow::Result<(Zeroizing<Vec<u8>>, bool)> {
    let mut line = Zeroizing::new(Vec::new());
    let octets = std::io::stdin().lock().read_until(b'\n', &mut line).context("cannot read the password")?;
    Ok((line, octets == 0))
}

/// Turns the terminal's echo off until it is dropped. Signals that end the process wait until then: otherwise Ctrl-C would leave a terminal
/// that shows nothing of what is typed.
struct Quiet(Termios);

impl Quiet {
    fn new() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("cannot read the terminal's settings")?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        signals::hold();
        let quieted = tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet);
        let guard = Quiet(before);
        quieted.context("cannot switch the terminal's echo off")?;
        Ok(guard)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If the terminal is gone, nothing can be done.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
        signals::let_in();
    }
}

#[cfg(test)]
mod tests {
    use argon2::Argon2;
    use argon2::password_hash::{PasswordHash, PasswordVerifier};

    use super::*;

    #[test]
    fn a_hash_verifies_its_password_only_and_is_salted() {
        let phc = hash("hemmeligt æøå").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$"), "{phc}");
        let parsed = PasswordHash::new(&phc).unwrap();
        assert!(Argon2::default().verify_password("hemmeligt æøå".as_bytes(), &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"hemmeligt", &parsed).is_err());
        assert_ne!(phc, hash("hemmeligt æøå").unwrap());
    }
}

//! `postbud hash-password`: makes the `password_hash` of a submitter.

use std::io::BufRead;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::ask::is_person;
use super::said;
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
        let (line, is_end) = read()?;
        say!("");
        if is_end {
            bail!("the password is empty");
        }
        if !line.is_empty() {
            return Ok(line);
        }
        say!("  this needs an answer");
    }
}

fn read_line() -> anyhow::Result<Zeroizing<String>> {
    let (line, _) = read()?;
    if line.is_empty() {
        bail!("the password is empty");
    }
    Ok(line)
}

/// Reads a line, and returns whether the input has ended before it.
fn read() -> anyhow::Result<(Zeroizing<String>, bool)> {
    let mut line = Zeroizing::new(String::new());
    let octets = std::io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    Ok((Zeroizing::new(line_of_text(&line).to_owned()), octets == 0))
}

/// Turns the terminal's echo off until it is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("cannot read the terminal's settings")?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).context("cannot switch the terminal's echo off")?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If the terminal is gone, nothing can be done.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
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

//! Questions of a command, which are answered by a flag, by a person on the terminal, or by a line of a pipe.

use std::fmt::Display;
use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::said;
use crate::files::line_of_text;

/// What is said of an answer that is not UTF-8.
pub(super) const NOT_UTF8: &str = "this is not UTF-8 text; the terminal or the file writes another character set";

/// Returns the flag's value, or asks for it.
pub(super) fn given_or_asked(
    given: Option<String>,
    question: &str,
    flag: &str,
    usual: Option<&str>,
) -> anyhow::Result<String> {
    match given {
        Some(given) => Ok(given),
        None => ask(question, flag, usual),
    }
}

/// Returns a checked answer. A person is asked again until the answer is valid; an invalid flag or line of a pipe is an error.
pub(super) fn given_or_asked_until<T, E: Display>(
    given: Option<String>,
    question: &str,
    flag: &str,
    usual: Option<&str>,
    check: impl Fn(&str) -> Result<T, E>,
) -> anyhow::Result<T> {
    if let Some(given) = given {
        return check(&given).map_err(|why| anyhow::anyhow!("{flag} {given}: {why}"));
    }
    loop {
        let answer = ask(question, flag, usual)?;
        match check(&answer) {
            Ok(right) => return Ok(right),
            Err(why) if is_person() => say!("  {why}"),
            Err(why) => bail!("{question}: {answer}: {why}"),
        }
    }
}

/// Returns true if a person answers, who can be asked again. A pipe cannot.
pub(super) fn is_person() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks on standard error and reads a line from standard input. An empty line means `usual`. Without `usual`, a person is asked again, and an
/// empty line of a pipe is an error that names the flag. The end of the input is always this error, because nobody has seen the question.
pub(super) fn ask(question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<String> {
    loop {
        let Ok(answer) = ask_once(question, flag, usual)? else {
            match is_person() {
                true => say!("  {NOT_UTF8}"),
                false => bail!("{question}: {NOT_UTF8}"),
            }
            continue;
        };
        match (answer.as_str(), usual) {
            ("", Some(usual)) => return Ok(usual.to_owned()),
            ("", None) if is_person() => say!("  this needs an answer"),
            ("", None) => bail!("{question}: no answer; give {flag}"),
            (answer, _) => return Ok(answer.to_owned()),
        }
    }
}

/// The inner error is an answer that is not UTF-8, as from a terminal or a file in Latin-1.
fn ask_once(
    question: &str,
    flag: &str,
    usual: Option<&str>,
) -> anyhow::Result<Result<String, std::string::FromUtf8Error>> {
    match usual {
        Some(usual) if !usual.is_empty() => said(format_args!("{question} [{usual}]: ")),
        _ => said(format_args!("{question}: ")),
    }
    let mut line = Vec::new();
    let read = std::io::stdin().lock().read_until(b'\n', &mut line).context("cannot read the answer")?;
    if !is_person() {
        say!("");
    }
    if read == 0 {
        bail!("{question}: no answer; give {flag}");
    }
    Ok(String::from_utf8(line).map(|line| line_of_text(&line).trim().to_owned()))
}

/// Asks for one of the choices of a flag.
pub(super) fn choice<T: ValueEnum>(question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<T> {
    given_or_asked_until(None, question, flag, usual, |answer| {
        T::from_str(answer, true).map_err(|_| format!("is none of the choices; see {flag} in --help"))
    })
}

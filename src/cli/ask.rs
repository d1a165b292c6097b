//! Questions of a command: a flag answers, or a person on the terminal, or a line of a pipe.

use std::fmt::Display;
use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::said;
use crate::files::line_of_text;

/// The answer that a flag gives, or that is asked for.
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

/// The same for an answer that is checked. A person is asked again until it is right; a flag or a line of a pipe that is wrong is an error.
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
            Err(why) if std::io::stdin().is_terminal() => say!("  {why}"),
            Err(why) => bail!("{question}: {answer}: {why}"),
        }
    }
}

/// Asks on standard error and reads a line from standard input. `usual` is what an empty line means; without it, an empty
/// answer is an error that names the flag, as the end of the input always is: nobody has seen the question.
pub(super) fn ask(question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<String> {
    match usual {
        Some(usual) if !usual.is_empty() => said(format_args!("{question} [{usual}]: ")),
        _ => said(format_args!("{question}: ")),
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    if !std::io::stdin().is_terminal() {
        say!("");
    }
    if read == 0 {
        bail!("{question}: no answer; give {flag}");
    }
    match (line_of_text(&line).trim(), usual) {
        ("", Some(usual)) => Ok(usual.to_owned()),
        ("", None) => bail!("{question}: no answer; give {flag}"),
        (answer, _) => Ok(answer.to_owned()),
    }
}

/// Asks for one of the choices of a flag.
pub(super) fn choice<T: ValueEnum>(question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<T> {
    let answer = ask(question, flag, usual)?;
    T::from_str(&answer, true).map_err(|_| anyhow::anyhow!("\"{answer}\" is none of the choices; see {flag} in --help"))
}

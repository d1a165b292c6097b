//! Parses a command line (RFC 5321 §4.1.1 and the extensions this relay offers). The input is a line without its CRLF.
//! The output is a [`Command`] whose parts are checked, or the [`CommandError`] whose reply refuses it.
//!
//! Nothing is guessed. An unknown parameter, a parameter given twice, or a path without brackets is refused with a
//! reply that says so.

mod arguments;
mod error;

use std::borrow::Cow;

use super::dsn::{Notify, Ret};
use super::path::{Mailbox, ReversePath};
use arguments::{auth, bdat, client_name, mail, rcpt};
pub use error::CommandError;

/// One command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with the client's name. Octets that are not UTF-8 are replaced.
    Ehlo(Cow<'a, str>),
    /// HELO with the client's name, in the same way.
    Helo(Cow<'a, str>),
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// The mechanism, as the client wrote it.
        mechanism: &'a str,
        /// The initial response, as the client wrote it: base64, or `=` for an empty one.
        initial: Option<&'a str>,
    },
    /// MAIL FROM with its parameters.
    Mail(Mail),
    /// RCPT TO with its parameters.
    Rcpt(Rcpt),
    /// DATA, which takes no arguments.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// The number of octets that follow.
        size: u64,
        /// True if the message ends with these octets.
        last: bool,
    },
    /// RSET, which takes no arguments.
    Rset,
    /// NOOP with any argument.
    Noop,
    /// QUIT, which takes no arguments.
    Quit,
    /// VRFY with any argument.
    Vrfy,
    /// EXPN with any argument.
    Expn,
    /// HELP with any argument.
    Help,
    /// The start of an HTTP request: a web page makes a browser connect to us.
    Http,
}

/// The arguments of MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The reverse path, where bounces go.
    pub path: ReversePath,
    /// The value of SIZE (RFC 1870).
    pub size: Option<u64>,
    /// True if SMTPUTF8 is given (RFC 6531).
    pub smtputf8: bool,
    /// The value of RET (RFC 3461).
    pub ret: Option<Ret>,
    /// The value of ENVID, still in xtext. An empty value is `None`.
    pub envid: Option<String>,
}

/// The arguments of RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward path (RFC 5321 §3.3).
    pub address: Mailbox,
    /// The value of NOTIFY (RFC 3461).
    pub notify: Option<Notify>,
    /// The value of ORCPT (RFC 3461), still in xtext.
    pub orcpt: Option<String>,
}

impl<'a> Command<'a> {
    /// Parses one line without its CRLF.
    pub fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(_) => return foreign_hello(line),
        };
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(CommandError::Octets);
        }
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        let alone = |command: Command<'a>, expected| match rest {
            "" => Ok(command),
            _ => Err(CommandError::Syntax(expected)),
        };
        // The most frequent verbs are compared first.
        if is("RCPT") {
            rcpt(rest).map(Command::Rcpt)
        } else if is("MAIL") {
            mail(rest).map(Command::Mail)
        } else if is("DATA") {
            alone(Command::Data, "DATA")
        } else if is("BDAT") {
            bdat(rest).ok_or(CommandError::Syntax("BDAT <octets> [LAST]"))
        } else if is("EHLO") {
            client_name(rest).map(|name| Command::Ehlo(name.into())).ok_or(CommandError::Syntax("EHLO <name>"))
        } else if is("HELO") {
            client_name(rest).map(|name| Command::Helo(name.into())).ok_or(CommandError::Syntax("HELO <name>"))
        } else if is("AUTH") {
            auth(rest).ok_or(CommandError::Syntax("AUTH <mechanism> [<initial response>]"))
        } else if is("STARTTLS") {
            alone(Command::StartTls, "STARTTLS")
        } else if is("RSET") {
            alone(Command::Rset, "RSET")
        } else if is("QUIT") {
            alone(Command::Quit, "QUIT")
        } else if is("NOOP") {
            Ok(Command::Noop)
        } else if is("VRFY") {
            Ok(Command::Vrfy)
        } else if is("EXPN") {
            Ok(Command::Expn)
        } else if is("HELP") {
            Ok(Command::Help)
        } else if ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT"].contains(&verb) {
            Ok(Command::Http)
        } else {
            Err(CommandError::Unknown)
        }
    }
}

/// Parses EHLO or HELO of a machine whose name is not written in UTF-8. Any other line with such octets is refused.
fn foreign_hello(line: &[u8]) -> Result<Command<'_>, CommandError> {
    let is_hello =
        line.get(..5).is_some_and(|verb| [b"EHLO ", b"HELO "].iter().any(|it| verb.eq_ignore_ascii_case(*it)));
    if !is_hello {
        return Err(CommandError::Octets);
    }
    match Command::parse(String::from_utf8_lossy(line).as_bytes())? {
        Command::Ehlo(name) => Ok(Command::Ehlo(name.into_owned().into())),
        Command::Helo(name) => Ok(Command::Helo(name.into_owned().into())),
        _ => Err(CommandError::Octets),
    }
}

#[cfg(test)]
mod tests;

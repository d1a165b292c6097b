//! The arguments of commands: paths, parameters, names and numbers.

use super::{Command, CommandError, Mail, Rcpt};
use crate::smtp::dsn::{self, Notify, Ret};
use crate::smtp::path::{Domain, Mailbox, PathError, ReversePath};

/// Reads the client's name. It is only shown and never trusted, so any printable word is accepted. RFC 5321 §4.1.4 asks
/// for a domain or a literal, but .NET sends the machine's name.
pub(super) fn client_name(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t']);
    (!text.is_empty() && text.len() <= 255 && !text.contains([' ', '\t'])).then_some(text)
}

pub(super) fn auth(text: &str) -> Option<Command<'_>> {
    let mut words = text.split_ascii_whitespace();
    let mechanism = words.next()?;
    let initial = words.next();
    words.next().is_none().then_some(Command::Auth { mechanism, initial })
}

pub(super) fn bdat(text: &str) -> Option<Command<'static>> {
    let mut words = text.split_ascii_whitespace();
    let size = number(words.next()?)?;
    let last = match words.next() {
        None => false,
        Some(word) => word.eq_ignore_ascii_case("LAST").then_some(true)?,
    };
    words.next().is_none().then_some(Command::Bdat { size, last })
}

/// Reads up to 20 digits (RFC 1870 §4). A number that does not fit is larger than anything we take.
fn number(digits: &str) -> Option<u64> {
    let legal = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    legal.then(|| digits.parse().unwrap_or(u64::MAX))
}

pub(super) const MAIL: CommandError = CommandError::Syntax("MAIL FROM:<address> [parameters]");
pub(super) const RCPT: CommandError = CommandError::Syntax("RCPT TO:<address> [parameters]");

pub(super) fn mail(rest: &str) -> Result<Mail, CommandError> {
    let (path, parameters) = path(rest, "FROM:").ok_or(MAIL)?;
    let path = match path {
        "" => ReversePath::Null,
        path => ReversePath::Mailbox(mailbox(path).map_err(CommandError::Sender)?),
    };
    let mut mail = Mail { path, size: None, smtputf8: false, ret: None, envid: None };
    let mut body = None;
    let mut auth = None;
    for (name, value) in Parameters(parameters) {
        match name {
            n if n.eq_ignore_ascii_case("SIZE") => set(&mut mail.size, value.and_then(number), "SIZE")?,
            n if n.eq_ignore_ascii_case("BODY") => match value {
                // We do not offer BINARYMIME (RFC 3030 §3).
                Some(v) if v.eq_ignore_ascii_case("BINARYMIME") => {
                    return Err(CommandError::Parameter("BODY=BINARYMIME".into()));
                }
                v => {
                    let known = v.filter(|v| v.eq_ignore_ascii_case("7BIT") || v.eq_ignore_ascii_case("8BITMIME"));
                    set(&mut body, known, "BODY")?;
                }
            },
            n if n.eq_ignore_ascii_case("SMTPUTF8") => {
                if value.is_some() || mail.smtputf8 {
                    return Err(CommandError::Value("SMTPUTF8"));
                }
                mail.smtputf8 = true;
            }
            n if n.eq_ignore_ascii_case("RET") => set(&mut mail.ret, value.and_then(Ret::parse), "RET")?,
            n if n.eq_ignore_ascii_case("ENVID") => {
                let legal = value.filter(|v| v.len() <= 100 && dsn::is_xtext(v));
                set(&mut mail.envid, legal.map(str::to_owned), "ENVID")?;
            }
            // AUTH names whom the client says the mail is from (RFC 4954 §5). We trust no other server to say that, so
            // it counts as AUTH=<>.
            n if n.eq_ignore_ascii_case("AUTH") => {
                let legal = value.filter(|v| v.len() <= 500 && (*v == "<>" || dsn::is_xtext(v)));
                set(&mut auth, legal, "AUTH")?;
            }
            n if is_keyword(n) => return Err(CommandError::Parameter(n.to_owned())),
            _ => return Err(MAIL),
        }
    }
    // RFC 3461 §4.4: xtext may be empty. An empty value tells the next server nothing.
    mail.envid = mail.envid.filter(|envid| !envid.is_empty());
    Ok(mail)
}

pub(super) fn rcpt(rest: &str) -> Result<Rcpt, CommandError> {
    let (path, parameters) = path(rest, "TO:").ok_or(RCPT)?;
    if path.eq_ignore_ascii_case("postmaster") {
        return Err(CommandError::Postmaster);
    }
    let address = mailbox(path).map_err(CommandError::Recipient)?;
    let mut rcpt = Rcpt { address, notify: None, orcpt: None };
    for (name, value) in Parameters(parameters) {
        match name {
            n if n.eq_ignore_ascii_case("NOTIFY") => set(&mut rcpt.notify, value.and_then(Notify::parse), "NOTIFY")?,
            n if n.eq_ignore_ascii_case("ORCPT") => {
                let legal = value.filter(|v| v.len() <= 500 && dsn::is_orcpt(v));
                set(&mut rcpt.orcpt, legal.map(str::to_owned), "ORCPT")?;
            }
            n if is_keyword(n) => return Err(CommandError::Parameter(n.to_owned())),
            _ => return Err(RCPT),
        }
    }
    Ok(rcpt)
}

/// Returns true if `name` is an esmtp-keyword (RFC 5321 §4.1.2).
fn is_keyword(name: &str) -> bool {
    !name.starts_with('-') && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Sets a parameter's value. Fails if it is wrong or was set before.
fn set<T>(slot: &mut Option<T>, value: Option<T>, name: &'static str) -> Result<(), CommandError> {
    match (&slot, value) {
        (None, Some(value)) => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(CommandError::Value(name)),
    }
}

/// The words after a path, each `NAME` or `NAME=value`.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches(' ');
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        self.0 = rest;
        (!word.is_empty()).then(|| match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        })
    }
}

/// Splits `FROM:<path> parameters` into the path and the parameters. Spaces before the bracket are tolerated, as other
/// servers do. Brackets inside a quoted local part are text.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let text = rest[keyword.len()..].trim_start_matches(' ').strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = text.bytes().position(|b| {
        let closes = b == b'>' && !quoted;
        if escaped {
            escaped = false;
        } else if b == b'"' {
            quoted = !quoted;
        } else if b == b'\\' && quoted {
            escaped = true;
        }
        closes
    })?;
    let parameters = &text[end + 1..];
    (parameters.is_empty() || parameters.starts_with(' ')).then_some((&text[..end], parameters))
}

/// Reads a path without its brackets. A source route is dropped (RFC 5321 §4.1.1.3, appendix C), and mail never goes to
/// the hosts it names.
fn mailbox(path: &str) -> Result<Mailbox, PathError> {
    let Some(route) = path.strip_prefix('@') else { return Mailbox::parse(path) };
    let (route, address) = route.split_once(':').ok_or_else(|| PathError::Mailbox(path.to_owned()))?;
    for (i, host) in route.split(',').enumerate() {
        // The first `@` is stripped already.
        let host = if i == 0 { Some(host) } else { host.strip_prefix('@') };
        Domain::parse(host.ok_or_else(|| PathError::Mailbox(path.to_owned()))?)?;
    }
    Mailbox::parse(address)
}

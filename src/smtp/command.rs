//! Parses a command line (RFC 5321 §4.1.1 and the extensions this relay offers). The input is a line without its CRLF.
//! The output is a [`Command`] whose parts are checked, or the [`CommandError`] whose reply refuses it.
//!
//! Nothing is guessed. An unknown parameter, a parameter given twice, or a path without brackets is refused with a
//! reply that says so.

use std::borrow::Cow;

use super::dsn::{self, Notify, Ret};
use super::path::{Domain, Mailbox, PathError, ReversePath};
use super::reply::{EnhancedCode, Reply};

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
    /// The start of an HTTP request: somebody makes a browser connect to us.
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
    /// The recipient's address.
    pub address: Mailbox,
    /// The value of NOTIFY (RFC 3461).
    pub notify: Option<Notify>,
    /// The value of ORCPT (RFC 3461), still in xtext.
    pub orcpt: Option<String>,
}

/// Why a line is not a command that we execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The verb is not known.
    Unknown,
    /// The verb is known, but its arguments are wrong. Holds the syntax that is expected.
    Syntax(&'static str),
    /// The line is not UTF-8, or holds a control character.
    Octets,
    /// The line is longer than allowed.
    TooLong,
    /// The line has a parameter of MAIL or RCPT that is not offered.
    Parameter(String),
    /// The line has a parameter with a wrong value, or gives it twice.
    Value(&'static str),
    /// The path of MAIL is wrong.
    Sender(PathError),
    /// The path of RCPT is wrong.
    Recipient(PathError),
    /// The recipient is the reserved `postmaster` without a domain.
    Postmaster,
}

impl CommandError {
    /// The reply that refuses the line.
    pub fn reply(&self) -> Reply {
        match self {
            CommandError::Unknown => Reply::new(500, EnhancedCode(5, 5, 1), "command not recognized"),
            CommandError::Syntax(expected) => Reply::new(501, EnhancedCode(5, 5, 4), format!("expected: {expected}")),
            CommandError::Octets => {
                Reply::new(500, EnhancedCode(5, 5, 2), "a command holds printable characters and ends with CRLF")
            }
            // RFC 5321 §4.2.2 names this code.
            CommandError::TooLong => Reply::new(500, EnhancedCode(5, 5, 2), "this line is too long"),
            // RFC 5321 §4.1.1.11 names this code.
            CommandError::Parameter(name) => {
                Reply::new(555, EnhancedCode(5, 5, 4), format!("parameter {name} is not offered here"))
            }
            CommandError::Value(name) => {
                Reply::new(501, EnhancedCode(5, 5, 4), format!("parameter {name} has a wrong value or is given twice"))
            }
            CommandError::Sender(why) => Reply::new(501, EnhancedCode(5, 1, 7), format!("MAIL FROM: {why}")),
            CommandError::Recipient(why) => Reply::new(501, EnhancedCode(5, 1, 3), format!("RCPT TO: {why}")),
            // RFC 5321 §4.5.1 asks servers that deliver to accept mail to `postmaster`. This one only relays, for
            // clients that log in.
            CommandError::Postmaster => {
                let text = "this relay has no mailboxes, not even a postmaster's: give the address with its domain";
                Reply::new(550, EnhancedCode(5, 1, 1), text)
            }
        }
    }
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
        // The verbs stand in the order of how often they come.
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

/// Reads the client's name. It is only shown and never trusted, so any printable word is accepted. RFC 5321 §4.1.4 asks
/// for a domain or a literal, but .NET sends the machine's name.
fn client_name(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t']);
    (!text.is_empty() && text.len() <= 255 && !text.contains([' ', '\t'])).then_some(text)
}

fn auth(text: &str) -> Option<Command<'_>> {
    let mut words = text.split_ascii_whitespace();
    let mechanism = words.next()?;
    let initial = words.next();
    words.next().is_none().then_some(Command::Auth { mechanism, initial })
}

fn bdat(text: &str) -> Option<Command<'static>> {
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

const MAIL: CommandError = CommandError::Syntax("MAIL FROM:<address> [parameters]");
const RCPT: CommandError = CommandError::Syntax("RCPT TO:<address> [parameters]");

fn mail(rest: &str) -> Result<Mail, CommandError> {
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

fn rcpt(rest: &str) -> Result<Rcpt, CommandError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sender(line: &str) -> Result<String, CommandError> {
        match Command::parse(line.as_bytes())? {
            Command::Mail(mail) => Ok(mail.path.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn recipient(line: &str) -> Result<String, CommandError> {
        match Command::parse(line.as_bytes())? {
            Command::Rcpt(rcpt) => Ok(rcpt.address.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn verbs_are_read_in_any_case() {
        assert_eq!(Command::parse(b"dAtA"), Ok(Command::Data));
        assert_eq!(Command::parse(b"ehlo win-pc_1"), Ok(Command::Ehlo("win-pc_1".into())));
        assert_eq!(Command::parse(b"QUIT  "), Ok(Command::Quit));
        assert_eq!(
            Command::parse(b"AUTH login d2ViY3Jt"),
            Ok(Command::Auth { mechanism: "login", initial: Some("d2ViY3Jt") })
        );
        assert_eq!(Command::parse(b"bdat 12 last"), Ok(Command::Bdat { size: 12, last: true }));
        assert_eq!(Command::parse(b"GET / HTTP/1.1"), Ok(Command::Http));
    }

    #[test]
    fn a_clients_name_may_be_in_any_character_set_and_nothing_else_may() {
        for (line, name) in [
            (&b"EHLO WIN-BL\xc5B\xc6R"[..], "WIN-BL\u{fffd}B\u{fffd}R"),
            (b"helo \xe6\xf8\xe5  ", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"Ehlo \x80pc\xff.local", "\u{fffd}pc\u{fffd}.local"),
            ("EHLO blåbær.dk".as_bytes(), "blåbær.dk"),
        ] {
            match Command::parse(line) {
                Ok(Command::Ehlo(found) | Command::Helo(found)) => assert_eq!(found, name),
                other => panic!("{other:?}"),
            }
        }
        for line in [
            &b"MAIL FROM:<a\xe5@test.dk>"[..],
            b"RCPT TO:<a@test.dk> \xff",
            b"EHLO\xff x",
            b"EHLO a\x1b\xe5",
            b"EHLO \xe5\x00",
            b"\xffEHLO x",
            b"NOOP \xe5",
        ] {
            assert_eq!(Command::parse(line), Err(CommandError::Octets), "{}", line.escape_ascii());
        }
        assert_eq!(Command::parse(b"EHLO a \xe5"), Err(CommandError::Syntax("EHLO <name>")));
    }

    #[test]
    fn paths_lose_brackets_and_source_routes_and_keep_quotes() {
        assert_eq!(sender("MAIL FROM:<>").unwrap(), "");
        assert_eq!(sender("mail from: <a@Test.DK>").unwrap(), "a@test.dk");
        assert_eq!(recipient("RCPT TO:<@x.dk,@y.dk:\"a>b@c\\\"\"@test.dk>").unwrap(), "\"a>b@c\\\"\"@test.dk");
        assert_eq!(recipient("RCPT TO:<søren@blåbær.dk>").unwrap(), "søren@xn--blbr-roah.dk");
    }

    #[test]
    fn malformed_paths_are_refused() {
        for line in [
            "RCPT TO:a@test.dk",
            "RCPT TO:<a@test.dk",
            "RCPT TO:<a@test.dk>x",
            "RCPT TO:<>",
            "RCPT TO:<postmaster>",
            "RCPT TO:<a@test.dk><b@test.dk>",
            "RCPT TO:<@x.dk,y.dk:a@test.dk>",
            "RCPT TO:<@x.dk>",
            "RCPT TO:<\"a@test.dk>",
            "RCPT <a@test.dk>",
            "RCPT",
        ] {
            assert!(recipient(line).is_err(), "{line}");
        }
        assert_eq!(recipient("RCPT TO:<Postmaster>"), Err(CommandError::Postmaster));
        assert_eq!(recipient("RCPT TO:<a@test.dk> =x"), Err(RCPT));
        assert_eq!(Command::parse(b"MAIL FROM:<a@test.dk>\rRCPT"), Err(CommandError::Octets));
        assert_eq!(Command::parse(b"MAIL FROM:<\xe6@test.dk>"), Err(CommandError::Octets));
    }

    #[test]
    fn parameters_are_taken_once_and_only_if_offered() {
        let line = b"MAIL FROM:<a@test.dk> SIZE=10 BODY=8bitmime SMTPUTF8 RET=HDRS ENVID=x+2By AUTH=<>";
        let Ok(Command::Mail(mail)) = Command::parse(line) else { panic!() };
        assert_eq!((mail.size, mail.smtputf8, mail.ret), (Some(10), true, Some(Ret::Headers)));
        assert_eq!(mail.envid.as_deref(), Some("x+2By"));
        let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<a@test.dk> ENVID=") else { panic!() };
        assert_eq!(mail.envid, None);
        for (parameter, refusal) in [
            ("SIZE=1 SIZE=2", CommandError::Value("SIZE")),
            ("SIZE=-1", CommandError::Value("SIZE")),
            ("SIZE", CommandError::Value("SIZE")),
            ("BODY=9BIT", CommandError::Value("BODY")),
            ("BODY=BINARYMIME", CommandError::Parameter("BODY=BINARYMIME".into())),
            ("SMTPUTF8=1", CommandError::Value("SMTPUTF8")),
            ("XFOO=1", CommandError::Parameter("XFOO".into())),
            ("ENVID=a=b", CommandError::Value("ENVID")),
            ("ENVID", CommandError::Value("ENVID")),
            ("ENVID= ENVID=a", CommandError::Value("ENVID")),
            ("=x", MAIL),
            ("-X=1", MAIL),
            ("<b@test.dk>", MAIL),
        ] {
            let line = format!("MAIL FROM:<a@test.dk> {parameter}");
            assert_eq!(Command::parse(line.as_bytes()), Err(refusal), "{line}");
        }
        let line = b"RCPT TO:<a@test.dk> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+40test.dk";
        let Ok(Command::Rcpt(rcpt)) = Command::parse(line) else { panic!() };
        assert_eq!(rcpt.notify, Some(Notify { success: false, failure: true, delay: true }));
        assert_eq!(rcpt.orcpt.as_deref(), Some("rfc822;a+40test.dk"));
    }

    #[test]
    fn a_size_beyond_all_numbers_is_large_not_wrong() {
        let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<> SIZE=99999999999999999999") else { panic!() };
        assert_eq!(mail.size, Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_with_one_whole_reply(line in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(refusal) = Command::parse(&line) {
                let mut out = Vec::new();
                refusal.reply().write_to(&mut out);
                prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
            }
        }

        #[test]
        fn what_is_read_from_a_path_is_a_path(text in "[a-z@\"\\\\<>:,. ]{0,30}") {
            if let Ok(Command::Rcpt(rcpt)) = Command::parse(format!("RCPT TO:{text}").as_bytes()) {
                prop_assert_eq!(Mailbox::parse(&rcpt.address.to_string()).unwrap(), rcpt.address);
            }
        }
    }

    #[test]
    fn a_command_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |line: &Vec<u8>| drop(Command::parse(line)),
            &[
                ("a local part", |size| [b"MAIL FROM:<".as_slice(), &vec![b'a'; size], b"@test.dk>"].concat()),
                ("dots", |size| [b"MAIL FROM:<".as_slice(), &b"a.".repeat(size / 2), b"b@test.dk>"].concat()),
                ("a quoted local part", |size| {
                    [b"MAIL FROM:<\"".as_slice(), &b"\\\"".repeat(size / 2), b"\"@test.dk>"].concat()
                }),
                ("labels", |size| [b"RCPT TO:<a@".as_slice(), &b"a.".repeat(size / 2), b"dk>"].concat()),
                ("a source route", |size| [b"RCPT TO:<".as_slice(), &b"@a.dk,".repeat(size / 6), b":a@b.dk>"].concat()),
                ("parameters", |size| [b"MAIL FROM:<a@b.dk>".as_slice(), &b" X=Y".repeat(size / 4)].concat()),
                ("a long parameter", |size| {
                    [b"MAIL FROM:<a@b.dk> ENVID=".as_slice(), &b"+41".repeat(size / 3)].concat()
                }),
                ("blanks", |size| [b"MAIL FROM:".as_slice(), &vec![b' '; size]].concat()),
                ("brackets", |size| [b"RCPT TO:".as_slice(), &vec![b'<'; size]].concat()),
                ("a verb", |size| vec![b'X'; size]),
                ("letters of its own", |size| {
                    [b"RCPT TO:<a@".as_slice(), "ø".repeat(size / 2).as_bytes(), b".dk>"].concat()
                }),
                ("EHLO", |size| [b"EHLO ".as_slice(), &b"a.".repeat(size / 2)].concat()),
            ],
        );
    }
}

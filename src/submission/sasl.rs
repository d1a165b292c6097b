//! The server side of AUTH (RFC 4954): PLAIN (RFC 4616) and LOGIN, each with or without an initial response. Has no I/O, and keeps no
//! password longer than needed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Credentials;
use crate::smtp::{EnhancedCode, Reply};

/// The state of an exchange: what the server waits for.
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword(Zeroizing<String>),
}

/// The server's next step in an exchange.
pub(super) enum ExchangeStep {
    /// Send this prompt, and wait for the answer.
    Ask(Reply, Exchange),
    Check(Credentials),
    /// The exchange has ended with this reply.
    Done(Reply),
}

impl Exchange {
    /// Begins with AUTH itself. An initial response of `=` is empty (RFC 4954 §4).
    pub(super) fn begin(mechanism: &str, initial: Option<&str>) -> ExchangeStep {
        let begun = if mechanism.eq_ignore_ascii_case("PLAIN") {
            Exchange::Plain
        } else if mechanism.eq_ignore_ascii_case("LOGIN") {
            Exchange::LoginName
        } else {
            return ExchangeStep::Done(Reply::new(504, EnhancedCode(5, 5, 4), "offered are AUTH LOGIN and AUTH PLAIN"));
        };
        match initial {
            None => begun.ask(),
            Some("=") => begun.answered(b""),
            Some(initial) => begun.answered(initial.as_bytes()),
        }
    }

    fn ask(self) -> ExchangeStep {
        let challenge = match self {
            Exchange::Plain => "",
            Exchange::LoginName => "VXNlcm5hbWU6",
            Exchange::LoginPassword(_) => "UGFzc3dvcmQ6",
        };
        ExchangeStep::Ask(Reply::bare(334, challenge), self)
    }

    /// Continues with the client's answer, one line without its CRLF.
    pub(super) fn answered(self, line: &[u8]) -> ExchangeStep {
        if line == b"*" {
            return ExchangeStep::Done(Reply::new(501, EnhancedCode(5, 7, 0), "authentication given up"));
        }
        let Some(text) = decoded(line) else {
            return ExchangeStep::Done(Reply::new(501, EnhancedCode(5, 5, 2), "not UTF-8 in base64"));
        };
        match self {
            Exchange::LoginName => Exchange::LoginPassword(text).ask(),
            Exchange::LoginPassword(username) => ExchangeStep::Check(Credentials { username, password: text }),
            Exchange::Plain => match plain(&text) {
                Some(credentials) => ExchangeStep::Check(credentials),
                None => ExchangeStep::Done(Reply::new(
                    501,
                    EnhancedCode(5, 5, 2),
                    "PLAIN is NUL name NUL password, for the name's own account",
                )),
            },
        }
    }
}

fn decoded(line: &[u8]) -> Option<Zeroizing<String>> {
    // `decode` is not used, because it would leave the octets before an illegal one in memory.
    let mut octets = Zeroizing::new(vec![0; base64::decoded_len_estimate(line.len())]);
    let len = STANDARD.decode_slice(line, &mut octets).ok()?;
    octets.truncate(len);
    std::str::from_utf8(&octets).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Reads `authorization NUL authentication NUL password`. Acting for another user is not offered.
fn plain(text: &str) -> Option<Credentials> {
    let mut parts = text.split('\0');
    let (acting_for, username, password) = (parts.next()?, parts.next()?, parts.next()?);
    let legal = parts.next().is_none() && (acting_for.is_empty() || acting_for == username) && !username.is_empty();
    legal.then(|| Credentials { username: username.to_owned().into(), password: password.to_owned().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(mechanism: &str, initial: Option<&str>, answers: &[&str]) -> Result<(String, String), u16> {
        let mut step = Exchange::begin(mechanism, initial);
        for answer in answers {
            let ExchangeStep::Ask(_, exchange) = step else { panic!("asked nothing before {answer:?}") };
            step = exchange.answered(answer.as_bytes());
        }
        match step {
            ExchangeStep::Check(c) => Ok((c.username.to_string(), c.password.to_string())),
            ExchangeStep::Done(reply) => Err(reply.code),
            ExchangeStep::Ask(reply, _) => Err(reply.code),
        }
    }

    #[test]
    fn every_form_of_login_ends_with_the_same_credentials() {
        let both = Ok(("webcrm".to_owned(), "s3cret".to_owned()));
        assert_eq!(script("login", Some("d2ViY3Jt"), &["czNjcmV0"]), both);
        assert_eq!(script("LOGIN", None, &["d2ViY3Jt", "czNjcmV0"]), both);
        assert_eq!(script("PLAIN", Some("AHdlYmNybQBzM2NyZXQ="), &[]), both);
        assert_eq!(script("plain", None, &["AHdlYmNybQBzM2NyZXQ="]), both);
        assert_eq!(script("PLAIN", Some("d2ViY3JtAHdlYmNybQBzM2NyZXQ="), &[]), both);
    }

    #[test]
    fn everything_else_ends_with_a_refusal() {
        assert_eq!(script("CRAM-MD5", None, &[]), Err(504));
        assert_eq!(script("LOGIN", None, &["*"]), Err(501));
        assert_eq!(script("LOGIN", None, &["d2ViY3Jt", "*"]), Err(501));
        assert_eq!(script("LOGIN", Some("%%%"), &[]), Err(501));
        assert_eq!(script("PLAIN", Some("="), &[]), Err(501));
        // The client asks to act for another user.
        assert_eq!(script("PLAIN", Some("cm9vdAB3ZWJjcm0AczNjcmV0"), &[]), Err(501));
    }
}

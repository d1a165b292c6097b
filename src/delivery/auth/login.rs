//! Logs in to a smarthost (RFC 4954): which mechanism is used, and when another one is tried.
//!
//! A server counts wrong passwords and locks the account. A password that was refused is therefore not offered again by
//! another mechanism. If the server did not understand a mechanism, nobody checked the password, and the next mechanism
//! is tried. If the server finds a mechanism too weak, one more is tried for the connection: without TLS only one that
//! reveals less.

use std::time::Duration;

use super::sasl::Exchange;
use crate::delivery::connection::{Broken, Connection};
use crate::delivery::reply::words::Words;
use crate::route::{Login, LoginSecret};
use crate::smtp::{EnhancedCode, Mechanism, Reply};

/// The end of one exchange.
enum Answer {
    /// The server's last reply.
    Said(Reply),
    /// The server asked for more than the mechanism can answer, with this challenge, and was told to give up (`*`).
    GivenUp(Reply),
}

/// Why the login failed.
pub enum NoLogin {
    /// The server offers no mechanism that fits, so nothing was tried.
    Unfit {
        /// Why no mechanism fits.
        reason: String,
        /// What a person can do.
        advice: String,
    },
    /// The server refused the login by this mechanism.
    Refused(Mechanism, Reply),
    /// The server went on asking after the mechanism had sent everything. The reply is its last challenge.
    GivenUp(Mechanism, Reply),
    Broken(Broken),
}

/// The cause of a refused login. It decides whether another mechanism is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The server did not understand the command or a line of the exchange. Nobody checked the password.
    Command,
    /// The server finds the mechanism too weak.
    Mechanism,
    /// The password is wrong, the account may not log in, or the server cannot check it now.
    Account,
}

impl Blame {
    /// Reads the blame from the reply that ended the exchange.
    pub fn of(reply: &Reply) -> Self {
        let text = Words::of(&reply.lines.join(" "));
        let of_security = reply.enhanced.is_some_and(|EnhancedCode(_, subject, _)| subject == 7);
        // Google uses 534 with 5.7.9 and 5.7.14 for what a person must do.
        let of_account = wants_password_of_application(&text) || text.any(&[" browser "]);
        match (reply.code, reply.enhanced) {
            (500 | 502 | 504, _) => Blame::Command,
            // The server cannot read a line. Some servers use this code for a wrong password.
            (501, _) if !of_security && !text.any(&[" fail", " credential", " password"]) => Blame::Command,
            _ if of_account => Blame::Account,
            // Some servers have one code for all failures, and words for this one.
            (500..=599, _) if text.any(&[" no mechanism "]) || says_of_mechanism(&text, UNKNOWN) => Blame::Command,
            (500..=599, _) if says_of_mechanism(&text, WEAK) => Blame::Mechanism,
            // RFC 4954 §6: the client should try another one.
            (534, None) | (534 | 535, Some(EnhancedCode(5, 7, 9))) => Blame::Mechanism,
            _ => Blame::Account,
        }
    }
}

/// Words of a server that does not know the mechanism, or has nothing to check it with.
const UNKNOWN: &[&str] = &[
    " not available ",
    " unavailable ",
    " unsupported ",
    " not supported ",
    " invalid ",
    " unknown ",
    " unrecognized ",
    " not recognized ",
];
/// Words of a server that does not want the mechanism.
const WEAK: &[&str] =
    &[" too weak ", " not strong enough ", " disabled ", " not allowed ", " not permitted ", " not enabled "];

/// Returns true if one of `words` stands beside the mechanism.
fn says_of_mechanism(text: &Words, words: &[&str]) -> bool {
    text.close(
        &[" mechanism ", " authentication type ", " auth type ", " authentication method ", " auth method "],
        words,
        3,
    )
}

/// Returns true if the account needs a password that was made for one application.
pub fn wants_password_of_application(text: &Words) -> bool {
    text.any(&[" application specific ", " app specific ", " app password", " application password"])
}

/// The mechanisms for a password, best first. Within TLS the simplest one is the most reliable. Without TLS, the one
/// that does not show the password comes first.
fn for_password(encrypted: bool) -> [Mechanism; 3] {
    match encrypted {
        true => [Mechanism::Plain, Mechanism::Login, Mechanism::CramMd5],
        false => [Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login],
    }
}

/// Chooses the next mechanism.
struct Choice {
    /// The mechanisms that are left, best first.
    left: Vec<Mechanism>,
    encrypted: bool,
    /// A mechanism that was refused as too weak has been followed by another one.
    has_followed: bool,
}

impl Choice {
    fn next(&mut self) -> Option<Mechanism> {
        (!self.left.is_empty()).then(|| self.left.remove(0))
    }

    /// Returns the mechanism to try after this refusal of `refused`, if any is worth it.
    fn after(&mut self, refused: Mechanism, blame: Blame) -> Option<Mechanism> {
        match blame {
            Blame::Command => self.next(),
            Blame::Mechanism if !self.has_followed => {
                self.has_followed = true;
                // CRAM-MD5 is the only mechanism that does not show the password.
                let is_stronger = |mechanism: &Mechanism| *mechanism == Mechanism::CramMd5;
                let stronger = self.left.iter().position(is_stronger).filter(|_| refused != Mechanism::CramMd5);
                match stronger {
                    Some(at) => Some(self.left.remove(at)),
                    None if self.encrypted => self.next(),
                    None => None,
                }
            }
            Blame::Mechanism | Blame::Account => None,
        }
    }
}

/// Returns the mechanisms that the server offers and the route allows, best first. There is at least one.
pub fn mechanisms(connection: &Connection, login: &Login) -> Result<Vec<Mechanism>, NoLogin> {
    let known = match login.secret {
        LoginSecret::Password(_) => &for_password(connection.tls.is_some())[..],
        LoginSecret::ClientCredentials { .. } => &[Mechanism::Xoauth2],
    };
    let offered = connection.extensions.auth;
    let allowed = |mechanism: &Mechanism| login.mechanism.is_none_or(|only| only == *mechanism);
    let fit: Vec<_> = known.iter().copied().filter(|mechanism| offered.has(*mechanism)).filter(allowed).collect();
    if !fit.is_empty() {
        return Ok(fit);
    }
    let unfit = |reason: String, advice: &str| Err(NoLogin::Unfit { reason, advice: advice.to_owned() });
    if !offered.offered {
        let advice = "the server must offer a login; if it knows us by address, leave username and secret out";
        return unfit("the server offers no login".to_owned(), advice);
    }
    let names = connection.extensions.offered_mechanisms().join(", ");
    if let Some(only) = login.mechanism {
        let reason = format!("the server offers no login by {}, only by {names}", only.as_str());
        let advice = "leave auth out, so that a fitting mechanism is chosen, or name one there that the server offers";
        return unfit(reason, advice);
    }
    let reason = format!("the server offers no way to log in that fits this route's credentials, only {names}");
    unfit(
        reason,
        match login.secret {
            LoginSecret::Password(_) => {
                "the server must offer PLAIN, LOGIN or CRAM-MD5; if it knows us by address, leave the login out"
            }
            LoginSecret::ClientCredentials { .. } => "the server must offer XOAUTH2; or give the route a password",
        },
    )
}

/// Logs in with a password by one of these mechanisms, and returns the one that worked. Within TLS, `usual` is tried
/// first: the mechanism of the route's last login.
pub async fn with_password(
    connection: &mut Connection,
    mut mechanisms: Vec<Mechanism>,
    usual: Option<Mechanism>,
    (username, password): (&str, &str),
    limit: Duration,
) -> Result<Mechanism, NoLogin> {
    let encrypted = connection.tls.is_some();
    if encrypted {
        mechanisms.sort_by_key(|mechanism| Some(*mechanism) != usual);
    }
    let mut choice = Choice { left: mechanisms, encrypted, has_followed: false };
    let mut next = choice.next();
    // The server's verdict on the password, or on the mechanism. It counts, whatever the server says about other
    // mechanisms.
    let mut counts = None;
    let mut last = None;
    while let Some(mechanism) = next {
        let answer = match exchange(connection, Exchange::new(mechanism, username, password), limit).await {
            Ok(answer) => answer,
            // A server may close the connection on a second try. The first refusal must then be reported, or every
            // connection would repeat it.
            Err(broken) => return Err(counts.unwrap_or(NoLogin::Broken(broken))),
        };
        match answer {
            Answer::Said(reply) if reply.code == 235 => return Ok(mechanism),
            Answer::Said(reply) => {
                let blame = Blame::of(&reply);
                next = choice.after(mechanism, blame);
                let refused = NoLogin::Refused(mechanism, reply);
                if blame == Blame::Command {
                    last = Some(refused);
                } else {
                    counts = Some(refused);
                }
            }
            Answer::GivenUp(challenge) => {
                next = choice.after(mechanism, Blame::Command);
                last = Some(NoLogin::GivenUp(mechanism, challenge));
            }
        }
    }
    Err(counts.or(last).unwrap_or(NoLogin::Broken(Broken::Closed)))
}

/// Logs in with a bearer token.
pub async fn with_token(
    connection: &mut Connection,
    (username, token): (&str, &str),
    limit: Duration,
) -> Result<Mechanism, NoLogin> {
    let mechanism = Mechanism::Xoauth2;
    match exchange(connection, Exchange::new(mechanism, username, token), limit).await {
        Ok(Answer::Said(reply)) if reply.code == 235 => Ok(mechanism),
        Ok(Answer::Said(reply)) => Err(NoLogin::Refused(mechanism, reply)),
        Ok(Answer::GivenUp(challenge)) => Err(NoLogin::GivenUp(mechanism, challenge)),
        Err(broken) => Err(NoLogin::Broken(broken)),
    }
}

/// Returns more advice for a refusal by this mechanism.
pub fn hint(mechanism: Mechanism, encrypted: bool, reply: &Reply) -> Option<&'static str> {
    match (mechanism, reply.code, encrypted) {
        (Mechanism::CramMd5, 535, false) => Some(
            "servers that keep passwords as hashes offer CRAM-MD5 and cannot check it: if the password is right, set \
             tls = \"required\", and PLAIN is used within TLS",
        ),
        (Mechanism::CramMd5, 535, true) => Some(
            "servers that keep passwords as hashes offer CRAM-MD5 and cannot check it: if the password is right, name another \
             mechanism in auth, or have the server offer PLAIN",
        ),
        _ => None,
    }
}

/// Makes one exchange by any mechanism.
async fn exchange(connection: &mut Connection, mut exchange: Exchange<'_>, limit: Duration) -> Result<Answer, Broken> {
    let mut reply = connection.ask_in_secret(exchange.command(), limit).await?;
    while reply.code == 334 {
        let challenge = reply.lines.first().map_or("", String::as_str);
        let Some(line) = exchange.answer(challenge) else {
            // RFC 4954 §4: the server answers 501 because we cancelled.
            let over = connection.ask("*", limit).await?;
            return match over.code {
                334 => Err(Broken::OutOfStep(over.to_string())),
                235 => Ok(Answer::Said(over)),
                _ => Ok(Answer::GivenUp(reply)),
            };
        };
        reply = connection.ask_in_secret(line, limit).await?;
    }
    Ok(Answer::Said(reply))
}

#[cfg(test)]
mod tests {
    use super::Mechanism::{CramMd5, Login, Plain};
    use super::*;
    use crate::smtp::response::take_reply;

    fn blame(text: &str) -> Blame {
        Blame::of(&take_reply(format!("{text}\r\n").as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn the_mechanism_is_blamed_only_where_the_server_says_so() {
        for (text, right) in [
            ("500 5.5.1 command unrecognized", Blame::Command),
            ("502 5.5.2 not implemented", Blame::Command),
            ("504 5.7.4 Unrecognized authentication type", Blame::Command),
            ("504 5.5.4 Unable to initialize security", Blame::Command),
            ("501 5.5.2 Cannot Base64-decode", Blame::Command),
            ("501 Syntax: AUTH mechanism", Blame::Command),
            ("501 5.7.8 wrong", Blame::Account),
            ("501 Authentication failed", Blame::Account),
            ("534 5.7.9 Authentication mechanism is too weak", Blame::Mechanism),
            ("534 authentication mechanism is too weak", Blame::Mechanism),
            ("535 5.7.9 mechanism too weak", Blame::Mechanism),
            ("534 5.7.9 Application-specific password required. For more information, go to https://x", Blame::Account),
            ("534-5.7.9 Application specific\r\n534 5.7.9 password required", Blame::Account),
            ("534 5.7.9 Please use an App Password", Blame::Account),
            ("534 5.7.14 Please log in via your web browser and then try again.", Blame::Account),
            ("534 Please log in with your browser", Blame::Account),
            ("535 5.7.8 Error: authentication failed", Blame::Account),
            ("535 5.7.3 Authentication unsuccessful", Blame::Account),
            ("535 5.7.139 SmtpClientAuthentication is disabled", Blame::Account),
            ("535 wrong", Blame::Account),
            ("538 5.7.11 Encryption required", Blame::Account),
            ("550 5.7.30 Basic authentication is not supported", Blame::Account),
            ("530 5.7.0 STARTTLS first", Blame::Account),
            ("454 4.7.0 later", Blame::Account),
            ("432 4.7.12 A password transition is needed", Blame::Account),
            ("421 4.7.0 bye", Blame::Account),
            ("503 5.5.1 already", Blame::Account),
            ("535 5.7.8 Error: authentication failed: no mechanism available", Blame::Command),
            ("535 5.7.8 Error: authentication failed: Invalid authentication mechanism", Blame::Command),
            ("550 5.7.0 Unsupported authentication method", Blame::Command),
            ("535 5.7.0 authentication type not supported", Blame::Command),
            ("535 5.7.0 This authentication mechanism is disabled", Blame::Mechanism),
            ("550 AUTH mechanism not allowed for this user", Blame::Mechanism),
            ("454 4.7.0 mechanism unavailable for now", Blame::Account),
            ("535 5.7.8 no, whatever the mechanism says of you", Blame::Account),
        ] {
            assert_eq!(blame(text), right, "{text}");
        }
    }

    #[test]
    fn after_a_refused_mechanism_comes_at_most_one_more_and_in_clear_none_that_shows_more() {
        // The mechanisms tried where each is refused so.
        let tried = |offered: &[Mechanism], encrypted: bool, blame: Blame| {
            let left = for_password(encrypted).into_iter().filter(|mechanism| offered.contains(mechanism)).collect();
            let mut choice = Choice { left, encrypted, has_followed: false };
            let mut tried = Vec::new();
            let mut next = choice.next();
            while let Some(mechanism) = next {
                tried.push(mechanism);
                next = choice.after(mechanism, blame);
            }
            tried
        };
        let all = [CramMd5, Login, Plain];
        assert_eq!(tried(&all, true, Blame::Command), [Plain, Login, CramMd5]);
        assert_eq!(tried(&all, false, Blame::Command), [CramMd5, Plain, Login]);
        assert_eq!(tried(&all, true, Blame::Mechanism), [Plain, CramMd5]);
        assert_eq!(tried(&[Plain, Login], true, Blame::Mechanism), [Plain, Login]);
        assert_eq!(tried(&[Plain], true, Blame::Mechanism), [Plain]);
        assert_eq!(tried(&all, false, Blame::Mechanism), [CramMd5]);
        assert_eq!(tried(&[Plain, Login], false, Blame::Mechanism), [Plain]);
        for encrypted in [false, true] {
            assert_eq!(tried(&all, encrypted, Blame::Account).len(), 1, "one guess");
        }
    }
}

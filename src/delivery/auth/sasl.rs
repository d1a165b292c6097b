//! The client side of one AUTH exchange (RFC 4954): what a mechanism sends, and when. Does no I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use zeroize::Zeroizing;

use crate::hex::hex;
use crate::smtp::Mechanism;

/// RFC 4954 §4: an AUTH command is no longer than other command lines, with its CRLF.
const COMMAND_LINE: usize = 512;

/// One login in progress. It gives the AUTH command and answers each 334.
pub struct Exchange<'a> {
    mechanism: Mechanism,
    username: &'a str,
    secret: &'a str,
    /// The number of challenges answered.
    step: u8,
    /// How often the one response of PLAIN and XOAUTH2 may still be sent, with the command or to a challenge.
    responses_left: u8,
}

impl<'a> Exchange<'a> {
    /// A login with this name and password (for XOAUTH2: bearer token).
    pub fn new(mechanism: Mechanism, username: &'a str, secret: &'a str) -> Self {
        let responses_left = match mechanism {
            // A server that ignores an initial response and asks for it gets it once more.
            Mechanism::Plain | Mechanism::Xoauth2 => 2,
            Mechanism::Login | Mechanism::CramMd5 => 0,
        };
        Exchange { mechanism, username, secret, step: 0, responses_left }
    }

    /// The AUTH command without its CRLF. It includes the initial response, if the mechanism has one and it fits.
    pub fn command(&mut self) -> Zeroizing<String> {
        let verb = format!("AUTH {}", self.mechanism.as_str());
        if self.responses_left == 0 {
            return Zeroizing::new(verb);
        }
        self.responses_left -= 1;
        let response = self.response();
        // RFC 4954 §4: a response that makes the line too long must not be sent with the command. The server asks for
        // it.
        if verb.len() + " ".len() + response.len() + "\r\n".len() > COMMAND_LINE {
            return Zeroizing::new(verb);
        }
        joined(&[&verb, " ", &response])
    }

    /// Returns the line that answers a 334, or `None` if the server asks for more than the mechanism can answer.
    pub fn answer(&mut self, challenge: &str) -> Option<Zeroizing<String>> {
        self.step += 1;
        match (self.mechanism, self.step) {
            (Mechanism::Login, 1) => Some(encode(self.username)),
            (Mechanism::Login, 2) => Some(encode(self.secret)),
            (Mechanism::CramMd5, 1) => {
                let challenge = STANDARD.decode(challenge.trim()).ok()?;
                let digest = cram_md5(self.secret.as_bytes(), &challenge);
                Some(encode(&format!("{} {digest}", self.username)))
            }
            // An empty line asks the server for its final reply.
            (Mechanism::Xoauth2, _) if is_reason(challenge) => (self.step <= 3).then(Zeroizing::default),
            (Mechanism::Plain | Mechanism::Xoauth2, _) if self.responses_left > 0 => {
                self.responses_left = 0;
                Some(self.response())
            }
            _ => None,
        }
    }

    fn response(&self) -> Zeroizing<String> {
        let (username, secret) = (self.username, self.secret);
        encode(&match self.mechanism {
            Mechanism::Xoauth2 => joined(&["user=", username, "\x01auth=Bearer ", secret, "\x01\x01"]),
            _ => joined(&["\0", username, "\0", secret]),
        })
    }
}

/// Returns true if the challenge is the reason for which XOAUTH2 refuses a token: a JSON object.
fn is_reason(challenge: &str) -> bool {
    STANDARD.decode(challenge.trim()).is_ok_and(|text| text.trim_ascii_start().starts_with(b"{"))
}

/// Joins the parts in memory that is allocated once. Memory that grows leaves copies of a secret behind.
fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.push_str(part));
    text
}

fn encode(text: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(text))
}

fn cram_md5(password: &[u8], challenge: &[u8]) -> String {
    let mut mac = Hmac::<Md5>::new_from_slice(password).expect("HMAC takes keys of any length");
    mac.update(challenge);
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines of an exchange in which the server sends these challenges, with `*` for no answer.
    fn lines(mechanism: Mechanism, secret: &str, challenges: &[&str]) -> Vec<String> {
        let mut login = Exchange::new(mechanism, "tim", secret);
        let mut lines = vec![login.command().to_string()];
        lines.extend(
            challenges
                .iter()
                .map(|challenge| login.answer(challenge).map_or_else(|| "*".to_owned(), |line| line.to_string())),
        );
        lines
    }

    #[test]
    fn cram_md5_answers_the_example_of_rfc_2195() {
        let challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
        let answer = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
        assert_eq!(lines(Mechanism::CramMd5, "tanstaaftanstaaf", &[challenge, "more"]), ["AUTH CRAM-MD5", answer, "*"]);
        assert_eq!(lines(Mechanism::CramMd5, "x", &["no base64!"]), ["AUTH CRAM-MD5", "*"]);
    }

    #[test]
    fn login_answers_two_prompts_whatever_they_say() {
        let challenges = ["VXNlcm5hbWU6", "anything", "more"];
        assert_eq!(lines(Mechanism::Login, "secret", &challenges), ["AUTH LOGIN", "dGlt", "c2VjcmV0", "*"]);
    }

    #[test]
    fn a_response_is_given_with_the_command_and_once_more_where_it_was_passed_over() {
        let plain = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm";
        for challenge in ["", "Go ahead", "UGFzc3dvcmQ6"] {
            assert_eq!(
                lines(Mechanism::Plain, "tanstaaftanstaaf", &[challenge, challenge]),
                [&format!("AUTH PLAIN {plain}"), plain, "*"]
            );
        }
        let bearer = STANDARD.encode("user=tim\x01auth=Bearer tok\x01\x01");
        let command = format!("AUTH XOAUTH2 {bearer}");
        assert_eq!(lines(Mechanism::Xoauth2, "tok", &["", ""]), [&command, &bearer, "*"]);
        // These challenges are the reason of a refusal, which an empty line answers.
        let reason = "eyJzdGF0dXMiOiI0MDEifQ==";
        assert_eq!(lines(Mechanism::Xoauth2, "tok", &[reason]), [&command, ""]);
        assert_eq!(lines(Mechanism::Xoauth2, "tok", &["", reason]), [&command, &bearer, ""]);
        assert_eq!(lines(Mechanism::Xoauth2, "tok", &[reason; 5])[4..], ["*", "*"], "not for ever");
    }

    #[test]
    fn a_command_has_at_most_512_octets_and_a_longer_response_waits_until_it_is_asked_for() {
        for mechanism in [Mechanism::Plain, Mechanism::Xoauth2] {
            let (mut short, mut long) = (0, 0);
            for length in 1..=2_000 {
                let secret = "x".repeat(length);
                let lines = lines(mechanism, &secret, &["", ""]);
                assert!(lines[0].len() + 2 <= 512, "{length}");
                let response = Exchange::new(mechanism, "tim", &secret).response().to_string();
                if lines[0].contains(&response) {
                    short = length;
                    assert_eq!(lines[1..], [response, "*".to_owned()]);
                } else {
                    long += 1;
                    assert_eq!(lines[0], format!("AUTH {}", mechanism.as_str()));
                    assert_eq!(lines[1..], [response, "*".to_owned()], "it is given once, not twice");
                }
            }
            // The response moves out of the command at the first octet that does not fit. A response has a multiple of four octets, so a
            // line of PLAIN has 509 or 513 octets with its CRLF, one of XOAUTH2 511 or 515, and none has 512.
            let bound = joined(&["AUTH ", mechanism.as_str(), " "]).len() + 2;
            let line_with =
                |length: usize| bound + Exchange::new(mechanism, "tim", &"x".repeat(length)).response().len();
            let right = if mechanism == Mechanism::Plain { (509, 513) } else { (511, 515) };
            assert_eq!((line_with(short), line_with(short + 1)), right, "{mechanism:?}");
            assert_eq!(short + long, 2_000, "{mechanism:?}: all longer ones wait");
        }
    }
}

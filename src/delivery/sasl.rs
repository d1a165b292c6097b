//! The client side of AUTH (RFC 4954): which mechanism, and what it sends. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::Md5;
use zeroize::Zeroizing;

use crate::smtp::Mechanisms;

/// A mechanism in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Two prompts, no standard, everywhere.
    Login,
    /// RFC 2195: the password itself is not sent.
    CramMd5,
    /// Google's and Microsoft's bearer tokens.
    Xoauth2,
}

impl Mechanism {
    /// As AUTH names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Xoauth2 => "XOAUTH2",
        }
    }

    /// The mechanisms to try for a password, best first. Within TLS the simplest one is the surest; without TLS the one
    /// that does not show the password comes first.
    pub fn for_password(offered: Mechanisms, encrypted: bool) -> Vec<Mechanism> {
        let order = if encrypted {
            [Mechanism::Plain, Mechanism::Login, Mechanism::CramMd5]
        } else {
            [Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login]
        };
        order.into_iter().filter(|mechanism| mechanism.is_in(offered)).collect()
    }

    fn is_in(self, offered: Mechanisms) -> bool {
        match self {
            Mechanism::Plain => offered.plain,
            Mechanism::Login => offered.login,
            Mechanism::CramMd5 => offered.cram_md5,
            Mechanism::Xoauth2 => offered.xoauth2,
        }
    }
}

/// One login under way: gives the AUTH command and answers each 334.
pub struct Exchange<'a> {
    mechanism: Mechanism,
    username: &'a str,
    secret: &'a str,
    step: u8,
}

impl<'a> Exchange<'a> {
    /// A login with this name and password (or bearer token, for XOAUTH2).
    pub fn new(mechanism: Mechanism, username: &'a str, secret: &'a str) -> Self {
        Exchange { mechanism, username, secret, step: 0 }
    }

    /// The AUTH command, without its CRLF.
    pub fn command(&self) -> Zeroizing<String> {
        let initial = match self.mechanism {
            Mechanism::Plain => {
                let (username, secret) = (self.username, self.secret);
                Some(encode(Zeroizing::new(format!("\0{username}\0{secret}")).as_bytes()))
            }
            Mechanism::Xoauth2 => {
                let text = format!("user={}\x01auth=Bearer {}\x01\x01", self.username, self.secret);
                Some(encode(Zeroizing::new(text).as_bytes()))
            }
            // LOGIN has no initial response that all servers understand.
            Mechanism::Login | Mechanism::CramMd5 => None,
        };
        let mut command = Zeroizing::new(format!("AUTH {}", self.mechanism.as_str()));
        if let Some(initial) = initial {
            command.push(' ');
            command.push_str(&initial);
        }
        command
    }

    /// The line that answers a 334. `*` (RFC 4954 §4) where the server asks for more than the mechanism has.
    pub fn answer(&mut self, challenge: &str) -> Zeroizing<String> {
        self.step += 1;
        match (self.mechanism, self.step) {
            (Mechanism::Login, 1) => encode(self.username.as_bytes()),
            (Mechanism::Login, 2) => encode(self.secret.as_bytes()),
            (Mechanism::CramMd5, 1) => match STANDARD.decode(challenge.trim()) {
                Ok(challenge) => {
                    let digest = cram_md5(self.secret.as_bytes(), &challenge);
                    encode(format!("{} {digest}", self.username).as_bytes())
                }
                Err(_) => Zeroizing::new("*".to_owned()),
            },
            // A 334 after XOAUTH2 brings the reason of a refusal; an empty line asks for the final reply.
            (Mechanism::Xoauth2, 1) => Zeroizing::new(String::new()),
            _ => Zeroizing::new("*".to_owned()),
        }
    }
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(bytes))
}

fn cram_md5(password: &[u8], challenge: &[u8]) -> String {
    let mut mac = Hmac::<Md5>::new_from_slice(password).expect("HMAC takes keys of any length");
    mac.update(challenge);
    super::verifier::hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cram_md5_answers_the_example_of_rfc_2195() {
        let mut login = Exchange::new(Mechanism::CramMd5, "tim", "tanstaaftanstaaf");
        assert_eq!(*login.command(), "AUTH CRAM-MD5");
        assert_eq!(
            *login.answer("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"),
            "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
        );
        assert_eq!(*login.answer("more"), "*");
    }

    #[test]
    fn plain_and_xoauth2_send_all_at_once() {
        let plain = Exchange::new(Mechanism::Plain, "tim", "tanstaaftanstaaf");
        assert_eq!(*plain.command(), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
        let mut bearer = Exchange::new(Mechanism::Xoauth2, "a@test.dk", "tok");
        let sent = bearer.command();
        let sent = STANDARD.decode(sent.strip_prefix("AUTH XOAUTH2 ").unwrap()).unwrap();
        assert_eq!(sent, b"user=a@test.dk\x01auth=Bearer tok\x01\x01");
        assert_eq!(*bearer.answer("eyJzdGF0dXMiOiI0MDEifQ=="), "");
    }

    #[test]
    fn login_answers_two_prompts_whatever_they_say() {
        let mut login = Exchange::new(Mechanism::Login, "tim", "secret");
        assert_eq!(*login.command(), "AUTH LOGIN");
        assert_eq!(*login.answer("VXNlcm5hbWU6"), "dGlt");
        assert_eq!(*login.answer("anything"), "c2VjcmV0");
    }

    #[test]
    fn without_tls_the_password_is_shown_last() {
        let all = Mechanisms { offered: true, plain: true, login: true, cram_md5: true, xoauth2: true };
        assert_eq!(Mechanism::for_password(all, true)[0], Mechanism::Plain);
        assert_eq!(Mechanism::for_password(all, false)[0], Mechanism::CramMd5);
        let login = Mechanisms { offered: true, login: true, ..Mechanisms::default() };
        assert_eq!(Mechanism::for_password(login, true), [Mechanism::Login]);
    }
}

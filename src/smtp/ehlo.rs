//! Reads the reply to EHLO, in which a server lists its extensions (RFC 5321 §4.1.1.1). The client side uses it.

use std::net::IpAddr;

use super::Reply;
use crate::digits::digits;

/// The extensions of a server that matter to this program's client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// True if commands may be sent without waiting for replies (PIPELINING, RFC 2920).
    pub pipelining: bool,
    /// True if the server knows SIZE (RFC 1870).
    pub size: bool,
    /// The largest message that the server takes, in octets, if it names one.
    pub size_limit: Option<u64>,
    /// True if the server offers 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// True if the server offers SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// True if the server takes RET, ENVID, NOTIFY and ORCPT (DSN, RFC 3461).
    pub dsn: bool,
    /// True if the server offers STARTTLS (RFC 3207).
    pub starttls: bool,
    /// The login mechanisms that the server offers (RFC 4954).
    pub auth: Mechanisms,
    /// Every keyword line as the server wrote it, for the probe.
    pub offered: Vec<String>,
}

/// A login mechanism (RFC 4954) that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// PLAIN (RFC 4616) sends name and password in one response.
    Plain,
    /// LOGIN asks for name and password with two prompts. No standard defines it, but it is known everywhere.
    Login,
    /// CRAM-MD5 (RFC 2195) does not send the password itself.
    CramMd5,
    /// XOAUTH2 sends a bearer token to Google or Microsoft.
    Xoauth2,
}

impl Mechanism {
    /// Returns its name in AUTH.
    pub fn as_str(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Xoauth2 => "XOAUTH2",
        }
    }
}

/// The login mechanisms that a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// True if the server offers AUTH at all.
    pub offered: bool,
    /// True if the server offers PLAIN (RFC 4616).
    pub plain: bool,
    /// True if the server offers LOGIN (draft-murchison-sasl-login).
    pub login: bool,
    /// True if the server offers CRAM-MD5 (RFC 2195).
    pub cram_md5: bool,
    /// True if the server offers XOAUTH2.
    pub xoauth2: bool,
}

impl Extensions {
    /// Reads a positive reply to EHLO. Unknown keywords and wrong parameters are ignored.
    pub fn of(answer: &Reply) -> Self {
        let mut all = Extensions::default();
        for line in answer.lines.iter().skip(1) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            all.offered.push(line.to_owned());
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => all.pipelining = true,
                "SIZE" => {
                    all.size = true;
                    // RFC 1870 §3: zero, or no number, means that there is no fixed limit.
                    all.size_limit = words.next().and_then(digits).filter(|n| *n > 0);
                }
                "8BITMIME" => all.eight_bit_mime = true,
                "SMTPUTF8" => all.smtputf8 = true,
                "DSN" => all.dsn = true,
                "STARTTLS" => all.starttls = true,
                "AUTH" => words.for_each(|word| all.auth.add(word)),
                // Servers that still serve Outlook Express of 1998 repeat the list in this form.
                keyword => {
                    if let Some(first) = keyword.strip_prefix("AUTH=") {
                        all.auth.add(first);
                        words.for_each(|word| all.auth.add(word));
                    }
                }
            }
        }
        all
    }

    /// The names of all mechanisms that the server offers, including unknown ones. Repeated names next to each other
    /// are listed once.
    pub fn offered_mechanisms(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for line in &self.offered {
            let is_keyword = |word: &&str| word.len() >= 4 && word.as_bytes()[..4].eq_ignore_ascii_case(b"AUTH");
            let mut words = line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|word| !word.is_empty());
            if words.next().filter(is_keyword).is_some_and(|word| word.len() == 4) {
                names.extend(words);
            }
        }
        names.dedup();
        names
    }
}

impl Mechanisms {
    /// Returns true if the server offers this mechanism.
    pub fn has(self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Plain => self.plain,
            Mechanism::Login => self.login,
            Mechanism::CramMd5 => self.cram_md5,
            Mechanism::Xoauth2 => self.xoauth2,
        }
    }

    fn add(&mut self, name: &str) {
        self.offered = true;
        match name.to_ascii_uppercase().as_str() {
            "PLAIN" => self.plain = true,
            "LOGIN" => self.login = true,
            "CRAM-MD5" => self.cram_md5 = true,
            "XOAUTH2" => self.xoauth2 = true,
            _ => {}
        }
    }
}

/// Returns the address that a server calls us by in its reply to EHLO, if it names one: `Hello out.webcrm.com
/// [40.74.40.57]`.
pub fn address_seen(answer: &Reply) -> Option<IpAddr> {
    // The first word is the server's own name.
    let words = answer.lines.first()?.split_ascii_whitespace().skip(1);
    words.map(|word| word.trim_matches(|c: char| "[](),.;".contains(c))).find_map(|word| {
        let bare = match word.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &word[5..],
            _ => word,
        };
        bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::response::take_reply;

    fn answer(text: &str) -> Reply {
        take_reply(text.replace('\n', "\r\n").as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn keywords_are_read_in_any_case_and_unknown_ones_passed_over() {
        let found = Extensions::of(&answer(
            "250-mail.test.dk\n250-pipelining\n250-SIZE 1000\n250-AUTH PLAIN login NTLM\n250-AUTH=CRAM-MD5 XOAUTH2\n\
             250-X-EXPS GSSAPI\n250-8BITMIME\n250-STARTTLS\n250-DSN\n250 SMTPUTF8\n",
        ));
        assert!(
            found.pipelining && found.eight_bit_mime && found.smtputf8 && found.dsn && found.starttls && found.size
        );
        assert_eq!(found.size_limit, Some(1000));
        let all = Mechanisms { offered: true, plain: true, login: true, cram_md5: true, xoauth2: true };
        assert_eq!(found.auth, all);
    }

    #[test]
    fn no_size_limit_is_not_a_limit_of_zero() {
        for text in ["250-x\n250 SIZE\n", "250-x\n250 SIZE 0\n", "250-x\n250 SIZE many\n"] {
            let found = Extensions::of(&answer(text));
            assert!(found.size);
            assert_eq!(found.size_limit, None, "{text}");
        }
    }

    #[test]
    fn the_name_line_is_no_keyword() {
        assert_eq!(Extensions::of(&answer("250 PIPELINING\n")), Extensions::default());
    }

    #[test]
    fn our_address_is_found_where_servers_put_it() {
        for (text, seen) in [
            ("250 AM0PR01.outlook.com Hello [40.74.40.57]\n", Some("40.74.40.57")),
            (
                "250-mail.test.dk Hello out.webcrm.com [40.74.40.57], pleased to meet you\n250 DSN\n",
                Some("40.74.40.57"),
            ),
            ("250 smtp.google.com at your service, [40.74.40.57]\n", Some("40.74.40.57")),
            ("250 mail.test.dk Hello x [IPv6:2001:db8::1]\n", Some("2001:db8::1")),
            ("250 mail.test.dk Hello x [::ffff:40.74.40.57]\n", Some("40.74.40.57")),
            ("250 mail.test.dk\n", None),
            ("250 [192.0.2.1]\n", None),
        ] {
            assert_eq!(address_seen(&answer(text)), seen.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    /// Makes a server's answer with this number of lines.
    fn offering(lines: usize, line: impl Fn(usize) -> String) -> Reply {
        answer(&((0..lines).map(|at| format!("250-{}\n", line(at))).collect::<String>() + "250 end\n"))
    }

    #[test]
    fn what_a_server_offers_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |answer: &Reply| {
                let offered = Extensions::of(answer);
                offered.offered_mechanisms();
                address_seen(answer);
            },
            &[
                ("mechanisms", |size| offering(size / 64, |_| format!("AUTH {}", "PLAIN ".repeat(9)))),
                ("different mechanisms", |size| {
                    offering(size / 64, |at| format!("AUTH X{at:04} Y{at:04} {}", "Z".repeat(40)))
                }),
                ("keywords", |size| offering(size / 64, |at| format!("X{at:04} {}", "y ".repeat(25)))),
                ("addresses", |size| offering(size / 64, |_| "[1.2.3.4] ".repeat(6))),
            ],
        );
    }
}

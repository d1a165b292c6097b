//! What the relay learned about a recipient: the server's reply, or the error that came before any reply.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::smtp::{EnhancedCode, Reply};

/// Why mail was deferred, given up or refused, as one word that a program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The address does not exist or takes no mail, now or later: no user, no domain, a mailbox that was closed.
    Hard,
    /// The recipient's mailbox is full.
    MailboxFull,
    /// The server blocks the address that the mail comes from, the sending domain or the account: block lists, reputation.
    Blocked,
    /// The server refuses this mail by a rule of its own about the sender, the recipient or relaying. An operator's `queue bounce` has this
    /// class, too.
    Policy,
    /// The server refuses the content: spam, a virus, its size, its form.
    Content,
    /// Authentication is missing or fails: the login or TLS at the server, or the mail's own SPF, DKIM or DMARC.
    Auth,
    /// The server finds that too much came in too short a time, or that the mail must be tried again first: allowances, limits,
    /// greylisting.
    Rate,
    /// No working connection to the server, or the server is out of order.
    Network,
    /// The cause is in this relay, not in a server: the mail grew too old, it is larger than this relay accepts, or the spool cannot read it
    /// now.
    RelayLimit,
    /// Nothing in the reply says why.
    Unknown,
}

impl FailureClass {
    /// All classes. The spool stores a class by its place in this list, so a new class comes last.
    pub const ALL: [FailureClass; 10] = [
        FailureClass::Hard,
        FailureClass::MailboxFull,
        FailureClass::Blocked,
        FailureClass::Policy,
        FailureClass::Content,
        FailureClass::Auth,
        FailureClass::Rate,
        FailureClass::Network,
        FailureClass::RelayLimit,
        FailureClass::Unknown,
    ];

    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::Hard => "hard",
            FailureClass::MailboxFull => "mailbox_full",
            FailureClass::Blocked => "blocked",
            FailureClass::Policy => "policy",
            FailureClass::Content => "content",
            FailureClass::Auth => "auth",
            FailureClass::Rate => "rate",
            FailureClass::Network => "network",
            FailureClass::RelayLimit => "relay_limit",
            FailureClass::Unknown => "unknown",
        }
    }
}

/// A server's reply on one line with its codes, or a text of our own that says what broke. `Display` gives that line. Clones share the
/// text.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyText {
    line: Arc<str>,
    code: Option<u16>,
    status: Option<EnhancedCode>,
    /// The offset of the text behind the codes.
    text_at: usize,
    /// Why the mail was not taken; `None` if the mail was taken, or if nothing is known yet.
    pub class: Option<FailureClass>,
}

impl ReplyText {
    /// Reads the codes at the start of a line. A text of our own has none.
    pub fn new(line: impl Into<Arc<str>>, class: Option<FailureClass>) -> Self {
        let line = line.into();
        let (mut code, mut status, mut text_at) = (None, None, 0);
        if let Some(digits) = line.get(..3)
            && digits.bytes().all(|b| b.is_ascii_digit())
            && line.as_bytes().get(3).is_none_or(|next| *next == b' ')
        {
            code = digits.parse().ok().filter(|code| (200..600).contains(code));
        }
        if code.is_some() {
            let rest = line[3..].trim_start();
            status = EnhancedCode::parse(rest);
            let word = if status.is_some() { rest.split_ascii_whitespace().next().unwrap_or_default() } else { "" };
            text_at = line.len() - rest[word.len()..].trim_start().len();
        }
        ReplyText { line, code, status, text_at, class }
    }

    /// The three digits of the reply; `None` if there was none.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    /// The enhanced status code of the reply, if it has one.
    pub fn status(&self) -> Option<EnhancedCode> {
        self.status
    }

    /// What the server said, without the codes. `None` where no server said it.
    pub fn reply(&self) -> Option<&str> {
        self.code.map(|_| &self.line[self.text_at..])
    }

    /// Returns the relay's own text, if there was no reply.
    pub fn own_words(&self) -> Option<&str> {
        self.code.is_none().then_some(&self.line)
    }
}

impl Deref for ReplyText {
    type Target = str;
    fn deref(&self) -> &str {
        &self.line
    }
}

impl fmt::Display for ReplyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl fmt::Debug for ReplyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.line)?;
        self.class.map_or(Ok(()), |class| write!(f, " ({})", class.as_str()))
    }
}

impl From<&str> for ReplyText {
    fn from(line: &str) -> Self {
        ReplyText::new(line, None)
    }
}

impl From<String> for ReplyText {
    fn from(line: String) -> Self {
        ReplyText::new(line, None)
    }
}

impl From<&Reply> for ReplyText {
    fn from(reply: &Reply) -> Self {
        ReplyText::new(reply.to_string(), None)
    }
}

impl PartialEq<str> for ReplyText {
    fn eq(&self, line: &str) -> bool {
        &*self.line == line
    }
}

impl PartialEq<&str> for ReplyText {
    fn eq(&self, line: &&str) -> bool {
        &*self.line == *line
    }
}

impl PartialEq<String> for ReplyText {
    fn eq(&self, line: &String) -> bool {
        &*self.line == line.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_apart_from_the_text_of_a_reply_and_not_found_in_our_own_words() {
        type Parts<'a> = (Option<u16>, Option<&'a str>, Option<&'a str>);
        let table: &[(&str, Parts<'_>)] = &[
            ("550 5.1.1 no such user", (Some(550), Some("5.1.1"), Some("no such user"))),
            ("451 greylisted, 4.7.1", (Some(451), None, Some("greylisted, 4.7.1"))),
            ("250 2.0.0", (Some(250), Some("2.0.0"), Some(""))),
            ("250", (Some(250), None, Some(""))),
            ("421  4.3.2  wait", (Some(421), Some("4.3.2"), Some("wait"))),
            ("550 5.1.1.1 odd", (Some(550), None, Some("5.1.1.1 odd"))),
            ("535 5.7.8 no (at AUTH)", (Some(535), Some("5.7.8"), Some("no (at AUTH)"))),
            ("connection refused", (None, None, None)),
            ("100 bottles", (None, None, None)),
            ("5501 is no code", (None, None, None)),
            ("æøå", (None, None, None)),
            ("", (None, None, None)),
        ];
        for (line, right) in table {
            let heard = ReplyText::from(*line);
            let status = heard.status().map(|status| status.to_string());
            assert_eq!((heard.code(), status.as_deref(), heard.reply()), *right, "{line}");
            assert_eq!(heard.own_words(), heard.code().is_none().then_some(*line), "{line}");
            assert_eq!(heard, *line);
        }
    }
}

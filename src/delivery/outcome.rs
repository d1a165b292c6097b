//! The outcome of an attempt for each recipient, and how far each failure reaches.

use std::time::Duration;

use crate::message::{FailureClass, ReplyText};
use crate::route::Cause;
use crate::smtp::Reply;

/// How many octets of a server's text are kept. They are enough for a person, and not too many for the events and the
/// spool when a message has a thousand recipients.
const LONGEST: usize = 1024;
const CUT: &str = " […]";

/// Cuts a text that is longer than 1 KiB, and marks the cut.
pub fn clipped(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST - CUT.len()));
        text.push_str(CUT);
        text.shrink_to_fit();
    }
    text
}

/// Cuts the text of a reply that is longer than 1 KiB, and marks the cut.
pub fn clip(reply: Reply) -> Reply {
    match reply.lines.iter().map(|line| line.len() + 1).sum::<usize>() > LONGEST {
        true => Reply { lines: vec![clipped(reply.lines.join(" "))], ..reply },
        false => reply,
    }
}

/// How far a failure reaches, from the smallest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The failure concerns this recipient (550 5.1.1).
    Recipient,
    /// The failure concerns this message, for all its recipients (552, 554 5.6.x).
    Message,
    /// The failure concerns this connection, and another one may do better at once (421, broken connection).
    Session,
    /// The failure concerns the route: no message of it will do better now (535, 432 4.3.2, connection refused).
    Route,
}

impl Scope {
    /// The name in events and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Recipient => "recipient",
            Scope::Message => "message",
            Scope::Session => "session",
            Scope::Route => "route",
        }
    }
}

/// The action for a recipient after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The smarthost took the message.
    Relayed,
    /// A later attempt may work.
    Deferred,
    /// No attempt will work: the message bounces.
    Failed,
}

/// The meaning of a reply, or of a missing reply, for its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The action for the recipients.
    pub verdict: Verdict,
    /// How far the failure reaches.
    pub scope: Scope,
    /// The server's reply on one line with its codes, or a text that says what broke, and the failure class.
    pub reply: ReplyText,
    /// The remedy in plain words, where one is known (internal-spoof protection, certificate, login).
    pub advice: Option<String>,
    /// The final dot was sent and no reply came: the smarthost may have taken the message.
    pub unknown: bool,
}

impl Meaning {
    /// The meaning without advice, for an outcome that is known. `why` is `None` where the message was taken.
    pub fn new(verdict: Verdict, scope: Scope, reply: impl Into<String>, why: Option<FailureClass>) -> Self {
        Meaning { verdict, scope, reply: ReplyText::new(clipped(reply.into()), why), advice: None, unknown: false }
    }

    /// The outcome of the recipient at this index of the envelope.
    pub fn of(self, index: usize) -> RecipientOutcome {
        RecipientOutcome { index, meaning: self }
    }
}

/// The outcome of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// The recipient's index in the envelope.
    pub index: usize,
    /// The reply, and what it means.
    pub meaning: Meaning,
}

/// The result of an attempt for the route itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The route carries no mail now, and may carry it later. The queue backs off, at least for the pause that the
    /// server named (too many connections, a quota, no connection, no TLS, our own address lost).
    BackOff {
        /// The server's reply, or what broke.
        reason: String,
        /// The shortest pause, if the server named one.
        at_least: Option<Duration>,
        /// What a person should do if waiting alone does not help (certificate refused, no login offered). The alert
        /// that it raises says this.
        advice: Option<String>,
    },
    /// A failure within one message's transaction, by a server that had accepted the connection: a 421, a relay
    /// refused, a broken connection. It may concern the route or that message alone. When another message meets a
    /// similar failure, it concerns the route.
    Doubt {
        /// The server's reply, or what broke.
        reason: String,
        /// The shortest pause, if the server named one.
        at_least: Option<Duration>,
        /// What a person should do if it concerns the route.
        advice: Option<String>,
    },
    /// Trying again would do harm, or a person must act first: the login was refused or is missing, or mail leaves from
    /// an address that customers have not allowed.
    Suspend {
        /// The cause: the login or the address.
        cause: Cause,
        /// The server's reply, or what was found.
        reason: String,
        /// What a person must do.
        advice: String,
    },
}

impl Trouble {
    /// What a person can do, if known.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Trouble::BackOff { advice, .. } | Trouble::Doubt { advice, .. } => advice.as_deref(),
            Trouble::Suspend { advice, .. } => Some(advice),
        }
    }

    /// The reason, followed by what a person can do.
    pub fn in_words(&self) -> String {
        match (self.reason(), self.advice()) {
            (reason, Some(advice)) => format!("{reason}. {advice}"),
            (reason, None) => reason.to_owned(),
        }
    }

    /// The server's reply, or the failure.
    pub fn reason(&self) -> &str {
        match self {
            Trouble::BackOff { reason, .. } | Trouble::Doubt { reason, .. } | Trouble::Suspend { reason, .. } => reason,
        }
    }

    /// Adds to what a person can do.
    pub(super) fn advise_also(&mut self, more: &str) {
        let all = |advice: &str| if advice.is_empty() { more.to_owned() } else { format!("{advice}; {more}") };
        match self {
            Trouble::BackOff { advice, .. } | Trouble::Doubt { advice, .. } => {
                *advice = Some(all(advice.as_deref().unwrap_or_default()));
            }
            Trouble::Suspend { advice, .. } => *advice = all(advice),
        }
    }

    /// The reason, to be extended.
    pub(super) fn reason_mut(&mut self) -> &mut String {
        match self {
            Trouble::BackOff { reason, .. } | Trouble::Doubt { reason, .. } | Trouble::Suspend { reason, .. } => reason,
        }
    }
}

/// The outcome of one attempt. Recipients that were not reached are missing from it and stay waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The outcome of each recipient that was reached.
    pub recipients: Vec<RecipientOutcome>,
    /// The result for the route.
    pub trouble: Option<Trouble>,
    /// Recipients that the server took before it closed the connection at another recipient, or before it refused the
    /// whole message for their number. They were not reached. Without the others they may be, so they are tried at once
    /// in a transaction of their own.
    pub again: Vec<usize>,
    /// How many recipients the server takes in one transaction, as far as is known, if it refused some for their number
    /// (RFC 5321 §4.5.3.1.10). It is less than the number tried. All recipients that are missing from the outcome are
    /// tried at once in further transactions of at most this size.
    pub takes: Option<usize>,
    /// Relayed recipients whose server takes DSN parameters, and which must therefore report success itself (RFC 3461
    /// §5.2.2). It is kept for each recipient, because another transaction may reach another server of the same host.
    pub reported: Vec<usize>,
    /// Why the message must be held: its bytes cannot be read from the spool, or its signatures have expired. No server
    /// has accepted it from this transaction.
    pub hold: Option<String>,
}

impl Outcome {
    /// Adds the outcome of a further transaction for the same message.
    pub fn add(&mut self, further: Outcome) {
        self.recipients.extend(further.recipients);
        self.again.extend(further.again);
        self.reported.extend(further.reported);
        self.trouble = further.trouble.or(self.trouble.take());
        self.takes = further.takes.or(self.takes);
        self.hold = further.hold.or(self.hold.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_once_at_a_character_and_marked() {
        assert_eq!(clipped("x".repeat(LONGEST)), "x".repeat(LONGEST));
        for long in ["x".repeat(LONGEST + 1), "æ".repeat(20_000), format!("x{}", "例".repeat(9_000))] {
            let cut = clipped(long.clone());
            let kept = cut.strip_suffix(CUT).expect("marked");
            assert!(long.starts_with(kept) && cut.len() <= LONGEST && cut.len() > LONGEST - 16, "{}", cut.len());
            assert_eq!(clipped(cut.clone()), cut);
        }
    }

    #[test]
    fn a_long_reply_keeps_its_codes() {
        let long = Reply { code: 550, enhanced: None, lines: vec!["y".repeat(400); 80] };
        let text = clip(long).to_string();
        assert!(text.starts_with("550 yyy") && text.ends_with(CUT) && text.len() < LONGEST + 16);
        let short = Reply { code: 550, enhanced: None, lines: vec!["a".to_owned(), "b".to_owned()] };
        assert_eq!(clip(short.clone()), short);
    }
}

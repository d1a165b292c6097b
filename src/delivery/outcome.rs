//! What came of an attempt, recipient by recipient, and how far each trouble reaches.

use std::time::Duration;

use crate::route::Cause;
use crate::smtp::Reply;

/// Octets kept of what a server says: enough for a person, and bearable in the events and the spool for a thousand recipients.
const LONGEST: usize = 1024;
const CUT: &str = " […]";

/// A text as outcomes hold it: what is longer than about 1 KiB is cut, and marked as cut.
pub fn clipped(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST - CUT.len()));
        text.push_str(CUT);
        text.shrink_to_fit();
    }
    text
}

/// The same of a reply's text.
pub fn clip(reply: Reply) -> Reply {
    match reply.lines.iter().map(|line| line.len() + 1).sum::<usize>() > LONGEST {
        true => Reply { lines: vec![clipped(reply.lines.join(" "))], ..reply },
        false => reply,
    }
}

/// How far a failure reaches, from the smallest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This recipient (550 5.1.1).
    Recipient,
    /// This message, for all its recipients (552, 554 5.6.x).
    Message,
    /// This connection; another may do better at once (421, broken connection).
    Session,
    /// This route: no message of it will do better now (535, 432 4.3.2, connect refused).
    Route,
}

impl Scope {
    /// As events and logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Recipient => "recipient",
            Scope::Message => "message",
            Scope::Session => "session",
            Scope::Route => "route",
        }
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Taken over by the smarthost.
    Delivered,
    /// May work later.
    Deferred,
    /// Will not work: bounce.
    Failed,
}

/// What a reply, or the want of one, means for the recipients it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// What to do.
    pub verdict: Verdict,
    /// How far it reaches.
    pub scope: Scope,
    /// What was heard, on one line with its codes, or what broke.
    pub reply: String,
    /// The remedy in plain words, where one is known (internal-spoof protection, certificate, login).
    pub advice: Option<String>,
    /// The final dot was sent and no reply was heard: the smarthost may have taken the message.
    pub unknown: bool,
}

impl Class {
    /// A class without advice, of an outcome that is known.
    pub fn new(verdict: Verdict, scope: Scope, reply: impl Into<String>) -> Self {
        Class { verdict, scope, reply: clipped(reply.into()), advice: None, unknown: false }
    }

    /// The outcome of the recipient at this index of the envelope.
    pub fn of(self, index: usize) -> RecipientOutcome {
        RecipientOutcome { index, class: self }
    }
}

/// What came of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// Index in the envelope.
    pub index: usize,
    /// What was heard, and what it means.
    pub class: Class,
}

/// What the attempt says about the route itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No mail of the route goes now, and later may: back off, at least this long where the server said so (too many
    /// connections, a quota, no connection, no TLS, our own address lost).
    BackOff {
        /// What was heard.
        reason: String,
        /// The least pause, if known.
        at_least: Option<Duration>,
        /// What a person should do, where waiting alone will not mend it (certificate refused, no login offered):
        /// raise an alert with it.
        advice: Option<String>,
    },
    /// Heard within one message's transaction, of a server that had taken the connection: a 421, a relay refused, a
    /// connection that broke. It is of the route or of that message alone; once another message hears the like, it is the
    /// route's.
    Doubt {
        /// What was heard.
        reason: String,
        /// The least pause, if known.
        at_least: Option<Duration>,
        /// What a person should do, if it is the route's.
        advice: Option<String>,
    },
    /// Trying again would do harm, or needs a person first: a login that is refused or asked for, mail that leaves from another
    /// address than customers have allowed.
    Suspend {
        /// The login or the address.
        cause: Cause,
        /// What was heard.
        reason: String,
        /// What a person must do.
        advice: String,
    },
}

impl Trouble {
    /// What a person can do, where something is known.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Trouble::BackOff { advice, .. } | Trouble::Doubt { advice, .. } => advice.as_deref(),
            Trouble::Suspend { advice, .. } => Some(advice),
        }
    }

    /// What was heard, and behind it what a person can do.
    pub fn in_words(&self) -> String {
        match (self.reason(), self.advice()) {
            (reason, Some(advice)) => format!("{reason}. {advice}"),
            (reason, None) => reason.to_owned(),
        }
    }

    fn reason(&self) -> &str {
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

    /// What was heard, to say more of it.
    pub(super) fn reason_mut(&mut self) -> &mut String {
        match self {
            Trouble::BackOff { reason, .. } | Trouble::Doubt { reason, .. } | Trouble::Suspend { reason, .. } => reason,
        }
    }
}

/// What came of one attempt. Recipients that were not reached are absent and stay waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By recipient.
    pub recipients: Vec<RecipientOutcome>,
    /// For the route.
    pub trouble: Option<Trouble>,
    /// Recipients that the server took before it closed the connection at another one, or refused the whole message for their
    /// number. Not reached; without the others they may be, so they go in a transaction of their own at once.
    pub again: Vec<usize>,
    /// How many recipients the server takes in one transaction, as far as is known now, where it refused some for their number
    /// (RFC 5321 §4.5.3.1.10). Fewer than were tried. All who are absent go in other transactions at once, of no more than so many.
    pub takes: Option<usize>,
    /// Delivered recipients whose server takes DSN parameters: reporting their success is its duty now (RFC 3461 §5.2.2). Another
    /// transaction may have gone to another server of the same host.
    pub reported: Vec<usize>,
    /// Why the message is to be held, nothing of it sent: the spool could not give its bytes, or its signatures have expired.
    pub hold: Option<String>,
}

impl Outcome {
    /// Adds what a further transaction for the same message brought.
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

//! Finds the [`FailureClass`] of a reply: the word that tells programs why a server did not take mail. It follows the [`Signal`], which
//! also decides what happens to the mail. If the signal says nothing, it follows the enhanced status code and the words of the reply.
//!
//! Words count for more than codes: servers give 5.7.1 for everything, and 5.1.1 seldom for anything but an unknown address.

mod phrases;

use self::phrases::{BLOCKED, CONTENT, FULL, HARD, MAIL_AUTH, NETWORK, POLICY, RATE};
use super::signal::{Phase, Signal};
use crate::message::FailureClass;
use crate::smtp::{EnhancedCode, Reply};

/// Returns why a server did not take mail. `text` is the reply's text in lower case.
pub fn failure_class(phase: Phase, signal: Signal, reply: &Reply, text: &str) -> FailureClass {
    let negative = Negative { phase, reply, text };
    if negative.is_mail_auth() {
        return FailureClass::Auth;
    }
    match signal {
        Signal::TooBusy | Signal::Quota => FailureClass::Rate,
        Signal::Blocked | Signal::Barred => FailureClass::Blocked,
        Signal::WantsTls | Signal::WantsLogin | Signal::MayWantLogin => FailureClass::Auth,
        Signal::NoRelay => FailureClass::Policy,
        Signal::InternalSpoof | Signal::SendAs => negative.of_policy(),
        Signal::OutOfOrder | Signal::Sequence => FailureClass::Network,
        Signal::Closing => negative.by_words().unwrap_or(FailureClass::Network),
        Signal::Plain => negative.plain(),
    }
}

/// Returns why a recipient's server did not take mail, from its reply as another server or service passes it on.
pub(crate) fn class_of_reported(reply: &Reply) -> FailureClass {
    failure_class(Phase::Rcpt, Signal::Plain, reply, &reply.lines.join(" ").to_ascii_lowercase())
}

/// A negative reply without a signal.
struct Negative<'a> {
    phase: Phase,
    reply: &'a Reply,
    text: &'a str,
}

impl Negative<'_> {
    fn plain(&self) -> FailureClass {
        match self.phase {
            Phase::Login => FailureClass::Auth,
            Phase::StartTls => FailureClass::Network,
            Phase::Greeting | Phase::Hello => self.by_words().unwrap_or(match self.reply.is_permanent() {
                true => FailureClass::Blocked,
                false => FailureClass::Network,
            }),
            Phase::Mail | Phase::Rcpt | Phase::Data | Phase::End => {
                self.by_telling_code().or_else(|| self.by_words()).unwrap_or_else(|| self.by_code())
            }
        }
    }

    fn of_policy(&self) -> FailureClass {
        if self.says(MAIL_AUTH) { FailureClass::Auth } else { FailureClass::Policy }
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.text.contains(word))
    }

    fn status(&self) -> Option<(u16, u16)> {
        self.reply.enhanced.map(|EnhancedCode(_, subject, detail)| (subject, detail))
    }

    /// RFC 7372, and what Microsoft and Google have besides.
    fn is_mail_auth(&self) -> bool {
        matches!(self.status(), Some((7, 20..=24 | 26 | 509 | 512 | 515)))
    }

    /// Status codes that mean one thing whatever the words are.
    fn by_telling_code(&self) -> Option<FailureClass> {
        let permanent = self.reply.is_permanent();
        match self.status()? {
            (2, 2) => Some(FailureClass::MailboxFull),
            // Exchange and Gmail also say 5.1.1 and 5.1.10 for what words call otherwise, but never the other way about.
            (1, 1 | 10) if permanent && !self.says(FULL) && !self.says(BLOCKED) => Some(FailureClass::Hard),
            (1, 2 | 3 | 6) if permanent => Some(FailureClass::Hard),
            (1, 7 | 8) => Some(FailureClass::Policy),
            (7, 25 | 511 | 606..=649) => Some(FailureClass::Blocked),
            (7, 28) => Some(FailureClass::Rate),
            (3, 4) | (2, 3) => Some(FailureClass::Content),
            (4, 6) => Some(FailureClass::Network),
            (4, 310 | 312) => Some(FailureClass::Hard),
            _ => None,
        }
    }

    fn by_words(&self) -> Option<FailureClass> {
        let (permanent, to_one) = (self.reply.is_permanent(), self.phase == Phase::Rcpt);
        if self.says(FULL) && !self.says(&["message size", "maximum message", "sending", "submission"]) {
            return Some(FailureClass::MailboxFull);
        }
        if self.says(MAIL_AUTH) {
            return Some(FailureClass::Auth);
        }
        if self.says(BLOCKED) {
            // Past the content, a list of links or of spammers' words is about the content.
            let of_content =
                self.phase == Phase::End && self.says(&["url", "link", "uribl", "surbl", "content", "spam c"]);
            return Some(if of_content { FailureClass::Content } else { FailureClass::Blocked });
        }
        if self.says(RATE) && (!permanent || !self.says(HARD)) {
            return Some(FailureClass::Rate);
        }
        // Before the content nobody can have seen it; only its size was announced.
        if self.says(CONTENT) {
            return Some(FailureClass::Content);
        }
        if self.says(&["sender address", "sender rejected", "sender domain", "sender denied"]) {
            return Some(FailureClass::Policy);
        }
        if permanent && self.says(HARD) && (to_one || !self.says(POLICY)) {
            return Some(FailureClass::Hard);
        }
        if self.says(POLICY) {
            return Some(FailureClass::Policy);
        }
        if self.says(NETWORK) {
            return Some(FailureClass::Network);
        }
        None
    }

    /// Returns the class by the codes alone.
    fn by_code(&self) -> FailureClass {
        let permanent = self.reply.is_permanent();
        match (self.status(), self.reply.code) {
            (Some((1, _)), _) if permanent => FailureClass::Hard,
            (Some((2, 0 | 1 | 4)), _) if permanent => FailureClass::Hard,
            (Some((4, 1 | 4)), _) if permanent && self.phase == Phase::Rcpt => FailureClass::Hard,
            (Some((3 | 4, _)), _) => FailureClass::Network,
            (Some((6, _)), _) => FailureClass::Content,
            (Some((7, _)), 450 | 451) => FailureClass::Rate,
            (Some((7, _)), _) => FailureClass::Policy,
            (Some((5, 3)), _) => FailureClass::Rate,
            (_, 552) if self.phase == Phase::Rcpt => FailureClass::MailboxFull,
            (_, 552) => FailureClass::Content,
            (_, 551 | 553) if self.phase == Phase::Rcpt => FailureClass::Hard,
            (_, 421) => FailureClass::Network,
            _ => FailureClass::Unknown,
        }
    }
}

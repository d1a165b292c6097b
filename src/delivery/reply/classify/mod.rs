//! Classifies a smarthost's reply: its scope, whether waiting helps, what it says about the route, and what a
//! person can do. The main function is [`classify`]. The tests hold a table of examples.

use std::net::IpAddr;
use std::time::Duration;

use super::advice::advice;
pub use super::context::{Context, TakenRecipients, is_internal};
use super::failure_class::failure_class;
use super::for_now::{is_for_now, lapses_with_its_period};
pub use super::signal::Phase;
use super::signal::Signal;
use super::words::Words;
use crate::delivery::outcome::{Meaning, Scope, Trouble, Verdict};
use crate::message::FailureClass;
use crate::route::{Cause, RouteKind};
use crate::smtp::Reply;

/// The pause after a daily or hourly allowance is used up. Trying sooner is of no use.
const QUOTA_PAUSE: Duration = Duration::from_secs(3600);

/// How many octets of a reply's text are judged. Servers say what they mean at the beginning, and a thousand recipients may each be
/// refused at length.
const JUDGED: usize = 600;

/// Returns what a negative reply means for the recipients it concerns, and for the route.
pub fn classify(phase: Phase, reply: &Reply, context: &Context<'_>) -> (Meaning, Option<Trouble>) {
    let mut text = reply.lines.join(" ").to_ascii_lowercase();
    text.truncate(text.floor_char_boundary(JUDGED));
    let signal = Signal::of(phase, reply, &text, context);
    let permanent = reply.is_permanent();
    let advice = advice(signal, phase, reply, &text, context);
    let back_off = |at_least: Option<Duration>| Trouble::BackOff {
        reason: reply.to_string(),
        at_least: at_least.or_else(|| pause_named_in(&text)),
        advice: advice.clone(),
    };
    let doubt =
        || Trouble::Doubt { reason: reply.to_string(), at_least: pause_named_in(&text), advice: advice.clone() };
    let suspend = |fallback: &str| Trouble::Suspend {
        cause: Cause::Login,
        reason: reply.to_string(),
        advice: advice.clone().unwrap_or_else(|| fallback.to_owned()),
    };
    let words = Words::of(&text);
    let is_final = permanent && !is_for_now(reply, &words) && !lapses_with_its_period(reply, &text, &words, context);
    let by_code = if is_final { Verdict::Failed } else { Verdict::Deferred };
    let before_mail = matches!(phase, Phase::Greeting | Phase::Hello | Phase::StartTls | Phase::Login);
    let (verdict, scope, trouble) = match (phase, signal, context.fallback) {
        // The server took other recipients, so the route works. This one waits until the allowance is renewed or a
        // person acts. If the reply concerns all mail, the first recipient of the next message gets it, too.
        (
            Phase::Rcpt,
            Signal::Quota
            | Signal::Blocked
            | Signal::TooBusy
            | Signal::WantsTls
            | Signal::WantsLogin
            | Signal::MayWantLogin
            | Signal::NoRelay
            | Signal::Barred,
            _,
        ) if context.taken != TakenRecipients::Nobody => (Verdict::Deferred, Scope::Recipient, None),
        // The server wants TLS and so does the route, but the handshake failed. It may work on the next connection.
        (_, Signal::WantsTls, Some(fallback)) => {
            let reason = format!("{reply}, and TLS failed before: {}", fallback.reason);
            (Verdict::Deferred, Scope::Route, Some(Trouble::BackOff { reason, at_least: None, advice: advice.clone() }))
        }
        // A login that was refused for good is not tried again, because that would lock the account. One that was
        // refused for the moment may be.
        (Phase::Login, ..) if permanent && signal != Signal::Quota => {
            (Verdict::Deferred, Scope::Route, Some(suspend("correct the login")))
        }
        // Code 530 concerns the connection. With another code, the server may want TLS for this recipient only.
        (Phase::Rcpt, Signal::WantsTls, _) if reply.code != 530 => (Verdict::Deferred, Scope::Route, Some(doubt())),
        (_, Signal::WantsTls, _) => (Verdict::Deferred, Scope::Route, Some(suspend("switch TLS on"))),
        (_, Signal::WantsLogin, _) => (Verdict::Deferred, Scope::Route, Some(suspend("give the route a login"))),
        (_, Signal::Quota | Signal::Blocked, _) => {
            (Verdict::Deferred, Scope::Route, Some(back_off(pause_named_in(&text).or(Some(QUOTA_PAUSE)))))
        }
        (_, Signal::TooBusy, _) => (Verdict::Deferred, Scope::Route, Some(back_off(None))),
        // Before MAIL no message is concerned. Every failure is the route's, and mail waits.
        _ if before_mail => (Verdict::Deferred, Scope::Route, Some(back_off(None))),
        // A server that is out of room may lack it only for a message of this size. A server that does not relay, or
        // wants another login, is set up wrongly, for this recipient or for all. Mail waits until that is mended.
        (_, Signal::OutOfOrder | Signal::NoRelay | Signal::Barred | Signal::MayWantLogin, _) => {
            (Verdict::Deferred, Scope::Route, Some(doubt()))
        }
        (_, Signal::Closing | Signal::Sequence, _) => (Verdict::Deferred, Scope::Session, Some(doubt())),
        (Phase::Rcpt, ..) => (by_code, Scope::Recipient, None),
        (_, Signal::InternalSpoof, _) => (by_code, Scope::Recipient, None),
        _ => (by_code, Scope::Message, None),
    };
    let why = failure_class(phase, signal, reply, &text);
    (Meaning { advice, ..Meaning::new(verdict, scope, reply.to_string(), Some(why)) }, trouble)
}

/// Returns why a recipient's server did not take mail, from its reply as a report quotes it. The connection was another's, so the reply
/// is judged as one about the recipient.
pub(crate) fn class_of_quoted(reply: &Reply, egress: IpAddr) -> FailureClass {
    let context = Context {
        kind: RouteKind::OwnServer,
        internal: false,
        egress,
        login: None,
        sender: None,
        recipients: &[],
        fallback: None,
        taken: TakenRecipients::Nobody,
    };
    classify(Phase::Rcpt, reply, &context).0.reply.class.unwrap_or(FailureClass::Unknown)
}

/// Returns how long the server asks us to wait (`try again in 5 minutes`, `wait 30 seconds`), if its text clearly says
/// so. A text like `3 connections in 60 seconds` does not: it names the period in which the server counts. The result
/// is at most `QUOTA_PAUSE`; a server that wants a longer pause says so again.
fn pause_named_in(text: &str) -> Option<Duration> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '.' | ')' | '('));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    (0..words.len()).find_map(|at| {
        let (before, [word, number, unit, ..]) = words.split_at(at) else { return None };
        let asked = match *word {
            "wait" => true,
            "in" | "after" => before.last().is_some_and(|word| matches!(*word, "again" | "later" | "retry")),
            _ => false,
        };
        let number: u64 = number.parse().ok().filter(|n| *n > 0)?;
        let unit = match *unit {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3600,
            _ => return None,
        };
        asked.then(|| Duration::from_secs(number.saturating_mul(unit)).min(QUOTA_PAUSE))
    })
}

#[cfg(test)]
pub(super) mod tests;

//! From what a transaction heard to what becomes of each recipient. No I/O.
//!
//! Promises: what a server refuses for one recipient does not touch the others; where the replies do not fit the commands,
//! nobody is refused by one that may have been for somebody else; where nothing sensible answers the final dot, the outcome
//! is unknown. Recipients who are refused because they are too many were not reached, and neither were those whom the server
//! refuses together with them: they go in other transactions at once.

use super::classify::{Context, Phase, Taken, classify, is_internal};
use super::connection::Broken;
use super::job::Job;
use super::limits::{counts_recipients, is_of_recipient};
use super::outcome::{Class, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
use crate::smtp::Reply;

/// What the flight brought.
#[derive(Default)]
pub struct Flight {
    /// The refusal of MAIL.
    pub mail_refused: Option<Reply>,
    /// Recipients that were taken, by index.
    pub accepted: Vec<usize>,
    /// Recipients that were not.
    pub refused: Vec<(usize, Reply)>,
    /// Recipients that were refused for their number.
    pub surplus: Vec<(usize, Reply)>,
    /// Recipients that were refused, it seems, for the parameters that they were named with, or MAIL was.
    pub without_parameters: Vec<usize>,
    /// How many recipients had an answer.
    pub answered: usize,
    /// The answer to DATA.
    pub data: Option<Reply>,
    /// What was sent last, of which an answer or its end is awaited.
    pub sent: &'static str,
    /// No command was sent before the answer to the last one was there.
    pub one_by_one: bool,
    /// The server is asked for SMTPUTF8.
    pub smtputf8: bool,
}

impl Flight {
    /// The server took some recipients, and has no room for more of them.
    pub fn is_full(&self) -> bool {
        !self.accepted.is_empty() && !self.surplus.is_empty()
    }

    /// Everybody was refused before any content was sent, and not by codes that are surely about them: by MAIL's refusal, their
    /// own, or DATA's.
    pub fn may_be_of_connection(&self) -> bool {
        if self.mail_refused.is_some() {
            return self.without_parameters.is_empty();
        }
        if !self.accepted.is_empty() {
            return self.surplus.is_empty() && self.data.as_ref().is_some_and(|reply| !reply.is_positive());
        }
        self.refused.iter().chain(&self.surplus).any(|(_, reply)| !is_of_recipient(reply))
    }
}

/// The server cannot have the message for these, which was found out before anything was sent.
pub fn failed(recipients: &[usize], reason: &str, scope: Scope) -> Vec<RecipientOutcome> {
    recipients.iter().map(|index| Class::new(Verdict::Failed, scope, reason).of(*index)).collect()
}

/// The transaction ended before any content was sent, for reasons that the server gave.
pub fn before_content(job: &Job<'_>, flight: Flight) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(reply) = &flight.mail_refused {
        // Of the parameters, it seems: without them it is asked again, and until then nobody is refused.
        if !flight.without_parameters.is_empty() {
            return outcome;
        }
        for index in job.recipients {
            add(&mut outcome, job, *index, Phase::Mail, reply);
        }
        return outcome;
    }
    refused(&mut outcome, job, &flight);
    // Without an answer to DATA (not sent) nobody was accepted.
    if let Some(reply) = &flight.data {
        refused_together(&mut outcome, job, &flight, Phase::Data, reply);
    }
    outcome
}

/// The server took recipients and then refused the message for all of them.
fn refused_together(outcome: &mut Outcome, job: &Job<'_>, flight: &Flight, phase: Phase, reply: &Reply) {
    // Exim (recipients_max_reject) refuses DATA, too, after recipients that it had no room for. That is not said of those it took.
    let for_the_surplus = phase == Phase::Data && flight.is_full();
    let tried = flight.accepted.len();
    if for_the_surplus {
        outcome.again.clone_from(&flight.accepted);
    } else if tried > 1 && counts_recipients(reply) {
        outcome.again.clone_from(&flight.accepted);
        outcome.takes = Some(tried / 2);
    } else {
        for index in &flight.accepted {
            add(outcome, job, *index, phase, reply);
        }
    }
}

/// Those who were refused one by one.
fn refused(outcome: &mut Outcome, job: &Job<'_>, flight: &Flight) {
    let internal = |index: &usize| stays_internal(job, *index);
    let taken = match flight.accepted.as_slice() {
        [] => Taken::Nobody,
        accepted if accepted.iter().all(internal) => Taken::Internal,
        _ => Taken::Others,
    };
    for (index, reply) in &flight.refused {
        judge(outcome, job, *index, Phase::Rcpt, reply, taken);
    }
    // Each further transaction has fewer recipients, so this ends: with one who is refused for their number, that is the answer.
    match (flight.accepted.len(), job.recipients.len()) {
        _ if flight.surplus.is_empty() => {}
        (0, 0 | 1) => {
            for (index, reply) in &flight.surplus {
                judge(outcome, job, *index, Phase::Rcpt, reply, taken);
            }
        }
        (0, tried) => outcome.takes = Some(tried / 2),
        (accepted, _) => outcome.takes = Some(accepted),
    }
}

/// The server answered the final dot (or said early what it thinks of the message). `dsn`: it reports further, where that was
/// asked for.
pub fn at_end(job: &Job<'_>, flight: Flight, reply: &Reply, dsn: bool) -> Outcome {
    let mut outcome = Outcome::default();
    if reply.code / 100 == 2 {
        let taken = Class::new(Verdict::Delivered, Scope::Recipient, reply.to_string());
        outcome.recipients.extend(flight.accepted.iter().map(|index| taken.clone().of(*index)));
        if dsn {
            outcome.reported.extend(&flight.accepted);
        }
        refused(&mut outcome, job, &flight);
    } else {
        refused(&mut outcome, job, &flight);
        refused_together(&mut outcome, job, &flight, Phase::End, reply);
    }
    outcome
}

/// The final dot was sent and nothing sensible came back. Each further attempt may be a duplicate, so a server that does this to
/// one message after the other is asked seldom, and a person is told.
pub fn unknown(job: &Job<'_>, flight: Flight, reason: &str) -> Outcome {
    let advice = Some(
        "it may have taken the message all the same, and every further attempt may be a duplicate: see what the server, or what \
         stands before it, does after the end of a message"
            .to_owned(),
    );
    let mut outcome = Outcome::default();
    let class = Class { unknown: true, ..Class::new(Verdict::Deferred, Scope::Session, reason) };
    outcome.recipients.extend(flight.accepted.iter().map(|index| class.clone().of(*index)));
    refused(&mut outcome, job, &flight);
    worsen(&mut outcome.trouble, Trouble::Doubt { reason: reason.to_owned(), at_least: None, advice });
    outcome
}

/// The connection broke before the final dot. Refusals that were heard stand; everybody else waits.
pub fn broken_off(job: &Job<'_>, mut flight: Flight, why: &Broken) -> Outcome {
    let mut outcome = Outcome::default();
    let reason = if flight.sent.is_empty() { why.to_string() } else { format!("{why} (at {})", flight.sent) };
    let in_step = !matches!(why, Broken::OutOfStep(_));
    if in_step && flight.mail_refused.is_some() {
        // What it said after that, and why it hung up, follows from it.
        return before_content(job, flight);
    }
    if !in_step {
        // In a flight a refusal may have been any recipient's. One by one the first of them was surely for the one asked about:
        // it stands, so that each attempt has fewer to ask about.
        flight.refused.truncate(usize::from(flight.one_by_one));
        (flight.mail_refused, flight.data) = (None, None);
        flight.surplus.clear();
    }
    if flight.is_full() {
        // It hung up after so many refusals, perhaps in place of one more.
        flight.refused.retain(|(_, reply)| reply.code != 421);
        refused(&mut outcome, job, &flight);
        outcome.again = flight.accepted;
        return outcome;
    }
    refused(&mut outcome, job, &flight);
    let goodbye = flight.refused.last().map(|(_, reply)| reply).filter(|reply| reply.code == 421);
    let unanswered = job.recipients.get(flight.answered).copied();
    // It took some recipients and closed at another one: that one shall not keep the others from their mail.
    if in_step && !flight.accepted.is_empty() && (goodbye.is_some() || unanswered.is_some()) {
        if goodbye.is_none() {
            outcome.recipients.extend(unanswered.map(|index| waits(index, reason.clone())));
            worsen(&mut outcome.trouble, doubt(reason));
        }
        outcome.again = flight.accepted;
        return outcome;
    }
    let told = flight.data.as_ref().map(|reply| (Phase::Data, reply)).filter(|(_, reply)| !reply.is_positive());
    // A 421 to one recipient, and none taken before, is the server's goodbye to all of them.
    let told = told.or(goodbye.map(|reply| (Phase::Rcpt, reply)));
    for index in job.recipients {
        let mut settled = outcome.recipients.iter().map(|heard| heard.index);
        if settled.any(|settled| settled == *index) {
            continue;
        }
        match told {
            Some((phase, reply)) => add(&mut outcome, job, *index, phase, reply),
            None => outcome.recipients.push(waits(*index, reason.clone())),
        }
    }
    if told.is_none() {
        worsen(&mut outcome.trouble, doubt(reason));
    }
    outcome
}

fn waits(index: usize, reply: String) -> RecipientOutcome {
    Class::new(Verdict::Deferred, Scope::Session, reply).of(index)
}

fn doubt(reason: String) -> Trouble {
    Trouble::Doubt { reason, at_least: None, advice: None }
}

fn add(outcome: &mut Outcome, job: &Job<'_>, index: usize, phase: Phase, reply: &Reply) {
    judge(outcome, job, index, phase, reply, Taken::Nobody);
}

/// Adds a recipient's outcome, and what it says of the route.
fn judge(outcome: &mut Outcome, job: &Job<'_>, index: usize, phase: Phase, reply: &Reply, taken: Taken) {
    let internal = stays_internal(job, index);
    let context = Context { internal, taken, ..Context::of(job.route, job.egress, job.fallback.as_ref()) };
    let (class, trouble) = classify(phase, reply, &context);
    outcome.recipients.push(class.of(index));
    if let Some(trouble) = trouble {
        worsen(&mut outcome.trouble, trouble);
    }
}

fn stays_internal(job: &Job<'_>, index: usize) -> bool {
    job.envelope.recipients[index].address.domain().is_some_and(|to| is_internal(job.from_domain, to))
}

/// Keeps the graver of two troubles.
fn worsen(trouble: &mut Option<Trouble>, found: Trouble) {
    let weight = |trouble: &Trouble| match trouble {
        Trouble::Doubt { at_least, .. } => (0, *at_least),
        Trouble::BackOff { at_least, .. } => (1, *at_least),
        Trouble::Suspend { .. } => (2, None),
    };
    if trouble.as_ref().is_none_or(|known| weight(known) < weight(&found)) {
        *trouble = Some(found);
    }
}

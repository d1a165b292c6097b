//! Interprets the replies of a transaction: turns them into the outcome of each recipient. Does no I/O.
//!
//! Promises: a refusal of one recipient does not touch the others. If the replies do not fit the commands, no recipient
//! is refused by a reply that may have been for another one. If no valid reply answers the final dot, the outcome is
//! unknown. Recipients that are refused because there are too many were not reached, and neither were the ones that the
//! server refuses together with them: they are tried at once in other transactions.

use super::body::Unreadable;
use super::connection::Broken;
use super::job::Job;
use super::outcome::{Meaning, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
use super::reply::classify::{Context, Phase, TakenRecipients, classify, is_internal};
use super::reply::number_of_recipients::is_about_number_of_recipients;
use super::reply::whose_limit::is_about_recipient;
use crate::message::FailureClass;
use crate::smtp::Reply;

/// The replies of a transaction up to DATA.
#[derive(Default)]
pub struct Flight {
    /// The refusal of MAIL, if it was refused.
    pub mail_refused: Option<Reply>,
    /// The indices of the recipients that the server took.
    pub accepted: Vec<usize>,
    /// The recipients that the server refused, with its reply.
    pub refused: Vec<(usize, Reply)>,
    /// The recipients that the server refused because there are too many.
    pub surplus: Vec<(usize, Reply)>,
    /// The recipients that seem to have been refused for their parameters, or for those of MAIL.
    pub without_parameters: Vec<usize>,
    /// How many replies to RCPT have been read.
    pub answered: usize,
    /// The reply to DATA, once it was read.
    pub data: Option<Reply>,
    /// The name of the command or part that was sent last, and whose reply or end is awaited.
    pub sent: &'static str,
    /// Each command was sent after the reply to the one before.
    pub one_by_one: bool,
    /// MAIL asks for SMTPUTF8.
    pub smtputf8: bool,
}

impl Flight {
    /// Returns true if the server took some recipients and has no room for more.
    pub fn is_full(&self) -> bool {
        !self.accepted.is_empty() && !self.surplus.is_empty()
    }

    /// Forgets the replies that may have been for another command, because the replies do not fit the commands. In a
    /// flight a refusal may have been for any recipient. One by one, the first refusal was surely for the recipient that
    /// was asked about. It stands, so that each attempt has fewer recipients to ask about.
    fn forget_uncertain_replies(&mut self) {
        self.refused.truncate(usize::from(self.one_by_one));
        (self.mail_refused, self.data) = (None, None);
        self.surplus.clear();
    }

    /// Returns true if everybody was refused before any content was sent, by replies to MAIL, RCPT or DATA that may be
    /// about the connection. Codes that clearly concern a recipient do not count.
    pub fn may_be_about_connection(&self) -> bool {
        if self.mail_refused.is_some() {
            return self.without_parameters.is_empty();
        }
        if !self.accepted.is_empty() {
            return self.surplus.is_empty() && self.data.as_ref().is_some_and(|reply| !reply.is_positive());
        }
        self.refused.iter().chain(&self.surplus).any(|(_, reply)| !is_about_recipient(reply))
    }
}

/// The outcomes of recipients that the server cannot take the message for. This was found before anything was sent.
pub fn failed(recipients: &[usize], reason: &str, scope: Scope) -> Vec<RecipientOutcome> {
    recipients
        .iter()
        .map(|index| Meaning::new(Verdict::Failed, scope, reason, Some(FailureClass::Content)).of(*index))
        .collect()
}

/// The outcome of a transaction that the server ended before any content was sent.
pub fn before_content(job: &Job<'_>, flight: Flight) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(reply) = &flight.mail_refused {
        // The parameters seem to be refused. The transaction is repeated without them, and until then nobody is
        // refused.
        if !flight.without_parameters.is_empty() {
            return outcome;
        }
        for index in job.recipients {
            add(&mut outcome, job, *index, Phase::Mail, reply);
        }
        return outcome;
    }
    add_refused(&mut outcome, job, &flight);
    // DATA is sent only if the server took somebody.
    if let Some(reply) = &flight.data {
        add_refused_together(&mut outcome, job, &flight, Phase::Data, reply);
    }
    outcome
}

/// Adds the outcomes after the server took recipients and then refused the message for all of them.
fn add_refused_together(outcome: &mut Outcome, job: &Job<'_>, flight: &Flight, phase: Phase, reply: &Reply) {
    // Exim (`recipients_max_reject`) also refuses DATA after it refused recipients for their number. That says nothing
    // about the recipients it took.
    let for_the_surplus = phase == Phase::Data && flight.is_full();
    let tried = flight.accepted.len();
    if for_the_surplus {
        outcome.again.clone_from(&flight.accepted);
    } else if tried > 1 && is_about_number_of_recipients(reply) {
        outcome.again.clone_from(&flight.accepted);
        outcome.takes = Some(tried / 2);
    } else {
        for index in &flight.accepted {
            add(outcome, job, *index, phase, reply);
        }
    }
}

/// Adds the outcomes of the recipients that were refused one by one.
fn add_refused(outcome: &mut Outcome, job: &Job<'_>, flight: &Flight) {
    let internal = |index: &usize| stays_internal(job, *index);
    let taken = match flight.accepted.as_slice() {
        [] => TakenRecipients::Nobody,
        accepted if accepted.iter().all(internal) => TakenRecipients::Internal,
        _ => TakenRecipients::Others,
    };
    for (index, reply) in &flight.refused {
        judge(outcome, job, *index, Phase::Rcpt, reply, taken);
    }
    // Each further transaction has fewer recipients, so this ends. A single recipient that is refused for the number of
    // recipients gets that reply as its outcome.
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

/// The outcome after the server's reply to the final dot, or after a refusal that it sent during the content. With
/// `dsn`, the server reports success itself where that was asked for.
pub fn at_end(job: &Job<'_>, flight: Flight, reply: &Reply, dsn: bool) -> Outcome {
    let mut outcome = Outcome::default();
    if reply.code / 100 == 2 {
        let taken = Meaning::new(Verdict::Relayed, Scope::Recipient, reply.to_string(), None);
        outcome.recipients.extend(flight.accepted.iter().map(|index| taken.clone().of(*index)));
        if dsn {
            outcome.reported.extend(&flight.accepted);
        }
        add_refused(&mut outcome, job, &flight);
    } else {
        add_refused(&mut outcome, job, &flight);
        add_refused_together(&mut outcome, job, &flight, Phase::End, reply);
    }
    outcome
}

/// The outcome if the final dot was sent and no valid reply came. Each further attempt may be a duplicate. If a server
/// does this to several messages, the route backs off and an alert is raised.
pub fn unknown(job: &Job<'_>, flight: Flight, reason: &str) -> Outcome {
    let advice = Some(
        "it may have taken the message all the same, and every further attempt may be a duplicate: see what the server, or what \
         stands before it, does after the end of a message"
            .to_owned(),
    );
    let mut outcome = Outcome::default();
    let meaning = Meaning {
        unknown: true,
        ..Meaning::new(Verdict::Deferred, Scope::Session, reason, Some(FailureClass::Network))
    };
    outcome.recipients.extend(flight.accepted.iter().map(|index| meaning.clone().of(*index)));
    add_refused(&mut outcome, job, &flight);
    keep_worse(&mut outcome.trouble, Trouble::Doubt { reason: reason.to_owned(), at_least: None, advice });
    outcome
}

/// The outcome if the connection broke before the final dot. Refusals that were read stand; everybody else waits.
pub fn broken_off(job: &Job<'_>, mut flight: Flight, why: &Broken) -> Outcome {
    let reason = if flight.sent.is_empty() { why.to_string() } else { format!("{why} (at {})", flight.sent) };
    let in_step = !matches!(why, Broken::OutOfStep(_));
    if in_step && flight.mail_refused.is_some() {
        // Later replies, and the reason why the server closed, follow from the refusal of MAIL.
        return before_content(job, flight);
    }
    if !in_step {
        flight.forget_uncertain_replies();
    }
    if flight.is_full() {
        return closed_when_full(job, flight);
    }
    let mut outcome = Outcome::default();
    add_refused(&mut outcome, job, &flight);
    let goodbye = flight.refused.last().map(|(_, reply)| reply).filter(|reply| reply.code == 421);
    let unanswered = job.recipients.get(flight.answered).copied();
    // The server took some recipients and closed the connection at another one. That one must not keep the others from
    // their mail.
    if in_step && !flight.accepted.is_empty() && (goodbye.is_some() || unanswered.is_some()) {
        if goodbye.is_none() {
            outcome.recipients.extend(unanswered.map(|index| waits(index, reason.clone())));
            keep_worse(&mut outcome.trouble, doubt(reason));
        }
        outcome.again = flight.accepted;
        return outcome;
    }
    let refused_data = flight.data.as_ref().filter(|reply| !reply.is_positive()).map(|reply| (Phase::Data, reply));
    // A 421 to one recipient, with none taken before it, concerns all of them.
    let last_reply = refused_data.or(goodbye.map(|reply| (Phase::Rcpt, reply)));
    add_others(&mut outcome, job, last_reply, reason);
    outcome
}

/// The outcome for these recipients if the content could not be read from the spool. It says nothing about the route.
pub fn unread(why: Unreadable, recipients: impl Iterator<Item = usize>) -> Outcome {
    match why {
        Unreadable::Damaged(reason) => Outcome { hold: Some(reason), ..Outcome::default() },
        Unreadable::ForNow(reason) => {
            let meaning = Meaning::new(Verdict::Deferred, Scope::Message, reason, Some(FailureClass::RelayLimit));
            Outcome { recipients: recipients.map(|index| meaning.clone().of(index)).collect(), ..Outcome::default() }
        }
    }
}

/// The same in a transaction that has begun. If the mail is tried again, refusals that were read stand.
pub fn unread_after(job: &Job<'_>, flight: &Flight, why: Unreadable) -> Outcome {
    let mut outcome = Outcome::default();
    if matches!(why, Unreadable::ForNow(_)) {
        add_refused(&mut outcome, job, flight);
        outcome.again.clear();
    }
    let others = unread(why, without_outcome(&outcome, job).into_iter());
    outcome.add(others);
    outcome
}

/// Returns the recipients that have no outcome yet.
fn without_outcome(outcome: &Outcome, job: &Job<'_>) -> Vec<usize> {
    let has_one = |index: &usize| outcome.recipients.iter().any(|settled| settled.index == *index);
    job.recipients.iter().copied().filter(|index| !has_one(index)).collect()
}

/// The outcome if the server closed the connection after it had refused recipients because there are too many.
fn closed_when_full(job: &Job<'_>, mut flight: Flight) -> Outcome {
    // The 421 may stand in place of one more such refusal.
    flight.refused.retain(|(_, reply)| reply.code != 421);
    let mut outcome = Outcome::default();
    add_refused(&mut outcome, job, &flight);
    outcome.again = flight.accepted;
    outcome
}

/// Adds an outcome for every recipient that has none yet: from the server's last reply, or waiting for `reason`.
fn add_others(outcome: &mut Outcome, job: &Job<'_>, last_reply: Option<(Phase, &Reply)>, reason: String) {
    for index in without_outcome(outcome, job) {
        match last_reply {
            Some((phase, reply)) => add(outcome, job, index, phase, reply),
            None => outcome.recipients.push(waits(index, reason.clone())),
        }
    }
    if last_reply.is_none() {
        keep_worse(&mut outcome.trouble, doubt(reason));
    }
}

/// The outcome of a recipient that waits after the connection broke.
fn waits(index: usize, reply: String) -> RecipientOutcome {
    Meaning::new(Verdict::Deferred, Scope::Session, reply, Some(FailureClass::Network)).of(index)
}

/// A trouble that may concern this message alone.
fn doubt(reason: String) -> Trouble {
    Trouble::Doubt { reason, at_least: None, advice: None }
}

/// Adds the outcome of a recipient whose refusal does not depend on others.
fn add(outcome: &mut Outcome, job: &Job<'_>, index: usize, phase: Phase, reply: &Reply) {
    judge(outcome, job, index, phase, reply, TakenRecipients::Nobody);
}

/// Adds a recipient's outcome, and what the reply says about the route.
fn judge(outcome: &mut Outcome, job: &Job<'_>, index: usize, phase: Phase, reply: &Reply, taken: TakenRecipients) {
    let internal = stays_internal(job, index);
    let (sender, all) = (job.sender.mailbox(), &job.envelope.recipients);
    // After RCPT, the server may name any of them.
    let recipients = if phase == Phase::Rcpt { &all[index..=index] } else { &all[..] };
    let context =
        Context { internal, sender, recipients, taken, ..Context::of(job.route, job.egress, job.fallback.as_ref()) };
    let (meaning, trouble) = classify(phase, reply, &context);
    outcome.recipients.push(meaning.of(index));
    if let Some(trouble) = trouble {
        keep_worse(&mut outcome.trouble, trouble);
    }
}

/// Returns true if the mail to this recipient stays with the sender's customer.
fn stays_internal(job: &Job<'_>, index: usize) -> bool {
    job.envelope.recipients[index].address.domain().is_some_and(|to| is_internal(job.from_domain, to))
}

/// Keeps the more severe of two troubles.
fn keep_worse(trouble: &mut Option<Trouble>, found: Trouble) {
    let weight = |trouble: &Trouble| match trouble {
        Trouble::Doubt { at_least, .. } => (0, *at_least),
        Trouble::BackOff { at_least, .. } => (1, *at_least),
        Trouble::Suspend { .. } => (2, None),
    };
    if trouble.as_ref().is_none_or(|known| weight(known) < weight(&found)) {
        *trouble = Some(found);
    }
}

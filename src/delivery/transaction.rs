//! One transaction: MAIL, RCPT…, DATA, the content, the final dot. With PIPELINING the commands go in one flight
//! (RFC 2920); without, one by one.
//!
//! Promises: a recipient is delivered only after a 2xx to the final dot; a connection that breaks between the final dot
//! and its reply is reported as unknown; what a server refuses for one recipient does not touch the others; where the replies
//! do not fit the commands, nobody is refused by one that may have been for somebody else. A server
//! that answers 354 although it refused every recipient gets an empty message, which RFC 2920 §3.1 tells us to send and
//! RFC 5321 tells it to refuse.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::body::{Body, Unreadable};
use super::classify::{Context, Phase, Taken, classify};
use super::connection::{Broken, Connection};
use super::outcome::{Outcome, RecipientOutcome, Scope, Trouble, Verdict};
use super::settings::Timeouts;
use super::tls::Fallback;
use crate::message::{BodyKind, Envelope, Recipient, Ret};
use crate::route::Route;
use crate::smtp::dsn::orcpt_in_ascii;
use crate::smtp::response::ResponseError;
use crate::smtp::{Domain, EnhancedCode, Mailbox, Reply};

/// Octets of commands in flight before replies are read: less than any socket buffer, so that neither side waits for the
/// other to read (RFC 2920 §3.1).
const FLIGHT: usize = 16 * 1024;

/// What is to be sent to whom.
pub struct Job<'a> {
    /// Where to.
    pub route: &'a Route,
    /// The envelope.
    pub envelope: &'a Envelope,
    /// Which of its recipients.
    pub recipients: &'a [usize],
    /// The From domain.
    pub from_domain: &'a Domain,
    /// The message.
    pub body: &'a Body<'a>,
    /// The address that customers have allow-listed.
    pub egress: IpAddr,
    /// Each command waits for the answer to the one before, even where the server offers PIPELINING.
    pub one_by_one: bool,
    /// Why the connection has no TLS, where it was to have it.
    pub fallback: Option<Fallback>,
}

impl Job<'_> {
    /// Whether the message itself asks for SMTPUTF8 (RFC 6531 §3.4), whoever it is for.
    fn needs_smtputf8(&self) -> bool {
        let sender = self.envelope.reverse_path.mailbox();
        sender.is_some_and(Mailbox::needs_smtputf8) || !self.body.header_is_ascii()
    }
}

/// How a transaction ended.
pub enum Ending {
    /// Every recipient has its outcome, or stays waiting.
    Done {
        /// By recipient, and for the route.
        outcome: Outcome,
        /// The connection can serve again.
        usable: bool,
    },
    /// The server's replies did not fit the commands, and the connection is of no more use. To send them one by one may help.
    OutOfStep(Outcome),
    /// The connection turned out to be dead before the message was on its way. Nothing of it was accepted.
    Stale(Broken),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
}

impl Command {
    fn phase(self) -> Phase {
        match self {
            Command::Rset | Command::Mail => Phase::Mail,
            Command::Rcpt(_) => Phase::Rcpt,
            Command::Data => Phase::Data,
        }
    }
}

/// What the flight brought.
#[derive(Default)]
struct Flight {
    mail_refused: Option<Reply>,
    accepted: Vec<usize>,
    refused: Vec<(usize, Reply)>,
    data: Option<Reply>,
    /// What was sent last, of which an answer or its end is awaited.
    sent: &'static str,
    /// No command was sent before the answer to the last one was there.
    one_by_one: bool,
    /// The server is asked for SMTPUTF8.
    smtputf8: bool,
}

/// Runs one transaction. `reused` says that the connection has waited in the pool: then a server that closed it in the
/// meantime is no news about the message.
pub async fn run(connection: &mut Connection, job: &Job<'_>, timeouts: &Timeouts, reused: bool) -> Ending {
    let fail = |recipients: &[usize], reason: &str, scope| -> Vec<RecipientOutcome> {
        recipients.iter().map(|index| fails(*index, reason.to_owned(), scope)).collect()
    };
    let of_message = job.envelope.smtputf8 && job.needs_smtputf8();
    if let Some(reason) = lacks(connection, job, of_message) {
        let recipients = fail(job.recipients, &reason, Scope::Message);
        return done(Outcome { recipients, ..Outcome::default() }, true);
    }
    let needs_utf8 = |index: &usize| job.envelope.recipients[*index].address.needs_smtputf8();
    let (in_utf8, in_ascii): (Vec<usize>, Vec<usize>) = job.recipients.iter().partition(|index| needs_utf8(index));
    if in_utf8.is_empty() || connection.extensions.smtputf8 {
        return transact(connection, job, timeouts, reused, of_message || !in_utf8.is_empty()).await;
    }
    // One such address keeps nobody else from their mail.
    let refused =
        fail(&in_utf8, "5.6.7 the address is not ASCII, and the server does not offer SMTPUTF8", Scope::Recipient);
    if in_ascii.is_empty() {
        return done(Outcome { recipients: refused, ..Outcome::default() }, true);
    }
    let job = Job { recipients: &in_ascii, fallback: job.fallback.clone(), ..*job };
    let mut ending = transact(connection, &job, timeouts, reused, false).await;
    if let Ending::Done { outcome, .. } | Ending::OutOfStep(outcome) = &mut ending {
        outcome.recipients.extend(refused);
    }
    ending
}

/// Runs it for recipients who can have the message from this server.
async fn transact(
    connection: &mut Connection,
    job: &Job<'_>,
    timeouts: &Timeouts,
    reused: bool,
    smtputf8: bool,
) -> Ending {
    let mut flight = Flight { smtputf8, ..Flight::default() };
    if let Err(why) = fly(connection, job, timeouts, &mut flight).await {
        if reused && flight.data.is_none() {
            return Ending::Stale(why);
        }
        let outcome = broken_off(job, flight, &why);
        return if matches!(why, Broken::OutOfStep(_)) { Ending::OutOfStep(outcome) } else { done(outcome, false) };
    }
    let go = flight.data.as_ref().is_some_and(|reply| reply.code == 354);
    if flight.mail_refused.is_some() || flight.accepted.is_empty() {
        let mut usable = true;
        if go {
            connection.out.extend_from_slice(b".\r\n");
            usable = connection.send(timeouts.data_block).await.is_ok()
                && connection.reply(timeouts.mail).await.is_ok_and(|reply| reply.code != 421);
        }
        connection.reset_first = flight.mail_refused.is_none();
        return done(settle_flight(job, flight), usable);
    }
    if !go {
        connection.reset_first = true;
        return done(settle_flight(job, flight), true);
    }
    transfer(connection, job, timeouts, flight).await
}

/// Sends the commands and hears their replies. An error means that the connection is of no more use.
async fn fly(
    connection: &mut Connection,
    job: &Job<'_>,
    timeouts: &Timeouts,
    flight: &mut Flight,
) -> Result<(), Broken> {
    let reset = connection.reset_first.then_some(Command::Rset);
    let commands: Vec<Command> = reset
        .into_iter()
        .chain([Command::Mail])
        .chain(job.recipients.iter().map(|index| Command::Rcpt(*index)))
        .chain([Command::Data])
        .collect();
    flight.one_by_one = job.one_by_one || !connection.extensions.pipelining;
    let most = if flight.one_by_one { 1 } else { FLIGHT };
    let mut sent = 0;
    while sent < commands.len() {
        let begun = sent;
        connection.out.clear();
        while sent < commands.len() && connection.out.len() < most {
            // Between two flights (without PIPELINING: between two commands) one knows more.
            let pointless = flight.mail_refused.is_some()
                || (commands[sent] == Command::Data && sent == begun && flight.accepted.is_empty());
            if pointless {
                break;
            }
            write_command(connection, job, flight.smtputf8, commands[sent]);
            sent += 1;
        }
        if sent == begun {
            return Ok(());
        }
        expect_silence(connection).await?;
        connection.send(timeouts.data_block).await?;
        for command in &commands[begun..sent] {
            hear(connection, timeouts, flight, *command).await?;
        }
    }
    // One that stands behind the 354 would be taken for the answer to the final dot; behind a refusal of DATA it tells that this
    // may have been a recipient's.
    expect_silence(connection).await
}

/// All that was asked is answered, so nothing more may be there but a goodbye, which comes at any time (RFC 5321 §3.8).
async fn expect_silence(connection: &mut Connection) -> Result<(), Broken> {
    if !connection.has_more() {
        return Ok(());
    }
    match connection.reply(Duration::ZERO).await {
        Ok(reply) if reply.code == 421 => Err(Broken::Closed),
        Ok(reply) => Err(Broken::OutOfStep(format!("{reply}, to no command"))),
        Err(_) => Err(Broken::OutOfStep("octets that none of them asked for".to_owned())),
    }
}

async fn hear(
    connection: &mut Connection,
    timeouts: &Timeouts,
    flight: &mut Flight,
    command: Command,
) -> Result<(), Broken> {
    let limit = match command {
        Command::Rset | Command::Mail => timeouts.mail,
        Command::Rcpt(_) => timeouts.rcpt,
        Command::Data => timeouts.data_start,
    };
    flight.sent = command.phase().as_str();
    let reply = connection.reply(limit).await?;
    let closing = reply.code == 421;
    let out_of_step = match command {
        Command::Rset => false,
        Command::Mail | Command::Rcpt(_) => reply.code / 100 == 3,
        Command::Data => reply.is_positive() && reply.code != 354,
    };
    if out_of_step {
        return Err(Broken::OutOfStep(reply.to_string()));
    }
    match command {
        // RFC 5321 §4.1.1.5: RSET is always answered with 250; anything else is another conversation.
        Command::Rset if reply.code != 250 => return Err(Broken::Closed),
        Command::Rset => connection.reset_first = false,
        Command::Mail if reply.code / 100 != 2 => flight.mail_refused = Some(reply),
        Command::Mail => {}
        Command::Rcpt(index) if reply.code / 100 == 2 => flight.accepted.push(index),
        Command::Rcpt(index) => flight.refused.push((index, reply)),
        Command::Data => flight.data = Some(reply),
    }
    // After a 421 nothing but the end of the connection follows (RFC 5321 §3.8).
    if closing { Err(Broken::Closed) } else { Ok(()) }
}

/// Sends the content. Some recipients are accepted, and the server waits for it.
async fn transfer(connection: &mut Connection, job: &Job<'_>, timeouts: &Timeouts, flight: Flight) -> Ending {
    let mut content = job.body.transfer();
    let dsn = connection.extensions.dsn;
    loop {
        connection.out.clear();
        let last = match content.fill(&mut connection.out).await {
            Ok(last) => last,
            // Half a message must not look whole: the connection is dropped without a dot.
            Err(Unreadable(reason)) => {
                connection.out.clear();
                return done(Outcome { hold: Some(reason), ..Outcome::default() }, false);
            }
        };
        if let Err(why) = connection.send(timeouts.data_block).await {
            // The system did not take all of it, so the server has seen no final dot. It may have said why.
            let outcome = match connection.last_words().await.filter(|reply| !reply.is_positive()) {
                Some(reply) => settle_end(job, flight, &reply, dsn),
                None => broken_off(job, Flight { data: None, sent: "content", ..flight }, &why),
            };
            return done(outcome, false);
        }
        if last {
            break;
        }
    }
    match connection.reply(timeouts.data_end).await {
        Ok(reply) if reply.code / 100 != 3 => done(settle_end(job, flight, &reply, dsn), reply.code != 421),
        Ok(reply) => done(unknown(job, flight, &format!("{reply} is no answer to the end of a message")), false),
        // All lines of a reply have the same code (RFC 5321 §4.2.1): how much text there is to it changes nothing.
        Err(Broken::Malformed(ResponseError::TooLong { code })) if matches!(code / 100, 2 | 4 | 5) => {
            done(settle_end(job, flight, &Reply::bare(code, "(with more text than any reply has)"), dsn), false)
        }
        Err(why) => done(unknown(job, flight, &format!("{why} (at {})", Phase::End.as_str())), false),
    }
}

fn done(outcome: Outcome, usable: bool) -> Ending {
    Ending::Done { outcome, usable }
}

/// What the message needs and the server lacks, after its status; found out before anything is sent.
fn lacks(connection: &Connection, job: &Job<'_>, smtputf8: bool) -> Option<String> {
    let offers = &connection.extensions;
    let size = job.body.size();
    let of_server = offers.size_limit.unwrap_or(u64::MAX);
    if size > of_server {
        return Some(format!("5.3.4 the message has {size} octets, and the server takes at most {of_server}"));
    }
    let of_route = job.route.message_size;
    if size > of_route {
        return Some(format!(
            "5.3.4 the message has {size} octets, and its route (message_size) takes at most {of_route}"
        ));
    }
    if smtputf8 && !offers.smtputf8 {
        return Some(
            "5.6.7 the sender's address or the header is not ASCII, and the server does not offer SMTPUTF8".into(),
        );
    }
    if job.envelope.body == BodyKind::EightBit && !offers.eight_bit_mime {
        return Some("5.6.3 the message has 8-bit content, and the server does not offer 8BITMIME".into());
    }
    None
}

fn write_command(connection: &mut Connection, job: &Job<'_>, smtputf8: bool, command: Command) {
    let offers = &connection.extensions;
    let line = match command {
        Command::Rset => "RSET".to_owned(),
        Command::Mail => {
            let mut line = format!("MAIL FROM:<{}>", job.envelope.reverse_path);
            if offers.size {
                let _ = write!(line, " SIZE={}", job.body.size());
            }
            if job.envelope.body == BodyKind::EightBit {
                line.push_str(" BODY=8BITMIME");
            }
            if smtputf8 {
                line.push_str(" SMTPUTF8");
            }
            if offers.dsn {
                match job.envelope.ret {
                    Some(Ret::Full) => line.push_str(" RET=FULL"),
                    Some(Ret::Headers) => line.push_str(" RET=HDRS"),
                    None => {}
                }
                if let Some(envid) = &job.envelope.envid {
                    let _ = write!(line, " ENVID={envid}");
                }
            }
            line
        }
        Command::Rcpt(index) => rcpt_line(&job.envelope.recipients[index], offers.dsn, smtputf8),
        Command::Data => "DATA".to_owned(),
    };
    connection.command(&line);
}

fn rcpt_line(recipient: &Recipient, dsn: bool, smtputf8: bool) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if dsn {
        if let Some(notify) = recipient.notify {
            let wishes = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
            let wishes: Vec<_> = wishes.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
            let _ = write!(line, " NOTIFY={}", if wishes.is_empty() { "NEVER".to_owned() } else { wishes.join(",") });
        }
        // One in UTF-8 goes as it is with SMTPUTF8 only, and is no reason to ask for that (RFC 6533 §3).
        let written = |orcpt: &String| if smtputf8 || orcpt.is_ascii() { orcpt.clone() } else { orcpt_in_ascii(orcpt) };
        // RFC 3461 §4.2: 500 octets at most.
        if let Some(orcpt) = recipient.orcpt.as_ref().map(written).filter(|orcpt| orcpt.len() <= 500) {
            let _ = write!(line, " ORCPT={orcpt}");
        }
    }
    line
}

/// The transaction ended before any content was sent, for reasons that the server gave.
fn settle_flight(job: &Job<'_>, flight: Flight) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(reply) = &flight.mail_refused {
        for index in job.recipients {
            add(&mut outcome, job, *index, Phase::Mail, reply);
        }
        return outcome;
    }
    settle_refused(&mut outcome, job, &flight, true);
    // Without an answer to DATA (not sent) nobody was accepted.
    if let Some(reply) = flight.data {
        for index in flight.accepted {
            add(&mut outcome, job, index, Phase::Data, &reply);
        }
    }
    outcome
}

/// `goes_on`: those for whom there was no room in this transaction go in the next one, at once.
fn settle_refused(outcome: &mut Outcome, job: &Job<'_>, flight: &Flight, goes_on: bool) {
    let internal = |index: &usize| is_internal(job.from_domain, &job.envelope.recipients[*index]);
    let taken = match flight.accepted.as_slice() {
        [] => Taken::Nobody,
        accepted if accepted.iter().all(internal) => Taken::Internal,
        _ => Taken::Others,
    };
    for (index, reply) in &flight.refused {
        // The server takes no more recipients in this transaction (RFC 5321 §4.5.3.1.10).
        if !(goes_on && taken != Taken::Nobody && is_too_many_recipients(reply)) {
            judge(outcome, job, *index, Phase::Rcpt, reply, taken);
        }
    }
}

fn is_too_many_recipients(reply: &Reply) -> bool {
    let by_code = matches!(reply.enhanced, Some(EnhancedCode(_, 5, 3)));
    let says_so = || reply.lines.iter().any(|line| line.to_ascii_lowercase().contains("too many recipients"));
    by_code || (matches!(reply.code, 452 | 552) && reply.enhanced.is_none() && says_so())
}

/// The server answered the final dot (or said early what it thinks of the message). `dsn`: it reports further, where that was
/// asked for.
fn settle_end(job: &Job<'_>, flight: Flight, reply: &Reply, dsn: bool) -> Outcome {
    let mut outcome = Outcome::default();
    if reply.code / 100 == 2 {
        let text = reply.to_string();
        outcome.recipients.extend(flight.accepted.iter().map(|index| RecipientOutcome {
            index: *index,
            verdict: Verdict::Delivered,
            scope: Scope::Recipient,
            reply: text.clone(),
            advice: None,
            unknown: false,
        }));
        if dsn {
            outcome.reported.extend(&flight.accepted);
        }
    } else {
        for index in &flight.accepted {
            add(&mut outcome, job, *index, Phase::End, reply);
        }
    }
    settle_refused(&mut outcome, job, &flight, true);
    outcome
}

/// The final dot was sent and nothing sensible came back. Each further attempt may be a duplicate, so a server that does this to
/// one message after the other is asked seldom, and a person is told.
fn unknown(job: &Job<'_>, flight: Flight, reason: &str) -> Outcome {
    let advice = Some(
        "it may have taken the message all the same, and every further attempt may be a duplicate: see what the server, or what \
         stands before it, does after the end of a message"
            .to_owned(),
    );
    let mut outcome = Outcome::default();
    outcome.recipients.extend(flight.accepted.iter().map(|index| RecipientOutcome {
        index: *index,
        verdict: Verdict::Deferred,
        scope: Scope::Session,
        reply: reason.to_owned(),
        advice: None,
        unknown: true,
    }));
    settle_refused(&mut outcome, job, &flight, true);
    worsen(&mut outcome.trouble, Trouble::Doubt { reason: reason.to_owned(), at_least: None, advice });
    outcome
}

/// The connection broke before the final dot. Refusals that were heard stand; everybody else waits.
fn broken_off(job: &Job<'_>, mut flight: Flight, why: &Broken) -> Outcome {
    let mut outcome = Outcome::default();
    let reason = if flight.sent.is_empty() { why.to_string() } else { format!("{why} (at {})", flight.sent) };
    let in_step = !matches!(why, Broken::OutOfStep(_));
    if in_step && flight.mail_refused.is_some() {
        // What it said after that, and why it hung up, follows from it.
        return settle_flight(job, flight);
    }
    if !in_step {
        // In a flight a refusal may have been any recipient's. One by one the first of them was surely for the one asked about:
        // it stands, so that each attempt has fewer to ask about.
        flight.refused.truncate(usize::from(flight.one_by_one));
        (flight.mail_refused, flight.data) = (None, None);
    }
    settle_refused(&mut outcome, job, &flight, false);
    let goodbye = flight.refused.last().map(|(_, reply)| reply).filter(|reply| reply.code == 421);
    let answered = flight.accepted.len() + flight.refused.len();
    let unanswered = job.recipients.get(answered).copied();
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
        if flight.refused.iter().any(|(refused, _)| refused == index) {
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
    let (verdict, scope) = (Verdict::Deferred, Scope::Session);
    RecipientOutcome { index, verdict, scope, reply, advice: None, unknown: false }
}

fn fails(index: usize, reply: String, scope: Scope) -> RecipientOutcome {
    RecipientOutcome { index, verdict: Verdict::Failed, scope, reply, advice: None, unknown: false }
}

fn doubt(reason: String) -> Trouble {
    Trouble::Doubt { reason, at_least: None, advice: None }
}

fn add(outcome: &mut Outcome, job: &Job<'_>, index: usize, phase: Phase, reply: &Reply) {
    judge(outcome, job, index, phase, reply, Taken::Nobody);
}

/// Adds a recipient's outcome, and what it says of the route.
fn judge(outcome: &mut Outcome, job: &Job<'_>, index: usize, phase: Phase, reply: &Reply, taken: Taken) {
    let context = Context {
        kind: job.route.kind,
        internal: is_internal(job.from_domain, &job.envelope.recipients[index]),
        egress: job.egress,
        login: job.route.login.as_ref(),
        fallback: job.fallback.as_ref(),
        taken,
    };
    let class = classify(phase, reply, &context);
    outcome.recipients.push(RecipientOutcome {
        index,
        verdict: class.verdict,
        scope: class.scope,
        reply: reply.to_string(),
        advice: class.advice,
        unknown: false,
    });
    if let Some(trouble) = class.trouble {
        worsen(&mut outcome.trouble, trouble);
    }
}

fn is_internal(from: &Domain, recipient: &Recipient) -> bool {
    recipient.address.domain().is_some_and(|to| to.is_within(from) || from.is_within(to))
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

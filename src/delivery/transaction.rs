//! One transaction: MAIL, RCPT…, DATA, the content, the final dot. With PIPELINING the commands go in one flight
//! (RFC 2920); without, one by one.
//!
//! Promises: a recipient is delivered only after a 2xx to the final dot; a connection that breaks between the final dot and
//! its reply is reported as unknown. What the replies mean for each recipient is [`settle`]'s. A server that answers 354
//! although it refused every recipient gets an empty message, which RFC 2920 §3.1 tells us to send and RFC 5321 tells it to
//! refuse.

use std::fmt::Write as _;
use std::time::Duration;

use super::body::Unreadable;
use super::classify::Phase;
use super::connection::{Broken, Connection};
use super::job::Job;
use super::outcome::{Outcome, Scope};
use super::settings::Timeouts;
use super::settle::{self, Flight};
use crate::message::{BodyKind, Recipient, Ret};
use crate::smtp::Reply;
use crate::smtp::dsn::orcpt_in_ascii;
use crate::smtp::response::ResponseError;

/// Octets of commands in flight before replies are read: less than any socket buffer, so that neither side waits for the
/// other to read (RFC 2920 §3.1).
const FLIGHT: usize = 16 * 1024;

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

/// Runs one transaction. `reused` says that the connection has waited in the pool: then a server that closed it in the
/// meantime is no news about the message.
pub async fn run(connection: &mut Connection, job: &Job<'_>, timeouts: &Timeouts, reused: bool) -> Ending {
    let asks_for_utf8 = job.envelope.smtputf8;
    let of_message = asks_for_utf8 && job.needs_smtputf8();
    if let Some(reason) = lacks(connection, job, of_message) {
        let recipients = settle::failed(job.recipients, &reason, Scope::Message);
        return done(Outcome { recipients, ..Outcome::default() }, true);
    }
    let needs_utf8 = |index: &usize| asks_for_utf8 && job.envelope.recipients[*index].address.needs_smtputf8();
    let (in_utf8, in_ascii): (Vec<usize>, Vec<usize>) = job.recipients.iter().partition(|index| needs_utf8(index));
    if in_utf8.is_empty() || connection.extensions.smtputf8 {
        return transact(connection, job, timeouts, reused, of_message || !in_utf8.is_empty()).await;
    }
    // One such address keeps nobody else from their mail.
    let reason = "5.6.7 the address is not ASCII, and the server does not offer SMTPUTF8";
    let refused = settle::failed(&in_utf8, reason, Scope::Recipient);
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
        let outcome = settle::broken_off(job, flight, &why);
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
        return done(settle::before_content(job, flight), usable);
    }
    if !go {
        connection.reset_first = true;
        return done(settle::before_content(job, flight), true);
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
                Some(reply) => settle::at_end(job, flight, &reply, dsn),
                None => settle::broken_off(job, Flight { data: None, sent: "content", ..flight }, &why),
            };
            return done(outcome, false);
        }
        if last {
            break;
        }
    }
    match connection.reply(timeouts.data_end).await {
        Ok(reply) if reply.code / 100 != 3 => done(settle::at_end(job, flight, &reply, dsn), reply.code != 421),
        Ok(reply) => {
            done(settle::unknown(job, flight, &format!("{reply} is no answer to the end of a message")), false)
        }
        // All lines of a reply have the same code (RFC 5321 §4.2.1): how much text there is to it changes nothing.
        Err(Broken::Malformed(ResponseError::TooLong { code })) if matches!(code / 100, 2 | 4 | 5) => {
            done(settle::at_end(job, flight, &Reply::bare(code, "(with more text than any reply has)"), dsn), false)
        }
        Err(why) => done(settle::unknown(job, flight, &format!("{why} (at {})", Phase::End.as_str())), false),
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

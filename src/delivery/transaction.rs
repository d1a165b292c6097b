//! One transaction: MAIL, RCPT…, DATA, the content, the final dot. With PIPELINING the commands are sent in one flight
//! (RFC 2920), and without it one by one.
//!
//! Promises: a recipient is relayed only after a 2xx reply to the final dot. If the connection breaks between the
//! final dot and its reply, the outcome is unknown. [`interpret`] decides what the replies mean for each recipient. A
//! server that answers 354 although it refused every recipient gets an empty message: RFC 2920 §3.1 tells us to send
//! it, and RFC 5321 tells the server to refuse it.

use std::time::Duration;

use super::commands::{Command, may_refuse_parameters};
use super::connection::{Broken, Connection};
use super::interpret::{self, Flight};
use super::job::Job;
use super::outcome::{Outcome, Scope, clip};
use super::reply::classify::Phase;
use super::reply::number_of_recipients::is_about_number_of_recipients;
use super::settings::Timeouts;
use crate::message::BodyKind;
use crate::smtp::Reply;
use crate::smtp::response::ResponseError;

/// Octets of commands that are sent before replies are read. They are fewer than any socket buffer holds, so that
/// neither side waits for the other to read (RFC 2920 §3.1).
const FLIGHT: usize = 16 * 1024;

/// How a transaction ended.
pub enum Ending {
    /// Every recipient has an outcome, or stays waiting.
    Done(Done),
    /// The server's replies did not fit the commands, and the connection cannot be used any more. Sending the commands
    /// one by one may help.
    OutOfStep(Outcome),
    /// The kept connection was dead before the server answered DATA. The server accepted nothing of the message.
    Stale(Broken),
}

/// What becomes of the connection after a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It can be used again.
    Usable,
    /// It is broken, or the server closes it.
    Unusable,
}

impl After {
    /// Returns `Usable` if this is true.
    fn usable_if(is_usable: bool) -> Self {
        if is_usable { After::Usable } else { After::Unusable }
    }
}

/// The result of a transaction.
pub struct Done {
    /// The outcome for each recipient, and for the route.
    pub outcome: Outcome,
    /// What becomes of the connection.
    pub connection: After,
    /// Everybody was refused, and the replies may be about the connection.
    pub may_be_about_connection: bool,
    /// The server read the content and then refused it, with a reply that may be about the connection. The connection is closed. If it were
    /// kept, the next message would be refused over it, and be sent once more over a new one.
    pub refused_content: bool,
    /// Recipients that are missing from the outcome, because the server refused parameters that it offers. They are
    /// tried again without parameters.
    pub without_parameters: Vec<usize>,
}

impl Done {
    /// A result after which nothing is tried again.
    fn new(outcome: Outcome, connection: After) -> Self {
        Done {
            outcome,
            connection,
            may_be_about_connection: false,
            refused_content: false,
            without_parameters: Vec::new(),
        }
    }
}

/// Runs one transaction. `reused` says that the connection has served before. If the server has closed it since, that
/// says nothing about the message.
pub async fn run(connection: &mut Connection, job: &Job<'_>, timeouts: &Timeouts, reused: bool) -> Ending {
    let asks_for_utf8 = job.envelope.smtputf8;
    let of_message = asks_for_utf8 && job.needs_smtputf8();
    if let Some(reason) = lacks(connection, job, of_message) {
        let recipients = interpret::failed(job.recipients, &reason, Scope::Message);
        return done(Outcome { recipients, ..Outcome::default() }, After::Usable);
    }
    let needs_utf8 = |index: &usize| asks_for_utf8 && job.envelope.recipients[*index].address.needs_smtputf8();
    let (in_utf8, in_ascii): (Vec<usize>, Vec<usize>) = job.recipients.iter().partition(|index| needs_utf8(index));
    if in_utf8.is_empty() || connection.extensions.smtputf8 {
        return transact(connection, job, timeouts, reused, of_message || !in_utf8.is_empty()).await;
    }
    // The other recipients still get the message.
    let reason = "5.6.7 the address is not ASCII, and the server does not offer SMTPUTF8";
    let refused = interpret::failed(&in_utf8, reason, Scope::Recipient);
    if in_ascii.is_empty() {
        return done(Outcome { recipients: refused, ..Outcome::default() }, After::Usable);
    }
    let job = Job { recipients: &in_ascii, fallback: job.fallback.clone(), ..*job };
    let mut ending = transact(connection, &job, timeouts, reused, false).await;
    if let Ending::Done(Done { outcome, .. }) | Ending::OutOfStep(outcome) = &mut ending {
        outcome.recipients.extend(refused);
    }
    ending
}

/// Runs the transaction for recipients whose addresses the server can take.
async fn transact(
    connection: &mut Connection,
    job: &Job<'_>,
    timeouts: &Timeouts,
    reused: bool,
    smtputf8: bool,
) -> Ending {
    let mut flight = Flight { smtputf8, ..Flight::default() };
    if let Err(why) = send_commands(connection, job, timeouts, &mut flight).await {
        // A 421 to DATA ends the connection like one to a command before it.
        if reused && flight.data.as_ref().is_none_or(|reply| reply.code == 421) {
            return Ending::Stale(why);
        }
        if matches!(why, Broken::OutOfStep(_)) {
            return Ending::OutOfStep(interpret::broken_off(job, flight, &why));
        }
        if flight.mail_refused.is_none() {
            // These recipients are deferred with the others.
            flight.without_parameters.clear();
        }
        let without_parameters = flight.without_parameters.clone();
        let outcome = interpret::broken_off(job, flight, &why);
        return Ending::Done(Done { without_parameters, ..Done::new(outcome, After::Unusable) });
    }
    let go = flight.data.as_ref().is_some_and(|reply| reply.code == 354);
    let to_nobody = flight.mail_refused.is_some() || flight.accepted.is_empty();
    if go && !to_nobody {
        return transfer(connection, job, timeouts, flight).await;
    }
    let mut is_usable = true;
    if go {
        connection.out.extend_from_slice(b".\r\n");
        is_usable = connection.send(timeouts.data_block).await.is_ok()
            && connection.reply(timeouts.mail).await.is_ok_and(|reply| reply.code != 421);
    }
    connection.reset_first = flight.mail_refused.is_none();
    let may_be_about_connection = flight.may_be_about_connection();
    let without_parameters = flight.without_parameters.clone();
    let outcome = interpret::before_content(job, flight);
    Ending::Done(Done {
        may_be_about_connection,
        without_parameters,
        ..Done::new(outcome, After::usable_if(is_usable))
    })
}

/// Sends the commands and reads their replies. An error means that the connection cannot be used any more.
async fn send_commands(
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
        // The server takes no more recipients. The others go in another transaction, so only DATA is left to send.
        if flight.is_full() {
            sent = sent.max(commands.len() - 1);
        }
        let begun = sent;
        connection.out.clear();
        while sent < commands.len() && connection.out.len() < most {
            // Replies are known between two flights (without PIPELINING: between two commands).
            let pointless = flight.mail_refused.is_some()
                || (commands[sent] == Command::Data && sent == begun && flight.accepted.is_empty());
            if pointless {
                break;
            }
            let line = commands[sent].line(job, &connection.extensions, flight.smtputf8, job.parameters);
            connection.command(&line);
            sent += 1;
        }
        if sent == begun {
            return Ok(());
        }
        expect_silence(connection).await?;
        connection.send(timeouts.data_block).await?;
        for command in &commands[begun..sent] {
            read_reply_to(connection, job, timeouts, flight, *command).await?;
        }
    }
    // A reply that waits behind the 354 would be taken for the reply to the final dot. One behind a refusal of DATA
    // shows that the refusal may have been meant for a recipient.
    expect_silence(connection).await
}

/// Fails if octets are waiting, because every command has been answered. Only a 421 may come at any time (RFC 5321
/// §3.8).
async fn expect_silence(connection: &mut Connection) -> Result<(), Broken> {
    if !connection.says_more() {
        return Ok(());
    }
    match connection.reply(Duration::ZERO).await {
        Ok(reply) if reply.code == 421 => Err(Broken::Closed),
        Ok(reply) => Err(Broken::OutOfStep(format!("{}, to no command", clip(reply)))),
        Err(_) => Err(Broken::OutOfStep(format!("\"{}\", to no command", connection.quote_unread()))),
    }
}

/// Reads the reply to `command` and records in `flight` what it means.
async fn read_reply_to(
    connection: &mut Connection,
    job: &Job<'_>,
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
    // Only as much of a reply is kept as an outcome holds. A server may send 32 KiB for each of a thousand recipients.
    let reply = clip(connection.reply(limit).await?);
    let closing = reply.code == 421;
    let out_of_step = match command {
        Command::Rset => false,
        Command::Mail | Command::Rcpt(_) => reply.code / 100 == 3,
        Command::Data => reply.is_positive() && reply.code != 354,
    };
    if out_of_step {
        return Err(Broken::OutOfStep(reply.to_string()));
    }
    let line = |parameters| command.line(job, &connection.extensions, flight.smtputf8, parameters);
    let of_parameters = job.parameters && may_refuse_parameters(&reply) && line(true) != line(false);
    flight.answered += usize::from(matches!(command, Command::Rcpt(_)));
    match command {
        // RFC 5321 §4.1.1.5: the reply to RSET is always 250. After another reply the connection cannot be trusted.
        Command::Rset if reply.code != 250 => return Err(Broken::Closed),
        Command::Rset => connection.reset_first = false,
        Command::Mail if reply.code / 100 != 2 => {
            if of_parameters {
                flight.without_parameters = job.recipients.to_vec();
            }
            flight.mail_refused = Some(reply);
        }
        Command::Mail => {}
        Command::Rcpt(index) if reply.code / 100 == 2 => flight.accepted.push(index),
        // After a refusal of MAIL, a reply to RCPT says nothing about the recipient.
        Command::Rcpt(index) if of_parameters && flight.mail_refused.is_none() => flight.without_parameters.push(index),
        Command::Rcpt(index) if is_about_number_of_recipients(&reply) => flight.surplus.push((index, reply)),
        Command::Rcpt(index) => flight.refused.push((index, reply)),
        Command::Data => flight.data = Some(reply),
    }
    // After a 421 the server closes the connection (RFC 5321 §3.8).
    if closing { Err(Broken::Closed) } else { Ok(()) }
}

/// Sends the content, after the server has accepted recipients and answered 354.
async fn transfer(connection: &mut Connection, job: &Job<'_>, timeouts: &Timeouts, mut flight: Flight) -> Ending {
    let mut content = job.body.transfer();
    let dsn = connection.extensions.dsn && job.parameters;
    let without_parameters = std::mem::take(&mut flight.without_parameters);
    let done = |outcome, after| {
        let without_parameters = without_parameters.clone();
        Ending::Done(Done { without_parameters, ..Done::new(outcome, after) })
    };
    let ended = |flight, reply: &Reply, after| {
        let outcome = interpret::at_end(job, flight, reply, dsn);
        // A permanent refusal of this message alone says nothing about the connection.
        let refused_content = reply.is_transient() || (reply.is_permanent() && outcome.trouble.is_some());
        let without_parameters = without_parameters.clone();
        let may_be_about_connection = refused_content;
        Ending::Done(Done { may_be_about_connection, refused_content, without_parameters, ..Done::new(outcome, after) })
    };
    loop {
        connection.out.clear();
        let last = match content.fill(&mut connection.out).await {
            Ok(last) => last,
            // Half a message must not look whole, so the connection is dropped without a final dot.
            Err(why) => {
                connection.out.clear();
                return done(interpret::unread_after(job, &flight, why), After::Unusable);
            }
        };
        if let Err(why) = connection.send(timeouts.data_block).await {
            // Not all of it was sent, so the server has seen no final dot. It may have said why it stopped reading.
            return match connection.last_words().await.filter(|reply| !reply.is_positive()) {
                Some(reply) => ended(flight, &clip(reply), After::Unusable),
                None => {
                    let flight = Flight { data: None, sent: "content", surplus: Vec::new(), ..flight };
                    done(interpret::broken_off(job, flight, &why), After::Unusable)
                }
            };
        }
        if last {
            break;
        }
    }
    match connection.reply(timeouts.data_end).await {
        Ok(reply) if reply.code / 100 != 3 => {
            let after = After::usable_if(reply.code != 421);
            ended(flight, &clip(reply), after)
        }
        Ok(reply) => {
            let reason = format!("{} is no answer to the end of a message", clip(reply));
            done(interpret::unknown(job, flight, &reason), After::Unusable)
        }
        // All lines of a reply have the same code (RFC 5321 §4.2.1), so the code counts even if the text is too long.
        Err(Broken::Malformed(ResponseError::TooLong { code })) if matches!(code / 100, 2 | 4 | 5) => {
            ended(flight, &Reply::bare(code, "(with more text than any reply has)"), After::Unusable)
        }
        Err(why) => {
            done(interpret::unknown(job, flight, &format!("{why} (at {})", Phase::End.as_str())), After::Unusable)
        }
    }
}

fn done(outcome: Outcome, connection: After) -> Ending {
    Ending::Done(Done::new(outcome, connection))
}

/// Returns what the message needs and the server lacks, after its status code. Called before anything is sent.
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

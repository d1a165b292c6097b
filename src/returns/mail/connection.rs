//! One connection to the listener of returned mail. Commands go to the same session as at submission, and content through the same
//! reader: only `CRLF . CRLF` ends a message, and one with a lone CR or LF or a NUL is read to its end and refused.
//!
//! Promise: 250 to the final dot means that the message is on disk.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::inbox::{Arrival, KeepError};
use super::listener::Shared;
use crate::message::headers::fields;
use crate::smtp::{CommandError, DataReader, EnhancedCode, Flaw, Reply};
use crate::submission::connection::COMMAND_LINE;
use crate::submission::connection::lines::{Endless, Form, Line, Lines};
use crate::submission::connection::pace::Pace;
use crate::submission::connection::wire::{Read, Wire};
use crate::submission::session::{Next, Session};
use crate::submission::transaction::Transaction;
use crate::time::Timestamp;

/// Why [`Connection::run`] returned.
pub(super) enum End<S> {
    /// The conversation is over.
    Closed,
    /// STARTTLS was answered, so TLS begins on this stream.
    StartTls(Box<(S, Session)>),
}

/// Why a conversation broke off.
enum Broken {
    /// The client has closed the connection, or does not read.
    Gone,
    /// We say this reply and close.
    Farewell(Reply),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Broken::Gone
    }
}

pub(super) struct Connection<S> {
    wire: Wire<S>,
    lines: Lines,
    peer: IpAddr,
    shared: Arc<Shared>,
    session: Session,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S, peer: IpAddr, shared: Arc<Shared>, session: Session) -> Self {
        let wire = Wire::new(stream, shared.settings.limits.reply_timeout, &shared.shutdown, false);
        Connection { wire, lines: Lines::default(), peer, shared, session }
    }

    /// Says the greeting. Not called after STARTTLS, because then the client speaks first.
    pub fn greet(&mut self) {
        self.wire.say(&self.session.greeting());
    }

    /// Runs the conversation until one side ends it.
    pub async fn run(mut self) -> End<S> {
        match self.converse().await {
            Ok(true) => End::StartTls(Box::new((self.wire.into_stream(), self.session))),
            Ok(false) => {
                self.wire.close().await;
                End::Closed
            }
            Err(Broken::Gone) => End::Closed,
            Err(Broken::Farewell(reply)) => {
                self.wire.say(&reply);
                self.wire.close_gently().await;
                End::Closed
            }
        }
    }

    /// Returns true if TLS is to begin.
    async fn converse(&mut self) -> Result<bool, Broken> {
        let patience = self.shared.settings.limits.command_timeout;
        let mut until = Instant::now() + patience;
        loop {
            let mut heard = false;
            while let Some(next) = self.next_line()? {
                heard = true;
                match next {
                    Next::Say(reply) => self.wire.say(&reply),
                    Next::Quit(reply) => {
                        self.wire.say(&reply);
                        return Ok(false);
                    }
                    Next::Close(reason, reply) => return Err(self.close(reason, reply)),
                    Next::StartTls(reply) => {
                        // Commands that came along in plaintext may be an attacker's (CVE-2011-0411), so they are dropped.
                        if !self.wire.pending().is_empty() {
                            let text = "there was plaintext behind STARTTLS";
                            let reply = Reply::new(554, EnhancedCode(5, 5, 1), text);
                            return Err(self.close("starttls_injection", reply));
                        }
                        self.wire.say(&reply);
                        self.wire.flush().await?;
                        return Ok(true);
                    }
                    Next::Data(transaction) => Box::pin(self.data(transaction)).await?,
                    Next::NoData(reply) if !self.wire.pending().is_empty() => return Err(self.close("data", reply)),
                    Next::NoData(reply) => self.wire.say(&reply),
                    // Content follows, and is not to be taken for commands.
                    Next::NoChunk { reply, .. } => return Err(self.close("bdat", reply)),
                    Next::Check(_) | Next::Chunk { .. } => return Err(Broken::Gone),
                }
            }
            self.wire.flush().await?;
            // The time is for a whole command. A single octet does not extend it.
            if heard {
                until = Instant::now() + patience;
            }
            let due = self.session.deadline().map_or(until, |(due, _)| due.min(until));
            // The alarm would never ring for a client that sends as fast as we read.
            let read = if Instant::now() >= due { Read::Late } else { self.wire.read(due, true).await? };
            match read {
                Read::Some => {}
                Read::Eof => return Err(Broken::Gone),
                Read::Late => {
                    let reply = Reply::new(421, EnhancedCode(4, 4, 2), "too long without a command");
                    return Err(self.close("idle", reply));
                }
                Read::Stopping => {
                    let reply = Reply::new(421, EnhancedCode(4, 3, 2), "this server is stopping; connect again");
                    return Err(Broken::Farewell(reply));
                }
            }
        }
    }

    /// Gives the next whole line of the input to the session. Returns `None` if there is none yet.
    fn next_line(&mut self) -> Result<Option<Next>, Broken> {
        let now = Instant::now();
        let found = self.lines.next(&mut self.wire, |_| COMMAND_LINE);
        let Some(Line { len, form }) = found.map_err(|Endless| self.endless())? else { return Ok(None) };
        let line = &self.wire.pending()[..len];
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let next = match form {
            Form::Whole => self.session.line(text, now, &self.shared.addresses),
            Form::TooLong => self.session.no_line(text, &CommandError::TooLong, now),
            Form::BareLf => self.session.no_line(line, &CommandError::Octets, now),
        };
        self.wire.take(len + 1);
        Ok(Some(next))
    }

    fn endless(&self) -> Broken {
        self.close("line", Reply::new(421, EnhancedCode(4, 5, 2), "there is no end to this line"))
    }

    /// Reads a message up to its dot, keeps it, and answers.
    async fn data(&mut self, transaction: Transaction) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.settings.limits;
        let mut pace = Pace::new(transaction.started, limits);
        let mut reader = DataReader::dotted(limits.line_length);
        let (mut message, mut refusal) = (Vec::new(), None::<(&'static str, Reply)>);
        let mut share = shared.budget.share();
        self.wire.say(&Reply::bare(354, "end with <CRLF>.<CRLF>"));
        loop {
            let taken = reader.read(self.wire.pending(), |text| {
                if refusal.is_none() {
                    message.extend_from_slice(text);
                }
            });
            self.wire.take(taken.used);
            pace.octets += taken.used as u64;
            if refusal.is_none() {
                refusal = match reader.flaw() {
                    Some(flaw) => Some(flawed(flaw)),
                    None if message.len() as u64 > limits.message_size => {
                        Some(("message_size", Reply::new(552, EnhancedCode(5, 3, 4), "the message is too large")))
                    }
                    None => {
                        let waiting = Instant::now();
                        let covered = shared.budget.cover(&mut share, message.len()).await;
                        pace.excuse(waiting.elapsed());
                        covered.err().map(|_| ("bytes_in_flight", no_room()))
                    }
                };
            }
            if refusal.is_some() {
                message = Vec::new();
                share.release();
            }
            if taken.end {
                break;
            }
            self.wire.flush().await?;
            let until = pace.until(Instant::now(), limits);
            // The alarm would never ring for a client that sends as fast as we read.
            let read = if Instant::now() >= until { Read::Late } else { self.wire.read(until, false).await? };
            match read {
                Read::Some => {}
                Read::Eof | Read::Stopping => return Err(Broken::Gone),
                Read::Late => {
                    let reply = Reply::new(421, EnhancedCode(4, 4, 2), "the message came too slowly");
                    return Err(self.close("slow", reply));
                }
            }
        }
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None => self.keep(transaction, message).await,
        };
        self.session.message_over(result.is_ok());
        let reply = match result {
            Ok(()) => {
                shared.counters.taken.inc();
                Reply::new(250, EnhancedCode(2, 0, 0), "taken")
            }
            Err((reason, reply)) => {
                shared.counters.refuse(reason);
                reply
            }
        };
        match self.session.refused(reply) {
            Next::Close(reason, reply) => Err(self.close(reason, reply)),
            Next::Say(reply) => {
                self.wire.say(&reply);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Makes a message durable.
    async fn keep(&self, transaction: Transaction, message: Vec<u8>) -> Result<(), (&'static str, Reply)> {
        let now = Timestamp::now();
        let received = fields(super::read::header(&message)).flatten().filter(|field| field.is("Received")).count();
        if received > self.shared.settings.limits.received {
            return Err(("received", Reply::new(554, EnhancedCode(5, 4, 6), "this message is in a loop")));
        }
        if !self.shared.addresses.admits_message(now) {
            let reply = Reply::new(451, EnhancedCode(4, 7, 1), "too much mail; try again later");
            return Err(("messages_per_minute", reply));
        }
        let arrival = Arrival {
            at: now,
            peer: self.peer,
            client: self.session.client().0.to_owned(),
            sender: transaction.mail.path.to_string(),
            recipients: transaction.recipients.into_iter().map(|to| to.address).collect(),
        };
        let inbox = Arc::clone(&self.shared.inbox);
        let kept = tokio::task::spawn_blocking(move || inbox.keep(&arrival, &message)).await;
        self.shared.counters.waiting_bytes.set(i64::try_from(self.shared.inbox.held()).unwrap_or(i64::MAX));
        match kept {
            Ok(Ok(())) => Ok(()),
            Ok(Err(KeepError::Full)) => Err(("inbox_size", no_room())),
            Ok(Err(KeepError::Io(error))) => {
                tracing::error!("returned mail cannot be kept in {}: {error}", self.shared.inbox.dir().display());
                Err(("disk", Reply::new(451, EnhancedCode(4, 3, 0), "try again later")))
            }
            Err(_) => Err(("disk", Reply::new(451, EnhancedCode(4, 3, 0), "try again later"))),
        }
    }

    fn close(&self, reason: &'static str, reply: Reply) -> Broken {
        self.shared.counters.refuse(reason);
        Broken::Farewell(reply)
    }
}

fn no_room() -> Reply {
    Reply::new(452, EnhancedCode(4, 3, 1), "no room for the message now; try again later")
}

fn flawed(flaw: Flaw) -> (&'static str, Reply) {
    let text = match flaw {
        Flaw::BareLineEnd => "lines end with CRLF, and the message holds a lone CR or LF",
        Flaw::Nul => "the message holds a NUL",
        Flaw::LongHeaderLine | Flaw::LongLine => "the message has a line that is too long",
    };
    ("content", Reply::new(550, EnhancedCode(5, 6, 0), text))
}

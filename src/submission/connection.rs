//! A client's connection and its command loop, the same for every listener: lines go to the session, and its decisions are carried out
//! here. Logins and content, which need more than a reply, go to the listener's [`Service`].
//!
//! ```text
//! wire (octets, deadlines) ─► here: lines ─► session
//!                           └► service: credentials, content (DATA, BDAT)
//! ```
//!
//! Promises: no command is obeyed that came in plaintext behind STARTTLS, and no octet that may be content is obeyed as a command. If the
//! server stops, a running message is finished. A client between messages gets 421.

mod input;
pub(crate) mod lines;
pub(super) mod submitting;
pub(crate) mod wire;

use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::lines::{Endless, Form, Line, Lines};
use self::wire::{Read, Wire};
use super::Credentials;
use super::session::{EnvelopePolicy, Next, Overdue, Session};
use super::transaction::Transaction;
use crate::smtp::{CommandError, EnhancedCode, Reply};

/// The longest command line. RFC 5321 §4.5.3.1.4 has 512 octets, but MAIL and RCPT with all their parameters need more.
const COMMAND_LINE: usize = 4 << 10;
/// The longest line of a login (RFC 4954 §4).
const LOGIN_LINE: usize = 12_288;

/// The part of a conversation that differs between listeners. The caller boxes the futures of its methods, so that an idle connection
/// reserves no memory for them.
pub(crate) trait Service: Send {
    /// Returns the source of limits and refusals that apply to an envelope before its content.
    fn envelope_policy(&self) -> &impl EnvelopePolicy;

    /// Returns how long a whole command may take to arrive.
    fn command_timeout(&self) -> Duration;

    /// Counts a connection that the relay ends early.
    fn count_broken_off(&self, reason: &'static str);

    /// Counts a refused command.
    fn count_refused(&self, _reply: &Reply) {}

    /// Called for each line before the session's decision is carried out. The line has no LF at its end.
    fn heard(&mut self, _peer: IpAddr, _session: &Session, _line: &[u8], _next: &Next) {}

    /// Checks the credentials of a login, and answers. Not called if the session does not offer AUTH.
    fn log_in<S: Stream>(&mut self, _: &mut Connection<S>, _: Credentials) -> impl Answered {
        ready(Err(Broken::Gone))
    }

    /// Answers DATA with 354, reads the content up to its dot, and answers that.
    fn data<S: Stream>(&mut self, on: &mut Connection<S>, transaction: Transaction) -> impl Answered;

    /// Reads one chunk of a message (RFC 3030 §2), and answers. Not called if the session does not offer CHUNKING.
    fn chunk<S: Stream>(
        &mut self,
        _: &mut Connection<S>,
        _size: u64,
        _last: bool,
        _begin: Option<Transaction>,
    ) -> impl Answered {
        ready(Err(Broken::Gone))
    }

    /// Handles a refused chunk. Its octets follow, and must not be obeyed as commands.
    fn refuse_chunk<S: Stream>(&mut self, on: &mut Connection<S>, size: u64, reply: Reply) -> impl Answered;

    /// Returns when [`late`](Self::late) must be called, even if the client's own time limit has not passed.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Does what was due.
    fn late(&mut self, _peer: IpAddr, _session: &Session, _now: Instant) -> Result<(), Broken> {
        Ok(())
    }
}

/// The work of answering the client.
pub(crate) trait Answered: Future<Output = Result<(), Broken>> + Send {}

impl<F: Future<Output = Result<(), Broken>> + Send> Answered for F {}

/// A stream that a conversation runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

/// The result of [`Connection::run`].
pub(crate) enum End<S> {
    /// The conversation is over.
    Closed,
    /// STARTTLS was answered, and TLS begins on this stream.
    StartTls(Box<(S, Session)>),
}

/// Why a conversation ended early.
pub(crate) enum Broken {
    /// The client has closed the connection.
    Gone,
    /// The client does not read our replies.
    Deaf,
    /// The server stops. The client gets 421.
    Stopping,
    /// The relay sends this reply and closes. The word is the counted reason.
    Farewell(&'static str, Reply),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Broken::Deaf } else { Broken::Gone }
    }
}

impl Broken {
    /// The running message came too slowly.
    pub(crate) fn too_slow() -> Self {
        Broken::Farewell("slow", Reply::new(421, EnhancedCode(4, 4, 2), "the message came too slowly"))
    }
}

pub(crate) struct Connection<S> {
    pub(crate) wire: Wire<S>,
    pub(crate) session: Session,
    pub(crate) peer: IpAddr,
    lines: Lines,
}

impl<S: Stream> Connection<S> {
    /// `reply_timeout` is how long the client may take to read our replies.
    pub(crate) fn new(
        stream: S,
        peer: IpAddr,
        session: Session,
        reply_timeout: Duration,
        shutdown: &CancellationToken,
    ) -> Self {
        let may_log_in = session.identity().is_none();
        let wire = Wire::new(stream, reply_timeout, shutdown, may_log_in);
        Connection { wire, session, peer, lines: Lines::default() }
    }

    /// Sends the greeting. Not called after STARTTLS, because the client speaks first then.
    pub(crate) fn greet(&mut self) {
        self.wire.say(&self.session.greeting());
    }

    /// Runs the conversation until one side ends it.
    pub(crate) async fn run<T: Service>(mut self, mut service: T) -> End<S> {
        let reply = match self.converse(&mut service).await {
            Ok(true) => return End::StartTls(Box::new((self.wire.into_stream(), self.session))),
            Ok(false) => {
                self.wire.close().await;
                return End::Closed;
            }
            Err(Broken::Gone) => return End::Closed,
            Err(Broken::Deaf) => {
                service.count_broken_off("reply_timeout");
                return End::Closed;
            }
            Err(Broken::Stopping) => Reply::new(421, EnhancedCode(4, 3, 2), "this server is stopping; connect again"),
            Err(Broken::Farewell(reason, reply)) => {
                service.count_broken_off(reason);
                reply
            }
        };
        // Free the memory of a running message now, however slowly the client reads the reply.
        drop(service);
        self.wire.say(&reply);
        self.wire.close_gently().await;
        End::Closed
    }

    /// Returns true if TLS is to begin.
    async fn converse<T: Service>(&mut self, service: &mut T) -> Result<bool, Broken> {
        let patience = service.command_timeout();
        let mut until = Instant::now() + patience;
        loop {
            let mut heard = false;
            while let Some(next) = self.next_line(service)? {
                heard = true;
                match next {
                    Next::Say(reply) => self.answer(service, &reply),
                    Next::Quit(reply) => {
                        self.wire.say(&reply);
                        return Ok(false);
                    }
                    Next::Close(reason, reply) => return Err(Broken::Farewell(reason, reply)),
                    Next::StartTls(reply) => {
                        // Commands in plaintext behind STARTTLS may be an attacker's (CVE-2011-0411), so they are dropped.
                        if !self.wire.pending().is_empty() {
                            let text = "there was plaintext behind STARTTLS";
                            let reply = Reply::new(554, EnhancedCode(5, 5, 1), text);
                            return Err(Broken::Farewell("starttls_injection", reply));
                        }
                        self.wire.say(&reply);
                        self.wire.flush().await?;
                        return Ok(true);
                    }
                    // Boxed, so that an idle connection reserves no room for a login or a message.
                    Next::Check(credentials) => Box::pin(service.log_in(self, credentials)).await?,
                    Next::Data(transaction) => Box::pin(service.data(self, transaction)).await?,
                    Next::NoData(reply) if !self.wire.pending().is_empty() => {
                        return Err(Broken::Farewell("data", reply));
                    }
                    Next::NoData(reply) => self.answer(service, &reply),
                    Next::Chunk { size, last, begin } => {
                        Box::pin(service.chunk(self, size, last, begin)).await?;
                    }
                    Next::NoChunk { size, reply } => Box::pin(service.refuse_chunk(self, size, reply)).await?,
                }
            }
            self.wire.flush().await?;
            // The time limit is for a whole command. A single octet does not extend it.
            if heard {
                until = Instant::now() + patience;
            }
            let due = [Some(until), self.session.deadline().map(|(due, _)| due), service.due()];
            let due = due.into_iter().flatten().min().unwrap_or(until);
            // The timer never fires for a client that sends as fast as we read, so check the time here.
            if Instant::now() >= due {
                self.late(service, until)?;
            }
            // Await even if data is there, because Tokio lets other connections of this thread run at this point.
            match self.wire.read(due, true).await? {
                Read::Some => {}
                Read::Eof => return Err(Broken::Gone),
                Read::Late => self.late(service, until)?,
                Read::Stopping => return Err(Broken::Stopping),
            }
        }
    }

    /// Ends the connection because a time limit has passed: for a command, for the login, or for what the service waits for.
    fn late<T: Service>(&mut self, service: &mut T, until: Instant) -> Result<(), Broken> {
        let now = Instant::now();
        if now >= until {
            let reply = Reply::new(421, EnhancedCode(4, 4, 2), "too long without a command");
            return Err(Broken::Farewell("idle", reply));
        }
        match self.overdue(now) {
            Some(farewell) => Err(farewell),
            None => service.late(self.peer, &self.session, now),
        }
    }

    /// Returns the farewell to a client that has exceeded a deadline of the session.
    fn overdue(&self, now: Instant) -> Option<Broken> {
        let (_, overdue) = self.session.deadline().filter(|(due, _)| now >= *due)?;
        Some(match overdue {
            Overdue::Login => {
                let text = "too long without a login; connect again";
                Broken::Farewell("login_timeout", Reply::new(421, EnhancedCode(4, 7, 0), text))
            }
            Overdue::Envelope => Broken::too_slow(),
        })
    }

    /// Passes the next whole line to the session. Returns `None` if there is none yet.
    fn next_line<T: Service>(&mut self, service: &mut T) -> Result<Option<Next>, Broken> {
        let now = Instant::now();
        let session = &self.session;
        let is_secret = |pending: &[u8]| {
            session.is_logging_in() || pending.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
        };
        let limit_of = |pending: &[u8]| if is_secret(pending) { LOGIN_LINE } else { COMMAND_LINE };
        let found = self.lines.next(&mut self.wire, limit_of);
        let Some(Line { len, form }) = found.map_err(|Endless| endless())? else { return Ok(None) };
        let pending = self.wire.pending();
        let secret = is_secret(pending);
        let line = &pending[..len];
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let next = match form {
            Form::Whole => self.session.line(text, now, service.envelope_policy()),
            Form::TooLong => self.session.invalid_line(text, &CommandError::TooLong, now),
            Form::BareLf => self.session.invalid_line(line, &CommandError::Octets, now),
        };
        service.heard(self.peer, &self.session, line, &next);
        if secret {
            self.wire.take_secret(len + 1);
        } else {
            self.wire.take(len + 1);
        }
        Ok(Some(next))
    }

    /// Sends the reply to a command, and counts it if it is a refusal.
    pub(crate) fn answer<T: Service>(&mut self, service: &T, reply: &Reply) {
        if !reply.is_positive() {
            service.count_refused(reply);
        }
        self.wire.say(reply);
    }

    /// Sends the result of a login or a message. A refusal counts as an error of the client, and may end the connection.
    pub(crate) fn say_result(&mut self, reply: Reply) -> Result<(), Broken> {
        match self.session.refused(reply) {
            Next::Close(reason, reply) => Err(Broken::Farewell(reason, reply)),
            Next::Say(reply) => {
                self.wire.say(&reply);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn endless() -> Broken {
    Broken::Farewell("line", Reply::new(421, EnhancedCode(4, 5, 2), "there is no end to this line"))
}

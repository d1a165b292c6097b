//! One client's connection: bytes in, lines and content to the session and the intake, replies out.
//!
//! A flight of the client is read with one call and answered with one write. While a connection waits for a command it holds
//! no buffers. Every wait has a deadline. What is under way when the server stops is finished: a client between messages hears 421.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use zeroize::Zeroize;

use super::budget::Budget;
use super::intake::{self, Intake};
use super::login::{Login, Logins};
use super::policy::Identity;
use super::session::{Next, Session, Transaction};
use super::trace::Trace;
use super::{Context, Credentials, Submitters};
use crate::smtp::{DataReader, EnhancedCode, Refusal, Reply};

/// What is taken from the socket at once, at most.
const READ: usize = 64 << 10;
/// RFC 5321 §4.5.3.1.4 has 512 octets for a command line; MAIL and RCPT with all their parameters need more.
const COMMAND_LINE: usize = 4 << 10;
/// RFC 4954 §4.
const LOGIN_LINE: usize = 12_288;
/// How much of an overlong line is read away before the connection is closed.
const OVERLONG: usize = 64 << 10;
/// After an unasked-for farewell the client's last words are read away this long, for closing at once would have the kernel
/// throw our reply away.
const LINGER: Duration = Duration::from_secs(2);

/// What all connections share.
pub(super) struct Shared {
    pub(super) context: Context,
    pub(super) logins: Logins,
    pub(super) budget: Budget,
    pub(super) shutdown: CancellationToken,
}

impl Shared {
    fn submitters(&self) -> Arc<Submitters> {
        ArcSwap::load_full(&self.context.submitters)
    }
}

/// Why [`Connection::run`] returned.
pub(super) enum End<S> {
    /// Nothing more to do.
    Closed,
    /// STARTTLS was answered: TLS begins on this stream.
    StartTls(Box<(S, Session)>),
}

/// Why a conversation broke off.
enum Broken {
    /// The client is gone, or does not read.
    Gone,
    /// Says this and closes.
    Farewell(Reply),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Broken::Gone
    }
}

/// What came of a read.
enum Read {
    Some,
    Eof,
    Late,
    Stopping,
}

/// A message that arrives in chunks.
struct Chunked {
    intake: Intake,
    reader: DataReader,
    pace: Pace,
}

/// When a message is too slow.
struct Pace {
    begun: Instant,
    deadline: Instant,
    octets: u64,
}

pub(super) struct Connection<S> {
    stream: S,
    peer: IpAddr,
    tls: Option<(&'static str, &'static str)>,
    shared: Arc<Shared>,
    session: Session,
    input: Vec<u8>,
    /// Octets of `input` that are dealt with.
    taken: usize,
    output: Vec<u8>,
    alarm: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    chunked: Option<Box<Chunked>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        peer: IpAddr,
        tls: Option<(&'static str, &'static str)>,
        shared: Arc<Shared>,
        session: Session,
    ) -> Self {
        let alarm = Box::pin(tokio::time::sleep(shared.context.limits.command_timeout));
        let stopping = Box::pin(shared.shutdown.clone().cancelled_owned());
        Connection {
            stream,
            peer,
            tls,
            shared,
            session,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            alarm,
            stopping,
            chunked: None,
        }
    }

    /// Says hello. Not called after STARTTLS, where the client speaks first.
    pub(super) fn greet(&mut self) {
        self.session.greeting().write_to(&mut self.output);
    }

    /// Talks until one side has had enough.
    pub(super) async fn run(mut self) -> End<S> {
        match self.converse().await {
            Ok(true) => End::StartTls(Box::new((self.stream, self.session))),
            Ok(false) => {
                // QUIT is answered at once and the socket closed: the client waits for nothing else.
                let _ = self.flush().await;
                let _ = self.stream.shutdown().await;
                End::Closed
            }
            Err(Broken::Gone) => End::Closed,
            Err(Broken::Farewell(reply)) => {
                self.chunked = None;
                reply.write_to(&mut self.output);
                if self.flush().await.is_ok() && self.stream.shutdown().await.is_ok() {
                    self.linger().await;
                }
                End::Closed
            }
        }
    }

    /// Returns whether TLS is to begin.
    async fn converse(&mut self) -> Result<bool, Broken> {
        let patience = self.shared.context.limits.command_timeout;
        let mut until = Instant::now() + patience;
        loop {
            let mut heard = false;
            while let Some(next) = self.next_line()? {
                heard = true;
                if !self.session.is_chunking() {
                    self.chunked = None;
                }
                match next {
                    Next::Say(reply) => reply.write_to(&mut self.output),
                    Next::Close(reply) if reply.code == 221 => {
                        reply.write_to(&mut self.output);
                        return Ok(false);
                    }
                    Next::Close(reply) => {
                        self.shared.context.counters.refuse_connection("limit");
                        return Err(Broken::Farewell(reply));
                    }
                    Next::StartTls(reply) => {
                        // What came along in plaintext may be an attacker's (CVE-2011-0411): it is not obeyed.
                        if self.taken < self.input.len() {
                            self.shared.context.counters.refuse_connection("starttls_injection");
                            let text = "there was plaintext behind STARTTLS";
                            return Err(Broken::Farewell(Reply::new(554, EnhancedCode(5, 5, 1), text)));
                        }
                        reply.write_to(&mut self.output);
                        self.flush().await?;
                        return Ok(true);
                    }
                    // Boxed, as messages are: an idle connection has no room set aside for what it is not doing.
                    Next::Check(credentials) => Box::pin(self.log_in(credentials)).await?,
                    Next::Data(transaction) => Box::pin(self.data(transaction)).await?,
                    Next::NoData(reply) if self.taken < self.input.len() => return Err(Broken::Farewell(reply)),
                    Next::NoData(reply) => reply.write_to(&mut self.output),
                    Next::Chunk { size, last, begin } => Box::pin(self.chunk(size, last, begin)).await?,
                    Next::NoChunk { size, reply } => {
                        Box::pin(self.read_away(size)).await?;
                        reply.write_to(&mut self.output);
                    }
                }
            }
            self.flush().await?;
            // The time is for a whole command: an octet now and then does not extend it.
            if heard {
                until = Instant::now() + patience;
            }
            // Between two chunks the message's own time runs on, for its memory is held.
            let content = self.chunked.as_ref().map(|chunked| self.content_until(&chunked.pace));
            match self.read(content.map_or(until, |content| content.min(until)), true).await? {
                Read::Some => {}
                Read::Eof => return Err(Broken::Gone),
                Read::Late if content.is_some_and(|content| content < until) => return Err(self.too_slow()),
                Read::Late => return Err(self.farewell("idle", 2, "too long without a command")),
                Read::Stopping => {
                    let reply = Reply::new(421, EnhancedCode(4, 3, 2), "this server is stopping; connect again");
                    return Err(Broken::Farewell(reply));
                }
            }
        }
    }

    /// Takes the next whole line from the input to the session; `None` where there is none yet.
    fn next_line(&mut self) -> Result<Option<Next>, Broken> {
        let now = Instant::now();
        let pending = &self.input[self.taken..];
        let limit = if self.session.is_logging_in() { LOGIN_LINE } else { COMMAND_LINE };
        let Some(len) = memchr::memchr(b'\n', pending) else {
            if pending.len() > OVERLONG {
                let reply = Reply::new(421, EnhancedCode(4, 5, 2), "there is no end to this line");
                return Err(Broken::Farewell(reply));
            }
            return Ok(None);
        };
        let line = &pending[..len];
        let secret =
            self.session.is_logging_in() || line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
        let next = match line.strip_suffix(b"\r") {
            Some(line) if line.len() > limit => self.session.no_line(&Refusal::Syntax("a shorter line"), now),
            Some(line) => {
                let context = &self.shared.context;
                self.session.line(line, now, |path| intake::carries(path, context))
            }
            // A lone LF is how one command is smuggled past whoever splits lines at CRLF only.
            None => self.session.no_line(&Refusal::Octets, now),
        };
        let end = self.taken + len + 1;
        if secret {
            self.input[self.taken..end].zeroize();
        }
        self.taken = end;
        Ok(Some(next))
    }

    async fn log_in(&mut self, credentials: Credentials) -> Result<(), Broken> {
        // A wrong login is answered late: what was said before must not wait for it.
        self.flush().await?;
        let shared = Arc::clone(&self.shared);
        let checked = shared.logins.check(shared.submitters(), credentials, self.peer).await;
        let counters = &shared.context.counters;
        let refusal = match checked {
            Login::Right { submitter, remembered } => {
                counters.login(if remembered { "cached" } else { "verified" });
                let reply = self.session.logged_in(Identity::Submitter(submitter));
                reply.write_to(&mut self.output);
                return Ok(());
            }
            Login::Wrong => {
                counters.login("failed");
                tracing::warn!(peer = %self.peer, "login failed");
                // RFC 4954 §6.
                Reply::new(535, EnhancedCode(5, 7, 8), "name or password is wrong")
            }
            Login::Throttled => {
                counters.login("throttled");
                Reply::new(454, EnhancedCode(4, 7, 0), "too many wrong logins from this address; try again later")
            }
            Login::Busy => {
                counters.login("busy");
                Reply::new(454, EnhancedCode(4, 7, 0), "too many logins at once; try again later")
            }
        };
        self.say_refusal(refusal)
    }

    fn say_refusal(&mut self, reply: Reply) -> Result<(), Broken> {
        match self.session.refused(reply) {
            Next::Close(reply) => Err(Broken::Farewell(reply)),
            Next::Say(reply) => {
                reply.write_to(&mut self.output);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads a message up to its dot.
    async fn data(&mut self, transaction: Transaction) -> Result<(), Broken> {
        Reply::bare(354, "end with <CRLF>.<CRLF>").write_to(&mut self.output);
        let shared = Arc::clone(&self.shared);
        let (context, limits) = (&shared.context, &shared.context.limits);
        let mut pace = Pace::new(&transaction, context);
        let mut intake = self.intake(transaction)?;
        let mut reader = DataReader::dotted(limits.line_length);
        loop {
            let taken = reader.read(&self.input[self.taken..], |text| intake.push(text, context));
            self.taken += taken.used;
            pace.octets += taken.used as u64;
            if let Some(flaw) = reader.flaw() {
                intake.refuse(intake::flawed(flaw, limits));
            }
            if taken.end {
                break;
            }
            self.cover(&mut intake).await;
            self.flush().await?;
            self.read_content(&pace).await?;
        }
        self.finish(intake, true).await
    }

    /// Reads one chunk of a message (RFC 3030 §2).
    async fn chunk(&mut self, size: u64, last: bool, begin: Option<Transaction>) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let (context, limits) = (&shared.context, &shared.context.limits);
        if let Some(transaction) = begin {
            let pace = Pace::new(&transaction, context);
            let intake = self.intake(transaction)?;
            let reader = DataReader::counted(limits.line_length);
            self.chunked = Some(Box::new(Chunked { intake, reader, pace }));
        }
        let Some(mut chunked) = self.chunked.take() else { return Err(Broken::Gone) };
        // Small chunks are read together with their commands: nothing below would look at the clock.
        if Instant::now() >= chunked.pace.deadline {
            return Err(self.too_slow());
        }
        let mut missing = size;
        loop {
            let pending = &self.input[self.taken..];
            let len = pending.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            chunked.reader.read(&pending[..len], |text| chunked.intake.push(text, context));
            self.taken += len;
            missing -= len as u64;
            chunked.pace.octets += len as u64;
            if missing == 0 && last {
                chunked.reader.finish();
            }
            if let Some(flaw) = chunked.reader.flaw() {
                chunked.intake.refuse(intake::flawed(flaw, limits));
            }
            if missing == 0 {
                break;
            }
            self.cover(&mut chunked.intake).await;
            self.flush().await?;
            self.read_content(&chunked.pace).await?;
        }
        if last || chunked.intake.is_refused() {
            // RFC 3030 §2: after a refusal the chunks still to come are answered with 503.
            self.session.message_over();
            let ends_with_line = chunked.reader.is_at_line_start();
            return self.finish(chunked.intake, ends_with_line).await;
        }
        // A chunk that came in one piece is not accounted yet, and the message goes on being held.
        self.cover(&mut chunked.intake).await;
        if chunked.intake.is_refused() {
            self.session.message_over();
            return self.finish(chunked.intake, true).await;
        }
        self.chunked = Some(chunked);
        Reply::new(250, EnhancedCode(2, 0, 0), format!("{size} octets taken")).write_to(&mut self.output);
        Ok(())
    }

    async fn read_away(&mut self, size: u64) -> Result<(), Broken> {
        let begun = Instant::now();
        let deadline = begun + self.shared.context.limits.transaction_timeout;
        let mut pace = Pace { begun, deadline, octets: 0 };
        loop {
            let missing = usize::try_from(size - pace.octets).unwrap_or(usize::MAX);
            let len = missing.min(self.input.len() - self.taken);
            self.taken += len;
            pace.octets += len as u64;
            if pace.octets == size {
                return Ok(());
            }
            self.flush().await?;
            self.read_content(&pace).await?;
        }
    }

    fn intake(&mut self, transaction: Transaction) -> Result<Intake, Broken> {
        let identity = self.session.identity().cloned().ok_or(Broken::Gone)?;
        let limits = &self.shared.context.limits;
        Ok(Intake::new(transaction, identity, limits, self.shared.budget.share()))
    }

    /// Signs, stores and answers. The client may be gone meanwhile: what was begun is finished.
    async fn finish(&mut self, intake: Intake, ends_with_line: bool) -> Result<(), Broken> {
        let (client, extended) = self.session.client();
        let trace = Trace {
            peer: self.peer,
            client: client.to_owned(),
            extended,
            tls: self.tls,
            authenticated: matches!(self.session.identity(), Some(Identity::Submitter(_))),
        };
        let reply = intake.finish(ends_with_line, &trace, &self.shared.context).await;
        self.session.message_over();
        self.say_refusal(reply)
    }

    /// Waits for memory before more is read.
    async fn cover(&self, intake: &mut Intake) {
        let held = intake.held();
        if held > 0 && self.shared.budget.cover(&mut intake.share, held).await.is_err() {
            intake.refuse(intake::no_room());
        }
    }

    /// Reads more of a message.
    async fn read_content(&mut self, pace: &Pace) -> Result<(), Broken> {
        match self.read(self.content_until(pace), false).await? {
            Read::Some => Ok(()),
            Read::Eof | Read::Stopping => Err(Broken::Gone),
            Read::Late => Err(self.too_slow()),
        }
    }

    /// How long more of a message is waited for.
    fn content_until(&self, pace: &Pace) -> Instant {
        let limits = &self.shared.context.limits;
        pace.until(Instant::now(), limits.data_timeout, limits.minimum_rate, limits.minimum_rate_grace)
    }

    fn too_slow(&self) -> Broken {
        self.farewell("slow", 2, "the message came too slowly")
    }

    fn farewell(&self, reason: &'static str, detail: u16, text: &str) -> Broken {
        self.shared.context.counters.refuse_connection(reason);
        Broken::Farewell(Reply::new(421, EnhancedCode(4, 4, detail), text))
    }

    /// Reads what there is. With `idle`, also returns when the server stops.
    async fn read(&mut self, until: Instant, idle: bool) -> io::Result<Read> {
        self.input.drain(..self.taken);
        self.taken = 0;
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        let Connection { stream, input, alarm, stopping, .. } = self;
        poll_fn(|cx| {
            // On the stack and only for as long as this poll takes: a connection that waits holds no buffer.
            let mut space = [const { MaybeUninit::<u8>::uninit() }; READ];
            let mut read = ReadBuf::uninit(&mut space);
            if let Poll::Ready(done) = Pin::new(&mut *stream).poll_read(cx, &mut read) {
                let filled = read.filled();
                input.extend_from_slice(filled);
                return Poll::Ready(done.map(|()| if filled.is_empty() { Read::Eof } else { Read::Some }));
            }
            if idle && stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Read::Stopping));
            }
            // The alarm is set anew only when it rings too early or would ring too late: not for every read.
            if alarm.deadline() > until {
                alarm.as_mut().reset(until);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                if Instant::now() >= until {
                    return Poll::Ready(Ok(Read::Late));
                }
                alarm.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }

    /// Writes all replies that wait.
    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let stream = &mut self.stream;
        let written = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        tokio::time::timeout(self.shared.context.limits.reply_timeout, written)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn linger(&mut self) {
        let until = Instant::now() + LINGER;
        while let Ok(Read::Some) = self.read(until, false).await {
            self.taken = self.input.len();
        }
    }
}

impl Pace {
    fn new(transaction: &Transaction, context: &Context) -> Self {
        let deadline = transaction.started + context.limits.transaction_timeout;
        Pace { begun: Instant::now(), deadline, octets: 0 }
    }

    /// How long to wait for more: no longer than DATA may stand still, than the message may take, and than what has come so far
    /// has earned at the minimum rate.
    fn until(&self, now: Instant, data_timeout: Duration, rate: u64, grace: Duration) -> Instant {
        let earned = Duration::from_secs(self.octets / rate.max(1));
        (now + data_timeout).min(self.deadline).min(self.begun + grace + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_message_earns_time_by_its_octets() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace { begun, deadline: begun + 600 * second, octets: 0 };
        let until = |pace: &Pace, at: u32| pace.until(begun + at * second, 180 * second, 1000, 30 * second) - begun;
        assert_eq!(until(&pace, 0), 30 * second);
        pace.octets = 20_000;
        assert_eq!(until(&pace, 0), 50 * second);
        pace.octets = 10_000_000;
        assert_eq!(until(&pace, 0), 180 * second);
        assert_eq!(until(&pace, 500), 600 * second);
    }
}

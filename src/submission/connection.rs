//! One client's connection: passes lines to the session, credentials to the logins and content to the intake, and writes the replies.
//!
//! ```text
//! wire (octets, deadlines) ─► here: lines ─► session
//!                           └► content (DATA, BDAT) ─► intake        pace: when a message is too slow
//! ```
//!
//! If the server stops, a message that is under way is finished. A client between messages hears 421.

mod content;
mod input;
pub(crate) mod lines;
pub(crate) mod pace;
pub(crate) mod wire;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::content::Chunked;
use self::lines::{Endless, Form, Line, Lines};
use self::wire::{Read, Wire};
use super::budget::Budget;
use super::login::{Login, Logins};
use super::policy::{self, Identity};
use super::refusals::{Refusals, Who};
use super::session::{Customers, Next, Overdue, Session, is_of_envelope};
use super::suppressed::{self, SUPPRESSED};
use super::{Context, Credentials, Submitters};
use crate::smtp::{Command, CommandError, EnhancedCode, Mailbox, Reply, ReversePath};

/// The longest command line. RFC 5321 §4.5.3.1.4 has 512 octets, but MAIL and RCPT with all their parameters need more.
pub(crate) const COMMAND_LINE: usize = 4 << 10;
/// The longest line of a login (RFC 4954 §4).
const LOGIN_LINE: usize = 12_288;

/// The parts that all connections of a listener share.
pub(super) struct Shared {
    pub(super) context: Context,
    pub(super) logins: Logins,
    pub(super) budget: Budget,
    pub(super) refusals: Refusals,
    pub(super) shutdown: CancellationToken,
}

impl Shared {
    fn submitters(&self) -> Arc<Submitters> {
        ArcSwap::load_full(&self.context.submitters)
    }
}

impl Customers for Context {
    fn carries(&self, sender: &ReversePath) -> u64 {
        policy::carries(&self.routing.view(), sender)
    }

    fn refuses(&self, identity: &Identity, sender: &ReversePath, recipient: &Mailbox) -> Option<Reply> {
        suppressed::at_rcpt(self, identity, sender, recipient)
    }
}

/// Why [`Connection::run`] returned.
pub(super) enum End<S> {
    /// The conversation is over.
    Closed,
    /// STARTTLS was answered, so TLS begins on this stream.
    StartTls(Box<(S, Session)>),
}

/// Why a conversation broke off.
enum Broken {
    /// The client has closed the connection.
    Gone,
    /// The client does not read our replies.
    Deaf,
    /// We say this reply and close.
    Farewell(Reply),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Broken::Deaf } else { Broken::Gone }
    }
}

pub(super) struct Connection<S> {
    wire: Wire<S>,
    peer: IpAddr,
    tls: Option<(&'static str, &'static str)>,
    shared: Arc<Shared>,
    session: Session,
    chunked: Option<Box<Chunked>>,
    lines: Lines,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        peer: IpAddr,
        tls: Option<(&'static str, &'static str)>,
        shared: Arc<Shared>,
        session: Session,
    ) -> Self {
        let may_log_in = session.identity().is_none();
        let wire = Wire::new(stream, shared.context.limits.reply_timeout, &shared.shutdown, may_log_in);
        Connection { wire, peer, tls, shared, session, chunked: None, lines: Lines::default() }
    }

    /// Says the greeting. Not called after STARTTLS, because then the client speaks first.
    pub(super) fn greet(&mut self) {
        self.wire.say(&self.session.greeting());
    }

    /// Runs the conversation until one side ends it.
    pub(super) async fn run(mut self) -> End<S> {
        match self.converse().await {
            Ok(true) => End::StartTls(Box::new((self.wire.into_stream(), self.session))),
            Ok(false) => {
                self.wire.close().await;
                End::Closed
            }
            Err(Broken::Gone) => End::Closed,
            Err(Broken::Deaf) => {
                self.shared.context.counters.refuse_connection("reply_timeout");
                End::Closed
            }
            Err(Broken::Farewell(reply)) => {
                self.chunked = None;
                self.wire.say(&reply);
                self.wire.close_gently().await;
                End::Closed
            }
        }
    }

    /// Returns true if TLS is to begin.
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
                    Next::Say(reply) => self.answer(&reply),
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
                    // Boxed, like messages, so that an idle connection reserves no room for it.
                    Next::Check(credentials) => Box::pin(self.log_in(credentials)).await?,
                    Next::Data(transaction) => Box::pin(self.data(transaction)).await?,
                    Next::NoData(reply) if !self.wire.pending().is_empty() => return Err(self.close("data", reply)),
                    Next::NoData(reply) => self.answer(&reply),
                    Next::Chunk { size, last, begin } => Box::pin(self.chunk(size, last, begin)).await?,
                    Next::NoChunk { size, reply } => {
                        Box::pin(self.read_away(size)).await?;
                        self.answer(&reply);
                    }
                }
            }
            self.wire.flush().await?;
            // The time is for a whole command. A single octet does not extend it.
            if heard {
                until = Instant::now() + patience;
            }
            let due = [Some(until), self.session.deadline().map(|(due, _)| due), self.chunk_due()];
            let due = due.into_iter().flatten().min().unwrap_or(until);
            // The alarm would never ring for a client that sends as fast as we read.
            if Instant::now() >= due {
                self.late(until)?;
            }
            // Await in any case, even if it returns at once: here Tokio lets other connections of this thread run.
            match self.wire.read(due, true).await? {
                Read::Some => {}
                Read::Eof => return Err(Broken::Gone),
                Read::Late => self.late(until)?,
                Read::Stopping => return Err(self.stopping()),
            }
        }
    }

    /// Ends the connection, because time has run out: for a whole command, for the next chunk of a message, or for the login.
    fn late(&mut self, until: Instant) -> Result<(), Broken> {
        let now = Instant::now();
        if now >= until {
            return Err(self.farewell("idle", EnhancedCode(4, 4, 2), "too long without a command"));
        }
        match self.overdue(now) {
            Some(farewell) => Err(farewell),
            None => self.chunk_late(now),
        }
    }

    /// Makes the farewell to a client that should have come further by now.
    fn overdue(&self, now: Instant) -> Option<Broken> {
        let (_, overdue) = self.session.deadline().filter(|(due, _)| now >= *due)?;
        Some(match overdue {
            Overdue::Login => {
                self.farewell("login_timeout", EnhancedCode(4, 7, 0), "too long without a login; connect again")
            }
            Overdue::Envelope => self.too_slow(),
        })
    }

    fn stopping(&self) -> Broken {
        Broken::Farewell(Reply::new(421, EnhancedCode(4, 3, 2), "this server is stopping; connect again"))
    }

    /// Gives the next whole line of the input to the session. Returns `None` if there is none yet.
    fn next_line(&mut self) -> Result<Option<Next>, Broken> {
        let now = Instant::now();
        let session = &self.session;
        let is_secret = |pending: &[u8]| {
            session.is_logging_in() || pending.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
        };
        let limit_of = |pending: &[u8]| if is_secret(pending) { LOGIN_LINE } else { COMMAND_LINE };
        let found = self.lines.next(&mut self.wire, limit_of);
        let Some(Line { len, form }) = found.map_err(|Endless| self.endless())? else { return Ok(None) };
        let pending = self.wire.pending();
        let secret = is_secret(pending);
        let line = &pending[..len];
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let next = match form {
            Form::Whole => self.session.line(text, now, &self.shared.context),
            Form::TooLong => self.session.no_line(text, &CommandError::TooLong, now),
            Form::BareLf => self.session.no_line(line, &CommandError::Octets, now),
        };
        if let Next::Say(reply) | Next::Close("errors", reply) = &next
            && !reply.is_positive()
            && is_of_envelope(line)
        {
            let who = Who { peer: self.peer, identity: self.session.identity() };
            match (self.session.sender(), Command::parse(text)) {
                (Some(sender), Ok(Command::Rcpt(rcpt))) if reply.enhanced == Some(SUPPRESSED) => {
                    suppressed::tell_of_refused(&self.shared.context, who, sender, &rcpt.address, reply);
                }
                (sender, _) => self.shared.refusals.command(who, sender, text, reply),
            }
        }
        if secret {
            self.wire.take_secret(len + 1);
        } else {
            self.wire.take(len + 1);
        }
        Ok(Some(next))
    }

    fn endless(&self) -> Broken {
        self.close("line", Reply::new(421, EnhancedCode(4, 5, 2), "there is no end to this line"))
    }

    async fn log_in(&mut self, credentials: Credentials) -> Result<(), Broken> {
        // A wrong login is answered late, and earlier replies must not wait for it.
        self.wire.flush().await?;
        let shared = Arc::clone(&self.shared);
        let check = shared.logins.check(shared.submitters(), credentials, self.peer);
        // A stop waits neither for the checks of others nor for the delay of a wrong login.
        let Some(checked) = shared.shutdown.run_until_cancelled(check).await else { return Err(self.stopping()) };
        let counters = &shared.context.counters;
        let refusal = match checked {
            Login::Right { submitter, remembered } => {
                counters.login(if remembered { "cached" } else { "verified" });
                let reply = self.session.logged_in(Identity::Submitter(submitter));
                self.wire.is_not_secret();
                self.wire.say(&reply);
                return Ok(());
            }
            Login::Wrong { username } => {
                counters.login("failed");
                shared.refusals.login(self.peer, &username);
                // RFC 4954 §6.
                Reply::new(535, EnhancedCode(5, 7, 8), "name or password is wrong")
            }
            Login::Throttled => {
                counters.login("throttled");
                Reply::new(454, EnhancedCode(4, 7, 0), "too many wrong logins; try again later")
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
            Next::Close(reason, reply) => Err(self.close(reason, reply)),
            Next::Say(reply) => {
                self.wire.say(&reply);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn farewell(&self, reason: &'static str, enhanced: EnhancedCode, text: &str) -> Broken {
        self.close(reason, Reply::new(421, enhanced, text))
    }

    fn close(&self, reason: &'static str, reply: Reply) -> Broken {
        self.shared.context.counters.refuse_connection(reason);
        Broken::Farewell(reply)
    }

    /// Says the reply to a command, and counts it if it is a refusal.
    fn answer(&mut self, reply: &Reply) {
        if !reply.is_positive() {
            self.shared.context.counters.refuse_command(reply);
        }
        self.wire.say(reply);
    }
}

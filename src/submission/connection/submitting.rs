//! The service of submission: checks logins, reports refused recipients, and reads content.

mod content;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::content::Chunked;
use super::{Broken, Connection, Service, Stream};
use crate::smtp::{Command, EnhancedCode, Mailbox, Reply, ReversePath};
use crate::submission::admission::Admission;
use crate::submission::client::Client;
use crate::submission::listener::Encryption;
use crate::submission::login::{Login, Logins};
use crate::submission::policy::{self, Identity};
use crate::submission::refusals::Refusals;
use crate::submission::session::{EnvelopePolicy, Next, Session, is_of_envelope};
use crate::submission::suppressed::{self, SUPPRESSED};
use crate::submission::transaction::Transaction;
use crate::submission::{Context, Credentials, Submitters};

/// The state that all connections of submission share.
pub(in crate::submission) struct Shared {
    pub(in crate::submission) context: Context,
    pub(in crate::submission) logins: Logins,
    pub(in crate::submission) admission: Arc<Admission>,
    pub(in crate::submission) refusals: Refusals,
    pub(in crate::submission) shutdown: CancellationToken,
}

impl Shared {
    fn submitters(&self) -> Arc<Submitters> {
        ArcSwap::load_full(&self.context.submitters)
    }
}

impl EnvelopePolicy for Context {
    fn accepts_up_to(&self, sender: &ReversePath) -> u64 {
        policy::accepts_up_to(&self.routing.view(), sender)
    }

    fn refusal_of(&self, identity: &Identity, sender: &ReversePath, recipient: &Mailbox) -> Option<Reply> {
        suppressed::at_rcpt(self, identity, sender, recipient)
    }
}

/// The state of one connection.
pub(in crate::submission) struct Submitting {
    shared: Arc<Shared>,
    tls: Option<Encryption>,
    /// The message that arrives in chunks, if there is one.
    chunked: Option<Box<Chunked>>,
}

impl Submitting {
    pub(in crate::submission) fn new(shared: &Arc<Shared>, tls: Option<Encryption>) -> Self {
        Submitting { shared: Arc::clone(shared), tls, chunked: None }
    }
}

impl Service for Submitting {
    fn envelope_policy(&self) -> &impl EnvelopePolicy {
        &self.shared.context
    }

    fn command_timeout(&self) -> Duration {
        self.shared.context.limits.command_timeout
    }

    fn count_broken_off(&self, reason: &'static str) {
        self.shared.context.counters.refuse_connection(reason);
    }

    fn count_refused(&self, reply: &Reply) {
        self.shared.context.counters.refuse_command(reply);
    }

    /// Reports a refused MAIL or RCPT, and drops a message in chunks that the client has given up.
    fn heard(&mut self, peer: IpAddr, session: &Session, line: &[u8], next: &Next) {
        if let Next::Say(reply) | Next::Close("errors", reply) = next
            && !reply.is_positive()
            && is_of_envelope(line)
        {
            let client = Client { peer, identity: session.identity() };
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            match (session.sender(), Command::parse(text)) {
                (Some(sender), Ok(Command::Rcpt(rcpt))) if reply.enhanced == Some(SUPPRESSED) => {
                    suppressed::tell_of_refused(&self.shared.context, client, sender, &rcpt.address, reply);
                }
                (sender, _) => self.shared.refusals.command(client, sender, text, reply),
            }
        }
        if !session.is_chunking() {
            self.chunked = None;
        }
    }

    async fn log_in<S: Stream>(&mut self, on: &mut Connection<S>, credentials: Credentials) -> Result<(), Broken> {
        // A wrong login is answered with a delay, and earlier replies must not wait for it.
        on.wire.flush().await?;
        let shared = &self.shared;
        let check = shared.logins.check(shared.submitters(), credentials, on.peer);
        // A stop does not wait for other checks, nor for the delay of a wrong login.
        let Some(checked) = shared.shutdown.run_until_cancelled(check).await else { return Err(Broken::Stopping) };
        let counters = &shared.context.counters;
        let refusal = match checked {
            Login::Right { submitter, remembered } => {
                counters.login(if remembered { "cached" } else { "verified" });
                let reply = on.session.logged_in(Identity::Submitter(submitter));
                on.wire.end_secrecy();
                on.wire.say(&reply);
                return Ok(());
            }
            Login::Wrong { username } => {
                counters.login("failed");
                shared.refusals.login(on.peer, &username);
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
        on.say_result(refusal)
    }

    async fn data<S: Stream>(&mut self, on: &mut Connection<S>, transaction: Transaction) -> Result<(), Broken> {
        self.read_message(on, transaction).await
    }

    async fn chunk<S: Stream>(
        &mut self,
        on: &mut Connection<S>,
        size: u64,
        last: bool,
        begin: Option<Transaction>,
    ) -> Result<(), Broken> {
        self.read_chunk(on, size, last, begin).await
    }

    async fn refuse_chunk<S: Stream>(&mut self, on: &mut Connection<S>, size: u64, reply: Reply) -> Result<(), Broken> {
        self.discard_chunk(on, size).await?;
        on.answer(self, &reply);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.chunk_due()
    }

    fn late(&mut self, peer: IpAddr, session: &Session, now: Instant) -> Result<(), Broken> {
        self.chunk_late(Client { peer, identity: session.identity() }, now)
    }
}

//! The service of the listener for returned mail. Commands use the same session as submission, and content the same reader: only `CRLF .
//! CRLF` ends a message, and one with a lone CR or LF or a NUL is read to its end and refused.
//!
//! Promise: 250 to the final dot means that the message is on disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::addresses::Addresses;
use super::counters::Counters;
use super::inbox::{Arrival, Inbox, KeepError};
use crate::message::headers::fields;
use crate::smtp::{DataReader, EnhancedCode, Flaw, Reply};
use crate::submission::admission::Admission;
use crate::submission::connection::wire::Read;
use crate::submission::connection::{Broken, Connection, Service, Stream};
use crate::submission::session::EnvelopePolicy;
use crate::submission::transaction::Transaction;
use crate::time::Timestamp;

/// The state that all connections of returned mail share.
pub(super) struct Shared {
    pub settings: Arc<Settings>,
    pub addresses: Addresses,
    pub inbox: Arc<Inbox>,
    pub admission: Arc<Admission>,
    pub counters: Counters,
    pub shutdown: CancellationToken,
}

/// The state of one connection.
pub(super) struct Returning {
    shared: Arc<Shared>,
}

impl Returning {
    pub fn new(shared: &Arc<Shared>) -> Self {
        Returning { shared: Arc::clone(shared) }
    }
}

impl Service for Returning {
    fn envelope_policy(&self) -> &impl EnvelopePolicy {
        &self.shared.addresses
    }

    fn command_timeout(&self) -> Duration {
        self.shared.settings.limits.command_timeout
    }

    fn count_broken_off(&self, reason: &'static str) {
        self.shared.counters.refuse(reason);
    }

    /// Reads a message up to its dot, stores it, and answers.
    async fn data<S: Stream>(&mut self, on: &mut Connection<S>, mut transaction: Transaction) -> Result<(), Broken> {
        let shared = &self.shared;
        let limits = &shared.settings.limits;
        let admitted = &mut transaction.admitted;
        admitted.begin_content();
        let mut reader = DataReader::dotted(limits.line_length);
        let (mut message, mut refusal) = (Vec::new(), None::<(&'static str, Reply)>);
        on.wire.say(&Reply::bare(354, "end with <CRLF>.<CRLF>"));
        loop {
            let taken = reader.read(on.wire.pending(), |text| {
                if refusal.is_none() {
                    message.extend_from_slice(text);
                }
            });
            on.wire.take(taken.used);
            admitted.add_received(taken.used);
            if refusal.is_none() {
                refusal = match reader.flaw() {
                    Some(flaw) => Some(flawed(flaw)),
                    None if message.len() as u64 > limits.message_size => {
                        Some(("message_size", Reply::new(552, EnhancedCode(5, 3, 4), "the message is too large")))
                    }
                    None => {
                        let covered = admitted.cover(message.len()).await;
                        covered.err().map(|_| ("bytes_in_flight", no_room()))
                    }
                };
            }
            if refusal.is_some() {
                message = Vec::new();
                admitted.release();
            }
            if taken.end {
                break;
            }
            on.wire.flush().await?;
            let until = admitted.content_until(Instant::now());
            // The timer never fires for a client that sends as fast as we read, so check the time here.
            let read = if Instant::now() >= until { Read::Late } else { on.wire.read(until, false).await? };
            match read {
                Read::Some => {}
                Read::Eof | Read::Stopping => return Err(Broken::Gone),
                Read::Late => return Err(Broken::too_slow()),
            }
        }
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None => self.keep(on, transaction, message).await,
        };
        on.session.message_ended(result.is_ok());
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
        on.say_result(reply)
    }

    /// CHUNKING is not offered here, so the octets of a client that uses it need not be read and dropped.
    async fn refuse_chunk<S: Stream>(&mut self, _: &mut Connection<S>, _: u64, reply: Reply) -> Result<(), Broken> {
        Err(Broken::Farewell("bdat", reply))
    }
}

impl Returning {
    /// Makes a message durable.
    async fn keep<S: Stream>(
        &self,
        on: &Connection<S>,
        transaction: Transaction,
        message: Vec<u8>,
    ) -> Result<(), (&'static str, Reply)> {
        let now = Timestamp::now();
        let received = fields(super::read::header(&message)).flatten().filter(|field| field.is("Received")).count();
        if received > self.shared.settings.limits.received {
            return Err(("received", Reply::new(554, EnhancedCode(5, 4, 6), "this message is in a loop")));
        }
        let recipients: Vec<_> = transaction.recipients.into_iter().map(|to| to.address).collect();
        let is_public = self.shared.addresses.is_public(&recipients);
        if !self.shared.addresses.admits_message(is_public, now) {
            let reply = Reply::new(451, EnhancedCode(4, 7, 1), "too much mail; try again later");
            return Err(("messages_per_minute", reply));
        }
        let arrival = Arrival {
            at: now,
            peer: on.peer,
            client: on.session.client().0.to_owned(),
            sender: transaction.mail.path.to_string(),
            recipients,
        };
        let inbox = Arc::clone(&self.shared.inbox);
        let kept = tokio::task::spawn_blocking(move || inbox.keep(&arrival, &message, is_public)).await;
        self.shared.counters.waiting_bytes.set(i64::try_from(self.shared.inbox.octets_kept()).unwrap_or(i64::MAX));
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

//! Reads the content of messages with DATA and BDAT, from the socket through the reader into the intake, within the limits on memory and
//! time.

use std::sync::Arc;

use tokio::time::Instant;

use super::Submitting;
use crate::smtp::{DataReader, EnhancedCode, Reply};
use crate::submission::added_fields::Origin;
use crate::submission::client::Client;
use crate::submission::connection::wire::Read;
use crate::submission::connection::{Broken, Connection, Stream};
use crate::submission::intake::{self, Intake};
use crate::submission::policy::Identity;
use crate::submission::refusal::{Refusal, RefusedMessage};
use crate::submission::transaction::Transaction;

/// A message that arrives in chunks.
pub(super) struct Chunked {
    intake: Intake,
    reader: DataReader,
    /// The deadline of the next chunk.
    until: Instant,
}

impl Submitting {
    /// Reads a message up to its dot.
    pub(super) async fn read_message<S: Stream>(
        &mut self,
        on: &mut Connection<S>,
        transaction: Transaction,
    ) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let (context, limits) = (&shared.context, &shared.context.limits);
        let mut intake = self.begin_intake(on, transaction)?;
        on.wire.say(&Reply::bare(354, "end with <CRLF>.<CRLF>"));
        let mut reader = DataReader::dotted(limits.line_length);
        loop {
            let taken = reader.read(on.wire.pending(), |text| intake.push(text, context));
            on.wire.take(taken.used);
            intake.admitted.add_received(taken.used);
            if let Some(flaw) = reader.flaw() {
                intake.refuse(intake::flawed(flaw, limits));
            }
            // Also at the end, because content that came in one piece stays in memory until it is signed and on disk.
            intake.cover().await;
            if taken.end {
                break;
            }
            on.wire.flush().await?;
            self.read_content(on, &mut intake).await?;
        }
        self.finish(on, intake, true).await
    }

    /// Reads one chunk of a message (RFC 3030 §2).
    pub(super) async fn read_chunk<S: Stream>(
        &mut self,
        on: &mut Connection<S>,
        size: u64,
        last: bool,
        begin: Option<Transaction>,
    ) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let (context, limits) = (&shared.context, &shared.context.limits);
        if let Some(transaction) = begin {
            let intake = self.begin_intake(on, transaction)?;
            let reader = DataReader::counted(limits.line_length);
            let until = intake.admitted.deadline();
            self.chunked = Some(Box::new(Chunked { intake, reader, until }));
        }
        let Some(mut chunked) = self.chunked.take() else { return Err(Broken::Gone) };
        // Small chunks are read together with their commands, so the deadline must be checked here.
        if Instant::now() >= chunked.intake.admitted.deadline() {
            return Err(self.message_too_slow(on.client(), &mut chunked.intake));
        }
        let mut missing = size;
        loop {
            let pending = on.wire.pending();
            let len = pending.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            chunked.reader.read(&pending[..len], |text| chunked.intake.push(text, context));
            on.wire.take(len);
            missing -= len as u64;
            chunked.intake.admitted.add_received(len);
            if missing == 0 && last {
                chunked.reader.finish();
            }
            if let Some(flaw) = chunked.reader.flaw() {
                chunked.intake.refuse(intake::flawed(flaw, limits));
            }
            if missing == 0 {
                break;
            }
            chunked.intake.cover().await;
            on.wire.flush().await?;
            self.read_content(on, &mut chunked.intake).await?;
        }
        // A chunk that came in one piece is not accounted yet, and the message stays in memory.
        chunked.intake.cover().await;
        if last || chunked.intake.is_refused() {
            // RFC 3030 §2: after a refusal the chunks still to come are answered with 503.
            let ends_with_line = chunked.reader.is_at_line_start();
            return self.finish(on, chunked.intake, ends_with_line).await;
        }
        chunked.until = chunked.intake.admitted.content_until(Instant::now());
        self.chunked = Some(chunked);
        on.wire.say(&Reply::new(250, EnhancedCode(2, 0, 0), format!("{size} octets taken")));
        Ok(())
    }

    /// Reads and drops a chunk. It earns the client no time, and a stop does not wait for it.
    pub(super) async fn discard_chunk<S: Stream>(&mut self, on: &mut Connection<S>, size: u64) -> Result<(), Broken> {
        let mut admitted = self.shared.admission.begin(Instant::now());
        let mut missing = size;
        loop {
            let len = on.wire.pending().len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            on.wire.take(len);
            admitted.add_received(len);
            missing -= len as u64;
            if missing == 0 {
                return Ok(());
            }
            on.wire.flush().await?;
            let slow = admitted.content_until(Instant::now());
            let until = on.session.deadline().map_or(slow, |(due, _)| due.min(slow));
            // The timer never fires for a client that sends as fast as we read, so check the time here.
            let read = if until <= Instant::now() { Read::Late } else { on.wire.read(until, true).await? };
            match read {
                Read::Some => {}
                Read::Eof => return Err(Broken::Gone),
                Read::Stopping => return Err(Broken::Stopping),
                Read::Late => return Err(on.overdue(Instant::now()).unwrap_or_else(Broken::too_slow)),
            }
        }
    }

    /// Returns when to check a message between two chunks, because its time continues and its memory is held.
    pub(super) fn chunk_due(&self) -> Option<Instant> {
        let Chunked { intake, until, .. } = &**self.chunked.as_ref()?;
        Some(intake.next_check().map_or(*until, |look| look.min(*until)))
    }

    /// Checks a message after this time. A client whose message has lost its memory is told at the next chunk.
    pub(super) fn chunk_late(&mut self, client: Client<'_>, now: Instant) -> Result<(), Broken> {
        let Some(mut chunked) = self.chunked.take() else { return Ok(()) };
        if now >= chunked.until {
            return Err(self.message_too_slow(client, &mut chunked.intake));
        }
        chunked.intake.check_memory(now);
        self.chunked = Some(chunked);
        Ok(())
    }

    /// Begins a message. A login that a reload has changed must be made again.
    fn begin_intake<S: Stream>(&mut self, on: &mut Connection<S>, transaction: Transaction) -> Result<Intake, Broken> {
        let mut identity = on.session.identity().cloned().ok_or(Broken::Gone)?;
        if let Identity::Submitter(submitter) = &identity {
            // A reload also applies to clients that are logged in.
            let Some(current) = self.shared.context.submitters.load().current(submitter) else {
                let text = "this login has changed; log in again";
                let refusal = Refusal::new(421, EnhancedCode(4, 7, 0), "login_changed", text);
                let about = RefusedMessage {
                    sender: Some(transaction.mail.path),
                    recipients: Some(transaction.recipients.len()),
                    ..RefusedMessage::default()
                };
                return Err(self.broken_off(on.client(), &Refusal { about: Box::new(about), ..refusal }));
            };
            identity = Identity::Submitter(current);
            on.session.identify(identity.clone());
        }
        Ok(Intake::new(transaction, identity, &self.shared.context.limits))
    }

    /// Signs and stores the message, and answers. This is finished even if the client has gone.
    async fn finish<S: Stream>(
        &mut self,
        on: &mut Connection<S>,
        intake: Intake,
        ends_with_line: bool,
    ) -> Result<(), Broken> {
        let (client, extended) = on.session.client();
        let origin = Origin {
            peer: on.peer,
            client: client.to_owned(),
            extended,
            tls: self.tls,
            authenticated: matches!(on.session.identity(), Some(Identity::Submitter(_))),
        };
        let context = &self.shared.context;
        let reply = match intake.finish(ends_with_line, &origin, context).await {
            Ok(accepted) => intake::queued(&accepted),
            Err(refusal) => {
                context.counters.refuse(refusal.reason);
                self.shared.refusals.message(on.client(), &refusal);
                if let Some((domain, detail)) = refusal.alert.map(|alert| *alert) {
                    intake::tell_of_key(domain, detail, &context.events);
                }
                refusal.reply
            }
        };
        on.session.message_ended(reply.is_positive());
        on.say_result(reply)
    }

    /// Reads more of a message. A message that loses its memory is refused, and the rest of it is read and dropped.
    async fn read_content<S: Stream>(&self, on: &mut Connection<S>, intake: &mut Intake) -> Result<(), Broken> {
        let slow = intake.admitted.content_until(Instant::now());
        loop {
            let now = Instant::now();
            // The timer never fires for a client that sends as fast as we read, so check the time here.
            if now >= slow {
                return Err(self.message_too_slow(on.client(), intake));
            }
            intake.check_memory(now);
            let look = intake.next_check();
            match on.wire.read(look.map_or(slow, |look| look.min(slow)), false).await? {
                Read::Some => return Ok(()),
                Read::Eof | Read::Stopping => return Err(Broken::Gone),
                Read::Late => {}
            }
        }
    }

    /// Ends the connection because the running message was too slow.
    fn message_too_slow(&self, client: Client<'_>, intake: &mut Intake) -> Broken {
        let refusal = Refusal::new(421, EnhancedCode(4, 4, 2), "slow", "the message came too slowly");
        self.broken_off(client, &intake.give_up(refusal))
    }

    /// Ends the connection and its message.
    fn broken_off(&self, client: Client<'_>, refusal: &Refusal) -> Broken {
        self.shared.refusals.message(client, refusal);
        Broken::Farewell(refusal.reason, refusal.reply.clone())
    }
}

impl<S> Connection<S> {
    fn client(&self) -> Client<'_> {
        Client { peer: self.peer, identity: self.session.identity() }
    }
}

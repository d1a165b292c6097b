//! The content of messages, over DATA and BDAT: from the socket through the reader into the intake, as memory and pace allow.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::pace::Pace;
use super::wire::Read;
use super::{Broken, Connection};
use crate::smtp::{DataReader, EnhancedCode, Reply};
use crate::submission::budget::NoRoom;
use crate::submission::intake::{self, Intake};
use crate::submission::policy::Identity;
use crate::submission::trace::Trace;
use crate::submission::transaction::Transaction;

/// A message that arrives in chunks.
pub(super) struct Chunked {
    intake: Intake,
    reader: DataReader,
    pace: Pace,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Reads a message up to its dot.
    pub(super) async fn data(&mut self, transaction: Transaction) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let (context, limits) = (&shared.context, &shared.context.limits);
        let mut pace = Pace::new(transaction.started, limits);
        let mut intake = self.intake(transaction)?;
        self.wire.say(&Reply::bare(354, "end with <CRLF>.<CRLF>"));
        let mut reader = DataReader::dotted(limits.line_length);
        loop {
            let taken = reader.read(self.wire.pending(), |text| intake.push(text, context));
            self.wire.take(taken.used);
            pace.octets += taken.used as u64;
            if let Some(flaw) = reader.flaw() {
                intake.refuse(intake::flawed(flaw, limits));
            }
            if taken.end {
                break;
            }
            self.cover(&mut intake).await;
            self.wire.flush().await?;
            self.read_content(&pace, &mut intake).await?;
        }
        self.finish(intake, true).await
    }

    /// Reads one chunk of a message (RFC 3030 §2).
    pub(super) async fn chunk(&mut self, size: u64, last: bool, begin: Option<Transaction>) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let (context, limits) = (&shared.context, &shared.context.limits);
        if let Some(transaction) = begin {
            let pace = Pace::new(transaction.started, limits);
            let intake = self.intake(transaction)?;
            let reader = DataReader::counted(limits.line_length);
            self.chunked = Some(Box::new(Chunked { intake, reader, pace }));
        }
        let Some(mut chunked) = self.chunked.take() else { return Err(Broken::Gone) };
        // Small chunks are read together with their commands: nothing below would look at the clock.
        if Instant::now() >= chunked.pace.deadline() {
            return Err(self.too_slow());
        }
        let mut missing = size;
        loop {
            let pending = self.wire.pending();
            let len = pending.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            chunked.reader.read(&pending[..len], |text| chunked.intake.push(text, context));
            self.wire.take(len);
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
            self.wire.flush().await?;
            self.read_content(&chunked.pace, &mut chunked.intake).await?;
        }
        if last || chunked.intake.is_refused() {
            // RFC 3030 §2: after a refusal the chunks still to come are answered with 503.
            let ends_with_line = chunked.reader.is_at_line_start();
            return self.finish(chunked.intake, ends_with_line).await;
        }
        // A chunk that came in one piece is not accounted yet, and the message goes on being held.
        self.cover(&mut chunked.intake).await;
        if chunked.intake.is_refused() {
            return self.finish(chunked.intake, true).await;
        }
        self.chunked = Some(chunked);
        self.wire.say(&Reply::new(250, EnhancedCode(2, 0, 0), format!("{size} octets taken")));
        Ok(())
    }

    /// Reads a chunk to nowhere. It gains the client no time, and a stop does not wait for it.
    pub(super) async fn read_away(&mut self, size: u64) -> Result<(), Broken> {
        let mut pace = Pace::new(Instant::now(), &self.shared.context.limits);
        loop {
            let missing = usize::try_from(size - pace.octets).unwrap_or(usize::MAX);
            let len = missing.min(self.wire.pending().len());
            self.wire.take(len);
            pace.octets += len as u64;
            if pace.octets == size {
                return Ok(());
            }
            self.wire.flush().await?;
            let slow = self.content_until(&pace);
            let until = self.session.deadline().map_or(slow, |(due, _)| due.min(slow));
            // A client that sends as fast as we read would never let the alarm ring.
            let read = if until <= Instant::now() { Read::Late } else { self.wire.read(until, true).await? };
            match read {
                Read::Some => {}
                Read::Eof => return Err(Broken::Gone),
                Read::Stopping => return Err(self.stopping()),
                Read::Late => return Err(self.overdue(Instant::now()).unwrap_or_else(|| self.too_slow())),
            }
        }
    }

    /// Between two chunks the message's own time runs on, for its memory is held.
    pub(super) fn chunk_due(&self) -> Option<Instant> {
        let Chunked { intake, pace, .. } = &**self.chunked.as_ref()?;
        let slow = self.content_until(pace);
        Some(self.turn_ends(intake).map_or(slow, |turn| turn.min(slow)))
    }

    /// What [`chunk_due`](Self::chunk_due) told of has passed. Who loses the turn is told with the next chunk.
    pub(super) fn chunk_late(&mut self, now: Instant) -> Result<(), Broken> {
        match self.chunked.take() {
            Some(mut chunked) if self.turn_ends(&chunked.intake).is_some_and(|turn| now >= turn) => {
                self.end_turn(&mut chunked.intake);
                self.chunked = Some(chunked);
                Ok(())
            }
            Some(_) => Err(self.too_slow()),
            None => Ok(()),
        }
    }

    fn intake(&mut self, transaction: Transaction) -> Result<Intake, Broken> {
        let mut identity = self.session.identity().cloned().ok_or(Broken::Gone)?;
        if let Identity::Submitter(submitter) = &identity {
            // A reload takes effect on those who are logged in, too.
            let Some(current) = self.shared.context.submitters.load().current(submitter) else {
                return Err(self.farewell(
                    "login_changed",
                    EnhancedCode(4, 7, 0),
                    "this login has changed; log in again",
                ));
            };
            identity = Identity::Submitter(current);
            self.session.identify(identity.clone());
        }
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
        self.session.message_over(reply.is_positive());
        self.say_refusal(reply)
    }

    /// Waits for memory before more is read.
    async fn cover(&self, intake: &mut Intake) {
        let held = intake.held();
        if held > 0
            && let Err(why) = self.shared.budget.cover(&mut intake.share, held).await
        {
            intake.refuse(intake::no_room(why));
        }
    }

    /// The message's turn to go over the memory's limit is over. By now there may be room for it.
    fn end_turn(&self, intake: &mut Intake) {
        let held = intake.held();
        if !self.shared.budget.cover_at_once(&mut intake.share, held) {
            intake.refuse(intake::no_room(NoRoom::SlowTurn));
        }
    }

    /// Reads more of a message. One that loses its turn over the memory's limit is refused, and read on to nowhere.
    async fn read_content(&mut self, pace: &Pace, intake: &mut Intake) -> Result<(), Broken> {
        loop {
            let slow = self.content_until(pace);
            // A client that sends as fast as we read would never let the alarm ring.
            if slow <= Instant::now() {
                return Err(self.too_slow());
            }
            let turn = self.turn_ends(intake);
            match self.wire.read(turn.map_or(slow, |turn| turn.min(slow)), false).await? {
                Read::Some => return Ok(()),
                Read::Eof | Read::Stopping => return Err(Broken::Gone),
                Read::Late if turn.is_some_and(|turn| turn < slow) => self.end_turn(intake),
                Read::Late => return Err(self.too_slow()),
            }
        }
    }

    /// How long more of a message is waited for.
    fn content_until(&self, pace: &Pace) -> Instant {
        pace.until(Instant::now(), &self.shared.context.limits)
    }

    fn turn_ends(&self, intake: &Intake) -> Option<Instant> {
        self.shared.budget.turn_ends(&intake.share, intake.held())
    }

    pub(super) fn too_slow(&self) -> Broken {
        self.farewell("slow", EnhancedCode(4, 4, 2), "the message came too slowly")
    }
}

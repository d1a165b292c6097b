//! Makes the event for a report, with the fields of the mail from the event log.

use std::io;
use std::sync::Arc;

use super::reason::{Reason, taken_with};
use super::report::{Kind, Report};
use super::store::Mail;
use crate::events::{Event, EventId, EventKind};
use crate::message::ReplyText;
use crate::record::event::{Known, KnownRecipient};
use crate::record::journal::{Chunk, Journal, Position};
use crate::record::trace;
use crate::time::Timestamp;

/// The octets of the journal that are read at once, because mails of one campaign lie together.
const CHUNK: usize = 64 << 10;

/// A report to be emitted as an event.
pub(super) struct Tell {
    pub report: Report,
    pub mail: Mail,
    pub at: Timestamp,
    pub reason: Option<Reason>,
    /// Distinguishes this report from others of the same kind and time.
    pub key: String,
}

/// Returns the recipient in the event log, unless it was erased.
pub(super) fn recipient<'a>(known: &'a Known, mail: &Mail) -> Option<&'a KnownRecipient> {
    known.recipient(mail.place as usize)
}

/// Returns the event for a report, or `None` if the recipient was erased.
pub(super) fn event<'a>(tell: &'a Tell, known: &'a Known) -> Option<Event<'a>> {
    let to = recipient(known, &tell.mail)?;
    let kind = tell.report.kind.told_as();
    let event = known.event(kind, to, tell.at);
    let event_id = EventId::reported(known.queue_id, kind, event.recipient.as_deref()?, tell.at, &tell.key);
    let event = Event { event_id, reason: Some("mailjet"), ..event };
    Some(match tell.report.kind {
        Kind::Sent => with_reply(event, taken_with(&tell.report)),
        Kind::Bounce | Kind::Blocked => {
            let reason = tell.reason.as_ref()?;
            let event = Event { class: Some(reason.class), detail: Some(reason.detail.as_str().into()), ..event };
            with_reply(event, reason.reply.clone())
        }
        Kind::Spam => Event { detail: Some(complaint(&tell.report).into()), ..event },
        Kind::Click if !tell.report.url.is_empty() => Event { url: Some(tell.report.url.as_str().into()), ..event },
        Kind::Unsub | Kind::Open | Kind::Click => event,
    })
}

fn with_reply(event: Event<'_>, heard: Option<ReplyText>) -> Event<'_> {
    let Some(heard) = heard else { return event };
    let reply = heard.reply().map(|reply| reply.to_owned().into());
    Event { code: heard.code(), status: heard.status(), reply, ..event }
}

/// Returns the text of a complaint, for people.
pub(super) fn complaint(report: &Report) -> String {
    match report.comment.as_str() {
        "" => "Mailjet reports a complaint".to_owned(),
        source => format!("Mailjet reports a complaint through {source}"),
    }
}

/// Reads `relayed` events. Neighbours are read at once.
pub(super) struct Reader {
    journal: Arc<Journal>,
    chunk: Chunk,
}

impl Reader {
    pub fn new(journal: Arc<Journal>) -> Self {
        Reader { journal, chunk: Chunk::default() }
    }

    /// Returns the mail of the event at its place in the journal, or `None` if the event is gone or is about another mail.
    pub fn known(&mut self, mail: &Mail) -> io::Result<Option<Known>> {
        if mail.at == Position::default() {
            let events = trace::life(self.journal.path(), mail.id, usize::MAX)?;
            return Ok(Known::of(&events));
        }
        let Some(line) = self.line(mail.at)? else { return Ok(None) };
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else { return Ok(None) };
        let is_meant = event["event"] == EventKind::Relayed.as_str() && event["queue_id"] == mail.id.to_string();
        Ok(Known::of(&[event]).filter(|_| is_meant))
    }

    fn line(&mut self, at: Position) -> io::Result<Option<&[u8]>> {
        let is_here = |chunk: &Chunk| {
            let end = chunk.start.offset + chunk.lines.len() as u64;
            chunk.start.segment == at.segment && (chunk.start.offset..end).contains(&at.offset)
        };
        if !is_here(&self.chunk) {
            self.chunk = self.journal.read(at, CHUNK)?;
        }
        if !is_here(&self.chunk) {
            return Ok(None);
        }
        let from = usize::try_from(at.offset - self.chunk.start.offset).unwrap_or(usize::MAX);
        Ok(self.chunk.lines[from..].split(|octet| *octet == b'\n').next())
    }
}

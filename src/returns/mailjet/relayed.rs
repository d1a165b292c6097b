//! Records which mails Mailjet took. It reads them from the journal, so that the path of a message does no work for it.
//!
//! Each recipient has a short row: the place of its event in the journal, Mailjet's id of the mail, and the reports so far. The rows and
//! the reading position are written in one transaction, so a crash neither skips a mail nor adds it twice. The first start begins at the
//! journal's end.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::state::State;
use super::store::{self, Mail, name_of, recipient_of};
use crate::database;
use crate::record::journal::{Chunk, Journal, Position};
use crate::time::Timestamp;

/// The approximate number of octets of the journal that are read at once.
const CHUNK: usize = 1 << 20;
/// The shortest time between two reads.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest time between two reads.
const IDLE: Duration = Duration::from_secs(2);
/// The pause after a failed read or write.
const RETRY: Duration = Duration::from_secs(5);

/// Reads the journal until `stopping`.
pub(super) async fn follow(shared: Arc<Shared>, stopping: CancellationToken) {
    let Some(journal) = shared.parts.events.journal().cloned() else { return };
    let mut end = journal.watch_end();
    let mut from = loop {
        match begin(&shared, &journal).await {
            Ok(from) => break from,
            Err(error) => tracing::error!("which mails Mailjet took cannot be read: {error}"),
        }
        if tokio::time::timeout(RETRY, stopping.cancelled()).await.is_ok() {
            return;
        }
    };
    loop {
        end.mark_unchanged();
        let began = Timestamp::now();
        let pause = match read_on(&shared, &journal, from).await {
            Ok(next) if next != from => {
                from = next;
                continue;
            }
            Ok(_) => {
                shared.caught_up.store(began.as_millis(), Ordering::Relaxed);
                PAUSE
            }
            Err(error) => {
                tracing::error!("which mails Mailjet took cannot be kept: {error}. It is tried again");
                RETRY
            }
        };
        let more = async {
            tokio::time::sleep(pause).await;
            // Continue now and then even without a change, to know that nothing came.
            tokio::time::timeout(IDLE, end.changed()).await.unwrap_or(Ok(()))
        };
        match stopping.run_until_cancelled(more).await {
            None | Some(Err(_)) => return,
            Some(Ok(())) => {}
        }
    }
}

/// Returns the position at which to continue: the beginning, if the saved position is of another journal.
async fn begin(shared: &Shared, journal: &Arc<Journal>) -> Result<Position, database::Error> {
    let kept = shared.parts.database.read(store::place).await?;
    let Some(kept) = kept else {
        let end = journal.end();
        let text = journal.cursor(end).to_string();
        shared.parts.database.write(move |tables| store::set_place(tables, &text)).await?;
        return Ok(end);
    };
    let position = kept.parse().ok().and_then(|cursor| journal.position(&cursor));
    Ok(position.unwrap_or_else(|| journal.oldest().unwrap_or_else(|_| journal.end())))
}

/// Reads a part of the journal. Returns its end.
async fn read_on(shared: &Arc<Shared>, journal: &Arc<Journal>, from: Position) -> Result<Position, Failed> {
    let (reader, database) = (Arc::clone(journal), shared.parts.database.clone());
    let ask_after = shared.settings.ask_after;
    let read = move || -> Result<(Position, usize), Failed> {
        let Chunk { lines, start, .. } = reader.read(from, CHUNK)?;
        let next = Position { offset: start.offset + lines.len() as u64, ..start };
        if next == from {
            return Ok((from, 0));
        }
        let mails = mails(&lines, start);
        let place = reader.cursor(next).to_string();
        database.write_blocking(|tables| {
            store::add(tables, &mails, |mail| ask_after.map(|after| mail.relayed + after))?;
            store::set_place(tables, &place)
        })?;
        Ok((next, mails.len()))
    };
    let (next, count) =
        tokio::task::spawn_blocking(read).await.map_err(|error| Failed::Io(std::io::Error::other(error)))??;
    shared.counters.relayed.inc_by(count as u64);
    Ok(next)
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] database::Error),
}

/// The fields of an event `relayed` that are read.
#[derive(Deserialize)]
struct Relayed<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    queue_id: Cow<'a, str>,
    #[serde(borrow)]
    customer: Cow<'a, str>,
    #[serde(borrow)]
    recipient: Cow<'a, str>,
    #[serde(borrow)]
    route: Cow<'a, str>,
    #[serde(borrow, default)]
    reply: Cow<'a, str>,
}

/// Returns the recipients that Mailjet took, among lines that begin at `start`.
fn mails(lines: &[u8], start: Position) -> Vec<Mail> {
    let relayed = memchr::memmem::Finder::new(b"\"event\":\"relayed\"");
    let by_mailjet = memchr::memmem::Finder::new(b"\"route\":\"mailjet");
    let mut offset = start.offset;
    let mut found = Vec::new();
    for line in lines.split_inclusive(|octet| *octet == b'\n') {
        let at = Position { offset, ..start };
        offset += line.len() as u64;
        // Most lines are other events, and searching is cheaper than parsing.
        if relayed.find(line).is_some() && by_mailjet.find(line).is_some() {
            found.extend(mail(line, at));
        }
    }
    found
}

fn mail(line: &[u8], at: Position) -> Option<Mail> {
    let event: Relayed<'_> = serde_json::from_slice(line).ok()?;
    if event.event != "relayed" || super::gaps::account_of(&event.route).is_none() {
        return None;
    }
    let place = event.event_id.rsplit('-').next()?.strip_suffix('r')?.parse().ok()?;
    Some(Mail {
        id: event.queue_id.parse().ok()?,
        place,
        node: String::new(),
        name: event.reply.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').find_map(name_of),
        recipient: recipient_of(&event.recipient),
        customer: event.customer.into_owned(),
        route: event.route.into_owned(),
        at,
        relayed: event.at.parse::<Timestamp>().ok()?,
        state: State::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, route: &str, index: u32, reply: &str) -> String {
        format!(
            r#"{{"event_id":"0000000000007-1M84TD3KV-{index}r","at":"2026-11-23T18:24:00.123Z","event":"{event}","queue_id":"0000000000007","message_id":"1@a.dk","customer":"test-as","from_domain":"a.dk","sender":"x@a.dk","recipient":"Anna@x.dk","route":"{route}","server":"in-v3.mailjet.com","attempt":1,"code":250,"reply":"{reply}"}}"#
        ) + "\n"
    }

    #[test]
    fn only_what_mailjet_took_is_kept_with_its_place_and_its_name() {
        let guid = "1ab23cd4-e567-8901-2345-6789f0a1b2c3";
        let lines = [
            line("accepted", "mailjet.trusted", 0, ""),
            line("relayed", "own-server.acme", 0, guid),
            line("relayed", "mailjet.trusted", 0, &format!("OK queued as {guid}")),
            line("relayed", "mailjet-own.acme", 12, "Ok: queued as 0C0151AC06F9"),
            line("relayed", "mailjetty", 3, ""),
            "{\"event\":\"relayed\",\"route\":\"mailjet.x\"}\n".into(),
            line("relayed", "mailjet.a", 1, "2.0.0 queued 19421777835146490"),
        ];
        let start = Position { segment: 7, offset: 1000 };
        let found = mails(lines.concat().as_bytes(), start);
        let offset = |count: usize| 1000 + lines[..count].iter().map(String::len).sum::<usize>() as u64;
        let of = |mail: &Mail| (mail.place, mail.route.clone(), mail.name, mail.at.offset);
        assert_eq!(
            found.iter().map(of).collect::<Vec<_>>(),
            [
                (0, "mailjet.trusted".into(), name_of(guid), offset(2)),
                (12, "mailjet-own.acme".into(), None, offset(3)),
                (1, "mailjet.a".into(), Some(19_421_777_835_146_490), offset(6)),
            ]
        );
        assert!(found.iter().all(|mail| mail.recipient == recipient_of("anna@X.DK") && mail.at.segment == 7));
    }
}

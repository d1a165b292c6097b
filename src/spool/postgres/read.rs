//! Reads messages. Every octet is compared with its checksum before it is used. A damaged message is held and never sent.
//!
//! Messages that are wanted together are read with one query for each segment. Content that is longer than one chunk is read while it is
//! sent.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::link::{Action, Failure, Link};
use super::node::Node;
use super::rows::{Row, is_sound, unseal};
use super::shared::Shared;
use crate::message::QueueId;
use crate::spool::codec::{self, CHUNK, Meta, State};
use crate::spool::index::{Entry, LOOK, MessageToRead, Place, bits, enough};
use crate::spool::owner::{Guard, Leased};
use crate::spool::{Bytes, Error, Filter, Lease, Pending, ReadChunk, Record, ready};

/// Messages up to this size are read with their content.
const SMALL: u32 = (CHUNK + (64 << 10)) as u32;
/// How often a message is looked up again if it moved while it was being read.
const TRIES: usize = 5;
/// The number of messages that are read at once for a list.
const PAGE: usize = 500;

/// Which part of a message's content is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Nothing,
    /// All of it, if it is one chunk.
    Small,
    First,
}

/// A message without its content, or with its first chunk.
struct Front {
    meta: Meta,
    state: State,
    first: Option<Vec<u8>>,
}

/// Why a message was not read.
enum Unread {
    /// It is no longer at its place: it has moved, or is settled.
    Gone,
    /// The octets are not the ones that were written.
    Damaged(&'static str),
}

/// Reads leased messages.
pub(super) async fn leases(shared: &Arc<Shared>, wanted: Vec<(MessageToRead, Guard<Shared>)>) -> Result<Leased, Error> {
    let mut leased = Leased { leases: Vec::with_capacity(wanted.len()), failed: None };
    let mut left = wanted;
    for _ in 0..TRIES {
        if left.is_empty() {
            break;
        }
        let asked: Vec<&MessageToRead> = left.iter().map(|(wanted, _)| wanted).collect();
        let read = match fronts(shared, &asked, Content::Small).await {
            Ok(read) => read,
            // The failure says nothing about a message, so all are given back.
            Err(failure) => {
                leased.failed = Some(unread(failure));
                return Ok(leased);
            }
        };
        let mut again = Vec::new();
        for ((mut wanted, guard), front) in left.into_iter().zip(read) {
            let id = wanted.entry.id;
            let lease = front.and_then(|front| into_parts(shared, &wanted, front));
            match lease {
                Ok((record, bytes)) => leased.leases.push(Lease::new(record, bytes, Box::new(guard))),
                Err(Unread::Damaged(why)) => shared.hold_damaged(id, why),
                Err(Unread::Gone) => {
                    let before = wanted.entry.next_try();
                    if let Some(now) = shared.index().wanted(id) {
                        // The index has the due time for the case that this attempt fails. The caller needs the time at which the message
                        // was due.
                        wanted = now;
                        wanted.entry.set_next_try(before);
                        again.push((wanted, guard));
                    }
                }
            }
        }
        left = again;
    }
    for (wanted, _) in &left {
        shared.hold_damaged(wanted.entry.id, "it is not in the database");
    }
    Ok(leased)
}

/// Returns up to `limit` records that match a filter, oldest first.
pub(super) async fn list(shared: &Arc<Shared>, filter: &Filter, limit: usize) -> Result<Vec<Record>, Error> {
    let bits = bits(filter);
    let mut records = Vec::new();
    let mut from = Some(filter.first());
    while let Some(start) = from.filter(|_| records.len() < limit) {
        let most = enough(filter, limit - records.len());
        let (found, next) = shared.index().select(filter, bits, start, LOOK, most);
        from = next;
        for page in found.chunks(PAGE) {
            if records.len() == limit {
                break;
            }
            let read = self::records(shared, page).await?;
            records.extend(read.into_iter().filter(|record| filter.fits_domain_of(record)).take(limit - records.len()));
        }
    }
    Ok(records)
}

/// Returns the entries that have a waiting recipient in the filter's domain, if the filter names one.
pub(super) async fn in_domain(shared: &Arc<Shared>, filter: &Filter, found: Vec<Entry>) -> Result<Vec<QueueId>, Error> {
    if filter.recipient_domain.is_none() {
        return Ok(found.into_iter().map(|entry| entry.id).collect());
    }
    let mut ids = Vec::new();
    for page in found.chunks(PAGE) {
        let read = records(shared, page).await?;
        ids.extend(read.iter().filter(|record| filter.fits_domain_of(record)).map(|record| record.id));
    }
    Ok(ids)
}

/// Returns the records of these entries, without those that were settled meanwhile or cannot be read.
async fn records(shared: &Arc<Shared>, entries: &[Entry]) -> Result<Vec<Record>, Error> {
    let mut read: BTreeMap<QueueId, Record> = BTreeMap::new();
    let mut left: Vec<QueueId> = entries.iter().map(|entry| entry.id).collect();
    for _ in 0..TRIES {
        let wanted: Vec<MessageToRead> = {
            let index = shared.index();
            left.iter().filter_map(|id| index.wanted(*id)).collect()
        };
        if wanted.is_empty() {
            break;
        }
        let fronts = fronts(shared, &wanted.iter().collect::<Vec<_>>(), Content::Nothing).await.map_err(unread)?;
        left.clear();
        for (wanted, front) in wanted.iter().zip(fronts) {
            match front.and_then(|front| into_record(wanted, front.meta, front.state)) {
                Ok(record) => drop(read.insert(record.id, record)),
                Err(Unread::Gone) => left.push(wanted.entry.id),
                Err(Unread::Damaged(why)) => shared.hold_damaged(wanted.entry.id, why),
            }
        }
    }
    Ok(read.into_values().collect())
}

/// Returns one record and its header block, prefix first.
pub(super) async fn show(shared: &Arc<Shared>, id: QueueId) -> Result<(Record, Vec<u8>), Error> {
    let (wanted, Front { meta, state, first }) = one(shared, id, Content::First).await?;
    let mut header = meta.prefix.clone();
    let first = first.unwrap_or_default();
    header.extend_from_slice(first.get(..meta.header_len as usize).unwrap_or(&first));
    let record = into_record(&wanted, meta, state).map_err(|unread| refused(shared, id, unread))?;
    Ok((record, header))
}

/// A message with all its content, to be copied forward.
pub(super) struct WholeMessage {
    pub entry: Entry,
    pub meta: Meta,
    pub state: State,
    pub content: Vec<u8>,
}

/// Reads all of a message.
pub(super) async fn whole(shared: &Arc<Shared>, id: QueueId) -> Result<WholeMessage, Error> {
    let (wanted, Front { meta, state, first }) = one(shared, id, Content::First).await?;
    let mut content = first.unwrap_or_default();
    for part in 1..meta.chunks() {
        content.extend(chunk(shared, id, wanted.entry.place, part).await?);
    }
    Ok(WholeMessage { entry: wanted.entry, meta, state, content })
}

async fn one(shared: &Arc<Shared>, id: QueueId, content: Content) -> Result<(MessageToRead, Front), Error> {
    for _ in 0..TRIES {
        let Some(wanted) = shared.index().wanted(id) else { break };
        match fronts(shared, &[&wanted], content).await.map_err(unread)?.pop() {
            Some(Ok(front)) => return Ok((wanted, front)),
            Some(Err(Unread::Gone)) | None => {}
            Some(Err(damaged)) => return Err(refused(shared, id, damaged)),
        }
    }
    Err(Error::Unknown(id))
}

fn refused(shared: &Shared, id: QueueId, unread: Unread) -> Error {
    match unread {
        Unread::Gone => Error::Unknown(id),
        Unread::Damaged(why) => {
            shared.hold_damaged(id, why);
            Error::Corrupt { id, why: why.into() }
        }
    }
}

fn into_record(wanted: &MessageToRead, meta: Meta, state: State) -> Result<Record, Unread> {
    wanted.record(meta, state).map_err(|_| Unread::Damaged("its state does not decode"))
}

fn into_parts(shared: &Arc<Shared>, wanted: &MessageToRead, front: Front) -> Result<(Record, Bytes), Unread> {
    let Front { meta, state, first } = front;
    let chunks: Arc<dyn ReadChunk> = match first {
        Some(content) if meta.chunks() == 1 => Arc::new(InMemory { shared: Arc::clone(shared), content }),
        _ => {
            let (id, chunks) = (wanted.entry.id, meta.chunks());
            Arc::new(InDatabase { shared: Arc::clone(shared), id, place: wanted.entry.place, chunks })
        }
    };
    let bytes = Bytes::new(meta.prefix.clone(), meta.header_len, meta.content_len, chunks);
    Ok((into_record(wanted, meta, state)?, bytes))
}

/// Reads these messages, in their order.
async fn fronts(
    shared: &Shared,
    wanted: &[&MessageToRead],
    content: Content,
) -> Result<Vec<Result<Front, Unread>>, Failure> {
    let read = async {
        let with_body = |wanted: &&&MessageToRead| match content {
            Content::Nothing => false,
            Content::Small => wanted.entry.disk_len <= SMALL,
            Content::First => true,
        };
        let mut fresh = HashMap::new();
        if content == Content::Small {
            let of_wanted = |wanted: &&MessageToRead| {
                let place = wanted.entry.place;
                shared.fresh.take(shared.number, place).map(|row| (place, row))
            };
            fresh.extend(wanted.iter().filter_map(of_wanted));
        }
        let unread = || wanted.iter().filter(|wanted| !fresh.contains_key(&wanted.entry.place));
        let places = unread().map(|wanted| wanted.entry.place);
        let bodies = unread().filter(with_body).map(|wanted| wanted.entry.place);
        let states = wanted.iter().filter(|wanted| wanted.unwritten.is_none()).filter_map(|wanted| wanted.entry.state);
        let (places, bodies) = (places.chain(states).collect(), bodies.collect());
        fresh.extend(rows(shared, places, bodies).await?);
        Ok::<_, Failure>(fresh)
    };
    let timeout = shared.settings.server.timeout;
    let mut rows = tokio::time::timeout(timeout, read).await.map_err(|_| Failure::late(timeout))??;
    Ok(wanted.iter().map(|wanted| front(wanted, &mut rows)).collect())
}

fn front(wanted: &MessageToRead, rows: &mut HashMap<Place, Row>) -> Result<Front, Unread> {
    let entry = &wanted.entry;
    let Row { head, body, crc } = rows.remove(&entry.place).ok_or(Unread::Gone)?;
    let head = head.as_deref().and_then(unseal).ok_or(Unread::Damaged("its envelope does not match its checksum"))?;
    let (meta, stored, _) = codec::read_message(head).map_err(|_| Unread::Damaged("its envelope does not decode"))?;
    if let Some(body) = &body
        && !is_sound(body, crc)
    {
        return Err(Unread::Damaged("its content does not match its checksum"));
    }
    let retry_at = stored.status.next;
    let last = match (&wanted.unwritten, entry.state) {
        (Some(state), _) => State::clone(state),
        (None, Some(place)) => {
            let row = rows.remove(&place).ok_or(Unread::Gone)?;
            let state =
                row.head.as_deref().and_then(unseal).ok_or(Unread::Damaged("its state does not match its checksum"))?;
            codec::read_state(state).map_err(|_| Unread::Damaged("its state does not decode"))?.0
        }
        (None, None) => stored,
    };
    Ok(Front { meta, state: wanted.state(last, retry_at), first: body })
}

/// Returns the first rows at these places, with the content for those in `bodies`. Missing rows are left out.
async fn rows(shared: &Shared, places: Vec<Place>, bodies: Vec<Place>) -> Result<HashMap<Place, Row>, Failure> {
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    let link = reader(shared)?;
    let numbers = |places: Vec<Place>| {
        let mut by_segment: BTreeMap<u32, Vec<i32>> = BTreeMap::new();
        for place in places {
            by_segment.entry(place.segment).or_default().push(place.at.cast_signed());
        }
        by_segment
    };
    let mut bodies = numbers(bodies);
    let mut found = HashMap::with_capacity(places.len());
    for (segment, numbers) in numbers(places) {
        let bodies = bodies.remove(&segment).unwrap_or_default();
        let table = shared.table(segment);
        let sql = || {
            format!(
                "SELECT seq, head, CASE WHEN seq = ANY($2) THEN body END, crc FROM {table} WHERE seq = ANY($1) AND part = 0"
            )
        };
        let read = async {
            let statement = link.statement(Action::Front, &table, sql).await?;
            Ok::<_, Failure>(link.client.query(&statement, &[&numbers, &bodies]).await?)
        };
        match read.await {
            Ok(rows) => found.extend(rows.into_iter().map(|row| {
                let at: i32 = row.get(0);
                (Place { segment, at: at.cast_unsigned() }, Row { head: row.get(1), body: row.get(2), crc: row.get(3) })
            })),
            // The segment was deleted meanwhile.
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

/// Reads one chunk of a message, even if the message has moved.
async fn chunk(shared: &Arc<Shared>, id: QueueId, place: Place, part: usize) -> Result<Vec<u8>, Error> {
    let mut place = place;
    for _ in 0..TRIES {
        let timeout = shared.settings.server.timeout;
        let read = tokio::time::timeout(timeout, chunk_at(shared, place, part)).await;
        match read.unwrap_or_else(|_| Err(Failure::late(timeout))) {
            Ok(Some((body, crc))) if is_sound(&body, crc) => return Ok(body),
            Ok(Some(_)) => {
                return Err(refused(shared, id, Unread::Damaged("a part of its content does not match its checksum")));
            }
            Ok(None) => {}
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(unread(failure)),
        }
        place = shared.index().get(id).ok_or(Error::Unknown(id))?.place;
    }
    Err(Error::Unknown(id))
}

async fn chunk_at(shared: &Shared, place: Place, part: usize) -> Result<Option<(Vec<u8>, Option<i32>)>, Failure> {
    let link = reader(shared)?;
    let table = shared.table(place.segment);
    let sql = || format!("SELECT body, crc FROM {table} WHERE seq = $1 AND part = $2");
    let statement = link.statement(Action::Chunk, &table, sql).await?;
    let part = i16::try_from(part).map_err(|_| Failure::new("no such part"))?;
    let row = link.client.query_opt(&statement, &[&place.at.cast_signed(), &part]).await?;
    Ok(row.and_then(|row| Some((row.get::<_, Option<Vec<u8>>>(0)?, row.get(1)))))
}

pub(super) fn reader(node: &Node) -> Result<Arc<Link>, Failure> {
    node.reader.load_full().ok_or_else(|| Failure::new("there is no connection"))
}

/// Converts a failed read to an error of the port for which [`is_for_now`](crate::spool::is_for_now) returns true.
pub(super) fn unread(failure: Failure) -> Error {
    let source = io::Error::new(io::ErrorKind::NotConnected, failure.why);
    Error::Io { what: "reading the spool's database".into(), source }
}

/// Content that was read together with its record.
struct InMemory {
    shared: Arc<Shared>,
    content: Vec<u8>,
}

impl ReadChunk for InMemory {
    fn chunks(&self) -> usize {
        1
    }

    fn read(self: Arc<Self>, _index: usize) -> Pending<Result<Vec<u8>, Error>> {
        ready(Ok(self.content.clone()))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn may_be_sent(&self) -> Result<(), Error> {
        may_be_sent(&self.shared)
    }
}

/// Returns an error if another node may own the shard. The message itself is sound, and waits for its owner.
fn may_be_sent(shared: &Shared) -> Result<(), Error> {
    if !shared.is_closed() && shared.stopped().is_none() && shared.has_lease() {
        return Ok(());
    }
    Err(unread(Failure::new(
        "this node's lease has ended while the message was being sent, and another node may have it",
    )))
}

/// Content that is read while it is sent.
struct InDatabase {
    shared: Arc<Shared>,
    id: QueueId,
    place: Place,
    chunks: usize,
}

impl ReadChunk for InDatabase {
    fn chunks(&self) -> usize {
        self.chunks
    }

    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>> {
        Box::pin(async move { chunk(&self.shared, self.id, self.place, index).await })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn may_be_sent(&self) -> Result<(), Error> {
        may_be_sent(&self.shared)
    }
}

//! Reads messages. Every octet is compared with its checksum before it is used. Damaged messages are set aside and never sent.

use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::ReadWriteFlags;

use super::frame::{HEAD, Head, Kind};
use super::segments::Source;
use super::shared::Shared;
use super::{is_bad_block, unreadable};
use crate::machine::threads;
use crate::message::{Piece, QueueId};
use crate::spool::codec::{self, CHUNK, Meta, State};
use crate::spool::index::{MessageToRead, Place};
use crate::spool::lease::InMemory;
use crate::spool::{Bytes, Error, Pending, ReadChunk, Record};

/// Messages up to this size are read in one piece.
const SMALL: u32 = (CHUNK + (64 << 10)) as u32;
/// The octets that are read first of a larger message.
const FIRST_READ: usize = 8 << 10;
/// The octets that are read first of a state. Few states are longer.
const STATE_READ: usize = 512;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Read only what is in the page cache.
    Never,
    /// The read may wait for the disk, because it runs on a blocking thread.
    Wait,
}

/// Why a message was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The message is not in the page cache.
    NotYet,
    /// Its segment was deleted: the message has moved, or is settled.
    Gone,
    /// The octets are not the ones that were written.
    Damaged(String),
    /// The system returned an error.
    Failed(io::Error),
}

/// A message with all its content.
pub(super) struct WholeMessage {
    pub meta: Meta,
    pub state: State,
    pub content: Vec<Piece>,
}

/// A message without its content, or with it if it is small.
struct Front {
    meta: Meta,
    state: State,
    content: Option<Vec<u8>>,
    source: Source,
    /// The offset of the first chunk's frame.
    chunks_at: u64,
}

/// Reads a record and its bytes for delivery.
pub(super) fn lease(
    shared: &Arc<Shared>,
    wanted: &MessageToRead,
    patience: Patience,
) -> Result<(Record, Bytes), Unread> {
    let front = front(shared, wanted, patience, true)?;
    let (meta, state) = (front.meta, front.state);
    let chunks: Arc<dyn ReadChunk> = match front.content {
        Some(content) => Arc::new(InMemory(content)),
        None => Arc::new(OnDisk {
            shared: Arc::clone(shared),
            id: wanted.entry.id,
            source: front.source,
            chunks_at: front.chunks_at,
            chunks: (0..meta.chunks()).map(|i| meta.chunk_range(i)).collect(),
        }),
    };
    let bytes = Bytes::new(meta.prefix.clone(), meta.header_len, meta.content_len, chunks);
    Ok((into_record(wanted, meta, state)?, bytes))
}

/// Reads a record without its bytes.
pub(super) fn record(shared: &Shared, wanted: &MessageToRead) -> Result<Record, Unread> {
    let front = front(shared, wanted, Patience::Wait, false)?;
    into_record(wanted, front.meta, front.state)
}

/// Reads a record and its header block, prefix first.
pub(super) fn header(shared: &Shared, wanted: &MessageToRead) -> Result<(Record, Vec<u8>), Unread> {
    let front = front(shared, wanted, Patience::Wait, false)?;
    let (_, len) = front.meta.chunk_range(0);
    let chunk = chunk(&front.source, wanted.entry.id, 0, front.chunks_at, len)?;
    let mut header = front.meta.prefix.clone();
    header.extend_from_slice(chunk.get(..front.meta.header_len as usize).unwrap_or(&chunk));
    Ok((into_record(wanted, front.meta, front.state)?, header))
}

/// Reads everything of a message, to copy it forward.
pub(super) fn whole(shared: &Shared, wanted: &MessageToRead) -> Result<WholeMessage, Unread> {
    let Front { meta, state, content, source, chunks_at } = front(shared, wanted, Patience::Wait, true)?;
    let content = match content {
        Some(content) => vec![content.into()],
        None => (0..meta.chunks())
            .map(|i| {
                let (start, len) = meta.chunk_range(i);
                chunk(&source, wanted.entry.id, i, chunk_at(chunks_at, i, start), len).map(Piece::from)
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(WholeMessage { meta, state, content })
}

fn into_record(wanted: &MessageToRead, meta: Meta, state: State) -> Result<Record, Unread> {
    wanted.record(meta, state).map_err(|_| Unread::Damaged("its state does not decode".into()))
}

/// Reads the message frame with the present state, and the content if it is small and `content` is true.
fn front(shared: &Shared, wanted: &MessageToRead, patience: Patience, content: bool) -> Result<Front, Unread> {
    let entry = &wanted.entry;
    let source = source(shared, entry.place)?;
    let at = u64::from(entry.place.at);
    let small = content && entry.disk_len <= SMALL;
    let first = if small { entry.disk_len as usize } else { FIRST_READ.min(entry.disk_len as usize) };
    let (head, mut bytes) = frame(&source, at, Kind::Message, entry.id, first, patience)?;
    let chunks_at = at + head.frame_len();
    let payload = &bytes[HEAD..head.frame_len() as usize];
    let (meta, stored, _) =
        codec::read_message(payload).map_err(|_| Unread::Damaged("its envelope does not decode".into()))?;
    let inline = if small && meta.chunks() == 1 {
        let chunk_start = head.frame_len() as usize;
        check_chunk(bytes.get(chunk_start..), &source, entry.id, 0, meta.content_len)?;
        bytes.drain(..chunk_start + HEAD);
        bytes.truncate(meta.content_len as usize);
        Some(bytes)
    } else {
        None
    };
    let retry_at = stored.status.next;
    let base = match (&wanted.unwritten, entry.state) {
        (Some(state), _) => State::clone(state),
        (None, Some(place)) => self::state(shared, place, entry.id, patience)?,
        (None, None) => stored,
    };
    Ok(Front { meta, state: wanted.state(base, retry_at), content: inline, source, chunks_at })
}

fn state(shared: &Shared, place: Place, id: QueueId, patience: Patience) -> Result<State, Unread> {
    let source = source(shared, place)?;
    let (head, bytes) = frame(&source, place.at.into(), Kind::State, id, STATE_READ, patience)?;
    let read = codec::read_state(&bytes[HEAD..head.frame_len() as usize]);
    read.map(|(state, _)| state).map_err(|_| Unread::Damaged("its state does not decode".into()))
}

fn source(shared: &Shared, place: Place) -> Result<Source, Unread> {
    match shared.segments.source(place.segment) {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(Unread::Gone),
        Err(error) => Err(Unread::Failed(error)),
    }
}

/// Reads a frame of this kind and message at `at`, and the following octets, up to `first` in all.
fn frame(
    source: &Source,
    at: u64,
    kind: Kind,
    id: QueueId,
    first: usize,
    patience: Patience,
) -> Result<(Head, Vec<u8>), Unread> {
    let mut bytes = vec![0; first.max(HEAD)];
    let got = read_at(source, &mut bytes, at, patience)?;
    bytes.truncate(got);
    let head = Head::decode(&bytes, source.mark)
        .filter(|head| head.kind == kind && head.id == Some(id))
        .ok_or_else(|| Unread::Damaged(format!("its {kind:?} frame has a damaged head")))?;
    let len = head.frame_len() as usize;
    if len > bytes.len() {
        let have = bytes.len();
        // The head's checksum covers the length, so it can be trusted.
        bytes.resize(len, 0);
        let got = read_at(source, &mut bytes[have..], at + have as u64, patience)?;
        bytes.truncate(have + got);
    }
    match bytes.get(HEAD..len) {
        Some(payload) if head.fits(payload) => Ok((head, bytes)),
        _ => Err(Unread::Damaged(format!("its {kind:?} frame does not match its checksum"))),
    }
}

/// Reads the payload of one chunk.
fn chunk(source: &Source, id: QueueId, index: usize, at: u64, len: u64) -> Result<Vec<u8>, Unread> {
    let mut bytes = vec![0; HEAD + len as usize];
    let got = read_at(source, &mut bytes, at, Patience::Wait)?;
    check_chunk(bytes.get(..got), source, id, index, len)?;
    bytes.drain(..HEAD);
    Ok(bytes)
}

fn check_chunk(bytes: Option<&[u8]>, source: &Source, id: QueueId, index: usize, len: u64) -> Result<(), Unread> {
    let sound = bytes.is_some_and(|bytes| {
        Head::decode(bytes, source.mark).is_some_and(|head| {
            let is_it = head.kind == Kind::Chunk && head.id == Some(id) && usize::from(head.part) == index;
            let payload = bytes.get(HEAD..HEAD + len as usize);
            is_it && payload.is_some_and(|payload| head.fits(payload))
        })
    });
    if sound {
        Ok(())
    } else {
        Err(Unread::Damaged(format!("part {index} of its content does not match its checksum")))
    }
}

fn chunk_at(chunks_at: u64, index: usize, start: u64) -> u64 {
    chunks_at + start + (index * HEAD) as u64
}

/// Fills `buffer`, or less at the end of the file. If the disk reports an error, the place is recorded for every reader: nothing must be
/// written there again after its mail has gone.
fn read_at(source: &Source, buffer: &mut [u8], at: u64, patience: Patience) -> Result<usize, Unread> {
    let mut got = 0;
    while got < buffer.len() {
        let (rest, from) = (&mut buffer[got..], at + got as u64);
        let read = match patience {
            Patience::Wait => source.file.read_at(rest, from),
            // EAGAIN means that the octets are not cached, EOPNOTSUPP that the file system cannot tell.
            Patience::Never => {
                match rustix::io::preadv2(&source.file, &mut [IoSliceMut::new(rest)], from, ReadWriteFlags::NOWAIT) {
                    Ok(n) => Ok(n),
                    Err(_) => return Err(Unread::NotYet),
                }
            }
        };
        match read {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if is_bad_block(&error) {
                    source.note_damage(from..at + buffer.len() as u64);
                }
                return Err(Unread::Failed(error));
            }
        }
    }
    Ok(got)
}

/// Content that is read while it is sent.
struct OnDisk {
    shared: Arc<Shared>,
    id: QueueId,
    source: Source,
    chunks_at: u64,
    chunks: Vec<(u64, u64)>,
}

impl ReadChunk for OnDisk {
    fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>> {
        Box::pin(async move {
            let id = self.id;
            let read = threads::blocking(move || {
                let (start, len) = *self.chunks.get(index).ok_or_else(|| Unread::Damaged("no such part".into()))?;
                let read = chunk(&self.source, id, index, chunk_at(self.chunks_at, index, start), len);
                if let Err(Unread::Damaged(why)) = &read {
                    unreadable::set_aside(&self.shared, id, why);
                }
                read
            });
            read.await.map_err(|_| Error::Stopped("it is stopping".into()))?.map_err(|unread| error(id, unread))
        })
    }
}

/// Converts the reason to the port's error.
pub(super) fn error(id: QueueId, unread: Unread) -> Error {
    match unread {
        Unread::Damaged(why) => Error::Corrupt { id, why },
        Unread::Failed(source) => Error::Io { what: format!("reading message {id}"), source },
        Unread::NotYet | Unread::Gone => Error::Unknown(id),
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::super::segments::{FoundSegment, Reclaim, Segments};
    use super::*;

    #[test]
    fn what_the_disk_does_not_give_of_a_message_under_way_is_noted_in_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path());
        segments.found(1, FoundSegment::full(7));
        // Reading unmapped memory gives EIO, as a bad block of a disk does.
        std::os::unix::fs::symlink("/proc/self/mem", dir.path().join(frame::file_name(1, 7))).unwrap();
        let source = segments.source(1).unwrap().unwrap();
        assert!(!segments.is_damaged(1));
        let read = chunk(&source, QueueId::from_u64(1), 1, 64, 1000);
        assert!(matches!(read, Err(Unread::Failed(_))), "{read:?}");
        drop(source);
        assert!(segments.is_damaged(1));
        let Reclaim::Retire(damaged) = segments.forget(1) else { panic!("it counts as sound") };
        assert_eq!((damaged[0].start, damaged[0].end), (64, 64 + 1000 + HEAD as u64));
    }
}

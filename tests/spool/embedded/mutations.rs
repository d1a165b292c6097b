//! Every kind of frame, mutated in every way: at most one message is lost, and it is named in `quarantine/LIST` wherever something in
//! the spool still says which it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use postbud::message::QueueId;
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Draft, Filter, Intervene, LinesById, RecipientState, Spool, Work};
use postbud::time::Timestamp;

use super::rig::open;
use crate::backend::{copy_segments, files_with, settings};
use crate::drafts::{draft, soon};
use crate::port::{claim_all, content_of, deferred, delivered, settlement};

const HEAD: usize = 32;
const KINDS: u8 = 11;
const MESSAGE: u8 = 1;
const FOOTER: u8 = 9;

/// A frame as it stands in a segment's file.
#[derive(Clone, Copy, Debug)]
struct Frame {
    at: usize,
    kind: u8,
    id: u64,
    len: usize,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The frame at `at`, if its head is sound.
fn frame_at(bytes: &[u8], at: usize) -> Option<Frame> {
    let head = bytes.get(at..at + HEAD)?;
    let is_sound = head[..8] == mark_of(bytes) && u32_at(head, 28) == crc32fast::hash(&head[..28]);
    let id = u64::from_le_bytes(head[8..16].try_into().unwrap());
    is_sound.then(|| Frame { at, kind: head[16], id, len: u32_at(head, 20) as usize })
}

fn mark_of(segment: &[u8]) -> [u8; 8] {
    segment[24..32].try_into().unwrap()
}

/// All frames, one behind the other.
fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut found: Vec<Frame> = Vec::new();
    let mut at = 64;
    while let Some(frame) = frame_at(bytes, at) {
        at += HEAD + frame.len;
        found.push(frame);
    }
    found
}

/// All ids that some sound head in these octets names.
fn ids_in_heads(bytes: &[u8]) -> BTreeSet<u64> {
    let mark = mark_of(bytes);
    let heads = memchr::memmem::find_iter(bytes, &mark).filter_map(|at| frame_at(bytes, at));
    heads.map(|frame| frame.id).filter(|id| *id != 0).collect()
}

fn seal_head(bytes: &mut [u8], at: usize) {
    let crc = crc32fast::hash(&bytes[at..at + 28]);
    bytes[at + 28..at + 32].copy_from_slice(&crc.to_le_bytes());
}

/// A way to mutate a frame.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    /// An octet of the head is another.
    Head(usize),
    /// An octet of the payload is another.
    Payload(usize),
    /// The head says another length, and its checksum fits.
    Length(u32),
    /// The head says another kind, and its checksum fits.
    Kind(u8),
    /// The head says that it is another part, and its checksum fits.
    Part,
    /// The head is gone.
    NoHead,
    /// All of the frame is gone.
    Nothing,
}

impl Mutation {
    /// All that can be done to a frame.
    fn all(frame: Frame) -> Vec<Mutation> {
        let heads = [0, 7, 8, 12, 15, 16, 17, 18, 20, 23, 24, 28, 31].map(Mutation::Head);
        let payload = [0, frame.len / 2, frame.len.saturating_sub(1)];
        let payload = payload.into_iter().take(frame.len.min(3)).map(Mutation::Payload);
        let len = frame.len as u32;
        let lengths = [0, 1, len.wrapping_sub(1), len + 1, len + HEAD as u32, len + 2000, 1 << 20, u32::MAX];
        let lengths = lengths.into_iter().filter(|other| *other != len).map(Mutation::Length);
        let kinds = (0..=KINDS + 1).filter(|kind| *kind != frame.kind).map(Mutation::Kind);
        heads
            .into_iter()
            .chain(payload)
            .chain(lengths)
            .chain(kinds)
            .chain([Mutation::Part, Mutation::NoHead, Mutation::Nothing])
            .collect()
    }

    fn apply(self, bytes: &mut [u8], frame: Frame) {
        let Frame { at, len, .. } = frame;
        match self {
            Mutation::Head(offset) => bytes[at + offset] ^= 0x20,
            Mutation::Payload(offset) => bytes[at + HEAD + offset] ^= 0x20,
            Mutation::Length(len) => bytes[at + 20..at + 24].copy_from_slice(&len.to_le_bytes()),
            Mutation::Kind(kind) => bytes[at + 16] = kind,
            Mutation::Part => bytes[at + 18] ^= 1,
            Mutation::NoHead => bytes[at..at + HEAD].fill(0),
            Mutation::Nothing => bytes[at..at + HEAD + len].fill(0),
        }
        if matches!(self, Mutation::Length(_) | Mutation::Kind(_) | Mutation::Part) {
            seal_head(bytes, at);
        }
    }
}

/// A spool whose frames are of every kind, and the messages that wait in it.
struct Log {
    /// As a killed process left it, and as a stop in order did.
    folders: Vec<PathBuf>,
    waiting: Contents,
}

/// What each message's content is.
type Contents = BTreeMap<QueueId, Vec<u8>>;

async fn log(dir: &Path) -> Log {
    let live = dir.join("live");
    let spool = open(&live);
    let mut waiting = BTreeMap::new();
    let mut ids = Vec::new();
    for seed in 0..9 {
        let size = if seed == 6 { 270_000 } else { 700 };
        let held = (seed == 5).then(|| "from the start".to_owned());
        let id = spool.commit(Draft { held, ..draft("x", &["a@b.dk", "c@d.dk"], seed, size) }).await.unwrap().id();
        waiting.insert(id, content_of(seed, size));
        ids.push(id);
    }
    let late = soon() + std::time::Duration::from_secs(3600);
    for lease in claim_all(&*spool, "x").await {
        let result = match ids.iter().position(|id| *id == lease.record.id).unwrap() {
            0 => delivered(&lease),
            1 => settlement(&lease, RecipientState::Waiting { last_reply: Some("451 later".into()) }, late),
            2 | 3 => deferred(&lease, late),
            4 => deferred(&lease, Timestamp::now()),
            _ => continue,
        };
        spool.settle(lease, result).await.unwrap();
    }
    waiting.remove(&ids[0]);
    spool.hold(Filter::of([ids[2], ids[3]]), "by hand".into(), LinesById::new()).await.unwrap();
    spool.release(Filter::of([ids[3], ids[5]]), LinesById::new()).await.unwrap();
    // Claimed again: with a due time of its own.
    drop(claim_all(&*spool, "x").await);
    let last = spool.commit(draft("x", &["a@b.dk"], 9, 700)).await.unwrap().id();
    waiting.insert(last, content_of(9, 700));
    let killed = dir.join("killed");
    copy_segments(&live, &killed);
    spool.stop().await;
    for folder in [&live, &killed] {
        write_void(folder);
    }
    Log { folders: vec![killed, live], waiting }
}

/// Adds a segment that declares a part of another void, one that is gone.
fn write_void(folder: &Path) {
    let mark = 0x1122_3344_5566_7788_u64.to_le_bytes();
    let mut segment = vec![0; 64];
    let model = fs::read(&files_with(folder, "seg")[0]).unwrap();
    segment[..20].copy_from_slice(&model[..20]);
    segment[20..24].copy_from_slice(&99u32.to_le_bytes());
    segment[24..32].copy_from_slice(&mark);
    let crc = crc32fast::hash(&segment[..60]);
    segment[60..].copy_from_slice(&crc.to_le_bytes());
    // Segment 98 counts up to offset 64.
    let payload = [98, 64];
    segment.extend_from_slice(&mark);
    segment.extend_from_slice(&[0; 24]);
    segment[64 + 16] = 8;
    segment[64 + 20..64 + 24].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    segment[64 + 24..64 + 28].copy_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    seal_head(&mut segment, 64);
    segment.extend_from_slice(&payload);
    assert_eq!(frames(&segment).len(), 1);
    fs::write(folder.join("00000063-1122334455667788.seg"), segment).unwrap();
}

/// What of a mutated spool is still there, octet for octet.
async fn sound_ids(dir: &Path, waiting: &Contents) -> BTreeSet<QueueId> {
    let spool = Embedded::open(Settings { segment_size: 64 << 10, ..settings(dir) }).unwrap();
    let mut sound = BTreeSet::new();
    for lease in spool.seize(Filter::default(), 100).await.unwrap() {
        let mut content = Vec::new();
        for chunk in 0..lease.bytes.chunks() {
            match lease.bytes.chunk(chunk).await {
                Ok(octets) => content.extend(octets),
                Err(_) => break,
            }
        }
        if waiting.get(&lease.record.id) == Some(&content) {
            sound.insert(lease.record.id);
        }
    }
    spool.stop().await;
    sound
}

#[tokio::test]
async fn a_mutated_frame_that_a_kill_left_costs_at_most_its_own_message_and_that_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    // All but those that a stop writes.
    mutate_all(&log, &log.folders[0], [1, 2, 3, 4, 5, 6, 7, 8, 11]).await;
}

#[tokio::test]
async fn a_mutated_frame_of_a_sealed_segment_costs_at_most_its_own_message_and_that_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    mutate_all(&log, &log.folders[1], 1..=KINDS).await;
}

/// Mutates the first and the last frame of each kind in every way.
async fn mutate_all(log: &Log, folder: &Path, kinds: impl IntoIterator<Item = u8>) {
    let segments: Vec<_> = files_with(folder, "seg").into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    for kind in kinds {
        let mut all = Vec::new();
        for (whole, path) in &segments {
            all.extend(frames(whole).into_iter().filter(|frame| frame.kind == kind).map(|frame| (frame, whole, path)));
        }
        assert!(!all.is_empty(), "there is no frame of kind {kind}");
        for (frame, whole, path) in [all[0], all[all.len() - 1]].into_iter().take(all.len()) {
            for mutation in Mutation::all(frame) {
                let mut mutated = whole.clone();
                mutation.apply(&mut mutated, frame);
                try_one(log, folder, path, &mutated, &format!("{frame:?} {mutation:?}")).await;
            }
        }
    }
}

async fn try_one(log: &Log, folder: &Path, path: &Path, mutated: &[u8], what: &str) {
    // In memory, where there is such a place: a thousand spools are opened here.
    let here = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    copy_segments(folder, here.path());
    fs::write(here.path().join(path.file_name().unwrap()), mutated).unwrap();
    let what = format!("{} {what}", path.display());
    let sound = sound_ids(here.path(), &log.waiting).await;
    let lost: Vec<QueueId> = log.waiting.keys().copied().filter(|id| !sound.contains(id)).collect();
    assert!(lost.len() <= 1, "{what}: lost {lost:?}");
    let list = fs::read_to_string(here.path().join("quarantine/LIST")).unwrap_or_default();
    let heads = ids_in_heads(mutated);
    let has_footer = frames(mutated).iter().any(|frame| frame.kind == FOOTER);
    for id in lost {
        let can_be_known = heads.contains(&id.as_u64()) || has_footer;
        assert!(!can_be_known || list.contains(&id.to_string()), "{what}: {id} is not named in {list:?}");
        assert!(!list.is_empty(), "{what}: lost in silence");
    }
}

#[tokio::test]
async fn what_a_later_result_was_about_is_named_although_its_message_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    let path = files_with(&log.folders[0], "seg").remove(0);
    let mut segment = fs::read(&path).unwrap();
    let all = frames(&segment);
    // Messages that were deferred or held: of each there is a frame behind the message itself.
    let later: BTreeSet<u64> = all.iter().filter(|frame| [3, 4, 5, 7].contains(&frame.kind)).map(|f| f.id).collect();
    let gone: Vec<QueueId> = log.waiting.keys().copied().filter(|id| later.contains(&id.as_u64())).collect();
    assert!(gone.len() >= 3);
    for frame in all.iter().filter(|frame| frame.kind <= MESSAGE + 1 && later.contains(&frame.id)) {
        Mutation::Nothing.apply(&mut segment, *frame);
    }
    fs::write(&path, segment).unwrap();
    let sound = sound_ids(&log.folders[0], &log.waiting).await;
    assert_eq!(sound.len(), log.waiting.len() - gone.len());
    let list = fs::read_to_string(log.folders[0].join("quarantine/LIST")).unwrap();
    assert!(gone.iter().all(|id| list.contains(&id.to_string())), "{gone:?}\n{list}");
}

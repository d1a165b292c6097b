//! Erases a recipient from the journal, for data protection: from archives and from files that are still open.
//!
//! An event about the recipient keeps the fields that are needed to count mail (its id, time, kind, customer, route, class) and those that
//! say which operator did something, and loses the fields about the person. The line keeps its length, so that positions in the journal stay
//! valid for webhooks and readers. Mail that waits in the queue is not part of the journal; `postbud queue remove` removes it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::archive::keys::{Key, Named};
use super::archive::{Archive, ArchiveWriter};
use super::files::{JournalFile, files};
use crate::files::{folder, in_state, open_regular};

/// The fields that an erased event keeps. All other fields are erased, also those that a later version adds.
const KEPT: [&str; 17] = [
    "event_id",
    "at",
    "event",
    "about",
    "queue_id",
    "customer",
    "from_domain",
    "route",
    "attempt",
    "code",
    "status",
    "class",
    "campaign",
    "tags",
    "actor",
    "command",
    "changed",
];

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// The number of events about the recipient.
    pub events: u64,
    /// The number of files that held such events.
    pub files: u64,
}

/// Erases every event about `recipient` from the journal at `log`, including the file that is being written. After an error, each file is
/// either unchanged or erased, and erasing again finishes the rest. Root does this with the rights of the folder's owner.
pub fn erase(log: &Path, recipient: &str) -> io::Result<Erased> {
    in_state(&[folder(log)], || erase_in_files(recipient, || files(log)))
}

/// Erases in the files that `list` returns.
fn erase_in_files(recipient: &str, mut list: impl FnMut() -> io::Result<Vec<JournalFile>>) -> io::Result<Erased> {
    let mut erased = Erased::default();
    let mut done = BTreeSet::new();
    // A rotation gives the path of the current file to another one. Look again until nothing is left that was not seen.
    loop {
        let left: Vec<JournalFile> = list()?.into_iter().filter(|file| !done.contains(&file.number)).collect();
        if left.is_empty() {
            return Ok(erased);
        }
        for file in left {
            let events = erase_in_file(&file, recipient)?;
            erased.events += events;
            erased.files += u64::from(events > 0);
            done.insert(file.number);
        }
    }
}

/// Erases the recipient's events in a file, in every form that it has, and returns their number.
fn erase_in_file(file: &JournalFile, recipient: &str) -> io::Result<u64> {
    let of = |path: &Path, erase: fn(&Path, &str) -> io::Result<u64>| match erase(path, recipient) {
        // Retention removed the file, or it was archived meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        other => other.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let in_place = if file.is_archive { 0 } else { of(&file.path, in_place)? };
    let in_archive = if file.number.is_some() { of(&file.archive_path(), in_archive)? } else { 0 };
    Ok(in_place + in_archive)
}

/// Rewrites the archive if one of its blocks names the recipient.
fn in_archive(path: &Path, recipient: &str) -> io::Result<u64> {
    let archive = Archive::open(path)?;
    let affected = archive.blocks_with(&Key::Recipient(recipient))?;
    if affected.is_empty() {
        return Ok(0);
    }
    let mut writer = ArchiveWriter::in_place_of(path)?;
    let mut events = 0;
    for number in 0..archive.blocks() {
        let mut lines = archive.block(number)?;
        if affected.contains(&number) {
            events += in_lines(&mut lines, recipient).len() as u64;
        }
        writer.add(&lines)?;
    }
    if events > 0 {
        writer.finish()?;
    }
    Ok(events)
}

/// Overwrites lines of a file to which lines may still be appended. Waits until the file is not being compressed any more, because the archive
/// would have the lines as they were.
fn in_place(path: &Path, recipient: &str) -> io::Result<u64> {
    const PIECE: u64 = 4 << 20;
    let file = open_regular(OpenOptions::new().read(true).write(true), path)?;
    file.lock()?;
    if file.metadata()?.nlink() == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (mut at, mut events) = (0, 0);
    loop {
        let mut piece = read_at(&file, at, PIECE)?;
        let Some(end) = memchr::memrchr(b'\n', &piece) else {
            // The rest has no line end: it is empty, a line that is being written, or a line longer than a piece.
            if (piece.len() as u64) < PIECE {
                break;
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 4 MiB"));
        };
        piece.truncate(end + 1);
        for changed in in_lines(&mut piece, recipient) {
            file.write_all_at(&piece[changed.clone()], at + changed.start as u64)?;
            events += 1;
        }
        at += piece.len() as u64;
    }
    if events > 0 {
        file.sync_data()?;
    }
    Ok(events)
}

fn read_at(file: &File, at: u64, most: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len().saturating_sub(at).min(most);
    let mut piece = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece)
}

/// Returns what is left of an event about the recipient, or `None` if it is about somebody else.
pub(crate) fn without(event: &str, recipient: &str) -> Option<String> {
    let is_meant = Named::of(event.as_bytes()).is_some_and(|named| named.names(&Key::Recipient(recipient)));
    if !is_meant {
        return None;
    }
    Some(kept(serde_json::from_str(event).ok()?).to_string())
}

/// Erases the recipient's events among these lines. Returns the range of each.
fn in_lines(lines: &mut [u8], recipient: &str) -> Vec<std::ops::Range<usize>> {
    let mut changed = Vec::new();
    let mut begin = 0;
    while let Some(len) = memchr::memchr(b'\n', &lines[begin..]) {
        let line = &mut lines[begin..begin + len];
        let is_meant = Named::of(line).is_some_and(|named| named.names(&Key::Recipient(recipient)));
        if is_meant && erase_line(line) {
            changed.push(begin..begin + len);
        }
        begin += len + 1;
    }
    changed
}

/// Replaces an event by its kept fields, and pads it with spaces to the same length, which JSON allows at the end.
fn erase_line(line: &mut [u8]) -> bool {
    let Ok(Value::Object(event)) = serde_json::from_slice::<Value>(line) else { return false };
    let mut text = kept(event).to_string().into_bytes();
    if text.len() > line.len() {
        // The line is too short even for the mark. This takes a recipient with an address of one octet.
        text = b"{\"erased\":true}".to_vec();
    }
    if text.len() > line.len() {
        return false;
    }
    line[..text.len()].copy_from_slice(&text);
    line[text.len()..].fill(b' ');
    true
}

/// Returns an event without the fields about the person.
fn kept(event: Map<String, Value>) -> Value {
    let mut kept: Map<String, Value> = event.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).collect();
    kept.insert("erased".into(), Value::Bool(true));
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::archive;
    use crate::record::trace::{Query, find};
    use std::fs;

    fn line(n: u32, recipient: &str) -> String {
        format!(
            r#"{{"event_id":"{n}","at":"2026-11-29T08:00:00.000Z","event":"bounced","queue_id":"Q{n}","recipient":"{recipient}","code":550,"reply":"<{recipient}> unknown"}}"#
        ) + "\n"
    }

    #[test]
    fn a_recipient_vanishes_from_closed_and_open_files_and_no_line_moves() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        let text: String = (0..3000).map(|n| line(n, if n % 100 == 7 { "Ole@x.dk" } else { "else@x.dk" })).collect();
        let (closed, full) = (dir.path().join("e.jsonl.000001"), dir.path().join("e.jsonl.000002"));
        fs::write(&closed, &text).unwrap();
        archive::close(&closed, &dir.path().join("e.jsonl.000001.zst"), 0o600).unwrap();
        fs::write(full, &text).unwrap();
        fs::write(&log, text.clone() + "{\"recipient\":\"ole@x.dk\"").unwrap();

        assert_eq!(erase(&log, "ole@X.dk").unwrap(), Erased { events: 90, files: 3 });
        assert_eq!(erase(&log, "ole@x.dk").unwrap(), Erased::default());
        let query = |recipient: &str| Query { recipient: Some(recipient.into()), ..Query::default() };
        assert!(find(&log, &query("ole@x.dk"), 9999).unwrap().traces.is_empty());
        let archive = Archive::open(&dir.path().join("e.jsonl.000001.zst")).unwrap();
        let mut left = Vec::new();
        while (left.len() as u64) < archive.octets() {
            left.extend(archive.lines_from(left.len() as u64).unwrap());
        }
        for (name, left) in [("closed", left), ("open", fs::read(&log).unwrap()[..text.len()].to_vec())] {
            assert!(memchr::memmem::find(&left, b"Ole").is_none(), "{name}");
            let lines = |text: &[u8]| text.split(|b| *b == b'\n').map(<[u8]>::len).collect::<Vec<_>>();
            assert_eq!(lines(&left), lines(text.as_bytes()), "{name}");
            let eighth: Value = serde_json::from_slice(left.split(|b| *b == b'\n').nth(7).unwrap()).unwrap();
            assert_eq!(eighth["erased"], true);
            assert_eq!((eighth["event_id"].as_str(), eighth["code"].as_u64()), (Some("7"), Some(550)));
            assert!(eighth.get("recipient").is_none() && eighth.get("reply").is_none());
        }
    }

    #[test]
    fn a_recipient_is_found_and_erased_however_the_address_is_written() {
        for (event, asked) in [
            ("ole@xn--blbr-roah.dk", "Ole@Blåbær.dk"),
            ("ØLE@x.dk", "øle@x.dk"),
            ("\\\"ole\\\"@x.dk", "ole@x.dk"),
            ("ole@x.dk", "\"ole\"@x.dk."),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let log = dir.path().join("e.jsonl");
            let closed = dir.path().join("e.jsonl.000001");
            fs::write(&closed, line(1, "else@x.dk") + &line(2, event)).unwrap();
            archive::close(&closed, &dir.path().join("e.jsonl.000001.zst"), 0o600).unwrap();
            fs::write(&log, line(3, event) + &line(4, "else@x.dk")).unwrap();
            let query = Query { recipient: Some(asked.into()), ..Query::default() };
            assert_eq!(find(&log, &query, 9).unwrap().traces.len(), 2, "{asked}");
            assert_eq!(erase(&log, asked).unwrap(), Erased { events: 2, files: 2 }, "{asked}");
            assert!(find(&log, &query, 9).unwrap().traces.is_empty(), "{asked}");
        }
    }

    #[test]
    fn a_file_that_is_rotated_meanwhile_is_erased_from_too() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        fs::write(&log, line(1, "ole@x.dk")).unwrap();
        let mut lists = 0;
        let erased = erase_in_files("ole@x.dk", || {
            let found = files(&log);
            lists += 1;
            if lists <= 2 {
                fs::rename(&log, dir.path().join(format!("e.jsonl.{lists:06}"))).unwrap();
                fs::write(&log, line(lists + 1, "ole@x.dk")).unwrap();
            }
            found
        });
        // What is written behind the erased events is new.
        assert_eq!(erased.unwrap(), Erased { events: 2, files: 2 });
        let text = fs::read_to_string(dir.path().join("e.jsonl.000001")).unwrap();
        assert!(!text.contains("ole@x.dk"), "{text}");
    }

    #[test]
    fn a_file_that_is_being_compressed_is_erased_from_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        let (full, archive) = (dir.path().join("e.jsonl.000001"), dir.path().join("e.jsonl.000001.zst"));
        fs::write(&full, line(1, "ole@x.dk")).unwrap();
        let compressing = File::open(&full).unwrap();
        compressing.lock().unwrap();
        let inode = compressing.metadata().unwrap().ino();
        std::thread::scope(|scope| {
            let erasing = scope.spawn(|| erase(&log, "ole@x.dk").unwrap());
            let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&format!(":{inode} "));
            while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
                assert!(!erasing.is_finished(), "it does not wait");
                std::thread::yield_now();
            }
            let mut writer = ArchiveWriter::new(&archive, 0o600).unwrap();
            writer.add(line(1, "ole@x.dk").as_bytes()).unwrap();
            writer.finish().unwrap();
            fs::remove_file(&full).unwrap();
            drop(compressing);
            assert_eq!(erasing.join().unwrap(), Erased { events: 1, files: 1 });
        });
        // The other way round, the file stays until it is tried again.
        fs::write(&full, line(2, "else@x.dk")).unwrap();
        let erasing = File::open(&full).unwrap();
        erasing.lock().unwrap();
        assert_eq!(archive::close(&full, &archive, 0o600).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(erasing);
        archive::close(&full, &archive, 0o600).unwrap();
    }

    #[test]
    fn no_file_of_the_journal_is_opened_through_a_link_and_no_pipe_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (log, victim) = (dir.path().join("e.jsonl"), dir.path().join("victim"));
        fs::write(&victim, line(1, "ole@x.dk")).unwrap();
        let query = Query { recipient: Some("ole@x.dk".into()), ..Query::default() };
        for name in ["e.jsonl", "e.jsonl.000001", "e.jsonl.000001.zst"] {
            let path = dir.path().join(name);
            for kind in ["link", "pipe"] {
                if kind == "link" {
                    std::os::unix::fs::symlink(&victim, &path).unwrap();
                } else {
                    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
                }
                let said =
                    [erase(&log, "ole@x.dk").unwrap_err(), find(&log, &query, 9).unwrap_err()].map(|e| e.to_string());
                for said in said {
                    assert!(said.contains(name) && said.contains("remove it"), "{kind} {name}: {said}");
                }
                fs::remove_file(&path).unwrap();
            }
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), line(1, "ole@x.dk"));
    }
}

//! Returned mail that waits to be read: one file for each message, in a folder of its own.
//!
//! Promise: after [`keep`](Inbox::keep) returns, the message is durably on disk, and stays there until [`remove`](Inbox::remove). After a
//! crash, the next start reads it. A half-written file has no name that counts.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;

use super::addresses::public_part;
use crate::files::{self, Whole};
use crate::smtp::Mailbox;
use crate::time::Timestamp;

/// The extension of a message's file.
const ENDING: &str = ".mail";
/// The disk space of a file besides its content, for the limit.
const BESIDES: u64 = 4096;

/// How a message was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub at: Timestamp,
    pub peer: IpAddr,
    /// The client's name for itself.
    pub client: String,
    /// MAIL FROM; empty for the null sender.
    pub sender: String,
    pub recipients: Vec<Mailbox>,
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct Line {
    at: u64,
    peer: IpAddr,
    client: String,
    sender: String,
    recipients: Vec<String>,
}

/// The name and size of a message's file. Names sort by arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    text: String,
    octets: u64,
}

/// Why a message is not accepted.
#[derive(Debug, Error)]
pub(super) enum KeepError {
    /// Too much mail waits, or the disk is full.
    #[error("there is no room")]
    Full,
    /// The disk reported another error.
    #[error("{0}")]
    Io(#[source] io::Error),
}

#[derive(Debug)]
pub(super) struct Inbox {
    dir: PathBuf,
    /// The most octets that may wait.
    most: u64,
    octets_kept: AtomicU64,
    waiting: Mutex<VecDeque<(Name, Timestamp)>>,
    arrived: Notify,
}

impl Inbox {
    /// Opens or creates the folder. Blocks.
    pub fn open(dir: PathBuf, most: u64) -> io::Result<Inbox> {
        files::make_private_dir(&dir)?;
        let (mut names, mut octets_kept) = (Vec::new(), 0);
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                // A half-written message was never acknowledged.
                fs::remove_file(entry.path())?;
            } else if name.ends_with(ENDING) && entry.file_type()?.is_file() {
                let octets = entry.metadata()?.len();
                octets_kept += octets + BESIDES;
                names.push((Name { text: name, octets }, Timestamp::EPOCH));
            }
        }
        names.sort();
        Ok(Inbox {
            dir,
            most,
            octets_kept: octets_kept.into(),
            waiting: Mutex::new(names.into()),
            arrived: Notify::new(),
        })
    }

    /// Makes a message durable. One whose recipients everybody knows gets only a part of the room. Blocks.
    pub fn keep(&self, arrival: &Arrival, message: &[u8], is_public: bool) -> Result<(), KeepError> {
        let line = Line {
            at: arrival.at.as_millis(),
            peer: arrival.peer,
            client: arrival.client.clone(),
            sender: arrival.sender.clone(),
            recipients: arrival.recipients.iter().map(ToString::to_string).collect(),
        };
        let mut content = serde_json::to_vec(&line).map_err(|error| KeepError::Io(error.into()))?;
        content.push(b'\n');
        content.extend_from_slice(message);
        let octets = content.len() as u64 + BESIDES;
        // A large message fits where nothing else waits.
        let most = |kept: u64| if is_public && kept > 0 { public_part(self.most) } else { self.most };
        let within = |kept: u64| kept.checked_add(octets).filter(|sum| *sum <= most(kept));
        self.octets_kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).map_err(|_| KeepError::Full)?;
        match self.write(arrival.at, &content) {
            Ok(name) => {
                self.waiting().push_back((name, Timestamp::EPOCH));
                self.arrived.notify_one();
                Ok(())
            }
            Err(error) => {
                self.octets_kept.fetch_sub(octets, Ordering::Relaxed);
                Err(match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => KeepError::Full,
                    _ => KeepError::Io(error),
                })
            }
        }
    }

    fn write(&self, at: Timestamp, content: &[u8]) -> io::Result<Name> {
        let whole = Whole::write(&self.dir, content, 0o600, Some(&self.dir))?;
        let text = format!("{:013}-{:016x}{ENDING}", at.as_millis(), rand::random::<u64>());
        whole.name(&self.dir.join(&text))?;
        Ok(Name { text, octets: content.len() as u64 })
    }

    /// Takes up to `most` due messages, the oldest first, with at most `octets` in all, but at least one.
    pub fn take(&self, most: usize, octets: u64, now: Timestamp) -> Vec<Name> {
        let mut waiting = self.waiting();
        let (mut taken, mut total) = (Vec::new(), 0);
        let mut left = VecDeque::with_capacity(waiting.len());
        for (name, due) in waiting.drain(..) {
            let fits = taken.is_empty() || (taken.len() < most && total + name.octets <= octets);
            if due <= now && fits {
                total += name.octets;
                taken.push(name)
            } else {
                left.push_back((name, due))
            }
        }
        *waiting = left;
        taken
    }

    /// Puts a message back until `due`.
    pub fn put_back(&self, name: Name, due: Timestamp) {
        self.waiting().push_back((name, due));
    }

    /// Waits until a message arrives, or a message that was put back is due.
    pub async fn has_some(&self) {
        loop {
            let next = self.waiting().iter().map(|(_, due)| *due).min();
            let now = Timestamp::now();
            let pause = match next {
                Some(due) if due <= now => return,
                // Check at least once a minute, because setting the clock changes what is due.
                Some(due) => due.since(now).min(Duration::from_secs(60)),
                None => Duration::from_secs(3600),
            };
            let _ = tokio::time::timeout(pause, self.arrived.notified()).await;
        }
    }

    /// Reads a message. Blocks.
    pub fn read(&self, name: &Name) -> io::Result<(Arrival, Vec<u8>)> {
        let octets = fs::read(self.path(name))?;
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it is no message that was written here");
        let end = memchr::memchr(b'\n', &octets).ok_or_else(wrong)?;
        let line: Line = serde_json::from_slice(&octets[..end])?;
        let recipients = line.recipients.iter().map(|text| Mailbox::parse(text).map_err(|_| wrong()));
        let arrival = Arrival {
            at: Timestamp::from_millis(line.at),
            peer: line.peer,
            client: line.client,
            sender: line.sender,
            recipients: recipients.collect::<io::Result<_>>()?,
        };
        Ok((arrival, octets[end + 1..].to_vec()))
    }

    /// Removes a message that was processed. Blocks.
    pub fn remove(&self, name: &Name) -> io::Result<()> {
        fs::remove_file(self.path(name))?;
        self.octets_kept.fetch_sub(name.octets + BESIDES, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the path of a message's file.
    pub fn path(&self, name: &Name) -> PathBuf {
        self.dir.join(&name.text)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the octets of all messages in the inbox.
    pub fn octets_kept(&self) -> u64 {
        self.octets_kept.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Name, Timestamp)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_795_458_240_123);

    fn arrival() -> Arrival {
        Arrival {
            at: AT,
            peer: "192.0.2.1".parse().unwrap(),
            client: "mx \"x\"\n".into(),
            sender: String::new(),
            recipients: vec![Mailbox::parse("\"a b\"@returns.test").unwrap()],
        }
    }

    #[test]
    fn a_message_is_there_after_a_restart_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("returned");
        let inbox = Inbox::open(path.clone(), 1 << 20).unwrap();
        let message = b"Subject: x\r\n\r\n\nbody\0\r\n";
        inbox.keep(&arrival(), message, false).unwrap();
        fs::write(path.join(".half"), "x").unwrap();
        drop(inbox);
        let inbox = Inbox::open(path.clone(), 1 << 20).unwrap();
        assert!(!path.join(".half").exists());
        let [name] = inbox.take(9, 1 << 20, AT).try_into().unwrap();
        assert_eq!(inbox.read(&name).unwrap(), (arrival(), message.to_vec()));
        assert!(inbox.octets_kept() > message.len() as u64);
        inbox.remove(&name).unwrap();
        assert_eq!((inbox.octets_kept(), path.read_dir().unwrap().count()), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_put_back_is_due_later() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(dir.path().join("returned"), 2 * (BESIDES + 200)).unwrap();
        inbox.keep(&arrival(), b"1", true).unwrap();
        assert!(matches!(inbox.keep(&arrival(), b"2", true), Err(KeepError::Full)), "strangers get a part");
        inbox.keep(&Arrival { at: AT + Duration::from_secs(1), ..arrival() }, b"2", false).unwrap();
        let [alone] = inbox.take(9, 10, AT).try_into().unwrap();
        inbox.put_back(alone.clone(), Timestamp::EPOCH);
        let both = inbox.take(9, 2 * alone.octets, AT);
        assert_eq!(both.len(), 2);
        both.into_iter().rev().for_each(|name| inbox.put_back(name, Timestamp::EPOCH));
        assert!(matches!(inbox.keep(&arrival(), b"3", false), Err(KeepError::Full)));
        let [first] = inbox.take(1, 1 << 20, AT).try_into().unwrap();
        assert_eq!(first, alone);
        inbox.put_back(first.clone(), AT + Duration::from_secs(9));
        let [second] = inbox.take(9, 1 << 20, AT).try_into().unwrap();
        assert!(first < second);
        assert_eq!(inbox.take(9, 1 << 20, AT + Duration::from_secs(9)), [first]);
        inbox.remove(&second).unwrap();
        inbox.keep(&arrival(), b"3", false).unwrap();
    }

    #[test]
    fn a_folder_that_takes_nothing_is_no_loss() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(dir.path().join("returned"), 1 << 20).unwrap();
        fs::remove_dir(inbox.dir()).unwrap();
        assert!(matches!(inbox.keep(&arrival(), b"1", false), Err(KeepError::Io(_))));
        assert_eq!((inbox.octets_kept(), inbox.take(9, 1 << 20, AT).len()), (0, 0));
    }
}

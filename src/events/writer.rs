//! The log's writer: a thread that takes lines from the buffer, writes them, and rotates the file.
//!
//! A write that fails is tried again once a second from where it stopped; meanwhile the buffer fills. An operator hears of it
//! through the program's own log, because the event log is what is broken.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::Event;
use super::buffer::Buffer;
use super::journal::Journal;

const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    buffer: Arc<Buffer>,
    journal: Arc<Journal>,
    file: File,
    rotate_size: u64,
}

impl Writer {
    pub(super) fn new(buffer: Arc<Buffer>, journal: Arc<Journal>, file: File, rotate_size: u64) -> Self {
        Writer { buffer, journal, file, rotate_size: rotate_size.max(1) }
    }

    /// Writes until the buffer is stopped and empty.
    pub(super) fn run(mut self) {
        let mut spare = Vec::new();
        loop {
            let taken = self.buffer.take(spare);
            let mut lines = taken.lines;
            if taken.lost > 0 && !taken.last {
                append_loss(&mut lines, taken.lost);
            }
            self.write_all(&lines);
            if taken.last {
                break;
            }
            spare = lines;
        }
        if let Err(error) = self.file.sync_data() {
            tracing::error!("syncing the event log: {error}");
        }
        self.journal.wait_until_closed();
    }

    fn write_all(&mut self, lines: &[u8]) {
        let mut written = 0;
        let mut complained = false;
        while written < lines.len() {
            let starts_a_line = written == 0 || lines[written - 1] == b'\n';
            match self.write_some(&lines[written..], starts_a_line) {
                Ok(octets) => {
                    written += octets;
                    if complained {
                        tracing::warn!("the event log can be written again");
                        complained = false;
                    }
                }
                Err(error) => {
                    if !complained {
                        tracing::error!("the event log cannot be written: {error}. Events wait in memory meanwhile");
                        complained = true;
                    }
                    if self.buffer.pause(RETRY) {
                        let lost = memchr::memchr_iter(b'\n', &lines[written..]).count();
                        tracing::error!(lost, "stopping while the event log cannot be written");
                        return;
                    }
                }
            }
        }
    }

    /// One write: whole lines, up to the size at which the file is rotated. The file changes only between lines: what a short
    /// write left of one goes where its beginning is.
    fn write_some(&mut self, lines: &[u8], starts_a_line: bool) -> io::Result<usize> {
        let first_line = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        if !starts_a_line {
            return self.file.write(&lines[..first_line]);
        }
        if !self.journal.is_current(&self.file)? {
            self.file = self.journal.begin_anew()?;
        }
        let mut len = self.file.metadata()?.len();
        if len > 0 && len + first_line as u64 > self.rotate_size {
            self.file = self.journal.rotate(&self.file)?;
            len = 0;
        }
        let room = usize::try_from(self.rotate_size.saturating_sub(len)).unwrap_or(usize::MAX);
        let fitting = &lines[..room.min(lines.len())];
        let end = memchr::memrchr(b'\n', fitting).map_or(first_line, |at| at + 1);
        self.file.write(&lines[..end])
    }
}

fn append_loss(lines: &mut Vec<u8>, lost: u64) {
    let detail = format!(
        "{lost} events are missing here: the log could not be written and the memory for waiting lines was full. Make room on \
         the log's disk or look at why it is slow; `postbud queue list` shows the truth about waiting mail"
    );
    tracing::error!(lost, "events were lost");
    Event::alert(detail).write_line(lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::journal::rotated;
    use crate::time::Timestamp;

    fn written(rotate_size: u64, keep: u32, lines: &[&str]) -> (tempfile::TempDir, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.jsonl");
        let (journal, file) = Journal::open(&path, 0o600, keep, 0).unwrap();
        let buffer = Arc::new(Buffer::default());
        for line in lines {
            assert!(buffer.push(line.as_bytes()));
        }
        buffer.stop();
        Writer::new(buffer, Arc::new(journal), file, rotate_size).run();
        let mut files = Vec::new();
        for file in rotated(&path).unwrap() {
            let mut text = Vec::new();
            file.search(&[], (Timestamp::EPOCH, Timestamp::NEVER), |lines| {
                text.extend_from_slice(lines);
                Ok(())
            })
            .unwrap();
            files.push(String::from_utf8(text).unwrap());
        }
        files.push(std::fs::read_to_string(path).unwrap());
        (dir, files)
    }

    #[test]
    fn files_never_grow_over_the_size_and_lines_are_never_split() {
        let (_dir, files) = written(8, 10, &["aaa\n", "bbb\n", "ccc\n", "a line that is too long\n", "d\n"]);
        assert_eq!(files, ["aaa\nbbb\n", "ccc\n", "a line that is too long\n", "d\n"]);
    }

    #[test]
    fn only_the_newest_files_are_kept() {
        let (_dir, files) = written(2, 2, &["1\n", "2\n", "3\n", "4\n", "5\n"]);
        assert_eq!(files, ["3\n", "4\n", "5\n"]);
    }

    #[test]
    fn a_loss_leaves_an_alert_in_the_log() {
        let mut lines = Vec::new();
        append_loss(&mut lines, 7);
        let event: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!(event["event"], "alert");
        assert!(event["detail"].as_str().unwrap().starts_with("7 events are missing here"));
    }
}

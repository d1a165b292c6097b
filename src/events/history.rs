//! What the log remembers of one message, for `queue show`: the spool keeps each recipient's last reply, the log every attempt.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::journal::rotated;
use crate::message::QueueId;
use crate::time::Timestamp;

/// The newest `most` events of a message, oldest first. Reads the log's files from the message's arrival on: about a second a
/// GiB, so not for an async worker. What rotated away is absent.
pub fn history(log: &Path, id: QueueId, most: usize) -> io::Result<Vec<Value>> {
    let wanted = format!("\"id\":\"{id}\"");
    let wanted = memchr::memmem::Finder::new(&wanted);
    let mut found = VecDeque::new();
    let files = rotated(log)?.into_iter().map(|(_, path)| path).chain([log.to_owned()]);
    for path in files {
        let file = match File::open(&path) {
            Ok(file) => file,
            // Rotated meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if written_before(&file, id.arrived())? {
            continue;
        }
        let mut lines = BufReader::with_capacity(256 << 10, file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            if wanted.find(&line).is_some()
                && let Ok(event) = serde_json::from_slice(&line)
            {
                if found.len() == most {
                    found.pop_front();
                }
                found.push_back(event);
            }
            line.clear();
        }
    }
    Ok(found.into())
}

/// Whether the file's last line is older than `arrival`. A minute of grace: file times are coarse and clocks are set.
fn written_before(file: &File, arrival: Timestamp) -> io::Result<bool> {
    let modified = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let modified = Timestamp::EPOCH + modified + std::time::Duration::from_secs(60);
    Ok(modified < arrival)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_messages_newest_events_are_found_across_files() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        let (id, other) = (QueueId::from_u64(1), QueueId::from_u64(2));
        let line = |id: QueueId, n: u32| format!("{{\"event\":\"deferred\",\"id\":\"{id}\",\"n\":{n}}}\n");
        std::fs::write(dir.path().join("e.jsonl.000001"), line(id, 1) + &line(other, 2) + &line(id, 3)).unwrap();
        std::fs::write(&log, format!("{{\"torn \"id\":\"{id}\"\n") + &line(id, 4)).unwrap();
        let numbers = |most| -> Vec<u64> {
            history(&log, id, most).unwrap().iter().map(|event| event["n"].as_u64().unwrap()).collect()
        };
        assert_eq!(numbers(10), [1, 3, 4]);
        assert_eq!(numbers(2), [3, 4]);
    }
}

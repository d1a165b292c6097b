//! The events of one call, cut from lines of the log.

use serde_json::json;

use super::Filter;
use crate::record::journal::cursor::Cursor;

/// The lines of the log that go into one call.
pub(super) struct Batch<'a> {
    lines: Vec<&'a [u8]>,
    /// The number of octets of the log, including lines that are not sent.
    pub octets: usize,
}

impl<'a> Batch<'a> {
    /// Takes up to `most` events from the start of a chunk. Skips lines that the filter refuses, and an incomplete line left by a crash.
    pub fn cut(chunk: &'a [u8], most: usize, filter: &Filter) -> Self {
        let mut batch = Batch { lines: Vec::new(), octets: 0 };
        for line in chunk.split_inclusive(|octet| *octet == b'\n') {
            if batch.events() == most {
                break;
            }
            batch.octets += line.len();
            let line = line.trim_ascii();
            if filter.admits(line) {
                batch.lines.push(line);
            }
        }
        batch
    }

    /// Returns the number of events.
    pub fn events(&self) -> usize {
        self.lines.len()
    }

    /// Returns the body of the call: the webhook's name, the position of the batch in the log, and the events as the log has them.
    pub fn body(&self, webhook: &str, batch: &Cursor, next: &Cursor) -> Vec<u8> {
        let [webhook, batch, next] = [json!(webhook), json!(batch.to_string()), json!(next.to_string())];
        let mut body = format!("{{\"webhook\":{webhook},\"batch\":{batch},\"next\":{next},\"events\":[").into_bytes();
        body.extend(self.lines.join(&b','));
        body.extend_from_slice(b"]}");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_json_and_passes_over_torn_lines_and_what_is_not_wanted() {
        let chunk = b"{\"event\":\"held\"}\n{\"torn\n{\"event\":\"bounced\"}\n{\"event\":\"held\"}\n";
        let [from, to] = ["9f3c2a10-1-0", "9f3c2a10-1-44"].map(|cursor| cursor.parse().unwrap());
        let all = Batch::cut(chunk, 2, &Filter::default());
        assert_eq!((all.events(), all.octets), (2, 44));
        let expected = r#"{"webhook":"w","batch":"9f3c2a10-1-0","next":"9f3c2a10-1-44","events":[{"event":"held"},{"event":"bounced"}]}"#;
        assert_eq!(all.body("w", &from, &to), expected.as_bytes());
        let kinds = Some([crate::events::EventKind::Bounced].into());
        let bounces = Batch::cut(chunk, 2, &Filter { kinds, customers: None });
        assert_eq!((bounces.events(), bounces.octets), (1, chunk.len()), "what is passed over holds nothing up");
    }
}

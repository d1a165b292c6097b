//! Finds mails, and returns all events of each, from submission to the final state.
//!
//! Files are read from the newest to the oldest, so that the newest mails are found first and a search can end early. A query without a key
//! (only a customer or a time) reads every line of its period. All other queries read only the blocks that the archives' indexes name, and
//! the open files.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::archive::keys::{Key, Named};
use super::files::files;
use crate::message::QueueId;
use crate::time::Timestamp;

/// A query. All given conditions must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub recipient: Option<String>,
    /// The envelope sender's address.
    pub sender: Option<String>,
    /// A Message-ID, with or without angle brackets.
    pub message_id: Option<String>,
    pub queue_id: Option<QueueId>,
    pub reference: Option<String>,
    pub campaign: Option<String>,
    /// One of the submitter's tags.
    pub tag: Option<String>,
    pub customer: Option<String>,
    /// Only events at or after this time.
    pub from: Option<Timestamp>,
    /// Only events up to this time.
    pub until: Option<Timestamp>,
}

/// The events of one mail, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The mail's queue id; absent if submission refused the mail.
    pub queue_id: Option<String>,
    /// The events as the journal has them.
    pub events: Vec<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The newest mails first.
    pub traces: Vec<Trace>,
    /// True if more mails match than were asked for.
    pub more: bool,
    /// The nodes whose record is missing, because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Found {
    /// Joins the results of several nodes. The events of one mail are joined, each once.
    pub fn of_nodes(mut parts: Vec<Found>, most: usize, missing: Vec<String>) -> Found {
        if parts.len() == 1 {
            return Found { missing, ..parts.remove(0) };
        }
        let mut more = parts.iter().any(|part| part.more);
        let mut traces: Vec<Trace> = Vec::new();
        for trace in parts.into_iter().flat_map(|part| part.traces) {
            let same = traces.iter_mut().find(|known| known.queue_id.is_some() && known.queue_id == trace.queue_id);
            match same {
                Some(known) => known.join(trace),
                None => traces.push(trace),
            }
        }
        traces.sort_by(|one, two| two.began().cmp(one.began()));
        more |= traces.len() > most;
        traces.truncate(most);
        Found { traces, more, missing }
    }
}

impl Trace {
    /// When it began, as its first event says.
    fn began(&self) -> &str {
        self.events.first().and_then(|event| event["at"].as_str()).unwrap_or_default()
    }

    fn join(&mut self, other: Trace) {
        for event in other.events {
            if !self.events.iter().any(|known| known["event_id"] == event["event_id"]) {
                self.events.push(event);
            }
        }
        self.events.sort_by(|one, two| one["at"].as_str().cmp(&two["at"].as_str()));
    }
}

/// Returns the newest `most` events of one message, oldest first. Like [`find`], it must not run on an async worker.
pub fn life(log: &Path, id: QueueId, most: usize) -> io::Result<Vec<Value>> {
    let mut mails = BTreeMap::from([(id, Vec::new())]);
    read_lives(log, &mut mails, None)?;
    let mut events = mails.remove(&id).unwrap_or_default();
    events.drain(..events.len().saturating_sub(most));
    Ok(events)
}

/// Returns all events of each of these messages, oldest first. Like [`find`], it must not run on an async worker.
pub fn lives(log: &Path, ids: impl IntoIterator<Item = QueueId>) -> io::Result<BTreeMap<QueueId, Vec<Value>>> {
    let mut mails = ids.into_iter().map(|id| (id, Vec::new())).collect();
    read_lives(log, &mut mails, None)?;
    Ok(mails)
}

/// Finds up to `most` mails. Reads files for a second or more, so it must not run on an async worker.
pub fn find(log: &Path, query: &Query, most: usize) -> io::Result<Found> {
    let texts = Texts::of(query);
    let mut found = Found::default();
    let mut mails = BTreeMap::new();
    let span = (query.from.unwrap_or(Timestamp::EPOCH), query.until.unwrap_or(Timestamp::NEVER));
    for file in files(log)?.iter().rev() {
        file.search(&texts.most_selective(), span, |lines| {
            for (line, named) in events(lines) {
                if !texts.fit(query, &named) {
                    continue;
                }
                match named.queue_id.as_deref().and_then(|id| id.parse::<QueueId>().ok()) {
                    Some(id) => drop(mails.insert(id, Vec::new())),
                    None => found.traces.push(Trace { queue_id: None, events: vec![parsed(line)?] }),
                }
            }
            Ok(())
        })?;
        if mails.len() + found.traces.len() > most {
            break;
        }
    }
    while mails.len() > most {
        mails.pop_first();
        found.more = true;
    }
    read_lives(log, &mut mails, texts.recipient)?;
    found.traces.extend(mails.into_iter().rev().map(|(id, events)| Trace { queue_id: Some(id.to_string()), events }));
    found.traces.sort_by_cached_key(|trace| std::cmp::Reverse(trace.events.first().and_then(time)));
    found.more |= found.traces.len() > most;
    found.traces.truncate(most);
    Ok(found)
}

/// Reads the events of these mails. With a recipient, skips events of the mails' other recipients.
fn read_lives(log: &Path, mails: &mut BTreeMap<QueueId, Vec<Value>>, recipient: Option<&str>) -> io::Result<()> {
    let Some(earliest) = mails.keys().map(|id| id.arrived()).min() else { return Ok(()) };
    let ids: Vec<String> = mails.keys().map(ToString::to_string).collect();
    let ids_wanted: HashSet<QueueId> = mails.keys().copied().collect();
    let keys: Vec<Key<'_>> = ids.iter().map(|id| Key::QueueId(id)).collect();
    for file in files(log)? {
        file.search(&keys, (earliest, Timestamp::NEVER), |lines| {
            let is_of_these = |line: &&[u8]| id_in(line).is_some_and(|id| ids_wanted.contains(&id));
            let of_these = lines.split(|b| *b == b'\n').filter(is_of_these);
            for (line, named) in of_these.filter_map(|line| Named::of(line).map(|named| (line, named))) {
                let id = named.queue_id.as_deref().and_then(|id| id.parse::<QueueId>().ok());
                let Some(life) = id.and_then(|id| mails.get_mut(&id)) else { continue };
                let is_meant = match (recipient, named.recipient.as_deref()) {
                    (Some(wanted), Some(other)) => wanted.eq_ignore_ascii_case(other),
                    _ => true,
                };
                if is_meant {
                    life.push(parsed(line)?);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Reads the queue id of an event without parsing the rest, because most lines are about other mail. These octets cannot occur inside a
/// text, because a quotation mark in a text has a backslash before it.
fn id_in(line: &[u8]) -> Option<QueueId> {
    const NAME: &[u8] = b"\"queue_id\":\"";
    let at = memchr::memmem::find(line, NAME)? + NAME.len();
    std::str::from_utf8(line.get(at..at + 13)?).ok()?.parse().ok()
}

/// The query's texts in the form that events have.
struct Texts<'a> {
    queue_id: Option<String>,
    recipient: Option<&'a str>,
    keys: Vec<Key<'a>>,
}

impl<'a> Texts<'a> {
    fn of(query: &'a Query) -> Self {
        let message_id = query.message_id.as_deref().map(|id| id.trim().trim_start_matches('<').trim_end_matches('>'));
        let recipient = query.recipient.as_deref();
        // The most selective key first.
        let keys = [
            message_id.map(Key::MessageId),
            query.reference.as_deref().map(Key::Reference),
            recipient.map(Key::Recipient),
            query.campaign.as_deref().map(Key::Campaign),
            query.sender.as_deref().map(Key::Sender),
        ];
        let queue_id = query.queue_id.map(|id| id.to_string());
        Texts { queue_id, recipient, keys: keys.into_iter().flatten().collect() }
    }

    /// Returns one key for the index, because the lines that it leads to are compared with all conditions.
    fn most_selective(&self) -> Vec<Key<'_>> {
        let id = self.queue_id.as_deref().map(Key::QueueId);
        id.or_else(|| self.keys.first().copied()).into_iter().collect()
    }

    fn fit(&self, query: &Query, named: &Named<'_>) -> bool {
        let has_tag = query.tag.as_deref().is_none_or(|tag| named.tags.iter().any(|has| has.eq_ignore_ascii_case(tag)));
        let is_of_customer = query.customer.is_none() || named.customer.as_deref() == query.customer.as_deref();
        let at = || named.at.parse::<Timestamp>().ok();
        let is_in_time = (query.from.is_none() && query.until.is_none())
            || at().is_some_and(|at| {
                query.from.is_none_or(|from| at >= from) && query.until.is_none_or(|until| at <= until)
            });
        let has_id = self.queue_id.as_deref().is_none_or(|id| named.names(&Key::QueueId(id)));
        has_tag && is_of_customer && is_in_time && has_id && self.keys.iter().all(|key| named.names(key))
    }
}

/// Parses the events among these lines. Skips lines that a crash cut off.
fn events(lines: &[u8]) -> impl Iterator<Item = (&[u8], Named<'_>)> {
    lines.split(|b| *b == b'\n').filter_map(|line| Named::of(line).map(|named| (line, named)))
}

fn parsed(line: &[u8]) -> io::Result<Value> {
    serde_json::from_slice(line).map_err(io::Error::from)
}

fn time(event: &Value) -> Option<Timestamp> {
    event["at"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::archive;
    use std::fmt::Write as _;
    use std::fs;
    use std::time::Duration;

    /// A journal of three files: an archive, a full file, and the file that is being written.
    struct Journal {
        dir: tempfile::TempDir,
        ids: Vec<QueueId>,
    }

    impl Journal {
        fn new() -> Journal {
            let dir = tempfile::tempdir().unwrap();
            let ids: Vec<QueueId> =
                (0..30).map(|n| QueueId::first_at(Timestamp::now() + Duration::from_millis(n * 5))).collect();
            let mut texts = [String::new(), String::new(), String::new()];
            for (n, id) in ids.iter().enumerate() {
                let at = id.arrived();
                let recipients = [format!("r{n}@x.dk"), "All@x.dk".to_owned()];
                let common = format!(
                    r#""queue_id":"{id}","message_id":"m{n}@a.dk","reference":"ref-{n}","campaign":"c{}","tags":["t{}","all"],"customer":"cust{}","sender":"news@a.dk""#,
                    n % 3,
                    n % 3,
                    n % 2
                );
                let text = &mut texts[n / 10];
                for recipient in &recipients {
                    writeln!(text, r#"{{"at":"{at}","event":"accepted",{common},"recipient":"{recipient}"}}"#).unwrap();
                }
                // This event comes ten mails later, so that the events of some mails are in two files.
                let later = &mut texts[((n + 5) / 10).min(2)];
                for recipient in &recipients {
                    let at = at + Duration::from_millis(1);
                    writeln!(later, r#"{{"at":"{at}","event":"relayed",{common},"recipient":"{recipient}"}}"#).unwrap();
                }
                writeln!(later, r#"{{"at":"{}","event":"held",{common}}}"#, at + Duration::from_millis(2)).unwrap();
            }
            writeln!(
                texts[2],
                r#"{{"at":"{}","event":"rejected","customer":"cust0","recipient":"r3@x.dk"}}"#,
                Timestamp::now() + Duration::from_secs(1)
            )
            .unwrap();
            texts[2].push_str("{\"at\":\"torn");
            let journal = Journal { dir, ids };
            let (first, second) = (journal.path("e.jsonl.000001"), journal.path("e.jsonl.000002"));
            fs::write(&first, &texts[0]).unwrap();
            archive::close(&first, &journal.path("e.jsonl.000001.zst"), 0o600).unwrap();
            fs::write(second, &texts[1]).unwrap();
            fs::write(journal.path("e.jsonl"), &texts[2]).unwrap();
            journal
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn find(&self, query: &Query, most: usize) -> Found {
            find(&self.path("e.jsonl"), query, most).unwrap()
        }
    }

    fn kinds(trace: &Trace) -> Vec<&str> {
        trace.events.iter().map(|event| event["event"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_key_finds_the_whole_life_of_its_mail() {
        let journal = Journal::new();
        for n in [0usize, 7, 12, 25] {
            let id = journal.ids[n].to_string();
            for query in [
                Query { queue_id: Some(journal.ids[n]), ..Query::default() },
                Query { message_id: Some(format!("<M{n}@a.dk>")), ..Query::default() },
                Query { reference: Some(format!("ref-{n}")), ..Query::default() },
                Query { reference: Some(format!("ref-{n}")), sender: Some("news@A.dk".into()), ..Query::default() },
            ] {
                let found = journal.find(&query, 10);
                assert_eq!(found.traces.len(), 1, "{query:?}");
                assert_eq!(found.traces[0].queue_id.as_ref(), Some(&id));
                assert_eq!(
                    kinds(&found.traces[0]),
                    ["accepted", "accepted", "relayed", "relayed", "held"],
                    "{query:?}"
                );
            }
        }
    }

    #[test]
    fn a_life_is_cut_to_its_newest_events() {
        let journal = Journal::new();
        let kinds = |most| -> Vec<String> {
            let life = life(&journal.path("e.jsonl"), journal.ids[7], most).unwrap();
            life.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(kinds(9), ["accepted", "accepted", "relayed", "relayed", "held"]);
        assert_eq!(kinds(2), ["relayed", "held"]);
    }

    #[test]
    fn a_recipients_mail_shows_no_other_recipient() {
        let journal = Journal::new();
        let found = journal.find(&Query { recipient: Some("R3@x.dk".into()), ..Query::default() }, 10);
        assert_eq!(found.traces.len(), 2, "the mail and what was refused");
        assert_eq!(kinds(&found.traces[0]), ["rejected"]);
        assert_eq!(kinds(&found.traces[1]), ["accepted", "relayed", "held"]);
    }

    #[test]
    fn the_newest_mails_come_first_and_more_are_announced() {
        let journal = Journal::new();
        let all = Query { recipient: Some("all@x.dk".into()), ..Query::default() };
        let found = journal.find(&all, 4);
        let ids: Vec<_> = found.traces.iter().map(|trace| trace.queue_id.clone().unwrap()).collect();
        let newest: Vec<_> = journal.ids.iter().rev().take(4).map(ToString::to_string).collect();
        assert_eq!((ids, found.more), (newest, true));
        let found = journal.find(&all, 30);
        assert_eq!((found.traces.len(), found.more), (30, false));
    }

    #[test]
    fn customer_and_time_narrow_a_question_or_make_one() {
        let journal = Journal::new();
        let of_customer = Query { customer: Some("cust1".into()), ..Query::default() };
        assert_eq!(journal.find(&of_customer, 100).traces.len(), 15);
        let tagged = Query { tag: Some("T1".into()), ..Query::default() };
        assert_eq!(journal.find(&tagged, 100).traces.len(), 10);
        let both = Query { campaign: Some("c1".into()), ..of_customer };
        assert_eq!(journal.find(&both, 100).traces.len(), 5);
        let (from, until) = (Some(Timestamp::EPOCH), Some(journal.ids[0].arrived() - Duration::from_millis(1)));
        assert!(journal.find(&Query { from, until, ..Query::default() }, 100).traces.is_empty());
        assert!(journal.find(&Query { campaign: Some("c9".into()), ..Query::default() }, 100).traces.is_empty());
    }

    #[test]
    fn what_several_nodes_found_is_one_answer_with_each_event_once() {
        let event = |id: &str, second: u32| serde_json::json!({"event_id": id, "at": format!("2026-11-29T08:00:{second:02}.000Z")});
        let mail = |id: &str, events: Vec<Value>| Trace { queue_id: Some(id.into()), events };
        let part = |traces| Found { traces, ..Found::default() };
        let parts = || {
            vec![
                part(vec![mail("b", vec![event("1", 5), event("3", 9)]), mail("a", vec![event("0", 1)])]),
                part(vec![mail("c", vec![event("7", 6)]), mail("b", vec![event("1", 5), event("2", 7)])]),
            ]
        };
        let found = Found::of_nodes(parts(), 5, vec!["node2 does not answer".into()]);
        let expected = [
            mail("c", vec![event("7", 6)]),
            mail("b", vec![event("1", 5), event("2", 7), event("3", 9)]),
            mail("a", vec![event("0", 1)]),
        ];
        assert_eq!((&found.traces[..], found.more, found.missing.len()), (&expected[..], false, 1));
        let cut = Found::of_nodes(parts(), 2, Vec::new());
        assert_eq!((&cut.traces[..], cut.more), (&expected[..2], true));
    }
}

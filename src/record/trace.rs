//! Finds mails, and returns all events of each, from submission to the final state.
//!
//! Files are read from the newest line to the oldest, so that the newest mails are found first and a search can end early. A query without
//! a key (only a customer or a time) reads every line of its period until it has enough mails. All other queries read only the blocks that
//! the archives' indexes name, and the open files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::archive::keys::{Key, Named};
use super::files::search;
use crate::digits::digits;
use crate::message::QueueId;
use crate::smtp::is_same_address;
use crate::time::Timestamp;

/// The kinds of events that only operators see.
const FOR_OPERATORS: [&str; 2] = ["alert", "audit"];
/// The longest id in a cursor. Ids are much shorter.
const LONGEST_NAME: usize = 100;
/// About as many octets of events are in an answer. One mail to a thousand recipients may have megabytes of them.
const ANSWER: usize = 16 << 20;

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
    /// ENVID of MAIL, decoded.
    pub envid: Option<String>,
    pub customer: Option<String>,
    /// Only events at or after this time.
    pub from: Option<Timestamp>,
    /// Only events up to this time.
    pub until: Option<Timestamp>,
    /// Only traces after this position: the search goes on where another one ended.
    pub after: Option<TracePosition>,
    /// True if alerts and the audit, which are for operators, are left out.
    #[serde(default)]
    pub only_mail: bool,
}

impl Query {
    /// Returns true if there is no condition.
    pub fn is_empty(&self) -> bool {
        Query { after: None, only_mail: false, ..self.clone() } == Query::default()
    }
}

/// The position of a trace in the order of answers, in which the newest come first. It stays the same whatever else happens to the mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TracePosition {
    /// When the mail arrived, or when the event happened that is about no mail.
    at: Timestamp,
    /// The queue id, or the id of the event.
    name: String,
}

impl TracePosition {
    fn of(id: QueueId) -> Self {
        TracePosition { at: id.arrived(), name: id.to_string() }
    }
}

/// Writes it as a cursor.
impl fmt::Display for TracePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.as_millis(), self.name)
    }
}

impl From<TracePosition> for String {
    fn from(position: TracePosition) -> String {
        position.to_string()
    }
}

impl TryFrom<String> for TracePosition {
    type Error = NotAPosition;

    fn try_from(text: String) -> Result<Self, NotAPosition> {
        text.parse()
    }
}

/// A text that is no cursor of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a search")]
pub struct NotAPosition;

impl FromStr for TracePosition {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (at, name) = text.split_once('-').ok_or(NotAPosition)?;
        let is_name = name.len() <= LONGEST_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let at = digits(at).filter(|_| is_name).ok_or(NotAPosition)?;
        Ok(TracePosition { at: Timestamp::from_millis(at), name: name.to_owned() })
    }
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
    /// Joins the results of several nodes. The events of one mail are joined, each once. The answer ends where the part of the slowest node
    /// ends, because that node may have more mails behind it.
    pub fn of_nodes(mut parts: Vec<Found>, most: usize, missing: Vec<String>) -> Found {
        if parts.len() == 1 {
            return Found { missing, ..parts.remove(0) };
        }
        let mut more = parts.iter().any(|part| part.more);
        let seen_to = parts.iter().filter_map(Found::next).max();
        let mut traces: Vec<Trace> = Vec::new();
        for trace in parts.into_iter().flat_map(|part| part.traces) {
            let same = traces.iter_mut().find(|known| known.queue_id.is_some() && known.queue_id == trace.queue_id);
            match same {
                Some(known) => known.join(trace),
                None => traces.push(trace),
            }
        }
        traces.retain(|trace| seen_to.as_ref().is_none_or(|end| trace.position() >= *end));
        traces.sort_by_cached_key(|trace| Reverse(trace.position()));
        more |= traces.len() > most;
        traces.truncate(most);
        Found { traces, more, missing }
    }

    /// Returns the position from which to continue if more mails match.
    pub fn next(&self) -> Option<TracePosition> {
        self.traces.last().filter(|_| self.more).map(Trace::position)
    }
}

impl Trace {
    fn position(&self) -> TracePosition {
        let first = self.events.first();
        match self.queue_id.as_deref().and_then(|id| id.parse().ok()) {
            Some(id) => TracePosition::of(id),
            None => TracePosition {
                at: first.and_then(time).unwrap_or(Timestamp::EPOCH),
                name: first.and_then(|event| event["event_id"].as_str()).unwrap_or_default().to_owned(),
            },
        }
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
    read_lives(log, &mut mails, None, usize::MAX)?;
    let mut events = mails.remove(&id).unwrap_or_default();
    events.drain(..events.len().saturating_sub(most));
    Ok(events)
}

/// Returns all events of each of these messages, oldest first. Like [`find`], it must not run on an async worker.
pub fn lives(log: &Path, ids: impl IntoIterator<Item = QueueId>) -> io::Result<BTreeMap<QueueId, Vec<Value>>> {
    let mut mails = ids.into_iter().map(|id| (id, Vec::new())).collect();
    read_lives(log, &mut mails, None, usize::MAX)?;
    Ok(mails)
}

/// Finds up to `most` mails. Reads files for a second or more, so it must not run on an async worker. To continue a search, everything that
/// the search before read is read again, because a late event of an old mail may be there.
pub fn find(log: &Path, query: &Query, most: usize) -> io::Result<Found> {
    find_within(log, query, most, usize::MAX)
}

/// Like [`find`], but finds fewer mails if their events are too many for one answer.
pub fn find_page(log: &Path, query: &Query, most: usize) -> io::Result<Found> {
    find_within(log, query, most, ANSWER)
}

fn find_within(log: &Path, query: &Query, most: usize, octets: usize) -> io::Result<Found> {
    let texts = Texts::of(query);
    let mut found = Found::default();
    let mut mails = BTreeMap::new();
    let span = (query.from.unwrap_or(Timestamp::EPOCH), query.until.unwrap_or(Timestamp::NEVER));
    let is_left = |position: TracePosition| query.after.as_ref().is_none_or(|after| position < *after);
    search(log, &texts.most_selective(), span, |lines| {
        for (line, named) in texts.events(lines) {
            if !texts.fit(query, &named) || (query.only_mail && is_for_operators(line)) {
                continue;
            }
            match named.queue_id.as_deref().and_then(|id| id.parse::<QueueId>().ok()) {
                Some(id) if mails.contains_key(&id) || !is_left(TracePosition::of(id)) => {}
                Some(id) => drop(mails.insert(id, Vec::new())),
                None => {
                    let trace = Trace { queue_id: None, events: vec![parsed(line)?] };
                    found.traces.extend(Some(trace).filter(|trace| is_left(trace.position())));
                }
            }
        }
        // A mail that arrived after the first of these lines was written has been found by now. One that arrived earlier may have been found
        // by a late event, before newer ones are.
        let read_from = lines.split(|b| *b == b'\n').find_map(Named::of).and_then(|first| first.at.parse().ok());
        let newest = mails.keys().rev().take(most + 1);
        let newest = read_from.map_or(0, |at: Timestamp| newest.take_while(|id| id.arrived() >= at).count());
        let is_enough = newest + found.traces.len() > most;
        Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    while mails.len() > most {
        mails.pop_first();
        found.more = true;
    }
    found.more |= read_lives(log, &mut mails, texts.recipient, octets)?;
    if let Some(oldest) = mails.keys().next().filter(|_| found.more).map(|id| TracePosition::of(*id)) {
        // What is older than the mails that are left comes with the next page.
        found.traces.retain(|trace| trace.position() >= oldest);
    }
    if query.only_mail {
        let is_left = |event: &Value| !FOR_OPERATORS.iter().any(|kind| event["event"] == *kind);
        mails.values_mut().for_each(|life| life.retain(is_left));
    }
    found.traces.extend(mails.into_iter().rev().map(|(id, events)| Trace { queue_id: Some(id.to_string()), events }));
    found.traces.sort_by_cached_key(|trace| Reverse(trace.position()));
    found.more |= found.traces.len() > most;
    found.traces.truncate(most);
    Ok(found)
}

/// Reads the events of these mails. With a recipient, skips events of the mails' other recipients. Takes the oldest mails out if the events
/// have more than about `most` octets, but not the last mail. Returns true if it took any out.
fn read_lives(
    log: &Path,
    mails: &mut BTreeMap<QueueId, Vec<Value>>,
    recipient: Option<&str>,
    most: usize,
) -> io::Result<bool> {
    let Some(earliest) = mails.keys().map(|id| id.arrived()).min() else { return Ok(false) };
    let before = mails.len();
    let mut sizes: BTreeMap<QueueId, usize> = BTreeMap::new();
    let mut octets = 0;
    let ids: Vec<String> = mails.keys().map(ToString::to_string).collect();
    let ids_wanted: HashSet<QueueId> = mails.keys().copied().collect();
    let keys: Vec<Key<'_>> = ids.iter().map(|id| Key::QueueId(id)).collect();
    // The mails whose first event was not found yet.
    let mut unbegun = ids_wanted.clone();
    search(log, &keys, (earliest, Timestamp::NEVER), |lines| {
        let mut has_any = false;
        let is_of_these = |line: &&[u8]| id_in(line).is_some_and(|id| ids_wanted.contains(&id));
        // The newest line first, as the pieces are.
        let of_these = lines.rsplit(|b| *b == b'\n').filter(is_of_these);
        for (line, named) in of_these.filter_map(|line| Named::of(line).map(|named| (line, named))) {
            let Some(id) = named.queue_id.as_deref().and_then(|id| id.parse::<QueueId>().ok()) else { continue };
            let Some(life) = mails.get_mut(&id) else { continue };
            has_any = true;
            let is_meant = match (recipient, named.recipient.as_deref()) {
                (Some(wanted), Some(other)) => is_same_address(wanted, other),
                _ => true,
            };
            if is_first(line) {
                unbegun.remove(&id);
            }
            if is_meant {
                life.push(parsed(line)?);
                *sizes.entry(id).or_default() += line.len();
                octets += line.len();
            }
            while octets > most
                && mails.len() > 1
                && let Some((oldest, _)) = mails.pop_first()
            {
                octets -= sizes.remove(&oldest).unwrap_or_default();
                unbegun.remove(&oldest);
            }
        }
        // A mail's first events stand together, one for each recipient, and may be in several pieces.
        let is_all = unbegun.is_empty() && !has_any;
        Ok(if is_all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    mails.values_mut().for_each(|life| life.reverse());
    Ok(mails.len() < before)
}

/// Returns true if an event is one of a mail's first events: it was accepted for a recipient. These octets cannot occur inside a text,
/// because a quotation mark in a text has a backslash before it.
fn is_first(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"\"event\":\"accepted\"").is_some()
}

/// Returns true if an event is an alert or of the audit. See [`is_first`].
fn is_for_operators(line: &[u8]) -> bool {
    let is = |field: &[u8]| memchr::memmem::find(line, field).is_some();
    is(b"\"event\":\"alert\"") || is(b"\"event\":\"audit\"")
}

/// Reads the queue id of an event without parsing the rest, because most lines are about other mail. As in [`is_first`], these octets cannot
/// occur inside a text.
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
    envid: Option<&'a str>,
    /// Octets that every line of the customer has.
    customer: Option<Vec<u8>>,
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
        let customer =
            query.customer.as_ref().map(|customer| format!("\"customer\":{}", Value::from(&**customer)).into());
        let envid = query.envid.as_deref();
        Texts { queue_id, recipient, keys: keys.into_iter().flatten().collect(), envid, customer }
    }

    /// Parses the events among these lines. Skips lines that a crash cut off, and those of other customers without parsing them, because a
    /// search for a customer reads them all.
    fn events<'l>(&self, lines: &'l [u8]) -> impl Iterator<Item = (&'l [u8], Named<'l>)> {
        let customer = self.customer.as_deref().map(memchr::memmem::Finder::new);
        let is_meant = move |line: &&[u8]| customer.as_ref().is_none_or(|customer| customer.find(line).is_some());
        let of_customer = lines.split(|b| *b == b'\n').filter(is_meant);
        of_customer.filter_map(|line| Named::of(line).map(|named| (line, named)))
    }

    /// Returns the keys of one condition for the index, because the lines that they lead to are compared with all conditions.
    fn most_selective(&self) -> Vec<Key<'_>> {
        match (&self.queue_id, self.envid, self.keys.first()) {
            (Some(id), ..) => vec![Key::QueueId(id)],
            // An ENVID that is the reference as well is in the index as that only.
            (None, Some(envid), _) => vec![Key::Envid(envid), Key::Reference(envid)],
            (None, None, first) => first.copied().into_iter().collect(),
        }
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
        let has_envid = self.envid.is_none_or(|envid| named.names(&Key::Envid(envid)));
        has_tag && has_envid && is_of_customer && is_in_time && has_id && self.keys.iter().all(|key| named.names(key))
    }
}

fn parsed(line: &[u8]) -> io::Result<Value> {
    serde_json::from_slice(line).map_err(io::Error::from)
}

fn time(event: &Value) -> Option<Timestamp> {
    event["at"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests;

//! What clients and servers saw of several nodes, and what must hold of it.
//!
//! | promise | holds if |
//! |---|---|
//! | nothing is lost | every message that was acknowledged is taken at the end |
//! | one owner | the node that begins an attempt owns the message's shard in the database at that moment |
//! | recorded is recorded | a message is not tried again after the spool has recorded that it was taken |
//! | no duplicates | a message that is taken twice was under way, or its result unwritten, when something went wrong |

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::message::QueueId;

/// How long before and after something went wrong an attempt may be affected by it.
const AFFECTED: Duration = Duration::from_secs(15);

/// A server took a message.
pub struct Take {
    id: QueueId,
    node: usize,
    begun: Duration,
    at: Duration,
    /// When the spool had recorded it.
    recorded: Option<Duration>,
}

/// A promise that is broken.
#[derive(Clone, Debug)]
pub struct Wrong {
    pub promise: &'static str,
    seen: String,
    at: Duration,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s: {}: {}", self.at.as_secs_f64(), self.promise, self.seen)
    }
}

#[derive(Default)]
pub struct Facts {
    pub acknowledged: BTreeMap<QueueId, Duration>,
    pub takes: Vec<Take>,
    pub wrong: Vec<Wrong>,
    pub history: Vec<String>,
    /// From when to when something was wrong.
    pub troubles: Vec<(Duration, Duration)>,
    /// How often the messages were put off.
    put_off: BTreeMap<QueueId, u32>,
}

#[derive(Default)]
pub struct Book(Mutex<Facts>);

impl Book {
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().expect("nothing panics while it holds the book")
    }

    pub fn note(&self, at: Duration, what: &str) {
        self.facts().history.push(format!("{:>9.3} s  {what}", at.as_secs_f64()));
    }

    pub fn wrong(&self, at: Duration, promise: &'static str, seen: String) {
        self.note(at, &format!("WRONG, {promise}: {seen}"));
        self.facts().wrong.push(Wrong { promise, seen, at });
    }

    /// An attempt begins. `owner` is the shard's owner in the database.
    pub fn begins(&self, at: Duration, id: QueueId, node: usize, owner: &str) {
        self.note(at, &format!("node{node} tries {id}"));
        if owner != format!("node{node}") {
            self.wrong(at, "one owner", format!("node{node} tries {id}, and \"{owner}\" owns it"));
        }
        let recorded = self.facts().takes.iter().any(|take| take.id == id && take.recorded.is_some());
        if recorded {
            self.wrong(at, "recorded is recorded", format!("node{node} tries {id}, which was recorded as taken"));
        }
    }

    /// A server takes a message. Returns the number of that.
    pub fn takes(&self, at: Duration, id: QueueId, node: usize, begun: Duration) -> usize {
        self.note(at, &format!("{id} is taken, from node{node}"));
        let mut facts = self.facts();
        facts.takes.push(Take { id, node, begun, at, recorded: None });
        facts.takes.len() - 1
    }

    pub fn recorded(&self, at: Duration, number: usize) {
        let id = {
            let mut facts = self.facts();
            facts.takes[number].recorded = Some(at);
            facts.takes[number].id
        };
        self.note(at, &format!("{id} is recorded"));
    }

    /// Returns how often a message was put off before, and counts this time.
    pub fn puts_off(&self, id: QueueId) -> u32 {
        let mut facts = self.facts();
        let count = facts.put_off.entry(id).or_default();
        *count += 1;
        *count - 1
    }

    /// Returns the acknowledged messages that no server took.
    pub fn left(&self) -> Vec<QueueId> {
        let facts = self.facts();
        let is_taken = |id: &QueueId| facts.takes.iter().any(|take| take.id == *id);
        facts.acknowledged.keys().copied().filter(|id| !is_taken(id)).collect()
    }

    /// Looks at everything, and writes down what is wrong.
    pub fn judge(&self, now: Duration) {
        for id in self.left() {
            self.wrong(now, "nothing is lost", format!("{id} was acknowledged, and nobody took it"));
        }
        let mut wrong = Vec::new();
        {
            let facts = self.facts();
            for (number, take) in facts.takes.iter().enumerate() {
                let again = facts.takes[number + 1..].iter().find(|later| later.id == take.id);
                let is_affected = |(from, until): &(Duration, Duration)| {
                    *from <= take.at + AFFECTED && take.begun <= *until + AFFECTED
                };
                if let Some(again) = again.filter(|_| !facts.troubles.iter().any(is_affected)) {
                    let (id, node) = (take.id, take.node);
                    wrong
                        .push((again.at, format!("{id} was taken from node{node}, and from node{} again", again.node)));
                }
            }
        }
        wrong.into_iter().for_each(|(at, seen)| self.wrong(at, "no duplicates", seen));
    }
}

//! What clients and servers saw, for the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::network::{Link, lock};
use crate::message::QueueId;

/// What became of one attempt to hand a message in.
#[derive(Clone, Debug)]
pub enum Heard {
    /// 250, with the queue id.
    Accepted(QueueId),
    /// The relay gave a reply other than 250.
    Refused(String),
    /// None: nobody knows.
    Nothing,
}

#[derive(Clone, Debug)]
pub struct Submission {
    /// The step that it belongs to.
    pub number: u32,
    pub customer: usize,
    /// Where it was handed in.
    pub node: usize,
    /// What all its recipients' addresses begin with.
    pub token: String,
    pub recipients: Vec<String>,
    pub at: Duration,
    pub heard: Heard,
}

/// A recipient for whom a server took a message.
#[derive(Clone)]
pub struct Take {
    pub server: usize,
    pub token: String,
    pub address: String,
    /// When its transaction began.
    pub begun: Duration,
    /// When its final dot came.
    pub dot: Duration,
    pub at: Duration,
    pub link: Arc<Mutex<Link>>,
    pub heard_at: u64,
}

impl Take {
    /// When the relay read the server's answer, if it did.
    pub fn heard(&self) -> Option<Duration> {
        lock(&self.link).read_by(0, self.heard_at)
    }
}

/// Something that went wrong with a node, or with the database of all (`None`), from when to when.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub node: Option<usize>,
    pub from: Duration,
    pub until: Duration,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// Which promise is broken.
    pub promise: &'static str,
    pub seen: String,
    pub at: Duration,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s: {}: {}", self.at.as_secs_f64(), self.promise, self.seen)
    }
}

#[derive(Default)]
pub struct Facts {
    pub submissions: Vec<Submission>,
    pub takes: Vec<Take>,
    /// How often each address was put off, and when last.
    pub put_off: BTreeMap<String, (u32, Duration)>,
    pub refused: BTreeMap<String, u32>,
    /// How many recipients each server heard of.
    pub heard_of: BTreeMap<usize, usize>,
    /// Notifications that a server took, as text.
    pub notifications: Vec<(Duration, String)>,
    /// The times between which an operator kept a message on hold.
    pub held: BTreeMap<QueueId, (Duration, Duration)>,
    /// What the relay told of messages that it gave up, with the time.
    pub given_up: Vec<(QueueId, String)>,
    /// Recipients for whom the spool of nodes has recorded that a server took the message.
    pub recorded: BTreeSet<(QueueId, String)>,
    /// What went wrong with nodes.
    pub troubles: Vec<Trouble>,
    /// When nodes were stopped in good order.
    pub stops: Vec<Trouble>,
    /// How many recipients of Mailjet's day the database has given to nodes, and how many of these no node heard of.
    pub day_taken: i64,
    pub day_unheard: i64,
    pub wrong: Vec<Wrong>,
    /// What happened, in words.
    pub history: Vec<String>,
    at_dot: BTreeMap<String, u32>,
    lost: BTreeMap<String, u32>,
}

impl Facts {
    /// Returns true if something was wrong with a node, or with the database, between these times.
    pub fn was_in_trouble(&self, node: usize, from: Duration, until: Duration) -> bool {
        let is_of_node = |trouble: &Trouble| trouble.node.is_none_or(|of| of == node);
        self.troubles.iter().any(|trouble| is_of_node(trouble) && trouble.from <= until && from <= trouble.until)
    }
}

#[derive(Default)]
pub struct Book(Mutex<Facts>);

impl Book {
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().expect("nothing panics while it holds the book")
    }

    /// Writes down what happens.
    pub fn note(&self, at: Duration, what: &str) {
        self.facts().history.push(format!("{:>9.3} s  {what}", at.as_secs_f64()));
    }

    /// Writes down that a promise is broken.
    pub fn wrong(&self, at: Duration, promise: &'static str, seen: String) {
        self.note(at, &format!("WRONG, {promise}: {seen}"));
        self.facts().wrong.push(Wrong { promise, seen, at });
    }

    pub fn submitted(&self, submission: Submission) {
        self.note(submission.at, &format!("{} is handed in: {:?}", submission.token, submission.heard));
        self.facts().submissions.push(submission);
    }

    pub fn takes(&self, takes: Vec<Take>) {
        for take in takes {
            let whether = if take.heard_at == u64::MAX { ", and does not say so" } else { "" };
            self.note(take.at, &format!("{} takes {}{whether}", super::site::SERVERS[take.server], take.address));
            self.facts().takes.push(take);
        }
    }

    pub fn notification(&self, at: Duration, content: &str) {
        self.note(at, "a notification is taken");
        self.facts().notifications.push((at, content.to_owned()));
    }

    /// How often a recipient was put off.
    pub fn tried(&self, address: &str) -> u32 {
        self.facts().put_off.get(address).map_or(0, |(times, _)| *times)
    }

    pub fn put_off(&self, address: &str, at: Duration) {
        self.note(at, &format!("{address} is put off"));
        let mut facts = self.facts();
        let (times, last) = facts.put_off.entry(address.to_owned()).or_default();
        (*times, *last) = (*times + 1, at);
    }

    pub fn refused(&self, address: &str) {
        *self.facts().refused.entry(address.to_owned()).or_default() += 1;
    }

    /// How often a message was put off at the dot for this recipient's sake. Counts it.
    pub fn tried_at_dot(&self, address: &str) -> u32 {
        count(&mut self.facts().at_dot, address)
    }

    /// How often an answer was left out for this recipient's sake. Counts it.
    pub fn lost(&self, address: &str) -> u32 {
        count(&mut self.facts().lost, address)
    }
}

/// What was counted before.
fn count(counts: &mut BTreeMap<String, u32>, address: &str) -> u32 {
    let count = counts.entry(address.to_owned()).or_default();
    *count += 1;
    *count - 1
}

//! Has other nodes do their part of a command. Each node has a part of the queue, of the routes' counters and of the record, and a person or
//! a program asks one of them for the whole.
//!
//! The node that is asked does its own part, asks the others that are alive for theirs, and puts the answers together. A node that does
//! not answer is named. Questions and answers are rows of the database that the nodes share, so nodes need no
//! connections to each other. Whoever may write to the database may give commands: it could change the mail itself, too.
//!
//! A command that changes something is carried out by each node on what it owns, in the name of the actor and of the node that it asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::queue::{Changed, Command, Selection};
use super::{Actor, Error, ErrorKind, Role, Service};
use crate::database::{self, Database, Schema, Transaction};
use crate::message::CustomerId;
use crate::record::trace::Query;
use crate::time::Timestamp;

/// The tables. A question is removed when its node has taken it, and an answer when the asker has read it. `ask_member` and `ask_owed` are
/// for erasures that nodes owe. Times are milliseconds since 1970.
pub const SCHEMA: Schema = Schema {
    owner: "ask",
    steps: &[
        "CREATE TABLE ask (id TEXT PRIMARY KEY, node TEXT NOT NULL, at BIGINT NOT NULL, question TEXT NOT NULL); \
              CREATE INDEX ask_node ON ask (node); \
              CREATE TABLE ask_answer (id TEXT PRIMARY KEY, at BIGINT NOT NULL, answer TEXT NOT NULL)",
        "CREATE TABLE ask_member (node TEXT PRIMARY KEY, at BIGINT NOT NULL); \
              CREATE TABLE ask_owed (node TEXT NOT NULL, recipient TEXT NOT NULL, actor TEXT NOT NULL, at BIGINT NOT NULL, \
              PRIMARY KEY (node, recipient))",
    ],
};

/// The version of questions and answers. Nodes of another version are not asked, because they might understand something else.
const VERSION: u32 = 5;
/// A node that has given no sign of life for this time counts as not answering.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a node that works on a question gives a sign of life.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// Questions and answers that nobody has taken or read for this time are removed.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How often the node looks for such rows.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The pause after a failure of the database.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks other nodes, and answers their questions. Cheap to clone.
#[derive(Clone)]
pub struct Nodes(Database);

impl Nodes {
    /// Uses this database.
    pub fn new(database: &Database) -> Self {
        Nodes(database.of(&SCHEMA))
    }

    /// The database that all nodes share, with these tables.
    pub(super) fn database(&self) -> &Database {
        &self.0
    }

    /// The name of this node; empty where no other shares the spool.
    pub(super) fn name(&self) -> String {
        self.0.node().to_owned()
    }
}

/// What a node is asked to do with its part.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ask {
    List { which: Selection, after: Option<String>, limit: usize },
    Show { id: String },
    Count { which: Selection },
    Stats,
    Overview,
    Change { which: Selection, command: Command },
    Routes,
    Resume { route: String },
    Unpause { customer: String },
    Alerts,
    Trace { query: Query, most: usize },
    Erase { recipient: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    version: u32,
    /// The node that asks.
    from: String,
    actor: Asking,
    ask: Ask,
}

/// The actor in whose name a node asks.
#[derive(Debug, Serialize, Deserialize)]
struct Asking {
    name: String,
    address: Option<IpAddr>,
    may: May,
}

/// A role, as a question carries it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum May {
    Customer(Vec<String>),
    Link(String),
    Read,
    Operate,
    Admin,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// It is at work, and has changed this much so far.
    Progress(Changed),
    Done(Value),
    Refused(Error),
}

impl Asking {
    fn of(actor: &Actor) -> Self {
        let may = match actor.role() {
            Role::Customer(own) => May::Customer(own.iter().map(ToString::to_string).collect()),
            Role::Link(own) => May::Link(own.to_string()),
            Role::Read => May::Read,
            Role::Operate => May::Operate,
            Role::Admin => May::Admin,
        };
        Asking { name: actor.to_string(), address: actor.address(), may }
    }

    /// The actor, as the audit names it here.
    fn actor(self, node: &str) -> Actor {
        let role = match self.may {
            May::Customer(own) => Role::Customer(own.iter().map(|id| CustomerId::new(id)).collect()),
            May::Link(own) => Role::Link(CustomerId::new(&own)),
            May::Read => Role::Read,
            May::Operate => Role::Operate,
            May::Admin => Role::Admin,
        };
        Actor::new(format!("{} at {node}", self.name), role).at(self.address)
    }
}

/// The answers of the other nodes.
#[derive(Debug)]
pub(super) struct NodeAnswers<T> {
    pub parts: Vec<T>,
    /// Why nodes did not do their part.
    pub refused: Vec<Error>,
    /// The nodes that did not answer, each with the reason.
    pub missing: Vec<String>,
}

impl<T> Default for NodeAnswers<T> {
    fn default() -> Self {
        NodeAnswers { parts: Vec::new(), refused: Vec::new(), missing: Vec::new() }
    }
}

impl<T> NodeAnswers<T> {
    /// Returns an error that names the nodes that did not answer, if there are any.
    pub fn all(&self) -> Result<(), Error> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let message = format!("not every node answered: {}", self.missing.join("; "));
        Err(Error::new(ErrorKind::Unavailable, message, "`postbud node list` shows the nodes; give the command again"))
    }

    /// Returns an error if a node did not answer, or did not do its part.
    pub fn done(self) -> Result<(), Error> {
        self.all()?;
        self.refused.into_iter().next().map_or(Ok(()), Err)
    }
}

/// A question that is not answered yet.
struct Open {
    node: String,
    /// When the node last gave a sign.
    sign: Instant,
    /// What it said last.
    said: Option<String>,
}

impl<T: DeserializeOwned> NodeAnswers<T> {
    /// Takes what a node has said. Returns what it has changed so far, if it is not done yet.
    fn take(&mut self, node: &str, text: &str) -> Option<Changed> {
        let not_understood = |error: serde_json::Error| format!("{node}: its answer is not understood ({error})");
        match serde_json::from_str::<Answer>(text) {
            Ok(Answer::Progress(changed)) => return Some(changed),
            Ok(Answer::Done(value)) => match serde_json::from_value(value) {
                Ok(part) => self.parts.push(part),
                Err(error) => self.missing.push(not_understood(error)),
            },
            Ok(Answer::Refused(error)) => self.refused.push(error.within(node)),
            Err(error) => self.missing.push(not_understood(error)),
        }
        None
    }
}

impl Service {
    /// Asks all other nodes that are alive. `progress` receives what they have changed so far.
    pub(super) async fn ask_others<T: DeserializeOwned>(
        &self,
        actor: &Actor,
        ask: Ask,
        progress: Option<&watch::Sender<Changed>>,
    ) -> NodeAnswers<T> {
        let mut answers = NodeAnswers::default();
        let others = self.spool.others();
        if others.is_empty() {
            return answers;
        }
        let database = &self.nodes.0;
        let mut changes = database.changes();
        let question = Question { version: VERSION, from: database.node().to_owned(), actor: Asking::of(actor), ask };
        let text = serde_json::to_string(&question).expect("a question has texts and numbers");
        let mut open: BTreeMap<String, Open> = others
            .into_iter()
            .map(|node| (format!("{:032x}", rand::random::<u128>()), Open { node, sign: Instant::now(), said: None }))
            .collect();
        let asked: Vec<(String, String)> = open.iter().map(|(id, open)| (id.clone(), open.node.clone())).collect();
        if let Err(error) = database.write(move |tables| put_questions(tables, &asked, &text)).await {
            answers.missing.extend(open.into_values().map(|open| format!("{}: {error}", open.node)));
            return answers;
        }
        let ids: Vec<String> = open.keys().cloned().collect();
        let mut done = BTreeMap::<String, Changed>::new();
        while !open.is_empty() {
            let wanted: Vec<String> = open.keys().cloned().collect();
            let written = database.read(move |tables| read_answers(tables, &wanted)).await.unwrap_or_default();
            for (id, text) in written {
                let Some(waiting) = open.get_mut(&id).filter(|waiting| waiting.said.as_ref() != Some(&text)) else {
                    continue;
                };
                waiting.sign = Instant::now();
                match answers.take(&waiting.node, &text) {
                    Some(changed) => {
                        done.insert(waiting.node.clone(), changed);
                        waiting.said = Some(text);
                        if let Some(progress) = progress {
                            progress.send_replace(done.values().copied().fold(Changed::default(), Changed::and));
                        }
                    }
                    None => drop(open.remove(&id)),
                }
            }
            open.retain(|_, waiting| {
                let is_late = waiting.sign.elapsed() >= PATIENCE;
                if is_late {
                    answers.missing.push(format!("{} does not answer", waiting.node));
                }
                !is_late
            });
            let next = open.values().map(|waiting| PATIENCE.saturating_sub(waiting.sign.elapsed())).min();
            if let Some(next) = next {
                let _ = tokio::time::timeout(next, changes.next()).await;
            }
        }
        // If this fails, the rows are removed later.
        let _ = database.write(move |tables| forget(tables, &ids)).await;
        answers.missing.sort();
        answers
    }

    /// Does what other nodes ask of this one, until told to stop.
    pub async fn answer_others(self, stopping: CancellationToken) {
        let database = self.nodes.0.clone();
        let (mut changes, tasks, mut tidied) = (database.changes(), TaskTracker::new(), Instant::now());
        if database.node().is_empty() {
            return;
        }
        loop {
            let pause = match database.read(is_asked).await {
                Ok(true) => match database.write(take_questions).await {
                    Ok(questions) => {
                        for (id, text) in questions {
                            let (service, until) = (self.clone(), stopping.clone());
                            tasks.spawn(async move { until.run_until_cancelled(service.answer(id, text)).await });
                        }
                        TIDY_EVERY
                    }
                    Err(_) => AGAIN,
                },
                Ok(false) => TIDY_EVERY,
                Err(_) => AGAIN,
            };
            if tidied.elapsed() >= TIDY_EVERY {
                tidied = Instant::now();
                let _ = database.write(tidy).await;
            }
            let next = tokio::time::timeout(pause, changes.next());
            if stopping.run_until_cancelled(next).await.is_none() {
                break;
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn answer(self, id: String, text: String) {
        let (progress, told) = watch::channel(Changed::default());
        let work = self.do_part(&text, &progress);
        let mut work = std::pin::pin!(work);
        loop {
            let answer = tokio::select! {
                done = &mut work => Some(done.map_or_else(Answer::Refused, Answer::Done)),
                () = tokio::time::sleep(SIGN_EVERY) => None,
            };
            let is_last = answer.is_some();
            let answer = answer.unwrap_or_else(|| Answer::Progress(*told.borrow()));
            let (id, text) = (id.clone(), serde_json::to_string(&answer).expect("an answer has texts and numbers"));
            let written = self.nodes.0.write(move |tables| put_answer(tables, &id, &text)).await;
            if let Err(error) = written {
                tracing::warn!("the answer to another node cannot be written: {error}");
            }
            if is_last {
                return;
            }
        }
    }

    async fn do_part(&self, text: &str, progress: &watch::Sender<Changed>) -> Result<Value, Error> {
        let other_version = || {
            let message = "another version of postbud runs there";
            Error::new(ErrorKind::Unavailable, message, "try again once all nodes run the same version")
        };
        let Question { version, from, actor, ask } = serde_json::from_str(text).map_err(|_| other_version())?;
        if version != VERSION {
            return Err(other_version());
        }
        let actor = &actor.actor(&from);
        match ask {
            Ask::List { which, after, limit } => value(self.list_here(actor, &which, after.as_deref(), limit).await?),
            Ask::Show { id } => value(self.show_here(actor, &id).await?),
            Ask::Count { which } => value(self.count_here(actor, &which).await?),
            Ask::Stats => value(self.stats_here(actor).await?),
            Ask::Overview => value(self.overview_here(actor).await?),
            Ask::Change { which, command } => value(self.command_here(actor, &which, command, progress).await?),
            Ask::Routes => value(self.routes_here(actor)?),
            Ask::Resume { route } => value(self.resume_route_here(actor, &route).await?),
            Ask::Unpause { customer } => value(self.unpause_here(actor, &customer).await?),
            Ask::Alerts => value(self.alerts_here(actor)?),
            Ask::Trace { query, most } => value(self.trace_here(actor, query, most).await?),
            Ask::Erase { recipient } => value(self.erase_here(actor, recipient).await?),
        }
    }
}

fn value(part: impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(part).map_err(|error| Error::failed(error.to_string(), "see the relay's log"))
}

fn put_questions(tables: &Transaction<'_>, asked: &[(String, String)], text: &str) -> Result<(), database::Error> {
    for (id, node) in asked {
        let row = [id.as_str().into(), node.as_str().into(), Timestamp::now().into(), text.into()];
        tables.execute("INSERT INTO ask (id, node, at, question) VALUES ($1, $2, $3, $4)", &row)?;
    }
    tables.announce().map(drop)
}

fn is_asked(tables: &Transaction<'_>) -> Result<bool, database::Error> {
    let sql = "SELECT 1 FROM ask WHERE node = $1 LIMIT 1";
    Ok(tables.first(sql, &[tables.node().into()], |_| Ok(()))?.is_some())
}

/// Takes the questions to this node. Those of a node that had its name before are among them.
fn take_questions(tables: &Transaction<'_>) -> Result<Vec<(String, String)>, database::Error> {
    let mut found = Vec::new();
    tables.query("SELECT id, question FROM ask WHERE node = $1", &[tables.node().into()], |row| {
        found.push((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
        Ok::<_, database::Error>(())
    })?;
    tables.execute("DELETE FROM ask WHERE node = $1", &[tables.node().into()])?;
    Ok(found)
}

fn put_answer(tables: &Transaction<'_>, id: &str, text: &str) -> Result<(), database::Error> {
    let sql = "INSERT INTO ask_answer (id, at, answer) VALUES ($1, $2, $3) \
               ON CONFLICT (id) DO UPDATE SET at = excluded.at, answer = excluded.answer";
    tables.execute(sql, &[id.into(), Timestamp::now().into(), text.into()])?;
    tables.announce().map(drop)
}

fn read_answers(tables: &Transaction<'_>, ids: &[String]) -> Result<Vec<(String, String)>, database::Error> {
    let mut found = Vec::new();
    for id in ids {
        let sql = "SELECT answer FROM ask_answer WHERE id = $1";
        let answer = tables.first(sql, &[id.as_str().into()], |row| row.text(0).map(str::to_owned))?;
        found.extend(answer.map(|answer| (id.clone(), answer)));
    }
    Ok(found)
}

fn forget(tables: &Transaction<'_>, ids: &[String]) -> Result<(), database::Error> {
    for id in ids {
        tables.execute("DELETE FROM ask WHERE id = $1", &[id.as_str().into()])?;
        tables.execute("DELETE FROM ask_answer WHERE id = $1", &[id.as_str().into()])?;
    }
    Ok(())
}

fn tidy(tables: &Transaction<'_>) -> Result<(), database::Error> {
    let before = Timestamp::now() - FORGOTTEN;
    tables.execute("DELETE FROM ask WHERE at < $1", &[before.into()])?;
    tables.execute("DELETE FROM ask_answer WHERE at < $1", &[before.into()]).map(drop)
}

//! A model of PostgreSQL: tables in memory, transactions, row locks, and connections that speak its protocol with the relay's own client.
//!
//! A transaction sees what is committed, and keeps its own changes to itself until its commit. Whoever needs a row that another transaction
//! has locked waits, and looks anew afterwards (READ COMMITTED). A connection that breaks takes its transaction with it, after the
//! server has executed what was already sent. What is simulated goes as far as the spool's statements do (`statements`).
//!
//! The server works between the steps of the nodes. Each message waits a random moment, sometimes a long one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::statements::Statement;
use super::wire::{self, Answers, Reader, Said, Value};
use crate::simulation::faults::Fault;

/// How long a statement waits for a lock, and a silent client's transaction lasts: the lease, as the relay asks for.
const PATIENCE: Duration = super::LEASE;
/// How long a client has much to ask over a connection after it has connected.
const NEW: Duration = Duration::from_millis(300);

/// How often a kind of a node's connections gets a late answer at most.
const HESITATES_EVERY: Duration = Duration::from_secs(6);

/// The key of a row in a segment or in transit: shard (0 in a segment), number, part.
pub type Key = (i32, i32, i16);
/// The other columns: id, note, head, body, crc, lines.
pub type Row = [Value; 6];

#[derive(Clone, Debug)]
pub struct NodeRow {
    pub instance: i64,
    pub until: f64,
    pub since: f64,
    pub nodes: i32,
    pub leaving: bool,
}

#[derive(Clone, Debug, Default)]
pub struct OwnerRow {
    pub epoch: i64,
    pub node: String,
    pub clean: bool,
    pub told: (i32, i32),
}

/// What is committed.
#[derive(Default)]
pub struct Data {
    pub nodes: BTreeMap<String, NodeRow>,
    pub owners: Vec<OwnerRow>,
    pub numbers: i64,
    pub segments: BTreeSet<(i32, i32)>,
    pub transit: BTreeMap<i32, i64>,
    pub next_transit: i32,
    pub tables: BTreeMap<String, BTreeMap<Key, Row>>,
    /// What is known of customers besides their mail: shard, customer, name, and the text.
    pub carried: BTreeMap<(i32, String, String), String>,
    /// How many recipients of a route's day the nodes took.
    pub day_taken: BTreeMap<(String, i64), i64>,
    /// The last epoch that each node gave itself in a shard.
    pub last_epochs: BTreeMap<(usize, i64), i64>,
}

impl Data {
    pub fn node_of(&self, instance: i64) -> Option<String> {
        self.nodes.iter().find(|(_, node)| node.instance == instance).map(|(name, _)| name.clone())
    }

    pub fn size(&self, table: &str) -> i64 {
        let octets = |row: &Row| 24 + row.iter().flatten().map(Vec::len).sum::<usize>();
        self.tables.get(table).map_or(0, |rows| rows.values().map(octets).sum::<usize>()) as i64
    }
}

/// How a row or a table is locked: PostgreSQL's documentation, "Row-Level Locks".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    KeyShare,
    NoKeyUpdate,
    Update,
}

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        match (self, other) {
            (Mode::KeyShare, other) | (other, Mode::KeyShare) => other == Mode::Update,
            _ => true,
        }
    }
}

/// Why a statement has no answer.
pub enum Stop {
    /// It waits for a lock.
    Waits,
    Error(&'static str, String),
}

type Change = Box<dyn FnOnce(&mut Data) + Send>;

#[derive(Default)]
struct Transaction {
    changes: Vec<Change>,
    has_failed: bool,
    /// The days that it began to count, which it sees before its commit.
    days: BTreeMap<(String, i64), i64>,
    /// How many recipients of a day it took.
    taken: i64,
}

/// A connection, as the server has it.
pub struct Connection {
    pub process: i32,
    node: usize,
    pub application: String,
    has_started: bool,
    statements: BTreeMap<String, Arc<Statement>>,
    bound: Option<(Arc<Statement>, Vec<Value>)>,
    transaction: Option<Transaction>,
    /// Changes of the statement that is executed.
    changes: Vec<Change>,
    /// The rows that the statement changed.
    pub count: usize,
    /// A COPY into this table is under way, and what came of it.
    copying: Option<(String, Vec<u8>)>,
    /// After an error everything is left out up to the next Sync.
    skips: bool,
    /// How many statements of the present text were executed, and what they answered.
    done: usize,
    answered: Answers,
    came: Vec<u8>,
    ready_at: Duration,
    waits_since: Option<Duration>,
    begun: Duration,
    heard_at: Duration,
    is_over: bool,
    /// The recipients of a day that were taken with commits, each with the number of octets after which the client knows of it.
    taken: Vec<(u64, i64)>,
    pipe: Arc<Mutex<Pipe>>,
}

impl Connection {
    pub fn node(&self) -> usize {
        self.node
    }

    /// Returns true if the server has nothing to do for the client.
    fn is_quiet(&self) -> bool {
        let pipe = lock(&self.pipe);
        self.came.is_empty() && self.transaction.is_none() && pipe.to_server.is_empty() && !pipe.client_closed
    }

    /// Begins to count a day, unless somebody has.
    pub fn begins_day(&mut self, route: String, day: i64, taken: i64) {
        if let Some(transaction) = &mut self.transaction {
            transaction.days.insert((route.clone(), day), taken);
        }
        self.does(move |data| {
            data.day_taken.entry((route, day)).or_insert(taken);
        });
    }

    /// What this transaction began to count of a day.
    pub fn day(&self, day: &(String, i64)) -> Option<i64> {
        self.transaction.as_ref()?.days.get(day).copied()
    }

    /// Takes so many recipients of a day.
    pub fn takes_of_day(&mut self, taken: i64) {
        self.transaction.iter_mut().for_each(|transaction| transaction.taken += taken);
    }

    /// Keeps a change for the commit.
    pub fn does<R>(&mut self, change: impl FnOnce(&mut Data) -> R + Send + 'static) {
        self.changes.push(Box::new(|data| {
            let _ = change(data);
        }));
    }
}

/// What is on its way between a client and the server.
#[derive(Default)]
struct Pipe {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// How many octets were sent to the client so far.
    sent: u64,
    client_closed: bool,
    server_closed: bool,
    /// What is on its way gets nowhere at present.
    is_apart: bool,
    reader: Option<Waker>,
}

impl Pipe {
    /// Returns true if the client has read so many octets.
    fn has_read(&self, octets: u64) -> bool {
        self.sent - self.to_client.len() as u64 >= octets
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

/// What becomes of a commit whose answer does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It was made.
    Answer,
    /// It was not.
    Commit,
}

pub struct Server {
    pub now: Duration,
    pub data: Data,
    pub fault: Option<Fault>,
    /// How many recipients of a day nodes took without hearing so.
    pub unheard: i64,
    /// What was read of the texts that came, because most come again and again.
    statements: HashMap<String, Arc<Statement>>,
    connections: BTreeMap<i32, Box<Connection>>,
    /// Every connection that a client still has, also those that the server has ended, with their nodes.
    pipes: Vec<(usize, Weak<Mutex<Pipe>>)>,
    locks: BTreeMap<(String, i64), Vec<(i32, Mode)>>,
    /// When each kind of a node's connections last got a late answer by chance.
    hesitated: HashMap<String, Duration>,
    next_process: i32,
    chance: SmallRng,
    /// Nobody gets an answer before this time.
    slow_until: Duration,
    /// No connection is taken before this time.
    down_until: Duration,
    apart: BTreeSet<usize>,
    /// What becomes of a node's next commits.
    losing: BTreeMap<usize, Lost>,
}

/// The database of a simulation.
pub struct Database(Mutex<Server>);

impl Database {
    pub fn new(seed: u64, shards: usize, fault: Option<Fault>) -> Arc<Database> {
        let owner = OwnerRow { clean: true, ..OwnerRow::default() };
        let data = Data { owners: vec![owner; shards], ..Data::default() };
        Arc::new(Database(Mutex::new(Server {
            now: Duration::ZERO,
            data,
            fault,
            unheard: 0,
            statements: HashMap::new(),
            connections: BTreeMap::new(),
            pipes: Vec::new(),
            locks: BTreeMap::new(),
            hesitated: HashMap::new(),
            next_process: 100,
            chance: SmallRng::seed_from_u64(seed),
            slow_until: Duration::ZERO,
            down_until: Duration::ZERO,
            apart: BTreeSet::new(),
            losing: BTreeMap::new(),
        })))
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        lock(&self.0)
    }

    /// Connects a node. `None` if nobody answers, an error if the server is down.
    pub fn connect(self: &Arc<Self>, node: usize) -> Option<io::Result<Stream>> {
        let mut server = self.server();
        if server.apart.contains(&node) {
            return None;
        }
        if server.now < server.down_until {
            return Some(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        server.next_process += 1;
        let (process, pipe) = (server.next_process, Arc::<Mutex<Pipe>>::default());
        let connection = Connection {
            process,
            node,
            application: String::new(),
            has_started: false,
            statements: BTreeMap::new(),
            bound: None,
            transaction: None,
            changes: Vec::new(),
            count: 0,
            copying: None,
            skips: false,
            done: 0,
            answered: Answers::default(),
            came: Vec::new(),
            ready_at: server.now,
            waits_since: None,
            begun: server.now,
            heard_at: server.now,
            is_over: false,
            taken: Vec::new(),
            pipe: Arc::clone(&pipe),
        };
        server.connections.insert(process, Box::new(connection));
        server.pipes.retain(|(_, pipe)| pipe.strong_count() > 0);
        server.pipes.push((node, Arc::downgrade(&pipe)));
        Some(Ok(Stream(pipe)))
    }
}

impl Server {
    /// Nobody gets an answer for so long.
    pub fn slows(&mut self, lasts: Duration) {
        self.slow_until = self.now + lasts;
    }

    /// The primary is lost, and a standby that has everything takes its place after so long.
    pub fn fails_over(&mut self, lasts: Duration) {
        self.down_until = self.now + lasts;
        self.terminate(0, |_| true);
    }

    /// What goes between a node and the server gets nowhere, or does again.
    pub fn set_apart(&mut self, node: usize, is_apart: bool) {
        match is_apart {
            true => self.apart.insert(node),
            false => self.apart.remove(&node),
        };
        // A client learns only then that the server ended a connection meanwhile.
        for pipe in self.pipes.iter().filter(|(of, _)| *of == node).filter_map(|(_, pipe)| pipe.upgrade()) {
            let mut pipe = lock(&pipe);
            pipe.is_apart = is_apart;
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The answer to a node's next commit is lost, or the commit itself.
    pub fn loses(&mut self, node: usize, lost: Lost) {
        self.losing.insert(node, lost);
    }

    /// The node's answers take this long from now on, on one of its connections. Half of the time it is that of its lease, without which the
    /// node does not learn that another one owns its shards.
    pub fn stalls(&mut self, node: usize, lasts: Duration) {
        let is_of_lease = |connection: &Connection| connection.application.contains(" lease ");
        let only_lease = self.chance.random_bool(0.5);
        let own = self.connections.values_mut().filter(|connection| connection.node == node);
        let mut own: Vec<&mut Box<Connection>> =
            own.filter(|connection| !only_lease || is_of_lease(connection)).collect();
        if !own.is_empty() {
            let which = self.chance.random_range(0..own.len());
            own[which].ready_at = self.now + lasts;
        }
    }

    /// How many recipients of the day the nodes have taken together.
    pub fn taken_of_day(&self) -> i64 {
        self.data.day_taken.values().sum()
    }

    /// The owner of a shard, as it is committed.
    pub fn owner(&self, shard: u32) -> &str {
        &self.data.owners[shard as usize].node
    }

    pub fn table(&self, name: &str) -> Result<&BTreeMap<Key, Row>, Stop> {
        let gone = || Stop::Error("42P01", format!("relation \"{name}\" does not exist"));
        self.data.tables.get(name).ok_or_else(gone)
    }

    /// Locks a row for the connection's transaction.
    pub fn lock(&mut self, on: &Connection, table: &str, row: i64, mode: Mode) -> Result<(), Stop> {
        let held = self.locks.entry((table.to_owned(), row)).or_default();
        if held.iter().any(|(process, other)| *process != on.process && other.conflicts(mode)) {
            return Err(Stop::Waits);
        }
        if !held.contains(&(on.process, mode)) {
            held.push((on.process, mode));
        }
        Ok(())
    }

    fn unlock(&mut self, process: i32) {
        for held in self.locks.values_mut() {
            held.retain(|(by, _)| *by != process);
        }
        self.locks.retain(|_, held| !held.is_empty());
    }

    /// Ends the server processes of other connections. Returns how many.
    pub fn terminate(&mut self, own: i32, is_meant: impl Fn(&Connection) -> bool) -> usize {
        let ended: Vec<i32> = self
            .connections
            .values()
            .filter(|other| other.process != own && is_meant(other))
            .map(|other| other.process)
            .collect();
        for process in &ended {
            if let Some(connection) = self.connections.remove(process) {
                self.end(*connection);
            }
        }
        ended.len()
    }

    fn end(&mut self, connection: Connection) {
        self.unlock(connection.process);
        let mut pipe = lock(&connection.pipe);
        let unheard = connection.taken.iter().filter(|(heard_at, _)| !pipe.has_read(*heard_at));
        self.unheard += unheard.map(|(_, taken)| taken).sum::<i64>();
        pipe.server_closed = true;
        pipe.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Returns true while a node changes something, or connects. The nodes' looks are not meant.
    pub fn is_busy(&self) -> bool {
        let is_busy = |connection: &Connection| connection.transaction.is_some() || self.now < connection.begun + NEW;
        self.connections.values().any(|connection| is_busy(connection))
    }

    /// Works on what came, until everybody waits for something.
    pub fn step(&mut self, now: Duration) {
        self.now = now;
        if now < self.slow_until {
            return;
        }
        let busy = self.connections.values().filter(|connection| !connection.is_quiet());
        let processes: Vec<i32> = busy.map(|connection| connection.process).collect();
        for process in processes {
            let Some(mut connection) = self.connections.remove(&process) else { continue };
            self.serve(&mut connection);
            if connection.is_over {
                self.end(*connection);
            } else {
                self.connections.insert(process, connection);
            }
        }
    }

    /// Returns true if this kind of connection has not hesitated for a while. Otherwise one that is made again and again would hesitate each
    /// time in a few of many seeds, and its node would be held up with nothing wrong.
    fn may_hesitate(&mut self, on: &Connection) -> bool {
        let last = self.hesitated.entry(on.application.clone()).or_default();
        let may = *last + HESITATES_EVERY < self.now;
        if may {
            *last = self.now;
        }
        may
    }

    fn serve(&mut self, on: &mut Connection) {
        let is_closed = {
            let mut pipe = lock(&on.pipe);
            if !pipe.is_apart && !pipe.to_server.is_empty() {
                on.came.append(&mut pipe.to_server);
                on.heard_at = self.now;
                let pause = match self.chance.random_range(0..60) {
                    0 if self.may_hesitate(on) => self.chance.random_range(300..2500),
                    0..=40 => 0,
                    _ => self.chance.random_range(1..20),
                };
                on.ready_at = on.ready_at.max(self.now + Duration::from_millis(pause));
            }
            pipe.client_closed && !pipe.is_apart && pipe.to_server.is_empty()
        };
        if on.transaction.is_some() && on.heard_at + PATIENCE < self.now {
            on.is_over = true;
            return;
        }
        if self.now < on.ready_at {
            return;
        }
        let mut answers = Answers::default();
        while !on.is_over {
            let Some((said, length)) = wire::next(&on.came, on.has_started) else { break };
            match self.hears(on, said, &mut answers) {
                Ok(()) => {
                    on.waits_since = None;
                    on.came.drain(..length);
                }
                Err(()) => break,
            }
        }
        on.is_over |= is_closed && wire::next(&on.came, on.has_started).is_none();
        let mut pipe = lock(&on.pipe);
        pipe.sent += answers.0.len() as u64;
        pipe.to_client.append(&mut answers.0);
        if !on.is_over {
            on.taken.iter_mut().for_each(|(heard_at, _)| *heard_at = pipe.sent.min(*heard_at));
            on.taken.retain(|(heard_at, _)| !pipe.has_read(*heard_at));
        }
        if !pipe.to_client.is_empty() && !pipe.is_apart {
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Takes one message. An error means that it waits.
    fn hears(&mut self, on: &mut Connection, said: Said, answers: &mut Answers) -> Result<(), ()> {
        if on.skips && !matches!(said, Said::Sync | Said::Terminate) {
            return Ok(());
        }
        match said {
            Said::Startup { application } => {
                (on.application, on.has_started) = (application, true);
                answers.started(on.process);
                answers.ready(b'I');
            }
            Said::Query(text) => {
                let statements: Vec<&str> = text.split(';').map(str::trim).filter(|one| !one.is_empty()).collect();
                while let Some(sql) = statements.get(on.done) {
                    let mut answered = std::mem::take(&mut on.answered);
                    let done = self.simple(on, sql, &mut answered);
                    on.answered = answered;
                    match done {
                        Ok(()) => on.done += 1,
                        Err(Stop::Waits) if self.waits(on) => return Err(()),
                        Err(stop) => {
                            self.fails(on, stop);
                            break;
                        }
                    }
                    if on.is_over {
                        return Ok(());
                    }
                }
                on.done = 0;
                answers.0.append(&mut std::mem::take(&mut on.answered).0);
                answers.ready(state(on));
            }
            Said::Parse { name, sql } => {
                let statement = self.statement(&sql);
                let missing = statement.reads().iter().find_map(|table| self.table(table).err());
                match missing {
                    None => {
                        on.statements.insert(name, statement);
                        answers.parsed();
                    }
                    Some(stop) => self.fails_extended(on, stop, answers),
                }
            }
            Said::Describe(name) => {
                let statement = &on.statements[&name];
                answers.parameters(statement.takes());
                answers.columns(statement.gives(), 0);
            }
            Said::Bind { statement, parameters } => {
                on.bound = Some((Arc::clone(&on.statements[&statement]), parameters));
                answers.bound();
            }
            Said::Execute => {
                let (statement, given) = on.bound.clone().expect("something is bound");
                if let Some(table) = statement.copies_into() {
                    match self.table(table) {
                        Ok(_) if !has_failed(on) => {
                            on.copying = Some((table.clone(), Vec::new()));
                            answers.copy_in();
                        }
                        Ok(_) => self.fails_extended(on, aborted(), answers),
                        Err(stop) => self.fails_extended(on, stop, answers),
                    }
                    return Ok(());
                }
                match self.run(on, &statement, &given) {
                    Ok(rows) => {
                        rows.iter().for_each(|row| answers.row(row));
                        answers.complete(&format!("UPDATE {}", on.count));
                    }
                    Err(Stop::Waits) if self.waits(on) => return Err(()),
                    Err(stop) => self.fails_extended(on, stop, answers),
                }
            }
            Said::Close => answers.closed(),
            // A COPY takes what comes as its data, and leaves a Sync out.
            Said::Sync if on.copying.is_some() => {}
            Said::Sync => {
                on.skips = false;
                answers.ready(state(on));
            }
            Said::CopyData(data) => on.copying.iter_mut().for_each(|(_, copied)| copied.extend_from_slice(&data)),
            Said::CopyDone => {
                let Some((table, copied)) = on.copying.clone() else { return Ok(()) };
                let rows = rows_of(&copied, table.contains("transit"));
                let inserted = self.insert(on, table, rows);
                match inserted {
                    Err(Stop::Waits) if self.waits(on) => {
                        on.changes.clear();
                        return Err(());
                    }
                    Err(stop) => {
                        on.copying = None;
                        self.fails_extended(on, stop, answers);
                    }
                    Ok(()) => {
                        on.copying = None;
                        self.keep(on);
                        answers.complete("COPY 1");
                    }
                }
            }
            Said::CopyFail => {
                if on.copying.take().is_some() {
                    self.fails_extended(on, Stop::Error("57014", "COPY was ended".into()), answers);
                }
            }
            Said::Flush => {}
            Said::Terminate => on.is_over = true,
        }
        Ok(())
    }

    fn statement(&mut self, sql: &str) -> Arc<Statement> {
        if let Some(known) = self.statements.get(sql) {
            return Arc::clone(known);
        }
        let statement = Arc::new(Statement::read(sql));
        self.statements.insert(sql.to_owned(), Arc::clone(&statement));
        statement
    }

    /// Executes one statement of a text.
    fn simple(&mut self, on: &mut Connection, sql: &str, answers: &mut Answers) -> Result<(), Stop> {
        match sql {
            "BEGIN" => {
                on.transaction.get_or_insert_default();
            }
            "COMMIT" => self.commit(on),
            "ROLLBACK" => {
                on.transaction = None;
                self.unlock(on.process);
            }
            _ => {
                let statement = self.statement(sql);
                let rows = self.run(on, &statement, &[])?;
                if !statement.gives().is_empty() {
                    answers.columns(statement.gives(), 0);
                    rows.iter().for_each(|row| answers.row(row));
                }
            }
        }
        if !on.is_over {
            answers.complete(sql.split(' ').next().unwrap_or_default());
        }
        Ok(())
    }

    fn run(&mut self, on: &mut Connection, statement: &Statement, given: &[Value]) -> Result<Vec<Vec<Value>>, Stop> {
        if has_failed(on) {
            return Err(aborted());
        }
        (on.count, on.changes) = (0, Vec::new());
        let rows = self.execute(on, statement, given)?;
        self.keep(on);
        Ok(rows)
    }

    /// Keeps a statement's changes for the commit, or makes them if it is a transaction of its own.
    fn keep(&mut self, on: &mut Connection) {
        let changes = std::mem::take(&mut on.changes);
        match &mut on.transaction {
            Some(transaction) => transaction.changes.extend(changes),
            None => {
                changes.into_iter().for_each(|change| change(&mut self.data));
                self.unlock(on.process);
            }
        }
    }

    fn commit(&mut self, on: &mut Connection) {
        let Some(transaction) = on.transaction.take() else { return };
        let is_ours = on.application.contains(" writer ") || on.application.contains(" transit ");
        let lost = if is_ours { self.losing.remove(&on.node) } else { None };
        let forgets = is_ours && self.fault == Some(Fault::LosesCommit) && self.chance.random_range(0..20) == 0;
        if !transaction.has_failed && lost != Some(Lost::Commit) && !forgets {
            transaction.changes.into_iter().for_each(|change| change(&mut self.data));
            if transaction.taken > 0 {
                on.taken.push((u64::MAX, transaction.taken));
            }
        }
        self.unlock(on.process);
        on.is_over |= lost.is_some();
    }

    /// Notes that a statement waits for a lock. Returns false if it has waited for too long.
    fn waits(&self, on: &mut Connection) -> bool {
        let since = *on.waits_since.get_or_insert(self.now);
        since + PATIENCE > self.now
    }

    /// Answers an error to a text of statements.
    fn fails(&mut self, on: &mut Connection, stop: Stop) {
        let (code, why) = match stop {
            Stop::Waits => ("55P03", "canceling statement due to lock timeout".to_owned()),
            Stop::Error(code, why) => (code, why),
        };
        on.answered.error(code, &why);
        on.changes.clear();
        match &mut on.transaction {
            Some(transaction) => transaction.has_failed = true,
            None => self.unlock(on.process),
        }
    }

    /// The same to other messages: what follows is left out up to the next Sync.
    fn fails_extended(&mut self, on: &mut Connection, stop: Stop, answers: &mut Answers) {
        self.fails(on, stop);
        answers.0.append(&mut std::mem::take(&mut on.answered).0);
        on.skips = true;
    }
}

fn has_failed(on: &Connection) -> bool {
    on.transaction.as_ref().is_some_and(|transaction| transaction.has_failed)
}

fn aborted() -> Stop {
    Stop::Error("25P02", "current transaction is aborted".into())
}

fn state(on: &Connection) -> u8 {
    match &on.transaction {
        None => b'I',
        Some(transaction) if transaction.has_failed => b'E',
        Some(_) => b'T',
    }
}

/// Reads the rows of a COPY: seq, part, and the other columns, in transit with the shard before them.
fn rows_of(copied: &[u8], in_transit: bool) -> Vec<(Key, Row)> {
    let mut rest = Reader(copied);
    // A signature, flags, and the length of an extension.
    rest.take(19);
    let mut rows = Vec::new();
    while rest.int2() != -1 {
        let shard = if in_transit { wire::number(&rest.value()) as i32 } else { 0 };
        let (seq, part) = (wire::number(&rest.value()) as i32, wire::number(&rest.value()) as i16);
        rows.push(((shard, seq, part), std::array::from_fn(|_| rest.value())));
    }
    rows
}

/// The client's end of a connection.
pub struct Stream(Arc<Mutex<Pipe>>);

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.0).client_closed = true;
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.0);
        if pipe.is_apart || (pipe.to_client.is_empty() && !pipe.server_closed) {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.to_client.len().min(buf.remaining());
        buf.put_slice(&pipe.to_client[..count]);
        pipe.to_client.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.0);
        if pipe.server_closed && !pipe.is_apart {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        pipe.to_server.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).client_closed = true;
        Poll::Ready(Ok(()))
    }
}

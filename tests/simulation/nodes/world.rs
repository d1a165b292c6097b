//! Runs a plan: the nodes and their database go forward together, step by step, in one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Wrong};
use super::database::Database;
use super::faults::Fault;
use super::node::{Ended, Surroundings, live};
use super::plan::{Plan, What};
use crate::simulation::disk::Disk;
use crate::simulation::machine::{Hardware, Machine};
use crate::simulation::network::Network;
use crate::simulation::{enter, note_panics};

pub const NODES: usize = 3;
pub const SHARDS: u32 = 4;

/// How far the time goes on at once.
const STEP: Duration = Duration::from_millis(20);
/// How long the nodes have for all mail after the last trouble.
const AT_LAST: Duration = Duration::from_secs(120);
/// When a process is started again that ended by itself.
const RESTART: Duration = Duration::from_secs(1);

/// What came of a plan.
pub struct Outcome {
    pub wrong: Vec<Wrong>,
    pub history: Vec<String>,
    pub took: Duration,
    pub acknowledged: usize,
}

struct Process {
    machine: Arc<Machine>,
    runtime: Runtime,
    life: JoinHandle<Ended>,
    hand_in: UnboundedSender<u32>,
    stop: CancellationToken,
}

/// What ends by itself later.
enum Later {
    Start(usize),
    Thaw(usize),
    Reunite(usize),
}

struct World<'a> {
    plan: &'a Plan,
    fault: Option<Fault>,
    book: Arc<Book>,
    database: Arc<Database>,
    hardware: Vec<Arc<Hardware>>,
    processes: Vec<Option<Process>>,
    frozen: Vec<bool>,
    /// How long each process has not run.
    behind: Vec<Duration>,
    later: BTreeMap<(Duration, u64), Later>,
    count: u64,
    now: Duration,
}

/// Runs a plan in this thread, with a deliberate fault or without.
pub fn run(plan: &Plan, fault: Option<Fault>) -> Outcome {
    note_panics();
    let scratch = tempfile::tempdir().expect("a scratch folder can be made");
    let database = Database::new(plan.seed ^ 0x6462, SHARDS as usize, fault);
    let network = Network::new(plan.seed);
    let hardware = (0..NODES).map(|number| {
        let disk = Disk::new(&scratch.path().join(number.to_string())).expect("a scratch folder takes files");
        let hardware = Hardware::new(number, disk, Arc::clone(&network), None);
        hardware.database.set(Arc::clone(&database)).ok().expect("it has none yet");
        hardware
    });
    let mut world = World {
        plan,
        fault,
        book: Arc::default(),
        database: Arc::clone(&database),
        hardware: hardware.collect(),
        processes: (0..NODES).map(|_| None).collect(),
        frozen: vec![false; NODES],
        behind: vec![Duration::ZERO; NODES],
        later: BTreeMap::new(),
        count: 0,
        now: Duration::ZERO,
    };
    world.run();
    (0..NODES).for_each(|node| world.kill(node));
    for hardware in &world.hardware {
        for panic in hardware.panics.lock().expect("nothing panics while it holds the panics").drain(..) {
            world.book.wrong(world.now, "no panic", panic);
        }
    }
    world.book.judge(world.now);
    let facts = std::mem::take(&mut *world.book.facts());
    Outcome { wrong: facts.wrong, history: facts.history, took: world.now, acknowledged: facts.acknowledged.len() }
}

impl World<'_> {
    fn run(&mut self) {
        (0..NODES).for_each(|node| self.start(node));
        let mut steps = self.plan.steps.iter().peekable();
        let mut calm_since = None;
        loop {
            while let Some(step) = steps.next_if(|step| step.at <= self.now) {
                self.does(&step.what);
            }
            while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let later = entry.remove();
                self.does_later(later);
            }
            self.forward(self.now + STEP);
            if steps.peek().is_none() && self.later.is_empty() {
                let since = *calm_since.get_or_insert(self.now);
                // What was handed in last is acknowledged or refused by then.
                let is_done = self.now > since + Duration::from_secs(5) && self.book.left().is_empty();
                if is_done || self.now > since + AT_LAST {
                    return;
                }
            }
        }
    }

    fn forward(&mut self, until: Duration) {
        for node in 0..NODES {
            let Some(process) = &self.processes[node] else { continue };
            if self.frozen[node] {
                self.behind[node] += until - self.now;
                continue;
            }
            enter(Some(Arc::clone(&process.machine)));
            let behind = std::mem::take(&mut self.behind[node]);
            process.runtime.block_on(async {
                if !behind.is_zero() {
                    // It did not run, and everything that it waited for is late.
                    tokio::time::advance(behind).await;
                }
                tokio::time::sleep_until(process.machine.clock.instant(until)).await;
            });
            enter(None);
            if process.life.is_finished() {
                self.ended(node);
            }
        }
        self.now = until;
        self.database.server().step(until);
    }

    fn ended(&mut self, node: usize) {
        let Some(process) = &mut self.processes[node] else { return };
        let ended = process.runtime.block_on(&mut process.life);
        self.book.note(self.now, &format!("node{node} ended: {ended:?}"));
        let is_stopped = matches!(ended, Ok(Ok(())));
        if !is_stopped {
            self.book.facts().troubles.push((self.now, self.now));
        }
        self.kill(node);
        if !is_stopped {
            self.later(RESTART, Later::Start(node));
        }
    }

    fn does(&mut self, what: &What) {
        self.book.note(self.now, &format!("{what:?}"));
        let trouble = |lasts: Duration| (self.now, self.now + lasts);
        match *what {
            What::Submit { node, customer } => {
                if let Some(process) = &self.processes[node] {
                    let _ = process.hand_in.send(customer);
                }
            }
            What::Kill { node, down } => {
                let trouble = trouble(down);
                self.book.facts().troubles.push(trouble);
                self.kill(node);
                self.later(down, Later::Start(node));
            }
            What::Stop { node, down } => {
                if let Some(process) = self.processes[node].as_ref().filter(|_| !self.frozen[node]) {
                    process.stop.cancel();
                    self.later(Duration::from_secs(12) + down, Later::Start(node));
                }
            }
            What::Freeze { node, lasts } => {
                let trouble = trouble(lasts);
                self.book.facts().troubles.push(trouble);
                self.frozen[node] = true;
                self.later(lasts, Later::Thaw(node));
            }
            What::Apart { node, lasts } => {
                let trouble = trouble(lasts);
                self.book.facts().troubles.push(trouble);
                self.database.server().set_apart(node, true);
                self.later(lasts, Later::Reunite(node));
            }
            What::Slow { lasts } => {
                self.book.facts().troubles.push(trouble(lasts));
                self.database.server().slows(lasts);
            }
            What::FailOver { lasts } => {
                self.book.facts().troubles.push(trouble(lasts));
                self.database.server().fails_over(lasts);
            }
            What::Lose { node, lost } => {
                self.book.facts().troubles.push(trouble(Duration::from_secs(60)));
                self.database.server().loses(node, lost);
            }
            What::Stall { node, lasts } => {
                self.book.facts().troubles.push(trouble(lasts));
                self.database.server().stalls(node, lasts);
            }
        }
    }

    fn later(&mut self, pause: Duration, later: Later) {
        self.count += 1;
        self.later.insert((self.now + pause, self.count), later);
    }

    fn does_later(&mut self, later: Later) {
        match later {
            Later::Start(node) => self.start(node),
            Later::Thaw(node) => {
                self.book.note(self.now, &format!("node{node} goes on"));
                self.frozen[node] = false;
            }
            Later::Reunite(node) => {
                self.book.note(self.now, &format!("node{node} reaches the database"));
                self.database.server().set_apart(node, false);
            }
        }
    }

    /// Starts a node's process, unless it runs.
    fn start(&mut self, node: usize) {
        if self.processes[node].is_some() {
            return;
        }
        self.count += 1;
        let seed = self.plan.seed ^ (self.count << 32) ^ ((node as u64) << 60);
        let machine = Machine::new(Arc::clone(&self.hardware[node]), self.now, seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be made");
        machine.runs_on(runtime.handle().clone());
        let (hand_in, handed_in) = unbounded_channel();
        let stop = CancellationToken::new();
        let all = Surroundings {
            number: node,
            book: Arc::clone(&self.book),
            clock: Arc::clone(&machine.clock),
            database: Arc::clone(&self.database),
            fault: self.fault,
        };
        enter(Some(Arc::clone(&machine)));
        let life = runtime.spawn(live(all, handed_in, stop.clone()));
        enter(None);
        (self.frozen[node], self.behind[node]) = (false, Duration::ZERO);
        self.processes[node] = Some(Process { machine, runtime, life, hand_in, stop });
    }

    /// The process is gone, from one moment to the next.
    fn kill(&mut self, node: usize) {
        let Some(process) = self.processes[node].take() else { return };
        process.machine.dies();
        enter(Some(Arc::clone(&process.machine)));
        drop(process);
        enter(None);
    }
}

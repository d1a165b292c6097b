//! Runs a plan: the nodes, their database, the servers and the clients go forward together, step by step, in one thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::database::Database;
use super::judge::{self, Owned};
use super::plan::What;
use super::{LEASE, Watch};
use crate::database::{self, Home};
use crate::machine::threads;
use crate::postgres::Server;
use crate::queue::{Carrier, shared_day};
use crate::simulation::book::{Book, Trouble};
use crate::simulation::client::Client;
use crate::simulation::decoys::Decoy;
use crate::simulation::disk::Disk;
use crate::simulation::faults::Fault;
use crate::simulation::machine::{Clock, Hardware, Machine};
use crate::simulation::network::Network;
use crate::simulation::process::{Process, runtime};
use crate::simulation::relay::{Common, Relay};
use crate::simulation::seeds::{Outcome, Plan};
use crate::simulation::server;
use crate::simulation::world::scratch;
use crate::simulation::{note_panics, set_world_clock, site};
use crate::spool::Notices;
use crate::spool::postgres::{Postgres, Settings};

pub const NODES: usize = site::NODES.nodes as usize;
pub const SHARDS: u32 = 4;

/// How far the time goes on at once while something is under way. A question to the database takes at least one step.
const STEP: Duration = Duration::from_millis(30);
/// How far it goes on while nodes only look whether there is something to do.
const CALM: Duration = Duration::from_millis(100);
/// How often an end is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long the nodes have for all mail after the last trouble.
const AT_LAST: Duration = Duration::from_secs(600);
/// How long nothing may have been tried if all that is left may wait for the next day: a node may give back what it has of this one.
const QUIET: Duration = Duration::from_secs(15);
/// The same if nothing of the day is left.
const OVER: Duration = Duration::from_secs(3);
/// The same if there is more left: a cap of a minute and a route's pause are over by then.
const STUCK: Duration = Duration::from_secs(150);
/// When a process is started again that ended by itself.
const RESTART: Duration = Duration::from_secs(1);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A node, with its process if it has one.
struct Node {
    hardware: Arc<Hardware>,
    process: Option<Process>,
    starting: Option<JoinHandle<Result<Relay, String>>>,
    is_frozen: bool,
    /// How long the process has not run.
    behind: Duration,
    /// When it is started again after it has stopped in good order.
    down: Duration,
}

/// What ends by itself later.
enum Later {
    Start(usize),
    Thaw(usize),
    Reunite(usize),
}

struct World<'a> {
    plan: &'a Plan<What>,
    fault: Option<Fault>,
    book: Arc<Book>,
    clock: Arc<Clock>,
    network: Arc<Network>,
    database: Arc<Database>,
    nodes: Vec<Node>,
    runtime: Runtime,
    clients: Vec<JoinHandle<()>>,
    later: BTreeMap<(Duration, u64), Later>,
    count: u64,
    now: Duration,
    jumps: Vec<Duration>,
    owned: Vec<Owned>,
    /// Who owns each shard now.
    owners: [String; SHARDS as usize],
}

/// Runs a plan in this thread, with a deliberate fault or without.
pub fn run(plan: &Plan<What>, fault: Option<Fault>) -> Outcome {
    note_panics();
    let scratch = scratch();
    let network = Network::new(plan.seed ^ 0x6e65_7477);
    let database = Database::new(plan.seed ^ 0x6462, SHARDS as usize, fault);
    let nodes = (0..NODES).map(|number| {
        let disk = Disk::new(&scratch.path().join(number.to_string())).expect("a scratch folder takes files");
        let hardware = Hardware::new(number, disk, Arc::clone(&network), fault);
        hardware.database.set(Arc::clone(&database)).ok().expect("it has none yet");
        let (behind, down) = (Duration::ZERO, Duration::ZERO);
        Node { hardware, process: None, starting: None, is_frozen: false, behind, down }
    });
    let runtime = runtime(|| {});
    let clock = Clock::beginning(Duration::ZERO);
    {
        let _inside = runtime.enter();
        clock.set();
    }
    set_world_clock(Some(Arc::clone(&clock)));
    let mut world = World {
        plan,
        fault,
        book: Arc::default(),
        clock,
        nodes: nodes.collect(),
        network,
        database,
        runtime,
        clients: Vec::new(),
        later: BTreeMap::new(),
        count: 0,
        now: Duration::ZERO,
        jumps: Vec::new(),
        owned: Vec::new(),
        owners: Default::default(),
    };
    let outcome = world.run();
    drop(world);
    set_world_clock(None);
    outcome
}

/// However a simulation ends, its processes do, too.
impl Drop for World<'_> {
    fn drop(&mut self) {
        (0..NODES).for_each(|node| self.kill(node));
    }
}

/// The database's address, as a node knows it.
fn server(node: usize) -> Server {
    Server {
        hosts: vec!["simulated".into()],
        node: format!("node{node}"),
        lease: LEASE,
        timeout: Duration::from_secs(2),
        ..Server::default()
    }
}

/// Opens what nodes share, and starts a relay with it, as `src/server/start/` does.
async fn start(machine: Arc<Machine>, watch: Watch) -> Result<Relay, String> {
    let server = server(watch.node);
    let home = Home::Server(Box::new(server.clone()));
    let opened = threads::asking(move || database::Database::open_at(&home, &[shared_day::SCHEMA])).await;
    let database = opened.map_err(|error| error.to_string())?;
    let carrier = Arc::new(Carrier::default());
    let (book, clock, node) = (Arc::clone(&watch.book), Arc::clone(&watch.clock), watch.node);
    let notices =
        Notices::to(move |notice| book.note(clock.now(), &format!("the spool of node{node} says: {notice:?}")));
    let settings = Settings {
        server,
        nodes: NODES as u32,
        shards: SHARDS,
        segment_size: 12 << 10,
        carried: Some(carrier.clone()),
        notices,
        ..Settings::default()
    };
    let spool = Postgres::open_here(settings).await.map_err(|error| error.to_string())?;
    let spool = Decoy::watched(spool, machine.hardware.fault, watch);
    Relay::start(&machine, spool, Some(Common { carrier, database }))
}

impl World<'_> {
    fn run(&mut self) -> Outcome {
        for number in 0..site::SERVERS.len() {
            let server = server::Server {
                number,
                book: Arc::clone(&self.book),
                clock: Arc::clone(&self.clock),
                network: Arc::clone(&self.network),
                moods: Arc::default(),
                under_way: Mutex::default(),
            };
            self.runtime.spawn(Arc::new(server).run());
        }
        (0..NODES).for_each(|node| self.start(node));
        let mut steps = self.plan.steps.iter().peekable();
        let (mut looked, mut calm_since) = (Duration::ZERO, None);
        loop {
            while let Some(step) = steps.next_if(|step| step.at <= self.now) {
                self.does(&step.what);
            }
            while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let later = entry.remove();
                self.does_later(later);
            }
            let is_busy = self.network.step(self.now)
                || self.database.server().is_busy()
                || self.nodes.iter().any(|node| node.starting.is_some());
            let next = steps.peek().map(|step| step.at).into_iter().chain(self.later.keys().next().map(|key| key.0));
            let until = next.fold(self.now + if is_busy { STEP } else { CALM }, Duration::min);
            self.forward(until.max(self.now + Duration::from_millis(1)));
            if steps.peek().is_none() && self.later.is_empty() && self.now >= looked + LOOK {
                looked = self.now;
                let since = *calm_since.get_or_insert(self.now);
                if self.is_over(since) || self.now > since + AT_LAST {
                    break;
                }
            }
        }
        for node in &self.nodes {
            for panic in node.hardware.panics.lock().expect("nothing panics while it holds the panics").drain(..) {
                self.book.wrong(self.now, "no panic", panic);
            }
        }
        self.tells_what_is_left();
        judge::judge(&self.book, &self.jumps, &self.owned, self.now);
        Outcome::of(&self.book, self.now)
    }

    /// Returns true if everything that was acknowledged has been delivered, or nothing more can be expected. Nothing has gone wrong since
    /// this time.
    fn is_over(&self, since: Duration) -> bool {
        if !self.clients.iter().all(JoinHandle::is_finished) {
            return false;
        }
        let mut facts = self.book.facts();
        {
            let database = self.database.server();
            (facts.day_taken, facts.day_unheard) = (database.taken_of_day(), database.unheard);
        }
        let left = judge::left(&facts);
        let tried = facts.takes.iter().map(|take| take.at).chain(facts.put_off.values().map(|(_, at)| *at));
        let last = tried.fold(since, Duration::max);
        let may_wait = left.iter().all(|left| judge::may_wait(&facts, left));
        let pause = match may_wait {
            true if judge::day_is_over(&facts) => OVER,
            true => QUIET,
            false => STUCK,
        };
        left.is_empty() || self.now > last + pause
    }

    /// Writes down what mail the nodes still have.
    fn tells_what_is_left(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(process) = &node.process else { continue };
            let lanes = process.during(async |relay| relay.spool.lanes(None, 100).await);
            for (lane, stats) in lanes.and_then(Result::ok).unwrap_or_default() {
                let (records, held) = (stats.records, stats.held);
                let what =
                    format!("left at node{number}: {records} of {} ({:?}), {held} held", lane.customer, lane.kind);
                self.book.note(self.now, &what);
            }
        }
    }

    /// Lets the time go on.
    fn forward(&mut self, until: Duration) {
        for node in &mut self.nodes {
            let Some(process) = &node.process else { continue };
            if node.is_frozen {
                node.behind += until - self.now;
                continue;
            }
            let behind = std::mem::take(&mut node.behind);
            if !behind.is_zero() {
                process.oversleeps(behind);
            }
            process.forward(until);
        }
        let instant = {
            let _inside = self.runtime.enter();
            self.clock.instant(until)
        };
        self.runtime.block_on(async { tokio::time::sleep_until(instant).await });
        self.now = until;
        self.database.server().step(until);
        (0..NODES).for_each(|node| self.looks_at(node));
        let database = self.database.server();
        for (shard, known) in (0..SHARDS).zip(&mut self.owners) {
            let owner = database.owner(shard);
            if known != owner {
                let node = (0..NODES).find(|node| owner == format!("node{node}"));
                let name = if owner.is_empty() { "nobody" } else { owner };
                self.book.note(self.now, &format!("{name} owns shard {shard}"));
                self.owned.push(Owned { at: self.now, shard, node });
                owner.clone_into(known);
            }
        }
    }

    /// Looks at what became of a node's process.
    fn looks_at(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let Some(process) = &mut node.process else { return };
        if let Some(starting) = &mut node.starting {
            match process.result(starting) {
                None => return,
                Some(Ok(relay)) => {
                    process.relay = Some(relay);
                    node.starting = None;
                    self.book.note(self.now, &format!("node{number} runs"));
                }
                Some(Err(why)) => {
                    self.book.note(self.now, &format!("node{number} does not start: {why}"));
                    return self.ends(number, RESTART);
                }
            }
        }
        let Some(relay) = &mut process.relay else { return };
        relay.tells(&self.book, self.now);
        let stopped = relay.spool.health().borrow().stopped.clone();
        if process.stopping.as_ref().is_some_and(JoinHandle::is_finished) {
            let down = node.down;
            self.book.note(self.now, &format!("node{number} has stopped in good order"));
            self.ends(number, down);
        } else if let (Some(why), None) = (stopped, &process.stopping) {
            self.book.note(self.now, &format!("the spool of node{number} gave up: {why}"));
            self.trouble(Some(number), RESTART);
            self.ends(number, RESTART);
        }
    }

    fn ends(&mut self, node: usize, down: Duration) {
        self.kill(node);
        self.later(down, Later::Start(node));
    }

    /// Notes that something is wrong with a node, or with the database, for so long.
    fn trouble(&mut self, node: Option<usize>, lasts: Duration) {
        self.book.facts().troubles.push(Trouble { node, from: self.now, until: self.now + lasts });
    }

    fn does(&mut self, what: &What) {
        self.book.note(self.now, &format!("{what:?}"));
        match what {
            What::Submit { number, node, customer, fates, size } => {
                let client = Client {
                    book: Arc::clone(&self.book),
                    clock: Arc::clone(&self.clock),
                    network: Arc::clone(&self.network),
                    number: *number,
                    customer: *customer,
                    fates: fates.clone(),
                    size: *size,
                    // What is sent to the sender is slow to be taken, so that several nodes send such mail at once.
                    sender: "sender-slow2",
                    patience: PATIENCE,
                    nodes: (0..NODES)
                        .map(|next| (node + next) % NODES)
                        .map(|node| (node, site::listener_of(node)))
                        .collect(),
                };
                self.clients.push(self.runtime.spawn(client.run()));
            }
            What::Kill { node, down } => {
                self.trouble(Some(*node), *down);
                self.kill(*node);
                self.later(*down, Later::Start(*node));
            }
            What::Stop { node, down } => {
                let stopped = &mut self.nodes[*node];
                if let Some(process) = stopped.process.as_mut().filter(|_| !stopped.is_frozen) {
                    process.stop();
                    stopped.down = *down;
                    let until = self.now + site::GRACE * 2 + *down;
                    self.book.facts().stops.push(Trouble { node: Some(*node), from: self.now, until });
                }
            }
            What::Freeze { node, lasts } => {
                self.trouble(Some(*node), *lasts);
                self.nodes[*node].is_frozen = true;
                self.later(*lasts, Later::Thaw(*node));
            }
            What::Apart { node, lasts } => {
                self.trouble(Some(*node), *lasts);
                self.database.server().set_apart(*node, true);
                self.later(*lasts, Later::Reunite(*node));
            }
            What::Slow { lasts } => {
                self.trouble(None, *lasts);
                self.database.server().slows(*lasts);
            }
            What::FailOver { lasts } => {
                self.trouble(None, *lasts);
                self.database.server().fails_over(*lasts);
            }
            What::Lose { node, lost } => {
                self.trouble(Some(*node), Duration::from_secs(60));
                self.database.server().loses(*node, *lost);
            }
            What::Stall { node, lasts } => {
                self.trouble(Some(*node), *lasts);
                self.database.server().stalls(*node, *lasts);
            }
            What::Cut { kind, pick } => {
                if let Some(node) = self.network.cut(*kind, *pick) {
                    self.book.note(self.now, &format!("a connection of node{node} is reset"));
                    self.trouble(Some(node), Duration::ZERO);
                }
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
                self.nodes[node].is_frozen = false;
            }
            Later::Reunite(node) => {
                self.book.note(self.now, &format!("node{node} reaches the database"));
                self.database.server().set_apart(node, false);
            }
        }
    }

    /// Starts a node's process, unless it runs.
    fn start(&mut self, number: usize) {
        if self.nodes[number].process.is_some() {
            return;
        }
        self.count += 1;
        let seed = self.plan.seed ^ (self.count << 32) ^ ((number as u64) << 60);
        let node = &mut self.nodes[number];
        let process = Process::begin(&node.hardware, self.now, seed);
        let machine = Arc::clone(&process.machine);
        let watch = Watch {
            node: number,
            book: Arc::clone(&self.book),
            clock: Arc::clone(&machine.clock),
            database: Arc::clone(&self.database),
            fault: self.fault,
            leases: Mutex::default(),
        };
        node.starting = Some(process.inside(|| tokio::spawn(start(machine, watch))));
        (node.is_frozen, node.behind) = (false, Duration::ZERO);
        node.process = Some(process);
    }

    /// The process is gone, from one moment to the next.
    fn kill(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.starting = None;
        if let Some(process) = node.process.take() {
            process.die();
        }
    }
}

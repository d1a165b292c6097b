//! Runs a plan: the machines, the servers and the clients go forward together, step by step, in one thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::book::Book;
use super::client::Client;
use super::disk::Disk;
use super::faults::Fault;
use super::judge;
use super::machine::{Clock, Hardware};
use super::network::{Kind, Network};
use super::plan::{Mood, What};
use super::process::{Process, runtime};
use super::relay::Relay;
use super::seeds::{Outcome, Plan};
use super::server::{Moods, Server};
use super::{note_panics, set_world_clock, site};
use crate::message::{MailKind, QueueId};
use crate::spool::{Filter, LinesById, Record};

/// How far the time goes on at once while something is under way between the machines.
const STEP: Duration = Duration::from_millis(5);
/// How far it goes on while nothing is.
const CALM: Duration = Duration::from_millis(100);
/// The same, once everything that can go wrong has.
const LATE: Duration = Duration::from_millis(500);
/// How long the relay has for all its mail after that.
const AT_LAST: Duration = Duration::from_secs(2 * 1200 + 1000);
/// How often an end is looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// When a process is started again that stopped by itself.
const RESTART: Duration = Duration::from_secs(2);

/// What ends by itself later.
enum Later {
    Start,
    Reunite(Kind),
    Mend,
    Cheer(usize),
}

struct World<'a> {
    plan: &'a Plan<What>,
    book: Arc<Book>,
    clock: Arc<Clock>,
    network: Arc<Network>,
    hardware: Arc<Hardware>,
    process: Option<Process>,
    moods: Moods,
    runtime: Runtime,
    clients: Vec<tokio::task::JoinHandle<()>>,
    later: BTreeMap<(Duration, u64), Later>,
    count: u64,
    now: Duration,
    starts: u64,
    /// What went wrong with the machine, and from when to when.
    troubles: judge::Troubles,
}

/// Runs a plan in this thread, with a deliberate fault or without.
pub fn run(plan: &Plan<What>, fault: Option<Fault>) -> Outcome {
    note_panics();
    let scratch = scratch();
    let network = Network::new(plan.seed ^ 0x6e65_7477);
    let disk = Disk::new(scratch.path()).expect("a scratch folder takes files");
    let hardware = Hardware::new(0, disk, Arc::clone(&network), fault);
    let runtime = runtime(|| {});
    let clock = Clock::beginning(Duration::ZERO);
    {
        let _inside = runtime.enter();
        clock.set();
    }
    set_world_clock(Some(Arc::clone(&clock)));
    let mut world = World {
        plan,
        book: Arc::default(),
        clock,
        network,
        hardware,
        process: None,
        moods: Moods::default(),
        runtime,
        clients: Vec::new(),
        later: BTreeMap::new(),
        count: 0,
        now: Duration::ZERO,
        starts: 0,
        troubles: judge::Troubles::default(),
    };
    let outcome = world.run();
    drop(world);
    set_world_clock(None);
    outcome
}

/// In memory, if the system has such a folder: nothing here is to outlive anything.
pub fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a scratch folder can be made")
}

/// However a simulation ends, its process does, too.
impl Drop for World<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl World<'_> {
    fn run(&mut self) -> Outcome {
        for number in 0..site::SERVERS.len() {
            let server = Server {
                number,
                book: Arc::clone(&self.book),
                clock: Arc::clone(&self.clock),
                network: Arc::clone(&self.network),
                moods: Arc::clone(&self.moods),
                under_way: Mutex::default(),
            };
            self.runtime.spawn(Arc::new(server).run());
        }
        self.start();
        let mut steps = self.plan.steps.iter().peekable();
        let eventful = self.plan.steps.last().map_or(Duration::ZERO, |step| step.at) + Duration::from_secs(1);
        let (mut looked, ends) = (Duration::ZERO, eventful + AT_LAST);
        let left = loop {
            while let Some(step) = steps.next_if(|step| step.at <= self.now) {
                self.book.note(self.now, &format!("{:?}", step.what));
                self.does(&step.what);
            }
            while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let later = entry.remove();
                self.does_later(later);
            }
            let most = match (self.network.step(self.now), self.now < eventful) {
                (true, _) => STEP,
                (false, true) => CALM,
                (false, false) => LATE,
            };
            let next = steps.peek().map(|step| step.at).into_iter().chain(self.later.keys().next().map(|key| key.0));
            let until = next.fold(self.now + most, Duration::min).max(self.now + Duration::from_millis(1));
            self.forward(until);
            if self.now >= ends {
                break self.records();
            }
            if steps.peek().is_none() && self.later.is_empty() && self.now >= looked + LOOK {
                looked = self.now;
                let all_in = self.clients.iter().all(tokio::task::JoinHandle::is_finished);
                if all_in && self.is_done() {
                    break self.records();
                }
            }
        };
        for panic in self.hardware.panics.lock().expect("nothing panics while it holds the panics").drain(..) {
            self.book.wrong(self.now, "no panic", panic);
        }
        judge::judge(&self.book, &self.troubles, &left, self.now);
        Outcome::of(&self.book, self.now)
    }

    /// Lets the time go on.
    fn forward(&mut self, until: Duration) {
        if let Some(process) = &self.process {
            process.forward(until);
        }
        let instant = {
            let _inside = self.runtime.enter();
            self.clock.instant(until)
        };
        self.runtime.block_on(async { tokio::time::sleep_until(instant).await });
        self.now = until;
        self.hears();
        let relay = self.process.as_ref().and_then(|process| process.relay.as_ref());
        let stopped = relay.is_some_and(|relay| relay.spool.health().borrow().stopped.is_some());
        let is_stopping = self.process.as_ref().is_some_and(|process| process.stopping.is_some());
        if stopped && !is_stopping {
            self.book.note(self.now, "the spool stopped by itself");
            self.troubles.kills.push(self.now);
            self.kill();
            self.later(RESTART, Later::Start);
        }
        let has_stopped =
            |process: &Process| process.stopping.as_ref().is_some_and(tokio::task::JoinHandle::is_finished);
        if self.process.as_ref().is_some_and(has_stopped) {
            self.book.note(self.now, "the relay has stopped in good order");
            self.troubles.stops.push(self.now);
            self.kill();
            self.later(RESTART, Later::Start);
        }
    }

    fn does(&mut self, what: &What) {
        match what {
            What::Submit { number, customer, fates, size } => {
                let client = Client {
                    book: Arc::clone(&self.book),
                    clock: Arc::clone(&self.clock),
                    network: Arc::clone(&self.network),
                    number: *number,
                    customer: *customer,
                    fates: fates.clone(),
                    size: *size,
                    sender: "sender",
                    patience: PATIENCE,
                    nodes: vec![(0, site::listener_of(0))],
                };
                self.clients.push(self.runtime.spawn(client.run()));
            }
            What::Hold { number } => self.holds(*number),
            What::Release { number } => self.releases(*number),
            What::Kill { down } => {
                self.troubles.kills.push(self.now);
                self.kill();
                self.later(*down, Later::Start);
            }
            What::Power { down } => {
                self.troubles.cuts.push(self.now);
                self.kill();
                let mut salt = self.plan.seed ^ self.count;
                let lost = self.hardware.disk.loses_power(|most| {
                    salt = salt.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    (salt >> 11) % most
                });
                lost.expect("a scratch folder takes changes back");
                self.later(*down, Later::Start);
            }
            What::Stop => {
                if let Some(process) = &mut self.process {
                    process.stop();
                }
            }
            What::Cut { kind, pick } => {
                if self.network.cut(*kind, *pick).is_some() {
                    self.troubles.others += 1;
                    self.book.note(self.now, "a connection is reset");
                }
            }
            What::Apart { kind, lasts } => {
                self.troubles.others += 1;
                self.network.set_apart(0, *kind, true);
                self.later(*lasts, Later::Reunite(*kind));
            }
            What::Disk { trouble, lasts } => {
                self.troubles.disk.push((self.now, self.now + *lasts));
                self.hardware.disk.set_trouble(Some(*trouble));
                self.later(*lasts, Later::Mend);
            }
            What::Jump { millis } => {
                self.troubles.jumps.push(self.now);
                self.hardware.jump(*millis);
            }
            What::Server { server, mood, lasts } => {
                self.troubles.others += 1;
                self.moods.lock().expect("nothing panics while it holds the moods").insert(*server, *mood);
                if *mood == Mood::Down {
                    self.network.unlisten(site::address_of(*server));
                }
                self.later(*lasts, Later::Cheer(*server));
            }
        }
    }

    fn later(&mut self, pause: Duration, later: Later) {
        self.count += 1;
        self.later.insert((self.now + pause, self.count), later);
    }

    fn does_later(&mut self, later: Later) {
        match later {
            Later::Start => self.start(),
            Later::Reunite(kind) => self.network.set_apart(0, kind, false),
            Later::Mend => self.hardware.disk.set_trouble(None),
            Later::Cheer(server) => {
                self.moods.lock().expect("nothing panics while it holds the moods").remove(&server);
                self.network.listen_again(site::address_of(server));
            }
        }
    }

    /// Starts the relay, unless it runs.
    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.starts += 1;
        let mut process = Process::begin(&self.hardware, self.now, self.plan.seed ^ (self.starts << 32));
        let machine = Arc::clone(&process.machine);
        match process.inside(|| Relay::open(&machine)) {
            Ok(relay) => {
                self.book.note(self.now, "the relay runs");
                process.relay = Some(relay);
                self.process = Some(process);
            }
            Err(why) => {
                // The folder has another name each time.
                let folder = self.hardware.disk.state_dir().display().to_string();
                let why = why.replace(&folder, "its folder");
                self.book.note(self.now, &format!("the relay does not start: {why}"));
                process.die();
                self.later(RESTART, Later::Start);
            }
        }
    }

    /// The process is gone, from one moment to the next.
    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.die();
        }
    }

    /// Does something with the spool as an operator would. `None` if the relay does not run.
    fn in_process<T>(&self, work: impl AsyncFnOnce(&Relay) -> T) -> Option<T> {
        self.process.as_ref()?.during(work)
    }

    fn accepted(&self, number: u32) -> Option<QueueId> {
        let facts = self.book.facts();
        facts.submissions.iter().find_map(|submission| match submission.heard {
            super::book::Heard::Accepted(id) if submission.number == number => Some(id),
            _ => None,
        })
    }

    fn holds(&self, number: u32) {
        let Some(id) = self.accepted(number) else { return };
        let held = self.in_process(async |relay| {
            relay.spool.hold(Filter::one(id), "an operator holds it".to_owned(), LinesById::new()).await
        });
        if let Some(Ok(1)) = held {
            self.book.note(self.now, &format!("{id} is held"));
            self.book.facts().held.insert(id, (self.now, Duration::MAX));
        }
    }

    fn releases(&self, number: u32) {
        let Some(id) = self.accepted(number) else { return };
        // Whatever comes of it, the message may be delivered from now on.
        if let Some((_, until)) = self.book.facts().held.get_mut(&id) {
            *until = self.now;
        }
        let _ = self.in_process(async |relay| relay.spool.release(Filter::one(id), LinesById::new()).await);
    }

    /// Writes down what the relay tells of mail that it gave up.
    fn hears(&mut self) {
        if let Some(relay) = self.process.as_mut().and_then(|process| process.relay.as_mut()) {
            relay.tells(&self.book, self.now);
        }
    }

    /// Returns true if nothing is left to deliver.
    fn is_done(&self) -> bool {
        let used_up = judge::day_is_used_up(&self.book.facts(), &self.troubles);
        let is_done = |record: &Record| record.held.is_some() || (used_up && judge::may_wait(record));
        self.in_process(async |relay| relay.spool.list(Filter::default(), 10_000).await)
            .is_some_and(|found| found.is_ok_and(|records| records.iter().all(is_done)))
    }

    fn records(&self) -> Vec<Record> {
        let found = self.in_process(async |relay| relay.spool.list(Filter::default(), 10_000).await);
        let found = found.and_then(Result::ok).unwrap_or_default();
        for record in &found {
            let waiting: Vec<_> = record.waiting().map(|(_, it)| it.address.to_string()).collect();
            let held = record.held.as_deref().unwrap_or("no");
            let of = if record.lane.kind == MailKind::Bounce { "a notification" } else { "mail" };
            self.book.note(self.now, &format!("left: {} ({of}) for {waiting:?}, held: {held}", record.id));
        }
        found
    }
}

//! The simulated network: listeners, connections with a latency, resets, and parts that do not reach each other for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::machine::Clock;
use super::stream::Stream;

/// How long a side may take to read what came.
const JUST_NOW: Duration = Duration::from_millis(20);

/// The ends of a connection, for what happens to all of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// From a submitter to the relay.
    Submission,
    /// From the relay to a next server.
    Delivery,
}

/// Data on its way to one side.
#[derive(Default)]
pub struct Pipe {
    /// What is on its way, each with the time when it is there. It is `None` while the parts do not reach each other.
    chunks: VecDeque<(Option<Duration>, Vec<u8>)>,
    /// When the end of the data is there.
    pub fin: Option<Option<Duration>>,
    last: Duration,
    pub reader: Option<Waker>,
    written: u64,
    /// How much was read by when.
    read: Vec<(u64, Duration)>,
}

/// What a side finds when it reads.
pub enum Found {
    Data(Vec<u8>),
    /// Nothing before this time.
    Until(Duration),
    Nothing,
    End,
}

impl Pipe {
    /// Takes what is there.
    pub fn take(&mut self, now: Duration, most: usize) -> Found {
        match self.chunks.front_mut() {
            Some((Some(at), data)) if *at <= now => {
                let rest = data.split_off(most.min(data.len()));
                let taken = std::mem::replace(data, rest);
                if data.is_empty() {
                    self.chunks.pop_front();
                }
                let before = self.read.last().map_or(0, |(read, _)| *read);
                self.read.push((before + taken.len() as u64, now));
                Found::Data(taken)
            }
            Some((Some(at), _)) => Found::Until(*at),
            Some((None, _)) => Found::Nothing,
            None => match self.fin {
                Some(Some(at)) if at <= now => Found::End,
                Some(Some(at)) => Found::Until(at),
                _ => Found::Nothing,
            },
        }
    }
}

pub struct Link {
    pub kind: Kind,
    /// The number of the machine.
    pub machine: usize,
    /// Data to the side that dialled, and to the other.
    pub pipes: [Pipe; 2],
    /// The sides that still have the connection.
    pub open: [bool; 2],
    pub is_reset: bool,
    is_apart: bool,
    latency: Duration,
}

impl Link {
    /// Sends data to a side.
    pub fn send(&mut self, to: usize, data: &[u8], now: Duration) {
        let at = self.arrival(to, now);
        let pipe = &mut self.pipes[to];
        pipe.written += data.len() as u64;
        pipe.chunks.push_back((at, data.to_vec()));
        pipe.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Sends the end of the data to a side.
    pub fn end(&mut self, to: usize, now: Duration) {
        let at = self.arrival(to, now);
        self.pipes[to].fin.get_or_insert(at);
        self.pipes[to].reader.take().into_iter().for_each(Waker::wake);
    }

    fn arrival(&mut self, to: usize, now: Duration) -> Option<Duration> {
        if self.is_apart {
            return None;
        }
        let pipe = &mut self.pipes[to];
        pipe.last = pipe.last.max(now + self.latency);
        Some(pipe.last)
    }

    fn reset(&mut self) {
        self.is_reset = true;
        for pipe in &mut self.pipes {
            pipe.chunks.clear();
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    fn set_apart(&mut self, is_apart: bool, now: Duration) {
        self.is_apart = is_apart;
        if is_apart {
            return;
        }
        for to in [0, 1] {
            let at = self.arrival(to, now);
            let pipe = &mut self.pipes[to];
            pipe.chunks.iter_mut().filter(|(at, _)| at.is_none()).for_each(|(late, _)| *late = at);
            if pipe.fin == Some(None) {
                pipe.fin = Some(at);
            }
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// How much was sent to a side so far.
    pub fn written(&self, to: usize) -> u64 {
        self.pipes[to].written
    }

    /// When a side had read so much, if it has.
    pub fn read_by(&self, to: usize, octets: u64) -> Option<Duration> {
        self.pipes[to].read.iter().find(|(read, _)| *read >= octets).map(|(_, at)| *at)
    }

    /// Returns true if something is on its way, or came a moment ago.
    fn is_busy(&self, now: Duration) -> bool {
        let is_new = |at: &Option<Duration>| at.is_some_and(|at| at + JUST_NOW >= now);
        let is_awaited = |(pipe, open): (&Pipe, &bool)| *open && pipe.chunks.iter().any(|(at, _)| is_new(at));
        !self.is_reset && self.pipes.iter().zip(&self.open).any(is_awaited)
    }
}

/// Connections that wait to be accepted.
#[derive(Default)]
struct Waiting {
    streams: VecDeque<(Duration, Stream, SocketAddr)>,
    acceptor: Option<Waker>,
    machine: Option<usize>,
}

struct State {
    listeners: BTreeMap<SocketAddr, Waiting>,
    links: Vec<Weak<Mutex<Link>>>,
    apart: BTreeSet<(usize, Kind)>,
    chance: SmallRng,
    /// The time when the present step began.
    now: Duration,
    /// Something was dialled, sent or ended.
    active: bool,
    port: u16,
}

pub struct Network(Mutex<State>);

impl Network {
    pub fn new(seed: u64) -> Arc<Network> {
        Arc::new(Network(Mutex::new(State {
            listeners: BTreeMap::new(),
            links: Vec::new(),
            apart: BTreeSet::new(),
            chance: SmallRng::seed_from_u64(seed),
            now: Duration::ZERO,
            active: false,
            port: 1024,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the network")
    }

    /// A step begins. Returns true if something was or is on its way, so that steps should be short.
    pub fn step(&self, now: Duration) -> bool {
        let mut state = self.state();
        state.now = now;
        state.links.retain(|link| link.strong_count() > 0);
        let is_busy = state.links.iter().filter_map(Weak::upgrade).any(|link| lock(&link).is_busy(now));
        std::mem::take(&mut state.active) || is_busy
    }

    pub fn now(&self) -> Duration {
        self.state().now
    }

    pub fn note_activity(&self) {
        self.state().active = true;
    }

    /// Takes connections at an address from now on, for a machine or for the world.
    pub fn listen(&self, address: SocketAddr, machine: Option<usize>) {
        let before = self.state().listeners.insert(address, Waiting { machine, ..Waiting::default() });
        // What waited there is dropped outside the lock.
        drop(before);
    }

    /// Takes no more connections at an address.
    pub fn unlisten(&self, address: SocketAddr) {
        let gone = self.state().listeners.remove(&address);
        drop(gone);
    }

    /// Takes connections of the world's at an address again, unless it does.
    pub fn listen_again(&self, address: SocketAddr) {
        self.state().listeners.entry(address).or_default();
    }

    /// The next connection at an address that is there by now.
    pub fn accept(&self, address: SocketAddr, now: Duration, waker: &Waker) -> Accepted {
        let mut state = self.state();
        let Some(waiting) = state.listeners.get_mut(&address) else { return Accepted::Closed };
        waiting.acceptor = Some(waker.clone());
        match waiting.streams.front() {
            Some((at, ..)) if *at <= now => waiting
                .streams
                .pop_front()
                .map_or(Accepted::Nothing, |(_, stream, peer)| Accepted::Stream(stream, peer)),
            Some((at, ..)) => Accepted::Until(*at),
            None => Accepted::Nothing,
        }
    }

    /// Begins a connection. `None` if its packets get nowhere. `clocks` are of the side that dials and of the other.
    pub fn dial(
        self: &Arc<Self>,
        kind: Kind,
        machine: usize,
        (local, peer): (SocketAddr, SocketAddr),
        clocks: (&Arc<Clock>, &Arc<Clock>),
    ) -> Option<io::Result<Stream>> {
        let mut state = self.state();
        state.active = true;
        if state.apart.contains(&(machine, kind)) {
            return None;
        }
        let latency = Duration::from_millis(state.chance.random_range(1..40));
        let now = clocks.0.now();
        state.port = state.port.checked_add(1).unwrap_or(1024);
        let local = SocketAddr::new(local.ip(), state.port);
        let Some(waiting) = state.listeners.get_mut(&peer) else {
            return Some(Err(io::ErrorKind::ConnectionRefused.into()));
        };
        let machine = waiting.machine.unwrap_or(machine);
        let link = Arc::new(Mutex::new(Link {
            kind,
            machine,
            pipes: Default::default(),
            open: [true; 2],
            is_reset: false,
            is_apart: false,
            latency,
        }));
        let [dialled, accepted] = [(0, clocks.0, local), (1, clocks.1, peer)]
            .map(|(side, clock, local)| Stream::new(self, &link, side, clock, local));
        waiting.streams.push_back((now + latency, accepted, local));
        waiting.acceptor.take().into_iter().for_each(Waker::wake);
        state.links.push(Arc::downgrade(&link));
        Some(Ok(dialled))
    }

    fn of(&self, wanted: impl Fn(&Link) -> bool) -> Vec<Arc<Mutex<Link>>> {
        let links: Vec<_> = self.state().links.iter().filter_map(Weak::upgrade).collect();
        links.into_iter().filter(|link| wanted(&lock(link))).collect()
    }

    /// Resets one of the connections of a kind. Returns the machine of that one, if there was one.
    pub fn cut(&self, kind: Kind, pick: u32) -> Option<usize> {
        let live = self.of(|link| link.kind == kind && !link.is_reset && link.open == [true; 2]);
        let picked = live.get((pick as usize).checked_rem(live.len())?)?;
        let mut link = lock(picked);
        link.reset();
        Some(link.machine)
    }

    /// The process on a machine is gone: all its connections are reset, and nobody listens.
    pub fn kill(&self, machine: usize) {
        for link in self.of(|link| link.machine == machine) {
            lock(&link).reset();
        }
        let gone = {
            let mut state = self.state();
            let of_machine: Vec<_> = state
                .listeners
                .iter()
                .filter(|(_, waiting)| waiting.machine == Some(machine))
                .map(|it| *it.0)
                .collect();
            of_machine.iter().filter_map(|address| state.listeners.remove(address)).collect::<Vec<_>>()
        };
        // What waited to be accepted is dropped outside the lock.
        drop(gone);
    }

    /// Nothing of a kind reaches a machine, or does so again.
    pub fn set_apart(&self, machine: usize, kind: Kind, is_apart: bool) {
        let now = {
            let mut state = self.state();
            match is_apart {
                true => drop(state.apart.insert((machine, kind))),
                false => drop(state.apart.remove(&(machine, kind))),
            }
            state.active = true;
            state.now
        };
        for link in self.of(|link| link.machine == machine && link.kind == kind) {
            lock(&link).set_apart(is_apart, now);
        }
    }
}

/// What [`Network::accept`] finds.
pub enum Accepted {
    Stream(Stream, SocketAddr),
    Until(Duration),
    Nothing,
    Closed,
}

pub fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().expect("nothing panics while it holds a connection")
}

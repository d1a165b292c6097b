//! The network between nodes, their database and the servers that they send to.
//!
//! Where this machine lets a test make network namespaces, every node has one of its own, and so has each of the two places for a server of
//! the database. A test runs on the router between them, which can lose what goes from one to another, in silence as a broken switch does:
//!
//! ```text
//!   node 0 ─┐                            ┌─ place A: the primary
//!   node 1 ─┼─ router: senders, servers ─┤
//!   node 2 ─┘  of customers, front       └─ place B: its standby
//! ```
//!
//! Elsewhere all have addresses of the loopback device, and a wire (`wire`) lies between each node and each place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::ports::free_port;
use crate::support::skip::skip;
use crate::wire::Wire;

/// How many nodes there are.
pub const NODES: usize = 3;
/// How many places there are for servers of the database.
pub const PLACES: usize = 2;
/// The address of whatever a test itself listens on, in namespaces.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The number of the first place's network. Nodes have theirs from 1 on.
const FIRST_PLACE: usize = 11;

/// A network namespace, which lasts as long as a process that sleeps in it.
struct Namespace {
    process: Child,
    address: Ipv4Addr,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The network of a test.
pub struct Network {
    /// Of nodes, then of places; none where all are on the loopback device.
    namespaces: Vec<Namespace>,
    /// Of each node to each place, on the loopback device.
    wires: Vec<[Wire; PLACES]>,
    /// The port of every server of the database, and the one by which nodes reach it.
    port: u16,
    node_port: u16,
    /// What the router loses at present, as `ip rule` has it.
    lost: Mutex<Vec<String>>,
}

/// Runs `work` in namespaces, or on the loopback device where there can be none. `POSTBUD_NODES_ON_LOOPBACK` in the environment says that there
/// can be none, to try that.
pub fn with_network(test: &str, work: impl FnOnce(Network) + Send) {
    if std::env::var_os("POSTBUD_NODES_ON_LOOPBACK").is_some() {
        return work(Network::of_loopback());
    }
    let mut work = Some(work);
    let in_namespaces = std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            let network = Network::of_namespaces()?;
            work.take().expect("it has not run yet")(network);
            Ok(())
        });
        tried.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Some(work) = work {
        let why: String = in_namespaces.expect_err("it would have run");
        skip(&format!("{test} in network namespaces"), &why);
        work(Network::of_loopback());
    }
}

fn ip(command: &str) -> Result<(), String> {
    let done = Command::new("ip").args(command.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    done.status.success().then_some(()).ok_or_else(|| format!("ip {command}: {}", said.trim()))
}

impl Network {
    /// The calling thread becomes the router.
    fn of_namespaces() -> Result<Network, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root makes network namespaces".into());
        }
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        ip("link set lo up")?;
        ip(&format!("addr add {ROUTER}/32 dev lo"))?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(|error| format!("ip_forward: {error}"))?;
        let numbers = (1..=NODES).chain(FIRST_PLACE..FIRST_PLACE + PLACES);
        let namespaces = numbers.map(namespace).collect::<Result<Vec<_>, _>>()?;
        let port = free_port("127.0.0.1").port();
        Ok(Network { namespaces, wires: Vec::new(), port, node_port: port, lost: Mutex::default() })
    }

    pub fn of_loopback() -> Network {
        let (port, node_port) = (free_port("127.0.0.1").port(), free_port("127.0.0.1").port());
        let places: [SocketAddr; PLACES] = std::array::from_fn(|place| SocketAddr::new(loopback_place(place), port));
        let wire =
            |node: usize, place: usize| Wire::to(places[place], SocketAddr::new(loopback_wire(node, place), node_port));
        let wires = (0..NODES).map(|node| std::array::from_fn(|place| wire(node, place))).collect();
        Network { namespaces: Vec::new(), wires, port, node_port, lost: Mutex::default() }
    }

    /// Returns true if every node has a namespace of its own.
    pub fn has_namespaces(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// The address of servers and senders of the test itself.
    pub fn own(&self) -> IpAddr {
        if self.has_namespaces() { ROUTER.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    /// The address of a node, and the process in whose namespace it runs.
    pub fn node(&self, node: usize) -> (IpAddr, Option<u32>) {
        match self.namespaces.get(node) {
            Some(namespace) => (namespace.address.into(), Some(namespace.process.id())),
            None => (Ipv4Addr::LOCALHOST.into(), None),
        }
    }

    /// The address of a place, and the process in whose namespace its server runs.
    pub fn place(&self, place: usize) -> (IpAddr, Option<u32>) {
        match self.namespaces.get(NODES + place) {
            Some(namespace) => (namespace.address.into(), Some(namespace.process.id())),
            None => (loopback_place(place), None),
        }
    }

    /// The port of the database's servers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a node finds the servers of the database: their addresses, and the port of all.
    pub fn database_of(&self, node: usize) -> ([IpAddr; PLACES], u16) {
        let address = |place: usize| match self.wires.get(node) {
            Some(wires) => wires[place].address.ip(),
            None => self.place(place).0,
        };
        (std::array::from_fn(address), self.node_port)
    }

    /// Loses what goes between a node and the database.
    pub fn cut_from_database(&self, node: usize) {
        match self.wires.get(node) {
            Some(wires) => wires.iter().for_each(Wire::cut),
            None => (0..PLACES).for_each(|place| self.lose(self.node(node).0, self.place(place).0)),
        }
    }

    /// Loses what goes between a node and the other ones.
    pub fn cut_from_others(&self, node: usize) {
        let others = (0..NODES).filter(|other| *other != node);
        others.for_each(|other| self.lose(self.node(node).0, self.node(other).0));
    }

    /// Loses what goes to a place or comes from there, as if its machine were gone. Wires break when the server dies.
    pub fn lose_place(&self, place: usize) {
        if self.has_namespaces() {
            let address = self.place(place).0;
            self.add_rule(format!("from {address}"));
            self.add_rule(format!("to {address}"));
        }
    }

    fn lose(&self, one: IpAddr, other: IpAddr) {
        self.add_rule(format!("from {one} to {other}"));
        self.add_rule(format!("from {other} to {one}"));
    }

    fn add_rule(&self, rule: String) {
        ip(&format!("rule add {rule} blackhole")).unwrap();
        self.lost.lock().unwrap().push(rule);
    }

    /// Nothing is lost any more.
    pub fn mend(&self) {
        self.wires.iter().flatten().for_each(Wire::mend);
        for rule in self.lost.lock().unwrap().drain(..) {
            ip(&format!("rule del {rule} blackhole")).unwrap();
        }
    }
}

fn loopback_place(place: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, 1 + place as u8).into()
}

fn loopback_wire(node: usize, place: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 1 + node as u8, 1 + place as u8).into()
}

/// Makes a namespace with a network of its own, whose router is the calling thread.
fn namespace(number: usize) -> Result<Namespace, String> {
    // It ends with the thread of the test, too.
    let process = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("setpriv: {error}"))?;
    let (router, address) = (format!("10.99.{number}.1"), Ipv4Addr::new(10, 99, number as u8, 2));
    let namespace = Namespace { process, address };
    let id = namespace.process.id();
    let own = std::fs::read_link("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
    let patience = Instant::now() + Duration::from_secs(10);
    // The new process is in our own namespace at first.
    while std::fs::read_link(format!("/proc/{id}/ns/net")).map_err(|error| error.to_string())? == own {
        if Instant::now() > patience {
            return Err("unshare makes no network namespace".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    ip(&format!("link add v{number} type veth peer name eth0 netns {id}"))?;
    ip(&format!("addr add {router}/24 dev v{number}"))?;
    ip(&format!("link set v{number} up"))?;
    let inside = format!(
        "ip link set lo up && ip addr add {address}/24 dev eth0 && ip link set eth0 up && ip route add default via {router}"
    );
    let done = Command::new("nsenter").args(["-t", &id.to_string(), "-n", "sh", "-c", &inside]).output();
    let done = done.map_err(|error| format!("nsenter: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    done.status.success().then_some(namespace).ok_or_else(|| format!("in a network namespace: {}", said.trim()))
}

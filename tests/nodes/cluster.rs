//! Three nodes, their database, and the servers that customers' mail goes to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::capture::Capture;
use crate::support::ports::free_port;
use crate::support::postgres::Server;
use crate::support::relay::{Customer, Running, Site, plain_route};
use crate::wire::Wire;

/// How many nodes there are.
pub const NODES: usize = 3;
/// Customers with a server of their own, and customers of the tier.
pub const OWN: usize = 9;
pub const OF_TIER: usize = 3;
/// What a customer's own server bears at once.
pub const OWN_CAP: usize = 2;
/// What the tier bears at once, over all nodes.
pub const TIER_CAP: usize = 6;
pub const LEASE: Duration = Duration::from_secs(3);
const SHARDS: u32 = 12;

/// The nodes and all that they work with.
pub struct Cluster {
    database: Server,
    pub wires: Vec<Wire>,
    sites: Vec<Site>,
    nodes: Vec<Option<Running>>,
    own: Vec<Capture>,
    tier: Capture,
}

/// The customers' ids.
pub fn customers() -> impl Iterator<Item = String> {
    (0..OWN).map(|n| format!("own{n}")).chain((0..OF_TIER).map(|n| format!("tier{n}")))
}

impl Cluster {
    /// Starts everything, with further limits for customers' own servers. An error says what is missing here.
    pub fn start(limits: &str) -> Result<Cluster, String> {
        let port = free_port("127.0.0.1");
        let number = port.port().to_string();
        let database =
            Server::start(&[("port", &number), ("listen_addresses", "127.0.0.1"), ("max_connections", "100")])?;
        let wires: Vec<Wire> = (0..NODES).map(|_| Wire::to(port)).collect();
        let own: Vec<Capture> = (0..OWN).map(|_| Capture::start()).collect();
        let tier = Capture::start();
        own.iter().chain([&tier]).for_each(|server| server.answer_after(Duration::from_millis(20)));
        let mut sites: Vec<Site> = Vec::new();
        for (number, wire) in wires.iter().enumerate() {
            let site = site(number, wire.address, tier.address);
            for (customer, server) in customers().zip(own.iter().map(Some).chain(std::iter::repeat(None))) {
                let domain = format!("{customer}.example");
                if let Some(first) = sites.first() {
                    std::fs::copy(first.key(&domain), site.key(&domain)).unwrap();
                }
                let route = match server {
                    Some(own) => {
                        format!("{}[route.limits]\nconcurrency = {OWN_CAP}\n{limits}", plain_route(own.address))
                    }
                    None => "via = \"mailjet\"\n".into(),
                };
                site.add(&Customer { id: &customer, domain: &domain, route });
            }
            sites.push(site);
        }
        let nodes = sites.iter().map(|site| Some(site.start())).collect();
        Ok(Cluster { database, wires, sites, nodes, own, tier })
    }

    /// Runs a command at a node.
    pub fn operate(&self, number: usize, arguments: &[&str]) -> String {
        let done = self.sites[number].operate(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// How many messages each customer's own server took.
    pub fn taken(&self) -> Vec<usize> {
        self.own.iter().map(|server| server.received().len()).collect()
    }

    /// Where a node takes mail.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sites.iter().map(|site| site.smtp).collect()
    }

    /// A node that runs.
    pub fn node(&self, number: usize) -> &Running {
        self.nodes[number].as_ref().expect("it runs")
    }

    /// Takes a node out, for the caller to end it.
    pub fn take(&mut self, number: usize) -> Running {
        self.nodes[number].take().expect("it runs")
    }

    /// Starts a node again.
    pub fn start_again(&mut self, number: usize) {
        self.nodes[number] = Some(self.sites[number].start());
    }

    /// How many shards each node has.
    pub fn shares(&self) -> Vec<u32> {
        let count = |number| {
            let query = format!("SELECT count(*) FROM postbud.owner WHERE node = 'node{number}'");
            self.database.sql(&query).parse().unwrap()
        };
        (0..NODES).map(count).collect()
    }

    /// Waits until all nodes have as many shards.
    pub fn wait_until_balanced(&self) {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.shares() != vec![SHARDS / NODES as u32; NODES] {
            assert!(Instant::now() < patience, "the shares stay {:?}", self.shares());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The customers of a node.
    pub fn customers_of(&self, number: usize) -> Vec<String> {
        let query = format!("SELECT shard FROM postbud.owner WHERE node = 'node{number}'");
        let shards: Vec<u32> = self.database.sql(&query).lines().map(|shard| shard.parse().unwrap()).collect();
        customers().filter(|customer| shards.contains(&(crc32fast::hash(customer.as_bytes()) % SHARDS))).collect()
    }

    /// How many messages are in the database that are in nobody's hands: on their way to a node.
    pub fn in_transit(&self) -> String {
        self.database.sql("SELECT count(*) FROM postbud.transit")
    }

    /// What arrived, by the message's subject: when, each time.
    pub fn arrived(&self) -> BTreeMap<String, Vec<Instant>> {
        let mut arrived: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
        for server in self.own.iter().chain([&self.tier]) {
            for one in server.received() {
                let header = String::from_utf8_lossy(one.header()).into_owned();
                let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
                assert!(header.contains("DKIM-Signature:"), "unsigned: {header}");
                arrived.entry(subject.to_owned()).or_default().push(one.at);
            }
        }
        arrived
    }

    /// No server had more at once than it bears, since this was asked last.
    pub fn assert_caps(&self, what: &str) {
        for (number, server) in self.own.iter().enumerate() {
            let most = server.most_at_once();
            assert!(most <= OWN_CAP, "{what}: own{number} had {most} at once");
        }
        let most = self.tier.most_at_once();
        assert!(most <= TIER_CAP, "{what}: the tier had {most} at once");
    }

    /// Begins to count anew.
    pub fn forget_caps(&self) {
        for server in self.own.iter().chain([&self.tier]) {
            server.most_at_once();
        }
    }

    /// What the nodes wrote, for a test that fails.
    pub fn logs(&self) -> String {
        let log = |site: &Site| std::fs::read_to_string(site.path("relay.log")).unwrap_or_default();
        self.sites.iter().map(log).collect::<Vec<_>>().join("\n--- next node ---\n")
    }
}

fn site(number: usize, database: SocketAddr, tier: SocketAddr) -> Site {
    let more = format!(
        "[retry]\nfirst = \"1s\"\nlongest = \"2s\"\n\
         [mailjet.starter]\nhost = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key\"\n\
         password_file = \"webcrm.hash\"\n[mailjet.starter.limits]\nconcurrency = {TIER_CAP}\n",
        tier.ip(),
        tier.port(),
    );
    let site = Site::with(&[], &more);
    let spool = format!(
        "[spool]\nbackend = \"postgres\"\n[spool.postgres]\nhost = \"{}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\n\
         tls = \"off\"\nnode = \"node{number}\"\nnodes = {NODES}\nshards = {SHARDS}\nlease = \"{}s\"\ntimeout = \"3s\"\n",
        database.ip(),
        database.port(),
        LEASE.as_secs(),
    );
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("[spool]\nmin_free = \"16 MiB\"\n", &spool)).unwrap();
    site
}

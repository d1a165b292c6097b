//! Three nodes, two of them behind one front address, their database with a synchronous standby, and the servers that customers' mail
//! goes to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::network::{NODES, Network, PLACES, with_network};
use crate::support::capture::Capture;
use crate::support::ports::free_port;
use crate::support::postgres::Server;
use crate::support::relay::{Customer, Running, Site, plain_route};
use crate::support::skip::skip;
use crate::wire;

/// Customers with a server of their own, and customers of the tier.
pub const OWN: usize = 9;
pub const OF_TIER: usize = 3;
/// What a customer's own server bears at once.
pub const OWN_CAP: usize = 2;
/// What the tier bears at once, over all nodes.
pub const TIER_CAP: usize = 6;
pub const LEASE: Duration = Duration::from_secs(4);
const SHARDS: u32 = 12;
/// Of the nodes that have a namespace of their own.
const SMTP: u16 = 2525;
const WEB: u16 = 8080;
const API: u16 = 8081;

/// The nodes and all that they work with.
pub struct Cluster {
    /// The server of the database at each place.
    servers: [Option<Server>; PLACES],
    /// The place of the primary.
    primary: usize,
    sites: Vec<Site>,
    /// Where each node's API is.
    pub apis: Vec<SocketAddr>,
    nodes: Vec<Option<Running>>,
    own: Vec<Capture>,
    tier: Capture,
    /// Where clients submit.
    front: Vec<SocketAddr>,
    pub network: Network,
}

/// The customers' ids.
pub fn customers() -> impl Iterator<Item = String> {
    (0..OWN).map(|n| format!("own{n}")).chain((0..OF_TIER).map(|n| format!("tier{n}")))
}

/// Runs a test with a cluster, whose customers' own servers have further limits. Says that it is skipped where something is missing.
pub fn with_cluster(test: &str, limits: &str, work: impl FnOnce(Cluster) + Send) {
    with_network(test, |network| run(test, Cluster::start(network, limits, "", ""), work));
}

/// The same with a cap on the tier's recipients of a day.
pub fn with_tier_day(test: &str, per_day: usize, work: impl FnOnce(Cluster) + Send) {
    let limit = format!("per_day = {per_day}\n");
    with_network(test, |network| run(test, Cluster::start(network, "", &limit, ""), work));
}

/// The same with a webhook at every node, on the loopback device: calls in clear go nowhere else.
pub fn with_webhook(test: &str, hook: SocketAddr, work: impl FnOnce(Cluster)) {
    let more = format!(
        "[[events.webhook]]\nname = \"hook\"\nurl = \"http://{hook}/\"\nsecret_file = \"webcrm.hash\"\nlinger = \"50ms\"\n"
    );
    run(test, Cluster::start(Network::of_loopback(), "", "", &more), work);
}

fn run(test: &str, cluster: Result<Cluster, String>, work: impl FnOnce(Cluster)) {
    match cluster {
        Ok(cluster) => work(cluster),
        Err(why) => skip(test, &why),
    }
}

impl Cluster {
    /// Starts everything. An error says what is missing here.
    fn start(network: Network, limits: &str, tier_limits: &str, more: &str) -> Result<Cluster, String> {
        let (address, namespace) = network.place(0);
        let (address, port) = (address.to_string(), network.port().to_string());
        let settings = [("port", &*port), ("listen_addresses", &*address), ("max_connections", "100")];
        let primary = Server::start_in(namespace, &settings)?;
        let own: Vec<Capture> = (0..OWN).map(|_| Capture::at(network.own())).collect();
        let tier = Capture::at(network.own());
        own.iter().chain([&tier]).for_each(|server| server.answer_after(Duration::from_millis(20)));
        let mut sites: Vec<Site> = Vec::new();
        let apis: Vec<SocketAddr> = (0..NODES).map(|number| api(number, &network)).collect();
        for (number, api) in apis.iter().enumerate() {
            let site = site(number, &network, tier.address, *api, tier_limits, more);
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
        // Two nodes are behind one address.
        let behind = wire::front(network.own(), vec![sites[0].smtp, sites[1].smtp]);
        let front = vec![behind, behind, sites[2].smtp];
        let servers = [Some(primary), None];
        let mut cluster = Cluster { servers, primary: 0, sites, apis, nodes, own, tier, front, network };
        cluster.add_standby()?;
        Ok(cluster)
    }

    /// Gives the primary a standby, which every commit waits for from now on.
    pub fn add_standby(&mut self) -> Result<(), String> {
        let place = 1 - self.primary;
        let (address, namespace) = self.network.place(place);
        let (address, port) = (address.to_string(), self.network.port().to_string());
        let settings = [("port", &*port), ("listen_addresses", &*address), ("max_connections", "100")];
        self.servers[place] = None;
        self.servers[place] = Some(self.database().start_standby(namespace, &settings)?);
        self.database().set("synchronous_standby_names", "'ANY 1 (standby)'");
        let patience = Instant::now() + Duration::from_secs(20);
        while self.database().sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") != "1" {
            assert!(Instant::now() < patience, "the standby does not become synchronous");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The primary's machine is gone, and the standby becomes the primary.
    pub fn lose_primary(&mut self) {
        self.network.lose_place(self.primary);
        self.database().kill();
        self.primary = 1 - self.primary;
        self.database().promote();
    }

    /// Returns the server that is the primary now.
    fn database(&self) -> &Server {
        self.servers[self.primary].as_ref().expect("there is a primary")
    }

    /// Where clients submit: an address of two nodes, twice as often as that of the third one.
    pub fn front(&self) -> &[SocketAddr] {
        &self.front
    }

    /// The folder of a node.
    pub fn site(&self, number: usize) -> &Site {
        &self.sites[number]
    }

    /// Runs a command at a node.
    pub fn operate(&self, number: usize, arguments: &[&str]) -> String {
        let done = self.sites[number].operate(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Runs a command at a node, whatever its exit code is.
    pub fn operate_any(&self, number: usize, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.sites[number].operate(arguments).stdout).into_owned()
    }

    /// The nodes that run.
    pub fn alive(&self) -> Vec<usize> {
        (0..NODES).filter(|number| self.nodes[*number].is_some()).collect()
    }

    /// How many messages came over the tier.
    pub fn taken_of_tier(&self) -> usize {
        self.tier.received().len()
    }

    /// From now on a customer's own server is at an address where nobody listens.
    pub fn close_server(&self, customer: &str) {
        let closed = free_port("127.0.0.1").port();
        for (site, node) in self.sites.iter().zip(&self.nodes) {
            let file = site.customer_file(customer);
            let lines: Vec<String> = std::fs::read_to_string(&file)
                .unwrap()
                .lines()
                .map(|line| if line.starts_with("port = ") { format!("port = {closed}") } else { line.to_owned() })
                .collect();
            std::fs::write(&file, lines.join("\n") + "\n").unwrap();
            node.iter().for_each(|node| node.signal("HUP"));
        }
    }

    /// How many customers' own routes are known in the database with so many recipients of today.
    pub fn carried(&self, recipients: usize) -> usize {
        let query = format!(
            "SELECT count(*) FROM postbud.carried WHERE name LIKE 'throttle own-server.%' AND text LIKE '%\"recipients\":{recipients},%'"
        );
        self.database().sql(&query).parse().unwrap()
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

    /// Every node runs.
    pub fn assert_all_alive(&mut self, what: &str) {
        for number in 0..NODES {
            let is_alive = self.nodes[number].as_mut().is_some_and(Running::is_alive);
            assert!(is_alive, "{what}: node{number} has ended\n{}", self.logs());
        }
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
            self.database().sql(&query).parse().unwrap()
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
        let shards: Vec<u32> = self.database().sql(&query).lines().map(|shard| shard.parse().unwrap()).collect();
        customers().filter(|customer| shards.contains(&(crc32fast::hash(customer.as_bytes()) % SHARDS))).collect()
    }

    /// How many erasures nodes still owe.
    pub fn owed(&self) -> String {
        self.database().sql("SELECT count(*) FROM postbud.ask_owed")
    }

    /// How many messages are in the database that are in nobody's hands: on their way to a node.
    pub fn in_transit(&self) -> String {
        self.database().sql("SELECT count(*) FROM postbud.transit")
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

/// Where a node's API is.
fn api(number: usize, network: &Network) -> SocketAddr {
    match network.node(number) {
        (address, Some(_)) => SocketAddr::new(address, API),
        (address, None) => free_port(&address.to_string()),
    }
}

fn site(number: usize, network: &Network, tier: SocketAddr, api: SocketAddr, tier_limits: &str, last: &str) -> Site {
    let more = format!(
        "[retry]\nfirst = \"1s\"\nlongest = \"2s\"\n[delivery]\nroute_alert_after = \"1s\"\n\
         [mailjet.starter]\nhost = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key\"\n\
         password_file = \"webcrm.hash\"\n[mailjet.starter.limits]\nconcurrency = {TIER_CAP}\n{tier_limits}\
         [suppression]\nmode = \"refuse\"\n[api]\naddress = \"{api}\"\ntls = \"off\"\nallow_plaintext = true\n{last}",
        tier.ip(),
        tier.port(),
    );
    let site = match network.node(number) {
        (address, Some(namespace)) => {
            Site::at(SocketAddr::new(address, SMTP), SocketAddr::new(address, WEB), Some(namespace), &[], &more)
        }
        (address, None) => {
            let free = || free_port(&address.to_string());
            Site::at(free(), free(), None, &[], &more)
        }
    };
    let (places, port) = network.database_of(number);
    let spool = format!(
        "[spool]\nbackend = \"postgres\"\n[spool.postgres]\nhost = [\"{}\", \"{}\"]\nport = {port}\ndatabase = \"postgres\"\n\
         user = \"postgres\"\ntls = \"off\"\nnode = \"node{number}\"\nnodes = {NODES}\nshards = {SHARDS}\nlease = \"{}s\"\n\
         timeout = \"3s\"\n",
        places[0],
        places[1],
        LEASE.as_secs(),
    );
    let text = std::fs::read_to_string(site.config()).unwrap();
    let text = text.replace("[spool]\nmin_free = \"16 MiB\"\n", &spool);
    // No password may cross a network in clear, not even that of namespaces.
    let text = text.replace("auth = \"required\"\nallow_plaintext_auth = true\n", "auth = \"off\"\n");
    std::fs::write(site.config(), text).unwrap();
    site
}

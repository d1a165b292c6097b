//! The sites that are simulated, of one relay and of several nodes: customers, their keys, their routes with caps, and how the relay is
//! set up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::faults::Fault;
use crate::customers::{BulkPolicy, Customer, Directory, Routing, Tier, Via};
use crate::delivery::Timeouts;
use crate::dkim::{SigningKey, Workers, record};
use crate::queue::{Patience, Schedule};
use crate::route::{Caps, Route, TlsMode, TlsPolicy};
use crate::spool::Backoff;
use crate::test_customers;

/// The address that all mail leaves from.
pub const EGRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
/// How long mail is tried.
pub const GIVE_UP: Duration = Duration::from_secs(1200);
/// How long a result may wait for its sync.
pub const SETTLE_DELAY: Duration = Duration::from_millis(50);
/// How long a stop waits for attempts.
pub const GRACE: Duration = Duration::from_secs(5);

/// The customers' names, each with the server that its mail goes to. The plans of one relay have mail of the first three alone.
pub const CUSTOMERS: [(&str, usize); 7] =
    [("alpha", 0), ("beta", 1), ("gamma", 2), ("epsilon", 2), ("lambda", 2), ("zeta", 4), ("iota", 5)];
/// The customer whose server bears few messages a minute.
pub const ALPHA: usize = 0;
pub const BETA: usize = 1;
/// The customers whose mail nothing holds up: their servers take everything at once, and have no caps that matter.
pub const SWIFT: std::ops::Range<usize> = 5..7;
/// The server that customers share.
pub const MAILJET: usize = 2;
/// The server that notifications go to.
pub const SENDERS: usize = 3;
/// The servers' names.
pub const SERVERS: [&str; 6] =
    ["alpha's server", "beta's server", "Mailjet", "the senders' server", "zeta's server", "iota's server"];

/// Nothing is signed by these threads: Ed25519 is signed by who asks. So all simulations share them.
pub static WORKERS: LazyLock<Workers> = LazyLock::new(|| Workers::start(1, 1).expect("a thread can be started"));
/// The public keys, as DNS has them.
static RECORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let record = |number| {
        let domain = test_customers::domain(&domain_of(number));
        let selector = crate::dkim::Selector::parse("postbud1").expect("a selector");
        let record = record::render(&domain, &selector, &key(number)).expect("a key has a record");
        record.strings().collect::<String>()
    };
    (0..CUSTOMERS.len()).map(record).collect()
});

fn key(customer: usize) -> SigningKey {
    SigningKey::from_ed25519_seed(&[customer as u8 + 1; 32]).expect("any seed is one")
}

/// The key record of a From domain.
pub fn record_of(domain: &str) -> Option<&'static str> {
    (0..CUSTOMERS.len()).find(|number| domain_of(*number) == domain).map(|number| &*RECORDS[number])
}

/// The From domain of a customer.
pub fn domain_of(customer: usize) -> String {
    format!("{}.dk", CUSTOMERS[customer].0)
}

/// Returns true if mail of several customers goes to a server, so that nodes share its caps.
pub fn is_shared(server: usize) -> bool {
    server == MAILJET || server == SENDERS
}

/// Where a server listens.
pub fn address_of(server: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, server as u8 + 1], 25))
}

/// Where a node takes mail.
pub fn listener_of(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], 587))
}

/// What a server bears.
pub fn caps_of(server: usize) -> Caps {
    let usual = Caps { recipients_per_transaction: 3, messages_per_connection: 4, ..Caps::default() };
    match server {
        0 => Caps { concurrency: 2, per_minute: Some(10), ..usual },
        1 => Caps { concurrency: 3, ..usual },
        MAILJET => Caps { concurrency: 3, per_day: Some(14), ..usual },
        SENDERS => Caps { concurrency: 3, ..usual },
        _ => Caps { concurrency: 20, messages_per_connection: 100, ..usual },
    }
}

/// How the relay is set up at a site.
pub struct Site {
    /// How many nodes share the spool.
    pub nodes: u32,
    pub backoff: Backoff,
}

/// One relay with a spool of its own.
pub const ALONE: Site = Site {
    nodes: 1,
    backoff: Backoff { first: Duration::from_secs(10), factor: 2.0, longest: Duration::from_secs(120) },
};
/// Nodes that share a spool.
pub const NODES: Site = Site {
    nodes: 3,
    backoff: Backoff { first: Duration::from_secs(5), factor: 2.0, longest: Duration::from_secs(20) },
};

impl Site {
    /// The caps that a relay keeps. With a fault they are not the server's.
    fn kept_caps(&self, server: usize, fault: Option<Fault>) -> Caps {
        let caps = caps_of(server);
        let caps = match fault {
            Some(Fault::ForgetsMinute) => Caps { per_minute: None, ..caps },
            Some(Fault::OneConnectionMore) => Caps { concurrency: caps.concurrency + 1, ..caps },
            Some(Fault::ForgetsTransactionCaps) => {
                Caps { recipients_per_transaction: 100, messages_per_connection: 100, ..caps }
            }
            _ => caps,
        };
        if !is_shared(server) {
            return caps;
        }
        // The part has to come from the configuration's own function, which the fault leaves out.
        let part = caps.part(self.nodes).expect("the caps can be divided");
        if fault == Some(Fault::KeepsCapsWhole) { Caps { concurrency: caps.concurrency, ..part } } else { part }
    }

    fn route(&self, id: &str, server: usize, fault: Option<Fault>) -> Arc<Route> {
        Arc::new(Route {
            port: address_of(server).port(),
            tls: TlsPolicy { mode: TlsMode::Off, ..TlsPolicy::default() },
            caps: self.kept_caps(server, fault),
            ..test_customers::route(id, &address_of(server).ip().to_string())
        })
    }

    /// Who sends what over which route.
    pub fn routing(&self, fault: Option<Fault>) -> Routing {
        let customers = CUSTOMERS.iter().enumerate().map(|(number, (id, server))| {
            let via = match *server {
                MAILJET => test_customers::mailjet(),
                own => Via::OwnServer(self.route(id, own, fault)),
            };
            let domain = test_customers::signed(&domain_of(number), key(number));
            Customer { bulk: BulkPolicy::Warn, bounce_mail: true, ..test_customers::customer(id, [domain], via) }
        });
        let tier = Tier { route: self.route("mailjet.starter", MAILJET, fault), requires: Vec::new() };
        let directory = Directory::new(customers.collect(), BTreeMap::from([("starter".to_owned(), tier)]));
        Routing::new(directory, Some(self.route("bounces", SENDERS, fault)))
    }

    pub fn patience(&self) -> Patience {
        let retry = Schedule { backoff: self.backoff.clone(), give_up: GIVE_UP };
        Patience { retry, delay_notice: Duration::from_secs(600) }
    }
}

pub fn timeouts() -> Timeouts {
    let seconds = Duration::from_secs;
    Timeouts {
        connect: seconds(5),
        greeting: seconds(10),
        handshake: seconds(10),
        mail: seconds(10),
        rcpt: seconds(10),
        data_start: seconds(10),
        data_block: seconds(10),
        data_end: seconds(20),
        quit: seconds(2),
    }
}

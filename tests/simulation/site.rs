//! The site that is simulated: customers, their keys, their routes with caps, and how the relay is set up.

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

/// The From domain of each customer.
pub const DOMAINS: [&str; 3] = ["alpha.dk", "beta.dk", "gamma.dk"];
/// The servers' names: one for each customer, and the one that notifications go to.
pub const SERVERS: [&str; 4] = ["alpha's server", "beta's server", "Mailjet", "the senders' server"];

/// Nothing is signed by these threads: Ed25519 is signed by who asks. So all simulations share them.
pub static WORKERS: LazyLock<Workers> = LazyLock::new(|| Workers::start(1, 1).expect("a thread can be started"));
/// The public keys, as DNS has them.
static RECORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let record = |number| {
        let domain = test_customers::domain(DOMAINS[number]);
        let selector = crate::dkim::Selector::parse("postbud1").expect("a selector");
        let record = record::render(&domain, &selector, &key(number)).expect("a key has a record");
        record.strings().collect::<String>()
    };
    (0..DOMAINS.len()).map(record).collect()
});

fn key(customer: usize) -> SigningKey {
    SigningKey::from_ed25519_seed(&[customer as u8 + 1; 32]).expect("any seed is one")
}

/// The key record of a From domain.
pub fn record_of(domain: &str) -> Option<&'static str> {
    DOMAINS.iter().position(|known| *known == domain).map(|number| &*RECORDS[number])
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
        2 => Caps { concurrency: 2, per_day: Some(14), ..usual },
        _ => Caps { concurrency: 2, ..usual },
    }
}

/// The caps that the relay keeps. With a fault they are not the server's.
fn kept_caps(server: usize, fault: Option<Fault>) -> Caps {
    let caps = caps_of(server);
    match fault {
        Some(Fault::ForgetsMinute) => Caps { per_minute: None, ..caps },
        Some(Fault::OneConnectionMore) => Caps { concurrency: caps.concurrency + 1, ..caps },
        Some(Fault::ForgetsTransactionCaps) => {
            Caps { recipients_per_transaction: 100, messages_per_connection: 100, ..caps }
        }
        _ => caps,
    }
}

fn route(id: &str, server: usize, fault: Option<Fault>) -> Arc<Route> {
    Arc::new(Route {
        port: address_of(server).port(),
        tls: TlsPolicy { mode: TlsMode::Off, ..TlsPolicy::default() },
        caps: kept_caps(server, fault),
        ..test_customers::route(id, &address_of(server).ip().to_string())
    })
}

fn customer(number: usize, id: &str, via: Via) -> Customer {
    let domain = test_customers::signed(DOMAINS[number], key(number));
    Customer { bulk: BulkPolicy::Warn, bounce_mail: true, ..test_customers::customer(id, [domain], via) }
}

/// Who sends what over which route.
pub fn routing(fault: Option<Fault>) -> Routing {
    let own = |id: &str, server| Via::OwnServer(route(id, server, fault));
    let tier = Tier { route: route("mailjet.starter", 2, fault), requires: Vec::new() };
    let customers = vec![
        customer(0, "alpha", own("alpha", 0)),
        customer(1, "beta", own("beta", 1)),
        customer(2, "gamma", test_customers::mailjet()),
    ];
    let directory = Directory::new(customers, BTreeMap::from([("starter".to_owned(), tier)]));
    Routing::new(directory, Some(route("bounces", 3, fault)))
}

pub fn patience() -> Patience {
    let backoff = Backoff { first: Duration::from_secs(10), factor: 2.0, longest: Duration::from_secs(120) };
    Patience { retry: Schedule { backoff, give_up: GIVE_UP }, delay_notice: Duration::from_secs(600) }
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

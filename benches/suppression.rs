//! Suppression lists: what a million addresses take of memory, how long a start reads them, and how long a look-up takes.
//!
//! `cargo bench --bench suppression -- [--entries N] [--readme]` (1,000,000). With `--readme` the table goes into benches/README.md. The
//! addresses are spread over a hundred customers. Each look-up goes the way of RCPT: the address is parsed already, and memory alone is
//! asked. Times include reading the clock, which a look-up does to tell what has expired.

#[path = "readme/mod.rs"]
mod readme;

use std::hint::black_box;
use std::time::{Duration, Instant};

use postbud::customers::suppression::{self, Entry, Reason, Suppression};
use postbud::database::Database;
use postbud::message::CustomerId;
use postbud::smtp::Mailbox;
use postbud::time::Timestamp;

const CUSTOMERS: u64 = 100;
const LOOKUPS: u64 = 1_000_000;
/// Entries that are written in one transaction.
const BATCH: u64 = 10_000;

fn main() {
    let (mut entries, mut is_for_readme) = (1_000_000u64, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--entries" => entries = args.next().and_then(|n| n.parse().ok()).expect("--entries N"),
            "--readme" => is_for_readme = true,
            // What cargo itself adds.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = || Database::open(dir.path(), &[suppression::SCHEMA]).expect("the database opens");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(write(open(), entries));
    let database = open();
    let before = resident();
    let began = Instant::now();
    let (lists, _feed) = Suppression::open(database).expect("the lists are read");
    let (start, taken) = (began.elapsed(), resident().saturating_sub(before));
    assert_eq!(lists.len() as u64, entries);
    let mut table = format!("| {entries} addresses of {CUSTOMERS} customers | |\n|---|---|\n");
    let mut row = |what: &str, figure: String| table.push_str(&format!("| {what} | {figure} |\n"));
    row("memory that the lists take, MB (bound: 100 for a million)", format!("{:.0}", taken as f64 / 1e6));
    row("reading them at the start, s", format!("{:.1}", start.as_secs_f64()));
    for (what, offset) in [("an address that is on the list", 0), ("an address that is not", entries)] {
        let (mean, longest) = look_up(&lists, entries, offset);
        row(
            &format!("look-up of {what}, µs (bound: 20)"),
            format!("{:.2} on average, 99.9 % within {:.2}", micros(mean), micros(longest)),
        );
    }
    print!("{table}");
    if is_for_readme {
        readme::into_readme("suppression", "suppression", &table).expect("the README can be written");
    }
}

async fn write(database: Database, entries: u64) {
    let (lists, _feed) = Suppression::open(database).expect("the lists are read");
    for first in (0..entries).step_by(BATCH as usize) {
        let mut of_customers = vec![Vec::new(); CUSTOMERS as usize];
        for n in first..entries.min(first + BATCH) {
            let entry = Entry {
                address: suppression::folded(&address(n)),
                reason: Reason::HardBounce,
                since: Timestamp::now(),
                expires: Some(Timestamp::now() + Duration::from_secs(86_400)),
                note: "550 5.1.1 no such user".into(),
            };
            of_customers[(n % CUSTOMERS) as usize].push(entry);
        }
        for (n, entries) in of_customers.into_iter().enumerate() {
            lists.add(&customer(n as u64), entries).await.expect("the entries are written");
        }
    }
}

/// The mean time of a look-up, and the time within which 99.9 % were done. `offset` moves the addresses out of the lists.
fn look_up(lists: &Suppression, entries: u64, offset: u64) -> (Duration, Duration) {
    // Scattered, so that neither the processor's cache nor the order of writing helps.
    let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries;
    let asked: Vec<(CustomerId, Mailbox)> =
        (0..LOOKUPS.min(entries)).map(|n| (customer(number(n) % CUSTOMERS), address(number(n) + offset))).collect();
    let mut times: Vec<Duration> = asked
        .iter()
        .map(|(customer, address)| {
            let began = Instant::now();
            let found = black_box(lists.reason(customer, address));
            let took = began.elapsed();
            assert_eq!(found.is_some(), offset == 0, "{address}");
            took
        })
        .collect();
    times.sort();
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    (mean, times[times.len() * 999 / 1000])
}

fn customer(n: u64) -> CustomerId {
    CustomerId::new(&format!("kunde-{n}"))
}

fn address(n: u64) -> Mailbox {
    // Spread, so that no two neighbours look alike.
    let text = format!("kunde.{n}.{:x}@mail{}.example.dk", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40, n % 977);
    Mailbox::parse(&text).expect("an address")
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Octets of memory that the process has in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("the kernel says it");
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

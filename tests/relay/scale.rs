//! Many waiting messages are no event: start, memory, operators' commands and delivery with a full queue.
//!
//! A usual run has a few thousand; `POSTBUD_SCALE_MESSAGES=1000000` shows the real thing (10 GB of disk, some minutes) and prints
//! its figures. Memory is bounded by assertion; times are printed, not asserted.

use std::time::{Duration, Instant};

use postbud::message::Lane;
use postbud::spool::Draft;

use crate::support::capture::Capture;
use crate::support::drafts::{draft, fill, lane};
use crate::support::relay::{Customer, Site, plain_route};

const SIZE: usize = 10_000;

/// How many messages wait in tests of scale.
pub fn messages() -> u64 {
    std::env::var("POSTBUD_SCALE_MESSAGES").map_or(3000, |n| n.parse().expect("a number"))
}

/// A message of a lane, for each seed.
pub fn of_lane(lane: Lane, size: usize) -> impl Fn(u64) -> Draft + Clone + Send + 'static {
    move |seed| Draft { lane: lane.clone(), ..draft("", &["b@example.net"], seed, size) }
}

/// The most memory that a process had so far.
pub fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_full_queue_is_no_event() {
    let messages = messages();
    let server = Capture::start();
    server.answer_after(Duration::from_millis(200));
    let route = format!("{}[route.limits]\nconcurrency = 5\n", plain_route(server.address));
    let site = Site::new(&[Customer { id: "good", domain: "test.dk", route }]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let began = Instant::now();
    runtime.block_on(fill(site.path("state/spool"), messages, of_lane(lane("good"), SIZE)));
    println!("{messages} messages of {SIZE} octets committed in {:?}", began.elapsed());

    let began = Instant::now();
    let relay = site.start_unready();
    server.wait_for(1, Duration::from_secs(60));
    println!("first delivery {:?} after the start", began.elapsed());
    relay.wait_until_ready(site.smtp);
    for command in [&["queue", "stats"][..], &["queue", "list", "--customer", "good"], &["queue", "list", "--json"]] {
        let began = Instant::now();
        let output = site.operate(command);
        println!("{}: {:?}, the command's own start included", command.join(" "), began.elapsed());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
    let resident = resident_mib(relay.pid());
    println!("peak resident memory: {resident} MiB");
    assert!(resident <= 200, "{resident} MiB");
    relay.kill();
}

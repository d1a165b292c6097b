//! kill -9 at random moments under load: nothing acknowledged is lost, nothing arrives changed, and what arrives twice was being
//! delivered at the moment of a kill.
//!
//! The sender logs every message with its outcome (acknowledged, refused, unknown: the connection broke first), the receiver
//! logs what it takes; the check compares the two. `POSTBUD_CRASH_ROUNDS` makes it longer (`tests/crash/run` sets it).

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::support::capture::{Capture, Received};
use crate::support::client::{Client, message};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, plain_route};

const SENDERS: usize = 4;
/// Attempts that may be under way at a kill: the route's connections.
const IN_FLIGHT: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
}

/// What the sender remembers, by the message's subject.
type Sent = BTreeMap<String, Outcome>;

/// Sends until the relay dies.
fn send_until_it_dies(site: &Site, name: &str) -> Sent {
    let mut sent = Sent::new();
    let Ok(mut client) = Client::login(site.smtp, USERNAME, PASSWORD) else { return sent };
    for n in 0.. {
        let id = format!("{name}n{n}");
        let outcome = match client.send("a@good.example", &["b@example.net"], &mail(&id)) {
            Ok(heard) if heard.starts_with("250") => Outcome::Acknowledged,
            Ok(_) => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        sent.insert(id, outcome);
        if outcome == Outcome::Unknown {
            break;
        }
    }
    sent
}

/// A message of its own size for each id, so that none can pass for another.
fn mail(id: &str) -> Vec<u8> {
    let mut mail = message("a@good.example", "b@example.net", id);
    let seed = id.bytes().map(usize::from).sum::<usize>();
    for line in 0..(seed % 300) {
        mail.extend_from_slice(format!("{id} linje {line} {}\r\n", "x".repeat((seed + line) % 60)).as_bytes());
    }
    mail
}

fn id_of(received: &Received) -> String {
    let header = String::from_utf8_lossy(received.header()).into_owned();
    header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned()
}

/// What the comparison found.
#[derive(Debug, Default)]
struct Findings {
    lost: Vec<String>,
    corrupted: Vec<String>,
    unexpected: Vec<String>,
    /// Messages that each crash had delivered again.
    repeated: Vec<usize>,
}

/// `starts` are the moments at which the relay was started again.
fn compare(sent: &Sent, received: &[Received], starts: &[Instant]) -> Findings {
    let mut findings = Findings { repeated: vec![0; starts.len() + 1], ..Findings::default() };
    let mut arrived: HashMap<String, usize> = HashMap::new();
    for one in received {
        let id = id_of(one);
        match sent.get(&id) {
            None | Some(Outcome::Refused) => findings.unexpected.push(id.clone()),
            Some(_) => {
                let wanted = mail(&id);
                let at = memchr::memmem::find(&wanted, b"\r\n\r\n").unwrap() + 4;
                if one.body() != &wanted[at..] || !one.header().ends_with(&wanted[..at - 2]) {
                    findings.corrupted.push(id.clone());
                }
            }
        }
        // A message that comes once more was in flight when the process ended that delivered it before.
        let life = starts.iter().filter(|start| **start <= one.at).count();
        if let Some(before) = arrived.insert(id, life) {
            findings.repeated[before] += 1;
        }
    }
    let acknowledged = sent.iter().filter(|(_, outcome)| **outcome == Outcome::Acknowledged);
    findings.lost = acknowledged.map(|(id, _)| id.clone()).filter(|id| !arrived.contains_key(id)).collect();
    findings
}

fn under_load(site: &Site, round: usize, end: impl FnOnce(Running)) -> Sent {
    let relay = site.start();
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || send_until_it_dies(site, &format!("r{round}s{sender}"))))
            .collect();
        std::thread::sleep(Duration::from_millis(150 + rand::random::<u64>() % 600));
        end(relay);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

#[test]
fn kill_9_under_load_loses_nothing_and_repeats_only_what_was_in_flight() {
    let rounds: usize = std::env::var("POSTBUD_CRASH_ROUNDS").map_or(4, |rounds| rounds.parse().expect("a number"));
    let server = Capture::start();
    let route = format!("{}[route.limits]\nconcurrency = {IN_FLIGHT}\n", plain_route(server.address));
    let site = Site::with(
        &[Customer { id: "good", domain: "good.example", route }],
        "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n",
    );
    let (mut sent, mut starts) = (Sent::new(), Vec::new());
    for round in 0..rounds {
        if round > 0 {
            starts.push(Instant::now());
        }
        sent.append(&mut under_load(&site, round, Running::kill));
        if round % 20 == 19 {
            println!("round {}: {} sent, {} received", round + 1, sent.len(), server.received().len());
        }
    }
    starts.push(Instant::now());
    let relay = site.start();
    let acknowledged = sent.values().filter(|outcome| **outcome == Outcome::Acknowledged).count();
    let patience = Instant::now() + Duration::from_secs(120);
    let findings = loop {
        let findings = compare(&sent, &server.received(), &starts);
        if findings.lost.is_empty() || Instant::now() > patience {
            break findings;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    relay.stop();
    println!(
        "{rounds} rounds: {} sent, {acknowledged} acknowledged, {} received; lost {}, corrupted {}, unexpected {}, repeated {:?}",
        sent.len(),
        server.received().len(),
        findings.lost.len(),
        findings.corrupted.len(),
        findings.unexpected.len(),
        findings.repeated
    );
    assert!(acknowledged > rounds * 10, "no load: {acknowledged}");
    assert!(findings.lost.is_empty(), "lost: {:?}", findings.lost);
    assert!(findings.corrupted.is_empty(), "corrupted: {:?}", findings.corrupted);
    assert!(findings.unexpected.is_empty(), "unexpected: {:?}", findings.unexpected);
    assert!(findings.repeated.iter().all(|repeated| *repeated <= IN_FLIGHT), "{:?}", findings.repeated);
}

#[test]
fn the_comparison_notices_what_it_is_there_to_notice() {
    let content = |id: &str, change: bool| {
        let mut content = b"DKIM-Signature: v=1\r\n".to_vec();
        content.extend(mail(id));
        if change {
            *content.last_mut().unwrap() ^= 1;
        }
        content
    };
    let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    let received = |content, at| Received { from: String::new(), to: Vec::new(), content, at };
    let sent = Sent::from([
        ("a".into(), Outcome::Acknowledged),
        ("b".into(), Outcome::Acknowledged),
        ("c".into(), Outcome::Refused),
        ("d".into(), Outcome::Unknown),
    ]);
    let lives =
        [("a", false, first), ("c", false, first), ("a", true, second), ("d", false, second), ("e", false, second)];
    let received = lives.map(|(id, change, at)| received(content(id, change), at));
    let findings = compare(&sent, &received, &[first, second]);
    assert_eq!(findings.lost, ["b"]);
    assert_eq!(findings.corrupted, ["a"]);
    assert_eq!(findings.unexpected, ["c", "e"]);
    assert_eq!(findings.repeated, [0, 1, 0]);
}

//! The record's archives: what a recorded recipient takes on disk, what closing a file costs, and how long a search takes.
//!
//! `cargo bench --bench record -- [--recipients N] [--dir DIR]` (300,000; a temporary directory). Each recipient has two events,
//! `accepted` and `relayed`, of one message each, in files of 64 MiB. 30,000,000 recipients take some 4 GB and ten minutes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postbud::message::QueueId;
use postbud::record::archive;
use postbud::record::trace::{self, Query};
use postbud::time::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const FILE: usize = 64 << 20;

fn main() {
    let (mut recipients, mut dir) = (300_000u64, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--recipients" => recipients = args.next().and_then(|n| n.parse().ok()).expect("--recipients N"),
            "--dir" => dir = args.next().map(PathBuf::from),
            // What cargo itself adds.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&dir).expect("the folder can be made");
    let log = dir.join("events.jsonl");
    let closing = write(&log, recipients);
    let octets: u64 = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!("{:>22}: {} octets a recorded recipient", "disk", octets / recipients);
    println!("{:>22}: {:.2} µs a recorded recipient", "closing", closing.as_secs_f64() * 1e6 / recipients as f64);
    let mut times = Vec::new();
    for n in 0..5 {
        let recipient = recipient(recipients / 6 * (n + 1));
        let began = Instant::now();
        let found = trace::find(&log, &Query { recipient: Some(recipient.clone()), ..Query::default() }, 100).unwrap();
        times.push(began.elapsed());
        assert!(found.traces.iter().any(|trace| trace.events.len() == 2), "{recipient} is not found");
    }
    times.sort();
    println!("{:>22}: {:?}, at most {:?}, among {recipients} recipients", "search", times[2], times[4]);
}

fn recipient(n: u64) -> String {
    // Spread, so that no two neighbours look alike.
    format!("kunde.{:x}@mail{}.example.dk", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20, n % 977)
}

/// Writes the journal a file at a time and closes each; gives the time that closing took.
fn write(log: &Path, recipients: u64) -> Duration {
    let mut random = StdRng::seed_from_u64(1);
    let (mut closing, mut number, mut lines) = (Duration::ZERO, 1, String::with_capacity(FILE + 4096));
    let mut at = Timestamp::from_millis(1_795_000_000_000);
    for n in 0..recipients {
        at = at + Duration::from_millis(random.random_range(0..2));
        let id = QueueId::from_u64(QueueId::first_at(at).as_u64() | random.random_range(0..64) << 16);
        let common = format!(
            r#""queue_id":"{id}","message_id":"{:032x}@nyhedsbrev{}.dk","reference":"contact-{}","campaign":"november-{}","customer":"kunde-{}","from_domain":"nyhedsbrev{}.dk","sender":"news@nyhedsbrev{}.dk","recipient":"{}","route":"mailjet.trusted""#,
            random.random::<u128>(),
            n / 50_000,
            random.random_range(0..100_000_000u32),
            n / 50_000,
            n / 50_000,
            n / 50_000,
            n / 50_000,
            recipient(n),
        );
        writeln!(lines, r#"{{"event_id":"{id}-0-0","at":"{at}","event":"accepted",{common},"submitter":"webcrm","peer":"10.0.0.7"}}"#)
            .unwrap();
        let later = at + Duration::from_millis(5);
        writeln!(
            lines,
            r#"{{"event_id":"{id}-1-0","at":"{later}","event":"relayed",{common},"server":"in-v3.mailjet.com","attempt":1,"code":250,"reply":"OK queued as {:08x}-{:04x}-4{:03x}-{:04x}-{:012x}"}}"#,
            random.random::<u32>(),
            random.random::<u16>(),
            random.random_range(0..4096),
            random.random::<u16>(),
            random.random::<u64>() >> 16,
        )
        .unwrap();
        if lines.len() >= FILE || n + 1 == recipients {
            let mut plain = log.as_os_str().to_owned();
            plain.push(format!(".{number:06}"));
            let plain = PathBuf::from(plain);
            fs::write(&plain, &lines).unwrap();
            let mut packed = plain.clone().into_os_string();
            packed.push(".zst");
            let began = Instant::now();
            archive::close(&plain, Path::new(&packed), 0o600).unwrap();
            closing += began.elapsed();
            (number, lines) = (number + 1, String::with_capacity(FILE + 4096));
        }
    }
    closing
}

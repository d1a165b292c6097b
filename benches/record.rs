//! The record's archives: what a recorded recipient takes on disk, what closing a file costs, and how long a search takes.
//!
//! `cargo bench --bench record -- [--recipients N] [--dir DIR] [--readme]` (300,000; a temporary directory). With `--readme` the table goes into
//! benches/README.md. Each recipient has two events,
//! `accepted` and `relayed`, of one message each, in files of 64 MiB. 30,000,000 recipients take some 4 GB of disk, less than 1 GB of memory
//! and, with the release build, ten to twenty minutes.

#[path = "readme/mod.rs"]
mod readme;

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
/// The search with a target: one second among 30,000,000 recipients.
const BOUNDED: &str = "recipient";

fn main() {
    let (mut recipients, mut dir, mut is_for_readme) = (300_000u64, None, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--recipients" => recipients = args.next().and_then(|n| n.parse().ok()).expect("--recipients N"),
            "--dir" => dir = args.next().map(PathBuf::from),
            "--readme" => is_for_readme = true,
            // What cargo itself adds.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&dir).expect("the folder can be made");
    let log = dir.join("events.jsonl");
    let Written { closing, files, samples } = write(&log, recipients);
    let octets: u64 = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let mut table = format!("| among {recipients} recorded recipients in {files} files | |\n|---|---|\n");
    let mut row = |what: &str, figure: String| table.push_str(&format!("| {what} | {figure} |\n"));
    row("octets on disk a recipient (two events; bound: 150)", (octets / recipients).to_string());
    row(
        "closing a file, µs of one core a recipient",
        format!("{:.1}", closing.as_secs_f64() * 1e6 / recipients as f64),
    );
    type Ask = fn(&Sample) -> Query;
    let asked: [(&str, Ask); 5] = [
        (BOUNDED, |sample| Query { recipient: Some(sample.recipient.clone()), ..Query::default() }),
        ("Message-ID", |sample| Query { message_id: Some(sample.message_id.clone()), ..Query::default() }),
        ("queue id", |sample| Query { queue_id: Some(sample.id), ..Query::default() }),
        ("reference", |sample| Query { reference: Some(sample.reference.clone()), ..Query::default() }),
        ("campaign, 100 of its 50,000 mails", |sample| Query {
            campaign: Some(sample.campaign.clone()),
            ..Query::default()
        }),
    ];
    for (what, ask) in asked {
        let mut times: Vec<Duration> = samples
            .iter()
            .map(|sample| {
                let began = Instant::now();
                let found = trace::find(&log, &ask(sample), 100).unwrap();
                assert!(
                    found.traces.iter().any(|trace| trace.events.len() == 2),
                    "{what} of {} is not found",
                    sample.id
                );
                began.elapsed()
            })
            .collect();
        times.sort();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (median, most) = (millis(times[times.len() / 2]), millis(times[times.len() - 1]));
        let bound = if what == BOUNDED { " (bound: 1,000)" } else { "" };
        row(&format!("trace by {what}, ms{bound}"), format!("{median:.0}, at most {most:.0}"));
    }
    print!("{table}");
    if is_for_readme {
        readme::into_readme("record", "record", &table).expect("the README can be written");
    }
}

/// A mail that is looked for.
struct Sample {
    id: QueueId,
    recipient: String,
    message_id: String,
    reference: String,
    campaign: String,
}

fn recipient(n: u64) -> String {
    // Spread, so that no two neighbours look alike.
    format!("kunde.{:x}@mail{}.example.dk", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20, n % 977)
}

/// A journal of closed files.
struct Written {
    /// How long closing took.
    closing: Duration,
    files: u32,
    samples: Vec<Sample>,
}

/// Writes the journal a file at a time and closes each.
fn write(log: &Path, recipients: u64) -> Written {
    let mut samples = Vec::new();
    let mut random = StdRng::seed_from_u64(1);
    let (mut closing, mut number, mut lines) = (Duration::ZERO, 1, String::with_capacity(FILE + 4096));
    let mut at = Timestamp::from_millis(1_795_000_000_000);
    for n in 0..recipients {
        at = at + Duration::from_millis(random.random_range(0..2));
        // Neighbours of one millisecond have different ids, as those of a relay do.
        let id = QueueId::from_u64(QueueId::first_at(at).as_u64() | (n.wrapping_mul(37) % 64) << 16);
        let (message_id, reference) = (
            format!("{:032x}@nyhedsbrev{}.dk", random.random::<u128>(), n / 50_000),
            random.random_range(0..100_000_000u32),
        );
        if n % (recipients / 6) == recipients / 12 {
            let (reference, campaign) = (format!("contact-{reference}"), format!("november-{}", n / 50_000));
            samples.push(Sample { id, recipient: recipient(n), message_id: message_id.clone(), reference, campaign });
        }
        let common = format!(
            r#""queue_id":"{id}","message_id":"{message_id}","reference":"contact-{reference}","campaign":"november-{}","customer":"kunde-{}","from_domain":"nyhedsbrev{}.dk","sender":"news@nyhedsbrev{}.dk","recipient":"{}","route":"mailjet.trusted""#,
            n / 50_000,
            n / 50_000,
            n / 50_000,
            n / 50_000,
            recipient(n),
        );
        writeln!(lines, r#"{{"event_id":"{id}-{n:09X}-0a","at":"{at}","event":"accepted",{common},"submitter":"webcrm","peer":"10.0.0.7"}}"#)
            .unwrap();
        let later = at + Duration::from_millis(5);
        writeln!(
            lines,
            r#"{{"event_id":"{id}-{n:09X}-0r","at":"{later}","event":"relayed",{common},"server":"in-v3.mailjet.com","attempt":1,"code":250,"reply":"OK queued as {:08x}-{:04x}-4{:03x}-{:04x}-{:012x}"}}"#,
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
    Written { closing, files: number - 1, samples }
}

//! Key records as strangers publish them, right and wrong in many ways: whatever counts as usable here is the same key to two
//! other implementations, mail-auth and dkimpy. What they read beyond that is their own generosity.

use std::io::Write as _;
use std::process::{Command, Stdio};

use postbud::dkim::verify::{Keys, verify};
use postbud::dkim::{KeyRecord, Signer, SigningKey};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::signatures::{ed25519, profile, sign};
use crate::skip::skip;

/// Reads records in hexadecimal, one a line, and prints the key of each as dkimpy has it.
const DKIMPY: &str = r"
import sys, dkim
for line in sys.stdin:
    try:
        key, size, kind, other = dkim.evaluate_pk(b'x', bytes.fromhex(line))
        print('%x' % key['modulus'] if kind == b'rsa' else bytes(key).hex())
    except Exception as error:
        print('no key: %s' % type(error).__name__)
";

/// What gets into records by hand, by word processors and by DNS panels.
const PIECES: &[&str] = &[
    " ",
    "  ",
    "\t",
    "\r\n ",
    "\n",
    ";",
    ";;",
    "; ",
    "=",
    ",",
    "\u{a0}",
    "\u{feff}",
    "\u{200b}",
    "\u{2009}",
    "\u{b}",
    "\u{c}",
    "\0",
    "\"",
    "\\",
    "“",
    "…",
    "ø",
    "t=y",
    "; t=s",
    "; s=email",
    "; s=email:x",
    "; s=*",
    "; h=sha256",
    "; h=sha1",
    "; h=sha1 : sha256",
    "; k=rsa",
    "; K=rsa",
    "; n=a note",
    "; n=a=b",
    "; x=y",
    "; v=DKIM1",
    "; p=",
    " k=rsa",
    " p p=",
    "sel._domainkey IN TXT ",
    "g=*;",
    "A",
    "==",
];

fn mutated(record: &str, random: &mut StdRng) -> String {
    let mut record = record.to_owned();
    for _ in 0..random.random_range(0..4) {
        let boundaries: Vec<usize> = record.char_indices().map(|(at, _)| at).chain([record.len()]).collect();
        // Mostly at the tags' ends, where it matters.
        let ends: Vec<usize> =
            record.match_indices([';', '=', ' ']).flat_map(|(at, _)| [at, at + 1]).chain([0, record.len()]).collect();
        let at = *if random.random_bool(0.7) { &ends } else { &boundaries }.choose(random).expect("not empty");
        match random.random_range(0..5) {
            0 => record.truncate(at),
            1 if at < record.len() => drop(record.remove(at)),
            2 => {
                record = record.replacen("; ", ["\u{a0};", ";", " ; ", ", ", " "].choose(random).expect("not empty"), 1)
            }
            _ => record.insert_str(at, PIECES.choose(random).expect("not empty")),
        }
    }
    record
}

fn as_dkimpy_reads_them(records: &[String]) -> Option<Vec<String>> {
    let mut dkimpy = Command::new("/usr/bin/python3")
        .args(["-c", DKIMPY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let hex = |text: &String| text.bytes().map(|octet| format!("{octet:02x}")).collect::<String>() + "\n";
    let lines: String = records.iter().map(hex).collect();
    let mut stdin = dkimpy.stdin.take().expect("it is piped");
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = dkimpy.wait_with_output().ok()?;
    let _ = writing.join();
    let keys: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    (output.status.success() && keys.len() == records.len()).then_some(keys)
}

#[test]
fn what_counts_as_usable_is_the_same_key_to_other_verifiers() {
    // A fixed seed: a disagreement is the same one tomorrow.
    let mut random = StdRng::seed_from_u64(6376);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let has_dkimpy =
        Command::new("/usr/bin/python3").args(["-c", "import dkim, nacl"]).status().is_ok_and(|s| s.success());
    for key in [SigningKey::generate_rsa(2048).unwrap(), ed25519()] {
        let good = format!("v=DKIM1; k={}; p={}", key.key_type(), key.public_key_base64().unwrap());
        let header = b"From: a@test.dk\r\nSubject: x\r\n";
        let records: Vec<String> = (0..600).map(|_| mutated(&good, &mut random)).collect();
        let usable = |record: &&String| {
            let read = KeyRecord::parse(record);
            read.is_usable() && read.is_of(&key)
        };
        let usable: Vec<String> = records.iter().filter(usable).cloned().collect();
        assert!((100..500).contains(&usable.len()), "{} of {}", usable.len(), records.len());

        let signer = Signer::new(vec![profile(key)]).unwrap();
        let signature = sign(&signer, header, b"body\r\n").unwrap().concat();
        let message = [&signature, &header[..], b"\r\nbody\r\n"].concat();
        for record in &usable {
            let checks = runtime.block_on(verify(&message, Keys::Record(record))).unwrap();
            assert_eq!(checks[0].result, Ok(()), "mail-auth: {record:?}");
        }
        if !has_dkimpy {
            skip("what_counts_as_usable_is_the_same_key_to_other_verifiers", "dkimpy is not installed");
            continue;
        }
        let keys = as_dkimpy_reads_them(&[&[good][..], &usable].concat()).expect("dkimpy runs");
        for (record, found) in usable.iter().zip(&keys[1..]) {
            assert_eq!(*found, keys[0], "dkimpy: {record:?}");
        }
    }
}

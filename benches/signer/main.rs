//! How fast the signer is beside what cannot be avoided (the bare signature and SHA-256 of the same library) and beside
//! mail-auth's signer.
//!
//! Two parts. First a table of ratios, each from runs that take turns (floor, ours, mail-auth, floor, …), so that a machine
//! that others use at the same time slows all of them alike; `--table` prints only that. Then criterion's own measurements,
//! with reports and SVG plots in `target/criterion`. Which body a figure is of stands beside it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use criterion::{BenchmarkId, Criterion, Throughput};
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{DkimSigner, Done};
use postbud::dkim::{Profile, Selector, Signer, SigningKey};
use postbud::message::{Field, headers};
use postbud::smtp::Domain;
use postbud::time::Timestamp;
use rustls::pki_types::PrivateKeyDer;

#[path = "../corpus/mod.rs"]
mod corpus;
mod plot;

use corpus::{Message, Shape, newsletter};

const SIZES: [usize; 5] = [2_000, 10_000, 50_000, 250_000, 1_000_000];
const SEED: [u8; 32] = [7; 32];
/// What intake hands over at once.
const CHUNK: usize = 16 * 1024;

/// The same two keys in every form they are needed in.
struct Keys {
    rsa_pem: String,
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
    rsa_ours: Signer,
    ed25519_ours: Signer,
    both_ours: Signer,
    rsa_theirs: DkimSigner<RsaKey<Sha256>, Done>,
    ed25519_theirs: DkimSigner<Ed25519Key, Done>,
}

impl Keys {
    fn new() -> Self {
        let rsa_pem = SigningKey::generate_rsa(2048).expect("a key").to_pem().expect("PEM").to_string();
        let der =
            BASE64.decode(rsa_pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("base64");
        let rsa = || SigningKey::from_pem(rsa_pem.as_bytes()).expect("a key");
        let ed25519 = || SigningKey::from_ed25519_seed(&SEED).expect("a key");
        let signer = |keys: Vec<SigningKey>| {
            let domain = Domain::parse("test.dk").expect("a name");
            let selector = Selector::parse("postbud1").expect("a name");
            let profile = |key| Profile::new(domain.clone(), selector.clone(), key);
            Signer::new(keys.into_iter().map(profile).collect()).expect("profiles")
        };
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key");
        let public = ed25519().public_key().expect("a public key");
        let rsa_theirs = RsaKey::<Sha256>::from_key_der(PrivateKeyDer::try_from(der.clone()).expect("PKCS#8"));
        let ed25519_theirs = Ed25519Key::from_seed_and_public_key(&SEED, &public);
        Keys {
            rsa: RsaKeyPair::from_pkcs8(&der).expect("a key"),
            ed25519: pair,
            rsa_ours: signer(vec![rsa()]),
            ed25519_ours: signer(vec![ed25519()]),
            both_ours: signer(vec![rsa(), ed25519()]),
            rsa_theirs: theirs(rsa_theirs.expect("a key")),
            ed25519_theirs: theirs(ed25519_theirs.expect("a key")),
            rsa_pem,
        }
    }
}

fn theirs<T: mail_auth::common::crypto::SigningKey>(key: T) -> DkimSigner<T, Done> {
    // The names of our default list that the corpus has, so that both sign the same fields.
    DkimSigner::from_key(key).domain("test.dk").selector("postbud1").headers([
        "From",
        "Reply-To",
        "Subject",
        "To",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "List-Id",
        "Feedback-ID",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    ])
}

/// A message in the forms the contenders take.
struct Case {
    message: Message,
    whole: Vec<u8>,
}

impl Case {
    fn new(shape: Shape, size: usize) -> Self {
        let message = newsletter(shape, size, 1);
        Case { whole: message.octets(), message }
    }

    fn body_hash(&self, signer: &Signer) -> postbud::dkim::BodyHash {
        let mut hasher = signer.body_hasher();
        self.message.body.chunks(CHUNK).for_each(|chunk| hasher.update(chunk));
        hasher.finish()
    }

    /// All that intake and signer do for a message.
    fn ours(&self, signer: &Signer) {
        let body = self.body_hash(signer);
        let fields: Vec<Field<'_>> = headers::fields(&self.message.header).map(|f| f.expect("a field")).collect();
        let mut out = Vec::new();
        signer.sign(&fields, &body, Timestamp::from_millis(1_795_458_240_000), &mut out).expect("signed");
        black_box(out);
    }

    fn rsa_floor(&self, keys: &Keys) {
        let hash = digest(&SHA256, &self.whole);
        let mut signature = [0; 256];
        keys.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), hash.as_ref(), &mut signature).expect("signed");
        black_box(signature);
    }

    fn ed25519_floor(&self, keys: &Keys) {
        black_box(keys.ed25519.sign(digest(&SHA256, &self.whole).as_ref()));
    }

    fn theirs<T: mail_auth::common::crypto::SigningKey>(&self, signer: &DkimSigner<T, Done>) {
        black_box(signer.sign(&self.whole).expect("signed").to_header());
    }

    fn sha256(&self) {
        black_box(digest(&SHA256, &self.message.body));
    }
}

/// Medians of a call's time, of contenders that take turns.
fn in_turn(contenders: &mut [&mut dyn FnMut()], budget: Duration) -> Vec<f64> {
    let time = |work: &mut dyn FnMut(), calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed().as_secs_f64() / f64::from(calls)
    };
    contenders.iter_mut().for_each(|work| (0..3).for_each(|_| work()));
    // A turn of about a millisecond is short beside a time slice and long beside the clock.
    let calls: Vec<u32> =
        contenders.iter_mut().map(|work| (1e-3 / time(*work, 3)).ceil().clamp(1.0, 1000.0) as u32).collect();
    let mut times = vec![Vec::new(); contenders.len()];
    let start = Instant::now();
    while start.elapsed() < budget || times[0].len() < 15 {
        for ((work, calls), times) in contenders.iter_mut().zip(&calls).zip(&mut times) {
            times.push(time(*work, *calls));
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            // The lower quartile: what the machine's other users add is never negative.
            times.sort_by(f64::total_cmp);
            times[times.len() / 4]
        })
        .collect()
}

fn table(keys: &Keys) {
    const BUDGET: Duration = Duration::from_millis(1500);
    println!(
        "Times in µs, lower quartile of turns; × is against the floor (bare signature + SHA-256 of the message).\n"
    );
    println!(
        "body    size      RSA: floor    ours     ×  mail-auth     ×   Ed25519: floor    ours     ×  mail-auth     ×   both/RSA"
    );
    let mut plotted = Vec::new();
    for shape in Shape::ALL {
        for size in SIZES {
            let case = Case::new(shape, size);
            let t: Vec<f64> = in_turn(
                &mut [
                    &mut || case.rsa_floor(keys),
                    &mut || case.ours(&keys.rsa_ours),
                    &mut || case.theirs(&keys.rsa_theirs),
                    &mut || case.ours(&keys.both_ours),
                    &mut || case.ed25519_floor(keys),
                    &mut || case.ours(&keys.ed25519_ours),
                    &mut || case.theirs(&keys.ed25519_theirs),
                ],
                BUDGET,
            )
            .into_iter()
            .map(|seconds| seconds * 1e6)
            .collect();
            println!(
                "{:<7} {:<9} {:>10.1} {:>7.1} {:>5.3} {:>10.1} {:>5.3} {:>16.1} {:>7.1} {:>5.2} {:>10.1} {:>5.2} {:>10.3}",
                shape.name(),
                size,
                t[0],
                t[1],
                t[1] / t[0],
                t[2],
                t[2] / t[0],
                t[4],
                t[5],
                t[5] / t[4],
                t[6],
                t[6] / t[4],
                t[3] / t[1],
            );
            plotted.push((shape, size, t));
        }
    }
    println!("\nRelaxed body hash: canonicalization and SHA-256 together, as a share of SHA-256's own throughput.\n");
    println!("body    size      SHA-256 MB/s   ours MB/s   share");
    for shape in Shape::ALL {
        for size in SIZES {
            let case = Case::new(shape, size);
            let t = in_turn(
                &mut [&mut || case.sha256(), &mut || {
                    black_box(case.body_hash(&keys.rsa_ours));
                }],
                BUDGET / 3,
            );
            let rate = |seconds: f64| case.message.body.len() as f64 / seconds / 1e6;
            println!(
                "{:<7} {:<9} {:>12.0} {:>11.0} {:>6.1}%",
                shape.name(),
                size,
                rate(t[0]),
                rate(t[1]),
                100.0 * t[0] / t[1],
            );
        }
    }
    let path = "target/signer.svg";
    match plot::ratios(path, &plotted) {
        Ok(()) => println!("\nPlot: {path}"),
        Err(error) => eprintln!("{path}: {error}"),
    }
}

fn measurements(keys: &Keys) {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for shape in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("body-{}", shape.name()));
        for size in SIZES {
            let case = Case::new(shape, size);
            group.throughput(Throughput::Bytes(case.message.body.len() as u64));
            group.bench_function(BenchmarkId::new("sha256", size), |b| b.iter(|| case.sha256()));
            group.bench_function(BenchmarkId::new("relaxed", size), |b| b.iter(|| case.body_hash(&keys.rsa_ours)));
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("sign-html");
    for size in SIZES {
        let case = Case::new(Shape::IndentedHtml, size);
        let mut bench = |name: &str, work: &dyn Fn()| {
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(work));
        };
        bench("rsa-floor", &|| case.rsa_floor(keys));
        bench("rsa", &|| case.ours(&keys.rsa_ours));
        bench("rsa-mail-auth", &|| case.theirs(&keys.rsa_theirs));
        bench("rsa-and-ed25519", &|| case.ours(&keys.both_ours));
        bench("ed25519-floor", &|| case.ed25519_floor(keys));
        bench("ed25519", &|| case.ours(&keys.ed25519_ours));
        bench("ed25519-mail-auth", &|| case.theirs(&keys.ed25519_theirs));
    }
    group.finish();
    criterion.final_summary();
}

fn main() {
    let keys = Keys::new();
    assert!(keys.rsa_pem.starts_with("-----BEGIN"));
    table(&keys);
    if !std::env::args().any(|arg| arg == "--table") {
        measurements(&keys);
    }
}

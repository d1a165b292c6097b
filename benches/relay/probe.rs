//! What the machine itself can do, measured in the same run: the raw RSA operation and the disk's own fdatasync. Every
//! verdict is a ratio to these. And what the machine was kept from doing, where it is a guest among others.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use hdrhistogram::Histogram;
use postbud::load::clock;
use serde::Serialize;

/// CPU microseconds of one RSA-2048 signature with aws-lc-rs over a hash-sized message: the median of many.
pub fn rsa_us(key: &RsaKeyPair, rounds: usize) -> f64 {
    let random = SystemRandom::new();
    let mut signature = vec![0; key.public_modulus_len()];
    median(rounds, || {
        key.sign(&RSA_PKCS1_SHA256, &random, &[7; 32], &mut signature).expect("a sound key signs");
    })
}

fn median(rounds: usize, mut operation: impl FnMut()) -> f64 {
    let mut times: Vec<u64> = (0..rounds)
        .map(|_| {
            let before = clock::thread_cpu_ns();
            operation();
            clock::thread_cpu_ns() - before
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2] as f64 / 1_000.0
}

/// Ticks of all cores since the machine started.
#[derive(Clone, Copy)]
pub struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    /// Up to now, from proc(5) /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
    pub fn now() -> Ticks {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(|word| word.parse().unwrap_or(0)).collect();
        Ticks { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The share of the cores' time since then in which something wanted to run and the hypervisor ran other guests.
    pub fn stolen_since(self) -> f64 {
        let now = Ticks::now();
        (now.stolen - self.stolen) as f64 / (now.all - self.all).max(1) as f64
    }
}

/// Quantiles of a duration, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    /// Half of the values are at most this.
    pub p50: u64,
    /// Nine of ten values are at most this.
    pub p90: u64,
    /// 99 of 100 values are at most this.
    pub p99: u64,
    /// 999 of 1,000 values are at most this.
    pub p999: u64,
    /// The longest duration.
    pub max: u64,
    /// How many values were measured.
    pub count: u64,
}

impl Quantiles {
    /// Of a histogram over microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |q| histogram.value_at_quantile(q);
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            count: histogram.len(),
        }
    }
}

/// How long `fdatasync` takes on the file system of `dir` after an append of 16 KiB to a preallocated file, as a spool
/// does it; nothing else of this run is going on meanwhile.
pub fn fdatasync(dir: &Path, rounds: usize) -> std::io::Result<Quantiles> {
    let path = dir.join("fdatasync-probe");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let block = vec![0x55_u8; 16 * 1024];
    let mut histogram = Histogram::<u64>::new_with_max(3_600_000_000, 3).expect("three digits are allowed");
    for _ in 0..rounds {
        file.write_all(&block)?;
        file.flush()?;
        let before = clock::now();
        file.sync_data()?;
        histogram.saturating_record(clock::now() - before);
        // Spread out a little, as commits are; back to back, some disks merge them.
        std::thread::sleep(Duration::from_micros(200));
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok(Quantiles::of(&histogram))
}

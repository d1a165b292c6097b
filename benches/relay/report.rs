//! The results of a run, as a table for people and as JSON for machines.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use postbud::load::Sent;
use serde::Serialize;

use super::check::{Books, Signatures};
use super::probe::Quantiles;
use super::process::Usage;
use super::sink::Arrival;
use super::{sink, source};

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The options, as a line.
    pub what: String,
    /// Whether every message arrived exactly once.
    pub books: Books,
    /// The check of the signatures; `None` if they were not checked.
    pub signatures: Option<Signatures>,
    /// Messages answered 250 a second, from the first MAIL to the last 250.
    pub accepted_per_s: f64,
    /// Messages delivered to all recipients a second, from the first MAIL to the last arrival.
    pub delivered_per_s: f64,
    /// End of DATA to 250, corrected for coordinated omission in open loop, microseconds.
    pub to_250: Quantiles,
    /// Due to 250: the whole transaction, with connection, TLS and AUTH where each message has its own.
    pub transaction: Quantiles,
    /// End of DATA to the arrival at the sink.
    pub to_delivery: Quantiles,
    /// Transactions refused for now (4xx) at the door.
    pub refused_for_now: u64,
    /// Connections made to the relay.
    pub connections_in: u64,
    /// The share of those connections that resumed TLS.
    pub resumed_in: f64,
    /// Connections the relay made.
    pub connections_out: u64,
    /// What the relay alone used.
    pub relay: Option<Usage>,
    /// What PostgreSQL used, if the spool was there.
    pub postgres: Option<Usage>,
    /// How long a bare COPY of one batch took there.
    pub copy: Option<Quantiles>,
    /// Syncs, from the relay's own metrics.
    pub fsyncs: Option<f64>,
    /// CPU of one raw RSA operation, one core busy, microseconds.
    pub rsa_us: f64,
    /// The same with all cores busy.
    pub rsa_busy_us: f64,
    /// Cores of this machine.
    pub cores: usize,
    /// The disk's own fdatasync.
    pub fdatasync: Quantiles,
    /// The share of the cores' time that other guests of the same hardware had.
    pub stolen: f64,
    /// CPU of the source, in microseconds a message.
    pub source_us: f64,
    /// CPU of the sink, in microseconds a message.
    pub sink_us: f64,
    /// What the source could not do, the first few.
    pub failures: Vec<String>,
    /// Accepted and delivered in each tenth of a second.
    pub series: Series,
    /// Resident memory of the relay, sampled through the run, octets.
    pub memory: Vec<u64>,
    /// Counts for the latency plot: microseconds and how many, end of DATA to 250.
    pub histogram_250: Vec<(u64, u64)>,
    /// The same for delivery.
    pub histogram_delivery: Vec<(u64, u64)>,
}

/// Events in each tenth of a second since the first MAIL.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Series {
    /// Messages that the relay accepted.
    pub accepted: Vec<u64>,
    /// Messages that arrived at the sink.
    pub delivered: Vec<u64>,
}

/// What was measured around a run.
pub struct Around {
    /// The options, as a line.
    pub what: String,
    /// Recipients of each message.
    pub recipients: usize,
    /// What checking the signatures of the delivered mail showed, if it was asked for.
    pub signatures: Option<Signatures>,
    /// The relay's consumption during the run.
    pub relay: Option<Usage>,
    /// The same of PostgreSQL.
    pub postgres: Option<Usage>,
    /// How long a bare COPY of one batch took.
    pub copy: Option<Quantiles>,
    /// How often the spool synced; `None` if it was not counted.
    pub fsyncs: Option<f64>,
    /// Its memory over time.
    pub memory: Vec<u64>,
    /// CPU microseconds of raw RSA, one core and all cores busy.
    pub rsa: (f64, f64),
    /// How long a sync takes on the disk of the spool.
    pub fdatasync: Quantiles,
    /// Of the cores' time, what other guests had.
    pub stolen: f64,
}

impl Outcome {
    /// Puts the two ends' notes together.
    pub fn new(around: Around, source: &source::Report, sink: &sink::Report) -> Outcome {
        let books = Books::balance(&source.sent, &sink.arrivals, around.recipients);
        let accepted: Vec<&Sent> = source.sent.iter().filter(|s| s.code == 250).collect();
        let first = source.sent.iter().map(|s| s.began).min().unwrap_or(0);
        let last_250 = accepted.iter().map(|s| s.answered).max().unwrap_or(first);
        let last_arrival = sink.arrivals.iter().map(|a| a.at).max().unwrap_or(first);
        let per_s = |count: f64, end: u64| count / ((end - first).max(1) as f64 / 1e6);
        let messages = source.sent.len().max(1) as f64;

        let mut to_250 = histogram();
        let mut transaction = histogram();
        let mut to_delivery = histogram();
        let mut end_of_data = vec![None; source.sent.iter().map(|s| s.number as usize + 1).max().unwrap_or(0)];
        for s in &accepted {
            to_250.saturating_record(s.end_of_data_to_reply());
            transaction.saturating_record(s.transaction());
            end_of_data[s.number as usize] = Some(s.end_of_data - s.waited());
        }
        for arrival in &sink.arrivals {
            if let Some(Some(end)) = end_of_data.get(arrival.number as usize) {
                to_delivery.saturating_record(arrival.at.saturating_sub(*end));
            }
        }
        Outcome {
            what: around.what,
            accepted_per_s: per_s(books.accepted as f64, last_250),
            delivered_per_s: per_s(books.copies as f64 / around.recipients.max(1) as f64, last_arrival),
            to_250: Quantiles::of(&to_250),
            transaction: Quantiles::of(&transaction),
            to_delivery: Quantiles::of(&to_delivery),
            refused_for_now: source.sent.iter().map(|s| u64::from(s.refused)).sum(),
            connections_in: source.connections,
            resumed_in: source.resumed as f64 / source.connections.max(1) as f64,
            connections_out: sink.connections,
            relay: around.relay,
            postgres: around.postgres,
            copy: around.copy,
            fsyncs: around.fsyncs,
            rsa_us: around.rsa.0,
            rsa_busy_us: around.rsa.1,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            fdatasync: around.fdatasync,
            stolen: around.stolen,
            source_us: source.cpu_us as f64 / messages,
            sink_us: sink.cpu_us as f64 / messages,
            failures: source.failures.clone(),
            series: series(first, &accepted, &sink.arrivals),
            memory: around.memory,
            histogram_250: buckets(&to_250),
            histogram_delivery: buckets(&to_delivery),
            signatures: around.signatures,
            books,
        }
    }

    /// CPU microseconds of the relay for each accepted message.
    pub fn cpu_us(&self) -> Option<f64> {
        let relay = self.relay?;
        Some((relay.user_us + relay.system_us) as f64 / self.books.accepted.max(1) as f64)
    }

    /// CPU microseconds of PostgreSQL for each accepted message.
    pub fn postgres_us(&self) -> Option<f64> {
        let used = self.postgres?;
        Some((used.user_us + used.system_us) as f64 / self.books.accepted.max(1) as f64)
    }

    /// The text table.
    pub fn table(&self) -> String {
        let mut t = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(t, "  {name:<26} {value}");
        };
        let b = &self.books;
        row("run", self.what.clone());
        row("accepted", format!("{} at {:.0}/s", b.accepted, self.accepted_per_s));
        row("delivered", format!("{} copies, messages at {:.0}/s", b.copies, self.delivered_per_s));
        row("end of DATA to 250", micros(&self.to_250));
        row("transaction", micros(&self.transaction));
        row("end of DATA to delivery", micros(&self.to_delivery));
        row("fdatasync of this disk", micros(&self.fdatasync));
        row(
            "raw RSA-2048",
            format!("{:.0} µs, {:.0} µs with all {} cores busy", self.rsa_us, self.rsa_busy_us, self.cores),
        );
        row("stolen from the cores", format!("{:.1} %", self.stolen * 100.0));
        let n = b.accepted.max(1) as f64;
        if let (Some(relay), Some(cpu)) = (self.relay, self.cpu_us()) {
            row(
                "relay CPU a message",
                format!(
                    "{cpu:.0} µs ({:.0} user, {:.0} sys) = {:.2} × RSA ({:.2} × RSA on busy cores)",
                    relay.user_us as f64 / n,
                    relay.system_us as f64 / n,
                    cpu / self.rsa_us,
                    cpu / self.rsa_busy_us
                ),
            );
            row(
                "relay a message",
                format!(
                    "{:.0} octets to disk, {:.1} sleeps{}",
                    relay.written as f64 / n,
                    relay.sleeps as f64 / n,
                    self.fsyncs.map_or(String::new(), |f| format!(", {:.3} syncs", f / n))
                ),
            );
            row("relay peak memory", format!("{:.1} MB", relay.peak_memory as f64 / 1e6));
        }
        if let (Some(used), Some(cpu)) = (self.postgres, self.postgres_us()) {
            row("PostgreSQL a message", format!("{cpu:.0} µs CPU, {:.0} octets to disk", used.written as f64 / n));
        }
        if let Some(copy) = &self.copy {
            row("bare COPY of one batch", micros(copy));
        }
        row("source, sink CPU", format!("{:.0} µs, {:.0} µs a message", self.source_us, self.sink_us));
        row(
            "connections",
            format!(
                "{} in ({:.0} % resumed TLS), {} out; {} refused for now",
                self.connections_in,
                self.resumed_in * 100.0,
                self.connections_out,
                self.refused_for_now
            ),
        );
        let verdict = if b.exactly_once() { "every message once" } else { "NOT EXACTLY ONCE" };
        row(
            "books",
            format!(
                "{verdict}: {} missing, {} twice, {} unasked, {} unknown, {} refused",
                b.missing, b.duplicates, b.unasked, b.unknown, b.refused
            ),
        );
        if let Some(s) = &self.signatures {
            let why = s.first_failure.as_deref().map_or(String::new(), |why| format!(": {why}"));
            row("signatures", format!("{} of {} good{why}", s.good, s.checked));
        }
        for failure in &self.failures {
            row("failure", failure.clone());
        }
        t
    }

    /// Returns true if nothing was lost, doubled or badly signed.
    pub fn sound(&self) -> bool {
        self.books.exactly_once() && self.signatures.as_ref().is_none_or(|s| s.good == s.checked && s.checked > 0)
    }
}

/// The longest that is told apart, in microseconds.
const HOUR_US: u64 = 3_600_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(HOUR_US, 3).expect("three digits are allowed")
}

fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_log(50, 1.25).map(|v| (v.value_iterated_to(), v.count_since_last_iteration())).collect()
}

fn series(first: u64, accepted: &[&Sent], arrivals: &[Arrival]) -> Series {
    let mut series = Series::default();
    let mut add = |line: fn(&mut Series) -> &mut Vec<u64>, at: u64| {
        let tenth = (at.saturating_sub(first) / 100_000) as usize;
        let line = line(&mut series);
        if line.len() <= tenth {
            line.resize(tenth + 1, 0);
        }
        line[tenth] += 1;
    };
    for sent in accepted {
        add(|s| &mut s.accepted, sent.answered);
    }
    for arrival in arrivals {
        add(|s| &mut s.delivered, arrival.at);
    }
    series
}

fn micros(q: &Quantiles) -> String {
    let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
    format!("p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms", ms(q.p50), ms(q.p90), ms(q.p99), ms(q.p999), ms(q.max))
}

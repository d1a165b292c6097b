//! The options of the harness: everything after `cargo bench --bench relay --`.

use std::net::SocketAddr;
use std::path::PathBuf;

use postbud::load::{Auth, Tls};

use super::mail::Shape;
use super::scratch::Signer;

/// Loads a relay and tells how fast and how lean it is.
///
/// Without --against, the release binary of this checkout is started on a scratch configuration. Source and sink are
/// processes of their own; only the relay's CPU is counted.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "relay",
    after_long_help = "\
Examples:
  cargo bench --bench relay                                    10 KB messages, 100 kept connections
  cargo bench --bench relay -- --per-connection 1 --tls-in starttls --auth-in login
                                                               as .NET's System.Net.Mail submits
  cargo bench --bench relay -- --rate 500 --messages 30000     open loop, for latency
  cargo bench --bench relay -- --mix --svg target/plots        newsletters, with plots
  cargo bench --bench relay -- --sweep sessions --svg target/plots
  cargo bench --bench relay -- --suite                         every target of the project, with verdicts
  cargo bench --bench relay -- --event-cost                    what the event log costs the path of a message
  cargo bench --bench relay -- --postgres                      the spool in PostgreSQL
  cargo bench --bench relay -- --suite --postgres --soak-minutes 60
                                                               every target of that spool, an hour with a held snapshot
  cargo bench --bench relay -- --against 127.0.0.1:2525 --sink-listen 127.0.0.1:2526 --pid 4711
                                                               a relay that already runs and delivers to port 2526"
)]
pub struct Options {
    /// How many messages.
    #[arg(short = 'n', long, default_value_t = 5000)]
    pub messages: u64,
    /// Octets of each message.
    #[arg(long, value_name = "OCTETS", default_value_t = 10_240)]
    pub size: usize,
    /// Newsletters of many sizes instead of one size.
    #[arg(long, conflicts_with = "size")]
    pub mix: bool,
    /// Connections at once.
    #[arg(long, default_value_t = 100)]
    pub sessions: usize,
    /// Messages a connection: 0 keeps connections, 1 closes after each, as .NET does.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub per_connection: u64,
    /// Messages a second (open loop); as fast as possible if absent.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub recipients: usize,
    /// Send MAIL, RCPT and DATA in one write.
    #[arg(long)]
    pub pipelining: bool,
    /// Transport security toward the relay.
    #[arg(long, value_enum, default_value_t)]
    pub tls_in: Tls,
    /// Authentication toward the relay.
    #[arg(long, value_enum, default_value_t)]
    pub auth_in: Auth,
    /// Transport security from the relay to the sink.
    #[arg(long, value_enum, default_value_t)]
    pub tls_out: Tls,
    /// The relay authenticates at the sink.
    #[arg(long)]
    pub auth_out: bool,
    /// Which keys sign.
    #[arg(long, value_enum, default_value_t)]
    pub signer: Signer,
    /// The relay's connections to the sink at once.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub concurrency: usize,
    /// Where the spool lies, and with it the disk that is measured; by default below the target directory.
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// The relay has its spool in a PostgreSQL of the harness's own, which runs on the same cores with fsync on. With --suite: the
    /// targets of that spool, each beside the embedded one or a bare COPY.
    #[arg(long, conflicts_with = "against")]
    pub postgres: bool,
    /// The relay keeps a record of what became of each mail, as `[events]` does.
    #[arg(long, conflicts_with = "against")]
    pub events: bool,
    /// The sink waits this long before it answers the final dot, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub sink_delay: u64,
    /// The share of transactions that the sink refuses with 451.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub sink_defer: f64,
    /// The share of transactions in which the sink drops the connection.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub sink_drop: f64,
    /// Where the sink listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub sink_listen: String,
    /// Load this relay instead of starting one.
    #[arg(long, value_name = "HOST:PORT")]
    pub against: Option<SocketAddr>,
    /// With --against: processes whose CPU and memory count, with all their children.
    #[arg(long = "pid", value_name = "PID", requires = "against")]
    pub pids: Vec<u32>,
    /// Keep keys, certificates and configuration here and use those that are there.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Only make what --scratch names, then end.
    #[arg(long, requires = "scratch")]
    pub prepare: bool,
    /// Another postbud binary than this checkout's.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Do not check signatures (for a relay that does not sign).
    #[arg(long)]
    pub unsigned: bool,
    /// Give up waiting for deliveries after this long without one, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub settle: u64,
    /// Use Postfix's smtp-source and smtp-sink instead of our own: their rate and the relay's CPU, nothing else.
    #[arg(long, conflicts_with_all = ["sweep", "suite", "rate"])]
    pub pair: bool,
    /// Vary one thing and plot it.
    #[arg(long, value_enum)]
    pub sweep: Option<Sweep>,
    /// Run every target of the project and print verdicts. Uses --messages for the length of each run.
    #[arg(long, group = "table", conflicts_with_all = ["against", "sweep"])]
    pub suite: bool,
    /// Compare the relay's CPU a message with and without `[events]`, in pairs of runs that take turns. Part of --suite.
    #[arg(long, group = "table", conflicts_with_all = ["against", "sweep", "pair"])]
    pub event_cost: bool,
    /// With --suite and --event-cost: the number of such pairs. The median counts.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    pub event_pairs: u32,
    /// With --suite: how often everything but the watch over memory is measured; each target's median counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// With --suite: how long memory is watched, in minutes; with --postgres, how long a snapshot is held.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub soak_minutes: f64,
    /// With --suite and --event-cost: put the table into benches/README.md, between the marks `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
    #[arg(long, value_name = "NAME", requires = "table")]
    pub readme: Option<String>,
    /// Write everything measured here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write plots into this directory.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Passed by cargo; means nothing.
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// What to vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sweep {
    /// 1 to 200 sessions.
    Sessions,
    /// 1 KB to 1 MB.
    Size,
}

impl Options {
    /// What the messages look like.
    pub fn shape(&self) -> Shape {
        if self.mix { Shape::Newsletters } else { Shape::Size(self.size) }
    }

    /// The run in one line.
    pub fn describe(&self) -> String {
        let size = if self.mix { "newsletters".to_owned() } else { format!("{} octets", self.size) };
        let loop_ = self.rate.map_or("as fast as possible".to_owned(), |rate| format!("{rate:.0}/s"));
        let connections = match self.per_connection {
            0 => "kept connections".to_owned(),
            1 => "a connection a message".to_owned(),
            n => format!("{n} messages a connection"),
        };
        let mut line = format!(
            "{} × {size}, {} sessions, {connections}, {loop_}, {} recipient(s), in: tls {:?} auth {:?}, out: tls {:?} × {}",
            self.messages, self.sessions, self.recipients, self.tls_in, self.auth_in, self.tls_out, self.concurrency
        );
        match self.against {
            Some(target) => line.push_str(&format!(", against {target}")),
            None => line.push_str(&format!(", signer {:?}", self.signer)),
        }
        if self.postgres {
            line.push_str(", spool in postgresql");
        }
        if self.events {
            line.push_str(", with events");
        }
        if self.sink_delay > 0 || self.sink_defer > 0.0 || self.sink_drop > 0.0 {
            line.push_str(&format!(
                ", sink waits {} ms, defers {}, drops {}",
                self.sink_delay, self.sink_defer, self.sink_drop
            ));
        }
        line.to_lowercase()
    }
}

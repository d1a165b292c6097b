//! The same load with Postfix's own smtp-source and smtp-sink, so that the numbers can be set beside those others publish.
//! They count messages and nothing else.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::options::Options;
use super::run::Bench;
use super::scratch::{DOMAIN, free_address};
use super::{probe, process};

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Messages sent and delivered.
    pub messages: u64,
    /// From the start of smtp-source until smtp-sink had them all.
    pub seconds: f64,
    /// Messages a second over that time.
    pub delivered_per_s: f64,
    /// The relay's CPU, microseconds a message.
    pub cpu_us: Option<f64>,
    /// Raw RSA-2048, microseconds.
    pub rsa_us: f64,
}

impl Outcome {
    /// In one line.
    pub fn line(&self) -> String {
        let cpu = self.cpu_us.map_or("unknown".to_owned(), |us| format!("{us:.0} µs = {:.2} × RSA", us / self.rsa_us));
        format!(
            "  smtp-source, smtp-sink: {} delivered at {:.0}/s, relay CPU a message {cpu}",
            self.messages, self.delivered_per_s
        )
    }
}

/// Runs both programs in turns and compares them.
pub fn run(bench: &Bench, options: &Options) -> anyhow::Result<Outcome> {
    let sink_address: SocketAddr = match options.sink_listen.as_str() {
        "127.0.0.1:0" => free_address()?,
        given => given.parse().with_context(|| format!("{given} is not an address and a port"))?,
    };
    let messages = options.messages.to_string();
    // -M: ends by itself after that many messages.
    let listen = sink_address.to_string();
    let mut arguments = vec!["-M", &messages, &listen, "4096"];
    if rustix::process::geteuid().is_root() {
        // It refuses to run as root.
        arguments.splice(0..0, ["-u", "nobody"]);
    }
    let mut sink = Tool::start("smtp-sink", &arguments)?;
    let state = bench.spool.join(format!("state-pair-{}", std::process::id()));
    let relay = match options.against {
        Some(_) => None,
        None => Some(bench.start_relay(options, sink_address, &state, "pair")?),
    };
    let target = options.against.or(relay.as_ref().map(|r| r.listen)).expect("either runs already or was started");
    let pids = relay.as_ref().map_or(options.pids.clone(), |r| vec![r.pid()]);
    std::thread::sleep(Duration::from_millis(300));
    let rsa_us = probe::rsa_us(bench.scratch.rsa(), 400);
    let before = process::usage(&pids);
    let began = Instant::now();
    let from = format!("news@{DOMAIN}");
    let mut source = Tool::start(
        "smtp-source",
        &[
            "-d",
            "-s",
            &options.sessions.to_string(),
            "-m",
            &messages,
            "-l",
            &options.size.to_string(),
            "-f",
            &from,
            "-t",
            "reader@example.net",
            &target.to_string(),
        ],
    )?;
    // Generous: a peer at 10 messages a second still passes.
    let patience = Duration::from_secs(options.settle + options.messages / 10);
    source.finish(began + patience)?;
    sink.finish(began + patience)?;
    let seconds = began.elapsed().as_secs_f64();
    let used = process::usage(&pids) - before;
    if let Some(relay) = relay {
        relay.stop()?;
    }
    // A scratch spool is of no use once its messages were counted.
    let _ = fs::remove_dir_all(&state);
    Ok(Outcome {
        messages: options.messages,
        seconds,
        delivered_per_s: options.messages as f64 / seconds,
        cpu_us: (!pids.is_empty()).then(|| (used.user_us + used.system_us) as f64 / options.messages as f64),
        rsa_us,
    })
}

/// A program that is killed if it is left behind.
struct Tool {
    name: &'static str,
    child: Child,
}

impl Tool {
    fn start(name: &'static str, arguments: &[&str]) -> anyhow::Result<Self> {
        let child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{name} does not start; it comes with Postfix"))?;
        Ok(Tool { name, child })
    }

    fn finish(&mut self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{} is not done in time", self.name);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Does nothing for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

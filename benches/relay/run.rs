//! One run: relay, sink and source as processes, measured from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use postbud::load::{Auth, Tls};
use serde::Serialize;

use super::database::Database;
use super::options::Options;
use super::report::{Around, Outcome};
use super::scratch::{self, Relay, Scratch, Setup};
use super::{check, probe, process, sink, source};

/// What stays the same over the runs of one call.
pub struct Bench {
    /// Keys, certificates, configuration.
    pub scratch: Scratch,
    /// Where the spools go.
    pub spool: PathBuf,
    /// The program that is measured.
    pub program: PathBuf,
    runs: AtomicU64,
    /// The database of runs with their spool there.
    database: Option<Database>,
}

impl Bench {
    /// Prepares the scratch directory.
    pub fn new(options: &Options, program: &Path, target: &Path) -> anyhow::Result<Self> {
        let dir = options.scratch.clone().unwrap_or_else(|| target.join(format!("load-{}", std::process::id())));
        let scratch = Scratch::new(&dir)?;
        let spool = options.spool.clone().unwrap_or_else(|| dir.clone());
        fs::create_dir_all(&spool)?;
        let program = options.program.clone().unwrap_or_else(|| program.to_owned());
        let database = options.postgres.then(|| Database::start(&spool)).transpose()?;
        Ok(Bench { scratch, spool, program, runs: AtomicU64::new(0), database })
    }

    /// The database of runs with their spool there.
    pub fn database(&self) -> anyhow::Result<&Database> {
        self.database.as_ref().context("there is no database without --postgres")
    }

    /// One run from start to end.
    pub fn run(&self, options: &Options) -> anyhow::Result<Outcome> {
        let serial = self.runs.fetch_add(1, Ordering::Relaxed);
        let run = format!("{:x}x{serial}", std::process::id());
        let ticks = probe::Ticks::now();
        let rsa = probe::rsa_us(self.scratch.rsa(), 400);
        let rsa_busy = self.rsa_on_all_cores();
        let disk = probe::fdatasync(&self.spool, 300).context("measuring fdatasync")?;
        let database = options.postgres.then(|| self.database()).transpose()?;
        let copy = database.map(|database| database.copy(options.size)).transpose().context("measuring COPY")?;
        let database_pids: Vec<u32> = database.map(Database::pid).transpose()?.into_iter().collect();
        let schema = format!("run_{run}");

        let mut sink = self.start_sink(options, &run)?;
        let state = self.spool.join(format!("state-{run}"));
        let relay = match options.against {
            Some(_) => None,
            None => Some(self.start_relay(options, sink.address, &state, &schema)?),
        };
        let target = options.against.or(relay.as_ref().map(|r| r.listen)).expect("either runs already or was started");
        let pids = relay.as_ref().map_or(options.pids.clone(), |r| vec![r.pid()]);
        std::thread::sleep(Duration::from_millis(300));

        let before = (process::usage(&pids), process::usage(&database_pids));
        let syncs_before = relay.as_ref().and_then(|r| r.metric(SYNCS));
        let mut source = self.start_source(options, &run, target)?;
        let mut memory = Vec::new();
        let bar = progress_bar(options.messages * options.recipients as u64);
        let mut watch = |bar: &ProgressBar, accepted: u64, delivered: u64| {
            bar.set_position(delivered);
            bar.set_message(format!("{accepted} accepted"));
            memory.push(process::resident(&pids));
            std::thread::sleep(Duration::from_millis(50));
        };
        while source.running()? {
            watch(&bar, source.count(), sink.count());
        }
        let sent: source::Report = source.finish()?;
        let owed = sent.sent.iter().filter(|s| s.code == 250).count() as u64 * options.recipients as u64;
        let (mut seen, mut since) = (sink.count(), Instant::now());
        while sink.count() < owed && since.elapsed() < Duration::from_secs(options.settle) {
            watch(&bar, sent.sent.len() as u64, sink.count());
            if sink.count() > seen {
                (seen, since) = (sink.count(), Instant::now());
            }
        }
        bar.finish_and_clear();
        // The last settlements are written a moment after the last 250 of the sink.
        std::thread::sleep(Duration::from_millis(100));
        let used = (!pids.is_empty()).then(|| process::usage(&pids) - before.0);
        let postgres = database.map(|_| process::usage(&database_pids) - before.1);
        let syncs = relay.as_ref().and_then(|r| Some(r.metric(SYNCS)? - syncs_before?));
        if let Some(relay) = relay {
            relay.stop()?;
        }
        sink.ask_to_stop();
        let taken: sink::Report = sink.finish()?;
        let signatures = if options.unsigned { None } else { Some(self.verify(&run)?) };
        // A scratch spool is of no use to anybody once its messages were counted.
        let _ = fs::remove_dir_all(&state);
        if let Some(database) = database {
            database.forget(&schema);
        }
        let around = Around {
            what: options.describe(),
            recipients: options.recipients,
            signatures,
            relay: used,
            postgres,
            copy,
            fsyncs: syncs,
            memory,
            rsa: ((rsa + probe::rsa_us(self.scratch.rsa(), 400)) / 2.0, rsa_busy),
            fdatasync: disk,
            stolen: ticks.stolen_since(),
        };
        Ok(Outcome::new(around, &sent, &taken))
    }

    fn rsa_on_all_cores(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| probe::rsa_us(self.scratch.rsa(), 400))).collect();
            threads.into_iter().map(|t| t.join().expect("the probe does not panic")).sum::<f64>() / cores as f64
        })
    }

    /// A postbud on a spool of its own, set up as the options say.
    pub fn start_relay(
        &self,
        options: &Options,
        sink: SocketAddr,
        state: &Path,
        schema: &str,
    ) -> anyhow::Result<Relay> {
        let spool = match options.postgres {
            true => self.database()?.spool(schema),
            false => String::new(),
        };
        let setup = Setup {
            signer: options.signer,
            tls_in: options.tls_in,
            auth_in: options.auth_in != Auth::Off,
            tls_out: options.tls_out,
            auth_out: options.auth_out,
            concurrency: options.concurrency,
            sink,
            message_size: (options.size as u64 * 2).max(25 << 20),
            spool,
            events: options.events,
        };
        let (listen, web) = self.scratch.configure(&setup, state)?;
        Relay::start(&self.program, &self.scratch, listen, web)
    }

    fn start_sink(&self, options: &Options, run: &str) -> anyhow::Result<Worker> {
        let tls = options.tls_out;
        let settings = sink::Settings {
            listen: options.sink_listen.clone(),
            run: run.to_owned(),
            delay_ms: options.sink_delay,
            defer: options.sink_defer,
            drop: options.sink_drop,
            tls,
            certificate: (tls != Tls::Off).then(|| self.scratch.path("server.pem")),
            private_key: (tls != Tls::Off).then(|| self.scratch.path("server.key")),
            auth: if options.auth_out { Auth::Plain } else { Auth::Off },
            username: scratch::USERNAME.to_owned(),
            password: scratch::PASSWORD.to_owned(),
            sample_every: (options.messages / 100).max(1),
        };
        Worker::start(&self.scratch, "sink", run, &settings)
    }

    fn start_source(&self, options: &Options, run: &str, target: SocketAddr) -> anyhow::Result<Worker> {
        let settings = source::Settings {
            target,
            run: run.to_owned(),
            messages: options.messages,
            sessions: options.sessions,
            per_connection: options.per_connection,
            rate: options.rate,
            recipients: options.recipients,
            pipelining: options.pipelining,
            tls: options.tls_in,
            ca: (options.tls_in != Tls::Off).then(|| self.scratch.path("ca.pem")),
            auth: options.auth_in,
            username: scratch::USERNAME.to_owned(),
            password: scratch::PASSWORD.to_owned(),
            shape: options.shape(),
            from_domain: scratch::DOMAIN.to_owned(),
        };
        Worker::start(&self.scratch, "source", run, &settings)
    }

    fn verify(&self, run: &str) -> anyhow::Result<check::Signatures> {
        let dir = samples_dir(&self.scratch, run);
        let mut samples = Vec::new();
        for entry in fs::read_dir(&dir)? {
            samples.push(fs::read(entry?.path())?);
        }
        fs::remove_dir_all(dir)?;
        let records = self.scratch.records()?;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(check::signatures(&samples, &records))
    }
}

/// The relay's counter of syncs.
const SYNCS: &str = "spool_syncs";

fn samples_dir(scratch: &Scratch, run: &str) -> PathBuf {
    scratch.path(&format!("sink-{run}.samples"))
}

fn progress_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} delivered, {msg}, {per_sec}")
        .expect("the template above is valid");
    ProgressBar::new(length).with_style(style)
}

/// Source or sink as a process of its own: this program again, with a settings file and a report file.
struct Worker {
    child: Child,
    address: SocketAddr,
    count: Arc<AtomicU64>,
    report: PathBuf,
}

impl Worker {
    fn start(scratch: &Scratch, role: &str, run: &str, settings: &impl Serialize) -> anyhow::Result<Self> {
        let name = scratch.path(&format!("{role}-{run}"));
        let (settings_file, report) = (name.with_extension("settings"), name.with_extension("report"));
        fs::write(&settings_file, serde_json::to_vec(settings)?)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([role.as_ref(), settings_file.as_os_str(), report.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut first = String::new();
        lines.read_line(&mut first)?;
        let address = first.trim().parse().with_context(|| format!("the {role} did not start: {first}"))?;
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                counted.store(line.trim().parse().unwrap_or(0), Ordering::Relaxed);
            }
        });
        Ok(Worker { child, address, count, report })
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    fn ask_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    fn finish<R: serde::de::DeserializeOwned>(mut self) -> anyhow::Result<R> {
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "source or sink ended with {status}");
        let report = serde_json::from_slice(&fs::read(&self.report)?)?;
        fs::remove_file(&self.report)?;
        Ok(report)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nothing to do for one that ended; one that was left behind by an error must not linger.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The life of a source or sink process: `role settings-file report-file`.
pub fn worker(role: &str, settings: &Path, report: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match role {
        "source" => {
            let settings: source::Settings = serde_json::from_slice(&bytes)?;
            println!("{}", settings.target);
            let done = runtime.block_on(source::run(settings, |count| println!("{count}")))?;
            fs::write(report, serde_json::to_vec(&done)?)?;
        }
        _ => {
            let settings: sink::Settings = serde_json::from_slice(&bytes)?;
            let done = runtime.block_on(async {
                let listener = listen(&settings.listen)?;
                println!("{}", listener.local_addr()?);
                sink::run(listener, settings, stdin_closed(), |count| println!("{count}")).await
            })?;
            let samples = report.with_extension("samples");
            fs::create_dir_all(&samples)?;
            for (i, sample) in done.samples.iter().enumerate() {
                fs::write(samples.join(format!("{i}.eml")), sample)?;
            }
            fs::write(report, serde_json::to_vec(&done)?)?;
        }
    }
    Ok(())
}

/// With a backlog that no burst overruns: a connection that finds it full waits whole seconds.
fn listen(address: &str) -> anyhow::Result<tokio::net::TcpListener> {
    let address: SocketAddr = address.parse().with_context(|| format!("{address} is not an address and a port"))?;
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket.listen(4096)?)
}

async fn stdin_closed() {
    let wait = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {}
    });
    // A panicking reader means that standard input is of no use: stop then, too.
    let _ = wait.await;
}

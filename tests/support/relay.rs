//! The real binary as a separate process, with a scratch configuration.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::client::{self, Client};
use super::{contract, http, ports};

/// The name with which submitters log in.
pub const USERNAME: &str = "webcrm";
/// The password with which submitters log in.
pub const PASSWORD: &str = "hemmeligt-kodeord-42";

/// A scratch folder with configuration, keys and state of one relay.
pub struct Site {
    dir: tempfile::TempDir,
    /// The address at which it accepts mail: `127.0.0.1`, with plaintext login.
    pub smtp: SocketAddr,
    /// The address of its pages.
    pub web: SocketAddr,
    /// The process in whose network namespace the relay runs, if not in the test's.
    namespace: Option<u32>,
}

/// A customer's file to write.
pub struct Customer<'a> {
    /// The id of the customer.
    pub id: &'a str,
    /// Its From domain.
    pub domain: &'a str,
    /// The lines of `[route]` and the following lines.
    pub route: String,
}

/// Returns a plaintext route to the customer's own server `server`.
pub fn plain_route(server: SocketAddr) -> String {
    format!("via = \"own-server\"\nhost = \"{}\"\nport = {}\ntls = \"off\"\n", server.ip(), server.port())
}

/// Returns a port of the loopback address that no other test uses.
pub fn free_port() -> SocketAddr {
    ports::free_port("127.0.0.1")
}

/// Returns the program under test: `POSTBUD_BINARY`, for example a release build, or the one that was built with the tests.
pub fn binary() -> String {
    std::env::var("POSTBUD_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_postbud").to_owned())
}

impl Site {
    /// Writes the configuration, and a key for each customer.
    pub fn new(customers: &[Customer<'_>]) -> Site {
        Site::with(customers, "")
    }

    /// Does the same with further lines at the end of the server file.
    pub fn with(customers: &[Customer<'_>], more: &str) -> Site {
        Site::at(free_port(), free_port(), None, customers, more)
    }

    /// The same with these addresses for mail and pages, in the network namespace of a process.
    pub fn at(
        smtp: SocketAddr,
        web: SocketAddr,
        namespace: Option<u32>,
        customers: &[Customer<'_>],
        more: &str,
    ) -> Site {
        let dir = tempfile::Builder::new().prefix("postbud-test-").tempdir().expect("a scratch folder");
        let site = Site { dir, smtp, web, namespace };
        fs::create_dir_all(site.path("config/customers")).unwrap();
        fs::create_dir_all(site.path("keys")).unwrap();
        fs::write(site.path("config/webcrm.hash"), hash(PASSWORD)).unwrap();
        let own = smtp.ip();
        let clients = if namespace.is_some() { "10.0.0.0/8" } else { "127.0.0.0/8" };
        fs::write(
            site.path("config/postbud.toml"),
            format!(
                "hostname = \"out.example.com\"\nstate_dir = \"../state\"\ncustomers_dir = \"customers\"\n\n\
                 [[listener]]\naddress = \"{smtp}\"\ntls = \"off\"\nauth = \"required\"\nallow_plaintext_auth = true\n\
                 allow_from = [\"{clients}\"]\n\n\
                 [[submitter]]\nusername = \"{USERNAME}\"\npassword_hash_file = \"webcrm.hash\"\ncustomers = \"all\"\n\n\
                 [egress]\naddress = \"{own}\"\nbind = \"{own}\"\n\n\
                 [spool]\nmin_free = \"16 MiB\"\n\n[events]\nlog = \"../state/events.jsonl\"\n\n\
                 [web]\naddress = \"{web}\"\n{more}\n"
            ),
        )
        .unwrap();
        for customer in customers {
            site.add(customer);
        }
        site
    }

    /// A site with two customers whose servers do not answer, so that their mail waits, and without DNS. Gives the server of the first,
    /// too, so that a test can begin to listen there.
    pub fn of_anna_and_bo(more: &str) -> (Site, SocketAddr) {
        let (anna, bo) = (free_port(), free_port());
        let customers = [
            Customer { id: "anna", domain: "anna.example", route: plain_route(anna) },
            Customer { id: "bo", domain: "bo.example", route: plain_route(bo) },
        ];
        let no_dns = "[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\nattempts = 1";
        (Site::with(&customers, &format!("{no_dns}\n{more}")), anna)
    }

    /// Submits a small message that must be taken, and gives its queue id.
    pub fn submit(&self, from: &str, to: &str, subject: &str) -> String {
        let mut client = Client::login(self.smtp, USERNAME, PASSWORD).expect("the login is taken");
        let content = format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nhello\r\n");
        let reply = client.send(from, &[to], content.as_bytes()).expect("the relay answers");
        client::queue_id(&reply).to_owned()
    }

    /// Writes a customer's file, and its key if there is none.
    pub fn add(&self, customer: &Customer<'_>) {
        let Customer { id, domain, route } = customer;
        let key = self.key(domain);
        if !key.exists() {
            let made = self.run(&["dkim", "keygen", "--out", key.to_str().unwrap()]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let mut file = format!("name = \"{id}\"\ndomains = [\"{domain}\"]\n");
        write!(file, "[dkim]\nselector = \"postbud1\"\nprivate_key = \"../../keys/{domain}.pem\"\n[route]\n{route}")
            .unwrap();
        fs::write(self.customer_file(id), file).unwrap();
    }

    /// Returns a path below the site.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Returns the path of a customer's file.
    pub fn customer_file(&self, id: &str) -> PathBuf {
        self.path(&format!("config/customers/{id}.toml"))
    }

    /// Returns the path of a domain's private key.
    pub fn key(&self, domain: &str) -> PathBuf {
        self.path(&format!("keys/{domain}.pem"))
    }

    /// Returns the path of the server file.
    pub fn config(&self) -> PathBuf {
        self.path("config/postbud.toml")
    }

    /// Returns all events in the event log, one per line. A last line without an end is still being written.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let log = fs::read(self.path("state/events.jsonl")).unwrap_or_default();
        let lines = log.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n"));
        lines.map(|line| serde_json::from_slice(line).expect("an event is JSON")).collect()
    }

    /// Waits for an event that `wanted` accepts.
    pub fn wait_for_event(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        self.wait_for_events(1, what, wanted).remove(0)
    }

    /// Waits for so many events that `wanted` accepts, for example one for each recipient, and returns all that are there then.
    pub fn wait_for_events(
        &self,
        count: usize,
        what: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Vec<serde_json::Value> {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let found: Vec<_> = self.events().into_iter().filter(&wanted).collect();
            if found.len() >= count {
                return found;
            }
            assert!(
                Instant::now() < patience,
                "{} of {count} events: {what}; events: {:#?}",
                found.len(),
                self.events()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command of the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(binary()).args(arguments).output().expect("the binary starts")
    }

    /// Runs a command that accepts `--config`.
    pub fn operate(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        self.run(&all)
    }

    /// Runs a command that accepts `--config` in a shell, with this redirection at its end.
    pub fn run_in_shell(&self, command: &str, redirection: &str) -> Output {
        let script = format!("exec \"$0\" {command} --config \"$1\" {redirection}");
        let (binary, config) = (binary(), self.config());
        Command::new("sh").args(["-c", &script, &binary]).arg(config).output().expect("a shell")
    }

    /// Starts the relay and waits until it greets.
    pub fn start(&self) -> Running {
        let running = self.start_unready();
        running.wait_until_ready(self.smtp);
        running
    }

    /// Starts the relay with variables of the environment, and waits until it greets.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Running {
        let running = self.spawn(self.program().envs(variables.iter().copied()));
        running.wait_until_ready(self.smtp);
        running
    }

    /// Starts the relay without waiting.
    pub fn start_unready(&self) -> Running {
        self.spawn(&mut self.program())
    }

    fn program(&self) -> Command {
        let Some(process) = self.namespace else { return Command::new(binary()) };
        let mut command = Command::new("nsenter");
        command.args(["-t", &process.to_string(), "-n", &binary()]);
        command
    }

    /// Starts the relay with a soft limit of open files, and waits until it greets.
    pub fn start_with_open_files(&self, soft: u32) -> Running {
        self.start_from_shell(&format!("ulimit -Sn {soft} && exec \"$0\" \"$@\""))
    }

    /// Does the same with a limit that it cannot raise.
    pub fn start_with_hard_limit_of_open_files(&self, hard: u32) -> Running {
        self.start_from_shell(&format!("ulimit -n {hard} && exec \"$0\" \"$@\""))
    }

    /// Starts the relay with a standard error that accepts no output, and waits until it greets.
    pub fn start_with_full_log(&self) -> Running {
        self.start_from_shell("exec \"$0\" \"$@\" 2>/dev/full")
    }

    /// Starts the relay with `--hide-addresses`, and waits until it greets.
    pub fn start_hiding_addresses(&self) -> Running {
        self.start_from_shell("exec \"$0\" \"$@\" --hide-addresses")
    }

    /// Starts the relay with a umask, and waits until it greets.
    pub fn start_with_umask(&self, umask: &str) -> Running {
        self.start_from_shell(&format!("umask {umask} && exec \"$0\" \"$@\""))
    }

    /// Starts the relay in a shell that allows core files of any size.
    pub fn start_with_core_files(&self) -> Running {
        self.start_from_shell("ulimit -S -c unlimited && exec \"$0\" \"$@\"")
    }

    fn start_from_shell(&self, script: &str) -> Running {
        let running = self.spawn(Command::new("sh").args(["-c", script, &binary()]));
        running.wait_until_ready(self.smtp);
        running
    }

    fn spawn(&self, command: &mut Command) -> Running {
        let log = fs::File::options().create(true).append(true).open(self.path("relay.log")).unwrap();
        let child = command
            .args(["run", "--config", self.config().to_str().unwrap()])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the relay starts");
        Running { child, log: self.path("relay.log") }
    }
}

/// Returns the output of `postbud hash-password`.
pub fn hash(password: &str) -> String {
    let mut child = Command::new(binary())
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A running relay. It is killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Waits for the greeting.
    pub fn wait_until_ready(&self, smtp: SocketAddr) {
        let patience = Instant::now() + Duration::from_secs(30);
        while greets(smtp).is_none() {
            assert!(Instant::now() < patience, "the relay does not greet:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns its output.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns true as long as its process is there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends SIGTERM, and waits for a clean end.
    pub fn stop(mut self) {
        self.signal("TERM");
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}\n{}", self.log());
                return;
            }
            assert!(Instant::now() < patience, "the relay does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself. Returns its exit code.
    pub fn wait(mut self) -> Option<i32> {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < patience, "the relay does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// All events of a site are checked against the contract.
impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            contract::check(&self.path("state/events.jsonl"));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn greets(smtp: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&smtp, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).ok()?;
    (greeting == *b"220 ").then_some(())
}

/// Reads a page.
pub fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    http::text(address, request.as_bytes()).expect("the pages answer")
}

/// Returns the files of a folder with an extension, sorted.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    found.sort();
    found
}

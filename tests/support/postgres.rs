//! A PostgreSQL server for tests, from the system's package, in a scratch folder with a Unix socket. The server and the folder end with the
//! test's process.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use postbud::spool::postgres::Settings;

/// The end of the socket's name, unless a test asks for a port. Nothing listens at the port.
const PORT: u16 = 5432;
/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The user that runs the server if the tests run as root, because PostgreSQL refuses root.
const USER: &str = "nobody";

/// A PostgreSQL server of the test's own.
pub struct Server {
    dir: PathBuf,
    bin: PathBuf,
    port: u16,
    /// The process in whose network namespace it runs, if not in the test's.
    namespace: Option<u32>,
    /// Stops the server and removes the folder after its standard input is closed, which also happens when this process ends.
    watcher: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// Returns the server that all tests of this process share, or why there is none.
pub fn shared() -> Result<&'static Server, &'static str> {
    static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[])).as_ref().map_err(String::as_str)
}

impl Server {
    /// Starts a server with these settings in addition to the usual ones. An error says what is missing here.
    pub fn start(settings: &[(&str, &str)]) -> Result<Server, String> {
        Server::start_in(None, settings)
    }

    /// The same in the network namespace of a process, from where others may connect as well.
    pub fn start_in(namespace: Option<u32>, settings: &[(&str, &str)]) -> Result<Server, String> {
        let server = Server::prepare(namespace, settings)?;
        let data = server.data();
        server.initialize()?;
        if namespace.is_some() {
            let rules = fs::read_to_string(data.join("pg_hba.conf")).map_err(|error| error.to_string())?;
            server.put("pg_hba.conf", &format!("{rules}host all all 10.0.0.0/8 trust\n"));
        }
        server.begin(settings)
    }

    /// Starts a server whose data is on the disk of a folder.
    pub fn start_on(folder: &Path, settings: &[(&str, &str)]) -> Result<Server, String> {
        let server = Server::prepare_in(folder, None, settings)?;
        server.initialize()?;
        server.begin(settings)
    }

    /// Makes an empty cluster. The first one is kept below the target folder, and each further one is a copy of it, because a copy takes
    /// a tenth of initdb's time.
    fn initialize(&self) -> Result<(), String> {
        let name = format!("cluster{}", self.bin.display().to_string().replace('/', "-"));
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(name);
        let copy = |from: &Path, to: &Path| run(Command::new("cp").arg("-aT").arg(from).arg(to)).map(drop);
        if kept.is_dir() && copy(&kept, &self.data()).is_ok() {
            return Ok(());
        }
        let _ = fs::remove_dir_all(self.data());
        let mut initdb = self.as_user("initdb");
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"]);
        run(initdb.arg(self.data()))?;
        // Whole at once: other processes may look for it. One that cannot be kept, or is there already, is made again or used.
        let begun = kept.with_extension(std::process::id().to_string());
        if copy(&self.data(), &begun).is_err() || fs::rename(&begun, &kept).is_err() {
            let _ = fs::remove_dir_all(&begun);
        }
        Ok(())
    }

    /// Starts a standby of this server, which follows it as long as it lives. Its settings are those of a new server, and these.
    pub fn start_standby(&self, namespace: Option<u32>, settings: &[(&str, &str)]) -> Result<Server, String> {
        let standby = Server::prepare(namespace, settings)?;
        let (socket, port) = (self.host(), self.port.to_string());
        run(standby
            .as_user("pg_basebackup")
            .args(["-U", "postgres", "-h", &socket, "-p", &port, "-X", "stream", "-c", "fast", "-N", "-D"])
            .arg(standby.data()))?;
        standby.put("standby.signal", "");
        let follows = format!("host={socket} port={port} user=postgres application_name=standby");
        standby.begin(&[settings, &[("primary_conninfo", &follows)]].concat())
    }

    /// Makes it a server that takes writes, and waits until it does.
    pub fn promote(&self) {
        run(self.as_user("pg_ctl").args(["-w", "-t", "60", "promote", "-D"]).arg(self.data())).unwrap();
    }

    /// A folder in memory for a server, with what stops the server later.
    fn prepare(namespace: Option<u32>, settings: &[(&str, &str)]) -> Result<Server, String> {
        let scratch = Path::new("/dev/shm");
        let scratch = if scratch.is_dir() { scratch.to_owned() } else { std::env::temp_dir() };
        Server::prepare_in(&scratch, namespace, settings)
    }

    fn prepare_in(scratch: &Path, namespace: Option<u32>, settings: &[(&str, &str)]) -> Result<Server, String> {
        let bin = binaries().ok_or("there is no PostgreSQL (Debian's postgresql)")?;
        let made =
            tempfile::Builder::new().prefix("postbud-pg-").tempdir_in(scratch).map_err(|error| error.to_string())?;
        let dir = made.keep();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&dir))?;
        }
        let watch = "cat >/dev/null; pid=$(head -1 \"$1/data/postmaster.pid\" 2>/dev/null) && kill -QUIT $pid && \
                     while kill -0 $pid; do sleep 0.05; done 2>/dev/null; rm -rf \"$1\"";
        let watcher = Command::new("setsid")
            .args(["sh", "-c", watch, "watch"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let port = settings.iter().find(|(key, _)| *key == "port").map_or(PORT, |(_, port)| port.parse().unwrap());
        Ok(Server { dir, bin, port, namespace, watcher })
    }

    /// Starts a server whose data is there.
    fn begin(self, settings: &[(&str, &str)]) -> Result<Server, String> {
        let socket = self.host();
        let usual = [
            ("listen_addresses", ""),
            ("unix_socket_directories", socket.as_str()),
            ("shared_buffers", "16MB"),
            ("max_wal_size", "128MB"),
            ("max_connections", "60"),
            ("log_min_messages", "warning"),
        ];
        let line = |(key, value): &(&str, &str)| format!("{key} = '{value}'\n");
        let text: String = usual.iter().chain(settings).map(line).collect();
        self.put("postgresql.auto.conf", &text);
        self.start_again()?;
        Ok(self)
    }

    /// Starts the server after it was stopped or killed.
    pub fn start_again(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let log = self.dir.join("log");
            let started = run(self
                .as_user("pg_ctl")
                .args(["-w", "-t", "60", "start", "-D"])
                .arg(self.data())
                .arg("-l")
                .arg(&log));
            match started {
                Ok(_) => return Ok(()),
                // Processes of the killed server take a moment to end.
                Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
                Err(why) => return Err(format!("{why}\n{}", fs::read_to_string(log).unwrap_or_default())),
            }
        }
    }

    /// Stops it as an operator in a hurry would.
    pub fn stop(&self) {
        run(self.as_user("pg_ctl").args(["-w", "-m", "fast", "stop", "-D"]).arg(self.data())).unwrap();
    }

    /// Kills all of its processes.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Stops all of its processes for a while: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Continues its processes.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let Some(postmaster) = file.lines().next() else { return };
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", postmaster]).output().map(|found| found.stdout);
        let children = String::from_utf8(children.unwrap_or_default()).unwrap();
        let all = std::iter::once(postmaster).chain(children.split_whitespace());
        let _ = Command::new("kill").arg(format!("-{signal}")).args(all).stderr(Stdio::null()).status();
    }

    /// Returns the folder of its socket.
    pub fn host(&self) -> String {
        self.dir.display().to_string()
    }

    /// Returns a folder inside the server's own.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the settings of a spool in this schema.
    pub fn settings(&self, schema: &str) -> Settings {
        let server = postbud::postgres::Server {
            hosts: vec![self.host()],
            port: self.port,
            database: "postgres".into(),
            user: "postgres".into(),
            schema: schema.into(),
            node: "a".into(),
            timeout: Duration::from_secs(10),
            ..postbud::postgres::Server::default()
        };
        Settings { server, ..Settings::default() }
    }

    /// Runs SQL and returns its output: values between `|`, one row per line.
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap()
    }

    /// Runs SQL. An error has the server's message.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]);
        let output = run(psql.arg(&self.dir).args(["-p", &self.port.to_string(), "-c", sql]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Changes a setting of the running server.
    pub fn set(&self, name: &str, value: &str) {
        self.sql(&format!("ALTER SYSTEM SET {name} = {value}"));
        self.sql("SELECT pg_reload_conf()");
    }

    /// Adds a file to its data that only the server can read.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&path)).unwrap();
        }
    }

    /// Runs a program of PostgreSQL as the user of the server.
    pub fn as_user(&self, program: &str) -> Command {
        as_user(&self.bin.join(program), &self.dir, self.namespace)
    }

    /// Returns the folder of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

fn as_user(program: &Path, dir: &Path, namespace: Option<u32>) -> Command {
    let mut words: Vec<std::ffi::OsString> = Vec::new();
    if let Some(process) = namespace {
        words.extend(["nsenter", "-t", &process.to_string(), "-n"].map(Into::into));
    }
    if is_root() {
        words.extend(["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups"].map(Into::into));
    }
    words.push(program.into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(dir).stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Runs a program to its end. An error has its output.
fn run(command: &mut Command) -> Result<Output, String> {
    // Uses files, because a server that continues to run would keep a pipe open.
    let printed = tempfile::tempfile().map_err(|error| error.to_string())?;
    let stdout = tempfile::tempfile().map_err(|error| error.to_string())?;
    let clone = |file: &fs::File| file.try_clone().map_err(|error| error.to_string());
    let status = command
        .stdout(clone(&stdout)?)
        .stderr(clone(&printed)?)
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let output = Output { status, stdout: read_back(stdout), stderr: read_back(printed) };
    match status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn read_back(mut file: fs::File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut octets = Vec::new();
    let _ = file.rewind();
    let _ = file.read_to_end(&mut octets);
    octets
}

/// Returns the folder of the newest installed PostgreSQL.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        found.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    found.retain(|bin| ["initdb", "pg_ctl", "postgres", "psql"].iter().all(|program| bin.join(program).is_file()));
    found.into_iter().max_by_key(|bin| number(bin))
}

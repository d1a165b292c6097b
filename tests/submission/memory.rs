//! What an idle connection costs: one that is logged in and waits. The bound is the issue's: 10,000 of them in 200 MB plaintext
//! and 400 MB under TLS, so 20 KB and 40 KB each. The clients are another process.
//!
//! `POSTBUD_IDLE_CONNECTIONS=10000 cargo test --test submission memory -- --nocapture` holds as many as are asked for; each takes
//! a file descriptor here and one there. What that gave stands in benches/README.md.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::skip::skip;
use crate::support::{PASSWORD, Setup, USERNAME, plain};

const USUAL: usize = 400;

fn connections() -> usize {
    std::env::var("POSTBUD_IDLE_CONNECTIONS").map_or(USUAL, |count| count.parse().expect("a number of connections"))
}

/// Resident octets of this process.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[test]
fn idle_connections_hold_little_memory() {
    // Other tests of this binary run in this process: a process of its own for the measurement.
    if std::env::var_os("POSTBUD_MEASURE").is_some() {
        return measure();
    }
    if resident().is_none() || Command::new("python3").arg("--version").output().is_err() {
        return skip("submission::idle_connections_hold_little_memory", "needs /proc and python3");
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::idle_connections_hold_little_memory", "--nocapture"])
        .env("POSTBUD_MEASURE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| line.contains("an idle connection")).for_each(|line| println!("{line}"));
}

/// Clients in another process, so that their memory is not counted. They leave when their standard input is closed.
fn clients(count: usize, port: u16, tls: bool) -> std::process::Child {
    const SCRIPT: &str = "
import resource, socket, ssl, sys
count, port, tls, login = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == 'true', sys.argv[4].encode()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
context, kept = ssl._create_unverified_context(), []
for n in range(count):
    s = socket.create_connection(('127.0.0.1', port))
    s = context.wrap_socket(s) if tls else s
    for said in [b'', b'EHLO x\\r\\n', b'AUTH PLAIN ' + login + b'\\r\\n']:
        s.sendall(said)
        heard = s.recv(1000)
    assert heard.startswith(b'235'), heard
    kept.append(s)
print('ready', flush=True)
sys.stdin.read()
alive = sum(1 for s in kept if not s.sendall(b'NOOP\\r\\n') and s.recv(1000).startswith(b'250'))
print('alive', alive, flush=True)
";
    Command::new("python3")
        .args(["-c", SCRIPT, &count.to_string(), &port.to_string(), &tls.to_string(), &plain(USERNAME, PASSWORD)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// As `postbud run` does.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn measure() {
    raise_open_files();
    let count = connections();
    let server = Setup::with(|limits| limits.connections_per_address = count + 1).start();
    for (port, tls, most) in [(server.address.port(), false, 20_000), (server.implicit.port(), true, 40_000)] {
        // Whatever the first connections set up once is not counted.
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        let before = resident().unwrap();
        let mut child = clients(count, port, tls);
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        let each = resident().unwrap().saturating_sub(before) / count as u64;
        println!("{each} octets an idle connection, {count} of them, TLS {tls}");
        drop(child.stdin.take());
        assert_eq!(said.next().unwrap().unwrap(), format!("alive {count}"));
        child.wait().unwrap();
        assert!(each <= most, "{each} octets an idle connection, TLS {tls}");
    }
}

//! The memory of an idle connection, and the memory that large messages leave.
//!
//! An idle connection is one that is logged in and waits. The bound is 10,000 of them in 200 MB plaintext and 400 MB under TLS, so 20 KB
//! and 40 KB each. The clients are another process.
//!
//! `POSTBUD_IDLE_CONNECTIONS=10000 cargo test --test submission memory -- --nocapture` holds as many as are asked for; each takes
//! a file descriptor here and one there. What that gave stands in benches/README.md.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::intake_spool::Outcome;
use crate::skip::skip;
use crate::support::{Client, PASSWORD, Setup, USERNAME, plain};

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

/// Runs a test of this file in a process of its own, for other tests of this binary run in this one.
fn alone(name: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("memory::{name}"), "--nocapture"])
        .env("POSTBUD_MEASURE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn is_alone() -> bool {
    std::env::var_os("POSTBUD_MEASURE").is_some()
}

#[test]
fn large_messages_leave_no_memory_behind() {
    if resident().is_none() {
        return skip("submission::large_messages_leave_no_memory_behind", "needs /proc");
    }
    if !is_alone() {
        alone("large_messages_leave_no_memory_behind");
        return;
    }
    const EACH: usize = 8 << 20;
    let server = Setup::default().start();
    server.spool.end_with(Outcome::Full);
    let body = format!("{}\r\n", "x".repeat(98)).repeat(EACH / 100);
    let mut clients: Vec<_> = (0..16).map(|_| server.logged_in()).collect();
    let before = resident().unwrap();
    for round in 0..3 {
        // All at once, so that what lies between their pieces is everybody's.
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| {
                    client.begin("a@test.dk");
                    client.send("From: a@test.dk\r\n\r\n");
                    client.send(&body);
                });
            }
        });
        let patience = Instant::now() + Duration::from_secs(30);
        while server.counters.bytes_in_flight.get() < (16 * EACH - EACH / 2) as i64 {
            assert!(Instant::now() < patience, "the messages are not taken in");
            std::thread::sleep(Duration::from_millis(5));
        }
        let held = resident().unwrap() - before;
        clients.iter_mut().for_each(|client: &mut Client<TcpStream>| {
            client.send(".\r\n");
            client.hear("452 4.3.1");
        });
        let left = resident().unwrap().saturating_sub(before);
        println!("{held} octets held, {left} left");
        assert!(left < 2 * EACH as u64, "{left} octets left of {held} in round {round}");
    }
}

#[test]
fn lines_without_an_end_hold_little_memory() {
    if resident().is_none() {
        return skip("submission::lines_without_an_end_hold_little_memory", "needs /proc");
    }
    if !is_alone() {
        alone("lines_without_an_end_hold_little_memory");
        return;
    }
    const COUNT: usize = 100;
    const LONG: usize = 60_000;
    let server = Setup::default().start();
    // What came before them in the same piece is not held either.
    let unfinished = [vec![b'x'; LONG], [&[b'x'; LONG][..], b"\r\nNOO"].concat()];
    let mut clients: Vec<_> = (0..COUNT).map(|_| server.connect()).collect();
    let before = resident().unwrap();
    for (client, line) in clients.iter_mut().zip(unfinished.iter().cycle()) {
        client.send(line);
    }
    std::thread::sleep(Duration::from_secs(1));
    let held = resident().unwrap().saturating_sub(before) / COUNT as u64;
    println!("{held} octets a line without an end");
    // Some of it is what the kernel's and the allocator's pages round up to.
    assert!(held < 20_000, "{held} octets held of {LONG}");
    for (client, end) in clients.iter_mut().zip(["\r\nNOOP\r\n", "P\r\n"].iter().cycle()) {
        client.send(end);
        client.hear("500 5.5.2 this line is too long");
        client.hear("250 2.0.0 still here");
    }
}

#[test]
fn idle_connections_hold_little_memory() {
    if is_alone() {
        return measure();
    }
    if resident().is_none() || Command::new("/usr/bin/python3").arg("--version").output().is_err() {
        return skip("submission::idle_connections_hold_little_memory", "needs /proc and python3");
    }
    let said = alone("idle_connections_hold_little_memory");
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
    Command::new("/usr/bin/python3")
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

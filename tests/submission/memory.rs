//! What an idle connection costs. The bound is the issue's: 10,000 of them in 200 MB plaintext and 400 MB under TLS, so
//! 20 KB and 40 KB each; the server and its clients share this process here, so only the server's part is held against it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::skip::skip;
use crate::support::Setup;

const CONNECTIONS: usize = 400;

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
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Clients in another process, so that their memory is not counted. They leave when their standard input is closed.
fn clients(port: u16, tls: bool) -> std::process::Child {
    let script = format!(
        "import socket,ssl,sys\nc=ssl._create_unverified_context()\nk=[]\nfor i in range({CONNECTIONS}):\n s=socket.create_connection(('127.0.0.1',{port}))\n {}\n s.recv(100)\n s.sendall(b'EHLO x\\r\\n')\n s.recv(1000)\n k.append(s)\nprint('ready',flush=True)\nsys.stdin.read()",
        if tls { "s=c.wrap_socket(s)" } else { "pass" }
    );
    Command::new("python3").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn measure() {
    let server = Setup::default().start();
    for (port, tls, most) in [(server.address.port(), false, 20_000), (server.implicit.port(), true, 40_000)] {
        // Whatever the first connections set up once is not counted.
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        let before = resident().unwrap();
        let mut child = clients(port, tls);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let each = resident().unwrap().saturating_sub(before) / CONNECTIONS as u64;
        println!("{each} octets an idle connection, TLS {tls}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(each <= most, "{each} octets an idle connection, TLS {tls}");
    }
}

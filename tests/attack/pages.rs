//! A web client that keeps others from the health check, or reads the pages from elsewhere.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::rounds;
use crate::support::relay::{Customer, Site, free_port, plain_route};

const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn site() -> Site {
    Site::new(&[Customer { id: "a", domain: "a.example", route: plain_route(free_port()) }])
}

/// Asks once, over a connection of its own; gives the answer's first line.
fn ask(site: &Site, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(site.web)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 512];
    let len = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..len]).lines().next().unwrap_or_default().to_owned())
}

fn is_healthy(site: &Site) -> bool {
    let asked = Instant::now();
    let answer = ask(site, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    answer.is_ok_and(|line| line.starts_with("HTTP/1.1 200")) && asked.elapsed() < Duration::from_secs(5)
}

#[test]
fn clients_that_hold_their_connections_lock_out_no_health_check() {
    let site = site();
    let relay = site.start();
    for half in [
        // They ask again and again.
        REQUEST,
        // They never end a request.
        "GET /healthz HTTP/1.1\r\nHost: loc",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx",
        // They say nothing, or what is no HTTP.
        "",
        "\x16\x03\x01\x02\0\x01\0",
        "EHLO x\r\n",
    ] {
        let mut clients = Vec::new();
        for _ in 0..rounds(150, 600) {
            let mut client = TcpStream::connect(site.web).unwrap();
            // It may be closed already.
            let _ = client.write_all(half.as_bytes());
            clients.push(client);
        }
        assert!(is_healthy(&site), "{half:?}");
        for round in 0..rounds(1, 5) {
            for client in &mut clients {
                let _ = client.write_all(half.as_bytes());
            }
            assert!(is_healthy(&site), "{half:?}, round {round}");
        }
    }
    relay.stop();
}

#[test]
fn a_request_by_a_foreign_name_is_refused() {
    let site = site();
    let relay = site.start();
    for host in [
        "evil.example",
        "evil.example:8025",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.example",
        "evil@localhost",
        "localhost@evil.example",
        "localhost, evil.example",
        "localhost evil.example",
        "localhost\r\nHost: evil.example",
        "[::1].evil.example",
        "0x7f000001",
        "",
    ] {
        for path in ["/", "/healthz", "/readyz", "/metrics", "/nothing"] {
            let answer = ask(&site, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            let line = answer.unwrap();
            assert!(line.starts_with("HTTP/1.1 4"), "{host:?} {path}: {line}");
        }
    }
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(ask(&site, absolute).unwrap().starts_with("HTTP/1.1 4"));
    assert!(ask(&site, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap().starts_with("HTTP/1.1 4"));
    assert!(is_healthy(&site));
    relay.stop();
}

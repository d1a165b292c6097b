//! A submitter's password does not stay in the relay's memory, right or wrong, whichever way it came.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::Client;
use crate::support::relay::{PASSWORD, Running, Site, USERNAME};
use crate::support::skip::skip;

const WRONG: &str = "et-helt-forkert-kodeord-17";
/// How often each way is gone: one time is overwritten by another's leftovers more easily than it is found.
const LOGINS: usize = 6;

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn plain(password: &str) -> String {
    base64(&format!("\0{USERNAME}\0{password}"))
}

/// The password and what a client sends of it, each also without its first and its last octets: memory that is given back loses
/// some at its start.
fn traces(password: &str) -> Vec<Vec<u8>> {
    let whole = [password.to_owned(), base64(password), plain(password)];
    whole.iter().flat_map(|text| [&text[..14], &text[text.len() - 14..]].map(|part| part.as_bytes().to_vec())).collect()
}

/// Where in the process's memory any of `traces` stands, with what is around it. `None` where it may not be read here.
fn found(relay: &Running, traces: &[Vec<u8>]) -> Option<Vec<String>> {
    let memory = File::open(format!("/proc/{}/mem", relay.pid())).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", relay.pid())).ok()?;
    let mut found = Vec::new();
    for map in maps.lines() {
        let mut words = map.split_ascii_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        // What cannot be written to is the program's file.
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut octets = vec![0; (end - start) as usize];
        // A thread's stack may be gone by now.
        if memory.read_exact_at(&mut octets, start).is_err() {
            continue;
        }
        for trace in traces {
            for at in memchr::memmem::find_iter(&octets, trace) {
                let around = &octets[at.saturating_sub(32)..(at + 64).min(octets.len())];
                found.push(format!("{map} at {at:#x}: {}", around.escape_ascii()));
            }
        }
    }
    Some(found)
}

/// Says the octets of each flight, and hears one reply after each.
fn dialogue(site: &Site, flights: &[String]) -> String {
    let mut stream = TcpStream::connect(site.smtp).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut reply = String::new();
    let mut hear = || {
        reply.clear();
        while reply.lines().last().is_none_or(|line| line.as_bytes()[3] == b'-') {
            assert!(input.read_line(&mut reply).unwrap() > 0, "closed");
        }
        reply.clone()
    };
    hear();
    stream.write_all(b"EHLO client.example.com\r\n").unwrap();
    hear();
    let mut last = String::new();
    for flight in flights {
        stream.write_all(flight.as_bytes()).unwrap();
        last = hear();
    }
    last
}

/// Every way to send one password.
fn ways(password: &str) -> Vec<Vec<String>> {
    let (name, word, both) = (base64(USERNAME), base64(password), plain(password));
    let flights = |lines: &[&str]| lines.iter().map(|line| format!("{line}\r\n")).collect();
    vec![
        flights(&[&format!("AUTH PLAIN {both}")]),
        flights(&["AUTH PLAIN", &both]),
        flights(&["AUTH LOGIN", &name, &word]),
        flights(&[&format!("AUTH login {name}"), &word]),
    ]
}

#[test]
fn a_password_leaves_memory_with_its_login() {
    const LIMITS: &str =
        "[limits]\nlogin_delay = \"10ms\"\nlongest_login_delay = \"10ms\"\nlogin_failures_per_address = 100000";
    let site = Site::with(&[], LIMITS);
    let relay = site.start();
    // A relay that keeps what it must not is found out: the connection below waits with half a login.
    let mut half = TcpStream::connect(site.smtp).unwrap();
    half.write_all(format!("AUTH PLAIN {}", plain("noget-helt-andet-22")).as_bytes()).unwrap();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match found(&relay, &traces("noget-helt-andet-22")) {
            None => return skip("a_password_leaves_memory_with_its_login", "no right to read a process's memory"),
            Some(found) if !found.is_empty() => break,
            Some(_) => assert!(std::time::Instant::now() < patience, "what is surely there is not found"),
        }
    }
    for (password, code) in [(PASSWORD, "235"), (WRONG, "535")] {
        for way in ways(password) {
            for _ in 0..LOGINS {
                let reply = dialogue(&site, &way);
                assert!(reply.starts_with(code), "{way:?}: {reply}");
            }
            let left = found(&relay, &traces(password)).unwrap();
            assert!(left.is_empty(), "after {way:?}: {left:#?}");
        }
    }
    // Connections that stay, and are logged in.
    let mut logged_in: Vec<_> = (0..LOGINS).map(|_| Client::login(site.smtp, USERNAME, PASSWORD).unwrap()).collect();
    assert_eq!(found(&relay, &traces(PASSWORD)), Some(Vec::new()));
    logged_in.iter_mut().for_each(|client| assert!(client.say("NOOP").unwrap().starts_with("250")));
}

#[test]
fn a_password_that_came_to_nothing_leaves_memory_too() {
    let site = Site::new(&[]);
    let relay = site.start();
    let (word, both) = (base64(WRONG), plain(WRONG));
    // With a letter that base64 has not, behind all of the password; with a lone LF; with no AUTH at all; twice in one flight.
    for flights in [
        vec![format!("AUTH PLAIN {}!\r\n", both)],
        vec!["AUTH LOGIN\r\n".to_owned(), format!("{}\r\n", base64(USERNAME)), format!("{word}=!\r\n")],
        vec!["AUTH PLAIN\r\n".to_owned(), format!("{both}\n")],
        vec![format!("AUTH CRAM-MD5 {both}\r\n")],
        vec![format!("{both}\r\n")],
        vec![format!("NOOP\r\nAUTH LOGIN\r\n{}\r\n*\r\nRSET\r\n{word}\r\nNOOP\r\n", base64(USERNAME))],
    ] {
        for _ in 0..LOGINS {
            dialogue(&site, &flights);
        }
        // The connections' ends are seen when the next one is answered.
        dialogue(&site, &["NOOP\r\n".to_owned()]);
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let Some(left) = found(&relay, &traces(WRONG)) else {
                return skip(
                    "a_password_that_came_to_nothing_leaves_memory_too",
                    "no right to read a process's memory",
                );
            };
            if left.is_empty() {
                break;
            }
            assert!(std::time::Instant::now() < patience, "after {flights:?}: {left:#?}");
        }
    }
    // Cut off in the middle of the line.
    let mut half = TcpStream::connect(site.smtp).unwrap();
    half.write_all(format!("AUTH PLAIN {both}").as_bytes()).unwrap();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while found(&relay, &traces(WRONG)).unwrap().is_empty() {
        assert!(std::time::Instant::now() < patience, "what is surely there is not found");
    }
    drop(half);
    while !found(&relay, &traces(WRONG)).unwrap().is_empty() {
        assert!(std::time::Instant::now() < patience, "{:#?}", found(&relay, &traces(WRONG)));
    }
}

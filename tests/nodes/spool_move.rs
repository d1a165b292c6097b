//! A site that moves from the embedded spool to PostgreSQL, with the real binary: `postbud spool move` is killed again and again, and at
//! the end every message arrives once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::{Client, message};
use crate::support::postgres::Server;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, binary, free_port, plain_route};
use crate::support::skip::skip;

const MESSAGES: usize = 120;
/// Octets of a message.
const SIZE: usize = 300_000;
const EMBEDDED: &str = "[spool]\nmin_free = \"16 MiB\"\n";

fn shared(server: &Server) -> String {
    format!(
        "[spool]\nbackend = \"postgres\"\n[spool.postgres]\nhost = \"{}\"\ndatabase = \"postgres\"\nuser = \"postgres\"\nnode = \"a\"\n\
         nodes = 2\nshards = 4\nlease = \"3s\"\n",
        server.host()
    )
}

fn submit(site: &Site) {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for n in 0..MESSAGES {
        let from = format!("a@c{}.example", n % 3);
        let mut mail = message(&from, "b@example.net", &format!("n{n}"));
        while mail.len() < SIZE {
            mail.extend_from_slice(format!("{:076}\r\n", mail.len()).as_bytes());
        }
        let heard = client.send(&from, &["b@example.net"], &mail).unwrap();
        assert!(heard.starts_with("250"), "{heard}");
    }
}

/// A relay with this configuration does not start, and says why.
fn assert_refused(site: &Site, why: &str) {
    let before = std::fs::read_to_string(site.path("relay.log")).unwrap_or_default().len();
    assert_eq!(site.start_unready().wait(), Some(1));
    let log = std::fs::read_to_string(site.path("relay.log")).unwrap();
    assert!(log[before..].contains(why), "{}", &log[before..]);
}

/// Begins a move, and waits until it copies or has ended.
fn begin_move(site: &Site) -> Child {
    let out = std::fs::File::create(site.path("moved.json")).unwrap();
    let mut moving = Command::new(binary())
        .args(["spool", "move", "--json", "--config"])
        .arg(site.config())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(moving.stderr.take().unwrap());
    while lines.read_line(&mut said).unwrap() > 0 && !said.contains(" messages\n") {}
    // What it says later is no pipe that nobody reads.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    moving
}

#[test]
fn a_move_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let name = "a_move_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing";
    let server = match Server::start(&[]) {
        Ok(server) => server,
        Err(why) => return skip(name, &why),
    };
    let later = free_port();
    let customers = ["c0", "c1", "c2"];
    let domains = customers.map(|customer| format!("{customer}.example"));
    let customers: Vec<Customer<'_>> = customers
        .into_iter()
        .zip(&domains)
        .map(|(id, domain)| Customer { id, domain, route: plain_route(later) })
        .collect();
    let site = Site::with(&customers, "[retry]\nfirst = \"1s\"\nlongest = \"2s\"\n");
    let relay = site.start();
    submit(&site);
    let done = |arguments: &[&str]| {
        let done = site.operate(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    done(&["suppression", "add", "c1", "gone@example.net"]);
    done(&["token", "add", "webcrm", "--role", "read"]);
    let known = || (done(&["suppression", "list", "c1", "--json"]), done(&["token", "list", "--json"]));
    let known_before = known();
    assert!(known_before.0.contains("gone@example.net") && known_before.1.contains("webcrm"), "{known_before:?}");

    let embedded = std::fs::read_to_string(site.config()).unwrap();
    let to_database = embedded.replace(EMBEDDED, &shared(&server));
    assert_ne!(embedded, to_database);
    std::fs::write(site.config(), &to_database).unwrap();
    let refused = site.operate(&["spool", "move"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("stop the relay first"), "{said}");
    // Not even a relay that dies leaves anything behind that was told.
    relay.kill();

    let mut kills = 0;
    loop {
        let mut moving = begin_move(&site);
        std::thread::sleep(Duration::from_millis(40) * kills);
        // It may have ended by itself.
        let _ = moving.kill();
        if moving.wait().unwrap().success() {
            break;
        }
        kills += 1;
        assert!(kills < 60, "it does not come to its end");
        if kills == 1 {
            assert_refused(&site, "it is being filled from");
            std::fs::write(site.config(), &embedded).unwrap();
            assert_refused(&site, "its mail is being moved to");
            std::fs::write(site.config(), &to_database).unwrap();
        }
    }
    let moved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(site.path("moved.json")).unwrap()).unwrap();
    println!("killed {kills} times; the last run: {moved}");
    assert!(kills >= 1, "no kill came in the middle: {moved}");
    // A run that is killed between the move's end and its own leaves the next one nothing to count; what arrives is counted below.
    if moved["was_done"] == false {
        let all = moved["moved"].as_u64().unwrap() + moved["moved_before"].as_u64().unwrap();
        assert_eq!(all, MESSAGES as u64, "{moved}");
        assert_ne!(moved["moved_before"], 0, "no kill came in the middle: {moved}");
    }
    let again = site.operate(&["spool", "move", "--json"]);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("\"was_done\": true"));
    std::fs::write(site.config(), &embedded).unwrap();
    assert_refused(&site, "its mail was moved to");
    std::fs::write(site.config(), &to_database).unwrap();

    let receiver = Capture::scripted(&later.to_string(), Box::new(|_| None));
    let relay = site.start();
    // What is known beside the mail is there as well.
    assert_eq!(known(), known_before);
    let received = receiver.wait_for(MESSAGES, Duration::from_secs(60));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for one in received {
        let header = String::from_utf8_lossy(one.header()).into_owned();
        let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        *times.entry(subject.to_owned()).or_default() += 1;
        assert!(one.content.len() >= SIZE && header.contains("DKIM-Signature:"));
    }
    relay.stop();
    assert_eq!(times.len(), MESSAGES);
    assert!(times.values().all(|times| *times == 1), "some came twice");
    assert_eq!(receiver.received().len(), MESSAGES);
    // What the old spool still told the event log stands there.
    let events = site.events();
    let accepted: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "accepted")
        .map(|event| event["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(accepted.iter().collect::<BTreeSet<_>>().len(), MESSAGES);
    assert_eq!(accepted.len(), MESSAGES, "told twice");
}

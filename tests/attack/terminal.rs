//! What strangers say does not command an operator's terminal: a program that listens in place of the relay, a customer's server, a
//! submitter.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};

use serde_json::json;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, binary, plain_route};

/// Clears the screen, sets the title, reads the clipboard; in eight bits; turned and hidden text; another line.
const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;x\u{7}\u{1b}]52;c;?\u{7}\u{9b}31m\u{202e}gnp.exe\u{2066}\u{200b}\u{feff}\u{7f}\r\nroot# ok";

/// Characters that a terminal obeys or does not show.
fn unseen(output: &Output) -> Vec<char> {
    let said = String::from_utf8([&output.stdout[..], &output.stderr].concat()).expect("UTF-8");
    let hidden = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    said.chars().filter(hidden).collect()
}

/// Runs a command against a program that gives these octets for an answer, again and again if `endless`.
fn answered(answer: &[u8], endless: bool, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let answer = answer.to_vec();
    let listening = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let mut asked = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
        while stream.write_all(&answer).is_ok() && endless {}
        !asked.is_empty()
    });
    // Where memory is short, an answer without an end is cut off and not waited for.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 2000000 && exec \"$0\" \"$@\"", &binary()])
        .args(arguments)
        .args(["--state-dir".as_ref(), dir.path().as_os_str()])
        .output()
        .unwrap();
    // A command that never asked leaves the program waiting.
    let _ = UnixStream::connect(&path);
    assert!(listening.join().unwrap(), "{arguments:?} asked nobody: {output:?}");
    output
}

#[test]
fn a_program_in_place_of_the_relay_does_not_command_the_terminal() {
    let error = json!({"error": {"kind": "invalid", "message": HOSTILE, "remedy": HOSTILE}});
    let route = json!({"item": {
        "route": HOSTILE, "server": HOSTILE, "state": HOSTILE, "in_flight": 0, "sent_today": 0, "since": HOSTILE, "reason": HOSTILE,
    }});
    let unknown = json!({HOSTILE: 1});
    let item = json!({"item": {HOSTILE: [HOSTILE, {"x": HOSTILE}]}});
    let suppressed = json!({"item": {"address": "a@example.net", "reason": "complaint", "since": "", "note": HOSTILE}});
    let done = json!({"done": {"count": 1}});
    for arguments in [
        &["queue", "list"][..],
        &["queue", "list", "--json"],
        &["queue", "show", "x"],
        &["queue", "show", "x", "--json"],
        &["queue", "stats"],
        &["queue", "stats", "--json"],
        &["queue", "hold", "--all"],
        &["route", "list"],
        &["route", "list", "--json"],
        &["route", "suspend", "x"],
        &["alert", "list"],
        &["alert", "list", "--json"],
        &["alert", "acknowledge", "x"],
        &["suppression", "list", "x"],
        &["suppression", "list", "x", "--json"],
        &["suppression", "export", "x"],
        &["suppression", "add", "x", "a@example.net"],
        &["token", "list"],
        &["token", "list", "--json"],
        &["token", "add", "x", "--role", "read"],
        &["token", "revoke", "x"],
        &["operator", "list"],
        &["operator", "list", "--json"],
        &["operator", "logout", "x"],
        &["events", "--since", "oldest"],
        &["events", "--since", "oldest", "--json"],
        &["customer", "link", "x"],
        &["customer", "link", "list"],
        &["customer", "link", "revoke", "x"],
        &["customer", "pause", "x"],
        &["customer", "paused"],
        &["customer", "paused", "--json"],
    ] {
        for answer in [
            format!("{error}\n"),
            format!("{unknown}\n"),
            format!("{item}\n{done}\n"),
            format!("{route}\n{done}\n"),
            format!("{suppressed}\n{done}\n"),
            format!("{HOSTILE}\n"),
            format!("\"{HOSTILE}\"\n"),
            "\n".to_owned(),
            String::new(),
        ] {
            let mut output = answered(answer.as_bytes(), false, arguments);
            if arguments.contains(&"export") {
                // RFC 4180: a table's lines end with CRLF.
                output.stdout = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n").into_bytes();
            }
            assert_eq!(unseen(&output), [] as [char; 0], "{arguments:?} {answer:?}: {output:?}");
            assert!(
                !String::from_utf8_lossy(&output.stderr).contains("\nroot# ok"),
                "{arguments:?} {answer:?}: {output:?}"
            );
        }
    }
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    for arguments in [&["queue", "list"][..], &["queue", "show", "x"], &["route", "list", "--json"]] {
        let output = answered(&[b'x'; 1 << 16], true, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the relay's answer broke off: one line of it is longer than"), "{said}");
    }
}

#[test]
fn what_servers_and_submitters_say_is_seen_in_lists_logs_and_events() {
    let reply = format!("450-4.2.0 {}\r\n450 4.2.0 \u{202e}gnihton", HOSTILE.replace("\r\n", " "));
    let server =
        Capture::scripted("127.0.0.1:0", Box::new(move |line| line.starts_with("RCPT").then(|| reply.clone())));
    let site = Site::new(&[Customer { id: "a", domain: "a.example", route: plain_route(server.address) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for (from, name) in
        [("x@a.example", "x\u{1b}[2J"), ("x\u{202e}@a.example", "y"), ("x@a.example", "\u{9b}31m\u{202e}")]
    {
        let _ = client.send(from, &["b@example.net"], &message("x@a.example", "b@example.net", name));
        client.say("RSET").unwrap();
    }
    let heard = client.send("x@a.example", &["b\u{200b}@example.net"], &message("x@a.example", "b@example.net", "z"));
    assert!(heard.unwrap().starts_with("501"), "an address that nobody can read");
    client.say("RSET").unwrap();
    let heard = client.send("x@a.example", &["b@example.net"], &message("x@a.example", "b@example.net", "z"));
    let id = queue_id(&heard.unwrap()).to_owned();
    let mut stranger = Client::connect(site.smtp).unwrap();
    let _ = stranger.auth(HOSTILE, "x");
    site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["queue_id"] == id.as_str());
    for arguments in [
        &["queue", "list"][..],
        &["queue", "list", "--json"],
        &["queue", "show", &id],
        &["queue", "show", &id, "--json"],
        &["route", "list"],
        &["probe", "a"],
        &["probe", "a", "--json"],
    ] {
        let output = site.operate(arguments);
        assert_eq!(unseen(&output), [] as [char; 0], "{arguments:?}: {output:?}");
    }
    for file in ["relay.log", "state/events.jsonl"] {
        let written = std::fs::read(site.path(file)).unwrap();
        let output = Output { stdout: written, stderr: Vec::new(), status: Default::default() };
        assert_eq!(unseen(&output), [] as [char; 0], "{file}: {}", String::from_utf8_lossy(&output.stdout));
    }
    relay.stop();
}

//! `postbud setup`: a new operator, with nothing but a folder.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::capture::Capture;
use crate::support::certs::self_signed;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{binary, free_port};
use crate::support::skip::skip;

const PASSWORD: &str = "correct horse battery";

/// An empty folder for a configuration, and addresses that are free.
struct Place {
    dir: tempfile::TempDir,
    smtp: SocketAddr,
    web: SocketAddr,
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap(), smtp: free_port(), web: free_port() };
        for (name, text) in [("password", PASSWORD), ("key", "api-key"), ("secret", "api-secret"), ("empty", "")] {
            fs::write(place.dir.path().join(name), format!("{text}\n")).unwrap();
        }
        place
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("etc")
    }

    fn flags(&self, mailjet: SocketAddr) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        vec![
            ("--dir", self.config().display().to_string()),
            ("--hostname", "out.example.com".into()),
            ("--egress-address", "127.0.0.1".into()),
            ("--bind", "127.0.0.1".into()),
            ("--listen", self.smtp.to_string()),
            ("--allow-from", "127.0.0.0/8".into()),
            ("--certificate", String::new()),
            ("--password-from", file("password")),
            ("--mailjet-key-from", file("key")),
            ("--mailjet-secret-from", file("secret")),
            ("--mailjet-server", mailjet.to_string()),
            ("--web", self.web.to_string()),
            ("--customer", String::new()),
        ]
    }

    /// Every file below the configuration.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.config()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(self.config()).unwrap().display().to_string()),
                }
            }
        }
        found.sort();
        found
    }
}

/// Runs it; gives whether it succeeded and all that it said.
fn setup(flags: &[(&str, String)], answers: &str) -> (bool, String) {
    setup_by(flags, answers.as_bytes())
}

fn setup_by(flags: &[(&str, String)], answers: &[u8]) -> (bool, String) {
    let mut child = Command::new(binary())
        .arg("setup")
        .args(flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it reads everything.
    let _ = child.stdin.take().unwrap().write_all(answers);
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn start(config: &Path, smtp: SocketAddr) -> Child {
    let relay = Command::new(binary())
        .args(["run", "--config"])
        .arg(config.join("postbud.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    while Client::connect(smtp).is_err() {
        assert!(Instant::now() < patience, "the relay does not take mail");
        std::thread::sleep(Duration::from_millis(20));
    }
    relay
}

#[test]
fn an_operator_comes_from_nothing_to_a_relay_that_delivers() {
    let (place, mailjet) = (Place::new(), Capture::start());
    let mut flags = place.flags(mailjet.address);
    flags.retain(|(flag, _)| *flag != "--customer");
    // The customer is asked for: its id, name, domains and route.
    let (done, said) = setup(&flags, "test-as\nTest A/S\ntest.dk\nmailjet\n");
    assert!(done, "{said}");
    for part in ["the login of [mailjet.starter] is accepted", "postbud1._domainkey", "systemctl enable --now postbud"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let written = place.files();
    for file in ["postbud.toml", "customers/test-as.toml", "secrets/webcrm.hash", "secrets/mailjet-starter.secret"] {
        assert!(written.iter().any(|path| path == file), "{file}: {written:?}");
    }
    for secret in written.iter().filter(|path| path.starts_with("secrets/")) {
        let path = place.config().join(secret);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
        assert!(!fs::read_to_string(path).unwrap().contains(PASSWORD), "only the hash is kept");
    }

    // Smaller than a test's disk may be.
    let server_file = place.config().join("postbud.toml");
    let text = fs::read_to_string(&server_file).unwrap();
    fs::write(&server_file, format!("{text}\n[spool]\nmin_free = \"16 MiB\"\n")).unwrap();
    let mut relay = start(&place.config(), place.smtp);
    let mut client = Client::login(place.smtp, "webcrm", PASSWORD).unwrap();
    queue_id(&client.send("a@test.dk", &["b@x.dk"], &message("a@test.dk", "b@x.dk", "x")).unwrap());
    mailjet.wait_for(1, Duration::from_secs(20));
    relay.kill().unwrap();
    relay.wait().unwrap();

    let (again, said) = setup(&place.flags(mailjet.address), "");
    assert!(!again && said.contains("never overwritten"), "{said}");
    assert!(fs::read_to_string(&server_file).unwrap().starts_with(&text));
}

#[test]
fn answers_come_from_a_pipe_one_a_line() {
    let place = Place::new();
    let dir = [("--dir", place.config().display().to_string()), ("--web", place.web.to_string())];
    let answers = format!("out.example.com\n127.0.0.1\nany\n{}\n\n\n{PASSWORD}\n\n\n", place.smtp);
    let (done, said) = setup(&dir, &answers);
    assert!(done, "{said}");
    assert_eq!(place.files(), ["postbud.toml", "secrets/webcrm.hash"]);
    let text = fs::read_to_string(place.config().join("postbud.toml")).unwrap();
    assert!(text.contains("bind = \"any\"") && !text.contains("[mailjet"), "{text}");
}

#[test]
fn an_empty_flag_for_mailjet_means_without_mailjet_and_contradicts_the_other_one() {
    let file = |place: &Place, name: &str| place.dir.path().join(name).display().to_string();
    for (key, secret, expected) in [
        (Some(""), Some(""), Ok(())),
        (Some(""), None, Ok(())),
        (None, Some(""), Ok(())),
        (Some("key"), Some(""), Err("is empty and the other is not")),
        (Some(""), Some("secret"), Err("is empty and the other is not")),
        (Some("key"), Some("empty"), Err("the secret of Mailjet's API key is empty")),
    ] {
        let (place, nobody) = (Place::new(), free_port());
        let mut flags = place.flags(nobody);
        flags.retain(|(flag, _)| !flag.starts_with("--mailjet-key") && !flag.starts_with("--mailjet-secret"));
        for (flag, value) in [("--mailjet-key-from", key), ("--mailjet-secret-from", secret)] {
            let value = value.map(|name| if name.is_empty() { String::new() } else { file(&place, name) });
            flags.extend(value.map(|value| (flag, value)));
        }
        let (done, said) = setup(&flags, "");
        assert_eq!(done, expected.is_ok(), "{key:?} {secret:?}: {said}");
        match expected {
            Ok(()) => {
                let text = fs::read_to_string(place.config().join("postbud.toml")).unwrap();
                assert!(!text.contains("[mailjet"), "{key:?} {secret:?}: {text}");
            }
            Err(why) => {
                assert!(said.contains(why), "{key:?} {secret:?}: {said}");
                assert_eq!(place.files(), [""; 0], "{key:?} {secret:?}");
            }
        }
    }
}

#[test]
fn a_person_at_a_terminal_is_asked_again_after_a_slip_and_shows_no_secret() {
    let this = "a_person_at_a_terminal_is_asked_again_after_a_slip_and_shows_no_secret";
    if Command::new("/usr/bin/python3").arg("--version").output().is_err() {
        return skip(this, "python3 is not installed");
    }
    let is_first = AtomicBool::new(true);
    let refuses_the_first = move |line: &str| {
        let is_refused = line.starts_with("AUTH") && is_first.swap(false, Ordering::SeqCst);
        is_refused.then(|| "535 5.7.8 API key unknown".to_owned())
    };
    let (place, mailjet) = (Place::new(), Capture::scripted("127.0.0.1:0", Box::new(refuses_the_first)));
    let smtp = place.smtp.to_string();
    let conversation = serde_json::json!([
        ["Name of this relay", "out example"],
        // The slip is explained, and the question comes again.
        ["Name of this relay", "out.example.com"],
        ["Egress address", ""],
        ["this needs an answer", "127.0.0.1"],
        ["Local address that leaves as it", "192.0.2.77"],
        ["this machine cannot bind it", ""],
        ["Address and port to take mail on", smtp],
        ["Networks that may connect", ""],
        ["Certificate file for TLS", "/nowhere/server.pem"],
        ["No such file", ""],
        ["webCRM's password", ""],
        ["this needs an answer", PASSWORD],
        ["Mailjet's API key", "api-key"],
        ["Its secret", "not the secret"],
        ["API key unknown", "api-key"],
        ["Its secret", "api-secret"],
        ["Id of the first customer", "nordlys"],
        ["Name of the customer", "Nordlys ApS"],
        ["From domains", "nordlys.example"],
        ["Which way", "pigeon"],
        ["none of the choices", "mailjet"],
    ]);
    let screen = Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/terminal.py"))
        .arg(conversation.to_string())
        .args([&binary(), "setup", "--dir"])
        .arg(place.config())
        .args(["--mailjet-server", &mailjet.address.to_string(), "--web", &place.web.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[screen.stdout, screen.stderr].concat()).into_owned();
    assert!(screen.status.success(), "{said}");
    assert!(said.contains("nordlys.example") && said.contains("postbud1._domainkey"), "{said}");
    assert!(!said.contains(PASSWORD) && !said.contains("api-secret"), "a secret was shown: {said}");
    let checked = Command::new(binary()).args(["check", "--config"]).arg(place.config().join("postbud.toml")).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn what_cannot_be_right_is_said_and_leaves_no_file() {
    let refusing = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("AUTH").then(|| "535 5.7.8 API key unknown".to_owned())),
    );
    let nobody = free_port();
    let good = Capture::start();
    for (mailjet, changed, expected) in [
        (refusing.address, ("--hostname", "out.example.com"), "refuses the login of [mailjet.starter]"),
        (good.address, ("--hostname", "out example"), "--hostname out example"),
        (good.address, ("--egress-address", "relay"), "--egress-address relay"),
        (good.address, ("--bind", "192.0.2.1"), "this machine cannot bind it"),
        (good.address, ("--listen", "192.0.2.1:25"), "this machine cannot listen there"),
        (good.address, ("--allow-from", "everybody"), "everybody is no network"),
        (good.address, ("--certificate", "/nowhere/server.pem"), "/nowhere/server.pem"),
        (good.address, ("--mailjet-server", "in-v3"), "is not HOST:PORT"),
    ] {
        let place = Place::new();
        let mut flags = place.flags(mailjet);
        flags.push(("--private-key", "/nowhere/server.key".into()));
        flags.iter_mut().filter(|(flag, _)| *flag == changed.0).for_each(|(_, value)| *value = changed.1.to_owned());
        let (done, said) = setup(&flags, "");
        assert!(!done && said.contains(expected), "{changed:?}: {said}");
        assert_eq!(place.files(), [""; 0], "{changed:?}: {said}");
    }
    // A server that cannot be reached yet is no mistake.
    let place = Place::new();
    let (done, said) = setup(&place.flags(nobody), "");
    assert!(done && said.contains("could not be tried"), "{said}");
}

#[test]
fn ctrl_c_while_a_secret_is_typed_leaves_a_terminal_that_shows_what_is_typed() {
    let this = "ctrl_c_while_a_secret_is_typed_leaves_a_terminal_that_shows_what_is_typed";
    if Command::new("/usr/bin/python3").arg("--version").output().is_err() {
        return skip(this, "python3 is not installed");
    }
    let ask = |conversation: serde_json::Value, arguments: &[&str]| {
        let output = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/terminal.py"))
            .arg(conversation.to_string())
            .arg(binary())
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let place = Place::new();
    let mut flags = place.flags(free_port());
    flags.retain(|(flag, _)| *flag != "--password-from");
    let flags: Vec<&str> = flags.iter().flat_map(|(flag, value)| [*flag, value.as_str()]).collect();
    let setup: Vec<&str> = ["setup"].into_iter().chain(flags).collect();
    for (conversation, arguments) in [
        (serde_json::json!([["webCRM's password", null]]), &setup[..]),
        (serde_json::json!([["Password", "once"], ["Once more", null]]), &["hash-password"][..]),
    ] {
        let said = ask(conversation, arguments);
        assert!(said.contains("echo is on") && !said.contains("argon2"), "{said}");
    }
    assert_eq!(place.files(), [""; 0]);
    let typed = ask(serde_json::json!([["Password", "twice"], ["Once more", "twice"]]), &["hash-password"]);
    assert!(typed.contains("$argon2id$") && typed.contains("echo is on") && !typed.contains("twice"), "{typed}");
}

#[test]
fn an_interrupt_while_mailjets_login_is_tried_leaves_no_file() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::new();
    let mut child = Command::new(binary())
        .arg("setup")
        .args(
            place
                .flags(silent.local_addr().unwrap())
                .iter()
                .flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _connection = silent.accept().unwrap();
    assert_eq!(
        place.files(),
        ["postbud.toml", "secrets/mailjet-starter.key", "secrets/mailjet-starter.secret", "secrets/webcrm.hash"]
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patience, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!child.wait().unwrap().success());
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn what_cannot_be_used_is_said_before_the_first_question() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::new();
    let mut flags = place.flags(free_port());
    flags.retain(|(flag, _)| *flag != "--hostname" && *flag != "--web");
    let (done, said) =
        setup(&[flags.clone(), vec![("--web", taken.local_addr().unwrap().to_string())]].concat(), "out.example.com\n");
    assert!(!done && said.contains("--web") && said.contains("cannot listen there"), "{said}");
    assert!(!said.contains("Name of this relay"), "{said}");
    fs::create_dir_all(place.config().join("secrets")).unwrap();
    fs::write(place.config().join("secrets/webcrm.hash"), "of another one").unwrap();
    let (done, said) = setup(&place.flags(free_port()), "");
    assert!(!done && said.contains("webcrm.hash is already there"), "{said}");
    assert!(!said.contains("Configuration in"), "{said}");
}

#[test]
fn a_certificate_that_is_about_to_expire_is_named() {
    let place = Place::new();
    self_signed(&["out.example.com"], false).write(place.dir.path());
    let mut flags = place.flags(free_port());
    flags.retain(|(flag, _)| *flag != "--certificate");
    for (flag, name) in [("--certificate", "cert.pem"), ("--private-key", "cert.key")] {
        flags.push((flag, place.dir.path().join(name).display().to_string()));
    }
    let (done, said) = setup(&flags, "");
    assert!(done && said.contains("warning: ") && said.contains("cert.pem expires on"), "{said}");
}

#[test]
fn an_answer_in_another_character_set_is_named_as_such() {
    let place = Place::new();
    let mut flags = place.flags(free_port());
    flags.retain(|(flag, _)| *flag != "--hostname");
    let (done, said) = setup_by(&flags, b"out.bl\xe5.example\n");
    assert!(!done && said.contains("Name of this relay") && said.contains("not UTF-8"), "{said}");
    flags.retain(|(flag, _)| *flag != "--password-from");
    let (done, said) = setup_by(&flags, b"out.example.com\nbl\xe5b\xe6r\n");
    assert!(!done && said.contains("not UTF-8"), "{said}");
    assert_eq!(place.files(), [""; 0]);
}

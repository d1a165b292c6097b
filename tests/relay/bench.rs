//! `postbud bench`: an operator's load on a relay of this machine.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::certs::self_signed;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

/// A relay with a listener for STARTTLS besides the one in clear.
struct Staging {
    site: Site,
    server: Capture,
    tls: String,
    certificate: PathBuf,
    password: PathBuf,
}

impl Staging {
    fn new() -> Self {
        let server = Capture::start();
        let tls = free_port().to_string();
        let certificates = tempfile::tempdir().unwrap().keep();
        self_signed(&["staging.example"], false).write(&certificates);
        let listener = format!(
            "[[listener]]\naddress = \"{tls}\"\ntls = \"starttls\"\ncertificate = \"{0}/cert.pem\"\nprivate_key = \"{0}/cert.key\"\n\
             allow_from = [\"127.0.0.0/8\"]\n",
            certificates.display()
        );
        let site = Site::with(
            &[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }],
            &listener,
        );
        let password = site.path("password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        Staging { site, server, tls, certificate: certificates.join("cert.pem"), password }
    }

    fn bench(&self, target: &str, more: &[&str]) -> Output {
        let mut arguments = vec!["bench", target, "--recipient-domain", "sink.example", "--username", USERNAME];
        arguments.extend(["--password-from", self.password.to_str().unwrap()]);
        arguments.extend(more);
        self.site.run(&arguments)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.certificate.parent().unwrap());
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[test]
fn a_load_over_starttls_with_a_login_is_all_accepted_and_arrives() {
    let staging = Staging::new();
    let relay = staging.site.start();
    let own = staging.site.path("own.eml");
    fs::write(&own, "From: Nyt <nyt@good.example>\nTo: x@sink.example\nSubject: own\nDate: Sun, 29 Nov 2026 10:00:00 +0000\n\n.own words\n").unwrap();
    let done = staging.bench(
        &staging.tls,
        &[
            "--from",
            "load@good.example",
            "--ca",
            staging.certificate.to_str().unwrap(),
            "--tls-name",
            "staging.example",
            "--messages",
            "40",
            "--sessions",
            "4",
            "--recipients",
            "2",
            "--size",
            "2KB",
            "--message",
            own.to_str().unwrap(),
            "--per-connection",
            "5",
            "--json",
        ],
    );
    assert!(done.status.success(), "{}", said(&done));
    let figures = json(&done);
    assert_eq!(figures["outcomes"]["accepted"], 40, "{figures}");
    assert!(figures["connections"].as_u64() >= Some(8), "five messages a connection: {figures}");
    assert!(figures["end_of_data_to_250_ms"]["p50"].as_f64() > Some(0.0), "{figures}");
    assert!(figures["transaction_ms"]["max"].as_f64() >= figures["end_of_data_to_250_ms"]["max"].as_f64(), "{figures}");
    let mails = staging.server.wait_for(40, Duration::from_secs(30));
    let of_ones_own = mails.iter().filter(|mail| String::from_utf8_lossy(&mail.content).contains("own words")).count();
    assert_eq!(of_ones_own, 20, "the sizes and the files are taken in turn");
    relay.stop();
}

#[test]
fn a_rate_is_kept_and_time_ends_the_load() {
    let staging = Staging::new();
    let relay = staging.site.start();
    let began = Instant::now();
    let rate = ["--from", "load@good.example", "--tls", "off", "--rate", "20", "--duration", "3s", "--json"];
    let done = staging.bench(&staging.site.smtp.to_string(), &rate);
    assert!(done.status.success(), "{}", said(&done));
    let accepted = json(&done)["outcomes"]["accepted"].as_u64().unwrap();
    // 60 are due; a slow machine begins fewer, and none is begun before its time.
    assert!((10..=61).contains(&accepted), "{}", said(&done));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    relay.stop();
}

#[test]
fn a_host_that_never_answers_keeps_nobody_longer_than_the_load() {
    let staging = Staging::new();
    // Connections are made and never taken.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let target = silent.local_addr().unwrap().to_string();
    let ended = staging.bench(&target, &["--from", "a@good.example", "--tls", "off", "--duration", "1s"]);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(said(&ended).contains("no connection could be made"), "{}", said(&ended));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn what_cannot_be_sent_ends_at_once_and_is_told() {
    let staging = Staging::new();
    let relay = staging.site.start();
    let clear = staging.site.smtp.to_string();
    let wrong = staging.site.path("wrong");
    fs::write(&wrong, "wrong\n").unwrap();
    let (ca, wrong) = (staging.certificate.to_str().unwrap(), wrong.to_str().unwrap());
    let begun = Instant::now();
    for (target, more, told) in [
        // A customer that is not there: every message is refused for good.
        (&clear, &["--from", "a@nobody.example", "--tls", "off"][..], "messages were all refused"),
        // The password is wrong.
        (&clear, &["--from", "a@good.example", "--tls", "off", "--password-from", wrong], "the login was refused: 535"),
        // No STARTTLS there.
        (&clear, &["--from", "a@good.example"], "STARTTLS was refused"),
        // The certificate has another name.
        (&staging.tls, &["--from", "a@good.example", "--ca", ca], "certificate is not accepted"),
        // Nothing listens there.
        (&free_port().to_string(), &["--from", "a@good.example"], "no connection could be made"),
        // Nobody says that a public address is meant.
        (&"192.0.2.1:25".to_owned(), &["--from", "a@good.example"], "--yes-this-is-staging"),
    ] {
        let refused = match more.contains(&"--password-from") {
            true => {
                let mut all = vec!["bench", target, "--recipient-domain", "sink.example", "--username", USERNAME];
                all.extend(more);
                staging.site.run(&all)
            }
            false => staging.bench(target, more),
        };
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains(told), "{told}: {}", said(&refused));
    }
    let nobody = said(&staging.bench(&free_port().to_string(), &["--from", "a@good.example", "--tls", "off"]));
    assert!(nobody.contains("Connection refused (os error 111) (20 times)"), "one line: {nobody}");
    assert!(!nobody.contains("at its limit") && !nobody.contains("p99"), "nothing was measured: {nobody}");
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "none of them goes on for its 30 seconds: {:?}",
        begun.elapsed()
    );
    assert!(staging.server.received().is_empty());
    relay.stop();
}

//! DNS servers: one that knows no name, and a customer's that makes whoever reads its records work.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::rounds;
use crate::support::capture::Capture;
use crate::support::client::{Client, message};
use crate::support::knot::Knot;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};
use crate::support::skip::skip;

/// The table of a server file that asks it. It answers until the test ends.
pub fn empty() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut packet) {
            if len < 12 {
                continue;
            }
            // An answer, recursion available, NXDOMAIN; the question, and nothing else (RFC 1035 §4.1.1).
            packet[2] |= 0x80;
            packet[3] = 0x83;
            let question = packet[12..len].iter().position(|label| *label == 0).map_or(len, |end| 12 + end + 5);
            packet[6..12].fill(0);
            let _ = socket.send_to(&packet[..question.min(len)], client);
        }
    });
    format!("[dns]\nservers = [\"{address}\"]\n")
}

/// A TXT record in strings of 255 octets.
fn txt(name: &str, value: &str) -> String {
    let mut line = format!("{name}. 60 IN TXT");
    for string in value.as_bytes().chunks(255) {
        let _ = write!(line, " \"{}\"", String::from_utf8_lossy(string));
    }
    line + "\n"
}

/// Domains whose records are meant to cost: each is a customer's.
fn hostile_zone() -> (Vec<&'static str>, String) {
    let long = format!("{}.{}.{}", "x".repeat(60), "y".repeat(60), "z".repeat(60));
    let many = |piece: &str, octets: usize| piece.repeat(octets / piece.len());
    let mut zone = txt("macros.example", &format!("v=spf1 include:{long}.macros.example -all"));
    zone += &txt(&format!("{long}.macros.example"), &format!("v=spf1 exists:{} -all", many("%{d}", 24_000)));
    zone += &txt("reversed.example", &format!("v=spf1 {}-all", many("exists:%{d9r.-+,/_=}%{l1r}%{ir}.x ", 24_000)));
    zone += &txt("broken.example", &format!("v=spf1 {}", many("%{", 24_000)));
    zone += &txt("glued.example", &format!("v=spf1{}", many("include:a.b", 24_000)));
    zone += &txt("circle.example", "v=spf1 include:circle.example redirect=circle.example");
    for at in 0..12 {
        let next = format!("include:s{}.chain.example", at + 1);
        let record = format!("v=spf1 {next} {}", many("a:%{d}%{d}%{d} ", 8_000));
        zone += &txt(&format!("s{at}.chain.example"), &record);
    }
    zone += &txt("chain.example", "v=spf1 include:s0.chain.example -all");
    zone += &txt("_dmarc.dmarc.example", &format!("v=DMARC1; p=none; {}", many("rua=mailto:a@b.example, ", 24_000)));
    zone += &txt("postbud1._domainkey.dkim.example", &format!("v=DKIM1; {}", many("x = y ; ", 24_000)));
    let names = ["macros", "reversed", "broken", "glued", "circle", "chain", "dmarc", "dkim"];
    (names.to_vec(), zone)
}

#[test]
fn records_that_cost_hold_up_nobody_elses_mail() {
    let (hostile, zone) = hostile_zone();
    let Some(knot) = Knot::start(&zone) else {
        return skip("records_that_cost_hold_up_nobody_elses_mail", "knot is not installed");
    };
    let server = Capture::start();
    // The relay looks at them all the time, too.
    let dns = format!("[dns]\nservers = [\"{}\"]\n[onboarding]\ncheck_every_while_incomplete = \"1s\"\n", knot.address);
    let site = Site::with(&[Customer { id: "b", domain: "b.example", route: plain_route(server.address) }], &dns);
    for name in &hostile {
        let (domain, route) = (format!("{name}.example"), plain_route(server.address));
        site.add(&Customer { id: name, domain: &domain, route });
    }
    let relay = site.start();
    let slowest = std::thread::scope(|scope| {
        let checking = scope.spawn(|| {
            for name in &hostile {
                let begun = Instant::now();
                let output = site.run(&["domain", "check", name, "--config", site.config().to_str().unwrap()]);
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(said.contains(&format!("{name}.example")), "{output:?}");
                assert!(begun.elapsed() < Duration::from_secs(60), "{name}: {:?}", begun.elapsed());
            }
        });
        let (mut slowest, mut sent) = (Duration::ZERO, 0);
        while !checking.is_finished() || sent < rounds(20, 200) {
            let begun = Instant::now();
            let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
            for from in ["x@b.example", "x@macros.example"] {
                let heard = client.send(from, &["c@example.net"], &message(from, "c@example.net", "meanwhile"));
                assert!(heard.unwrap().starts_with("250"), "{from}");
            }
            slowest = slowest.max(begun.elapsed());
            sent += 1;
        }
        checking.join().unwrap();
        slowest
    });
    assert!(slowest < Duration::from_secs(2), "a transaction took {slowest:?}");
    relay.stop();
}

//! Every sample message arrives octet for octet, apart from the header lines added on top, Bcc, and what only Mailjet may see.

use std::path::Path;
use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::{Client, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, files, plain_route};

const ADDED: [&str; 4] = ["Received", "DKIM-Signature", "Date", "Message-ID"];

/// The header fields of a block, folded lines with their field.
fn fields(header: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in header.split_inclusive(|b| *b == b'\n') {
        match fields.last_mut() {
            Some(field) if matches!(line[0], b' ' | b'\t') => field.extend_from_slice(line),
            _ => fields.push(line.to_vec()),
        }
    }
    fields
}

fn is(field: &[u8], name: &str) -> bool {
    field.len() > name.len() && field[name.len()] == b':' && field[..name.len()].eq_ignore_ascii_case(name.as_bytes())
}

fn is_route_internal(field: &[u8]) -> bool {
    ["x-mj-", "x-mailjet-"]
        .iter()
        .any(|start| field.get(..start.len()).is_some_and(|f| f.eq_ignore_ascii_case(start.as_bytes())))
}

/// The sample with its From domain replaced, so that one customer may send all.
fn split(content: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 2);
    (&content[..end], content.get(end + 2..).unwrap_or_default())
}

#[test]
fn samples_arrive_octet_for_octet() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "test-as", domain: "test.dk", route: plain_route(server.address) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let samples = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), "eml");
    assert!(samples.len() >= 10, "{samples:?}");
    let mut sent = 0;
    for sample in &samples {
        let content = std::fs::read(sample).unwrap();
        let heard = client.send("post@test.dk", &["b@example.net"], &content).unwrap();
        queue_id(&heard);
        sent += 1;
        let received = server.wait_for(sent, Duration::from_secs(20)).pop().unwrap();
        let (header, body) = split(&content);
        let mut wanted_body = body.to_vec();
        if !content.ends_with(b"\r\n") {
            wanted_body.extend_from_slice(b"\r\n");
        }
        assert_eq!(received.body(), wanted_body, "the body of {}", sample.display());

        let kept: Vec<_> = fields(header).into_iter().filter(|f| !is(f, "Bcc") && !is_route_internal(f)).collect();
        let arrived = fields(received.header());
        let (added, rest) = arrived.split_at(arrived.len() - kept.len());
        assert_eq!(rest, kept, "the header of {}", sample.display());
        for field in added {
            assert!(ADDED.iter().any(|name| is(field, name)), "{}", String::from_utf8_lossy(field));
        }
        assert!(added.iter().any(|field| is(field, "DKIM-Signature")));
    }
    relay.stop();
}

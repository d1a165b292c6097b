//! The metrics of a relay that has worked, checked by Prometheus' own tool.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, get, plain_route};
use crate::support::skip::skip;

#[test]
fn promtool_is_content_with_the_metrics_of_a_relay_that_did_something() {
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.contains("nobody@").then(|| "550 5.1.1 no such user".to_owned())),
    );
    let site = Site::new(&[
        Customer { id: "good", domain: "good.example", route: plain_route(server.address) },
        Customer { id: "dead", domain: "dead.example", route: plain_route(free_port()) },
    ]);
    let relay = site.start();
    assert!(Client::login(site.smtp, USERNAME, "wrong").is_err());
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for (from, to) in [
        ("a@good.example", "b@example.net"),
        ("a@good.example", "nobody@example.net"),
        ("a@dead.example", "b@example.net"),
    ] {
        queue_id(&client.send(from, &[to], &message(from, to, "x")).unwrap());
    }
    assert!(
        client
            .send("a@evil.example", &["b@x.dk"], &message("a@evil.example", "b@x.dk", "x"))
            .unwrap()
            .starts_with("550")
    );
    server.wait_for(1, Duration::from_secs(20));
    for kind in ["relayed", "bounced", "deferred", "rejected"] {
        site.wait_for_event(kind, |event| event["event"] == kind);
    }
    let answer = get(site.web, "/metrics");
    let (header, text) = answer.split_once("\r\n\r\n").expect("a header");
    assert!(header.contains("text/plain; version=0.0.4"), "{header}");
    for line in [
        "postbud_recipients_relayed_total 1",
        "postbud_events_total{event=\"rejected\"} 1",
        "postbud_customer_recipients_total{customer=\"good\",outcome=\"relayed\"} 1",
        "postbud_customer_recipients_total{customer=\"good\",outcome=\"bounced\"} 1",
        "postbud_customer_failures_total{customer=\"good\",class=\"hard\"} 1",
        "postbud_accepted_to_relayed_seconds_count 1",
        "postbud_reload_successful 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    // Every sample has its type and help, by its own name or its histogram's.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let names =
            [name, name.trim_end_matches("_bucket"), name.trim_end_matches("_sum"), name.trim_end_matches("_count")];
        for word in ["HELP", "TYPE"] {
            let told = names.iter().any(|name| text.contains(&format!("# {word} {name} ")));
            assert!(told, "{word} of {name}: {text}");
        }
    }
    relay.stop();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return skip("promtool_is_content_with_the_metrics_of_a_relay_that_did_something", "promtool is not installed");
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()).into_owned();
    assert!(judged.status.success() && said.is_empty(), "{said}\n{text}");
}

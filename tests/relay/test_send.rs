//! `postbud customer test`: one small mail, and what the next server said to it.

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::relay::{Customer, Site, plain_route};

#[test]
fn a_test_mail_says_what_the_next_server_answered() {
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("RCPT TO:<gone@").then(|| "550 5.1.1 nobody here".to_owned())),
    );
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let no_relay = site.operate(&["customer", "test", "good", "--to", "a@test.net"]);
    assert!(!no_relay.status.success() && String::from_utf8_lossy(&no_relay.stderr).contains("postbud run"));
    let relay = site.start();
    let test = |to: &str, more: &[&str]| {
        let done = site.operate(&[&["customer", "test", "good", "--to", to], more].concat());
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, said, _) = test("a@test.net", &["--from", "news@good.example", "--json"]);
    let sent: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &sent["event"], &sent["code"], &sent["route"]),
        (Some(0), &"relayed".into(), &250.into(), &"own-server.good".into())
    );
    let mail = server.received().pop().unwrap();
    assert!(
        mail.from.contains("news@good.example") && mail.to[0].contains("a@test.net"),
        "{} {:?}",
        mail.from,
        mail.to
    );
    assert!(String::from_utf8_lossy(mail.header()).contains("DKIM-Signature"));
    let (code, said, _) = test("gone@test.net", &[]);
    assert_eq!(code, Some(1));
    for part in [" bounced\n", "550 5.1.1 nobody here", "Class          hard"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let (code, _, error) = test("bounce@test.postbud.invalid", &[]);
    assert!(code == Some(1) && error.contains("test mode"), "{error}");
    let audit = site.wait_for_event("audit", |event| event["command"] == "customer.test");
    assert_eq!(audit["customer"], "good");
    relay.stop();
}

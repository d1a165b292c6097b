//! A relay on a machine that has no address of its own for the egress address, as in a container.

use std::fs;
use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

/// With an egress address that this machine does not have.
fn site(server: &Capture, bind: &str) -> Site {
    let site = Site::new(&[Customer { id: "c", domain: "c.example", route: plain_route(server.address) }]);
    let config = fs::read_to_string(site.config()).unwrap();
    let egress = format!("address = \"203.0.113.57\"\n{bind}\n");
    let changed = config.replace("address = \"127.0.0.1\"\nbind = \"127.0.0.1\"\n", &egress);
    assert_ne!(changed, config);
    fs::write(site.config(), changed).unwrap();
    site
}

fn send(site: &Site) {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let said = client.send("a@c.example", &["b@example.net"], &message("a@c.example", "b@example.net", "x"));
    queue_id(&said.unwrap());
}

#[test]
fn without_a_word_about_it_the_relay_does_not_start_and_names_the_remedy() {
    let server = Capture::start();
    let site = site(&server, "");
    let relay = site.start_unready();
    assert_eq!(relay.wait(), Some(1));
    let log = fs::read_to_string(site.path("relay.log")).unwrap();
    assert!(log.contains("cannot bind 203.0.113.57") && log.contains("bind = \"any\""), "{log}");
}

#[test]
fn mail_leaves_where_the_network_gives_the_address() {
    let server = Capture::start();
    let site = site(&server, "bind = \"any\"");
    let relay = site.start();
    send(&site);
    server.wait_for(1, Duration::from_secs(20));
    relay.stop();
}

#[test]
fn a_server_that_sees_another_address_gets_no_mail() {
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| {
            line.starts_with("EHLO").then(|| "250 mail.test.dk Hello out.example.com [127.0.0.1]".to_owned())
        }),
    );
    let site = site(&server, "bind = \"any\"");
    let relay = site.start();
    send(&site);
    let alert = site.wait_for_event("suspended", |event| event["event"] == "alert");
    assert!(alert["detail"].as_str().unwrap().contains("sees us as 127.0.0.1, not as 203.0.113.57"), "{alert}");
    assert!(server.received().is_empty());
    relay.stop();
}

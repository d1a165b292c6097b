//! Lasting trouble: the alert, the further attempts, and the end of the alert.

use std::time::Duration;

use postbud::time::Timestamp;
use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, get, plain_route};

const ROUTE: &str = "own-server.dead";

fn send(site: &Site) -> String {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let said = client.send("a@dead.example", &["b@example.net"], &message("a@dead.example", "b@example.net", "x"));
    queue_id(&said.unwrap()).to_owned()
}

fn about_route<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == kind && e["subject"] == format!("route:{ROUTE}")).collect()
}

fn routes(site: &Site) -> Value {
    let listed = site.operate(&["route", "list", "--json"]);
    serde_json::from_slice(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {listed:?}"))
}

#[test]
fn a_server_that_stays_dead_makes_one_alert_which_ends_with_the_trouble() {
    let address = free_port();
    let more = "[delivery]\nroute_alert_after = \"1s\"\n";
    let site = Site::with(&[Customer { id: "dead", domain: "dead.example", route: plain_route(address) }], more);
    let relay = site.start();
    let before = Timestamp::now();
    let id = send(&site);
    let deferred = site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["queue_id"] == id);
    let next = deferred["next_attempt"].as_str().expect("a route that pauses is tried again");
    let soonest = before + Duration::from_secs(15);
    assert!(next >= soonest.to_string().as_str(), "the route pauses for 15 s from {before}: {next}");
    let alert = site.wait_for_event("the alert", |event| event["event"] == "alert" && event["cured"].is_null());
    assert_eq!((alert["subject"].as_str(), alert["route"].as_str()), (Some("route:own-server.dead"), Some(ROUTE)));
    assert!(alert["detail"].as_str().unwrap().contains("has carried no mail since"), "{alert}");
    let page = get(site.web, "/");
    let (open, rest) = page.split_once("<h2>Routes").map(|_| page.split_once("Open alerts").unwrap()).unwrap();
    assert!(rest.contains("has carried no mail since"), "{open}{rest}");
    // The log has one line about it, and none about somebody who looks.
    assert!(routes(&site)["in_trouble_since"].is_string(), "{}", routes(&site));
    assert!(site.operate(&["queue", "list"]).status.success());
    let told = |log: &str| log.lines().filter(|line| line.contains("alert: ") && line.contains(ROUTE)).count();
    let commands = |log: &str| log.lines().filter(|line| line.contains("operator's")).count();
    let log = relay.log();
    assert_eq!((told(&log), commands(&log)), (1, 0), "{log}");

    let server = Capture::scripted(&address.to_string(), Box::new(|_| None));
    assert!(site.operate(&["route", "resume", ROUTE]).status.success());
    server.wait_for(1, Duration::from_secs(20));
    let over = site.wait_for_event("it is over", |event| event["cured"] == true);
    assert_eq!((over["subject"].as_str(), over["route"].as_str()), (Some("route:own-server.dead"), Some(ROUTE)));
    let page = get(site.web, "/");
    let (_, alerts) = page.split_once("Open alerts").unwrap();
    let (open, ended) = alerts.split_once("Alerts that are over").expect("the end is shown");
    assert!(open.contains("None.") && ended.contains("has carried no mail since"), "{alerts}");
    let log = relay.log();
    assert_eq!((told(&log), commands(&log)), (1, 1), "however often it was tried, and with what was commanded: {log}");
    relay.stop();
    let events = site.events();
    assert_eq!(about_route(&events, "alert").len(), 2, "{events:#?}");
}

#[test]
fn a_restart_forgets_nothing_of_what_was_sent_today_over_a_route_without_caps() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "dead", domain: "dead.example", route: plain_route(server.address) }]);
    let relay = site.start();
    send(&site);
    server.wait_for(1, Duration::from_secs(20));
    site.wait_for_event("relayed", |event| event["event"] == "relayed");
    relay.stop();
    let relay = site.start();
    assert_eq!(routes(&site)["sent_today"], 1, "{}", routes(&site));
    relay.stop();
}

#[test]
fn a_restart_forgets_nothing_of_what_was_sent_today_over_a_mailjet_tier() {
    let server = Capture::start();
    let tier = format!(
        "[mailjet.starter]\nhost = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key\"\n\
         password_file = \"mailjet.secret\"\n",
        server.address.ip(),
        server.address.port(),
    );
    let site = Site::with(&[], &tier);
    std::fs::write(site.path("config/mailjet.secret"), "secret").unwrap();
    site.add(&Customer { id: "dead", domain: "dead.example", route: "via = \"mailjet\"\n".to_owned() });
    let relay = site.start();
    send(&site);
    server.wait_for(1, Duration::from_secs(20));
    site.wait_for_event("relayed", |event| event["event"] == "relayed");
    relay.stop();
    let relay = site.start();
    let listed = routes(&site);
    assert_eq!((&listed["route"], &listed["sent_today"]), (&"mailjet.starter".into(), &1.into()), "{listed}");
    relay.stop();
}

#[test]
fn a_refused_ehlo_is_shown_with_its_advice_in_the_event_and_the_list_of_routes() {
    const REFUSAL: &str = "550 5.7.1 your HELO name does not match";
    let script = |line: &str| line.starts_with("EHLO").then(|| REFUSAL.to_owned());
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let site = Site::new(&[Customer { id: "dead", domain: "dead.example", route: plain_route(server.address) }]);
    let relay = site.start();
    send(&site);
    let deferred = site.wait_for_event("deferred", |event| event["event"] == "deferred");
    assert_eq!((&deferred["code"], &deferred["status"]), (&550.into(), &"5.7.1".into()), "{deferred}");
    assert!(deferred["reply"].as_str().is_some_and(|reply| reply.starts_with("your HELO name")), "{deferred}");
    assert!(deferred["detail"].as_str().is_some_and(|advice| advice.contains("hostname")), "{deferred}");
    let listed = routes(&site);
    let reason = listed["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with(REFUSAL) && reason.contains("hostname"), "{listed}");
    relay.stop();
}

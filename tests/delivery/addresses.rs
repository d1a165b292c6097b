//! A host with several addresses: each is tried in order until one takes the connection (RFC 5321 §5.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postbud::delivery::{Delivery, Outcome, Settings, StepResult, Trouble, Verdict};
use postbud::resolver::{FixedZone, Record};
use postbud::route::{Caps, Route, TlsMode, TlsPolicy};
use postbud::smtp::Mailbox;

use super::certs::Authority;
use super::messages::{attempt, login, message, route, settings_from};
use super::script::{Server, Step, hear, hello, say, takes_one};

const HOST: &str = "mail.kunde.test";

/// Two addresses of one host, with what they play.
struct Pair {
    first: Server,
    second: Server,
    delivery: Delivery,
    route: Route,
}

impl Pair {
    async fn start(first: Vec<Vec<Step>>, second: Vec<Vec<Step>>) -> Pair {
        let first = Server::start(first).await;
        let other = SocketAddr::from(([127, 0, 0, 2], first.address.port()));
        let second = Server::start_at(other, second).await;
        let zone = FixedZone::new();
        zone.add(HOST, Record::A([127, 0, 0, 1].into()));
        zone.add(HOST, Record::A([127, 0, 0, 2].into()));
        let settings = Settings { resolver: Some(Arc::new(zone)), ..settings_from([127, 0, 0, 1].into()) };
        let delivery = Delivery::new(settings).unwrap();
        // One message a connection: each attempt dials.
        let caps = Caps { messages_per_connection: 1, ..Caps::default() };
        let route = Route { host: HOST.to_owned(), caps, ..route(first.address) };
        Pair { first, second, delivery, route }
    }

    async fn attempt(&self) -> Outcome {
        attempt(&self.delivery, &Arc::new(self.route.clone()), &message(&["x@test.net"])).await
    }

    fn connections(&self) -> (usize, usize) {
        (self.first.connections(), self.second.connections())
    }
}

fn takes() -> Vec<Step> {
    [hello(&[]), takes_one()].concat()
}

#[tokio::test]
async fn an_address_that_accepts_the_connection_and_fails_leads_to_the_next_one() {
    let greeted = || say("220 mail.test.dk ESMTP");
    let failures: Vec<(&str, Vec<Step>)> = vec![
        ("421 as greeting", vec![say("421 4.3.2 too busy")]),
        ("554 as greeting", vec![say("554 5.7.1 no service here")]),
        ("no greeting", vec![Step::Hang]),
        ("junk as greeting", vec![say("HTTP/1.1 400 Bad Request")]),
        ("closed before the greeting", vec![]),
        ("reset after the greeting", vec![greeted(), hear("EHLO"), Step::Reset]),
        ("EHLO and HELO refused", vec![greeted(), hear("EHLO"), say("550 no"), hear("HELO"), say("550 no")]),
    ];
    for (what, script) in failures {
        let pair = Pair::start(vec![script], vec![takes(), takes()]).await;
        let outcome = pair.attempt().await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{what}: {outcome:?}");
        assert_eq!(outcome.trouble, None, "{what}: of the route there is none");
        pair.attempt().await;
        assert_eq!(pair.connections(), (1, 2), "{what}: the address that failed goes last for a while");
    }
}

#[tokio::test]
async fn tls_that_fails_at_one_address_is_tried_at_the_next() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, &authority.pem).unwrap();
    let starttls = |tls: Step| [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 2.0.0 go"), tls]].concat();
    let good = Step::Tls(Box::new(authority.issue(&[HOST])));
    let failures = [
        starttls(Step::Tls(Box::new(authority.issue_expired(&[HOST])))),
        starttls(Step::Tls(Box::new(authority.issue(&["other.test"])))),
        starttls(say("no TLS")),
        hello(&[]),
    ];
    for script in failures {
        let over_tls = [vec![hear("EHLO"), say("250 mail.test.dk")], takes_one()].concat();
        let mut pair = Pair::start(vec![script], vec![[starttls(good.clone()), over_tls].concat()]).await;
        pair.route.tls = TlsPolicy { mode: TlsMode::Required, ca_file: Some(ca_file.clone()), ..TlsPolicy::default() };
        let outcome = pair.attempt().await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_refused_login_is_not_tried_at_the_next_address() {
    for answer in [vec![say("535 5.7.8 wrong password")], vec![say("454 4.7.0 not now")], vec![]] {
        let script = [hello(&["AUTH PLAIN"]), vec![hear("AUTH PLAIN")], answer].concat();
        let mut pair = Pair::start(vec![script], vec![]).await;
        pair.route.login =
            login("webcrm", "wrong").map(|login| postbud::route::Login { allow_plaintext: true, ..login });
        let outcome = pair.attempt().await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
        assert_eq!(pair.connections(), (1, 0), "{outcome:?}");
    }
}

#[tokio::test]
async fn where_all_addresses_fail_the_text_says_so_with_what_a_server_said() {
    let pair = Pair::start(vec![vec![say("421 4.3.2 too busy")]], vec![vec![say("220 x"), hear("EHLO")]]).await;
    let outcome = pair.attempt().await;
    let reply = &outcome.recipients[0].meaning.reply;
    assert!(reply.starts_with("421 4.3.2 too busy (at greeting); 2 addresses of mail.kunde.test"), "{reply}");
    assert!(matches!(&outcome.trouble, Some(Trouble::BackOff { reason, .. }) if reason.contains("2 addresses")));
    assert_eq!(pair.connections(), (1, 1));
}

#[tokio::test]
async fn a_host_of_silent_addresses_ends_in_time() {
    let first = Server::start(vec![vec![Step::Hang]]).await;
    let port = first.address.port();
    let (zone, mut servers) = (FixedZone::new(), vec![first]);
    for last in 2..=7 {
        servers.push(Server::start_at(([127, 0, 0, last], port).into(), vec![vec![Step::Hang]]).await);
    }
    for server in &servers {
        let SocketAddr::V4(address) = server.address else { panic!() };
        zone.add(HOST, Record::A(*address.ip()));
    }
    let mut settings = Settings { resolver: Some(Arc::new(zone)), ..settings_from([127, 0, 0, 1].into()) };
    (settings.timeouts.connect, settings.timeouts.greeting) = (Duration::from_millis(50), Duration::from_millis(50));
    let route = Arc::new(Route { host: HOST.to_owned(), ..route(servers[0].address) });
    let outcome = attempt(&Delivery::new(settings).unwrap(), &route, &message(&["x@test.net"])).await;
    assert!(outcome.recipients[0].meaning.reply.contains("no answer within"), "{outcome:?}");
    let tried = servers.iter().filter(|server| server.connections() > 0).count();
    // Each takes 50 ms and more; none is begun after 200.
    assert!((1..=4).contains(&tried), "{tried}");
}

#[tokio::test]
async fn the_probe_warns_of_an_address_that_fails() {
    let rehearsal =
        vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("RSET"), say("250 ok"), hear("QUIT")];
    let second = vec![[hello(&[]), rehearsal].concat()];
    let pair = Pair::start(vec![vec![say("554 5.7.1 no service here")]], second).await;
    let mailbox = |text| Mailbox::parse(text).unwrap();
    let report = pair.delivery.probe(&Arc::new(pair.route.clone()), &mailbox("a@test.dk"), &mailbox("b@test.dk")).await;
    let warning = report.steps.iter().find(|step| step.finding == StepResult::Warning).expect("a warning");
    assert_eq!(warning.step.as_str(), "greeting", "{report}");
    assert!(warning.found.contains("554 5.7.1 no service here"), "{report}");
    assert!(warning.advice.as_deref().is_some_and(|advice| advice.contains("next address")), "{report}");
    assert_eq!(report.worst, StepResult::Warning, "{report}");
}

//! TLS: every policy, and every wrong certificate with a reason that a person can act on.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use postbud::delivery::{Outcome, Trouble, Verdict};
use postbud::route::{Route, TlsMode, TlsPolicy, TlsVersion};

use super::certs::{Authority, Issued, self_signed};
use super::messages::{attempt, delivery, login, message, route};
use super::script::{Server, Step, hear, hello, say, takes_one, tls_as};

struct Case {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Case {
    fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        std::fs::write(dir.path().join("ca.pem"), &authority.pem).unwrap();
        Case { dir, authority }
    }

    fn required(&self) -> TlsPolicy {
        TlsPolicy { mode: TlsMode::Required, ca_file: Some(self.file("ca.pem")), ..TlsPolicy::default() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A server that does STARTTLS with this certificate and then takes one message.
fn starttls(issued: Issued) -> Vec<Step> {
    starttls_with(Step::Tls(Box::new(issued)))
}

fn starttls_with(tls: Step) -> Vec<Step> {
    let after = [vec![hear("EHLO"), say("250 mail.test.dk")], takes_one()].concat();
    [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 2.0.0 go"), tls], after].concat()
}

async fn attempt_at(server: &Server, policy: TlsPolicy) -> Outcome {
    let route = Route { tls: policy, host: "127.0.0.1".to_owned(), ..route(server.address) };
    attempt(&delivery(), &Arc::new(route), &message(&["x@test.net"])).await
}

async fn outcome_with(issued: Issued, policy: TlsPolicy) -> Outcome {
    attempt_at(&Server::start(vec![starttls(issued)]).await, policy).await
}

fn delivered(outcome: &Outcome) {
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
}

/// The mail waits, the route backs off, and both say why; the advice is not the reason once more.
fn refused(outcome: &Outcome, hints: &[&str]) {
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
    let Some(Trouble::BackOff { reason, advice: Some(advice), .. }) = &outcome.trouble else { panic!("{outcome:?}") };
    for hint in hints {
        assert!([reason, advice].iter().any(|text| text.contains(hint)), "{hint} is not in: {reason}. {advice}");
    }
    assert!(!reason.contains(advice.as_str()) && !advice.contains(reason.as_str()), "{reason}. {advice}");
}

fn hex(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_certificate_of_the_named_authority_is_accepted() {
    let case = Case::new();
    delivered(&outcome_with(case.authority.issue(&["127.0.0.1"]), case.required()).await);
    let other = TlsPolicy { server_name: Some("mx.test.dk".to_owned()), ..case.required() };
    delivered(&outcome_with(case.authority.issue(&["mx.test.dk"]), other).await);
}

#[tokio::test]
async fn every_wrong_certificate_is_refused_with_its_reason() {
    let case = Case::new();
    let issue = &case.authority;
    refused(&outcome_with(issue.issue_expired(&["127.0.0.1"]), case.required()).await, &["expired on"]);
    refused(&outcome_with(issue.issue_early(&["127.0.0.1"]), case.required()).await, &["not valid yet"]);
    refused(
        &outcome_with(issue.issue(&["mx.other.dk", "192.0.2.7"]), case.required()).await,
        &["is for mx.other.dk, 192.0.2.7, not for 127.0.0.1"],
    );
    let stranger = Authority::new().issue(&["127.0.0.1"]);
    let pin = hex(&stranger.der);
    refused(&outcome_with(stranger, case.required()).await, &["authority that is not known here", &pin]);
    for ca in [false, true] {
        let own = self_signed(&["127.0.0.1"], ca);
        let pin = hex(&own.der);
        refused(&outcome_with(own, case.required()).await, &["self-signed", &pin]);
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_whatever_it_says_and_no_other_is() {
    let case = Case::new();
    let own = self_signed(&["nobody.example"], true);
    let pin = digest(&SHA256, &own.der).as_ref().try_into().unwrap();
    let policy = || TlsPolicy { ca_file: None, pinned_sha256: Some(pin), ..case.required() };
    delivered(&outcome_with(own, policy()).await);
    let other = case.authority.issue(&["127.0.0.1"]);
    let found = hex(&other.der);
    refused(&outcome_with(other, policy()).await, &["not the pinned one", &found]);
}

#[tokio::test]
async fn a_self_signed_certificate_may_stand_in_ca_file() {
    let case = Case::new();
    for ca in [false, true] {
        let own = self_signed(&["127.0.0.1"], ca);
        std::fs::write(case.file("own.pem"), &own.chain).unwrap();
        let policy = TlsPolicy { ca_file: Some(case.file("own.pem")), ..case.required() };
        delivered(&outcome_with(own, policy).await);
        let misnamed = self_signed(&["other.dk"], ca);
        std::fs::write(case.file("own.pem"), &misnamed.chain).unwrap();
        let policy = TlsPolicy { ca_file: Some(case.file("own.pem")), ..case.required() };
        refused(&outcome_with(misnamed, policy).await, &["other.dk"]);
    }
}

#[tokio::test]
async fn required_tls_never_falls_back() {
    let case = Case::new();
    // Stripped from the EHLO answer; refused; accepted and then not spoken.
    let stripped = vec![hello(&["PIPELINING"])];
    let refusing = vec![hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("454 4.7.0 not now")]];
    let broken =
        vec![hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 go"), Step::HearSome(10), say("500 what?")]];
    for script in [stripped, refusing, broken] {
        let server = Server::start(vec![script.concat()]).await;
        let outcome = attempt_at(&server, case.required()).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
        assert!(matches!(outcome.trouble, Some(Trouble::BackOff { .. })));
        assert!(!server.heard().concat().iter().any(|line| line.starts_with("MAIL")));
    }
}

#[tokio::test]
async fn words_injected_behind_starttls_are_fatal() {
    let case = Case::new();
    let injected = [
        hello(&["STARTTLS"]),
        vec![
            hear("STARTTLS"),
            Step::Say(b"220 go\r\n250-mail.test.dk\r\n250 AUTH PLAIN\r\n".to_vec()),
            Step::Tls(Box::new(case.authority.issue(&["127.0.0.1"]))),
        ],
    ];
    let server = Server::start(vec![injected.concat()]).await;
    refused(&attempt_at(&server, case.required()).await, &["more in clear"]);
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate_and_goes_without_where_it_must() {
    let policy = || TlsPolicy { mode: TlsMode::Opportunistic, ..TlsPolicy::default() };
    delivered(&outcome_with(self_signed(&["nobody.example"], true), policy()).await);
    let none = Server::start(vec![[hello(&[]), takes_one()].concat()]).await;
    delivered(&attempt_at(&none, policy()).await);
    let broken = [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 go"), Step::HearSome(10), say("500 what?")]];
    let broken = Server::start(vec![broken.concat(), [hello(&["STARTTLS"]), takes_one()].concat()]).await;
    delivered(&attempt_at(&broken, policy()).await);
    // It wants a certificate of ours, and with TLS 1.3 says so only after the handshake.
    let (issued, clients) = (self_signed(&["127.0.0.1"], false), Authority::new());
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let asking = starttls_with(Step::TlsAs(tls_as(&issued, versions, Some(&clients))));
        let asking = Server::start(vec![asking, [hello(&["STARTTLS"]), takes_one()].concat()]).await;
        delivered(&attempt_at(&asking, policy()).await);
    }
}

#[tokio::test]
async fn a_handshake_that_failed_once_where_the_server_wants_tls_makes_the_route_wait_and_not_a_person_act() {
    let issued = self_signed(&["127.0.0.1"], false);
    let wants_tls = "530 5.7.0 Must issue a STARTTLS command first";
    let server = Server::start(vec![
        [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 go"), Step::HearSome(10), Step::Reset]].concat(),
        [hello(&["STARTTLS"]), vec![hear("MAIL"), say(wants_tls), hear("QUIT"), say("221 bye")]].concat(),
        starttls(issued),
    ])
    .await;
    let tls = TlsPolicy { mode: TlsMode::Opportunistic, ..TlsPolicy::default() };
    let route = Arc::new(Route { tls, host: "127.0.0.1".to_owned(), ..route(server.address) });
    let delivery = delivery();
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].meaning.reply, wants_tls);
    refused(&outcome, &[wants_tls, "the TLS handshake failed", "minimum version"]);
    // The one in clear is not kept.
    delivered(&attempt(&delivery, &route, &message(&["x@test.net"])).await);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn implicit_tls_speaks_tls_first() {
    let case = Case::new();
    let issued = case.authority.issue(&["127.0.0.1"]);
    let script = [vec![Step::Tls(Box::new(issued))], hello(&[]), takes_one()].concat();
    let server = Server::start(vec![script]).await;
    delivered(&attempt_at(&server, TlsPolicy { mode: TlsMode::Implicit, ..case.required() }).await);
    let plain = Server::start(vec![vec![say("220 mail.test.dk"), Step::Hang]]).await;
    let outcome = attempt_at(&plain, TlsPolicy { mode: TlsMode::Implicit, ..case.required() }).await;
    refused(&outcome, &["not TLS"]);
}

#[tokio::test]
async fn a_file_that_is_missing_makes_mail_wait_and_is_named() {
    let case = Case::new();
    let server = Server::start(vec![]).await;
    let policy = TlsPolicy { ca_file: Some(case.file("gone.pem")), ..case.required() };
    refused(&attempt_at(&server, policy).await, &["gone.pem"]);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_password_is_not_sent_in_clear() {
    for policy in [TlsMode::Off, TlsMode::Opportunistic] {
        let server = Server::start(vec![hello(&["AUTH PLAIN LOGIN CRAM-MD5"])]).await;
        let mut route = route(server.address);
        route.tls.mode = policy;
        route.login = login("webcrm", "secret");
        let outcome = attempt(&delivery(), &Arc::new(route), &message(&["x@test.net"])).await;
        refused(&outcome, &["no TLS"]);
        assert!(!server.heard().concat().iter().any(|line| line.starts_with("AUTH")));
    }
}

#[tokio::test]
async fn a_password_that_waits_for_tls_says_why_there_is_none() {
    let broken = [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 go"), Step::HearSome(10), say("500 what?")]];
    let server = Server::start(vec![broken.concat(), hello(&["STARTTLS", "AUTH PLAIN"])]).await;
    let tls = TlsPolicy { mode: TlsMode::Opportunistic, ..TlsPolicy::default() };
    let route = Route { tls, login: login("webcrm", "secret"), ..route(server.address) };
    let outcome = attempt(&delivery(), &Arc::new(route), &message(&["x@test.net"])).await;
    refused(&outcome, &["not sent in clear", "is not TLS", "minimum version"]);
}

#[tokio::test]
async fn a_server_that_asks_for_our_certificate_gets_it() {
    let case = Case::new();
    let clients = Authority::new();
    let server = case.authority.issue(&["127.0.0.1"]);
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let asking = || starttls_with(Step::TlsAs(tls_as(&server, versions, Some(&clients))));
        let certified = |issued: Issued| {
            issued.write(case.dir.path());
            TlsPolicy { client_certificate: Some((case.file("cert.pem"), case.file("cert.key"))), ..case.required() }
        };
        let known = certified(clients.issue(&["out.webcrm.test"]));
        delivered(&attempt_at(&Server::start(vec![asking()]).await, known).await);
        let stranger = certified(self_signed(&["out.webcrm.test"], false));
        for (policy, hint) in [
            (case.required(), "the server wants a certificate of ours; give the route client_certificate"),
            (stranger, "the server does not accept the route's client_certificate"),
        ] {
            let outcome = attempt_at(&Server::start(vec![asking()]).await, policy).await;
            assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
            let Some(Trouble::BackOff { reason, .. }) = &outcome.trouble else { panic!("{outcome:?}") };
            assert!(reason.contains(hint), "{hint} is not in: {reason}");
        }
    }
}

#[tokio::test]
async fn a_server_older_than_the_minimum_version_is_refused() {
    let case = Case::new();
    let server = case.authority.issue(&["127.0.0.1"]);
    let minimum = |minimum| TlsPolicy { minimum, ..case.required() };
    let old = || starttls_with(Step::TlsAs(tls_as(&server, &[&rustls::version::TLS12], None)));
    delivered(&attempt_at(&Server::start(vec![old()]).await, minimum(TlsVersion::Tls12)).await);
    let outcome = attempt_at(&Server::start(vec![old()]).await, minimum(TlsVersion::Tls13)).await;
    refused(&outcome, &["no common TLS version"]);
    let new = starttls_with(Step::TlsAs(tls_as(&server, &[&rustls::version::TLS13], None)));
    delivered(&attempt_at(&Server::start(vec![new]).await, minimum(TlsVersion::Tls13)).await);
}

#[tokio::test]
async fn a_reload_reads_certificate_files_anew() {
    let case = Case::new();
    let successor = Authority::new();
    let (old, new) = (case.authority.issue(&["127.0.0.1"]), successor.issue(&["127.0.0.1"]));
    let kept = [starttls(new.clone()), takes_one()].concat();
    let server = Server::start(vec![starttls(old), starttls(new.clone()), kept, starttls(new)]).await;
    let route = Arc::new(Route { tls: case.required(), host: "127.0.0.1".to_owned(), ..route(server.address) });
    let delivery = delivery();
    let one = async || attempt(&delivery, &route, &message(&["x@test.net"])).await;
    delivered(&one().await);
    // The server changes over to another authority, and the operator puts that one into the file the route names.
    std::fs::write(case.file("ca.pem"), &successor.pem).unwrap();
    refused(&one().await, &["authority that is not known here"]);
    delivery.retain(std::slice::from_ref(&route));
    delivered(&one().await);
    delivered(&one().await);
    assert_eq!((server.connections(), delivery.idle_connections()), (3, 1), "the last one is kept");
    // The file may have changed again: what was agreed by the old one is not used for further mail.
    delivery.retain(std::slice::from_ref(&route));
    assert_eq!(delivery.idle_connections(), 0);
    delivered(&one().await);
    assert_eq!(server.connections(), 4);
}

//! The probe's reports on unusual servers.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use postbud::delivery::{Delivery, ProbeReport, Settings, StepResult};
use postbud::message::ReturnPaths;
use postbud::route::{Route, TlsMode, TlsPolicy};
use postbud::smtp::{Domain, Mailbox};
use zeroize::Zeroizing;

use super::certs::self_signed;
use super::messages::{delivery, login, route, settings_from};
use super::script::{Server, Step, hear, hello, say};

fn rehearsal() -> Vec<Step> {
    vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("RSET"), say("250 ok"), hear("QUIT")]
}

async fn probe(delivery: &Delivery, route: Route) -> ProbeReport {
    let mailbox = |text| Mailbox::parse(text).unwrap();
    delivery.probe(&Arc::new(route), &mailbox("a@test.dk"), &mailbox("b@test.dk")).await
}

#[tokio::test]
async fn commands_have_the_time_that_a_delivery_gives_them() {
    let mut slow = rehearsal();
    slow.insert(1, Step::Pause(Duration::from_millis(600)));
    let server = Server::start(vec![[hello(&[]), slow].concat()]).await;
    let mut settings = settings_from([127, 0, 0, 1].into());
    settings.timeouts.handshake = Duration::from_millis(300);
    settings.timeouts.mail = Duration::from_secs(10);
    let report = probe(&Delivery::new(settings).unwrap(), route(server.address)).await;
    assert!(report.steps.iter().any(|step| step.step.as_str() == "MAIL" && step.finding == StepResult::Ok), "{report}");
}

#[tokio::test]
async fn a_login_over_tls_that_trusts_anyone_is_a_warning() {
    let issued = self_signed(&["127.0.0.1"], false);
    let script = [
        hello(&["STARTTLS"]),
        vec![hear("STARTTLS"), say("220 go"), Step::Tls(Box::new(issued))],
        vec![hear("EHLO"), say("250-mail.test.dk\r\n250 AUTH PLAIN"), hear("AUTH"), say("235 ok")],
        rehearsal(),
    ]
    .concat();
    let server = Server::start(vec![script]).await;
    let tls = TlsPolicy { mode: TlsMode::Opportunistic, ..TlsPolicy::default() };
    let report = probe(&delivery(), Route { tls, login: login("webcrm", "secret"), ..route(server.address) }).await;
    let warning = report.steps.iter().find(|step| step.finding == StepResult::Warning).expect("a warning");
    assert_eq!(warning.step.as_str(), "login", "{report}");
    assert!(warning.advice.as_deref().is_some_and(|advice| advice.contains("tls = \"required\"")), "{report}");
}

#[tokio::test]
async fn a_handshake_that_failed_is_told_and_required_tls_is_not_advised() {
    let broken = [hello(&["STARTTLS"]), vec![hear("STARTTLS"), say("220 go"), Step::HearSome(10), say("500 what?")]];
    let server = Server::start(vec![broken.concat(), [hello(&["STARTTLS"]), rehearsal()].concat()]).await;
    let tls = TlsPolicy { mode: TlsMode::Opportunistic, ..TlsPolicy::default() };
    let report = probe(&delivery(), Route { tls, ..route(server.address) }).await;
    let warnings: Vec<_> = report.steps.iter().filter(|step| step.finding == StepResult::Warning).collect();
    let [warning] = warnings.as_slice() else { panic!("{report}") };
    assert!(warning.found.contains("is not TLS"), "{report}");
    assert!(warning.advice.as_deref().is_some_and(|advice| advice.contains("minimum version")), "{report}");
    assert!(!report.to_string().contains("required"), "{report}");
    assert_eq!(report.worst, StepResult::Warning);
}

#[tokio::test]
async fn a_step_has_the_same_name_in_success_and_failure() {
    let issued = self_signed(&["127.0.0.1"], false);
    let pin = digest(&SHA256, &issued.der).as_ref().try_into().unwrap();
    let tls = TlsPolicy { mode: TlsMode::Required, pinned_sha256: Some(pin), ..TlsPolicy::default() };
    let script = [
        vec![say("220 mail.test.dk"), hear("EHLO"), say("250-mail.test.dk\r\n250-STARTTLS\r\n250 AUTH PLAIN")],
        vec![hear("STARTTLS"), say("220 go"), Step::Tls(Box::new(issued))],
        vec![hear("EHLO"), say("250-mail.test.dk\r\n250 AUTH PLAIN"), hear("AUTH"), say("235 ok")],
        rehearsal(),
    ]
    .concat();
    let probed = async |script: Vec<Step>| {
        let server = Server::start(vec![script]).await;
        let tls = tls.clone();
        probe(&delivery(), Route { tls, login: login("webcrm", "secret"), ..route(server.address) }).await
    };
    let report = probed(script.clone()).await;
    let names: Vec<_> = report.steps.iter().map(|step| step.step.as_str()).collect();
    let all = ["resolve", "connect", "greeting", "hello", "tls", "hello", "login", "certificate"];
    assert_eq!(names, [&all[..], &["MAIL", "RCPT", "RSET"]].concat(), "{report}");
    // The server says no, at each answer in turn.
    let answers: Vec<usize> = (0..script.len()).filter(|at| matches!(script[*at], Step::Say(_))).collect();
    let steps = ["greeting", "hello", "tls", "hello", "login", "MAIL", "RCPT", "RSET"];
    for (at, step) in answers.into_iter().zip(steps) {
        let refusing = [&script[..at], &[say("421 4.7.0 no")]].concat();
        let report = probed(refusing).await;
        let last = report.steps.last().unwrap();
        assert_eq!((last.step.as_str(), last.finding), (step, StepResult::Failed), "{report}");
    }
}

#[tokio::test]
async fn a_server_that_takes_the_mailbox_alone_fails_at_the_return_path() {
    let refusing = [
        hello(&[]),
        vec![hear("MAIL FROM:<a@test.dk>"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("RSET"), say("250 ok")],
        vec![hear("MAIL FROM:<r-"), say("550 5.7.60 SMTP; Client does not have permissions to send as this sender")],
    ];
    let server = Server::start(vec![refusing.concat()]).await;
    let paths = ReturnPaths::new(Domain::parse("returns.webcrm.test").unwrap(), &[Zeroizing::new([7; 32])]);
    let settings = Settings { return_paths: Some(Arc::new(paths)), ..settings_from([127, 0, 0, 1].into()) };
    let delivery = Delivery::new(settings).unwrap();
    let report = probe(&delivery, Route { verp: true, ..route(server.address) }).await;
    let last = report.steps.last().unwrap();
    assert_eq!((last.step.as_str(), last.finding), ("return path", StepResult::Failed), "{report}");
    assert!(last.found.contains("@returns.webcrm.test>: 550 5.7.60"), "{report}");
    let advice = last.advice.as_deref().expect("advice");
    assert!(advice.contains("returns.webcrm.test") && advice.contains("return_path = \"sender\""), "{report}");
    assert_eq!(report.worst, StepResult::Failed);
    assert!(report.to_string().ends_with("mail cannot be delivered here now"), "{report}");
    // The mailbox itself is taken, and only that counts where mail leaves with its own sender.
    let own = [hello(&[]), rehearsal()].concat();
    let server = Server::start(vec![own]).await;
    let report = probe(&delivery, route(server.address)).await;
    assert!(report.steps.iter().all(|step| step.step.as_str() != "return path"), "{report}");
    assert_ne!(report.worst, StepResult::Failed, "{report}");
}

#[tokio::test]
async fn advice_knows_the_login_that_the_route_has() {
    let wants_login = [
        hello(&["AUTH PLAIN"]),
        vec![hear("AUTH"), say("235 ok"), hear("MAIL"), say("530 5.7.57 Client not authenticated to send mail")],
    ];
    let server = Server::start(vec![wants_login.concat()]).await;
    let mut login = login("webcrm", "secret");
    login.as_mut().unwrap().allow_plaintext = true;
    let report = probe(&delivery(), Route { login, ..route(server.address) }).await;
    let advice = report.steps.last().unwrap().advice.as_deref().expect("advice");
    assert!(advice.contains("does not take our login"), "{report}");
}

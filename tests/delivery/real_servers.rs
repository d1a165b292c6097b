//! Real servers: STARTTLS and login in their several ways, and the probe against them.

use std::sync::Arc;

use postbud::delivery::{StepResult, Trouble, Verdict};
use postbud::route::{Login, Route, TlsMode, TlsPolicy};
use postbud::smtp::{Mailbox, Mechanism};

use super::messages::{attempt, login, message, message_of, patient_delivery, route};
use super::peers::{
    Options, PASSWORD, Peer, REALM, USERNAME, start_aiosmtpd, start_dovecot, start_exim, start_postfix,
};

/// A route to a peer, with its authority and this login.
fn route_to(peer: &Peer, mode: TlsMode, login: Option<Login>) -> Route {
    let tls = TlsPolicy { mode, ca_file: Some(peer.ca.clone()), ..TlsPolicy::default() };
    Route { tls, login, host: "localhost".to_owned(), ..route(peer.smtp) }
}

fn postfix_login() -> Option<Login> {
    login(&format!("{USERNAME}@{REALM}"), PASSWORD)
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_takes_mail_after_starttls_and_login() {
    let Some(postfix) = start_postfix("postfix_takes_mail_after_starttls_and_login", &Options::default()) else {
        return;
    };
    let (delivery, route) = (patient_delivery(), Arc::new(route_to(&postfix, TlsMode::Required, postfix_login())));
    for _ in 0..3 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net", "y@test.net"])).await;
        assert!(
            outcome.recipients.iter().all(|r| r.meaning.verdict == Verdict::Relayed),
            "{outcome:?}\n{}",
            postfix.log()
        );
    }
    let mails = postfix.wait_for_mails(6);
    assert!(
        mails
            .iter()
            .all(|mail| mail.contains("DKIM-Signature: v=1\nSubject: test\n") && mail.ends_with("\nbody\n.dot\n"))
    );
    assert_eq!(postfix.log().matches("]: connect from").count(), 2, "one probe that it listens, one kept connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_takes_every_mechanism_and_a_wrong_password_suspends() {
    for (mechanisms, clear) in [("LOGIN", false), ("CRAM-MD5", false), ("CRAM-MD5", true)] {
        let options = Options { mechanisms, login_in_clear: clear, starttls: !clear, ..Options::default() };
        let Some(postfix) = start_postfix("postfix_takes_every_mechanism_and_a_wrong_password_suspends", &options)
        else {
            return;
        };
        let mode = if clear { TlsMode::Off } else { TlsMode::Required };
        let mut known = postfix_login().unwrap();
        known.allow_plaintext = clear;
        let good = Arc::new(route_to(&postfix, mode, Some(known)));
        let outcome = attempt(&patient_delivery(), &good, &message(&["x@test.net"])).await;
        assert_eq!(
            outcome.recipients[0].meaning.verdict,
            Verdict::Relayed,
            "{mechanisms}: {outcome:?}\n{}",
            postfix.log()
        );
        let mut wrong = login(&format!("{USERNAME}@{REALM}"), "wrong").unwrap();
        wrong.allow_plaintext = clear;
        let bad = Arc::new(route_to(&postfix, mode, Some(wrong)));
        let outcome = attempt(&patient_delivery(), &bad, &message(&["x@test.net"])).await;
        assert!(matches!(outcome.trouble, Some(Trouble::Suspend { .. })), "{mechanisms}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_arrives_as_it_was() {
    let Some(postfix) = start_postfix("a_large_message_arrives_as_it_was", &Options::default()) else { return };
    let lines: Vec<String> = (0..200_000).map(|i| format!(".{i:07} {}\r\n", "x".repeat(40))).collect();
    let chunks: Vec<String> = lines.chunks(5000).map(<[String]>::concat).collect();
    let mut parts = vec!["Subject: large\r\nFrom: a@test.dk\r\n\r\n"];
    parts.extend(chunks.iter().map(String::as_str));
    let route = Arc::new(route_to(&postfix, TlsMode::Required, postfix_login()));
    let outcome = attempt(&patient_delivery(), &route, &message_of(&["x@test.net"], &parts)).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
    let mail = postfix.wait_for_mails(1).remove(0);
    let body = mail.split_once("\n\n").unwrap().1;
    assert!(body == chunks.concat().replace("\r\n", "\n"), "the body was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_hears_the_mechanism_that_the_route_names() {
    let options = Options { mechanisms: "PLAIN LOGIN CRAM-MD5", ..Options::default() };
    let Some(postfix) = start_postfix("postfix_hears_the_mechanism_that_the_route_names", &options) else { return };
    for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::CramMd5] {
        let named = postfix_login().map(|login| Login { mechanism: Some(mechanism), ..login });
        let route = Arc::new(route_to(&postfix, TlsMode::Required, named));
        let outcome = attempt(&patient_delivery(), &route, &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}\n{}", postfix.log());
        let method = format!("sasl_method={}", mechanism.as_str());
        assert_eq!(postfix.log().matches(&method).count(), 1, "{}", postfix.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_too_long_for_the_command_reaches_real_servers_whole() {
    const TEST: &str = "a_password_too_long_for_the_command_reaches_real_servers_whole";
    let options = Options { mechanisms: "PLAIN", ..Options::default() };
    let open = Options { starttls: false, login: false, ..Options::default() };
    let Some(behind) = start_postfix(TEST, &open) else { return };
    for server in
        [start_postfix(TEST, &options), start_exim(TEST, &options), start_dovecot(TEST, &options, behind.smtp)]
    {
        let Some(server) = server else { continue };
        let route = Arc::new(route_to(&server, TlsMode::Required, login(USERNAME, &"p".repeat(600))));
        let outcome = attempt(&patient_delivery(), &route, &message(&["x@test.net"])).await;
        let Some(Trouble::Suspend { reason, .. }) = &outcome.trouble else { panic!("{outcome:?}\n{}", server.log()) };
        assert!(reason.starts_with("535"), "{reason}\n{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exim_takes_mail_after_starttls_and_login() {
    for mechanisms in ["PLAIN", "CRAM-MD5"] {
        let options = Options { mechanisms, ..Options::default() };
        let Some(exim) = start_exim("exim_takes_mail_after_starttls_and_login", &options) else { return };
        let route = Arc::new(route_to(&exim, TlsMode::Required, login(USERNAME, PASSWORD)));
        let delivery = patient_delivery();
        for _ in 0..2 {
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            assert_eq!(
                outcome.recipients[0].meaning.verdict,
                Verdict::Relayed,
                "{mechanisms}: {outcome:?}\n{}",
                exim.log()
            );
        }
        let mails = exim.wait_for_mails(2);
        assert!(
            mails
                .iter()
                .all(|mail| mail.contains("DKIM-Signature: v=1\nSubject: test\n") && mail.contains("\nbody\n.dot\n"))
        );
        let wrong = Arc::new(route_to(&exim, TlsMode::Required, login(USERNAME, "wrong")));
        let outcome = attempt(&delivery, &wrong, &message(&["x@test.net"])).await;
        assert!(matches!(outcome.trouble, Some(Trouble::Suspend { .. })), "{mechanisms}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dovecot_takes_mail_after_starttls_and_login_and_hands_it_on() {
    const TEST: &str = "dovecot_takes_mail_after_starttls_and_login_and_hands_it_on";
    let open = Options { starttls: false, login: false, ..Options::default() };
    let Some(behind) = start_postfix(TEST, &open) else { return };
    for (sent, mechanisms) in [(2, "PLAIN"), (4, "LOGIN"), (6, "CRAM-MD5")] {
        let options = Options { mechanisms, ..Options::default() };
        let Some(dovecot) = start_dovecot(TEST, &options, behind.smtp) else { return };
        let route = Arc::new(route_to(&dovecot, TlsMode::Required, login(USERNAME, PASSWORD)));
        let delivery = patient_delivery();
        for _ in 0..2 {
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            let log = dovecot.log();
            assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{mechanisms}: {outcome:?}\n{log}");
        }
        let mails = behind.wait_for_mails(sent);
        assert!(
            mails
                .iter()
                .all(|mail| mail.contains("DKIM-Signature: v=1\nSubject: test\n") && mail.ends_with("\nbody\n.dot\n"))
        );
        assert!(dovecot.log().contains(&format!("method={mechanisms}")), "{}", dovecot.log());
        let wrong = Arc::new(route_to(&dovecot, TlsMode::Required, login(USERNAME, "wrong")));
        let outcome = attempt(&delivery, &wrong, &message(&["x@test.net"])).await;
        assert!(matches!(outcome.trouble, Some(Trouble::Suspend { .. })), "{mechanisms}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_only_auth_login_takes_mail() {
    let Some(server) = start_aiosmtpd("a_server_that_knows_only_auth_login_takes_mail") else { return };
    let route = Arc::new(route_to(&server, TlsMode::Required, login(USERNAME, PASSWORD)));
    let delivery = patient_delivery();
    for _ in 0..2 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}\n{}", server.log());
    }
    let mails = server.wait_for_mails(2);
    assert!(
        mails.iter().all(|mail| mail.starts_with("DKIM-Signature: v=1\r\n") && mail.ends_with("\r\nbody\r\n.dot\r\n"))
    );
    assert!(server.log().contains("LOGIN accepted"), "{}", server.log());
    let wrong = Arc::new(route_to(&server, TlsMode::Required, login(USERNAME, "wrong")));
    let outcome = attempt(&delivery, &wrong, &message(&["x@test.net"])).await;
    assert!(matches!(outcome.trouble, Some(Trouble::Suspend { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_walks_every_step_and_sends_nothing() {
    let Some(postfix) = start_postfix("the_probe_walks_every_step_and_sends_nothing", &Options::default()) else {
        return;
    };
    let (from, to) = (Mailbox::parse("a@test.dk").unwrap(), Mailbox::parse("x@test.net").unwrap());
    let delivery = patient_delivery();
    let report = delivery.probe(&Arc::new(route_to(&postfix, TlsMode::Required, postfix_login())), &from, &to).await;
    let steps: Vec<_> = report.steps.iter().map(|step| step.step.as_str()).collect();
    let walked = [
        "resolve",
        "connect",
        "greeting",
        "hello",
        "tls",
        "hello",
        "login",
        "certificate",
        "MAIL",
        "RCPT",
        "RSET",
        "open relay",
    ];
    assert_eq!(steps, walked, "{report}");
    assert_eq!(report.worst, StepResult::Ok, "{report}");
    assert!(report.steps[7].found.contains("localhost, 127.0.0.1"), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["steps"][0]["finding"], "ok");

    let wrong = delivery.probe(&Arc::new(route_to(&postfix, TlsMode::Required, login("x", "wrong"))), &from, &to).await;
    assert_eq!(wrong.worst, StepResult::Failed);
    let last = wrong.steps.last().unwrap();
    assert_eq!(last.step.as_str(), "login", "{wrong}");
    assert!(last.advice.as_deref().unwrap().contains("username and password"), "{wrong}");
    assert!(postfix.mails().is_empty(), "nothing was sent");
}

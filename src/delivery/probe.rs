//! The probe: connects to a customer's server step by step, as a delivery would, and says what each step found and what
//! to do about it. It sends no mail, because it never sends DATA.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::connection::{Broken, Connection};
use super::dial::Failure;
use super::outcome::clip;
use super::pool::Pool;
use super::reply::classify::{Context, Phase, classify, is_internal};
use super::step::{Step, StepLog};
use super::tls::certificate::{describe, fingerprint, is_pinnable};
use super::{Delivery, Timeouts, egress};
use crate::hex::hex;
use crate::message::{QueueId, Recipient, Returned};
use crate::route::{Route, TlsMode, TlsVersion};
use crate::smtp::{Mailbox, Reply};
use crate::time::Timestamp;

/// How well a step went, or the whole probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// The step went as it should.
    Ok,
    /// Mail goes through, but somebody should look at it.
    Warning,
    /// Mail does not go through.
    Failed,
}

/// One step of the probe.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProbeStep {
    /// The step that was tried.
    #[schemars(with = "String")]
    pub step: Step,
    /// How the step went.
    pub finding: StepResult,
    /// How long the step took, in milliseconds.
    pub took_ms: f64,
    /// What the step found.
    pub found: String,
    /// What a person should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// All steps of a probe. The text form is for people, the JSON form for machines.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProbeReport {
    /// The name of the route that was tried.
    pub route: String,
    /// The server as `host:port`.
    pub server: String,
    /// The worst result of all steps.
    #[serde(rename = "verdict")]
    pub worst: StepResult,
    /// The steps in the order taken. The first failure ends the list.
    pub steps: Vec<ProbeStep>,
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.server, self.route)?;
        for step in &self.steps {
            let mark = match step.finding {
                StepResult::Ok => "ok  ",
                StepResult::Warning => "WARN",
                StepResult::Failed => "FAIL",
            };
            writeln!(f, "{mark} {:<12} {:>8.1} ms  {}", step.step, step.took_ms, step.found)?;
            if let Some(advice) = &step.advice {
                writeln!(f, "     {:<12}              → {advice}", "")?;
            }
        }
        f.write_str(match self.worst {
            StepResult::Ok => "mail can be delivered here",
            StepResult::Warning => "mail can be delivered here; see the warnings",
            StepResult::Failed => "mail cannot be delivered here now",
        })
    }
}

impl ProbeReport {
    fn new(route: &Route) -> Self {
        ProbeReport {
            route: route.id.as_str().to_owned(),
            server: format!("{}:{}", route.host, route.port),
            worst: StepResult::Ok,
            steps: Vec::new(),
        }
    }

    fn add(
        &mut self,
        step: Step,
        finding: StepResult,
        took: Duration,
        found: impl Into<String>,
        advice: Option<String>,
    ) {
        self.worst = self.worst.max(finding);
        let took_ms = (took.as_secs_f64() * 1e4).round() / 10.0;
        self.steps.push(ProbeStep { step, finding, took_ms, found: found.into(), advice });
    }

    fn add_failure(&mut self, failure: &Failure, took: Duration) {
        let advice = failure.advice().map(str::to_owned);
        self.add(failure.step, StepResult::Failed, took, failure.reason.clone(), advice);
    }
}

impl Delivery {
    /// Probes a route with this sender and recipient. It uses its own connections, and the route's login if it has one.
    /// A refused login is tried once.
    pub async fn probe(&self, route: &Arc<Route>, from: &Mailbox, to: &Mailbox) -> ProbeReport {
        let (settings, counters) = (&self.shared.settings, &self.shared.counters);
        let mut report = ProbeReport::new(route);
        let begun = Instant::now();
        match egress::resolve_for_people(settings, route).await {
            Ok(found) => report.add(Step::Resolve, StepResult::Ok, begun.elapsed(), found, None),
            Err(error) => {
                let advice = error.advice().map(str::to_owned);
                report.add(Step::Resolve, StepResult::Failed, begun.elapsed(), error.to_string(), advice);
                return report;
            }
        }
        let pool = Pool::new(Arc::clone(route));
        let mut log = StepLog::kept();
        let begun = Instant::now();
        let dialled = pool.dial(settings, counters, &mut log).await;
        let steps = log.steps();
        let took = steps.iter().map(|step| step.took).sum();
        for step in steps {
            let finding = if step.advice.is_some() { StepResult::Warning } else { StepResult::Ok };
            report.add(step.step, finding, step.took, step.found, step.advice);
        }
        let mut connection = match dialled {
            Ok(connection) => connection,
            Err(failure) => {
                report.add_failure(&failure, begun.elapsed().saturating_sub(took));
                return report;
            }
        };
        report_protection(&mut report, &connection, route);
        if self.rehearse(&mut report, route, &mut connection, from, to).await
            && self.offer_return_path(&mut report, route, &mut connection).await
        {
            connection.quit(settings.timeouts.quit).await;
            self.look_for_open_relay(&mut report, route, from, to).await;
        }
        report
    }

    /// Sends MAIL and RCPT as a delivery would, then RSET. Returns false if the server refused one of them or did not answer.
    async fn rehearse(
        &self,
        report: &mut ProbeReport,
        route: &Route,
        connection: &mut Connection,
        from: &Mailbox,
        to: &Mailbox,
    ) -> bool {
        let Timeouts { mail, rcpt, .. } = self.shared.settings.timeouts;
        let dialogue = [
            (Step::Mail, format!("MAIL FROM:<{from}>"), mail),
            (Step::Rcpt, format!("RCPT TO:<{to}>"), rcpt),
            (Step::Rset, "RSET".to_owned(), mail),
        ];
        for (step, line, limit) in dialogue {
            let begun = Instant::now();
            match connection.ask(&line, limit).await {
                Ok(reply) if reply.code / 100 == 2 => {
                    report.add(step, StepResult::Ok, begun.elapsed(), format!("{line}: {reply}"), None);
                }
                answer => {
                    let advice =
                        answer.as_ref().ok().and_then(|reply| self.advice(route, connection, step, reply, from, to));
                    report.add(step, StepResult::Failed, begun.elapsed(), told(&line, &answer), advice);
                    return false;
                }
            }
        }
        true
    }

    /// Asks whether the server takes the relay's own return path, where mail leaves with one. Returns false if it does not.
    async fn offer_return_path(&self, report: &mut ProbeReport, route: &Route, connection: &mut Connection) -> bool {
        let settings = &self.shared.settings;
        let Some(paths) = settings.return_paths.as_ref().filter(|_| route.verp) else { return true };
        let returned = Returned { queue_id: QueueId::first_at(Timestamp::now()), index: 0 };
        let line = format!("MAIL FROM:<{}>", paths.address(returned));
        let begun = Instant::now();
        match connection.ask(&line, settings.timeouts.mail).await {
            Ok(reply) if reply.code / 100 == 2 => {
                report.add(Step::ReturnPath, StepResult::Ok, begun.elapsed(), format!("{line}: {reply}"), None);
                connection.ask("RSET", settings.timeouts.mail).await.is_ok()
            }
            answer => {
                let advice = format!(
                    "the server does not take this sender: have it allow mail from {}, or write return_path = \"sender\" in [route] \
                     of the customer's file",
                    paths.domain()
                );
                report.add(Step::ReturnPath, StepResult::Failed, begun.elapsed(), told(&line, &answer), Some(advice));
                false
            }
        }
    }

    fn advice(
        &self,
        route: &Route,
        connection: &Connection,
        step: Step,
        reply: &Reply,
        from: &Mailbox,
        to: &Mailbox,
    ) -> Option<String> {
        let internal = from.domain().zip(to.domain()).is_some_and(|(from, to)| is_internal(from, to));
        // A refusal of RSET says nothing about the recipient, and belongs to no phase of a delivery.
        let phase = match step {
            Step::Mail => Phase::Mail,
            Step::Rcpt => Phase::Rcpt,
            _ => return None,
        };
        let egress = self.shared.settings.egress.address;
        let recipients = [Recipient::new(to.clone())];
        let context = Context {
            internal,
            sender: Some(from),
            recipients: &recipients,
            ..Context::of(route, egress, connection.fallback.as_ref())
        };
        classify(phase, reply, &context).0.advice
    }

    /// Checks whether the server takes mail for a stranger without a login. We only see what it does for our own
    /// address, so a hit is a warning.
    async fn look_for_open_relay(&self, report: &mut ProbeReport, route: &Arc<Route>, from: &Mailbox, to: &Mailbox) {
        let egress = self.shared.settings.egress.address;
        let external = from.domain().zip(to.domain()).is_some_and(|(a, b)| !a.is_within(b) && !b.is_within(a));
        if !external {
            return;
        }
        let begun = Instant::now();
        if route.login.is_none() {
            report.add(
                Step::OpenRelay,
                StepResult::Warning,
                begun.elapsed(),
                "the server takes mail to others from us without a login",
                Some(format!("make sure that it does so for {egress} only; anybody else must be refused")),
            );
            return;
        }
        let stranger = Arc::new(Route { login: None, ..(**route).clone() });
        let pool = Pool::new(Arc::clone(&stranger));
        let (settings, counters) = (&self.shared.settings, &self.shared.counters);
        let Ok(mut connection) = pool.dial(settings, counters, &mut StepLog::default()).await else { return };
        let mut answer = connection.ask(&format!("MAIL FROM:<{from}>"), settings.timeouts.mail).await;
        if answer.as_ref().is_ok_and(|reply| reply.code / 100 == 2) {
            answer = connection.ask(&format!("RCPT TO:<{to}>"), settings.timeouts.rcpt).await;
        }
        let taken = answer.as_ref().is_ok_and(|reply| reply.code / 100 == 2);
        connection.quit(settings.timeouts.quit).await;
        if taken {
            report.add(
                Step::OpenRelay,
                StepResult::Warning,
                begun.elapsed(),
                "the server takes mail to others even without a login",
                Some(format!(
                    "if it does so for anybody and not only for {egress}, it is an open relay: have it closed"
                )),
            );
        } else {
            report.add(
                Step::OpenRelay,
                StepResult::Ok,
                begun.elapsed(),
                "without a login the server refuses mail to others",
                None,
            );
        }
    }
}

fn report_protection(report: &mut ProbeReport, connection: &Connection, route: &Route) {
    match &connection.tls {
        Some(tls) => {
            let pin = hex(&fingerprint(&tls.certificate));
            let found = match describe(&tls.certificate) {
                Some(cert) => format!(
                    "for {}; issued by {}; valid until {}; {}SHA-256 {pin}",
                    if cert.names.is_empty() { cert.subject } else { cert.names.join(", ") },
                    cert.issuer,
                    cert.not_after,
                    cert.faults.iter().fold(String::new(), |all, fault| all + fault + "; "),
                ),
                None => format!("cannot be read; SHA-256 {pin}"),
            };
            report.add(Step::Certificate, StepResult::Ok, Duration::ZERO, found, None);
        }
        // The handshake that failed has a step of its own.
        None if connection.fallback.is_some() => {}
        None => report.add(
            Step::Tls,
            StepResult::Warning,
            Duration::ZERO,
            "the connection is not encrypted",
            Some(match connection.extensions.starttls {
                true => "the server offers STARTTLS: set tls = \"required\"".to_owned(),
                false => "have TLS switched on at the server".to_owned(),
            }),
        ),
    }
    if let Some(tls) = &connection.tls
        && route.tls.mode == TlsMode::Opportunistic
        && route.login.as_ref().is_some_and(|login| !login.allow_plaintext)
    {
        let is_sound = describe(&tls.certificate).is_some_and(|cert| cert.faults.is_empty());
        let takes_tls12 = route.tls.minimum == TlsVersion::Tls12;
        report.add(
            Step::Login,
            StepResult::Warning,
            Duration::ZERO,
            "the password goes to whoever answers: opportunistic TLS takes any certificate",
            Some(
                match (is_sound, is_pinnable(&tls.certificate, takes_tls12)) {
                    (true, _) => {
                        "set tls = \"required\"; where no public authority vouches for the server, with ca_file or the \
                         pinned_sha256 above"
                    }
                    (false, true) => {
                        "set tls = \"required\" with the pinned_sha256 above: no authority can vouch for it"
                    }
                    (false, false) => {
                        "have the server given a certificate that can be checked, and set tls = \"required\""
                    }
                }
                .to_owned(),
            ),
        );
    }
    if route.login.is_none() && connection.extensions.auth.offered {
        let found = "the server offers a login, which this route does not use";
        report.add(Step::Login, StepResult::Ok, Duration::ZERO, found, None);
    }
}

fn told(line: &str, answer: &Result<Reply, Broken>) -> String {
    match answer {
        Ok(reply) => format!("{line}: {}", clip(reply.clone())),
        Err(why) => format!("{line}: {why}"),
    }
}

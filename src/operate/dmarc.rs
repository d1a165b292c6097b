//! Commands about DMARC reports: import reports, show the reports on a customer's domains, and show the records of webCRM that allow
//! reports.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::audit::{Act, Audit};
use super::running::Running;
use super::site::Site;
use super::{Actor, Error, ErrorKind};
use crate::database::{self, Database, Home};
use crate::events::Action;
use crate::onboarding::dmarc::step::{Safety, Step, step};
use crate::onboarding::dmarc::{is_dmarc, published};
use crate::onboarding::{Finding, Item, Lang, Report};
use crate::plain;
use crate::resolver::{self, Resolver, joined};
use crate::returns::dmarc::summary::Summary;
use crate::returns::dmarc::{ReportRefused, Reports, SCHEMA, TakenReports};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The default number of days.
pub const DAYS: u32 = 30;
/// The maximum number of days.
pub const MOST_DAYS: u32 = 400;

/// The reports on a domain, and the next policy.
#[derive(Clone, Debug)]
pub struct DmarcReport {
    /// What the reports of the period add up to.
    pub summary: Summary,
    /// The next policy, or why DNS does not answer which policy applies.
    pub step: Result<Step, resolver::Error>,
}

/// The reports on a domain and the next policy, for programs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DmarcView {
    /// The summary of the reports.
    #[serde(flatten)]
    pub summary: Summary,
    /// The next policy.
    pub policy: PolicyView,
}

/// The next policy, and whether it is safe.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "DmarcPolicy")]
pub struct PolicyView {
    /// The current stage: `missing`, `none`, `quarantine-testing`, `quarantine`, `reject-testing` or `reject`; absent if DNS did not
    /// answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The next stage; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// `reached`, `safe`, `safe-unless` (unless one of `senders` is the customer's), `not-yet` (because of `reasons`), or `unknown`.
    pub verdict: String,
    /// The codes of the obstacles.
    pub reasons: Vec<String>,
    /// The senders that somebody must identify before the policy is safe.
    pub senders: Vec<String>,
    /// The host of the DMARC record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The DMARC record of the next stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The verdict, for people.
    pub text: String,
    /// What to do, for people; empty if nothing must be done.
    pub todo: String,
}

/// A record in webCRM's zone that allows reports on a customer's domain to be sent to our address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// The customer's domain.
    pub domain: String,
    /// The name of the TXT record.
    pub name: String,
    /// True if it is published. `None` if DNS did not answer.
    pub present: Option<bool>,
}

/// The records in webCRM's zone for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// The address that reports are sent to.
    pub address: String,
    /// The record that covers all domains.
    pub wildcard: String,
    /// The records for single domains.
    pub each: Vec<Permission>,
}

/// The value of such a record.
pub const PERMISSION: &str = "v=DMARC1;";

/// An import of reports from files.
pub struct Import {
    reports: Reports,
    audit: Audit,
    actor: Actor,
}

impl Import {
    /// Imports the reports in a mail, an archive or XML. Blocks.
    pub fn take(&self, octets: &[u8]) -> Result<TakenReports, ReportRefused> {
        self.reports.take(octets)
    }

    /// Records in the audit how many reports were imported.
    pub fn finish(self, taken: u64, refused: u64) -> Result<(), Error> {
        if taken == 0 {
            return Ok(());
        }
        let detail = format!("{taken} DMARC reports were taken from files, {refused} files were refused");
        let act = Act { changed: Some(taken), ..Act::new(Action::DmarcImport, detail) };
        self.audit.tell(&self.actor, act)
    }
}

impl DmarcReport {
    /// Converts the report for programs, with texts in a language.
    pub fn view(&self, lang: Lang) -> DmarcView {
        let policy = match &self.step {
            Ok(step) => policy_view(step, lang),
            Err(error) => {
                let text = lang.finding(&Finding::Unanswered { reason: error.clone() });
                PolicyView {
                    stage: None,
                    next: None,
                    verdict: "unknown".to_owned(),
                    reasons: Vec::new(),
                    senders: Vec::new(),
                    host: None,
                    record: None,
                    text: text.what,
                    todo: text.next,
                }
            }
        };
        DmarcView { summary: self.summary.clone(), policy }
    }
}

fn policy_view(step: &Step, lang: Lang) -> PolicyView {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let code = |value: &serde_json::Value| word(value["code"].clone());
    let verdict = serde_json::json!(step.safety);
    let (mut reasons, mut senders) = (Vec::new(), Vec::new());
    match &step.safety {
        Safety::NotYet { reasons: why } => reasons.extend(why.iter().map(|it| code(&serde_json::json!(it)))),
        Safety::SafeUnless { senders: who } => senders.extend(who.iter().map(|it| it.name.clone())),
        Safety::Reached | Safety::Safe => {}
    }
    let text = lang.dmarc_step(step);
    PolicyView {
        stage: Some(word(serde_json::json!(step.stage))),
        next: step.next.map(|next| word(serde_json::json!(next))),
        verdict: code(&verdict),
        reasons,
        senders,
        host: Some(step.host.clone()),
        record: step.record.clone(),
        text: text.what,
        todo: text.next,
    }
}

impl Site {
    /// Returns the reports on a customer's domains, or on one of them.
    pub async fn dmarc(
        &self,
        actor: &Actor,
        customer: &str,
        domain: Option<&Domain>,
        days: u32,
    ) -> Result<Vec<DmarcReport>, Error> {
        let customer = self.customer(actor, customer)?;
        if !(1..=MOST_DAYS).contains(&days) {
            return Err(Error::invalid(format!("{days} days are outside of 1 to {MOST_DAYS}"), "ask for fewer days"));
        }
        if let Some(domain) = domain.filter(|domain| !customer.domains.contains_key(*domain)) {
            let named: Vec<String> = customer.domains.keys().map(Domain::to_string).collect();
            let what = format!("the customer {} has no domain {domain}", customer.id);
            return Err(Error::not_found(what, format!("its domains are: {}", named.join(", "))));
        }
        let reports = self.reports().await?;
        let mut found = Vec::new();
        for domain in customer.domains.keys().filter(|it| domain.is_none_or(|domain| *it == domain)) {
            let summary = summary(&reports, domain, days).await?;
            let step = self.step(domain, &summary).await;
            found.push(DmarcReport { summary, step });
        }
        Ok(found)
    }

    /// Begins an import of reports from files.
    pub async fn import_dmarc(&self, actor: &Actor) -> Result<Import, Error> {
        actor.may_operate()?;
        let audit = self.audit()?;
        Ok(Import { reports: self.reports().await?, audit, actor: actor.clone() })
    }

    /// Returns the records in webCRM's zone without which no report on another organization's domain is sent to our address (RFC 9990 §4),
    /// and which of them are published.
    pub async fn dmarc_permissions(&self, actor: &Actor) -> Result<Permissions, Error> {
        actor.may_operate()?;
        let address = self.configured.dmarc.address.as_ref().ok_or_else(|| {
            let what = "no address for DMARC reports is configured";
            Error::invalid(what, "name it in the server file: address in [returns.dmarc]")
        })?;
        let ours = address.domain().map(Domain::to_string).unwrap_or_default();
        let mut each = Vec::new();
        for domain in self.configured.directory.customers().flat_map(|customer| customer.domains.keys()) {
            let name = format!("{domain}._report._dmarc.{ours}");
            let present = self.has_permission(&name).await;
            each.push(Permission { domain: domain.to_string(), name, present });
        }
        Ok(Permissions { address: address.to_string(), wildcard: format!("*._report._dmarc.{ours}"), each })
    }

    async fn has_permission(&self, name: &str) -> Option<bool> {
        match self.checker.resolver.txt(name).await {
            Ok(texts) => Some(texts.iter().any(|strings| is_dmarc(&plain::text(&joined(strings))))),
            Err(resolver::Error::Name(_)) => Some(false),
            Err(_) => None,
        }
    }

    /// Adds the DMARC reports, if there are any, to the report of a check. If the database cannot be read, only this part is missing.
    pub(super) async fn add_dmarc(&self, reports: &Reports, report: &mut Report) {
        let Ok(summary) = summary(reports, &report.domain, DAYS).await else { return };
        if summary.reports == 0 {
            return;
        }
        let Ok(step) = self.step(&report.domain, &summary).await else { return };
        if let Some(check) = report.checks.iter_mut().find(|check| check.item == Item::Dmarc) {
            check.say(Finding::DmarcReports { step: Box::new(step) });
        }
    }

    /// Returns the summary of the reports about a domain, if the relay takes reports and the database can be read.
    pub(super) async fn dmarc_of(&self, domain: &Domain) -> Option<DmarcReport> {
        let reports = self.reports_if_any().await?;
        let read = summary(&reports, domain, DAYS).await;
        let summary =
            read.inspect_err(|error| tracing::warn!("DMARC reports on {domain} cannot be read: {error}")).ok()?;
        if summary.reports == 0 && self.configured.onboarding.rua.is_none() {
            return None;
        }
        let step = self.step(domain, &summary).await;
        Some(DmarcReport { summary, step })
    }

    async fn step(&self, domain: &Domain, summary: &Summary) -> Result<Step, resolver::Error> {
        let resolver: &dyn Resolver = &*self.checker.resolver;
        let found = published(resolver, domain).await?;
        let address = self.configured.onboarding.rua.as_ref();
        Ok(step(found.host, found.own.as_deref(), found.inherited, address, &summary.facts()))
    }

    /// Returns the reports, if the database exists.
    pub(super) async fn reports_if_any(&self) -> Option<Reports> {
        if let Running::Socket(_) = &self.running
            && let Home::Folder(state_dir) = &self.configured.state_home
            && !state_dir.join(database::FILE).exists()
        {
            return None;
        }
        self.reports().await.inspect_err(|error| tracing::warn!("DMARC reports cannot be read: {error}")).ok()
    }

    /// Returns the reports that the relay keeps, or would keep if it ran.
    async fn reports(&self) -> Result<Reports, Error> {
        if let Running::Here(service) = &self.running {
            let missing = || Error::new(ErrorKind::Unavailable, "this relay keeps no DMARC reports", "restart it");
            return service.dmarc.clone().ok_or_else(missing);
        }
        let home = self.configured.state_home.clone();
        let in_force = (Arc::clone(&self.configured.directory), Arc::clone(&self.configured.onboarding));
        let keep = self.configured.dmarc.keep;
        let open = move || open(&home, keep, in_force);
        let broken = |error| Error::failed(format!("the work broke off: {error}"), "run the command again");
        tokio::task::spawn_blocking(open).await.map_err(broken)?
    }
}

type InForce = (Arc<crate::customers::Directory>, Arc<crate::onboarding::Settings>);

fn open(home: &Home, keep: std::time::Duration, in_force: InForce) -> Result<Reports, Error> {
    if let Home::Folder(state_dir) = home {
        let made = crate::files::make_private_dir(state_dir);
        let refused = |error: std::io::Error| {
            Error::not_written(&error, "run the command as the user that runs the relay or as root")
                .within(&state_dir.display().to_string())
        };
        made.map_err(refused)?;
    }
    let database = Database::open_at(home, &[SCHEMA])?;
    Ok(Reports::open(database, keep, move || in_force.clone())?)
}

async fn summary(reports: &Reports, domain: &Domain, days: u32) -> Result<Summary, Error> {
    let (reports, domain) = (reports.clone(), domain.clone());
    let work = move || reports.summary(&domain, days, Timestamp::now());
    let broken = |error| Error::failed(format!("the work broke off: {error}"), "run the command again");
    Ok(tokio::task::spawn_blocking(work).await.map_err(broken)??)
}

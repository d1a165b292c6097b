//! Commands about customers' domains: the records to publish, and the published ones.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::actor::Need;
use super::audit::{self, Act};
use super::dmarc::DmarcReport;
use super::jobs::{Checked, Job, JobKind, JobResult, Jobs, Unkept};
use super::queue::Page;
use super::site::Site;
use super::{Actor, Error, Service};
use crate::customers::{Customer, Directory, Requirement, Via};
use crate::delivery::{Step, StepResult};
use crate::events::Action;
use crate::message::CustomerId;
use crate::onboarding::connect::{self, Apply};
use crate::onboarding::mailjet::Pace;
use crate::onboarding::text::Lang;
use crate::onboarding::{Checker, DnsProvider, ProbeFailure, RecordTable, Report, Store, Told, records};
use crate::smtp::{Domain, Mailbox};
use crate::time::Timestamp;

/// How long the lookup of a zone's name servers may take.
const PROVIDER_TIME: Duration = Duration::from_secs(5);
/// The number of domains that are checked at the same time.
const AT_ONCE: usize = 8;

/// The result of a check of one domain.
pub struct DomainLook {
    /// The records to publish.
    pub table: RecordTable,
    /// The result of the check.
    pub report: Report,
    /// The DNS provider of the zone.
    pub provider: DnsProvider,
    /// The names of the zone's name servers, if DNS names them.
    pub name_servers: Vec<String>,
    /// The link that applies the missing records with one click, if there is one.
    pub apply: Option<Apply>,
    /// What DMARC reports say, where the relay takes any.
    pub dmarc: Option<DmarcReport>,
    /// Why the report could not be stored, if it could not.
    pub unkept: Option<String>,
}

/// A From domain in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DomainSummary {
    /// The domain of the customer's addresses.
    pub domain: String,
    /// The domain's customer.
    pub customer: String,
    /// The verified requirements: `ownership`, `spf`, `dkim`, `dmarc`.
    pub verified: Vec<String>,
}

/// The state of a From domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DomainView {
    /// The domain of the customer's addresses.
    pub domain: String,
    /// The domain's customer.
    pub customer: String,
    /// When it was last checked, RFC 3339; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<String>,
    /// The approximate time of the next check, RFC 3339; absent if it was never checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_check: Option<String>,
    /// The state of each requirement.
    pub requirements: Vec<RequirementStatus>,
    /// The changes of requirements, oldest first.
    pub history: Vec<RequirementChange>,
}

/// The state of one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Verdict")]
pub struct RequirementStatus {
    /// `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: String,
    /// True if it counts as verified. It does so until its grace period ends.
    pub verified: bool,
    /// The time of the last change, RFC 3339.
    pub since: String,
    /// When its record vanished, RFC 3339, while the grace period runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vanished: Option<String>,
    /// The codes of the faults that the last check found.
    pub faults: Vec<String>,
}

/// A change of one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "VerdictChange")]
pub struct RequirementChange {
    /// When it was noticed, RFC 3339.
    pub at: String,
    /// `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: String,
    /// `verified`, `vanished`, `returned` or `lost`.
    pub change: String,
    /// The codes of the faults.
    pub faults: Vec<String>,
}

#[cfg(test)]
impl DomainView {
    /// A domain about which every text is this one, except the words that the relay itself chooses.
    pub(super) fn of_text(text: &str) -> Self {
        let owned = || text.to_owned();
        let requirement = RequirementStatus {
            requirement: "spf".to_owned(),
            verified: true,
            since: owned(),
            vanished: Some(owned()),
            faults: vec![owned()],
        };
        let change = RequirementChange {
            at: owned(),
            requirement: "spf".to_owned(),
            change: "lost".to_owned(),
            faults: vec![owned()],
        };
        DomainView {
            domain: owned(),
            customer: owned(),
            last_checked: Some(owned()),
            next_check: Some(owned()),
            requirements: vec![requirement],
            history: vec![change],
        }
    }
}

impl Service {
    /// Notes for the audit that somebody has one domain of a customer checked.
    pub(super) fn tell_of_check(&self, actor: &Actor, customer: &CustomerId, domain: &Domain) {
        audit::tell(&self.events, actor, check_of(Some(customer.as_str()), &format!("of {domain}")));
    }

    /// Returns From domains in the order of their names, after `after`. Only domains that the actor may see.
    pub fn domains(
        &self,
        actor: &Actor,
        customer: Option<&str>,
        after: Option<&Domain>,
        limit: usize,
    ) -> Result<Page<DomainSummary>, Error> {
        match customer {
            Some(customer) => actor.may_read(customer)?,
            None => actor.may(Need::Read)?,
        }
        let directory = self.routing.directory();
        let mut all: Vec<(&Domain, &CustomerId)> = directory
            .customers()
            .filter(|it| customer.is_none_or(|customer| it.id.as_str() == customer))
            .flat_map(|customer| customer.domains.keys().map(|domain| (domain, &customer.id)))
            .filter(|(domain, _)| after.is_none_or(|after| *domain > after))
            .collect();
        all.sort_unstable();
        let items = all.into_iter().map(|(domain, customer)| {
            let status = self.routing.status(domain);
            let verified = Requirement::ALL.into_iter().filter(|it| status.missing(&[*it]).is_none());
            DomainSummary {
                domain: domain.to_string(),
                customer: customer.to_string(),
                verified: verified.map(|it| it.as_str().to_owned()).collect(),
            }
        });
        Ok(Page::of(items, limit, |last| last.domain.clone()))
    }

    /// Returns the customer of a domain. An actor that may not see the domain does not learn whether it exists.
    pub fn owner(&self, actor: &Actor, domain: &Domain) -> Result<CustomerId, Error> {
        let directory = self.routing.directory();
        let owner = directory.by_domain(domain).map(|customer| customer.id.clone());
        owner.filter(|owner| actor.may_see(owner)).ok_or_else(|| {
            Error::not_found(
                format!("no customer has the domain {domain}"),
                "`postbud customer list` names the domains",
            )
        })
    }

    /// Returns the state of a domain. Blocks.
    pub fn domain(&self, actor: &Actor, domain: &Domain) -> Result<DomainView, Error> {
        let customer = self.owner(actor, domain)?;
        let settings = self.live()?.configured().onboarding;
        let store = Store::new(&settings);
        let state = store.load(domain).map_err(unreadable)?;
        // The state of another customer does not apply to this one.
        let state = state.filter(|state| state.customer == customer.as_str());
        let time = |millis: u64| Timestamp::from_millis(millis).to_string();
        let mut view = DomainView {
            domain: domain.to_string(),
            customer: customer.to_string(),
            last_checked: state.as_ref().map(|state| time(state.last_checked)),
            next_check: state.as_ref().map(|state| state.next_check(&settings, 0.0).to_string()),
            requirements: Vec::new(),
            history: Vec::new(),
        };
        let Some(state) = state else { return Ok(view) };
        view.requirements = state
            .requirements
            .into_iter()
            .map(|(requirement, known)| RequirementStatus {
                requirement,
                verified: known.verified,
                since: time(known.since),
                vanished: known.vanished.map(time),
                faults: known.faults,
            })
            .collect();
        view.history = state
            .history
            .into_iter()
            .map(|change| RequirementChange {
                at: time(change.at),
                requirement: change.requirement,
                change: change.change.as_str().to_owned(),
                faults: change.faults,
            })
            .collect();
        Ok(view)
    }
}

/// The error about a domain's state that cannot be read. A missing state is none.
fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::failed(
        error.to_string(),
        "see that the relay's user can read it, or move it away, and check the domain again",
    )
}

/// Makes the act of a check; no customer means all of them.
fn check_of(customer: Option<&str>, what: &str) -> Act {
    let act = Act::new(Action::DomainCheck, format!("a check {what} was commanded"));
    Act { customer: customer.map(str::to_owned), ..act }
}

impl Site {
    /// Returns the records that a customer must publish for one of its domains.
    pub async fn records_of(&self, actor: &Actor, customer: &str, domain: &Domain) -> Result<RecordTable, Error> {
        let tables = self.records(actor, customer).await?;
        let found = tables.into_iter().find(|table| table.domain == domain.as_str());
        let gone = || Error::not_found(format!("the customer has no domain {domain}"), "it was removed meanwhile");
        found.ok_or_else(gone)
    }

    /// Returns all records that a customer must publish, with one table for each domain. A domain that Mailjet's accounts do not have yet
    /// is registered first, because Mailjet issues some of the records.
    pub async fn records(&self, actor: &Actor, customer: &str) -> Result<Vec<RecordTable>, Error> {
        let customer = self.customer(actor, customer)?;
        let registrar = &self.registrar;
        let table =
            |checker: Result<Checker, Error>, directory: Arc<Directory>, customer: Arc<Customer>, domain: Domain| {
                let registrar = registrar.clone();
                async move {
                    let mut checker = checker?;
                    if registrar.lacks_records(&directory, &customer, &domain).map_err(unreadable)? {
                        let mut report = checker.check(&directory, &customer, &domain, Timestamp::now()).await;
                        registrar.register(&directory, &customer, &mut report, Pace::Usual).await;
                        let status = report.status();
                        checker =
                            registrar.informed(checker, &directory, &customer, &domain, status).map_err(unreadable)?;
                    }
                    Ok::<_, Error>(records::table(&checker, &directory, &customer, &domain, Timestamp::now()).await)
                }
            };
        self.of_each_domain(&[customer], table).await?.into_iter().collect()
    }

    /// Checks now what one customer, or every customer, has published, and stores the results for a running relay. With `with_probe`,
    /// customers' own servers are probed too. The audit has the check before it begins.
    pub async fn check(&self, actor: &Actor, customer: Option<&str>, with_probe: bool) -> Result<Checked, Error> {
        let customers: Vec<Arc<Customer>> = match customer {
            Some(id) => {
                actor.may(Need::CheckOf(&CustomerId::new(id)))?;
                vec![self.customer(actor, id)?]
            }
            None => {
                actor.may(Need::Operate)?;
                self.configured.directory.customers().cloned().collect()
            }
        };
        let of = customer.map_or("of all customers' domains", |_| "of the customer's domains");
        let with = if with_probe { ", with a probe of own servers," } else { "" };
        self.audit()?.tell(actor, check_of(customer, &format!("{of}{with}")))?;
        let registrar = &self.registrar;
        let check =
            |checker: Result<Checker, Error>, directory: Arc<Directory>, customer: Arc<Customer>, domain: Domain| {
                let registrar = registrar.clone();
                async move {
                    let checker = checker
                        .map_err(|error| Unkept { domain: domain.to_string(), reason: error.message.clone() })?;
                    let mut report = checker.check(&directory, &customer, &domain, Timestamp::now()).await;
                    registrar.register(&directory, &customer, &mut report, Pace::Now).await;
                    Ok::<_, Unkept>(report)
                }
            };
        let (mut reports, mut unkept) = (Vec::new(), Vec::new());
        for checked in self.of_each_domain(&customers, check).await? {
            match checked {
                Ok(report) => reports.push(report),
                Err(unread) => unkept.push(unread),
            }
        }
        if with_probe {
            self.probe_own_servers(&customers, &mut reports).await?;
        }
        if let Some(dmarc) = self.reports_if_any().await {
            for report in &mut reports {
                self.add_dmarc(&dmarc, report).await;
            }
        }
        for report in &reports {
            let Some(customer) = customers.iter().find(|it| it.id.as_str() == report.customer) else { continue };
            if let Err(reason) = self.running.keep(customer, report, &self.configured.onboarding).await {
                unkept.push(Unkept { domain: report.domain.to_string(), reason });
            }
        }
        Ok(Checked { reports, unkept })
    }

    /// Begins the check of a customer's domains as a job. The result has texts in `lang`.
    pub fn begin_check(
        self,
        jobs: &Jobs,
        actor: Arc<Actor>,
        customer: CustomerId,
        with_probe: bool,
        lang: Lang,
    ) -> Result<Job, Error> {
        actor.may_operate()?;
        let task = jobs.begin(&actor, JobKind::DomainCheck, Some(customer.to_string()))?;
        Ok(task.spawn(|_| async move {
            let checked = self.check(&actor, Some(customer.as_str()), with_probe).await?;
            Ok(JobResult::Check(Arc::new(checked), lang))
        }))
    }

    /// Checks one domain of a customer now and stores the result. Returns it with the records to publish and the data they are made from.
    /// Calls `told` for each check when it ends.
    pub async fn look(
        &self,
        actor: &Actor,
        customer: &str,
        domain: &Domain,
        told: &Told<'_>,
    ) -> Result<DomainLook, Error> {
        let id = CustomerId::new(customer);
        actor.may(Need::CheckOf(&id))?;
        let customer = self.customer(actor, customer)?;
        if !customer.domains.contains_key(domain) {
            let message = format!("the customer has no domain {domain}");
            return Err(Error::not_found(message, "it was removed meanwhile"));
        }
        let directory = &self.configured.directory;
        let mut checker = self.checker_of(&customer, domain)?;
        if self.registrar.lacks_records(directory, &customer, domain).map_err(unreadable)? {
            // Mailjet issues some of the records.
            let mut report = checker.check(directory, &customer, domain, Timestamp::now()).await;
            self.registrar.register(directory, &customer, &mut report, Pace::Usual).await;
            let informed = self.registrar.informed(checker, directory, &customer, domain, report.status());
            checker = informed.map_err(unreadable)?;
        }
        let now = Timestamp::now();
        let (table, mut report) = records::look(&checker, directory, &customer, domain, now, told).await;
        self.registrar.register(directory, &customer, &mut report, Pace::Now).await;
        let unkept = self.running.keep(&customer, &report, &self.configured.onboarding).await.err();
        let name_servers = match &table.zone {
            // The provider's name only makes the texts more specific, so the general words do without it.
            Some(zone) => match tokio::time::timeout(PROVIDER_TIME, checker.resolver.name_servers(zone)).await {
                Ok(Ok(names)) => names,
                _ => Vec::new(),
            },
            None => Vec::new(),
        };
        let provider = DnsProvider::of(&name_servers);
        let apply = connect::discover(&*checker.resolver, &checker.settings, &table).await;
        let dmarc = self.dmarc_of(domain).await;
        Ok(DomainLook { table, report, provider, name_servers, apply, dmarc, unkept })
    }

    /// Makes a checker that knows the records which Mailjet has issued for the domain. Without the domain's state it would not know which.
    fn checker_of(&self, customer: &Customer, domain: &Domain) -> Result<Checker, Error> {
        let kept = Store::new(&self.configured.onboarding).load(domain).map_err(unreadable)?;
        let status = kept.filter(|kept| kept.customer == customer.id.as_str()).map(|kept| kept.status());
        let directory = &self.configured.directory;
        let informed =
            self.registrar.informed(self.checker.clone(), directory, customer, domain, status.unwrap_or_default());
        informed.map_err(unreadable)
    }

    /// Runs an action for all domains of the customers, several at the same time, and returns the results in order.
    async fn of_each_domain<T: Send + 'static, F>(
        &self,
        customers: &[Arc<Customer>],
        look: impl Fn(Result<Checker, Error>, Arc<Directory>, Arc<Customer>, Domain) -> F,
    ) -> Result<Vec<T>, Error>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let directory = Arc::clone(&self.configured.directory);
        let mut running = JoinSet::new();
        let all = customers.iter().flat_map(|customer| customer.domains.keys().map(move |domain| (customer, domain)));
        for (at, (customer, domain)) in all.enumerate() {
            let looking =
                look(self.checker_of(customer, domain), Arc::clone(&directory), Arc::clone(customer), domain.clone());
            let places = Arc::clone(&places);
            running.spawn(async move {
                let _place = places.acquire_owned().await;
                (at, looking.await)
            });
        }
        let mut found = Vec::new();
        while let Some(done) = running.join_next().await {
            let broken = |error| Error::failed(format!("a check broke off: {error}"), "run the command again");
            found.push(done.map_err(broken)?);
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }

    /// Probes each own server once for all domains, one server after the other, because a server may limit connections.
    async fn probe_own_servers(&self, customers: &[Arc<Customer>], reports: &mut [Report]) -> Result<(), Error> {
        let delivery = self.delivery()?;
        for report in reports {
            let customer = customers.iter().find(|customer| customer.id.as_str() == report.customer);
            let Some(Via::OwnServer(route)) = customer.map(|customer| &customer.via) else { continue };
            let Ok(postmaster) = Mailbox::parse(&format!("postmaster@{}", report.domain)) else { continue };
            let probed = delivery.probe(route, &postmaster, &postmaster).await;
            let failed = probed.steps.iter().find(|step| step.finding == StepResult::Failed);
            report.probed(match failed {
                Some(step) => {
                    let (reason, remedy) = (step.found.clone(), step.advice.clone().unwrap_or_default());
                    Err(ProbeFailure { step: step.step, reason, remedy })
                }
                None => {
                    let told =
                        probed.steps.iter().filter(|it| matches!(it.step, Step::Connect | Step::Tls | Step::Login));
                    Ok(told.map(|step| step.found.as_str()).collect::<Vec<_>>().join("; "))
                }
            });
        }
        Ok(())
    }
}

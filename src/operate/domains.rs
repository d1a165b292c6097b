//! Commands about customers' domains: what has to be published, and what is.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::actor::Need;
use super::site::Site;
use super::{Actor, Error};
use crate::customers::{Customer, Directory, Via};
use crate::delivery::{Step, StepResult};
use crate::message::CustomerId;
use crate::onboarding::mailjet::Pace;
use crate::onboarding::{Checker, ProbeFailure, RecordTable, Report, Store, records};
use crate::smtp::{Domain, Mailbox};
use crate::time::Timestamp;

/// Domains checked at the same time.
const AT_ONCE: usize = 8;

/// What the checks of some domains said.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// One report a domain, in the order of customers and domains.
    pub reports: Vec<Report>,
    /// Reports that could not be kept. They stand, but a running relay does not know of them.
    pub unkept: Vec<Unkept>,
}

/// A report that could not be kept.
#[derive(Debug, Serialize)]
pub struct Unkept {
    /// The domain it is about.
    pub domain: String,
    /// Why it was not kept.
    pub reason: String,
}

impl Site {
    /// Everything a customer has to publish: one table a domain. A domain that Mailjet's accounts do not have yet is registered first,
    /// because Mailjet issues some of the records.
    pub async fn records(&self, actor: &Actor, customer: &str) -> Result<Vec<RecordTable>, Error> {
        let customer = self.customer(customer)?;
        actor.may(Need::ReadOf(&customer.id))?;
        let registrar = &self.registrar;
        let table = |checker: Checker, directory: Arc<Directory>, customer: Arc<Customer>, domain: Domain| {
            let registrar = registrar.clone();
            let lacks = checker.settings.mailjets_keys(&domain).is_empty();
            async move {
                let mut checker = checker;
                if lacks && registrar.registers(&directory, &customer, &domain) {
                    let mut report = checker.check(&directory, &customer, &domain, Timestamp::now()).await;
                    registrar.register(&directory, &customer, &mut report, Pace::Usual).await;
                    let status = report.status();
                    checker = registrar.informed(checker, &directory, &customer, &domain, status);
                }
                records::table(&checker, &directory, &customer, &domain, Timestamp::now()).await
            }
        };
        self.of_each_domain(&[customer], table).await
    }

    /// Checks now what a customer has published, or all customers have, and keeps the results, so that a running relay uses them.
    /// `with_probe`: customers' own servers are probed too.
    pub async fn check(&self, actor: &Actor, customer: Option<&str>, with_probe: bool) -> Result<Checked, Error> {
        let customers: Vec<Arc<Customer>> = match customer {
            Some(id) => vec![self.customer(id)?],
            None => self.configured.directory.customers().cloned().collect(),
        };
        actor.may(Need::Operate)?;
        let registrar = &self.registrar;
        let check = |checker: Checker, directory: Arc<Directory>, customer: Arc<Customer>, domain: Domain| {
            let registrar = registrar.clone();
            async move {
                let mut report = checker.check(&directory, &customer, &domain, Timestamp::now()).await;
                registrar.register(&directory, &customer, &mut report, Pace::Now).await;
                report
            }
        };
        let mut reports = self.of_each_domain(&customers, check).await?;
        if with_probe {
            self.probe_own_servers(&customers, &mut reports).await?;
        }
        let onboarding = &self.configured.onboarding;
        let store = Store::new(onboarding);
        let kept = |report: &Report| {
            let failed = store.record(&CustomerId::new(&report.customer), report, onboarding).err()?;
            Some(Unkept { domain: report.domain.to_string(), reason: failed.to_string() })
        };
        let unkept = reports.iter().filter_map(kept).collect();
        Ok(Checked { reports, unkept })
    }

    /// A checker that knows the records which Mailjet has issued for the domain.
    fn checker_of(&self, customer: &Customer, domain: &Domain) -> Checker {
        let kept = Store::new(&self.configured.onboarding).load(domain).ok().flatten();
        let status = kept.filter(|kept| kept.customer == customer.id.as_str()).map(|kept| kept.status());
        let directory = &self.configured.directory;
        self.registrar.informed(self.checker.clone(), directory, customer, domain, status.unwrap_or_default())
    }

    /// Looks at all domains of the customers, several at the same time, and gives what was found of each in order.
    async fn of_each_domain<T: Send + 'static, F>(
        &self,
        customers: &[Arc<Customer>],
        look: impl Fn(Checker, Arc<Directory>, Arc<Customer>, Domain) -> F,
    ) -> Result<Vec<T>, Error>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let directory = Arc::new(self.configured.directory.clone());
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

    /// Probes each own server once for every domain, one after the other: a server may count connections.
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

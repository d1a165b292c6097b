//! `postbud domain check`: what is published, and what is missing.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Desk, Language};
use crate::cli::{ConfigFile, block_on};
use crate::customers::{Customer, Via};
use crate::delivery::{self, Delivery, Step};
use crate::message::CustomerId;
use crate::onboarding::{Outcome, Report, Store, report};
use crate::smtp::Mailbox;
use crate::time::Timestamp;

/// Domains checked at the same time.
const AT_ONCE: usize = 8;

/// Check what a customer has published, now.
///
/// Says of each requirement what was found, what was expected and the next step: ownership (TXT record or empty file), SPF
/// (evaluated in full, with its lookups counted), DKIM (the published key is the one we sign with, and Mailjet's is there),
/// DMARC (policy, alignment, reports), the return path, MX. The result is kept, so that a running relay uses it at its next
/// look: a domain that has just been verified need not wait.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud domain check test-as
  postbud domain check test-as --explain
  postbud domain check test-as --lang da
  postbud domain check egen-server --probe
  postbud domain check --all --json | jq '.[] | select(.outcome != \"good\") | .domain'

Exit codes: 0 all in order; 1 something required is missing or broken; 3 only recommendations are open; 4 DNS did not answer
all of it, and nothing required is known to be missing.")]
pub(super) struct Args {
    /// The customer: the name of its file.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    customer: Option<String>,
    /// Check every customer.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigFile,
    /// Print a JSON list, one object a domain.
    #[arg(long)]
    json: bool,
    /// Try customers' own servers too, as `postbud probe` does: opens a connection and logs in, sends nothing.
    #[arg(long)]
    probe: bool,
    /// Show how SPF is evaluated, term by term, and what the resolver and the HTTP library said.
    #[arg(long, conflicts_with = "json")]
    explain: bool,
    #[command(flatten)]
    language: Language,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let desk = Desk::open(&self.config)?;
            let customers: Vec<Arc<Customer>> = match &self.customer {
                Some(id) => vec![desk.customer(id)?],
                None => desk.settings.directory.customers().cloned().collect(),
            };
            let mut reports = examine(&desk, &customers).await?;
            if self.probe {
                probe(&desk, &customers, &mut reports).await?;
            }
            let lang = self.language.or_english();
            if self.json {
                let all: Vec<_> = reports.iter().map(|one| report::json(one, lang)).collect();
                println!("{:#}", serde_json::Value::from(all));
            } else {
                let texts: Vec<String> = reports.iter().map(|one| report::text(one, lang, self.explain)).collect();
                print!("{}", self.config.in_commands(&texts.join("\n")));
            }
            let store = Store::new(&desk.settings.onboarding);
            for one in &reports {
                // The verdict stands whether or not it can be kept.
                if let Err(error) = store.record(&CustomerId::new(&one.customer), one, &desk.settings.onboarding) {
                    say!("postbud: the verdict on {} was not kept: {error}", one.domain);
                }
            }
            let worst = reports.iter().map(Report::outcome).max().unwrap_or(Outcome::Good);
            Ok(ExitCode::from(match worst {
                Outcome::Good => 0,
                Outcome::Missing => 1,
                Outcome::Recommendations => 3,
                Outcome::Unknown => 4,
            }))
        })
    }
}

/// Probes each own server once for every domain, one after the other: a server may count connections.
async fn probe(desk: &Desk, customers: &[Arc<Customer>], reports: &mut [Report]) -> anyhow::Result<()> {
    let settings = &desk.settings;
    let delivery = Delivery::new(delivery::Settings {
        timeouts: settings.timeouts,
        resolver: Some(Arc::clone(&desk.checker.resolver)),
        ..delivery::Settings::new(settings.hostname.as_str(), settings.egress.clone())
    })?;
    for report in reports {
        let customer = customers.iter().find(|customer| customer.id.as_str() == report.customer);
        let Some(Via::OwnServer(route)) = customer.map(|customer| &customer.via) else { continue };
        let postmaster = Mailbox::parse(&format!("postmaster@{}", report.domain))?;
        let probed = delivery.probe(route, &postmaster, &postmaster).await;
        let failed = probed.steps.iter().find(|step| step.finding == delivery::StepResult::Failed);
        report.probed(match failed {
            Some(step) => Err((format!("{}: {}", step.step, step.found), step.advice.clone().unwrap_or_default())),
            None => {
                let told =
                    probed.steps.iter().filter(|step| matches!(step.step, Step::Connect | Step::Tls | Step::Login));
                Ok(told.map(|step| step.found.as_str()).collect::<Vec<_>>().join("; "))
            }
        });
    }
    Ok(())
}

/// All domains of the customers, in order.
async fn examine(desk: &Desk, customers: &[Arc<Customer>]) -> anyhow::Result<Vec<Report>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let directory = Arc::new(desk.settings.directory.clone());
    let mut running = JoinSet::new();
    let all = customers.iter().flat_map(|customer| customer.domains.keys().map(move |domain| (customer, domain)));
    for (at, (customer, domain)) in all.enumerate() {
        let (checker, directory) = (desk.checker.clone(), Arc::clone(&directory));
        let (customer, domain, places) = (Arc::clone(customer), domain.clone(), Arc::clone(&places));
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            (at, checker.check(&directory, &customer, &domain, Timestamp::now()).await)
        });
    }
    let mut reports = Vec::new();
    while let Some(done) = running.join_next().await {
        match done {
            Ok(report) => reports.push(report),
            Err(error) => bail!("a check broke off: {error}"),
        }
    }
    reports.sort_by_key(|(at, _)| *at);
    Ok(reports.into_iter().map(|(_, report)| report).collect())
}

//! Registers customers' domains in Mailjet's accounts, one account for each tier, and follows their state there.
//!
//! ```text
//!   GET sender ─► POST sender ─► GET dns ─► POST sender/validate ─► POST dns/check ─► accepted
//!    is it there?   *@test.dk     records     once our own check sees the records
//! ```
//!
//! Every step may be repeated, and each run begins with the state at Mailjet. So the next run continues after an interruption, an outage or
//! a change in Mailjet's console. Results are stored ([`Registration`]), and an outage does not remove any. A tier carries mail of a
//! domain only after its account has accepted the domain ([`Registrar::acceptance`]).
//!
//! A customer with its own account (`mailjet_account = "own"`) is registered there too, under the name that [`own_account`] returns. Its
//! mail moves there in the same way.
//!
//! A domain with a table `[mailjet."…"]` in its customer's file is registered by hand: postbud makes no calls for it, and assumes that
//! every tier accepts it.

pub(crate) mod callback;
mod client;
pub(crate) mod messages;
pub(crate) mod own_key;
mod registration;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use client::{Client, RequestError};
pub use registration::{LastingProblem, MailjetCheck, Registration, Registrations, Store};

use super::finding::{Check, Finding, Item, Need};
use super::{Checker, Issued, MailjetAccount, Report, Seen, Settings};
use crate::customers::{Acceptance, Customer, Directory, Requirement, VerificationStatus, Via, own_account};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The deadline of all calls for one domain in one account.
const RUN_TIME: Duration = Duration::from_secs(40);

/// The records that a customer's own account must have verified before mail moves there, because without Mailjet's signature DMARC would
/// fail.
const OWN_REQUIRES: &[Requirement] = &[Requirement::Spf, Requirement::Dkim];

/// Registers domains. Cheap to clone.
#[derive(Clone)]
pub struct Registrar {
    settings: Arc<Settings>,
    clients: Arc<BTreeMap<String, Client>>,
    store: Store,
}

/// The pace at which a run asks Mailjet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The relay's own run.
    Usual,
    /// Somebody requested a check now.
    Now,
}

impl Registrar {
    /// Makes a registrar for the accounts in the settings. An error comes from the HTTP library.
    pub fn new(settings: Arc<Settings>) -> io::Result<Self> {
        let client = |(tier, account): (&String, &MailjetAccount)| Ok((tier.clone(), Client::new(account.clone())?));
        let clients: Result<_, reqwest::Error> = settings.mailjet_accounts.iter().map(client).collect();
        let clients = Arc::new(clients.map_err(io::Error::other)?);
        let store = Store::new(&settings);
        Ok(Registrar { settings, clients, store })
    }

    /// Returns a registrar for new settings. If the accounts are the same it keeps the clients, so that an account that must rest continues
    /// to rest.
    pub fn with_settings(&self, settings: Arc<Settings>) -> io::Result<Self> {
        match settings.mailjet_accounts == self.settings.mailjet_accounts {
            true => Ok(Registrar { settings, ..self.clone() }),
            false => Registrar::new(settings),
        }
    }

    /// Returns the tiers in whose accounts a domain is registered: the fixed tier, or all that have an account. The tier that the domain
    /// uses, or would use next, comes first.
    fn tiers(
        &self,
        directory: &Directory,
        customer: &Customer,
        domain: &Domain,
        status: VerificationStatus,
    ) -> Vec<String> {
        let Via::Mailjet { tier } = &customer.via else { return Vec::new() };
        if self.settings.mailjet.contains_key(domain) {
            return Vec::new();
        }
        let own = own_account(&customer.id);
        let mut tiers: Vec<String> = self.clients.keys().filter(|name| **name == own).cloned().collect();
        if let Some(fixed) = tier {
            tiers.extend(self.clients.keys().filter(|name| *name == fixed).cloned());
            return tiers;
        }
        let all = directory.tiers();
        let mut names: Vec<&String> = self.clients.keys().filter(|name| all.contains_key(*name)).collect();
        names.sort_by_key(|name| {
            let requires = &all[*name].requires;
            let is_met = status.missing(requires).is_none();
            let demand = i64::try_from(requires.len()).unwrap_or(i64::MAX);
            (!is_met, if is_met { -demand } else { demand })
        });
        tiers.extend(names.into_iter().cloned());
        tiers
    }

    /// Returns true if an account in which a domain is registered has not issued its records yet. A registration that cannot be read is an
    /// error: the records may be there.
    pub fn lacks_records(&self, directory: &Directory, customer: &Customer, domain: &Domain) -> io::Result<bool> {
        let tiers = self.tiers(directory, customer, domain, VerificationStatus::default());
        if tiers.is_empty() {
            return Ok(false);
        }
        let kept = self.store.load(domain)?;
        let has = |tier: &String| {
            kept.get(tier).is_some_and(|it| it.key == self.clients[tier].account().key && it.issued.is_some())
        };
        Ok(!tiers.iter().all(has))
    }

    /// Returns the records that Mailjet has issued for a domain. Those of the first account come first.
    pub fn issued(
        &self,
        directory: &Directory,
        customer: &Customer,
        domain: &Domain,
        status: VerificationStatus,
    ) -> io::Result<Vec<Issued>> {
        let tiers = self.tiers(directory, customer, domain, status);
        if tiers.is_empty() {
            return Ok(Vec::new());
        }
        let mut kept = self.store.load(domain)?;
        let of = |tier: &String| kept.remove(tier).filter(|it| it.key == self.clients[tier].account().key)?.issued;
        let mut issued: Vec<Issued> = tiers.iter().filter_map(of).collect();
        // Two accounts may issue the same records.
        let mut seen = Vec::new();
        issued.retain(|it| {
            !seen.contains(it) && {
                seen.push(it.clone());
                true
            }
        });
        Ok(issued)
    }

    /// Returns a checker that knows the records which Mailjet has issued for a domain. A registration that cannot be read is an error,
    /// because a checker without those records would find the published ones wrong.
    pub fn informed(
        &self,
        checker: Checker,
        directory: &Directory,
        customer: &Customer,
        domain: &Domain,
        status: VerificationStatus,
    ) -> io::Result<Checker> {
        let issued = self.issued(directory, customer, domain, status)?;
        if issued.is_empty() {
            return Ok(checker);
        }
        let mut settings = Settings::clone(&checker.settings);
        settings.issued.insert(domain.clone(), issued);
        Ok(Checker { settings: Arc::new(settings), ..checker })
    }

    /// Returns which tiers accept mail of which domains. Registrations that cannot be read are returned as errors; for their domains
    /// `before` counts.
    pub fn acceptance(
        &self,
        directory: &Directory,
        before: impl Fn(&Domain) -> Option<Arc<BTreeSet<String>>>,
    ) -> (Acceptance, Vec<io::Error>) {
        let mut errors = Vec::new();
        let mut domains = Vec::new();
        // One question for all rows, where nodes share them.
        let rows = self.store.load_rows().unwrap_or_else(|error| {
            errors.push(error);
            BTreeMap::new()
        });
        for customer in directory.customers() {
            for domain in customer.domains.keys().filter(|_| !self.clients.is_empty()) {
                let accepted = match rows.get(domain.as_str()) {
                    Some(kept) => Ok(self.accepted(kept)),
                    None => self.accepted_of(domain),
                };
                let accepted = match accepted {
                    Ok(accepted) => Arc::new(accepted),
                    Err(error) => {
                        errors.push(error);
                        before(domain).unwrap_or_default()
                    }
                };
                domains.push((domain.clone(), accepted));
            }
        }
        let tiers = Arc::new(self.clients.keys().cloned().collect());
        (Acceptance { tiers, domains: domains.into_iter().collect() }, errors)
    }

    /// Returns which tiers accept mail of one domain.
    pub fn accepted_of(&self, domain: &Domain) -> io::Result<BTreeSet<String>> {
        match self.settings.mailjet.contains_key(domain) {
            true => Ok(self.clients.keys().cloned().collect()),
            false => self.store.load(domain).map(|kept| self.accepted(&kept)),
        }
    }

    fn accepted(&self, kept: &Registrations) -> BTreeSet<String> {
        let is_of_account =
            |tier: &str, it: &Registration| self.clients.get(tier).is_some_and(|client| client.account().key == it.key);
        let accepted = kept.iter().filter(|(tier, it)| it.accepted.is_some() && is_of_account(tier, it));
        accepted.map(|(tier, _)| tier.clone()).collect()
    }

    /// Takes the registration of a domain as far as possible now, and adds the result to the report. It takes as long as the calls, at most
    /// `RUN_TIME` for each account.
    pub async fn register(&self, directory: &Directory, customer: &Customer, report: &mut Report, pace: Pace) {
        let tiers = self.tiers(directory, customer, &report.domain, report.status());
        if tiers.is_empty() {
            return;
        }
        let proofs = report.check(Item::Ownership).into_iter().flat_map(|check| &check.findings);
        let seen = SeenHere {
            ownership: proofs
                .filter(|it| matches!(it, Finding::OwnershipByTxt { .. } | Finding::OwnershipByFile { .. }))
                .cloned()
                .collect(),
            spf: report.seen(Requirement::Spf) == Seen::Verified,
            dkim: report
                .check(Item::MailjetDkim)
                .is_some_and(|check| check.findings.iter().any(|finding| matches!(finding, Finding::DkimGood { .. }))),
        };
        let mut check = Check::new(Item::MailjetAccount, Need::Required);
        for tier in tiers {
            let requires = match directory.tiers().get(&tier) {
                Some(tier) => tier.requires.as_slice(),
                None => OWN_REQUIRES,
            };
            let registered = self.in_tier(&tier, requires, &report.domain, &seen, pace).await;
            findings(&mut check, &tier, &report.domain, requires, registered);
        }
        // One account that accepts the mail is enough, so open points in the others are left out.
        if check.findings.iter().any(|finding| matches!(finding, Finding::MailjetAccepts { .. })) {
            check.need = Need::Recommended;
        }
        let at = report.checks.iter().position(|check| check.item == Item::MailjetDkim).unwrap_or(report.checks.len());
        report.checks.insert(at, check);
    }

    async fn in_tier(
        &self,
        tier: &str,
        requires: &[Requirement],
        domain: &Domain,
        seen: &SeenHere,
        pace: Pace,
    ) -> io::Result<Registration> {
        let client = &self.clients[tier];
        let (store, of) = (self.store.clone(), domain.clone());
        let mut kept = tokio::task::spawn_blocking(move || store.load(&of)).await.map_err(io::Error::other)??;
        let usual = || Registration::new(client.account());
        let mut it = kept.remove(tier).filter(|it| it.key == client.account().key).unwrap_or_else(usual);
        let now = Timestamp::now();
        if pace == Pace::Usual && !self.is_due(&it, now) {
            return Ok(it);
        }
        let run = Run { client, domain, seen, ask: pace == Pace::Now || self.may_ask(&it, now), now };
        let done = tokio::time::timeout(RUN_TIME, run.go_on(&mut it)).await;
        let late = || Err(RequestError::NoAnswer(format!("Mailjet took more than {} s", RUN_TIME.as_secs())));
        match done.unwrap_or_else(|_| late()) {
            Ok(()) => {
                (it.trouble, it.read) = (None, Some(now.as_millis()));
                it.judge(requires, now);
            }
            Err(problem) => it.failed(problem, now),
        }
        let (store, of, tier, kept) = (self.store.clone(), domain.clone(), tier.to_owned(), it.clone());
        tokio::task::spawn_blocking(move || store.keep(&of, &tier, &kept)).await.map_err(io::Error::other)??;
        Ok(it)
    }

    /// Returns true if the relay must ask about a domain again: soon while something is open, and rarely after it is accepted or while
    /// somebody must act first.
    fn is_due(&self, it: &Registration, now: Timestamp) -> bool {
        let soon = self.settings.check_every_while_incomplete;
        let every = match &it.trouble {
            Some(trouble) if !trouble.problem.is_for_now() => self.settings.check_every,
            Some(_) => soon,
            None if it.accepted.is_some() => self.settings.check_every,
            None => soon,
        };
        let last = it.trouble.as_ref().map(|trouble| trouble.last).or(it.read);
        // Jitter may have made the interval of the checks shorter.
        last.is_none_or(|last| Timestamp::from_millis(last).believed(now, now) + every.mul_f64(0.5) <= now)
    }

    fn may_ask(&self, it: &Registration, now: Timestamp) -> bool {
        let pause = self.settings.check_every_while_incomplete.mul_f64(0.5);
        it.asked.is_none_or(|at| Timestamp::from_millis(at).believed(now, now) + pause <= now)
    }
}

/// The results of our own DNS checks.
struct SeenHere {
    /// The proofs of ownership.
    ownership: Vec<Finding>,
    spf: bool,
    dkim: bool,
}

impl SeenHere {
    /// Returns true if the proof that this account expects is published.
    fn proves(&self, issued: Option<&Issued>) -> bool {
        self.ownership.iter().any(|proof| match (proof, issued) {
            (Finding::OwnershipByTxt { host }, Some(issued)) => *host == issued.token_host,
            (Finding::OwnershipByFile { url }, Some(issued)) => url.contains(&issued.token),
            _ => false,
        })
    }
}

/// One run for one domain in one account.
struct Run<'a> {
    client: &'a Client,
    domain: &'a Domain,
    seen: &'a SeenHere,
    /// True if Mailjet may be asked to check the records.
    ask: bool,
    now: Timestamp,
}

impl Run<'_> {
    async fn go_on(&self, it: &mut Registration) -> Result<(), RequestError> {
        it.has_sender(&self.sender().await?);
        let settings = self.client.dns(self.domain).await?;
        it.has_settings(&settings, self.domain)?;
        if !self.ask || settings.is_checking {
            return Ok(());
        }
        let sender = it.sender.unwrap_or_default();
        if !it.active && self.seen.proves(it.issued.as_ref()) {
            it.asked = Some(self.now.as_millis());
            self.client.validate(sender).await?;
            it.has_sender(&self.sender().await?);
        }
        let is_open = |result: &MailjetCheck, seen: bool| seen && *result != MailjetCheck::Ok;
        if is_open(&it.dkim, self.seen.dkim) || is_open(&it.spf, self.seen.spf) {
            it.asked = Some(self.now.as_millis());
            it.was_checked(&self.client.check(settings.id).await?);
        }
        Ok(())
    }

    /// Finds the sender, or adds it. If Mailjet says that it exists but does not list it, it belongs to another account.
    async fn sender(&self) -> Result<client::Sender, RequestError> {
        if let Some(sender) = self.client.sender(self.domain).await? {
            return Ok(sender);
        }
        match self.client.add_sender(self.domain).await {
            Err(RequestError::Exists(said)) => self.client.sender(self.domain).await?.ok_or(RequestError::Owned(said)),
            added => added,
        }
    }
}

/// Returns the findings about a registration.
fn findings(
    check: &mut Check,
    tier: &str,
    domain: &Domain,
    requires: &[Requirement],
    registered: io::Result<Registration>,
) {
    let (tier, domain) = (tier.to_owned(), domain.to_string());
    let it = match registered {
        Ok(it) => it,
        Err(error) => return check.say(Finding::MailjetUnkept { tier, reason: error.to_string() }),
    };
    if let Some(LastingProblem { problem, since, last }) = &it.trouble {
        let reason = problem.detail().to_owned();
        let was_accepted = it.accepted.is_some();
        check.say(match problem {
            RequestError::Owned(_) => Finding::MailjetOwned { tier: tier.clone(), domain: domain.clone(), reason },
            RequestError::Credentials(_) => Finding::MailjetCredentials { tier: tier.clone(), reason },
            RequestError::Busy(_) | RequestError::NoAnswer(_) => {
                let hours = last.saturating_sub(*since) / 3_600_000;
                Finding::MailjetSilent { tier: tier.clone(), reason, hours }
            }
            RequestError::NotFound(_) | RequestError::Exists(_) | RequestError::Refused(_) => {
                Finding::MailjetRefuses { tier: tier.clone(), domain: domain.clone(), reason }
            }
        });
        if !was_accepted {
            return;
        }
    }
    if it.accepted.is_some() {
        return check.say(Finding::MailjetAccepts { tier, domain });
    }
    if !it.active {
        return check.say(Finding::MailjetUnproven { tier, domain });
    }
    for (result, requirement) in [(&it.dkim, Requirement::Dkim), (&it.spf, Requirement::Spf)] {
        if *result != MailjetCheck::Ok && requires.contains(&requirement) {
            let reason = match result {
                MailjetCheck::Error(reason) => reason.clone(),
                MailjetCheck::Ok | MailjetCheck::Unchecked => String::new(),
            };
            check.say(Finding::MailjetObjects { tier: tier.clone(), requirement: requirement.as_str(), reason });
        }
    }
}

/// Alerts about accounts and registrations that a check begins or ends. A subject is a tier, or `tier/domain`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    /// The alerts that begin, each with its finding.
    pub raised: Vec<(String, Finding)>,
    /// The alerts that end.
    pub over: Vec<String>,
}

impl Alerts {
    /// Finds the alerts in the check of a domain's accounts. An account that did not answer ends no alert.
    pub fn of(check: &Check, domain: &Domain) -> Self {
        let mut alerts = Alerts::default();
        for finding in &check.findings {
            let raise = |subject: &str| (subject.to_owned(), finding.clone());
            match finding {
                Finding::MailjetCredentials { tier, .. } => alerts.raised.push(raise(tier)),
                Finding::MailjetSilent { tier, hours, .. } if *hours > 0 => alerts.raised.push(raise(tier)),
                Finding::MailjetOwned { tier, .. } | Finding::MailjetRefuses { tier, .. } => {
                    alerts.raised.push(raise(&format!("{tier}/{domain}")));
                    alerts.over.push(tier.clone());
                }
                Finding::MailjetAccepts { tier, .. }
                | Finding::MailjetUnproven { tier, .. }
                | Finding::MailjetObjects { tier, .. } => {
                    alerts.over.extend([tier.clone(), format!("{tier}/{domain}")]);
                }
                _ => {}
            }
        }
        let raised = &alerts.raised;
        alerts.over.retain(|subject| !raised.iter().any(|(raised, _)| raised == subject));
        alerts
    }
}

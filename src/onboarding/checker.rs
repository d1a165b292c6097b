//! Runs all checks of one domain and makes the [`Report`]: what is verified, what is missing, and how bad it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::alias::{self, Alias};
use super::deadline::Deadline;
use super::fetch::Fetcher;
use super::finding::{Check, Finding, Item, Need, Provider, Severity};
use super::ownership::{self, Challenge, Secret};
use super::rotation::{self, Wanted};
use super::spf::proposal::Proposal;
use super::{Settings, dkim, dmarc, mx, return_path, spf};
use crate::customers::public_mailboxes::is_public_mailbox;
use crate::customers::{Customer, Directory, Requirement, SigningDomain, VerificationStatus, Via};
use crate::delivery::Step;
use crate::dkim::Selector;
use crate::message::CustomerId;
use crate::resolver::{self, Memo, Resolver, SharedResolver};
use crate::route::Route;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Checks domains. Cheap to clone.
#[derive(Clone)]
pub struct Checker {
    /// The settings from the configuration.
    pub settings: Arc<Settings>,
    /// The resolver that answers DNS questions.
    pub resolver: SharedResolver,
    /// The secret from which ownership tokens are made.
    pub secret: Arc<Secret>,
}

/// The results of all checks of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub customer: String,
    /// The domain that was checked.
    #[serde(serialize_with = "as_text")]
    pub domain: Domain,
    /// The time of the check, in RFC 3339 form.
    #[serde(serialize_with = "as_text")]
    pub checked_at: Timestamp,
    /// The checks, in the order in which reports show them.
    pub checks: Vec<Check>,
}

/// The proposed records that are based on the published ones.
pub(super) struct Proposals {
    /// The proposed SPF record. `None` if DNS did not say what is published now.
    pub spf: Option<Proposal>,
    /// The proposed DMARC record. `None` if the published one can stay.
    pub dmarc: Option<String>,
}

/// What a check saw of one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// The requirement is met.
    Verified,
    /// The record is missing or does not work.
    Missing,
    /// DNS did not answer, so nothing is known.
    Unknown,
}

impl From<Severity> for Seen {
    /// Counts everything that works as verified, even if something about it should be corrected.
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Good | Severity::Hint | Severity::Warning => Seen::Verified,
            Severity::Unknown => Seen::Unknown,
            Severity::Fault => Seen::Missing,
        }
    }
}

impl Seen {
    /// Returns the name used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Seen::Verified => "verified",
            Seen::Missing => "missing",
            Seen::Unknown => "unknown",
        }
    }
}

/// The state of a domain over all checks, for exit codes and summaries. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overall {
    /// Everything is in order.
    Good,
    /// Everything required is in order, but something recommended is not.
    Recommendations,
    /// DNS did not answer every question.
    Unknown,
    /// Something required is missing or does not work.
    Missing,
}

/// Why a probe of a customer's own server failed. The texts are in English.
#[derive(Clone, Debug)]
pub struct ProbeFailure {
    /// The step that failed.
    pub step: Step,
    /// What the step found.
    pub reason: String,
    /// What a person should do; empty if the probe does not know.
    pub remedy: String,
}

impl Report {
    /// Returns the check of an item, if the report has one.
    pub fn check(&self, item: Item) -> Option<&Check> {
        self.checks.iter().find(|check| check.item == item)
    }

    /// Returns what the check saw of a requirement.
    pub fn seen(&self, requirement: Requirement) -> Seen {
        let item = match requirement {
            Requirement::Ownership => Item::Ownership,
            Requirement::Spf => Item::Spf,
            Requirement::Dkim => Item::Dkim,
            Requirement::Dmarc => Item::Dmarc,
        };
        self.check(item).map_or(Seen::Unknown, |check| check.severity().into())
    }

    /// Adds the result of a probe of the customer's own server: what it found, or why it failed.
    pub fn probed(&mut self, result: Result<String, ProbeFailure>) {
        let Some(check) = self.checks.iter_mut().find(|check| check.item == Item::OwnServer) else { return };
        let skipped = check.findings.extract_if(.., |finding| matches!(finding, Finding::ProbeSkipped { .. }));
        let servers: Vec<String> = skipped
            .filter_map(|finding| if let Finding::ProbeSkipped { server } = finding { Some(server) } else { None })
            .collect();
        for server in servers {
            check.say(match &result {
                Ok(detail) => Finding::ProbeGood { server, detail: detail.clone() },
                Err(ProbeFailure { step, reason, remedy }) => {
                    let (reason, remedy) = (reason.clone(), remedy.clone());
                    Finding::ProbeFailed { server, step: *step, reason, remedy }
                }
            });
        }
    }

    /// Returns the requirements that are verified now.
    pub fn status(&self) -> VerificationStatus {
        let verified = Requirement::ALL.into_iter().filter(|r| self.seen(*r) == Seen::Verified);
        verified.fold(VerificationStatus::default(), VerificationStatus::with)
    }

    /// Returns the state of the domain over all checks.
    pub fn overall(&self) -> Overall {
        let one = |check: &Check| match (check.severity(), check.need) {
            (Severity::Fault, Need::Required) => Overall::Missing,
            (Severity::Unknown, Need::Required | Need::Recommended) => Overall::Unknown,
            (Severity::Fault, Need::Recommended) | (Severity::Warning, Need::Required | Need::Recommended) => {
                Overall::Recommendations
            }
            _ => Overall::Good,
        };
        self.checks.iter().map(one).max().unwrap_or(Overall::Good)
    }
}

/// Returns how much a customer needs each requirement. Required are those of `bulk_requires` and those of the customer's fixed tier,
/// or, without a fixed tier, those that all tiers share. All others are recommended.
pub fn needs(settings: &Settings, directory: &Directory, customer: &Customer) -> BTreeMap<Requirement, Need> {
    let mut needs: BTreeMap<Requirement, Need> =
        Requirement::ALL.into_iter().map(|requirement| (requirement, Need::Recommended)).collect();
    // The customer is responsible for the reputation of its own server. The requirements help, but no mail waits for them.
    let tier = match &customer.via {
        Via::OwnServer(_) => return needs,
        Via::Mailjet { tier } => tier,
    };
    let tiers = directory.tiers();
    let required_by_tiers = |requirement: Requirement| match tier.as_ref().and_then(|name| tiers.get(name)) {
        Some(tier) => tier.requires.contains(&requirement),
        None => !tiers.is_empty() && tiers.values().all(|tier| tier.requires.contains(&requirement)),
    };
    for (requirement, need) in &mut needs {
        if settings.bulk_requires.contains(requirement) || required_by_tiers(*requirement) {
            *need = Need::Required;
        }
    }
    needs
}

impl Checker {
    /// Makes a checker. Reads the ownership secret, or makes it on first use.
    pub fn new(settings: Settings, resolver: SharedResolver) -> std::io::Result<Self> {
        let secret = Arc::new(Secret::load(&settings.state_dir)?);
        Ok(Checker { settings: Arc::new(settings), resolver, secret })
    }

    /// Returns the ownership challenge of a domain.
    pub fn challenge(&self, customer: &CustomerId, domain: &Domain) -> Challenge {
        Challenge::new(&self.settings, &self.secret, customer, domain)
    }

    /// Returns the key records that rotations need in DNS besides those of the signing keys. The error says why the rotations cannot
    /// be read.
    pub async fn wanted(&self, customer: &Customer, domain: &Domain) -> Result<Vec<Wanted>, String> {
        let (settings, id) = (Arc::clone(&self.settings), customer.id.clone());
        let read = tokio::task::spawn_blocking(move || rotation::under_way(&settings, &id)).await;
        let rotations = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let signing: Vec<&Selector> = match customer.domains.get(domain) {
            Some(SigningDomain::Ready(signer)) => signer.profiles_of(domain).map(|p| &p.selector).collect(),
            _ => Vec::new(),
        };
        Ok(rotation::wanted(&rotations, &signing))
    }

    /// Checks everything that is visible from outside. It does not probe the customer's own server, because a probe opens connections
    /// and may log in: only a person may start one.
    pub async fn check(&self, directory: &Directory, customer: &Customer, domain: &Domain, now: Timestamp) -> Report {
        let (answers, deadline) = self.begin();
        self.check_and_propose(directory, customer, domain, now, (&answers, deadline)).await.0
    }

    /// Starts the time limit of one domain's checks. All of them share the same DNS answers, and wait for a slow name server only once.
    pub(super) fn begin(&self) -> (Memo, Deadline<'static>) {
        (Memo::new(Arc::clone(&self.resolver)), Deadline::begins(self.settings.check_time))
    }

    /// Like [`Self::check`], but also returns the proposed records. The caller has started the time limit with [`begin`](Self::begin), and
    /// may ask further questions within it.
    pub(super) async fn check_and_propose(
        &self,
        directory: &Directory,
        customer: &Customer,
        domain: &Domain,
        now: Timestamp,
        (resolver, time): (&dyn Resolver, Deadline<'_>),
    ) -> (Report, Proposals) {
        let needs = needs(&self.settings, directory, customer);
        let need = |requirement| needs.get(&requirement).copied().unwrap_or(Need::Recommended);
        let own_server = matches!(customer.via, Via::OwnServer(_));
        let broken = SigningDomain::Broken("the domain has no key".to_owned());
        let signing = customer.domains.get(domain).unwrap_or(&broken);
        let challenge = self.challenge(&customer.id, domain);
        let fetcher = Fetcher::new(&self.settings);
        let wanted = self.wanted(customer, domain).await;
        let settings = &*self.settings;
        let of_mailjet = async {
            match own_server {
                true => None,
                false => Some(tokio::join!(
                    time.of(Item::MailjetDkim, Need::Recommended, dkim::mailjet(resolver, settings, domain)),
                    time.of(Item::ReturnPath, Need::Optional, return_path::check(resolver, settings, domain)),
                )),
            }
        };
        let [proof, spf, key, policy] =
            [Requirement::Ownership, Requirement::Spf, Requirement::Dkim, Requirement::Dmarc].map(need);
        let (ownership, spf, dkim, mx, name, mailjet, policy) = tokio::join!(
            time.of(Item::Ownership, proof, ownership::check(resolver, &fetcher, &challenge, domain, proof)),
            time.of(Item::Spf, spf, spf::check::check(resolver, settings, domain, &customer.via, spf)),
            time.of(Item::Dkim, key, dkim::check(resolver, settings, domain, signing, &wanted, key)),
            time.of(Item::Mx, Need::Recommended, mx::check(resolver, domain)),
            time.of(Item::FromDomain, Need::Required, name_of(resolver, domain)),
            of_mailjet,
            time.of(Item::Dmarc, policy, dmarc::look(resolver, settings, domain, policy)),
        );
        let whole = |check: Result<Check, Check>| check.unwrap_or_else(|unknown| unknown);
        let (ownership, dkim) = (whole(ownership), whole(dkim));
        let (mut spf, spf_record) = spf.unwrap_or_else(|unknown| (unknown, None));
        let (mut mx, exchanges) = mx.unwrap_or_else(|unknown| (unknown, Vec::new()));
        let mailjet = mailjet.map(|(key, alias)| (whole(key), whole(alias)));
        // Mailjet rewrites parts that our signature covers, so only its own signature verifies, and DMARC depends on that one.
        let (path, key) = match &mailjet {
            None => (dmarc::Path::OwnServer, &dkim),
            Some((key, alias)) => (dmarc::Path::Mailjet { alias: alias.severity().into() }, key),
        };
        let (dmarc, policy) = match policy {
            Ok(found) => found.judge(path, dkim::seen(key)),
            Err(unknown) => (unknown, None),
        };
        let (mailjets_key, alias) = mailjet.unzip();
        // If DNS does not answer this question, the checks of the records get no answer either, and report it.
        let name = name.ok().and_then(Result::ok).unwrap_or(Name::Own);
        let from_domain = from_domain(domain, name, &mut spf, &mut mx);
        let mut checks = vec![from_domain, ownership, spf, dkim];
        checks.extend(mailjets_key);
        checks.push(dmarc);
        checks.extend(alias);
        checks.push(mx);
        if let Via::OwnServer(route) = &customer.via {
            checks.push(own_server_not_probed(settings, route));
        }
        checks.push(internal_mail(settings, domain, Provider::of(&exchanges), own_server));
        let report = Report { customer: customer.id.to_string(), domain: domain.clone(), checked_at: now, checks };
        (report, Proposals { spf: spf_record, dmarc: policy })
    }
}

/// Says that the customer's own server is not probed here, and that it must know our address if the relay does not log in.
fn own_server_not_probed(settings: &Settings, route: &Route) -> Check {
    let mut check = Check::new(Item::OwnServer, Need::Required);
    let server = || format!("{}:{}", route.host, route.port);
    check.say(Finding::ProbeSkipped { server: server() });
    if route.login.is_none() {
        check.say(Finding::RelayByAddress { server: server(), ip: settings.egress.to_string() });
    }
    check
}

/// Says how the customer's mail system learns to accept mail to colleagues, which comes from outside although From is in its own domain.
fn internal_mail(settings: &Settings, domain: &Domain, provider: Provider, own_server: bool) -> Check {
    let mut check = Check::new(Item::InternalMail, Need::Optional);
    check.say(match own_server {
        true => Finding::InternalMail { ip: settings.egress.to_string(), provider },
        false => Finding::InternalMailByMailjet {
            domain: domain.to_string(),
            include: settings.spf_include.to_string(),
            provider,
        },
    });
    check
}

/// Where the records of a From domain come from.
enum Name {
    /// They are the name's own, or there are none.
    Own,
    /// The name is an alias for this one.
    Alias(String),
    /// A wildcard answers for the name, with an alias or with records.
    Wildcards,
}

async fn name_of(resolver: &dyn Resolver, domain: &Domain) -> Result<Name, resolver::Error> {
    Ok(match alias::of(resolver, domain.as_str()).await? {
        Some(Alias::Own(target)) => Name::Alias(target),
        Some(Alias::Wildcard(_)) => Name::Wildcards,
        None if alias::is_wildcards(resolver, domain.as_str()).await? => Name::Wildcards,
        None => Name::Own,
    })
}

/// Checks the name itself. If it is an alias, no record can be published there, so the findings of SPF and MX are changed to say so.
fn from_domain(domain: &Domain, name: Name, spf: &mut Check, mx: &mut Check) -> Check {
    let mut check = Check::new(Item::FromDomain, Need::Required);
    let text = || domain.to_string();
    check.say(match is_public_mailbox(domain) {
        true => Finding::PublicProvider { domain: text() },
        false => Finding::OwnDomain { domain: text() },
    });
    if let Name::Wildcards = name {
        check.say(Finding::FromDomainWildcard { domain: text() });
    }
    if let Name::Alias(target) = name {
        check.say(Finding::FromDomainAlias { domain: text(), target: target.clone() });
        match spf.severity() {
            // What would be published, and how, leads nowhere here: the alias must go first.
            Severity::Fault => {
                spf.expected.clear();
                spf.findings = vec![Finding::SpfBesideAlias { domain: text(), target: target.clone() }];
            }
            // The record at the alias's target works, and a better one cannot be published here.
            _ => {
                spf.expected.clear();
                let of_proposal =
                    |finding: &Finding| matches!(finding, Finding::SpfProposalFails { .. } | Finding::SpfMeant { .. });
                spf.findings.retain(|finding| !of_proposal(finding));
            }
        }
        if mx.findings.iter().any(|finding| matches!(finding, Finding::MxMissing { .. })) {
            mx.findings = vec![Finding::MxBesideAlias { domain: text(), target }];
        }
    }
    check
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> Report {
        let domain = Domain::parse("test.dk").unwrap();
        Report { customer: "test-as".to_owned(), domain, checked_at: Timestamp::EPOCH, checks }
    }

    fn check(item: Item, need: Need, finding: Finding) -> Check {
        let mut check = Check::new(item, need);
        check.say(finding);
        check
    }

    #[test]
    fn the_outcome_is_the_worst_by_need_and_severity() {
        let fault = || Finding::DkimMissing { host: "x".to_owned() };
        let unanswered = || Finding::Unanswered { reason: resolver::Error::Name("x".to_owned()) };
        for (need, finding, outcome) in [
            (Need::Required, fault(), Overall::Missing),
            (Need::Recommended, fault(), Overall::Recommendations),
            (Need::Optional, fault(), Overall::Good),
            (Need::Required, unanswered(), Overall::Unknown),
            (Need::Optional, unanswered(), Overall::Good),
            (Need::Required, Finding::DmarcTesting, Overall::Recommendations),
            (Need::Required, Finding::DmarcMonitoring, Overall::Good),
        ] {
            assert_eq!(report(vec![check(Item::Dkim, need, finding.clone())]).overall(), outcome, "{finding:?}");
        }
    }

    #[test]
    fn a_probe_takes_the_place_of_its_absence() {
        let server = || "mail.test.dk:587".to_owned();
        let mut report =
            report(vec![check(Item::OwnServer, Need::Required, Finding::ProbeSkipped { server: server() })]);
        report.checks[0].say(Finding::RelayByAddress { server: server(), ip: "40.74.40.57".to_owned() });
        assert_eq!(report.overall(), Overall::Good);
        let (reason, remedy) = ("550 5.7.60".to_owned(), "allow send-as".to_owned());
        report.probed(Err(ProbeFailure { step: Step::Mail, reason, remedy }));
        assert_eq!(report.overall(), Overall::Missing);
        let codes: Vec<_> = report.checks[0].findings.iter().map(std::mem::discriminant).collect();
        assert_eq!(codes.len(), 2, "what else was said stays: {:?}", report.checks[0].findings);
    }

    #[test]
    fn what_was_not_checked_is_unknown_and_not_verified() {
        let report = report(Vec::new());
        assert_eq!(report.seen(Requirement::Spf), Seen::Unknown);
        assert_eq!(report.status(), VerificationStatus::default());
    }

    #[test]
    fn a_check_costs_in_proportion_to_what_the_domain_publishes() {
        use crate::resolver::FixedZone;
        use crate::test_customers;
        let customer = test_customers::customer("x", [test_customers::ed25519("test.dk")], test_customers::mailjet());
        let directory = Directory::new(vec![customer.clone()], BTreeMap::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        /// The domain's records, each of so many octets; `records` of them at each host.
        fn zone(octets: usize, records: usize, text: impl Fn(&str, usize) -> String) -> Arc<FixedZone> {
            let zone = Arc::new(FixedZone::new());
            for (host, begin) in [
                ("test.dk", "v=spf1 "),
                ("_dmarc.test.dk", "v=DMARC1; "),
                ("postbud1._domainkey.test.dk", "v=DKIM1; "),
                ("mailjet._domainkey.test.dk", "v=DKIM1; "),
                ("_postbud-challenge.test.dk", ""),
            ] {
                (0..records).for_each(|at| zone.add_txt(host, &format!("{begin}{}", text(begin, at).repeat(octets))));
            }
            zone
        }
        let state = tempfile::tempdir().unwrap();
        crate::test_cost::is_linear(
            [300, 600, 1200],
            |zone: &Arc<FixedZone>| {
                let settings = Settings { state_dir: state.path().to_owned(), ..Settings::default() };
                let resolver = Arc::clone(zone) as SharedResolver;
                let secret = Arc::new(Secret::from_octets(&[7; 32]));
                let checker = Checker { settings: Arc::new(settings), resolver, secret };
                let domain = Domain::parse("test.dk").unwrap();
                runtime.block_on(checker.check(&directory, &customer, &domain, Timestamp::EPOCH));
            },
            &[
                ("one long record", |size| zone(size / 4, 1, |_, _| "x=; ".to_owned())),
                ("terms at fault", |size| zone(size / 5, 1, |_, _| "ip4: ".to_owned())),
                ("many records", |size| zone(1, size / 20, |_, at| format!("x{at}"))),
                ("many that were meant to be records", |size| {
                    zone(1, size / 40, |begin, at| format!("\u{a0}{begin}mx a:a{at}.dk; p=none"))
                }),
            ],
        );
    }
}

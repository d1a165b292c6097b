//! Accepts reports, and answers queries about them.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::aggregate::{Aggregate, Domains, Owner};
use super::container::{self, Opening, Unopened};
use super::owners::Owners;
use super::report::{self, Head, Repair, Repairs, Unreadable};
use super::store;
use super::summary::Summary;
use crate::customers::Directory;
use crate::database::{self, Database};
use crate::hex::hex;
use crate::onboarding;
use crate::returns::mail::{DmarcReports, NotTaken};
use crate::smtp::{Domain, Mailbox};
use crate::time::Timestamp;
use crate::visible::visible;

const DAY: u64 = 86_400;
/// How far a reporter's clock may be ahead.
const AHEAD: u64 = 2 * DAY;
/// The most reports of one mail or file.
const MOST_DOCUMENTS: usize = 100;
/// The longest range of one report. The standard says a day.
const LONGEST_RANGE: u64 = 35 * DAY;
/// The most messages of one report.
const MOST_MESSAGES: u64 = 100_000_000_000;
/// How often old data is removed.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// The most domains with a metric of their own: those whose last report is oldest.
const MOST_GAUGES: usize = 200;

/// The settings in `[returns.dmarc]` of the server file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long data from reports is kept.
    pub keep: Duration,
    /// The mailbox for reports, if there is one.
    pub address: Option<Mailbox>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { keep: Duration::from_secs(400 * DAY), address: None }
    }
}

/// Returns the present customers and settings.
type InForce = Arc<dyn Fn() -> (Arc<Directory>, Arc<onboarding::Settings>) + Send + Sync>;

/// The accepted reports. Cheap to clone.
#[derive(Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    database: Database,
    keep: Duration,
    in_force: InForce,
    counters: Counters,
    /// The end of the newest report of each domain, in seconds since 1970.
    newest: Mutex<HashMap<String, u64>>,
}

/// The result for a mail or file with at least one report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenReports {
    /// The reports that were accepted now or earlier.
    pub reports: Vec<TakenReport>,
    /// Why other reports in it were refused.
    pub refused: Vec<String>,
}

/// A report that was accepted now or earlier. Its texts may be anything that the sender wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenReport {
    /// True if it was accepted earlier, so that this copy was dropped.
    pub duplicate: bool,
    /// The reporter's name.
    pub reporter: String,
    /// The configured domains that it is about.
    pub domains: Vec<Domain>,
    /// The beginning of its range.
    pub begins: Timestamp,
    /// The end of its range.
    pub ends: Timestamp,
    /// The number of messages of these domains.
    pub messages: u64,
    /// The repairs that were necessary.
    pub repairs: Vec<Repair>,
}

/// Why no report of a mail or file was accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReportRefused {
    /// It contains no XML.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// The XML is not a report.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It is about domains that no customer has.
    #[error("it is about {0}, and no configured customer has this domain")]
    Foreign(String),
    /// Its period is implausible, or too long ago.
    #[error("{0}")]
    Time(String),
    /// It claims an implausible number of messages.
    #[error("it claims {0} messages")]
    Implausible(u64),
    /// The domain already has the maximum number of reports for that day.
    #[error("there are {} reports on {domain} of that day already", store::MOST_REPORTS)]
    Full { domain: Domain },
    /// The database failed. The same report may be accepted later.
    #[error(transparent)]
    Storage(#[from] database::Error),
}

impl ReportRefused {
    /// Returns true if the same report may be accepted later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, ReportRefused::Storage(_))
    }

    /// Returns the kind for metrics and programs.
    pub fn code(&self) -> &'static str {
        match self {
            ReportRefused::Unopened(Unopened::NothingAttached | Unopened::Unknown | Unopened::Empty) => "no-report",
            ReportRefused::Unopened(Unopened::Bomb | Unopened::Nested | Unopened::Parts(_) | Unopened::TooLarge(_)) => {
                "bomb"
            }
            ReportRefused::Unopened(_) => "archive",
            ReportRefused::Unreadable(Unreadable::Other(_) | Unreadable::Nothing) => "no-report",
            ReportRefused::Unreadable(_) => "malformed",
            ReportRefused::Foreign(_) => "foreign",
            ReportRefused::Time(_) => "time",
            ReportRefused::Implausible(_) => "malformed",
            ReportRefused::Full { .. } => "flood",
            ReportRefused::Storage(_) => "storage",
        }
    }
}

/// A parsed report before it is judged.
struct ReadReport {
    head: Head,
    repairs: Repairs,
    owners: Vec<Owner>,
    messages: u64,
}

impl Reports {
    /// Opens the reports in a database that has the tables of [`SCHEMA`](super::SCHEMA). `in_force` is called for each report. Reads the
    /// list of reports, and blocks.
    pub fn open(
        database: Database,
        keep: Duration,
        in_force: impl Fn() -> (Arc<Directory>, Arc<onboarding::Settings>) + Send + Sync + 'static,
    ) -> Result<Self, database::Error> {
        let database = database.of(&super::SCHEMA);
        let (counters, newest) = (Counters::default(), Mutex::default());
        let reports = Reports(Arc::new(Inner { database, keep, in_force: Arc::new(in_force), counters, newest }));
        reports.look_for_newest()?;
        Ok(reports)
    }

    /// Accepts the reports in a whole mail, an archive or XML. Accepted reports are on disk when this returns. Blocks.
    pub fn take(&self, octets: &[u8]) -> Result<TakenReports, ReportRefused> {
        let taken = self.take_at(octets, Timestamp::now());
        let counters = &self.0.counters.reports;
        match &taken {
            Ok(taken) => {
                for report in &taken.reports {
                    let result = if report.duplicate { "duplicate" } else { "taken" };
                    counters.get_or_create(&ResultLabel { result, reason: "" }).inc();
                }
            }
            Err(refused) => {
                counters.get_or_create(&ResultLabel { result: "refused", reason: refused.code() }).inc();
            }
        }
        taken
    }

    fn take_at(&self, octets: &[u8], now: Timestamp) -> Result<TakenReports, ReportRefused> {
        let (directory, onboarding) = (self.0.in_force)();
        let owners = Owners { directory: &directory, onboarding: &onboarding };
        let mut documents = Vec::new();
        let opening = container::open(octets, &mut |xml| {
            if documents.len() < MOST_DOCUMENTS {
                documents.push(read(xml, &owners));
            }
        })?;
        let (mut taken, mut first) = (TakenReports::default(), None);
        for document in documents {
            match document.map_err(ReportRefused::from).and_then(|found| self.keep(found, opening, now)) {
                Ok(report) => taken.reports.push(report),
                Err(refused @ ReportRefused::Storage(_)) => return Err(refused),
                Err(refused) => {
                    taken.refused.push(refused.to_string());
                    first = first.or(Some(refused));
                }
            }
        }
        match first {
            Some(refused) if taken.reports.is_empty() => Err(refused),
            None if taken.reports.is_empty() => Err(Unopened::NothingAttached.into()),
            _ => Ok(taken),
        }
    }

    fn keep(&self, found: ReadReport, opening: Opening, now: Timestamp) -> Result<TakenReport, ReportRefused> {
        let ReadReport { head, mut repairs, owners, messages } = found;
        if opening.nested {
            repairs.note(Repair::NestedArchive);
        }
        if opening.undeclared_encoding {
            repairs.note(Repair::UndeclaredEncoding);
        }
        if owners.is_empty() {
            let named = head.domain.as_ref().map_or_else(|| "unnamed domains".to_owned(), Domain::to_string);
            return Err(ReportRefused::Foreign(named));
        }
        if messages > MOST_MESSAGES {
            return Err(ReportRefused::Implausible(messages));
        }
        check_time(&head, now.as_secs(), self.0.keep)?;
        let key = key(&head, &owners);
        let middle = head.begins + (head.ends - head.begins) / 2;
        let day = i64::try_from(middle / DAY).unwrap_or_default();
        let reporter = reporter(&head.reporter);
        let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let duplicate = self.0.database.write_blocking(|tables| {
            if store::is_known(tables, &key)? {
                return Ok(true);
            }
            for owner in &owners {
                if store::is_full(tables, owner.domain(), day)? {
                    return Err(ReportRefused::Full { domain: owner.domain().clone() });
                }
                let report = store::NewReport {
                    key: &key,
                    domain: owner.domain(),
                    reporter: &reporter,
                    day,
                    ends: seconds(head.ends),
                    taken: seconds(now.as_secs()),
                    messages: owner.messages(),
                };
                store::put(tables, &report, &owner.rows)?;
            }
            tables.announce()?;
            Ok(false)
        })?;
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &owners {
            let end = newest.entry(owner.domain().to_string()).or_default();
            *end = (*end).max(head.ends.min(now.as_secs()));
        }
        Ok(TakenReport {
            duplicate,
            reporter,
            domains: owners.iter().map(|owner| owner.domain().clone()).collect(),
            begins: Timestamp::from_millis(head.begins * 1000),
            ends: Timestamp::from_millis(head.ends * 1000),
            messages: owners.iter().map(Owner::messages).sum(),
            repairs: repairs.kinds().collect(),
        })
    }

    /// Summarises the reports on a domain for the last `days` days before `now`. Blocks.
    pub fn summary(&self, domain: &Domain, days: u32, now: Timestamp) -> Result<Summary, database::Error> {
        let today = i64::try_from(now.as_secs() / DAY).unwrap_or(i64::MAX);
        let from = today - i64::from(days) + 1;
        self.0.database.read_blocking(|tables| {
            let sums = store::sums(tables, domain.as_str(), from)?;
            let reporters = store::reporters(tables, domain.as_str(), from)?;
            Ok(Summary::new(domain, days, today, &sums, &reporters))
        })
    }

    /// Removes old data now and once an hour until `stopping`. Learns of other nodes' newest reports when the database changes.
    pub async fn run(self, stopping: CancellationToken) {
        let mut changes = self.0.database.changes();
        let mut tidied = None::<Instant>;
        loop {
            let is_due = tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY);
            let reports = self.clone();
            let done = tokio::task::spawn_blocking(move || match is_due {
                true => reports.tidy(Timestamp::now()),
                false => reports.look_for_newest(),
            });
            match done.await {
                Ok(Err(error)) if is_due => {
                    tracing::warn!(%error, "old DMARC reports are not removed; tried again in an hour");
                }
                Ok(Err(error)) => tracing::warn!(%error, "it is not known which DMARC reports other nodes took"),
                _ => {}
            }
            if is_due {
                tidied = Some(Instant::now());
            }
            let left = TIDY_EVERY.saturating_sub(tidied.map_or(Duration::ZERO, |at| at.elapsed()));
            let next = tokio::time::timeout(left, changes.next());
            if stopping.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// Removes old data. Blocks.
    pub fn tidy(&self, now: Timestamp) -> Result<(), database::Error> {
        let before = i64::try_from((now - self.0.keep).as_secs() / DAY).unwrap_or_default();
        self.0.database.write_blocking(|tables| store::tidy(tables, before))?;
        // A command may have added reports to the database.
        self.look_for_newest()
    }

    fn look_for_newest(&self) -> Result<(), database::Error> {
        let found = self.0.database.read_blocking(store::newest)?;
        let found = found.into_iter().map(|(domain, end)| (domain, u64::try_from(end).unwrap_or_default()));
        *self.0.newest.lock().unwrap_or_else(PoisonError::into_inner) = found.collect();
        Ok(())
    }

    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "DMARC reports by what became of them";
        registry.register("dmarc_reports", help, self.0.counters.reports.clone());
        registry.register_collector(Box::new(Newest(self.clone())));
    }
}

impl DmarcReports for Reports {
    fn take(&self, message: &[u8], _: Timestamp) -> Result<(), NotTaken> {
        match Reports::take(self, message) {
            Ok(taken) => {
                for report in taken.reports.iter().filter(|report| !report.duplicate) {
                    let domains: Vec<&str> = report.domains.iter().map(Domain::as_str).collect();
                    let (reporter, domains) = (&report.reporter, domains.join(", "));
                    tracing::info!(%reporter, %domains, messages = report.messages, "DMARC report taken");
                }
                Ok(())
            }
            Err(refused) if refused.is_temporary() => Err(NotTaken(refused.to_string())),
            Err(refused) => {
                tracing::info!(reason = %visible(&refused.to_string()), "DMARC report refused");
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reports")
    }
}

fn read(xml: &mut dyn std::io::BufRead, domains: &dyn Domains) -> Result<ReadReport, Unreadable> {
    let mut sums = Aggregate::new(domains);
    let (head, mut repairs) = report::read(xml, &mut |record| sums.add(record))?;
    let (owners, messages) = sums.finish(head.domain.as_ref(), &mut repairs);
    Ok(ReadReport { head, repairs, owners, messages })
}

fn check_time(head: &Head, now: u64, keep: Duration) -> Result<(), ReportRefused> {
    let time = |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000));
    if head.ends > now + AHEAD {
        return Err(ReportRefused::Time(format!("it ends in the future, at {}", time(head.ends))));
    }
    if head.ends - head.begins > LONGEST_RANGE {
        let days = (head.ends - head.begins) / DAY;
        return Err(ReportRefused::Time(format!("it is about {days} days at once, and at most 35 are taken")));
    }
    if head.ends < now.saturating_sub(keep.as_secs()) {
        let days = keep.as_secs() / DAY;
        return Err(ReportRefused::Time(format!(
            "it ends at {}, and reports are kept for {days} days",
            time(head.ends)
        )));
    }
    Ok(())
}

/// Returns the identity of a report: reporter, id, domain and range, or its content if it has no id.
fn key(head: &Head, owners: &[Owner]) -> String {
    let mut text = format!("{}\n{}\n", head.reporter.to_ascii_lowercase(), head.id);
    let _ = writeln!(text, "{}\n{} {}", head.domain.as_ref().map_or("", Domain::as_str), head.begins, head.ends);
    if head.id.is_empty() {
        for owner in owners {
            let _ = writeln!(text, "{}: {:?}", owner.domain(), owner.rows);
        }
    }
    hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}

/// Returns a reporter's name in the form that is stored and shown.
fn reporter(name: &str) -> String {
    let name: String = name.chars().take(80).collect();
    visible(name.trim()).into_owned()
}

#[derive(Debug, Default)]
struct Counters {
    reports: Family<ResultLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabel {
    domain: String,
}

/// The metric with the age of the newest report, for a limited number of domains.
#[derive(Debug)]
struct Newest(Reports);

impl Collector for Newest {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let now = Timestamp::now().as_secs();
        let newest = self.0.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ages: Vec<(u64, &String)> =
            newest.iter().map(|(domain, end)| (now.saturating_sub(*end), domain)).collect();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        let help = "Age of the newest DMARC report of a domain, of the 200 domains with the oldest";
        let family = Family::<DomainLabel, prometheus_client::metrics::gauge::Gauge>::default();
        for (age, domain) in ages.iter().take(MOST_GAUGES) {
            let age = i64::try_from(*age).unwrap_or(i64::MAX);
            family.get_or_create(&DomainLabel { domain: (*domain).clone() }).set(age);
        }
        let encoder = out.encode_descriptor("dmarc_newest_report_seconds", help, None, family.metric_type())?;
        family.encode(encoder)?;
        let count = ConstGauge::new(i64::try_from(ages.len()).unwrap_or(i64::MAX));
        let encoder =
            out.encode_descriptor("dmarc_domains", "Domains with DMARC reports", None, count.metric_type())?;
        count.encode(encoder)
    }
}

#[cfg(test)]
mod tests;

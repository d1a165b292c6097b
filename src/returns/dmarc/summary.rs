//! Summarises the reports on a domain in numbers: how much of its mail is ours, how much passes and by which method, who else sends, and
//! what a stricter policy would affect.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::report::Disposition;
use super::sources::{KnownService, Source};
use super::store::{DaySum, Reporter};
use crate::onboarding::dmarc::step::{Facts, Stranger};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The most senders and reporters that are listed.
const MOST_LISTED: usize = 50;

/// A summary of the reports on a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// The domain that the reports are about.
    pub domain: String,
    /// The number of days up to now that it covers.
    pub days: u32,
    /// The number of these days with reports.
    pub days_with_reports: u32,
    /// The last day with reports, `2026-11-29`; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_day: Option<String>,
    /// How many days ago that was; absent if there are no reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_days_ago: Option<u32>,
    /// The number of reports.
    pub reports: u64,
    /// The reporters by their own names, those with the most messages first, at most 50.
    pub reporters: Vec<ReporterSummary>,
    /// The number of different reporters.
    pub reporter_count: u32,
    /// The results of all messages.
    pub all: Results,
    /// The results of the messages that we sent.
    pub ours: Results,
    /// The messages that a policy of quarantine or reject would affect.
    pub hit: Hit,
    /// The senders, those with the most messages first, at most 50.
    pub senders: Vec<Sender>,
    /// The number of further senders.
    pub more_senders: u64,
    /// The days, the oldest first.
    pub by_day: Vec<Day>,
}

/// A reporter, by its own name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcReporter")]
pub struct ReporterSummary {
    /// The reporter's name.
    pub name: String,
    /// The number of its reports.
    pub reports: u64,
    /// The number of messages in them.
    pub messages: u64,
}

/// Messages by the method that made them pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcResults")]
pub struct Results {
    /// The number of messages.
    pub messages: u64,
    /// Messages for which DKIM and SPF passed in alignment.
    pub by_both: u64,
    /// Messages for which only DKIM passed in alignment.
    pub by_dkim: u64,
    /// Messages for which only SPF passed in alignment, so forwarding would break them.
    pub by_spf: u64,
    /// Messages for which neither passed.
    pub failing: u64,
}

impl Results {
    fn add(&mut self, sum: &DaySum) {
        self.messages += sum.messages;
        *match (sum.row.dkim, sum.row.spf) {
            (true, true) => &mut self.by_both,
            (true, false) => &mut self.by_dkim,
            (false, true) => &mut self.by_spf,
            (false, false) => &mut self.failing,
        } += sum.messages;
    }

    /// Returns the number of messages that pass.
    pub fn passing(&self) -> u64 {
        self.messages - self.failing
    }
}

/// The failing messages, which a policy of quarantine or reject would affect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcHit")]
pub struct Hit {
    /// All failing messages.
    pub messages: u64,
    /// Failing messages that we sent.
    pub ours: u64,
    /// Failing messages of other senders whose mail mostly passes, which are the customer's own systems.
    pub own_senders: u64,
    /// Failing messages of senders whose mail mostly fails: forgers, or systems that nobody has set up.
    pub strangers: u64,
    /// Failing messages that the reporter recognised as forwarded.
    pub forwarded: u64,
    /// Failing messages that were already put into the spam folder.
    pub quarantined: u64,
    /// Failing messages that were already refused.
    pub rejected: u64,
}

impl Hit {
    /// Adds failing messages.
    fn add(&mut self, sum: &DaySum) {
        self.messages += sum.messages;
        self.forwarded += if sum.row.forwarded { sum.messages } else { 0 };
        match sum.row.disposition {
            Disposition::None => {}
            Disposition::Quarantine => self.quarantined += sum.messages,
            Disposition::Reject => self.rejected += sum.messages,
        }
    }

    /// Adds a sender's failing messages to those of its kind.
    fn add_failing_of(&mut self, sender: &Sender) {
        *match (sender.ours, sender.own) {
            (true, _) => &mut self.ours,
            (false, true) => &mut self.own_senders,
            (false, false) => &mut self.strangers,
        } += sender.results.failing;
    }
}

/// Everything that the reports say about one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcSender")]
pub struct Sender {
    /// The sender as far as reports tell: a name, a domain, or a network.
    pub name: String,
    /// The sender's key: `relay`, `mailjet`, `microsoft365`, `google`, `domain:…`, `network:…`, `unknown` or `others`.
    pub key: String,
    /// True if the mail is ours.
    pub ours: bool,
    /// True if the mail is ours, or mostly passes, which means that the customer has set the sender up.
    pub own: bool,
    /// One of its addresses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub example: String,
    /// The number of days on which it was seen.
    pub days: u32,
    /// The results of its messages.
    #[serde(flatten)]
    pub results: Results,
}

/// The messages of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcDay")]
pub struct Day {
    /// The day in UTC, `2026-11-29`.
    pub day: String,
    /// Our messages that passed.
    pub ours_passing: u64,
    /// Our messages that failed.
    pub ours_failing: u64,
    /// Other messages that passed.
    pub others_passing: u64,
    /// Other messages that failed.
    pub others_failing: u64,
}

impl Day {
    fn add(&mut self, sum: &DaySum) {
        *match (sum.row.ours, passes(sum)) {
            (true, true) => &mut self.ours_passing,
            (true, false) => &mut self.ours_failing,
            (false, true) => &mut self.others_passing,
            (false, false) => &mut self.others_failing,
        } += sum.messages;
    }
}

/// What is added up of one sender.
#[derive(Default)]
struct Gathered {
    results: Results,
    days: BTreeSet<i64>,
    example: String,
}

impl Summary {
    /// Adds up the sums of the last `days` days up to `today`.
    pub(super) fn new(domain: &Domain, days: u32, today: i64, sums: &[DaySum], reporters: &[Reporter]) -> Self {
        let (mut all, mut ours) = (Results::default(), Results::default());
        let mut senders: BTreeMap<(&Source, bool), Gathered> = BTreeMap::new();
        let first = today - i64::from(days) + 1;
        let mut by_day: Vec<Day> = (first..=today).map(|day| Day { day: date(day), ..Day::default() }).collect();
        let mut seen = BTreeSet::new();
        let mut hit = Hit::default();
        // A day that has begun only in the reporter's time zone counts as today.
        for sum in sums.iter().filter(|sum| sum.day >= first) {
            let day = sum.day.min(today);
            seen.insert(day);
            all.add(sum);
            let sender = senders.entry((&sum.row.source, sum.row.ours)).or_default();
            sender.results.add(sum);
            sender.days.insert(day);
            if sender.example.is_empty() {
                sender.example.clone_from(&sum.example);
            }
            if sum.row.ours {
                ours.add(sum);
            }
            if !passes(sum) {
                hit.add(sum);
            }
            if let Some(shown) = usize::try_from(day - first).ok().and_then(|at| by_day.get_mut(at)) {
                shown.add(sum);
            }
        }
        let mut senders: Vec<Sender> =
            senders.into_iter().map(|((source, ours), it)| sender(source, ours, it)).collect();
        senders.sort_by(|a, b| b.results.messages.cmp(&a.results.messages).then_with(|| a.key.cmp(&b.key)));
        senders.iter().for_each(|sender| hit.add_failing_of(sender));
        let more_senders = senders.len().saturating_sub(MOST_LISTED) as u64;
        senders.truncate(MOST_LISTED);
        let newest = seen.last().copied();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let shown = reporters.iter().take(MOST_LISTED);
        Summary {
            domain: domain.to_string(),
            days,
            days_with_reports: count(seen.len()),
            newest_day: newest.map(date),
            newest_days_ago: newest.map(|day| u32::try_from(today - day).unwrap_or_default()),
            reports: reporters.iter().map(|reporter| reporter.reports).sum(),
            reporters: shown
                .map(|it| ReporterSummary { name: it.name.clone(), reports: it.reports, messages: it.messages })
                .collect(),
            reporter_count: count(reporters.len()),
            all,
            ours,
            hit,
            senders,
            more_senders,
            by_day,
        }
    }

    /// Returns the facts that decide about the next policy.
    pub fn facts(&self) -> Facts {
        let strangers = self.senders.iter().filter(|sender| !sender.own).map(|sender| Stranger {
            name: sender.name.clone(),
            messages: sender.results.failing,
            days: sender.days,
        });
        Facts {
            days: self.days_with_reports,
            newest: self.newest_days_ago,
            reporters: self.reporter_count,
            all: self.all.messages,
            // Passing mail of strangers also belongs to somebody's own systems.
            messages: self.all.messages - self.hit.strangers,
            failing: self.hit.ours + self.hit.own_senders,
            ours_failing: self.hit.ours,
            ours: self.ours.messages,
            strangers: strangers.collect(),
        }
    }
}

fn passes(sum: &DaySum) -> bool {
    sum.row.dkim || sum.row.spf
}

fn sender(source: &Source, ours: bool, Gathered { results, days, example }: Gathered) -> Sender {
    let name = match source {
        Source::Relay => "postbud".to_owned(),
        Source::Known(known) => KnownService::name(*known).to_owned(),
        Source::Domain(name) => name.clone(),
        Source::Network(network) => network.to_string(),
        Source::Unknown => "?".to_owned(),
        Source::Others => "…".to_owned(),
    };
    let days = u32::try_from(days.len()).unwrap_or(u32::MAX);
    let own = ours || results.passing() >= results.failing.max(1);
    Sender { name, key: source.to_string(), ours, own, example, days, results }
}

/// Returns the date of a day since 1970.
pub(super) fn date(day: i64) -> String {
    let millis = u64::try_from(day).unwrap_or_default().saturating_mul(86_400_000);
    Timestamp::from_millis(millis).to_string().chars().take(10).collect()
}

//! What reports say of a domain, in numbers: how much of its mail is ours, how much passes and by what, who else sends, and what a
//! stricter policy would hit.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::report::Disposition;
use super::sources::{Known, Source};
use super::store::{DaySum, Reporter};
use crate::onboarding::dmarc::step::{Facts, Stranger};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The most senders and reporters that are listed.
const MOST_LISTED: usize = 50;

/// What reports say of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// The domain.
    pub domain: String,
    /// Of how many days up to now.
    pub days: u32,
    /// How many of these days have reports.
    pub days_with_reports: u32,
    /// The last day that has reports, `2026-11-29`; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_day: Option<String>,
    /// How many days ago that was; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_days_ago: Option<u32>,
    /// The reports.
    pub reports: u64,
    /// Who sent them, as they say; those about the most messages first, at most 50.
    pub reporters: Vec<ReporterSummary>,
    /// How many different reporters there are.
    pub reporter_count: u32,
    /// All messages.
    pub all: Results,
    /// The messages that we sent.
    pub ours: Results,
    /// What a policy of quarantine or reject hits.
    pub hit: Hit,
    /// The senders, those with the most messages first, at most 50.
    pub senders: Vec<Sender>,
    /// How many more senders there are.
    pub more_senders: u64,
    /// Each of the days, the oldest first.
    pub by_day: Vec<Day>,
}

/// A reporter, as it names itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcReporter")]
pub struct ReporterSummary {
    /// Its name.
    pub name: String,
    /// Its reports.
    pub reports: u64,
    /// The messages in them.
    pub messages: u64,
}

/// Messages by what made them pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcResults")]
pub struct Results {
    /// How many.
    pub messages: u64,
    /// DKIM and SPF passed in alignment.
    pub by_both: u64,
    /// DKIM alone passed in alignment.
    pub by_dkim: u64,
    /// SPF alone passed in alignment: forwarding breaks it.
    pub by_spf: u64,
    /// Neither passed.
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

    /// The messages that pass.
    pub fn passing(&self) -> u64 {
        self.messages - self.failing
    }
}

/// What a policy of quarantine or reject hits: the messages that fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcHit")]
pub struct Hit {
    /// All of them.
    pub messages: u64,
    /// Ours.
    pub ours: u64,
    /// Of other senders whose mail mostly passes: the customer's own systems.
    pub own_senders: u64,
    /// Of senders whose mail mostly fails: forgers, or systems that nobody has set up.
    pub strangers: u64,
    /// Of these messages, how many the reporter knows to be forwarded.
    pub forwarded: u64,
    /// How many went to the spam folder already.
    pub quarantined: u64,
    /// How many were refused already.
    pub rejected: u64,
}

/// A sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcSender")]
pub struct Sender {
    /// Who it is, as far as reports tell: a name, a domain, or a network.
    pub name: String,
    /// What it is known by: `relay`, `mailjet`, `microsoft365`, `google`, `domain:…`, `network:…`, `unknown` or `others`.
    pub key: String,
    /// True if the mail is ours.
    pub ours: bool,
    /// True if it is ours, or mostly passes: the customer has set it up.
    pub own: bool,
    /// One of its addresses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub example: String,
    /// On how many days it was seen.
    pub days: u32,
    /// Its messages.
    #[serde(flatten)]
    pub results: Results,
}

/// A day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DmarcDay")]
pub struct Day {
    /// The day in UTC, `2026-11-29`.
    pub day: String,
    /// Ours that passed.
    pub ours_passing: u64,
    /// Ours that failed.
    pub ours_failing: u64,
    /// Others that passed.
    pub others_passing: u64,
    /// Others that failed.
    pub others_failing: u64,
}

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
        // What begins tomorrow where the reporter is counts as today.
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
            let passes = sum.row.dkim || sum.row.spf;
            if !passes {
                hit.messages += sum.messages;
                hit.forwarded += if sum.row.forwarded { sum.messages } else { 0 };
                match sum.row.disposition {
                    Disposition::None => {}
                    Disposition::Quarantine => hit.quarantined += sum.messages,
                    Disposition::Reject => hit.rejected += sum.messages,
                }
            }
            if let Some(shown) = usize::try_from(day - first).ok().and_then(|at| by_day.get_mut(at)) {
                *match (sum.row.ours, passes) {
                    (true, true) => &mut shown.ours_passing,
                    (true, false) => &mut shown.ours_failing,
                    (false, true) => &mut shown.others_passing,
                    (false, false) => &mut shown.others_failing,
                } += sum.messages;
            }
        }
        let mut senders: Vec<Sender> =
            senders.into_iter().map(|((source, ours), it)| sender(source, ours, it)).collect();
        senders.sort_by(|a, b| b.results.messages.cmp(&a.results.messages).then_with(|| a.key.cmp(&b.key)));
        for sender in &senders {
            *match (sender.ours, sender.own) {
                (true, _) => &mut hit.ours,
                (false, true) => &mut hit.own_senders,
                (false, false) => &mut hit.strangers,
            } += sender.results.failing;
        }
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

    /// What decides about the next policy.
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
            // Mail of strangers that passes is somebody's own.
            messages: self.all.messages - self.hit.strangers,
            failing: self.hit.ours + self.hit.own_senders,
            ours_failing: self.hit.ours,
            ours: self.ours.messages,
            strangers: strangers.collect(),
        }
    }
}

fn sender(source: &Source, ours: bool, Gathered { results, days, example }: Gathered) -> Sender {
    let name = match source {
        Source::Relay => "postbud".to_owned(),
        Source::Known(known) => Known::name(*known).to_owned(),
        Source::Domain(name) => name.clone(),
        Source::Network(network) => network.to_string(),
        Source::Unknown => "?".to_owned(),
        Source::Others => "…".to_owned(),
    };
    let days = u32::try_from(days.len()).unwrap_or(u32::MAX);
    let own = ours || results.passing() >= results.failing.max(1);
    Sender { name, key: source.to_string(), ours, own, example, days, results }
}

/// The date of a day since 1970.
pub(super) fn date(day: i64) -> String {
    let millis = u64::try_from(day).unwrap_or_default().saturating_mul(86_400_000);
    Timestamp::from_millis(millis).to_string().chars().take(10).collect()
}

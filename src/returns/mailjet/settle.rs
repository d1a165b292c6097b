//! Turns reports from the inbox into events: finds the mail of each, judges what it adds to earlier reports, and emits the event.
//!
//! ```text
//! inbox ─► match ─► judge ─► journal (synced) ─► suppression (synced) ─► one transaction: state kept, inbox emptied
//! ```
//!
//! After a crash before the transaction, the same reports are processed again. They make the same events with the same ids, which the
//! journal skips. A report may arrive before the event that its mail was relayed, so a report without a mail waits for a while.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::counters::Fate;
use super::matching::{Found, Matched, PASS, find, recalled};
use super::reason::{is_for_now, reason};
use super::report::{Kind, Report};
use super::state::State;
use super::store::{self, Bound, Mail, Taken, hash};
use super::telling::{Reader, Tell, complaint, event, recipient};
use super::unmatched::Unmatched;
use crate::customers::suppression::{self, Reason as Suppressed};
use crate::database::{self, Transaction};
use crate::events::{Event, EventKind, Subject};
use crate::message::{CustomerId, QueueId};
use crate::record::event::Known;
use crate::record::trace;
use crate::smtp::Mailbox;
use crate::time::Timestamp;

/// How often the inbox is checked without a notification.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failed pass.
const RETRY: Duration = Duration::from_secs(1);
/// The longest time between relaying a mail and its event in the journal, while the disk works.
const NEWS: Duration = Duration::from_secs(3);
/// The same, where another node may have relayed it.
const NEWS_OF_OTHERS: Duration = Duration::from_secs(30);
/// How long a report without a mail waits if the journal cannot be read to its end.
const WAIT: Duration = Duration::from_secs(600);

/// Turns reports from the inbox into events until `stopping`.
pub(super) async fn run(shared: Arc<Shared>, stopping: CancellationToken) {
    let mut settler = Settler { shared, told: HashSet::new(), unmatched: Unmatched::default(), bound: PASS };
    let (mut is_troubled, subject) = (false, Subject::Mailjet("record".into()));
    while !stopping.is_cancelled() {
        let pause = match settler.pass().await {
            Ok(true) => continue,
            Ok(false) => {
                if std::mem::take(&mut is_troubled) {
                    settler.shared.parts.events.resolve(&subject, "Mailjet's events are in the record again");
                }
                LOOK_EVERY
            }
            Err(error) => {
                if !std::mem::replace(&mut is_troubled, true) {
                    tracing::error!("Mailjet's events wait before the record: {error}. It is tried again");
                }
                // The other errors have alerts of their own.
                let events = &settler.shared.parts.events;
                if matches!(error, Failed::Log(_)) && !events.is_open(&subject) {
                    events.raise(
                        subject.clone(),
                        format!("Mailjet's events wait and are tried again every second: {error}"),
                    );
                }
                RETRY
            }
        };
        let arrived = settler.shared.arrived.notified();
        let _ = tokio::time::timeout(pause, stopping.run_until_cancelled(arrived)).await;
    }
}

/// Reports with the times at which Mailjet sent them.
type Dated = Vec<(Report, Timestamp)>;
/// The numbers of hard bounces and of complaints, by customer.
type LaterResults = BTreeMap<CustomerId, (u32, u32)>;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error("the event log cannot be read: {0}")]
    Log(#[from] io::Error),
    #[error("the event log takes no events for now")]
    NotWritten,
}

struct Settler {
    shared: Arc<Shared>,
    /// The ids of events that are in the journal although the transaction behind them failed.
    told: HashSet<String>,
    unmatched: Unmatched,
    /// The most that the next pass reads.
    bound: Bound,
}

/// The result of a pass.
#[derive(Default)]
struct Judged {
    tell: Vec<Tell>,
    states: HashMap<(QueueId, u32), State>,
    seen: HashSet<(QueueId, i64)>,
    fates: Vec<Fate>,
}

impl Settler {
    /// Settles some rows. Returns true if there were any.
    async fn pass(&mut self) -> Result<bool, Failed> {
        let now = Timestamp::now();
        let database = self.shared.parts.database.clone();
        let bound = self.bound;
        let found = database.read(move |tables| find(tables, now, bound)).await?;
        self.measure(now, found.oldest);
        if found.rows.is_empty() {
            return Ok(false);
        }
        let Found { rows, counted: taken, matched, unmatched, foreign, .. } = found;
        let (later, given_up) = self.split_by_patience(unmatched, now);
        let (recalled, unknown) = self.recall(given_up).await?;
        let matched: Vec<Matched> = matched.into_iter().chain(recalled).collect();
        let judged = database.read(move |tables| judge(tables, matched)).await?;
        let Judged { tell, states, seen, mut fates } = judged;
        let counted = self.tell(tell, &unknown, now, &mut fates).await?;
        let later = later_rows(&self.shared, later);
        let foreign = foreign_rows(&self.shared, foreign);
        let kept: usize = later.iter().map(|(row, _)| row.reports.len()).sum();
        database
            .write(move |tables| {
                store::heard(tables, &states)?;
                store::see(tables, &seen)?;
                store::put(tables, &later)?;
                let foreign: Vec<_> = foreign.iter().map(|(node, row)| (node.as_str(), row, now)).collect();
                store::put_at(tables, &foreign)?;
                store::done(tables, &rows)
            })
            .await?;
        self.told.clear();
        let counters = &self.shared.counters;
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        counters.waiting.dec_by(signed(taken) - signed(kept));
        fates.into_iter().for_each(|fate| counters.became(fate, 1));
        self.count_for_customers(counted);
        Ok(true)
    }

    /// Splits reports without a mail into those whose mail may still come into the table, and the others.
    fn split_by_patience(&self, unmatched: Dated, now: Timestamp) -> (Dated, Dated) {
        let caught_up = self.shared.caught_up();
        // How far other nodes have read their journals is not known here.
        let others = if self.shared.parts.database.node().is_empty() { Duration::ZERO } else { NEWS_OF_OTHERS };
        let is_known_by_now = |came: Timestamp| caught_up >= came + NEWS && now.since(came) >= others;
        let may_come = |came: Timestamp| !is_known_by_now(came) && now.since(came) < WAIT;
        unmatched.into_iter().partition(|(_, came)| may_come(*came))
    }

    /// Writes the new events to the journal, and then the addresses to the suppression lists. Adds to `fates` what became of each report.
    /// Returns the hard bounces and complaints of each customer.
    async fn tell(
        &mut self,
        tell: Vec<Tell>,
        unknown: &[Report],
        now: Timestamp,
        fates: &mut Vec<Fate>,
    ) -> Result<LaterResults, Failed> {
        let events = self.shared.parts.events.clone();
        let is_answer = |tell: &Tell| matches!(tell.report.kind, Kind::Spam | Kind::Unsub);
        let alone = match tell.iter().any(is_answer) {
            true => Some(events.only_reporter_of_answers().await),
            false => None,
        };
        let (tell, known) = self.known(tell).await?;
        let (tell, known) = self.without_told_elsewhere(tell, known, fates).await?;
        fates.extend(known.iter().map(|known| if known.is_some() { Fate::Told } else { Fate::Forgotten }));
        let events: Vec<Event<'_>> = tell
            .iter()
            .zip(&known)
            .filter_map(|(tell, known)| event(tell, known.as_ref()?))
            .filter(|event| !self.told.contains(&event.event_id.to_string()))
            .collect();
        let unmatched = self.unmatched.events(unknown, now);
        fates.extend(unknown.iter().map(|_| Fate::Unmatched));
        let new: Vec<String> = events.iter().map(|event| event.event_id.to_string()).collect();
        let counted = later_results(&events, &tell);
        if !self.shared.parts.events.emit_synced(events.into_iter().chain(unmatched)).await {
            // The log may have room for fewer.
            self.bound = half(self.bound);
            return Err(Failed::NotWritten);
        }
        drop(alone);
        self.bound = PASS;
        self.told.extend(new);
        self.unmatched.told();
        self.shared.parts.suppression.take(self.suppressed(&tell, &known)).await?;
        Ok(counted)
    }

    fn count_for_customers(&self, counted: LaterResults) {
        for (customer, (hard, complaints)) in counted {
            if let Some(customer) = self.shared.parts.routing.customer(&customer) {
                self.shared.parts.outcomes.count_later_results(&customer, hard, complaints);
            }
        }
    }

    fn measure(&self, now: Timestamp, oldest: Option<Timestamp>) {
        let lag = oldest.map_or(0, |oldest| now.since(oldest).as_secs());
        self.shared.counters.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Looks in the event log for mails that the table does not know, because they are older than the table or its retention. Returns the
    /// reports that still have no mail.
    async fn recall(&self, reports: Dated) -> Result<(Vec<Matched>, Vec<Report>), Failed> {
        let ids: HashSet<QueueId> = reports.iter().filter_map(|(report, _)| report.mail).collect();
        let log = self.shared.parts.events.log().filter(|_| !ids.is_empty());
        let Some(log) = log.map(std::path::Path::to_owned) else {
            return Ok((Vec::new(), reports.into_iter().map(|(report, _)| report).collect()));
        };
        let lives = blocking(move || trace::lives(&log, ids)).await?;
        let (mut matched, mut unknown) = (Vec::new(), Vec::new());
        for (report, came) in reports {
            let known = report.mail.and_then(|id| Known::of(lives.get(&id)?));
            match known.and_then(|known| recalled(&report, &known, came)) {
                Some(mail) => matched.push(Matched { report, mail, came }),
                None => unknown.push(report),
            }
        }
        let new: Vec<Mail> = matched.iter().map(|matched: &Matched| matched.mail.clone()).collect();
        if !new.is_empty() {
            self.shared.parts.database.write(move |tables| store::add(tables, &new, |_| None)).await?;
        }
        Ok((matched, unknown))
    }

    /// Reads the mails' names from the journal. Returns `None` for mails that the journal no longer has.
    async fn known(&self, tell: Vec<Tell>) -> Result<(Vec<Tell>, Vec<Option<Known>>), Failed> {
        let Some(journal) = self.shared.parts.events.journal().cloned() else {
            let known = tell.iter().map(|_| None).collect();
            return Ok((tell, known));
        };
        blocking(move || {
            let mut reader = Reader::new(journal);
            let mut order: Vec<usize> = (0..tell.len()).collect();
            order.sort_by_key(|at| tell[*at].mail.at);
            let mut known: Vec<Option<Known>> = tell.iter().map(|_| None).collect();
            for at in order {
                known[at] = reader.known(&tell[at].mail)?;
            }
            Ok((tell, known))
        })
        .await
        .map_err(Failed::Log)
    }

    /// Leaves out complaints and unsubscriptions that came another way before, as a feedback report: for whoever reads the events, a
    /// recipient complains once about a mail. The suppression list and the rates had them then.
    async fn without_told_elsewhere(
        &self,
        tell: Vec<Tell>,
        known: Vec<Option<Known>>,
        fates: &mut Vec<Fate>,
    ) -> Result<(Vec<Tell>, Vec<Option<Known>>), Failed> {
        let is_answer = |tell: &Tell| matches!(tell.report.kind, Kind::Spam | Kind::Unsub);
        let ids: HashSet<QueueId> = tell.iter().filter(|tell| is_answer(tell)).map(|tell| tell.mail.id).collect();
        let Some(log) = self.shared.parts.events.log().map(std::path::Path::to_owned).filter(|_| !ids.is_empty())
        else {
            return Ok((tell, known));
        };
        let lives = blocking(move || trace::lives(&log, ids)).await?;
        let is_told = |tell: &Tell, known: &Known| {
            let Some(event) = event(tell, known).filter(|_| is_answer(tell)) else { return false };
            let is_the_same = |other: &serde_json::Value| {
                other["event"] == event.event.as_str()
                    && other["recipient"].as_str() == event.recipient.as_deref()
                    // After a crash, the event of this report itself may be there.
                    && other["event_id"] != event.event_id.to_string()
            };
            lives.get(&tell.mail.id).is_some_and(|life| life.iter().any(is_the_same))
        };
        let (repeated, new): (Vec<_>, Vec<_>) = tell
            .into_iter()
            .zip(known)
            .partition(|(tell, known)| known.as_ref().is_some_and(|known| is_told(tell, known)));
        fates.extend(repeated.iter().map(|_| Fate::Repeated));
        Ok(new.into_iter().unzip())
    }

    /// Returns the reports for the customers' suppression lists. They count even if the log has forgotten the mail.
    fn suppressed(&self, tell: &[Tell], known: &[Option<Known>]) -> Vec<suppression::SuppressionReport> {
        let report = |(tell, known): (&Tell, &Option<Known>)| {
            let said = match (tell.report.kind, &tell.reason) {
                (Kind::Bounce | Kind::Blocked, Some(reason)) if reason.for_good => {
                    let said = reason.reply.as_ref().map(ToString::to_string);
                    (Suppressed::HardBounce, said.unwrap_or_else(|| reason.detail.clone()))
                }
                (Kind::Spam, _) => (Suppressed::Complaint, complaint(&tell.report)),
                (Kind::Unsub, _) => (Suppressed::Unsubscribe, "Mailjet reports that the recipient unsubscribed".into()),
                _ => return None,
            };
            if known.as_ref().is_some_and(|known| !known.counts()) {
                return None;
            }
            let customer = self.shared.parts.routing.customer(&CustomerId::new(&tell.mail.customer))?;
            let to = known.as_ref().and_then(|known| recipient(known, &tell.mail));
            let address = to.map(|to| to.address.clone()).or_else(|| Mailbox::parse(&tell.report.email).ok())?;
            suppression::SuppressionReport::new(&customer, &address, said.0, &said.1, tell.at)
        };
        tell.iter().zip(known).filter_map(report).collect()
    }
}

/// Counts hard bounces and complaints of each customer among the new events.
fn later_results(events: &[Event<'_>], tell: &[Tell]) -> LaterResults {
    let for_good: HashSet<QueueId> = tell
        .iter()
        .filter(|tell| tell.reason.as_ref().is_some_and(|reason| reason.for_good))
        .map(|tell| tell.mail.id)
        .collect();
    let mut counted = LaterResults::new();
    for event in events.iter().filter(|event| event.about.is_none() && !event.test) {
        let (Some(customer), Some(id)) = (event.customer.as_deref(), event.queue_id) else { continue };
        let (hard, complaints) = match event.event {
            EventKind::Bounced if for_good.contains(&id) => (1, 0),
            EventKind::Complained => (0, 1),
            _ => continue,
        };
        let of = counted.entry(CustomerId::new(customer)).or_default();
        *of = (of.0 + hard, of.1 + complaints);
    }
    counted
}

/// Decides what each report adds.
fn judge(tables: &Transaction<'_>, matched: Vec<Matched>) -> Result<Judged, database::Error> {
    let mut judged = Judged::default();
    let is_action = |matched: &&Matched| matches!(matched.report.kind, Kind::Open | Kind::Click);
    let actions: Vec<(QueueId, i64)> =
        matched.iter().filter(is_action).map(|matched| (matched.mail.id, action(matched).1)).collect();
    let seen = store::seen(tables, &actions)?;
    for matched in matched {
        if is_for_now(&matched.report) {
            judged.fates.push(Fate::ForNow);
            continue;
        }
        let at = happened(&matched);
        let is_failure = matches!(matched.report.kind, Kind::Bounce | Kind::Blocked);
        let reason = is_failure.then(|| reason(&matched.report));
        let mut key = String::new();
        if matches!(matched.report.kind, Kind::Open | Kind::Click) {
            let (words, number) = action(&matched);
            let report = (matched.mail.id, number);
            if seen.contains(&report) || !judged.seen.insert(report) {
                judged.fates.push(Fate::Repeated);
                continue;
            }
            key = words;
            // Several may have come at once with times that do not count, and then have this one in common.
            if at != stated(&matched.report) {
                key = format!("{key} {}", matched.report.time);
            }
        } else {
            let Matched { report, mail, .. } = &matched;
            let for_good = reason.as_ref().is_some_and(|reason| reason.for_good);
            let state = judged.states.entry((mail.id, mail.place)).or_insert(mail.state);
            let has_bounced = state.has_bounced();
            if !state.hear(report.kind, for_good) {
                let is_late = report.kind == Kind::Sent && has_bounced;
                judged.fates.push(if is_late { Fate::Late } else { Fate::Repeated });
                continue;
            }
            if for_good {
                key.push_str("for good");
            }
        }
        let Matched { report, mail, .. } = matched;
        judged.tell.push(Tell { report, mail, at, reason, key });
    }
    Ok(judged)
}

/// Returns what distinguishes an opening or a click from others of its mail, as words and as a number.
fn action(Matched { report, mail, .. }: &Matched) -> (String, i64) {
    let words = format!("{} {} {}", mail.place, report.kind.as_str(), report.mark);
    // Mailjet's own time, plausible or not: every repeat of the event has it.
    let number = hash(&[words.as_bytes(), &stated(report).as_millis().to_be_bytes()]);
    (words, number)
}

/// Returns the time of the event as Mailjet says.
fn stated(report: &Report) -> Timestamp {
    Timestamp::from_millis(report.time.saturating_mul(1000))
}

/// Returns the time of the event as Mailjet says, if it is plausible.
fn happened(Matched { report, mail, came }: &Matched) -> Timestamp {
    const DAY: Duration = Duration::from_secs(86_400);
    let came = *came;
    let at = stated(report);
    if at + DAY >= mail.relayed && at <= came + DAY { at } else { came }
}

/// Returns half of a bound, and at least one row.
fn half(bound: Bound) -> Bound {
    Bound { rows: (bound.rows / 2).max(1), reports: bound.reports / 2, octets: bound.octets / 2 }
}

/// Returns the rows of reports that wait for the event that their mail was relayed. They are tried again soon, and then at growing
/// intervals.
fn later_rows(shared: &Shared, later: Vec<(Report, Timestamp)>) -> Vec<(Taken, Timestamp)> {
    let now = Timestamp::now();
    let mut by_time = BTreeMap::<Timestamp, Vec<Report>>::new();
    for (report, came) in later {
        by_time.entry(came).or_default().push(report);
    }
    let row = |(came, reports): (Timestamp, Vec<Report>)| {
        let pause = now.since(came).clamp(Duration::from_secs(1), Duration::from_secs(15));
        (Taken { number: shared.next_number(), came, reports, handed: false }, now + pause)
    };
    by_time.into_iter().map(row).collect()
}

/// Returns the rows of reports that other nodes have to emit.
fn foreign_rows(shared: &Shared, foreign: Vec<(String, Report, Timestamp)>) -> Vec<(String, Taken)> {
    let mut by_node = BTreeMap::<(String, Timestamp), Vec<Report>>::new();
    for (node, report, came) in foreign {
        by_node.entry((node, came)).or_default().push(report);
    }
    let row = |((node, came), reports)| (node, Taken { number: shared.next_number(), came, reports, handed: true });
    by_node.into_iter().map(row).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::journal::Position;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    fn mail() -> Mail {
        Mail {
            id: QueueId::from_u64(7),
            place: 0,
            node: String::new(),
            name: None,
            recipient: 0,
            customer: String::new(),
            route: String::new(),
            at: Position::default(),
            relayed: NOW,
            state: State::default(),
        }
    }

    #[test]
    fn a_repeated_opening_is_the_same_whatever_time_mailjet_gives_it() {
        let number = |time: u64, came: Timestamp| {
            let report = Report { time, mark: 9, ..Report::new(Kind::Open) };
            action(&Matched { report, mail: mail(), came }).1
        };
        let (came, again) = (NOW + Duration::from_secs(60), NOW + Duration::from_secs(3_600));
        let times = [0, 7, NOW.as_secs(), NOW.as_secs() + 1, NOW.as_secs() + 30 * 86_400, u64::MAX];
        for time in times {
            assert_eq!(number(time, came), number(time, again), "{time}");
        }
        let distinct: HashSet<i64> = times.iter().map(|time| number(*time, came)).collect();
        assert_eq!(distinct.len(), times.len());
    }

    #[test]
    fn mailjets_time_counts_if_it_can_be() {
        let day = Duration::from_secs(86_400);
        let came = NOW + day * 3;
        for (time, expected) in [
            (NOW.as_secs() + 7, NOW + Duration::from_secs(7)),
            // Mailjet rounds down to seconds, and its clock may be a little behind.
            (NOW.as_secs() - 7, NOW - Duration::from_secs(7)),
            (0, came),
            (NOW.as_secs() - 2 * 86_400, came),
            (came.as_secs() + 2 * 86_400, came),
            (u64::MAX, came),
        ] {
            let report = Report { time, ..Report::new(Kind::Sent) };
            assert_eq!(happened(&Matched { report, mail: mail(), came }), expected, "{time}");
        }
    }
}

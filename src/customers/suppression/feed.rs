//! Writes reports about recipients to the lists. Many reports share one transaction, so that a wave of bounces costs few syncs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Change, Entry, Mode, Policy, Reason, ReasonLabel, Suppression, clipped, folded, store};
use crate::customers::Customer;
use crate::database::{Error, Transaction};
use crate::message::CustomerId;
use crate::smtp::Mailbox;
use crate::time::Timestamp;

/// The most reports in one transaction.
const BATCH: usize = 1000;
/// How often expired entries are removed.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// The pause after a failed write.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest time over which a customer may count bounces.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(400 * 86_400);

/// A report about one recipient.
#[derive(Clone, Debug)]
pub(crate) struct SuppressionReport {
    pub customer: CustomerId,
    pub policy: Policy,
    pub address: String,
    pub reason: Reason,
    pub at: Timestamp,
    pub detail: String,
}

impl SuppressionReport {
    /// Makes a report for this time. Returns `None` if the customer has no list.
    pub fn new(customer: &Customer, address: &Mailbox, reason: Reason, detail: &str, at: Timestamp) -> Option<Self> {
        (customer.suppression.mode != Mode::Off).then(|| SuppressionReport {
            customer: customer.id.clone(),
            policy: customer.suppression,
            address: folded(address),
            reason,
            at,
            detail: clipped(detail),
        })
    }
}

/// Adds what is waiting to the lists until `stopping`, as [`Suppression::run`] promises.
pub(super) async fn run(
    lists: &Suppression,
    waiting: &mut mpsc::Receiver<SuppressionReport>,
    stopping: CancellationToken,
) {
    let mut batch = Vec::new();
    let mut next_tidy = Instant::now();
    loop {
        let ended = tokio::select! {
            taken = waiting.recv_many(&mut batch, BATCH) => taken == 0,
            () = sleep_until(next_tidy) => {
                tidy(lists).await;
                next_tidy = Instant::now() + TIDY_EVERY;
                continue;
            }
            () = stopping.cancelled() => {
                while batch.len() < super::FEED && let Ok(report) = waiting.try_recv() {
                    batch.push(report);
                }
                true
            }
        };
        let count = batch.len() as u64;
        if write(lists, std::mem::take(&mut batch), &stopping).await {
            lists.0.done.fetch_add(count, Ordering::Release);
        }
        if ended {
            return;
        }
    }
}

/// Writes a batch, and retries until the database accepts it. Meanwhile the feed fills. After `stopping`, tries only once more.
/// Returns false if the batch is lost.
async fn write(lists: &Suppression, batch: Vec<SuppressionReport>, stopping: &CancellationToken) -> bool {
    let mut told = false;
    while !batch.is_empty() {
        let reports = batch.clone();
        match lists.change(move |tables, number| take(tables, number, &reports, Repeats::Never)).await {
            Ok(reasons) => {
                for reason in reasons {
                    lists.0.counters.added.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
                }
                return true;
            }
            Err(error) if stopping.is_cancelled() => {
                lists.0.counters.lost.inc_by(batch.len() as u64);
                tracing::error!("{} reports for suppression lists come at the next start: {error}", batch.len());
                return false;
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("suppression lists cannot be written; tried again every {RETRY_AFTER:?}: {error}");
                }
                let _ = stopping.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await;
            }
        }
    }
    true
}

/// Says whether a report may come a second time with the same timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    Never,
    /// The caller keeps its source until the report is written, and brings it again after a crash in between.
    AfterCrash,
}

/// Adds reports to the lists. `number` is that of the write. Returns the reasons of the addresses that were added, and the changes for the
/// table in memory.
pub(super) fn take(
    tables: &Transaction<'_>,
    number: i64,
    reports: &[SuppressionReport],
    repeats: Repeats,
) -> Result<(Vec<Reason>, Vec<Change>), Error> {
    let (mut reasons, mut changes) = (Vec::new(), Vec::new());
    for SuppressionReport { customer, policy, address, reason, at, detail } in reports {
        let (id, at) = (customer.as_str(), *at);
        let found = store::find(tables, id, address, at)?;
        // A complaint, an unsubscription or an operator's entry is kept, because it says more than a bounce.
        if found.as_ref().is_some_and(|entry| entry.reason != Reason::HardBounce) {
            continue;
        }
        let expires = (*reason == Reason::HardBounce).then(|| at + policy.bounces_expire);
        if *reason == Reason::HardBounce && found.is_none() && policy.hard_bounces > 1 {
            if repeats == Repeats::Never || !store::has_bounced(tables, id, address, at)? {
                store::note_bounce(tables, id, address, at)?;
            }
            if store::bounces_since(tables, id, address, at - policy.window)? < policy.hard_bounces {
                continue;
            }
        }
        store::forget_bounces(tables, id, address)?;
        let entry = Entry { address: address.clone(), reason: *reason, since: at, expires, note: detail.clone() };
        store::put(tables, number, id, &entry)?;
        if found.is_none() {
            reasons.push(*reason);
        }
        changes.push(Change { customer: customer.clone(), address: entry.address, now: Some((*reason, expires)) });
    }
    Ok((reasons, changes))
}

async fn tidy(lists: &Suppression) {
    let now = Timestamp::now();
    if let Some(database) = &lists.0.database
        && let Err(error) = database.write(move |tables| store::tidy(tables, now, now - LONGEST_WINDOW)).await
    {
        tracing::warn!("expired addresses stay in the suppression lists: {error}");
    }
    lists.0.table.tidy(now);
    lists.0.count_entries();
}

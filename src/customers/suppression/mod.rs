//! The suppression list of each customer: addresses to which its mail is no longer sent.
//!
//! ```text
//! hard bounce of an attempt ──► feed (bounded) ────────────┐
//! what Mailjet and returned mail report ───────────────────┤
//! operator: add, remove, import ───────────────────────────┴──► store (database, the truth) ──► table (memory) ◄── submission
//! ```
//!
//! Lookups are answered from memory in less than a microsecond. A change is written to the database before the table shows it, so a restart
//! never changes an answer. The table shows a change of another node within a second. While the database does not answer, the table stays
//! as it is. Reports of other systems (`Suppression::take`) survive a crash, because the caller keeps their source until
//! they are written. The feed takes only hard bounces of the relay's own attempts. Those that a crash loses are in the event log, from which
//! the next start brings them again (`Suppression::take`, with the same timestamps).
//!
//! Addresses are compared without case, also in the local part: RFC 5321 §2.4 lets the final host distinguish `Anna` from `anna`, but no
//! known host does. Domains are compared as in DNS (IDNA). Needless quotes in the local part are ignored. Tags (`anna+news@`) are not: some
//! hosts give a tagged address to another person.

mod address;
pub(crate) mod csv;
mod entry;
mod feed;
mod policy;
mod store;
mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use address::folded;
pub use entry::{Entry, Reason, clipped};
pub use feed::LONGEST_WINDOW;
pub use policy::{Mode, Policy};
pub use store::SCHEMA;

use super::Customer;
use crate::database::{self, Database, Transaction};
use crate::message::CustomerId;
use crate::smtp::Mailbox;
use crate::time::Timestamp;
use feed::Repeats;
pub(crate) use feed::SuppressionReport;
use table::Table;

/// The most reports that wait to be written. More are dropped and counted.
const FEED: usize = 10_000;

/// All suppression lists. Cheap to clone.
#[derive(Clone)]
pub struct Suppression(Arc<Inner>);

struct Inner {
    database: Option<Database>,
    table: Table,
    /// Locked from a change of the database until the table shows it, so that both see all changes in the same order. Holds the number of
    /// the last write that the table shows.
    changing: Mutex<i64>,
    feed: mpsc::Sender<SuppressionReport>,
    /// The number of reports of the feed, and of those that are written.
    taken: AtomicU64,
    done: AtomicU64,
    counters: Counters,
}

/// A change of the table: an address is suppressed for a reason until a time, or no longer suppressed.
struct Change {
    customer: CustomerId,
    address: String,
    now: Option<(Reason, Option<Timestamp>)>,
}

/// The reports that wait to be written. [`Suppression::run`] takes it.
pub struct Feed(mpsc::Receiver<SuppressionReport>);

/// Makes empty lists without a database, for tests of other parts.
impl Default for Suppression {
    fn default() -> Self {
        Suppression::new(None, Table::default(), 0).0
    }
}

impl Suppression {
    /// Reads the lists from the database. Blocks: a million entries take some seconds.
    pub fn open(database: Database) -> Result<(Self, Feed), database::Error> {
        let (database, table) = (database.of(&SCHEMA), Table::default());
        let now = Timestamp::now();
        let seen = database.read_blocking(|tables| {
            store::each(tables, now, |customer, address, reason, expires| {
                table.set(customer, address, reason, expires)
            })?;
            tables.version()
        })?;
        let (lists, feed) = Suppression::new(Some(database), table, seen);
        lists.0.count_entries();
        Ok((lists, feed))
    }

    fn new(database: Option<Database>, table: Table, seen: i64) -> (Self, Feed) {
        let (feed, waiting) = mpsc::channel(FEED);
        let (taken, done) = Default::default();
        let counters = Counters::default();
        let inner = Inner { database, table, changing: Mutex::new(seen), feed, taken, done, counters };
        (Suppression(Arc::new(inner)), Feed(waiting))
    }

    /// Returns why an address is on a customer's list, or `None` if it is not. Looks in memory only.
    pub fn reason(&self, customer: &CustomerId, address: &Mailbox) -> Option<Reason> {
        self.0.table.get(customer.as_str(), address, Timestamp::now())
    }

    /// Returns why this customer's mail must not go to an address, or `None` if it may.
    pub fn refusal_reason(&self, customer: &Customer, address: &Mailbox) -> Option<Reason> {
        (customer.suppression.mode == Mode::Refuse).then(|| self.reason(&customer.id, address)).flatten()
    }

    /// Reports that a server refused a recipient for good. `at` is the time of its event too. After as many reports as the customer's
    /// [`Policy`] says, the address is suppressed. Never waits.
    pub fn hard_bounce(&self, customer: &Customer, address: &Mailbox, detail: &str, at: Timestamp) {
        let report = SuppressionReport::new(customer, address, Reason::HardBounce, detail, at);
        let Some(report) = report else { return };
        self.0.taken.fetch_add(1, Ordering::Relaxed);
        if self.0.feed.try_send(report).is_err() {
            self.0.counters.lost.inc();
        }
    }

    /// Returns true if every report of the feed so far is written. After one that was lost, never again.
    pub(crate) fn is_written(&self) -> bool {
        // In this order: a report that comes in between counts as not written.
        let done = self.0.done.load(Ordering::Acquire);
        done >= self.0.taken.load(Ordering::Acquire)
    }

    /// Writes reports, and returns after they are on disk, for callers that keep their source until then. A report that a caller brings
    /// again after a crash, with the same timestamp, counts once.
    pub(crate) async fn take(&self, reports: Vec<SuppressionReport>) -> Result<(), database::Error> {
        if reports.is_empty() || self.0.database.is_none() {
            return Ok(());
        }
        for reason in
            self.change(move |tables, number| feed::take(tables, number, &reports, Repeats::AfterCrash)).await?
        {
            self.0.counters.added.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
        }
        Ok(())
    }

    /// Writes the reports of the feed until `stopping`, and then the ones that still wait. Removes expired entries once an hour.
    pub async fn run(&self, Feed(mut waiting): Feed, stopping: CancellationToken) {
        tokio::join!(feed::run(self, &mut waiting, stopping.clone()), stopping.run_until_cancelled(self.follow()));
    }

    /// Shows what other nodes have changed, as they change it.
    async fn follow(&self) {
        let Some(database) = &self.0.database else { return };
        let show = || {
            let lists = self.clone();
            let shown = tokio::task::spawn_blocking(move || lists.show_changes());
            async {
                shown.await.unwrap_or_else(|error| {
                    tracing::error!("a change of the suppression lists is not shown: {error}");
                    Ok(())
                })
            }
        };
        database.changes().follow("which addresses are suppressed", show).await;
    }

    /// Shows what was changed since the table last did.
    fn show_changes(&self) -> Result<(), database::Error> {
        let Some(database) = &self.0.database else { return Ok(()) };
        let mut seen = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, version) = database.read_blocking(|tables| {
            let version = tables.version()?;
            // A database that was put back to an earlier state begins to count again.
            let behind = if version < *seen { 0 } else { *seen };
            Ok::<_, database::Error>((store::changes(tables, behind)?, version))
        })?;
        self.0.show(&changes);
        *seen = version;
        Ok(())
    }

    /// Returns up to `limit` entries of a customer's list in the order of addresses, starting after `after`.
    pub async fn list(
        &self,
        customer: &CustomerId,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Entry>, database::Error> {
        let Some(database) = &self.0.database else { return Ok(Vec::new()) };
        let customer = customer.clone();
        database
            .read(move |tables| store::list(tables, customer.as_str(), after.as_deref(), limit, Timestamp::now()))
            .await
    }

    /// Returns the entry of an address, or `None` if the address is not on the list.
    pub async fn find(&self, customer: &CustomerId, address: &Mailbox) -> Result<Option<Entry>, database::Error> {
        let Some(database) = &self.0.database else { return Ok(None) };
        let (customer, address) = (customer.clone(), folded(address));
        database.read(move |tables| store::find(tables, customer.as_str(), &address, Timestamp::now())).await
    }

    /// Adds entries to a customer's list, all or none. An existing entry is replaced.
    pub async fn add(&self, customer: &CustomerId, entries: Vec<Entry>) -> Result<(), database::Error> {
        let customer = customer.clone();
        self.change(move |tables, number| {
            for entry in &entries {
                store::put(tables, number, customer.as_str(), entry)?;
            }
            let shown = |entry: Entry| Change {
                customer: customer.clone(),
                address: entry.address,
                now: Some((entry.reason, entry.expires)),
            };
            Ok(((), entries.into_iter().map(shown).collect()))
        })
        .await
    }

    /// Removes an address from a customer's list, whatever the reason of the entry, and forgets its bounces. Returns false if it was not on
    /// the list.
    pub async fn remove(&self, customer: &CustomerId, address: &Mailbox) -> Result<bool, database::Error> {
        let (customer, address) = (customer.clone(), folded(address));
        self.change(move |tables, number| {
            let found = store::remove(tables, number, customer.as_str(), &address, Timestamp::now())?;
            Ok((found, vec![Change { customer, address, now: None }]))
        })
        .await
    }

    /// Changes the database first, then the table. `work` gets the number of its write.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, i64) -> Result<(T, Vec<Change>), database::Error> + Send + 'static,
    ) -> Result<T, database::Error> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let database = inner.database.as_ref().expect("lists without a database are never changed");
            let _changing = inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let (result, changes) = database.write_blocking(|tables| {
                let number = tables.announce()?;
                work(tables, number)
            })?;
            inner.show(&changes);
            Ok(result)
        });
        done.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Returns the number of entries in memory.
    pub fn len(&self) -> usize {
        self.0.table.len()
    }

    /// Returns true if nothing is suppressed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the metrics of the lists.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}

impl Inner {
    fn show(&self, changes: &[Change]) {
        for Change { customer, address, now } in changes {
            match now {
                Some((reason, expires)) => self.table.set(customer.as_str(), address, *reason, *expires),
                None => self.table.remove(customer.as_str(), address),
            }
        }
        self.count_entries();
    }

    fn count_entries(&self) {
        self.counters.entries.set(i64::try_from(self.table.len()).unwrap_or(i64::MAX));
    }
}

/// The counters of the lists.
#[derive(Debug, Default)]
pub struct Counters {
    added: Family<ReasonLabel, Counter>,
    /// Recipients that were left out or refused.
    pub refused: Counter,
    /// Recipients on a list that were accepted anyway (`mode = "event"`).
    pub noted: Counter,
    /// Reports of the feed that were dropped because it was full, or that could not be written before a stop.
    lost: Counter,
    entries: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Counters {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("suppression_added", "Addresses that the relay suppressed by itself", self.added.clone());
        let refused = "Recipients refused or left out because their address is suppressed";
        registry.register("suppression_refused", refused, self.refused.clone());
        registry.register(
            "suppression_noted",
            "Suppressed recipients that were taken all the same",
            self.noted.clone(),
        );
        let lost = "Hard bounces that could not be counted for a list until the next start";
        registry.register("suppression_lost", lost, self.lost.clone());
        registry.register("suppression_entries", "Addresses on all suppression lists", self.entries.clone());
    }
}

#[cfg(test)]
mod tests;

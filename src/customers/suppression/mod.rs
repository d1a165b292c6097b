//! The suppression list of each customer: addresses that its mail no longer goes to.
//!
//! ```text
//! hard bounce, complaint, unsubscribe ──► feed (bounded) ──┐
//! operator: add, remove, import ───────────────────────────┴──► store (SQLite, the truth) ──► table (memory) ◄── submission
//! ```
//!
//! An answer comes from memory and costs less than a microsecond. A change is in the database before the table shows it, so an
//! answer never outlives a restart by mistake. What the feed is told may be lost by a crash within its next second; the next bounce of
//! that address tells it again.
//!
//! Addresses are compared without regard to case, in the local part too: RFC 5321 §2.4 lets the final host tell `Anna` from `anna`, and
//! none of the field does. Domains are compared as DNS does (IDNA). Quotes that a local part does not need do not count. Tags
//! (`anna+news@`) do: they belong to the recipient, and some hosts give the tagged address to somebody else.

mod address;
pub mod csv;
mod entry;
mod feed;
mod policy;
mod store;
mod table;

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
pub(crate) use feed::Report;
use table::Table;

/// Reports that may wait to be written. More are dropped and counted.
const FEED: usize = 10_000;

/// All suppression lists. Cheap to clone.
#[derive(Clone)]
pub struct Suppression(Arc<Inner>);

struct Inner {
    database: Option<Database>,
    table: Table,
    /// Held from a change of the database until the table shows it, so that both see all changes in one order.
    changing: Mutex<()>,
    feed: mpsc::Sender<Report>,
    counters: Counters,
}

/// What the table shows from now on: why an address is suppressed and until when, or that it is not.
struct Change {
    customer: CustomerId,
    address: String,
    now: Option<(Reason, Option<Timestamp>)>,
}

/// The reports that wait to be written: given to [`Suppression::run`].
pub struct Feed(mpsc::Receiver<Report>);

/// Lists without a database, where nothing is suppressed and nothing can be: for tests of other parts.
impl Default for Suppression {
    fn default() -> Self {
        Suppression::new(None, Table::default()).0
    }
}

impl Suppression {
    /// Reads the lists from the database. Blocks: a million entries take some seconds.
    pub fn open(database: Database) -> Result<(Self, Feed), database::Error> {
        let table = Table::default();
        let now = Timestamp::now();
        database.read_blocking(|tables| {
            store::each(tables, now, |customer, address, reason, expires| table.set(customer, address, reason, expires))
        })?;
        let (lists, feed) = Suppression::new(Some(database), table);
        lists.0.count_entries();
        Ok((lists, feed))
    }

    fn new(database: Option<Database>, table: Table) -> (Self, Feed) {
        let (feed, waiting) = mpsc::channel(FEED);
        let inner = Inner { database, table, changing: Mutex::new(()), feed, counters: Counters::default() };
        (Suppression(Arc::new(inner)), Feed(waiting))
    }

    /// Returns why an address is on a customer's list, or `None` if it is not or no longer is. Asks memory only.
    pub fn reason(&self, customer: &CustomerId, address: &Mailbox) -> Option<Reason> {
        self.0.table.get(customer.as_str(), address, Timestamp::now())
    }

    /// Returns why mail of this customer must not go to an address, or `None` if it may.
    pub fn refuses(&self, customer: &Customer, address: &Mailbox) -> Option<Reason> {
        (customer.suppression.mode == Mode::Refuse).then(|| self.reason(&customer.id, address)).flatten()
    }

    /// Tells of a recipient that a server refused as unknown or closed for good. Once the customer's [`Policy`] has heard of enough of
    /// these the address is suppressed. Never waits.
    pub fn hard_bounce(&self, customer: &Customer, address: &Mailbox, detail: &str) {
        self.report(customer, address, Reason::HardBounce, detail);
    }

    /// Tells of a recipient that marked the customer's mail as spam: it is suppressed. Never waits.
    pub fn complaint(&self, customer: &Customer, address: &Mailbox, detail: &str) {
        self.report(customer, address, Reason::Complaint, detail);
    }

    /// Tells of a recipient that wants no more of the customer's mail: it is suppressed. Never waits.
    pub fn unsubscribe(&self, customer: &Customer, address: &Mailbox, detail: &str) {
        self.report(customer, address, Reason::Unsubscribe, detail);
    }

    fn report(&self, customer: &Customer, address: &Mailbox, reason: Reason, detail: &str) {
        let Some(report) = Report::new(customer, address, reason, detail) else { return };
        if self.0.feed.try_send(report).is_err() {
            self.0.counters.lost.inc();
        }
    }

    /// Writes reports, and returns once they are on disk: for whoever keeps them until then. Those of customers that keep no list are
    /// passed over.
    pub(crate) async fn take(&self, reports: Vec<Report>) -> Result<(), database::Error> {
        if reports.is_empty() || self.0.database.is_none() {
            return Ok(());
        }
        for reason in self.change(move |tables| feed::take(tables, &reports)).await? {
            self.0.counters.added.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
        }
        Ok(())
    }

    /// Writes what the feed is told until `stopping`, and what waits then. Expired entries go once an hour.
    pub async fn run(&self, Feed(mut waiting): Feed, stopping: CancellationToken) {
        feed::run(self, &mut waiting, stopping).await;
    }

    /// Returns up to `limit` entries of a customer's list by address, from behind the address `after` on.
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

    /// Returns the entry of an address with its reason and times; `None` if the address is not on the list.
    pub async fn find(&self, customer: &CustomerId, address: &Mailbox) -> Result<Option<Entry>, database::Error> {
        let Some(database) = &self.0.database else { return Ok(None) };
        let (customer, address) = (customer.clone(), folded(address));
        database.read(move |tables| store::find(tables, customer.as_str(), &address, Timestamp::now())).await
    }

    /// Puts entries on a customer's list, all or none. An entry that is there already is replaced.
    pub async fn add(&self, customer: &CustomerId, entries: Vec<Entry>) -> Result<(), database::Error> {
        let customer = customer.clone();
        self.change(move |tables| {
            for entry in &entries {
                store::put(tables, customer.as_str(), entry)?;
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

    /// Takes an address off a customer's list, whatever the reason it was there for, and forgets its bounces. Returns false if it was not
    /// there.
    pub async fn remove(&self, customer: &CustomerId, address: &Mailbox) -> Result<bool, database::Error> {
        let (customer, address) = (customer.clone(), folded(address));
        self.change(move |tables| {
            let found = store::remove(tables, customer.as_str(), &address)?;
            Ok((found, vec![Change { customer, address, now: None }]))
        })
        .await
    }

    /// Changes the database, then the table.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<(T, Vec<Change>), database::Error> + Send + 'static,
    ) -> Result<T, database::Error> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let database = inner.database.as_ref().expect("lists without a database are never changed");
            let _changing = inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let (result, changes) = database.write_blocking(work)?;
            for Change { customer, address, now } in changes {
                match now {
                    Some((reason, expires)) => inner.table.set(customer.as_str(), &address, reason, expires),
                    None => inner.table.remove(customer.as_str(), &address),
                }
            }
            inner.count_entries();
            Ok(result)
        });
        done.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The number of entries in memory.
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
    fn count_entries(&self) {
        self.counters.entries.set(i64::try_from(self.table.len()).unwrap_or(i64::MAX));
    }
}

/// What the lists count.
#[derive(Debug, Default)]
pub struct Counters {
    added: Family<ReasonLabel, Counter>,
    /// Recipients that were left out or refused.
    pub refused: Counter,
    /// Recipients on a list that were taken all the same (`mode = "event"`).
    pub noted: Counter,
    /// Reports that found no room in the feed.
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
        let lost = "Bounces, complaints and unsubscriptions that could not be put on a list";
        registry.register("suppression_lost", lost, self.lost.clone());
        registry.register("suppression_entries", "Addresses on all suppression lists", self.entries.clone());
    }
}

#[cfg(test)]
mod tests;

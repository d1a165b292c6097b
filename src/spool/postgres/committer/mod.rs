//! The committer of a shard: one task that takes all waiting items, copies them into the log in one transaction, and answers all callers.
//!
//! While one batch commits, the next one gathers. All items of a batch share one outcome:
//!
//! | outcome | messages | facts |
//! |---|---|---|
//! | the commit was confirmed | acknowledged | recorded |
//! | the database refused it | refused | wait and are written again |
//! | unknown: the connection is lost, the answer is late, or the server warned | refused, and removed from the log when the database answers again | as above |
//! | another node owns the shard | refused, and the spool stops | the same: that node has what was recorded |
//!
//! Mail that another node accepted ([`transit`](super::transit)) is moved to the log in a transaction of its own. If the outcome of that is
//! unknown, the rows are not removed, because the mail might then be nowhere. The next connection finds out what happened.
//!
//! After a failure, no mail is accepted or delivered until a batch is confirmed again, over a new connection and under the next epoch.

mod failure;
mod transactions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::transactions::Unconfirmed;
use super::inbox::{Adoption, Item};
use super::link::{Failure, Link};
use super::node::WritingTrouble;
use super::position::Position;
use super::shared::Shared;
use super::{carrier, ownership};
use crate::spool::Durable;
use crate::spool::index::{Fact, LogEntry, Place, Put};
use crate::time::Timestamp;

/// The most octets in one transaction.
const BATCH: u64 = 16 << 20;
/// The pause before writing is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The most rows in a segment. Rows are numbered with 31 bits, like segments.
const MOST_ROWS: i32 = i32::MAX - 100_000;

/// Mail in transit that may or may not have been moved to the log.
struct InDoubt {
    adoption: Box<Adoption>,
    reply: oneshot::Sender<bool>,
    /// The number of its first row in the log.
    first: i32,
}

/// The state of the committer's task.
pub(super) struct Committer {
    shared: Arc<Shared>,
    inbox: UnboundedReceiver<Item>,
    link: Option<Link>,
    /// The server process of the last connection.
    server_process: i32,
    position: Position,
    next_row: i32,
    /// The items to be written, in order.
    waiting: VecDeque<Item>,
    in_doubt: Option<InDoubt>,
    /// True if writing failed, and no batch was confirmed since.
    is_troubled: bool,
    /// True if the server had no room, and none was found since.
    is_full: bool,
    /// When to look for room again.
    look_again: Instant,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, inbox: UnboundedReceiver<Item>, link: Link, position: Position) -> Self {
        let server_process = link.process;
        Committer {
            shared,
            inbox,
            link: Some(link),
            server_process,
            position,
            next_row: position.last + 1,
            waiting: VecDeque::new(),
            in_doubt: None,
            is_troubled: false,
            is_full: false,
            look_again: Instant::now(),
        }
    }

    /// Runs until the inbox is closed and all waiting items are written, or cannot be written.
    pub async fn run(&mut self) {
        while self.gather().await {
            if self.shared.stopped().is_some() {
                self.refuse_all();
            } else if !self.waiting.is_empty() || self.is_troubled || self.is_full {
                self.write().await;
            }
        }
        if !self.waiting.is_empty() {
            self.write().await;
        }
        let results = self.waiting.iter().filter(|item| matches!(item, Item::Fact(..))).count();
        if results > 0 {
            tracing::error!(
                results,
                "results could not be recorded before the stop: these attempts will be made again"
            );
        }
    }

    /// Gives up the shard at a stop, so that another node can take it at once.
    pub async fn release(self) {
        let is_clean = self.waiting.is_empty() && self.shared.index().leased() == 0 && self.shared.stopped().is_none();
        let Some(link) = &self.link else { return };
        let settings = &self.shared.settings;
        let (shard, epoch) = (self.shared.number, self.epoch());
        let released = async {
            carrier::hand_over(&self.shared, link).await?;
            ownership::tell(link, &settings.server.schema, shard, epoch, self.shared.outbox().confirmed()).await?;
            ownership::release(link, &settings.server.schema, shard, epoch, is_clean).await
        };
        match tokio::time::timeout(settings.server.timeout, released).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::warn!(shard, error = failure.why, "the shard could not be handed over cleanly");
            }
            Err(_) => {
                tracing::warn!(shard, "the shard could not be handed over cleanly: the database does not answer");
            }
        }
    }

    fn epoch(&self) -> i64 {
        self.shared.epoch.load(Ordering::Relaxed)
    }

    /// Waits for an item, and takes all items from the inbox. Returns false if the inbox is closed and empty.
    async fn gather(&mut self) -> bool {
        let first = match self.is_troubled || self.is_full {
            true => tokio::time::timeout(RETRY, self.inbox.recv()).await,
            false => Ok(self.inbox.recv().await),
        };
        match first {
            Ok(None) => return false,
            Ok(Some(item)) => self.waiting.push_back(item),
            Err(_) => {}
        }
        while let Ok(item) = self.inbox.try_recv() {
            self.waiting.push_back(item);
        }
        true
    }

    /// Writes the waiting items batch by batch, until none is left or writing fails.
    async fn write(&mut self) {
        if self.link.is_none()
            && let Err(failure) = self.reconnect().await
        {
            return self.failed(Vec::new(), Unconfirmed::Refused(failure));
        }
        while !self.waiting.is_empty() || self.is_troubled {
            let batch = self.next_batch();
            let began = Instant::now();
            let timeout = self.shared.settings.server.timeout;
            if let [Item::Adoption(adoption, _)] = &*batch {
                let adopted = match tokio::time::timeout(timeout, self.adopt(adoption)).await {
                    Ok(adopted) => adopted,
                    Err(_) => Err(Unconfirmed::Unknown(Failure::late(timeout))),
                };
                match adopted {
                    Ok(rows) => self.adopted(batch, &rows, began),
                    Err(unconfirmed) => return self.failed(batch, unconfirmed),
                }
                continue;
            }
            let committed = match tokio::time::timeout(timeout, self.commit(&batch)).await {
                Ok(committed) => committed,
                Err(_) => Err(Unconfirmed::Unknown(Failure::late(timeout))),
            };
            match committed {
                Ok(first) => self.confirmed(batch, first, began),
                Err(unconfirmed) => return self.failed(batch, unconfirmed),
            }
        }
        if self.is_full && Instant::now() >= self.look_again {
            self.find_room().await;
        }
    }

    /// Takes the items for one transaction. An empty batch is written, too, to find out whether writing works again. Mail in transit is a
    /// batch of its own.
    fn next_batch(&mut self) -> Vec<Item> {
        let mut len = 0;
        let mut batch = Vec::with_capacity(self.waiting.len());
        let is_adoption = |item: &Item| matches!(item, Item::Adoption(..));
        while let Some(item) =
            self.waiting.pop_front_if(|item| batch.is_empty() || (len + item.len() <= BATCH && !is_adoption(item)))
        {
            len += item.len();
            batch.push(item);
            if batch.last().is_some_and(is_adoption) {
                break;
            }
        }
        batch
    }

    /// Finishes a committed batch: adds its messages to the index, and answers all callers.
    fn confirmed(&mut self, batch: Vec<Item>, first: i32, began: Instant) {
        let counters = &self.shared.settings.counters;
        counters.sync_seconds.observe(began.elapsed().as_secs_f64());
        counters.syncs.inc();
        let segment = self.position.segment;
        let mut drafts = 0;
        let now = Timestamp::now();
        let place_of = |at: i32| Place { segment, at: at.cast_unsigned() };
        let rows = || (first..).zip(batch.iter().filter(|item| !matches!(item, Item::Barrier(_))));
        for (at, item) in rows() {
            if let Item::Draft(message, _) = item {
                self.shared.fresh.keep(self.shared.number, place_of(at), message);
            }
        }
        {
            let mut index = self.shared.index();
            for (at, item) in rows() {
                let place = place_of(at);
                match item {
                    Item::Draft(message, _) => {
                        drafts += 1;
                        let lane = index.intern(&message.lane);
                        let (id, disk_len, domains) = (message.id, message.disk_len, message.domains);
                        let put = Put { id, place, disk_len, lane, domains, status: message.status.clone() };
                        index.put(put, Some(now));
                    }
                    Item::Copy(message, _) => index.moved(message.id, place, message.disk_len),
                    Item::Fact(LogEntry { id, fact: Fact::State(state), .. }, _) => {
                        index.state_synced(*id, state, place)
                    }
                    Item::Fact(..) | Item::Adoption(..) | Item::Barrier(_) => {}
                }
            }
            self.shared.count_records(index.len() as u64);
        }
        self.advance(batch.iter().map(Item::lines));
        for item in batch {
            // The caller may have gone; the item is durable in any case.
            match item {
                Item::Draft(message, reply) => {
                    let id = message.id;
                    // Drop the message before the answer, because the answer gives its memory budget to another message.
                    drop(message);
                    let _ = reply.send(Ok(Durable::new(id)));
                }
                Item::Copy(_, reply) => drop(reply.send(true)),
                Item::Barrier(reply) | Item::Fact(_, Some(reply)) => drop(reply.send(Ok(()))),
                Item::Fact(_, None) | Item::Adoption(..) => {}
            }
        }
        if drafts > 0 {
            self.shared.settings.counters.commits.inc_by(drafts);
            self.shared.changed.notify_one();
        }
    }

    /// Adds mail in transit to the index, after it was moved to the log.
    fn adopted(&mut self, batch: Vec<Item>, rows: &[i32], began: Instant) {
        let counters = &self.shared.settings.counters;
        counters.sync_seconds.observe(began.elapsed().as_secs_f64());
        counters.syncs.inc();
        for item in batch {
            if let Item::Adoption(adoption, reply) = item {
                let first = self.next_row;
                self.add_adopted(&adoption, first, rows);
                let _ = reply.send(true);
            }
        }
    }

    /// Adds to the index the messages of an adoption that have a row in the log, from `first` on.
    fn add_adopted(&mut self, adoption: &Adoption, first: i32, rows: &[i32]) {
        let segment = self.position.segment;
        let now = Timestamp::now();
        let is_there = |at: &i32| rows.contains(at);
        let there: Vec<_> = (first..).zip(&adoption.messages).filter(|(at, _)| is_there(at)).collect();
        {
            let mut index = self.shared.index();
            for (at, message) in &there {
                let lane = index.intern(&message.lane);
                let (id, disk_len, domains) = (message.id, message.disk_len, message.domains);
                let place = Place { segment, at: at.cast_unsigned() };
                // Nobody can have tried the message, because it was in no index yet.
                index.put(Put { id, place, disk_len, lane, domains, status: message.status.clone() }, Some(now));
                *self.shared.segments().entry(segment).or_default() += u64::from(disk_len);
            }
            self.shared.count_records(index.len() as u64);
        }
        self.next_row = first + i32::try_from(adoption.messages.len()).expect("an adoption is one page");
        self.advance(there.iter().map(|(_, message)| &*message.lines));
        self.shared.changed.notify_one();
    }

    /// Notes that all rows before the next one are in the log, with these lines for the journal.
    fn advance<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>) {
        let segment = self.position.segment;
        self.position.last = self.next_row - 1;
        let end = Place { segment, at: self.position.last.cast_unsigned() };
        self.shared.outbox().synced(lines, end, 0);
        let len = self.shared.segments().get(&segment).copied().unwrap_or_default();
        if len >= self.shared.settings.segment_size || self.next_row >= MOST_ROWS {
            self.begin_segment();
        }
        if std::mem::take(&mut self.is_troubled) {
            self.shared.set_trouble(WritingTrouble::Writing(self.shared.number), None);
        }
    }

    fn begin_segment(&mut self) {
        self.position = Position { segment: self.position.segment + 1, last: 0, exists: false };
        self.next_row = 1;
    }
}

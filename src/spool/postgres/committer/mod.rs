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
//! After a failure, no mail is accepted or delivered until a batch is confirmed again, over a new connection and under the next epoch. If
//! only the server's disk is full, the connection stays, and mail is delivered unless facts wait to be written.

mod failure;
mod transactions;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::transactions::Unconfirmed;
use super::inbox::{Adoption, Arrival, Item, Request};
use super::link::{Failure, Link};
use super::node::WritingTrouble;
use super::position::Position;
use super::shared::Shared;
use super::{carrier, ownership};
use crate::spool::index::{Fact, LogEntry, Place};
use crate::time::Timestamp;

/// The most octets in one transaction.
const BATCH: u64 = 16 << 20;
/// Why the spool stops if a connection finds less than an earlier one had confirmed.
pub(super) const LOST: &str = "the database has lost what it had confirmed: it was restored from a backup, or a standby was promoted that \
                               lacked it. A restart reads what is there";
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

/// What one transaction writes.
enum Batch {
    Items(Vec<Item>),
    /// Mail in transit is a batch of its own.
    Adoption(Box<Adoption>, oneshot::Sender<bool>),
}

impl Batch {
    const EMPTY: Batch = Batch::Items(Vec::new());

    fn into_requests(self) -> Vec<Request> {
        match self {
            Batch::Items(items) => items.into_iter().map(Request::Write).collect(),
            Batch::Adoption(adoption, reply) => vec![Request::Adopt(adoption, reply)],
        }
    }
}

/// The state of the committer's task.
pub(super) struct Committer {
    shared: Arc<Shared>,
    inbox: UnboundedReceiver<Request>,
    link: Option<Link>,
    /// The server process of the last connection.
    server_process: i32,
    position: Position,
    /// The segment that was filled last, and its last row.
    filled: Option<(u32, i32)>,
    next_row: i32,
    /// The requests, in order.
    waiting: VecDeque<Request>,
    in_doubt: Option<InDoubt>,
    /// True if writing failed, and no batch was confirmed since.
    is_troubled: bool,
    /// True if the server had no room, and none was found since.
    is_full: bool,
    /// When to look for room again.
    look_again: Instant,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, inbox: UnboundedReceiver<Request>, link: Link, position: Position) -> Self {
        let server_process = link.process;
        Committer {
            shared,
            inbox,
            link: Some(link),
            server_process,
            position,
            filled: None,
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
        let is_change = |request: &&Request| matches!(request, Request::Write(Item::Change(..)));
        let results = self.waiting.iter().filter(is_change).count();
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

    /// Waits for a request, and takes all requests from the inbox. Returns false if the inbox is closed and empty.
    async fn gather(&mut self) -> bool {
        let first = match self.is_troubled || self.is_full {
            true => tokio::time::timeout(RETRY, self.inbox.recv()).await,
            false => Ok(self.inbox.recv().await),
        };
        match first {
            Ok(None) => return false,
            Ok(Some(request)) => self.waiting.push_back(request),
            Err(_) => {}
        }
        while let Ok(request) = self.inbox.try_recv() {
            self.waiting.push_back(request);
        }
        true
    }

    /// Carries out the requests batch by batch, until none is left or writing fails.
    async fn write(&mut self) {
        if self.link.is_none()
            && let Err(failure) = self.reconnect().await
        {
            return self.failed(Batch::EMPTY, Unconfirmed::Refused(failure));
        }
        while !self.waiting.is_empty() || self.is_troubled {
            let (batch, began) = (self.next_batch(), Instant::now());
            let timeout = self.shared.settings.server.timeout;
            match batch {
                Batch::Items(items) => match in_time(timeout, self.commit(&items)).await {
                    Ok(first) => self.confirmed(items, first, began),
                    Err(unconfirmed) => return self.failed(Batch::Items(items), unconfirmed),
                },
                Batch::Adoption(adoption, reply) => match in_time(timeout, self.adopt(&adoption)).await {
                    Ok(rows) => self.adopted(&adoption, reply, &rows, began),
                    Err(unconfirmed) => return self.failed(Batch::Adoption(adoption, reply), unconfirmed),
                },
            }
        }
        if self.is_full && Instant::now() >= self.look_again {
            self.find_room().await;
        }
    }

    /// Takes what one transaction writes. An empty batch is written, too, to find out whether writing works again.
    fn next_batch(&mut self) -> Batch {
        let mut len = 0;
        let mut items = Vec::with_capacity(self.waiting.len());
        loop {
            match self.waiting.pop_front() {
                Some(Request::Adopt(adoption, reply)) if items.is_empty() => return Batch::Adoption(adoption, reply),
                Some(Request::Write(item)) if items.is_empty() || len + item.len() <= BATCH => {
                    len += item.len();
                    items.push(item);
                }
                next => {
                    next.into_iter().for_each(|next| self.waiting.push_front(next));
                    return Batch::Items(items);
                }
            }
        }
    }

    /// Finishes a committed batch: adds its messages to the index, and answers all callers.
    fn confirmed(&mut self, batch: Vec<Item>, first: i32, began: Instant) {
        self.count_sync(began);
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
                    Item::Draft(..) => drafts += 1,
                    Item::Change(LogEntry { id, fact: Fact::State(state), .. }, _) => {
                        index.state_synced(*id, state, place);
                    }
                    Item::Change(..) | Item::Copy(..) | Item::Barrier(_) => {}
                }
                item.enter(&mut index, place, now);
            }
            self.shared.count_records(index.len() as u64);
        }
        self.advance(batch.iter().map(Item::lines));
        batch.into_iter().for_each(Item::answer);
        if drafts > 0 {
            self.shared.settings.counters.commits.inc_by(drafts);
            self.shared.changed.notify_one();
        }
    }

    /// Adds mail in transit to the index, after it was moved to the log.
    fn adopted(&mut self, adoption: &Adoption, reply: oneshot::Sender<bool>, rows: &[i32], began: Instant) {
        self.count_sync(began);
        self.add_adopted(adoption, self.next_row, rows);
        let _ = reply.send(true);
    }

    fn count_sync(&self, began: Instant) {
        let counters = &self.shared.settings.counters;
        counters.sync_seconds.observe(began.elapsed().as_secs_f64());
        counters.syncs.inc();
    }

    /// Adds to the index the messages of an adoption that have a row in the log, from `first` on.
    fn add_adopted(&mut self, adoption: &Adoption, first: i32, rows: &[i32]) {
        let segment = self.position.segment;
        let now = Timestamp::now();
        let is_there = |at: &i32| rows.contains(at);
        let there: Vec<_> = (first..).zip(&adoption.messages).filter(|(at, _)| is_there(at)).collect();
        {
            let mut index = self.shared.index();
            for (at, Arrival { message, .. }) in &there {
                // Nobody can have tried the message, because it was in no index yet.
                index.put(message, Place { segment, at: at.cast_unsigned() }, Some(now));
                *self.shared.segments().entry(segment).or_default() += u64::from(message.disk_len);
            }
            self.shared.count_records(index.len() as u64);
        }
        // The last messages may have been removed by their writer. Their numbers are free, and the log must not seem longer than it is.
        self.next_row = rows.iter().max().map_or(first, |last| last + 1);
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
        self.filled = Some((self.position.segment, self.position.last));
        self.position = Position { segment: self.position.segment + 1, last: 0, exists: false };
        self.next_row = 1;
    }
}

/// Limits the time of a transaction. If it is late, nobody knows what became of it.
async fn in_time<T>(
    timeout: Duration,
    transaction: impl Future<Output = Result<T, Unconfirmed>>,
) -> Result<T, Unconfirmed> {
    let ended = tokio::time::timeout(timeout, transaction).await;
    ended.unwrap_or_else(|_| Err(Unconfirmed::Unknown(Failure::late(timeout))))
}

#[cfg(test)]
pub(super) mod tests;

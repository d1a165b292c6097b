//! The committer of a shard: one task that takes all waiting items, copies them into the log in one transaction, and answers all callers.
//!
//! While one batch commits, the next one gathers. All items of a batch share one outcome:
//!
//! | outcome | messages | facts |
//! |---|---|---|
//! | the commit was confirmed | acknowledged | recorded |
//! | the database refused it | refused | stay in line and are written again |
//! | unknown: the connection is lost, the answer is late, or the server warned | refused, and removed from the log when the database answers again | as above |
//! | another node owns the shard | refused, and the spool stops | the same: that node has what was recorded |
//!
//! Mail that another node accepted ([`transit`](super::transit)) is moved to the log in a transaction of its own. If the outcome of that is
//! unknown, the rows are not removed, because the mail might then be nowhere. The next connection finds out what happened.
//!
//! After a failure, no mail is accepted or delivered until a batch is confirmed again, over a new connection and under the next epoch.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::join;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_postgres::SimpleQueryMessage;

use super::inbox::{Adoption, Item};
use super::link::{Action, Failure, Link};
use super::node::{Lack, WritingTrouble};
use super::ownership::Resumed;
use super::position::Position;
use super::rows::Rows;
use super::shared::Shared;
use super::{carrier, ownership, preflight, schema};
use crate::spool::index::{Fact, LogEntry, Place, Put};
use crate::spool::{Durable, Error};
use crate::time::Timestamp;

/// The most octets in one transaction.
const BATCH: u64 = 16 << 20;
/// The pause before writing is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The pause before room is looked for again.
const LOOK: Duration = Duration::from_secs(5);
/// The room that a full disk must have before new mail is accepted again.
const USUAL: usize = 256 << 10;
/// The most rows in a segment. Rows are numbered with 31 bits, like segments.
const MOST_ROWS: i32 = i32::MAX - 100_000;

/// Why a batch was not confirmed.
enum Unconfirmed {
    Refused(Failure),
    Unknown(Failure),
    NotOwner,
}

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
    process: i32,
    position: Position,
    next: i32,
    /// The items to be written, in order.
    line: VecDeque<Item>,
    in_doubt: Option<InDoubt>,
    /// True if writing failed, and no batch was confirmed since.
    troubled: bool,
    /// True if the server had no room, and none was found since.
    full: bool,
    /// When to look for room again.
    look_again: Instant,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, inbox: UnboundedReceiver<Item>, link: Link, position: Position) -> Self {
        let process = link.process;
        Committer {
            shared,
            inbox,
            link: Some(link),
            process,
            position,
            next: position.last + 1,
            line: VecDeque::new(),
            in_doubt: None,
            troubled: false,
            full: false,
            look_again: Instant::now(),
        }
    }

    /// Runs until the inbox is closed and the line is written, or cannot be written.
    pub async fn run(&mut self) {
        while self.gather().await {
            if self.shared.stopped().is_some() {
                self.refuse_all();
            } else if !self.line.is_empty() || self.troubled || self.full {
                self.write().await;
            }
        }
        if !self.line.is_empty() {
            self.write().await;
        }
        let results = self.line.iter().filter(|item| matches!(item, Item::Fact(..))).count();
        if results > 0 {
            tracing::error!(
                results,
                "results could not be recorded before the stop: these attempts will be made again"
            );
        }
    }

    /// Gives the shard up in good order.
    pub async fn release(self) {
        let is_clean = self.line.is_empty() && self.shared.index().leased() == 0 && self.shared.stopped().is_none();
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
                tracing::warn!(shard, error = failure.why, "the shard could not be given up in good order");
            }
            Err(_) => {
                tracing::warn!(shard, "the shard could not be given up in good order: the database does not answer");
            }
        }
    }

    fn epoch(&self) -> i64 {
        self.shared.epoch.load(Ordering::Relaxed)
    }

    /// Waits for an item, and takes all items into the line. Returns false if the inbox is closed and empty.
    async fn gather(&mut self) -> bool {
        let first = match self.troubled || self.full {
            true => tokio::time::timeout(RETRY, self.inbox.recv()).await,
            false => Ok(self.inbox.recv().await),
        };
        match first {
            Ok(None) => return false,
            Ok(Some(item)) => self.line.push_back(item),
            Err(_) => {}
        }
        while let Ok(item) = self.inbox.try_recv() {
            self.line.push_back(item);
        }
        true
    }

    /// Writes the line batch by batch, until it is empty or writing fails.
    async fn write(&mut self) {
        if self.link.is_none()
            && let Err(failure) = self.reconnect().await
        {
            return self.failed(Vec::new(), Unconfirmed::Refused(failure));
        }
        while !self.line.is_empty() || self.troubled {
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
        if self.full && Instant::now() >= self.look_again {
            self.find_room().await;
        }
    }

    /// Takes the items for one transaction. An empty batch is written, too, to find out whether writing works again. Mail in transit is a
    /// batch of its own.
    fn next_batch(&mut self) -> Vec<Item> {
        let mut len = 0;
        let mut batch = Vec::with_capacity(self.line.len());
        let is_adoption = |item: &Item| matches!(item, Item::Adoption(..));
        while let Some(item) =
            self.line.pop_front_if(|item| batch.is_empty() || (len + item.len() <= BATCH && !is_adoption(item)))
        {
            len += item.len();
            batch.push(item);
            if batch.last().is_some_and(is_adoption) {
                break;
            }
        }
        batch
    }

    /// Copies a batch into the log. Returns the number of its first row.
    async fn commit(&mut self, batch: &[Item]) -> Result<i32, Unconfirmed> {
        if !self.position.exists {
            self.make_segment().await?;
        }
        let first = self.next;
        let mut rows = Rows::new();
        for item in batch {
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => rows.message(self.next, message),
                Item::Fact(entry, _) => rows.fact(self.next, entry),
                Item::Adoption(..) | Item::Barrier(_) => continue,
            }
            self.next += 1;
        }
        let len = rows.len();
        self.transact(rows, "COMMIT").await?;
        *self.shared.segments().entry(self.position.segment).or_default() += len;
        self.shared.settings.counters.written.inc_by(len);
        Ok(first)
    }

    /// Runs one transaction of the owner: locks the owner's row, copies the rows, and ends with the statement `end`.
    async fn transact(&self, rows: Rows, end: &str) -> Result<(), Unconfirmed> {
        let Some(link) = &self.link else { return Err(Unconfirmed::Refused(Failure::new("there is no connection"))) };
        let table = self.shared.table(self.position.segment);
        let refused = |error: tokio_postgres::Error| Unconfirmed::Refused(error.into());
        let copy = link.statement(Action::Copy, &table, || schema::copy_in(&table)).await;
        let copy = copy.map_err(Unconfirmed::Refused)?;
        link.take_warning();
        let begin = self.begin();
        // Send both before the answer to the first, to save a round trip.
        let (begun, sink) = join(link.client.simple_query(&begin), link.client.copy_in::<_, Bytes>(&copy)).await;
        if !begun.map_err(refused)?.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
            return Err(Unconfirmed::NotOwner);
        }
        let mut sink = pin!(sink.map_err(refused)?);
        for part in rows.finish() {
            // A broken connection also reports its error at the end.
            if sink.feed(part).await.is_err() {
                break;
            }
        }
        let (copied, ended) = join(sink.as_mut().finish(), link.client.simple_query(end)).await;
        let copied = copied.map_err(Failure::from);
        let ended = ended.map_err(Failure::from);
        match (copied, ended, link.take_warning()) {
            // The server refused the rows, so there was nothing to commit.
            (Err(failure), Ok(_), _) if failure.code.is_some() => Err(Unconfirmed::Refused(failure)),
            (Err(failure), ..) | (Ok(_), Err(failure), _) => Err(Unconfirmed::Unknown(failure)),
            (Ok(_), Ok(_), Some(warning)) => {
                Err(Unconfirmed::Unknown(Failure::new(format!("the server warned: {warning}"))))
            }
            (Ok(_), Ok(_), None) => Ok(()),
        }
    }

    /// Moves mail in transit to the log. Returns the numbers of its rows there. A message that its writer has removed meanwhile has no row.
    async fn adopt(&mut self, adoption: &Adoption) -> Result<Vec<i32>, Unconfirmed> {
        if !self.position.exists {
            self.make_segment().await?;
        }
        let Some(link) = &self.link else { return Err(Unconfirmed::Refused(Failure::new("there is no connection"))) };
        let refused = |error: tokio_postgres::Error| Unconfirmed::Refused(error.into());
        let from = schema::transit(&self.shared.settings.server.schema, adoption.table);
        let to = self.shared.table(self.position.segment);
        let (shard, columns) = (self.shared.number, schema::COLUMNS);
        let sql = || {
            format!(
                "WITH moved AS (DELETE FROM {from} WHERE shard = {shard} AND seq = ANY($1) RETURNING {columns}) \
                 INSERT INTO {to} ({columns}) SELECT $2 - 1 + array_position($1, seq), part, id, note, head, body, crc, lines \
                 FROM moved RETURNING seq, part"
            )
        };
        let statement = link.statement(Action::Adopt, &format!("{from} to {to}"), sql).await;
        let statement = statement.map_err(Unconfirmed::Refused)?;
        link.take_warning();
        let begun = link.client.simple_query(&self.begin()).await.map_err(refused)?;
        if !begun.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
            return Err(Unconfirmed::NotOwner);
        }
        let moved = link.client.query(&statement, &[&adoption.rows(), &self.next]).await.map_err(refused)?;
        let ended = link.client.simple_query("COMMIT").await;
        ended.map_err(|error| Unconfirmed::Unknown(error.into()))?;
        if let Some(warning) = link.take_warning() {
            return Err(Unconfirmed::Unknown(Failure::new(format!("the server warned: {warning}"))));
        }
        Ok(moved.iter().filter(|row| row.get::<_, i16>(1) == 0).map(|row| row.get(0)).collect())
    }

    /// Returns the statements that begin a transaction of this owner.
    fn begin(&self) -> String {
        ownership::begin(&self.shared.settings.server.schema, self.shared.number, self.epoch())
    }

    /// Creates the segment in which the log continues.
    async fn make_segment(&mut self) -> Result<(), Unconfirmed> {
        let Some(link) = &self.link else { return Err(Unconfirmed::Refused(Failure::new("there is no connection"))) };
        let schema = &self.shared.settings.server.schema;
        let refused = |error: tokio_postgres::Error| Unconfirmed::Refused(error.into());
        let begun = link.client.simple_query(&self.begin()).await.map_err(refused)?;
        if !begun.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
            return Err(Unconfirmed::NotOwner);
        }
        let make = schema::make_segment(schema, self.shared.number, self.position.segment);
        if let Err(error) = link.client.batch_execute(&format!("{make}; COMMIT")).await {
            let _ = link.client.batch_execute("ROLLBACK").await;
            return Err(refused(error));
        }
        self.position.exists = true;
        self.shared.segments().entry(self.position.segment).or_default();
        Ok(())
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
        self.log_has(batch.iter().map(Item::lines));
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
                let first = self.next;
                self.take_in(&adoption, first, rows);
                let _ = reply.send(true);
            }
        }
    }

    /// Adds to the index the messages of an adoption that have a row in the log, from `first` on.
    fn take_in(&mut self, adoption: &Adoption, first: i32, rows: &[i32]) {
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
        self.next = first + i32::try_from(adoption.messages.len()).expect("an adoption is one page");
        self.log_has(there.iter().map(|(_, message)| &*message.lines));
        self.shared.changed.notify_one();
    }

    /// Records that the log has everything before the next row, with these lines for the journal.
    fn log_has<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>) {
        let segment = self.position.segment;
        self.position.last = self.next - 1;
        let end = Place { segment, at: self.position.last.cast_unsigned() };
        self.shared.outbox().synced(lines, end, 0);
        let len = self.shared.segments().get(&segment).copied().unwrap_or_default();
        if len >= self.shared.settings.segment_size || self.next >= MOST_ROWS {
            self.turn_over();
        }
        if std::mem::take(&mut self.troubled) {
            self.shared.set_trouble(WritingTrouble::Writing(self.shared.number), None);
        }
    }

    fn turn_over(&mut self) {
        self.position = Position { segment: self.position.segment + 1, last: 0, exists: false };
        self.next = 1;
    }

    /// Handles a batch that was not confirmed. Only what was confirmed earlier is certain to be in the log.
    fn failed(&mut self, batch: Vec<Item>, unconfirmed: Unconfirmed) {
        self.shared.settings.counters.failures.inc();
        let (failure, is_unknown) = match unconfirmed {
            Unconfirmed::NotOwner => {
                self.link = None;
                let why = "another node owns mail of this one by now, because this one could not renew its lease or has a twin of its name";
                self.shared.stop_with(why.into());
                self.line.extend(batch);
                return self.refuse_all();
            }
            Unconfirmed::Refused(failure) => (failure, false),
            Unconfirmed::Unknown(failure) => (failure, true),
        };
        let mut facts = VecDeque::new();
        let mut refused = Vec::new();
        // A batch with mail in transit has only that item, so the first item was being moved.
        let mut is_under_way = matches!(&*batch, [Item::Adoption(..)]);
        for item in batch.into_iter().chain(self.line.drain(..).collect::<Vec<_>>()) {
            match item {
                Item::Fact(entry, reply) => {
                    refused.extend(reply.map(Item::Barrier));
                    facts.push_back(Item::Fact(entry, None));
                }
                Item::Adoption(adoption, reply) if is_unknown && is_under_way => {
                    self.in_doubt = Some(InDoubt { adoption, reply, first: self.next });
                    is_under_way = false;
                }
                other => refused.push(other),
            }
        }
        self.line = facts;
        // Set the state before the refusals, so that a refused caller finds the reason there.
        let is_full = failure.is_full() && !is_unknown;
        if is_full {
            self.full = true;
            self.look_again = Instant::now() + LOOK;
            let lack = format!("{}; make room on the database's disk", failure.why);
            self.shared.set_lack(Lack::Disk(self.shared.number), Some(lack));
        } else {
            self.link = None;
        }
        if !is_full || !self.line.is_empty() {
            self.troubled = true;
            self.shared.set_trouble(WritingTrouble::Writing(self.shared.number), Some(failure.why.clone()));
        }
        let source = || std::io::Error::other(failure.why.clone());
        refused.into_iter().for_each(|item| {
            item.refuse(|| match is_full {
                true => Error::Full { lack: failure.why.clone() },
                false => Error::Io { what: "writing the spool's database".into(), source: source() },
            });
        });
    }

    fn refuse_all(&mut self) {
        let why = self.shared.stopped().unwrap_or_default();
        self.line.drain(..).for_each(|item| item.refuse(|| Error::Stopped(why.clone())));
    }

    /// Connects again, and continues as the owner under the next epoch.
    async fn reconnect(&mut self) -> Result<(), Failure> {
        let settings = &self.shared.settings;
        let connected = async {
            let link = Link::open(settings, "writer").await?;
            let wrong = preflight::check(&link, settings).await?;
            if !wrong.is_empty() {
                return Err(Failure::new(wrong.join("; ")));
            }
            let (shard, keeps) = (self.shared.number, self.in_doubt.is_some());
            let (epoch, before) = (self.epoch(), self.process);
            let resumed = ownership::resume(&link, settings, shard, epoch, before, &self.position, keeps).await?;
            Ok((link, resumed))
        };
        let timeout = settings.server.timeout;
        let (link, resumed) = tokio::time::timeout(timeout, connected).await.map_err(|_| Failure::late(timeout))??;
        let Some(Resumed { epoch, last, kept }) = resumed else {
            self.failed(Vec::new(), Unconfirmed::NotOwner);
            return Err(Failure::new("another node owns the shard"));
        };
        let confirmed = if self.position.exists { self.position.last } else { 0 };
        if last.unwrap_or_default() < confirmed {
            let why = "the database has lost what it had confirmed: it was restored from a backup, or a standby was promoted that \
                       lacked it. A restart reads what is there";
            self.shared.stop_with(why.into());
            self.refuse_all();
            return Err(Failure::new(why));
        }
        self.position.exists = last.is_some();
        self.next = self.position.last + 1;
        self.shared.epoch.store(epoch, Ordering::Relaxed);
        self.process = link.process;
        self.link = Some(link);
        if let Some(InDoubt { adoption, reply, first }) = self.in_doubt.take() {
            let is_there = !kept.is_empty();
            if is_there {
                self.take_in(&adoption, first, &kept);
            }
            let _ = reply.send(is_there);
        }
        Ok(())
    }

    /// Looks for room on a server that had none.
    async fn find_room(&mut self) {
        self.look_again = Instant::now() + LOOK;
        let mut rows = Rows::new();
        rows.filler(self.next, USUAL);
        let timeout = self.shared.settings.server.timeout;
        let found = match self.position.exists {
            true => tokio::time::timeout(timeout, self.transact(rows, "ROLLBACK")).await,
            false => tokio::time::timeout(timeout, self.make_segment()).await,
        };
        match found.unwrap_or_else(|_| Err(Unconfirmed::Unknown(Failure::late(timeout)))) {
            Ok(()) => {
                self.full = false;
                self.shared.set_lack(Lack::Disk(self.shared.number), None);
            }
            Err(unconfirmed) => self.failed(Vec::new(), unconfirmed),
        }
    }
}

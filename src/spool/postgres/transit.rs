//! Mail in transit: messages that a node accepts although another node owns their shard.
//!
//! The node copies such a message into a table of its own and acknowledges it, because it is as durable there as in a segment. The shard's
//! owner looks for such mail five times a second, and moves it to its log in one transaction. So a message is in exactly one place at any
//! time. Before the move it is in no index, so nobody can have tried it.
//!
//! ```text
//!   node a                        database                          node b, owner of the shard
//!   commit ──COPY──► transit_7: message ──one transaction──► segment_3_12: message ──► index
//! ```
//!
//! A table of mail in transit has one writer, whose transactions do not overlap, so its rows become visible in the order of their numbers.
//! If the connection breaks, the next one begins another table, and no number is used twice. A table is dropped when nobody writes to it
//! and it has no more mail. So the rows of settled mail never pile up, even if something holds an old snapshot.
//!
//! Each transaction also writes a mark: a row of no shard, which stays when the mail is moved. By it the writer learns later whether a
//! transaction was committed whose answer it did not get, and whether the database has lost one that it confirmed.
//!
//! | what happens | the message |
//! |---|---|
//! | the commit of the copy has an unknown outcome | The client waits, up to `timeout`. If the next connection finds the mark, the client gets 250, and 451 otherwise. |
//! | nobody can find that out in time | The client gets 451. The next connection removes the message, unless it was already moved: then the client's next try makes a second one. |
//! | the writer dies | stays, and is moved |
//! | the owner dies before it moved the message | stays, and is moved by the next owner |
//! | the commit of the move has an unknown outcome | The owner's next connection finds out. |

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::join;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::committer::LOST;
use super::inbox::{Adoption, Arrival, Item, Request};
use super::link::{Action, Failure, Link, in_time, rolled_back};
use super::node::Node;
use super::note::{self, Note};
use super::outgoing::Departure;
use super::rows::Rows;
use super::shared::Shared;
use super::{ownership, preflight, schema};
use crate::message::QueueId;
use crate::spool::Error;
use crate::spool::index::Summary;

/// How often an owner looks for mail that other nodes accepted.
const LOOK: Duration = Duration::from_millis(200);
/// The number of messages that are moved in one transaction.
const PAGE: i64 = 500;
/// The most octets that one transaction copies.
const BATCH: u64 = 16 << 20;
/// The size in octets at which a table is closed.
const TABLE_SIZE: u64 = 64 << 20;

/// The pause before the writer looks again for what became of its last transaction.
const AGAIN: Duration = Duration::from_millis(500);
/// The shard of the marks. No shard has this number.
const MARKS: i32 = -1;

/// The table that the writer fills, with its connection.
struct Table {
    link: Link,
    number: i32,
    next: i32,
    /// The mark of the last transaction that was confirmed. 0 before the first.
    confirmed: i32,
    len: u64,
}

/// The last transaction over a connection that broke. It may have been committed.
struct Unknown {
    process: i32,
    table: i32,
    /// Its mark, which is the number of its first message.
    from: i32,
    /// The mark of the transaction before it.
    confirmed: i32,
    /// Whether it was committed, once that is known.
    was_committed: Option<bool>,
    /// True once its callers were refused, so that its mail must be removed.
    is_refused: bool,
}

/// The writer of mail in transit.
struct Writer {
    node: Arc<Node>,
    table: Option<Table>,
    unknown: Option<Unknown>,
}

/// Writes mail in transit until the queue is closed and empty.
pub(super) async fn write(node: Arc<Node>, mut incoming: UnboundedReceiver<Departure>) {
    let mut writer = Writer { node, table: None, unknown: None };
    let mut first = None;
    loop {
        let next = match (first.take(), &writer.unknown) {
            (Some(left), _) => Some(left),
            (None, None) => incoming.recv().await,
            // Remove the refused mail soon, before its owner moves it.
            (None, Some(_)) => match tokio::time::timeout(AGAIN, incoming.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    writer.tidy_up().await;
                    continue;
                }
            },
        };
        let Some(departure) = next else {
            if writer.unknown.is_some() {
                writer.tidy_up().await;
            }
            return;
        };
        let mut len = u64::from(departure.message.disk_len());
        let mut batch = vec![departure];
        while let Ok(next) = incoming.try_recv() {
            len += u64::from(next.message.disk_len());
            if len > BATCH {
                first = Some(next);
                break;
            }
            batch.push(next);
        }
        writer.commit(batch).await;
    }
}

impl Writer {
    /// Copies a batch in one transaction, and answers all callers.
    async fn commit(&mut self, batch: Vec<Departure>) {
        let mut written = in_time(self.node.settings.server.timeout, self.write(&batch)).await;
        if let Err(failure) = &written
            && let Some(table) = self.table.take()
            // If the server answered with an error, nothing was committed.
            && !failure.is_answer()
        {
            tracing::warn!(error = failure.why, "mail for another node's customers may not be written; looking for it");
            let Table { link, number, next, confirmed, .. } = table;
            self.unknown = Some(Unknown {
                process: link.process,
                table: number,
                from: next,
                confirmed,
                was_committed: None,
                is_refused: false,
            });
            drop(link);
            if self.find_out().await {
                written = Ok(());
            }
        }
        match written {
            Ok(()) => {
                let counters = &self.node.settings.counters;
                counters.syncs.inc();
                counters.commits.inc_by(batch.len() as u64);
                batch.into_iter().for_each(|Departure { message, reply, .. }| Item::Draft(message, reply).answer());
            }
            Err(failure) => {
                self.node.settings.counters.failures.inc();
                tracing::warn!(error = failure.why, "mail for another node's customers could not be written");
                if let Some(unknown) = &mut self.unknown {
                    unknown.is_refused = true;
                }
                for Departure { reply, .. } in batch {
                    let _ = reply.send(Err(match failure.is_full() {
                        true => Error::Full { lack: format!("{}; make room on the database's disk", failure.why) },
                        false => Error::Io {
                            what: "writing the spool's database".into(),
                            source: std::io::Error::other(failure.why.clone()),
                        },
                    }));
                }
            }
        }
    }

    async fn write(&mut self, batch: &[Departure]) -> Result<(), Failure> {
        if let Some(Table { link, .. }) = self.table.take_if(|table| table.len >= TABLE_SIZE) {
            // The keeper drops the old table when it is empty.
            self.table = Some(self.begin(link).await?);
        }
        if self.table.is_none() {
            self.connect().await?;
        }
        let Some(table) = &mut self.table else { return Err(Failure::new("there is no table")) };
        let name = schema::transit(&self.node.settings.server.schema, table.number);
        let mut rows = Rows::new();
        rows.mark(MARKS, table.next);
        for (seq, Departure { shard, message, .. }) in (table.next..).zip(batch) {
            rows.in_transit(*shard, seq, message);
        }
        let len = rows.len();
        let link = &table.link;
        let copy = link.statement(Action::Copy, &name, || schema::copy_in_transit(&name)).await?;
        link.take_warning();
        let (begun, sink) = join(link.client.batch_execute("BEGIN"), link.client.copy_in::<_, Bytes>(&copy)).await;
        begun?;
        let mut sink = pin!(sink?);
        for part in rows.finish() {
            // A broken connection also reports its error at the end.
            if sink.feed(part).await.is_err() {
                break;
            }
        }
        let (copied, ended) = join(sink.as_mut().finish(), link.client.batch_execute("COMMIT")).await;
        copied?;
        ended?;
        if let Some(warning) = link.take_warning() {
            return Err(Failure::new(format!("the server warned: {warning}")));
        }
        table.confirmed = table.next;
        table.next += i32::try_from(batch.len()).expect("a batch is a few megabytes");
        table.len += len;
        self.node.settings.counters.written.inc_by(len);
        Ok(())
    }

    /// Finds out whether the last transaction was committed, as long as its callers may wait. Returns true if so.
    async fn find_out(&mut self) -> bool {
        let timeout = self.node.settings.server.timeout;
        let looked = async {
            loop {
                match self.connect().await {
                    Ok(was_committed) => return was_committed,
                    Err(failure) => tracing::debug!(error = failure.why, "it is not known yet what was written"),
                }
                if self.node.stopped().is_some() {
                    return false;
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(timeout, looked).await.unwrap_or(false)
    }

    /// Removes what was refused after its commit, once the database answers.
    async fn tidy_up(&mut self) {
        if self.node.stopped().is_none()
            && let Err(failure) = in_time(self.node.settings.server.timeout, self.connect()).await
        {
            tracing::debug!(error = failure.why, "refused mail could not be looked for yet");
        }
    }

    /// Connects, and begins a table. Returns true if the last transaction over a connection that broke was committed and stays.
    async fn connect(&mut self) -> Result<bool, Failure> {
        let link = Link::open(&self.node.settings, "transit").await?;
        let wrong = preflight::check(&link, &self.node.settings).await?;
        if !wrong.is_empty() {
            return Err(Failure::new(wrong.join("; ")));
        }
        let was_committed = self.look_back(&link).await?;
        // This commit comes behind the one that was looked for. If a standby has this one, it has that, too.
        self.table = Some(self.begin(link).await?);
        self.unknown = None;
        Ok(was_committed)
    }

    /// Looks for the mark of the last transaction over a connection that broke, after the server has ended that connection. Removes its mail
    /// if its callers were refused. Returns true if it was committed and stays.
    async fn look_back(&mut self, link: &Link) -> Result<bool, Failure> {
        let Some(unknown) = &mut self.unknown else { return Ok(false) };
        let name = schema::transit(&self.node.settings.server.schema, unknown.table);
        ownership::end_process(link, &self.node.settings, "transit", unknown.process).await?;
        match last_mark(link, &self.node, unknown.table, &name).await? {
            Some(last) if last >= unknown.confirmed => unknown.was_committed = Some(last >= unknown.from),
            // An earlier look found it, and began the next table without learning that.
            None if unknown.was_committed.is_some() => {}
            _ => {
                self.node.stop_with(LOST.into());
                return Err(Failure::new(LOST));
            }
        }
        let was_committed = unknown.was_committed == Some(true);
        if was_committed && unknown.is_refused {
            let delete = format!("DELETE FROM {name} WHERE seq >= $1");
            match link.client.execute(&delete, &[&unknown.from]).await.map_err(Failure::from) {
                // All of its mail was moved.
                Err(failure) if !failure.is_gone() => return Err(failure),
                _ => {}
            }
        }
        Ok(was_committed && !unknown.is_refused)
    }

    async fn begin(&self, link: Link) -> Result<Table, Failure> {
        let schema = &self.node.settings.server.schema;
        let insert = format!("INSERT INTO {schema}.transit (instance) VALUES ($1) RETURNING number");
        link.client.batch_execute("BEGIN").await?;
        let number: i32 = link.client.query_one(&insert, &[&self.node.instance]).await?.get(0);
        link.take_warning();
        link.client.batch_execute(&format!("{}; COMMIT", schema::make_transit(schema, number))).await?;
        if let Some(warning) = link.take_warning() {
            return Err(Failure::new(format!("the server warned: {warning}")));
        }
        Ok(Table { link, number, next: 1, confirmed: 0, len: 0 })
    }
}

/// Returns the last mark of a table, 0 if there is none yet, and -1 if the database has lost the table. Returns `None` if the table was dropped,
/// because it was not this process's last one any more.
async fn last_mark(link: &Link, node: &Node, number: i32, name: &str) -> Result<Option<i32>, Failure> {
    let query = format!("SELECT max(seq) FROM {name} WHERE shard = {MARKS}");
    match link.client.query_one(&query, &[]).await.map_err(Failure::from) {
        Ok(row) => return Ok(Some(row.get::<_, Option<i32>>(0).unwrap_or_default())),
        Err(failure) if !failure.is_gone() => return Err(failure),
        Err(_) => {}
    }
    let schema = &node.settings.server.schema;
    if !ownership::is_member(link, schema, node.instance).await? {
        return Err(Failure::new("this process does not count as a node any more"));
    }
    let later = format!("SELECT EXISTS (SELECT FROM {schema}.transit WHERE instance = $1 AND number > $2)");
    let is_later: bool = link.client.query_one(&later, &[&node.instance, &number]).await?.get(0);
    Ok(if is_later { None } else { Some(-1) })
}

/// Moves mail that other nodes accepted for a shard to the shard's log, until the shard is given up.
pub(super) async fn adopt(shared: Arc<Shared>) {
    // The last row of each table that was moved.
    let mut seen: HashMap<i32, i32> = HashMap::new();
    loop {
        match look(&shared, &mut seen).await {
            // There may be more mail.
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(LOOK).await,
            Err(failure) => {
                tracing::debug!(error = failure.why, "mail that other nodes took could not be looked for");
                tokio::time::sleep(LOOK * 5).await;
            }
        }
    }
}

/// Keeps the list of tables of mail in transit up to date.
pub(super) async fn watch(node: Arc<Node>) {
    let query = format!("SELECT number FROM {}.transit ORDER BY number", node.settings.server.schema);
    loop {
        if let Some(link) = node.reader.load_full()
            && let Ok(tables) = link.client.query(&query, &[]).await
        {
            node.in_transit.store(Arc::new(tables.iter().map(|row| row.get(0)).collect()));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Moves one page of mail. Returns true if there may be more.
async fn look(shared: &Arc<Shared>, seen: &mut HashMap<i32, i32>) -> Result<bool, Failure> {
    let tables = shared.in_transit.load_full();
    seen.retain(|table, _| tables.contains(table));
    if tables.is_empty() {
        return Ok(false);
    }
    let Some(link) = shared.reader.load_full() else { return Ok(false) };
    let schema = &shared.settings.server.schema;
    let mut has_more = false;
    for &table in &*tables {
        let after = seen.get(&table).copied().unwrap_or_default();
        let name = schema::transit(schema, table);
        let query = format!(
            "SELECT seq, id, note, lines FROM {name} WHERE shard = $1 AND seq > $2 AND part = 0 ORDER BY seq LIMIT {PAGE}"
        );
        let rows = match link.client.query(&query, &[&shared.number.cast_signed(), &after]).await.map_err(Failure::from)
        {
            Ok(rows) => rows,
            // The table was deleted meanwhile.
            Err(failure) if failure.is_gone() => continue,
            Err(failure) => return Err(failure),
        };
        let Some(last) = rows.last().map(|row| row.get::<_, i32>(0)) else { continue };
        let mut messages = Vec::with_capacity(rows.len());
        for row in &rows {
            let seq: i32 = row.get(0);
            let Some(Ok(Note::Message { disk_len, lane, domains, status })) =
                row.get::<_, Option<&[u8]>>(2).map(note::read)
            else {
                // The server has checksums of its own, so another program wrote this row.
                return Err(Failure::new(format!("row {seq} of {name} does not decode; restore the database")));
            };
            let id = QueueId::from_u64(row.get::<_, i64>(1).cast_unsigned());
            let lines = row.get::<_, Option<Vec<u8>>>(3).unwrap_or_default();
            messages.push(Arrival { seq, message: Summary { id, lane, domains, status, disk_len }, lines });
        }
        has_more |= messages.len() as i64 == PAGE;
        let (reply, answer) = oneshot::channel();
        let adoption = Box::new(Adoption { table, messages });
        if shared.inbox.push([Request::Adopt(adoption, reply)]).is_err() {
            return Ok(false);
        }
        if answer.await.unwrap_or(false) {
            seen.insert(table, last);
        } else {
            return Err(Failure::new("it could not be moved"));
        }
    }
    Ok(has_more)
}

/// Deletes empty tables that nobody writes to any more: earlier ones of this process, and those of processes that are gone.
pub(super) async fn drop_empty(node: &Node, link: &Link) -> Result<(), Failure> {
    let schema = &node.settings.server.schema;
    let query = format!(
        "SELECT number FROM {schema}.transit t WHERE NOT EXISTS (SELECT FROM {schema}.node n WHERE n.instance = t.instance) \
         OR (instance = $1 AND number < (SELECT max(number) FROM {schema}.transit WHERE instance = $1))"
    );
    let found = in_time(link.limit, async { Ok(link.client.query(&query, &[&node.instance]).await?) }).await?;
    let done: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
    let mut first_failure = Ok(());
    for number in done {
        let name = schema::transit(schema, number);
        let mark = format!("DELETE FROM {schema}.transit WHERE number = {number}");
        let lock = format!("BEGIN; SET LOCAL lock_timeout = '1s'; {mark}; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE");
        let dropped = async {
            // If several nodes try, the later ones find no table.
            link.client.batch_execute(&lock).await?;
            let is_empty = format!("SELECT NOT EXISTS (SELECT FROM {name} WHERE shard <> {MARKS})");
            let is_empty: bool = link.client.query_one(&is_empty, &[]).await?.get(0);
            let end = if is_empty { format!("DROP TABLE {name}; COMMIT") } else { "ROLLBACK".into() };
            Ok::<_, Failure>(link.client.batch_execute(&end).await?)
        };
        if let Err(failure) = rolled_back(link, dropped).await {
            if !failure.is_answer() {
                return Err(failure);
            }
            if !failure.is_gone() {
                first_failure = first_failure.and(Err(failure));
            }
        }
    }
    first_failure
}

/// Returns the statement that counts the messages of a table.
pub(super) fn count(schema: &str, number: i32) -> String {
    format!("SELECT count(*) FROM {} WHERE shard <> {MARKS} AND part = 0", schema::transit(schema, number))
}

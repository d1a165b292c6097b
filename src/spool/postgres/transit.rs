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
//! and it is empty. So the rows of settled mail never pile up, even if something holds an old snapshot.
//!
//! | what happens | the message |
//! |---|---|
//! | the commit of the copy has an unknown outcome | The client gets 451. The next connection removes the message, unless it was already moved. |
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

/// The table that the writer fills, with its connection.
struct Table {
    link: Link,
    number: i32,
    next: i32,
    len: u64,
}

/// The last transaction over a connection that broke. It may have been committed, although its callers were refused.
struct Unknown {
    process: i32,
    table: i32,
    from: i32,
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
        let Some(departure) = (match first.take() {
            Some(left) => Some(left),
            None => incoming.recv().await,
        }) else {
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
        let timeout = self.node.settings.server.timeout;
        let written = match tokio::time::timeout(timeout, self.write(&batch)).await {
            Ok(written) => written,
            Err(_) => Err(Failure::late(timeout)),
        };
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
                if let Some(table) = self.table.take() {
                    self.unknown = Some(Unknown { process: table.link.process, table: table.number, from: table.next });
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
            let link = Link::open(&self.node.settings, "transit").await?;
            let wrong = preflight::check(&link, &self.node.settings).await?;
            if !wrong.is_empty() {
                return Err(Failure::new(wrong.join("; ")));
            }
            self.take_back(&link).await?;
            self.table = Some(self.begin(link).await?);
        }
        let Some(table) = &mut self.table else { return Err(Failure::new("there is no table")) };
        let name = schema::transit(&self.node.settings.server.schema, table.number);
        let mut rows = Rows::new();
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
        table.next += i32::try_from(batch.len()).expect("a batch is a few megabytes");
        table.len += len;
        self.node.settings.counters.written.inc_by(len);
        Ok(())
    }

    /// Removes the rows of the last transaction over a connection that broke.
    async fn take_back(&mut self, link: &Link) -> Result<(), Failure> {
        let Some(Unknown { process, table, from }) = &self.unknown else { return Ok(()) };
        ownership::end_process(link, &self.node.settings, "transit", *process).await?;
        let name = schema::transit(&self.node.settings.server.schema, *table);
        match link.client.execute(&format!("DELETE FROM {name} WHERE seq >= $1"), &[from]).await.map_err(Failure::from)
        {
            Err(failure) if !failure.is_gone() => return Err(failure),
            _ => self.unknown = None,
        }
        Ok(())
    }

    async fn begin(&self, link: Link) -> Result<Table, Failure> {
        let schema = &self.node.settings.server.schema;
        let insert = format!("INSERT INTO {schema}.transit (instance) VALUES ($1) RETURNING number");
        link.client.batch_execute("BEGIN").await?;
        let number: i32 = link.client.query_one(&insert, &[&self.node.instance]).await?.get(0);
        link.client.batch_execute(&format!("{}; COMMIT", schema::make_transit(schema, number))).await?;
        Ok(Table { link, number, next: 1, len: 0 })
    }
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
    let done: Vec<i32> = link.client.query(&query, &[&node.instance]).await?.iter().map(|row| row.get(0)).collect();
    let mut first_failure = Ok(());
    for number in done {
        let name = schema::transit(schema, number);
        let mark = format!("DELETE FROM {schema}.transit WHERE number = {number}");
        let lock = format!("BEGIN; SET LOCAL lock_timeout = '1s'; {mark}; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE");
        let dropped = async {
            // If several nodes try, the later ones find no table.
            link.client.batch_execute(&lock).await?;
            let is_empty = format!("SELECT NOT EXISTS (SELECT FROM {name})");
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

//! Recovery by a shard's new owner: reads the notes of all segments in order, and builds the index.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;

use super::link::{Failure, Link, in_time};
use super::note::{self, Note};
use super::position::{Position, last_row};
use super::shared::Shared;
use crate::message::QueueId;
use crate::spool::index::{Index, Place, Summary};
use crate::spool::recent::Recent;
use crate::time::Timestamp;

/// The most rows that are taken at once of those that have come.
const AT_ONCE: usize = 1000;
/// A server may take so many times its usual time for an answer, because it sorts a segment that it has not read for long.
const PATIENCE: u32 = 6;

/// Waits for an answer, though not for ever.
async fn answered<T>(link: &Link, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    in_time(link.limit * PATIENCE, async { Ok(asked.await?) }).await
}

/// Reads the log into the index, and returns where the log continues. `was_clean` means that no attempt was in progress at the last stop.
pub(super) async fn recover(shared: &Shared, link: &Link, was_clean: bool) -> Result<Position, Failure> {
    let schema = &shared.settings.server.schema;
    let numbers = format!("SELECT number FROM {schema}.segment WHERE shard = $1 ORDER BY number");
    let numbers = answered(link, link.client.query(&numbers, &[&shared.number.cast_signed()])).await?;
    let numbers: Vec<u32> = numbers.iter().map(|row| row.get::<_, i32>(0).cast_unsigned()).collect();
    let mut greatest = QueueId::from_u64(0);
    for &segment in &numbers {
        let table = shared.table(segment);
        let query = format!("SELECT seq, id, note FROM {table} WHERE part = 0 ORDER BY seq");
        let none: [i32; 0] = [];
        let rows = answered(link, link.client.query_raw(&query, none)).await?;
        // The time is limited between the rows, and not for all of them, because a log may be long.
        let mut rows = pin!(rows.ready_chunks(AT_ONCE));
        while let Some(some) = answered(link, async { Ok(rows.next().await) }).await? {
            for row in some {
                let row = row?;
                let (at, id): (i32, i64) = (row.get(0), row.get(1));
                let id = QueueId::from_u64(id.cast_unsigned());
                greatest = greatest.max(id);
                let place = Place { segment, at: at.cast_unsigned() };
                match row.get::<_, Option<&[u8]>>(2).map(note::read) {
                    Some(Ok(note)) => apply(&mut shared.index(), id, place, note),
                    // The server has checksums of its own, so this is not a torn write: another program wrote this row.
                    _ => {
                        let why = format!("row {at} of {table} does not decode; restore the database");
                        return Err(Failure { is_mistake: true, ..Failure::new(why) });
                    }
                }
            }
        }
        let size = format!("SELECT pg_total_relation_size('{table}')");
        let size: i64 = answered(link, link.client.query_one(&size, &[])).await?.get(0);
        shared.segments().insert(segment, size.cast_unsigned());
    }
    shared.ids.observe(greatest);
    {
        let mut index = shared.index();
        if was_clean {
            index.nothing_was_in_flight(Timestamp::now());
        }
        shared.count_records(index.len() as u64);
    }
    let active = numbers.last().copied().unwrap_or(1);
    let last = in_time(link.limit, last_row(link, schema, shared.number, active)).await?;
    let end = Place { segment: active, at: last.unwrap_or_default().cast_unsigned() };
    let outbox = Recent::new(shared.settings.has_journal, (end, 0)).telling(Arc::clone(&shared.filled));
    outbox.confirm(shared.told);
    let _ = shared.outbox.set(outbox);
    Ok(Position { segment: active, last: last.unwrap_or_default(), exists: last.is_some() })
}

fn apply(index: &mut Index, id: QueueId, place: Place, note: Note) {
    match note {
        Note::Message { disk_len, lane, domains, status } => {
            index.put(&Summary { id, lane, domains, status, disk_len }, place, None);
        }
        Note::State(status) => index.recover_state(id, &status, place),
        Note::Due(next) => index.set_next_try(id, next),
        Note::Hold(reason) => index.hold(id, &reason),
        Note::Release(next) => index.release(id, next),
        Note::Done => drop(index.remove(id)),
    }
}

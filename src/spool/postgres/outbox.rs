//! The outbox: the lines of commits and changes for the journal, in the order of each shard's log.
//!
//! Each node's journal gets the lines of the shards that the node owns. The confirmed position is also stored in the database, so that the
//! next owner of a shard continues there. Lines that a node confirmed just before it died may reach the next owner's journal again, with
//! the same ids.
//!
//! The lines are part of the rows. The most recently committed ones are also in memory. A journal that is behind, or starts, reads them
//! from the segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Postgres;
use super::link::Failure;
use super::node::Node;
use super::read::{reader, unread};
use super::shared::Shared;
use crate::spool::index::Place;
use crate::spool::recent::Source;
use crate::spool::{Error, Outbox, OutboxPage, OutboxPosition, Pending};

/// The approximate number of octets of lines that are read at once.
const PAGE: usize = 4 << 20;
/// The number of rows that are read at once.
const ROWS: usize = 256;

/// The place up to which lines were read, by shard.
type Places = BTreeMap<u32, Place>;

impl Outbox for Postgres {
    fn lines(&self, after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>> {
        let node = Arc::clone(&self.node);
        Box::pin(async move {
            let mut places = after.and_then(|position| places(&node, &position)).unwrap_or_default();
            let (mut lines, mut more) = (Vec::new(), false);
            for shard in node.all() {
                if lines.len() >= PAGE {
                    more = true;
                    break;
                }
                let after = place_in(&shard, &places);
                let end = match shard.outbox().source(after) {
                    Source::Memory { lines: new, to: (to, _) } => {
                        lines.extend_from_slice(&new);
                        to
                    }
                    Source::Segments { until } => {
                        let page = read(&shard, after, until, &mut lines).await.map_err(unread)?;
                        more |= page < shard.outbox().end();
                        page
                    }
                };
                places.insert(shard.number, end);
            }
            Ok(OutboxPage { lines, position: position(&node, &places), more })
        })
    }

    fn confirm(&self, position: OutboxPosition) {
        let places = places(&self.node, &position).unwrap_or_default();
        for shard in self.node.all() {
            if let Some(place) = places.get(&shard.number).filter(|place| **place <= shard.outbox().end()) {
                shard.outbox().confirm(*place);
            }
        }
    }

    fn filled(&self) -> Arc<Notify> {
        Arc::clone(&self.node.filled)
    }
}

/// Returns up to where a journal has a shard's lines: this node's journal, or that of a former owner.
fn place_in(shard: &Shared, places: &Places) -> Place {
    let own = places.get(&shard.number).copied().filter(|place| *place <= shard.outbox().end());
    own.unwrap_or_default().max(shard.told)
}

/// Reads about a page of lines from a shard's segments. Returns the place behind them.
async fn read(shared: &Shared, after: Place, until: Place, lines: &mut Vec<u8>) -> Result<Place, Failure> {
    let link = reader(shared)?;
    let mut end = after;
    let segments: Vec<u32> =
        shared.segments().range(after.segment..=until.segment).map(|(number, _)| *number).collect();
    'segments: for segment in segments {
        let from = if segment == after.segment { after.at } else { 0 };
        end = Place { segment, at: from };
        let limit = if segment == until.segment { until.at.cast_signed() } else { i32::MAX };
        let table = shared.table(segment);
        let query = format!(
            "SELECT seq, lines FROM {table} WHERE seq > $1 AND seq <= $2 AND part = 0 AND lines IS NOT NULL ORDER BY seq LIMIT {ROWS}"
        );
        loop {
            let rows = link.client.query(&query, &[&end.at.cast_signed(), &limit]).await;
            let rows = match rows.map_err(Failure::from) {
                Ok(rows) => rows,
                // The segment was deleted, so the journal already had these lines.
                Err(failure) if failure.is_gone() => break,
                Err(failure) => return Err(failure),
            };
            for row in &rows {
                end.at = row.get::<_, i32>(0).cast_unsigned();
                lines.extend_from_slice(row.get(1));
                if lines.len() >= PAGE {
                    break 'segments;
                }
            }
            if rows.len() < ROWS {
                break;
            }
        }
    }
    if lines.len() < PAGE {
        end = end.max(until);
    }
    Ok(end)
}

fn position(node: &Node, places: &Places) -> OutboxPosition {
    let places: Vec<String> =
        places.iter().map(|(shard, Place { segment, at })| format!("{shard}-{segment}-{at}")).collect();
    OutboxPosition::new(format!("{}:{}", node.spool, places.join(",")))
}

/// Returns the places that a position names, or `None` if the position belongs to another spool.
fn places(node: &Node, position: &OutboxPosition) -> Option<Places> {
    let (name, places) = position.as_str().split_once(':')?;
    let place = |text: &str| {
        let mut parts = text.split('-');
        let (shard, segment, at) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some((shard, Place { segment, at }))
    };
    (name == node.spool).then(|| places.split(',').filter_map(place).collect())
}

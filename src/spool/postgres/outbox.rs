//! The outbox: the lines that commits and changes have for the journal, in the order of the log.
//!
//! The lines stand in the rows. Those that were committed last are in memory too. A journal that is behind, or begins, reads them from
//! the segments.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Postgres;
use super::link::Failure;
use super::read::{reader, unread};
use super::schema;
use super::shared::Shared;
use crate::spool::index::Place;
use crate::spool::recent::Source;
use crate::spool::{Error, Outbox, OutboxPage, OutboxPosition, Pending};

/// About how many octets of lines are read at once.
const PAGE: usize = 4 << 20;
/// How many rows are read at once.
const ROWS: usize = 256;

impl Outbox for Postgres {
    fn lines(&self, after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let after = after.and_then(|position| place(&shared, &position)).unwrap_or_default();
            match shared.outbox().source(after) {
                Source::Memory { lines, to: (to, _) } => {
                    Ok(OutboxPage { lines, position: position(&shared, to), more: false })
                }
                Source::Segments { until } => read(&shared, after, until).await.map_err(unread),
            }
        })
    }

    fn confirm(&self, position: OutboxPosition) {
        if let Some(place) = place(&self.shared, &position) {
            self.shared.outbox().confirm(place);
        }
    }

    fn filled(&self) -> Arc<Notify> {
        self.shared.outbox().filled()
    }
}

/// Reads lines from the segments, up to about a page of them.
async fn read(shared: &Shared, after: Place, until: Place) -> Result<OutboxPage, Failure> {
    let link = reader(shared)?;
    let (mut lines, mut end) = (Vec::new(), after);
    let segments: Vec<u32> =
        shared.segments().range(after.segment..=until.segment).map(|(number, _)| *number).collect();
    'segments: for segment in segments {
        let from = if segment == after.segment { after.at } else { 0 };
        end = Place { segment, at: from };
        let limit = if segment == until.segment { until.at.cast_signed() } else { i32::MAX };
        let table = schema::table(&shared.settings.schema, segment);
        let query = format!(
            "SELECT seq, lines FROM {table} WHERE seq > $1 AND seq <= $2 AND part = 0 AND lines IS NOT NULL ORDER BY seq LIMIT {ROWS}"
        );
        loop {
            let rows = link.client.query(&query, &[&end.at.cast_signed(), &limit]).await;
            let rows = match rows.map_err(Failure::from) {
                Ok(rows) => rows,
                // It was given back, so the journal had it.
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
    let more = end < shared.outbox().end();
    Ok(OutboxPage { lines, position: position(shared, end), more })
}

fn position(shared: &Shared, place: Place) -> OutboxPosition {
    OutboxPosition::new(format!("{}-{}-{}", shared.name, place.segment, place.at))
}

/// The place that a position names. `None` if it is of another spool.
fn place(shared: &Shared, position: &OutboxPosition) -> Option<Place> {
    let mut parts = position.as_str().split('-');
    let (name, segment, at) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let place = Place { segment, at };
    (name == shared.name && parts.next().is_none() && place <= shared.outbox().end()).then_some(place)
}

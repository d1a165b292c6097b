//! The end of a shard's log: its active segment, and the last row there.

use super::link::{Failure, Link};
use super::schema;

/// The position at which the log continues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub segment: u32,
    /// The number of the last row that is known to be committed.
    pub last: i32,
    /// True if the segment exists.
    pub exists: bool,
}

/// Returns the number of the last row of a segment: `None` if the segment does not exist, 0 if it is empty.
pub(super) async fn last_row(link: &Link, schema: &str, shard: u32, segment: u32) -> Result<Option<i32>, Failure> {
    let table = schema::segment(schema, shard, segment);
    let exists: bool = link.client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
    if !exists {
        return Ok(None);
    }
    let last: Option<i32> = link.client.query_one(&format!("SELECT max(seq) FROM {table}"), &[]).await?.get(0);
    Ok(Some(last.unwrap_or_default()))
}

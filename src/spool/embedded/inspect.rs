//! Answers the calls that look into the spool: counts come from memory, records from disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::leasing::read_again;
use super::shared::Shared;
use super::{Embedded, blocking, read};
use crate::message::{Lane, QueueId};
use crate::spool::index::{Entry, LOOK, bits, enough};
use crate::spool::{Error, Filter, Inspect, LaneStats, Pending, Record, Totals, is_short_of_means, ready};

impl Inspect for Embedded {
    fn totals(&self) -> Pending<Result<Totals, Error>> {
        let records = self.shared.index().len() as u64;
        let quarantined = self.shared.quarantined.load(Ordering::Relaxed);
        ready(Ok(Totals { records, disk_bytes: self.shared.disk_bytes(), quarantined }))
    }

    fn lanes(&self, after: Option<Lane>, limit: usize) -> Pending<Result<Vec<(Lane, LaneStats)>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            loop {
                let found = shared.index().lanes(after.as_ref(), limit);
                match found {
                    Some(found) => return Ok(found),
                    None => tokio::task::yield_now().await,
                }
            }
        })
    }

    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { blocking(move || list(&shared, &filter, limit)).await? })
    }

    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { blocking(move || read_again(&shared, id, read::header)).await? })
    }
}

fn list(shared: &Arc<Shared>, filter: &Filter, limit: usize) -> Result<Vec<Record>, Error> {
    let bits = bits(filter);
    let mut records = Vec::new();
    let mut from = Some(filter.first());
    while let Some(start) = from.filter(|_| records.len() < limit) {
        let most = enough(filter, limit - records.len());
        let (found, next) = shared.index().select(filter, bits, start, LOOK, most);
        from = next;
        for entry in found {
            if records.len() == limit {
                break;
            }
            match read_again(shared, entry.id, read::record) {
                Ok(record) if filter.fits_domain_of(&record) => records.push(record),
                // The message was settled or set aside meanwhile, or has no recipient in that domain.
                Ok(_) | Err(Error::Unknown(_) | Error::Corrupt { .. }) => {}
                Err(error) if is_short_of_means(&error) => return Err(error),
                // The message is on hold, or will be when it becomes due.
                Err(error) => tracing::warn!(id = %entry.id, %error, "a message is not listed"),
            }
        }
    }
    Ok(records)
}

/// Returns the entries that have a waiting recipient in the filter's domain, if the filter names one.
pub(super) async fn in_domain(shared: &Arc<Shared>, filter: &Filter, found: Vec<Entry>) -> Result<Vec<QueueId>, Error> {
    let ids = found.into_iter().map(|entry| entry.id);
    if filter.recipient_domain.is_none() {
        return Ok(ids.collect());
    }
    let (shared, filter, ids) = (Arc::clone(shared), filter.clone(), ids.collect::<Vec<_>>());
    blocking(move || {
        let mut found = Vec::new();
        for id in ids {
            match read_again(&shared, id, read::record) {
                Ok(record) if filter.fits_domain_of(&record) => found.push(id),
                Err(error) if is_short_of_means(&error) => return Err(error),
                // The message waits for others only, is gone, or will be held for the read error when it becomes due.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(found)
    })
    .await?
}

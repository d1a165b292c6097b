//! Changes from outside of an attempt: hold, release, expedite, seize.

use std::sync::Arc;

use super::Embedded;
use crate::spool::index::calls;
use crate::spool::owner::{self, change_matching};
use crate::spool::{Error, Filter, Intervene, Lease, LinesById, Pending};
use crate::time::Timestamp;

impl Intervene for Embedded {
    fn hold(&self, filter: Filter, reason: String, lines: LinesById) -> Pending<Result<u64, Error>> {
        let reason: Arc<str> = reason.into();
        let hold = move |index: &mut _, entry: &_| calls::hold(index, entry, &reason);
        Box::pin(change_matching(Arc::clone(&self.shared), filter, lines, hold))
    }

    fn release(&self, filter: Filter, lines: LinesById) -> Pending<Result<u64, Error>> {
        let now = Timestamp::now();
        let release = move |index: &mut _, entry: &_| calls::release(index, entry, now);
        Box::pin(change_matching(Arc::clone(&self.shared), filter, lines, release))
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        let now = Timestamp::now();
        let expedite = move |index: &mut _, entry: &_| calls::expedite(index, entry, now);
        Box::pin(change_matching(Arc::clone(&self.shared), filter, LinesById::new(), expedite))
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        Box::pin(owner::seize(Arc::clone(&self.shared), filter, limit))
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.synced().await })
    }
}

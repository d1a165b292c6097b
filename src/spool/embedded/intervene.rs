//! Answers the calls that change records outside of an attempt: hold, release, expedite, seize.

use std::sync::Arc;

use super::Embedded;
use crate::message::QueueId;
use crate::spool::{Error, Filter, Intervene, Lease, LinesById, Pending, owner};

impl Intervene for Embedded {
    fn hold(&self, filter: Filter, reason: String, lines: LinesById) -> Pending<Result<u64, Error>> {
        Box::pin(owner::hold(Arc::clone(&self.shared), filter, reason, lines))
    }

    fn release(&self, filter: Filter, lines: LinesById) -> Pending<Result<u64, Error>> {
        Box::pin(owner::release(Arc::clone(&self.shared), filter, lines))
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        Box::pin(owner::expedite(Arc::clone(&self.shared), filter))
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        Box::pin(owner::seize(Arc::clone(&self.shared), filter, limit))
    }

    fn discard(&self, id: QueueId) -> Pending<Result<bool, Error>> {
        Box::pin(owner::discard(Arc::clone(&self.shared), id))
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.synced().await })
    }
}

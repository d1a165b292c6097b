//! Implements `spool::owner` for the embedded spool.

use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;

use super::note::Change;
use super::shared::Shared;
use super::{inspect, leasing};
use crate::message::QueueId;
use crate::spool::index::{Entry, Index, LogEntry, MessageToRead};
use crate::spool::owner::{Guard, Leased, Owner};
use crate::spool::{Error, Filter};

impl Owner for Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        Shared::index(self)
    }

    fn changed(&self) -> &Notify {
        &self.changed
    }

    fn may_work(&self) -> Result<(), Error> {
        Shared::may_work(self)
    }

    fn may_deliver(&self) -> Result<(), Error> {
        Shared::may_deliver(self)
    }

    fn record(&self, index: &mut Index, facts: Vec<LogEntry>) {
        self.write(index, facts.into_iter().map(Change::of).collect());
    }

    async fn synced(&self) -> Result<(), Error> {
        Shared::synced(self).await
    }

    async fn in_domain(self: &Arc<Self>, filter: &Filter, found: Vec<Entry>) -> Result<Vec<QueueId>, Error> {
        inspect::in_domain(self, filter, found).await
    }

    async fn read_leases(self: &Arc<Self>, wanted: Vec<(MessageToRead, Guard<Self>)>) -> Result<Leased, Error> {
        leasing::read_leases(self, wanted).await
    }
}

//! Implements `spool::owner` for a shard.

use std::sync::{Arc, MutexGuard};

use tokio::sync::{Notify, oneshot};

use super::inbox::{Item, Request};
use super::read;
use super::shared::Shared;
use crate::message::QueueId;
use crate::spool::index::{Entry, Index, LogEntry, MessageToRead};
use crate::spool::owner::{Guard, Leased, Owner};
use crate::spool::{Error, Filter};

impl Owner for Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        Shared::index(self)
    }

    fn changed(&self) -> &Notify {
        &self.node.changed
    }

    fn may_work(&self) -> Result<(), Error> {
        match self.is_closed() {
            true => Err(Error::Stopped("another node owns the customer's mail".into())),
            false => self.node.may_work(),
        }
    }

    fn may_deliver(&self) -> Result<(), Error> {
        self.node.may_deliver()?;
        match self.is_leaving() {
            true => Err(Error::Stopped("another node is about to own the customer's mail".into())),
            false => Ok(()),
        }
    }

    fn owns_leases(&self) -> bool {
        self.may_deliver().is_ok()
    }

    fn record(&self, _index: &mut Index, facts: Vec<LogEntry>) {
        let requests = facts.into_iter().map(|entry| Request::Write(Item::Change(entry, None)));
        if self.inbox.push(requests).is_err() {
            // This happens only after stop(), when nothing is delivered any more.
            tracing::error!("changes came after the spool was stopped and are not recorded");
        }
    }

    async fn synced(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox.push([Request::Write(Item::Barrier(reply))]).map_err(|_| self.stopping_error())?;
        answer.await.unwrap_or_else(|_| Err(self.stopping_error()))
    }

    async fn in_domain(self: &Arc<Self>, filter: &Filter, found: Vec<Entry>) -> Result<Vec<QueueId>, Error> {
        read::in_domain(self, filter, found).await
    }

    async fn read_leases(self: &Arc<Self>, wanted: Vec<(MessageToRead, Guard<Self>)>) -> Result<Leased, Error> {
        read::leases(self, wanted).await
    }
}

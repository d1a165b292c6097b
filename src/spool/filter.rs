//! Which records an operator or queue ageing means.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::message::{CustomerId, Lane, QueueId};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Selects the records that fit everything that is given here. The default selects all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The record is one of these.
    pub ids: Option<Arc<BTreeSet<QueueId>>>,
    /// It waits in one of these lanes.
    pub lanes: Option<Arc<BTreeSet<Lane>>>,
    /// It is this customer's.
    pub customer: Option<CustomerId>,
    /// One of its waiting recipients is in this domain.
    pub recipient_domain: Option<Domain>,
    /// It was accepted after this one. This is how a list that was cut at its limit goes on; what is skipped costs nothing.
    pub after: Option<QueueId>,
    /// It arrived before this.
    pub arrived_before: Option<Timestamp>,
    /// It is held, or not.
    pub held: Option<bool>,
    /// It was tried before, or not.
    pub deferred: Option<bool>,
    /// A delay notice was sent for it, or not.
    pub delay_notified: Option<bool>,
    /// It is due after this.
    pub due_after: Option<Timestamp>,
}

impl Filter {
    /// Selects the record with this id.
    pub fn one(id: QueueId) -> Self {
        Filter::of([id])
    }

    /// Selects the records with these ids.
    pub fn of(ids: impl IntoIterator<Item = QueueId>) -> Self {
        Filter { ids: Some(Arc::new(ids.into_iter().collect())), ..Filter::default() }
    }

    /// The lowest id that can fit, as far as [`after`](Self::after) says.
    pub fn first(&self) -> QueueId {
        QueueId::from_u64(self.after.map_or(0, |id| id.as_u64().saturating_add(1)))
    }
}

//! Selects records for operators and queue ageing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Record;
use crate::message::{CustomerId, Lane, QueueId};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Selects the records that meet all given conditions. The default selects all records.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The record has one of these ids.
    pub ids: Option<Arc<BTreeSet<QueueId>>>,
    /// The record is in one of these lanes.
    pub lanes: Option<Arc<BTreeSet<Lane>>>,
    /// The record belongs to this customer.
    pub customer: Option<CustomerId>,
    /// One of its waiting recipients is in this domain.
    pub recipient_domain: Option<Domain>,
    /// The record was accepted after this one. A list that was cut at its limit is continued like this; skipped records cost nothing.
    pub after: Option<QueueId>,
    /// The record arrived before this time.
    pub arrived_before: Option<Timestamp>,
    /// The record is held, or is not.
    pub held: Option<bool>,
    /// The record was tried before, or was not.
    pub deferred: Option<bool>,
    /// A delay notice was sent for the record, or was not.
    pub delay_notified: Option<bool>,
    /// The record is due after this time.
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

    /// Returns true if a waiting recipient of the record is in the filter's domain, or the filter names none.
    pub(super) fn fits_domain_of(&self, record: &Record) -> bool {
        let is_in = |domain: &Domain| record.waiting().any(|(_, recipient)| recipient.address.domain() == Some(domain));
        self.recipient_domain.as_ref().is_none_or(is_in)
    }

    /// Returns the lowest id that can match, as far as [`after`](Self::after) tells.
    pub fn first(&self) -> QueueId {
        QueueId::from_u64(self.after.map_or(0, |id| id.as_u64().saturating_add(1)))
    }
}

//! Alerts from submission: one event for a trouble, not one for each message that meets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::events::{Event, EventKind, Events};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// How long a domain's trouble is not told again.
const QUIET: Duration = Duration::from_secs(600);

/// What was told when. Cheap to clone; bounded by the number of configured domains.
#[derive(Clone, Default)]
pub struct Alerts(Arc<Mutex<HashMap<Domain, Instant>>>);

impl Alerts {
    /// Tells of a domain's trouble, unless that was done a short while ago.
    pub(super) fn raise(&self, domain: &Domain, detail: &str, events: &Events) {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(domain).is_some_and(|last| now.duration_since(*last) < QUIET) {
            return;
        }
        told.insert(domain.clone(), now);
        drop(told);
        tracing::error!(%domain, detail, "mail is deferred");
        events.emit(Event { detail: Some(detail.to_owned()), ..Event::new(EventKind::Alert, Timestamp::now()) });
    }
}

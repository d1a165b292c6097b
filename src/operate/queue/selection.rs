//! From what an operator named to the spool's filters, and what the spool cannot tell: the route, and what is being delivered.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stopped::Suspended;
use crate::message::{CustomerId, QueueId};
use crate::operate::Relay;
use crate::operate::socket::protocol::{MessageState, Refusal, Selection};
use crate::route::RouteId;
use crate::smtp::Domain;
use crate::spool::{self, Filter, Record};
use crate::time::Timestamp;

/// Records read from the spool at once; ids that share a sync.
const PAGE: usize = 500;

/// A checked selection.
#[derive(Debug)]
pub(in crate::operate) struct Plan {
    /// Records that fit this.
    filter: Filter,
    /// And go this way.
    route: Option<RouteId>,
    /// And are being delivered, or not.
    delivering: Option<bool>,
    /// And are not tried until a person acts.
    stopped: bool,
    /// For bounce and remove: only recipients in this domain.
    pub(in crate::operate) recipient_domain: Option<Domain>,
}

impl Plan {
    /// Checks what was named. `changes`: the command changes messages, so an empty selection must say that it means all.
    pub(in crate::operate) async fn new(
        relay: &Relay,
        which: &Selection,
        changes: bool,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let narrowed = Selection { all: false, ..which.clone() } != Selection::default();
        if changes && !narrowed && !which.all {
            return Err(Refusal {
                message: "no message was named".into(),
                remedy: "give queue ids or filters, or --all for every message".into(),
            });
        }
        if let Some(customer) = &which.customer
            && relay.routing.customer(&CustomerId::new(customer)).is_none()
            && !relay.has_mail_of(customer).await?
        {
            return Err(Refusal {
                message: format!("there is no customer \"{customer}\""),
                remedy: "a customer's id is the name of its file without .toml".into(),
            });
        }
        if let Some(route) = &which.route
            && !relay.routes.list().iter().any(|known| known.id.as_str() == route)
        {
            return Err(Refusal {
                message: format!("there is no route \"{route}\""),
                remedy: "`postbud route list` names them".into(),
            });
        }
        let recipient_domain = which.recipient_domain.as_deref().map(Domain::parse).transpose();
        let recipient_domain = recipient_domain.map_err(|error| Refusal {
            message: error.to_string(),
            remedy: "give the part after the @, as in example.com".into(),
        })?;
        let (held, deferred) = match which.state {
            Some(MessageState::Held) => (Some(true), None),
            Some(MessageState::Waiting) => (Some(false), Some(false)),
            Some(MessageState::Deferred) => (Some(false), Some(true)),
            Some(MessageState::Stopped) => (Some(false), None),
            Some(MessageState::Delivering) | None => (None, None),
        };
        let base = Filter {
            customer: which.customer.as_deref().map(CustomerId::new),
            recipient_domain: recipient_domain.clone(),
            arrived_before: which.older_than_secs.map(|secs| now - std::time::Duration::from_secs(secs)),
            held,
            deferred,
            ..Filter::default()
        };
        let ids: Result<BTreeSet<QueueId>, _> = which.ids.iter().map(|id| id.parse::<QueueId>()).collect();
        let ids = ids.map_err(|error| Refusal {
            message: error.to_string(),
            remedy: "`postbud queue list` shows the ids".into(),
        });
        let ids = (!which.ids.is_empty()).then_some(ids?);
        let filter = Filter { ids: ids.map(Arc::new), ..base };
        let delivering = which.state.map(|state| state == MessageState::Delivering);
        let stopped = which.state == Some(MessageState::Stopped);
        Ok(Plan { filter, route: which.route.as_deref().map(RouteId::new), delivering, stopped, recipient_domain })
    }

    /// The spool's filters, where these alone tell which records are meant: one batch each.
    pub(in crate::operate) fn batches(&self) -> Option<Vec<Filter>> {
        if self.route.is_some() || self.delivering.is_some() {
            return None;
        }
        let Some(ids) = &self.filter.ids else { return Some(vec![self.filter.clone()]) };
        let ids: Vec<QueueId> = ids.iter().copied().collect();
        let batch = |ids: &[QueueId]| Filter { ids: Filter::of(ids.iter().copied()).ids, ..self.filter.clone() };
        Some(ids.chunks(PAGE).map(batch).collect())
    }

    /// The one message that was named, if it was one.
    pub(in crate::operate) fn only_id(&self) -> Option<QueueId> {
        self.filter.ids.as_ref().filter(|ids| ids.len() == 1).and_then(|ids| ids.first().copied())
    }

    /// Walks over the records, a page at a time.
    pub(in crate::operate) fn pages(&self) -> Pages<'_> {
        Pages { plan: self, after: None, ended: false }
    }

    fn fits(&self, relay: &Relay, suspended: &Suspended, record: &Record) -> bool {
        self.delivering.is_none_or(|delivering| record.leased == delivering)
            && (!self.stopped || relay.stopped(&record.lane, suspended).is_some())
            && self.route.as_ref().is_none_or(|route| relay.route_of(&record.lane).as_ref() == Some(route))
    }
}

impl Relay {
    /// Returns true if the spool holds mail of a customer, who may not be configured any more.
    async fn has_mail_of(&self, customer: &str) -> Result<bool, spool::Error> {
        let lanes = spool::all_lanes(&*self.spool).await?;
        Ok(lanes.keys().any(|lane| lane.customer.as_str() == customer))
    }
}

/// See [`Plan::pages`].
pub(in crate::operate) struct Pages<'a> {
    plan: &'a Plan,
    after: Option<QueueId>,
    ended: bool,
}

impl Pages<'_> {
    /// The next records that fit, possibly none; `None` at the end.
    pub(in crate::operate) async fn next(&mut self, relay: &Relay) -> Result<Option<Vec<Record>>, spool::Error> {
        if self.ended {
            return Ok(None);
        }
        let page = relay.spool.list(Filter { after: self.after, ..self.plan.filter.clone() }, PAGE).await?;
        // A page that does not go forward would be read forever.
        let last = page.last().map(|record| record.id).filter(|last| Some(*last) > self.after);
        self.ended = page.len() < PAGE || last.is_none();
        self.after = last;
        let suspended = relay.suspended();
        Ok(Some(page.into_iter().filter(|record| self.plan.fits(relay, &suspended, record)).collect()))
    }
}

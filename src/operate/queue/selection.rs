//! Converts an actor's selection to the spool's filters, and checks what the spool does not know: the route, and whether a message is being
//! delivered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{MessageState, Selection};
use crate::message::{CustomerId, QueueId, References};
use crate::operate::actor::Need;
use crate::operate::{Actor, Error, Service};
use crate::route::RouteId;
use crate::smtp::{Domain, is_same_address};
use crate::spool::{self, Filter, Record};
use crate::time::Timestamp;

/// The number of records that are read from the spool at once, and of ids that share a sync.
pub(super) const PAGE: usize = 500;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The filter for the spool.
    filter: Filter,
    /// The route, if one was given.
    route: Option<RouteId>,
    /// The submitter's names and the sender, if given.
    names: Names,
    /// True for messages that are being delivered, false for others.
    delivering: Option<bool>,
    /// True for stopped messages, which are neither held nor tried.
    stopped: bool,
    /// Bounce and remove affect only recipients in this domain.
    pub recipient_domain: Option<Domain>,
}

/// The names of a message in a selection. They are compared as a whole and without case, as in the record; the sender
/// however its address is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    reference: Option<String>,
    campaign: Option<String>,
    tag: Option<String>,
    envid: Option<String>,
    sender: Option<String>,
}

impl Names {
    fn fit(&self, record: &Record) -> bool {
        let References { reference, campaign, tags, .. } = &record.envelope.references;
        let same = |asked: &Option<String>, has: Option<&str>| {
            asked.as_deref().is_none_or(|asked| has.is_some_and(|has| has.eq_ignore_ascii_case(asked)))
        };
        same(&self.reference, reference.as_deref())
            && same(&self.campaign, campaign.as_deref())
            && self.tag.as_deref().is_none_or(|tag| tags.iter().any(|has| has.eq_ignore_ascii_case(tag)))
            && (self.envid.is_none() || same(&self.envid, record.envelope.decoded_envid().as_deref()))
            && self
                .sender
                .as_deref()
                .is_none_or(|asked| is_same_address(asked, &record.envelope.reverse_path.to_string()))
    }
}

impl Plan {
    /// Checks a selection of messages to read.
    pub async fn to_look(service: &Service, actor: &Actor, which: &Selection, now: Timestamp) -> Result<Self, Error> {
        let customer = which.customer.as_deref().map(CustomerId::new);
        actor.may(customer.as_ref().map_or(Need::Read, Need::ReadOf))?;
        Plan::new(service, which, now).await
    }

    /// Checks a selection of messages to change. An empty selection must say that it means all messages.
    pub async fn to_change(service: &Service, actor: &Actor, which: &Selection, now: Timestamp) -> Result<Self, Error> {
        actor.may(Need::Operate)?;
        let narrowed = Selection { all: false, ..which.clone() } != Selection::default();
        if !narrowed && !which.all {
            let remedy =
                "give queue ids or filters, or say that all messages are meant (--all; in a request \"all\": true)";
            return Err(Error::invalid("no message was named", remedy));
        }
        Plan::new(service, which, now).await
    }

    async fn new(service: &Service, which: &Selection, now: Timestamp) -> Result<Self, Error> {
        let customer = which.customer.as_deref().map(CustomerId::new);
        if let Some(id) = &customer
            && service.routing.customer(id).is_none()
            && !service.has_mail_of(id).await?
        {
            return Err(Error::no_customer(id));
        }
        if let Some(route) = &which.route
            && service.routes.status(&RouteId::new(route)).is_none()
        {
            let message = format!("there is no route \"{route}\"");
            return Err(Error::not_found(message, "`postbud route list` names them"));
        }
        let recipient_domain = which.recipient_domain.as_deref().map(Domain::parse).transpose();
        let recipient_domain = recipient_domain
            .map_err(|error| Error::invalid(error.to_string(), "give the part after the @, as in example.com"))?;
        let (held, deferred) = match which.state {
            Some(MessageState::Held) => (Some(true), None),
            Some(MessageState::Waiting) => (Some(false), Some(false)),
            Some(MessageState::Deferred) => (Some(false), Some(true)),
            Some(MessageState::Stopped) => (Some(false), None),
            Some(MessageState::Delivering) | None => (None, None),
        };
        let ids = which.ids.iter().map(|id| queue_id(id)).collect::<Result<BTreeSet<QueueId>, _>>()?;
        let filter = Filter {
            ids: (!ids.is_empty()).then(|| Arc::new(ids)),
            customer,
            recipient_domain: recipient_domain.clone(),
            arrived_before: which.older_than_secs.map(|secs| now - Duration::from_secs(secs)),
            held,
            deferred,
            ..Filter::default()
        };
        Ok(Plan {
            filter,
            route: which.route.as_deref().map(RouteId::new),
            names: Names {
                reference: which.reference.clone(),
                campaign: which.campaign.clone(),
                tag: which.tag.clone(),
                envid: which.envid.clone(),
                sender: which.sender.clone(),
            },
            delivering: which.state.map(|state| state == MessageState::Delivering),
            stopped: which.state == Some(MessageState::Stopped),
            recipient_domain,
        })
    }

    /// Returns the spool's filters, one for each batch, if they alone select the records.
    pub fn batches(&self) -> Option<Vec<Filter>> {
        if self.route.is_some() || self.delivering.is_some() || self.names != Names::default() {
            return None;
        }
        let Some(ids) = &self.filter.ids else { return Some(vec![self.filter.clone()]) };
        let ids: Vec<QueueId> = ids.iter().copied().collect();
        let batch = |ids: &[QueueId]| Filter { ids: Filter::of(ids.iter().copied()).ids, ..self.filter.clone() };
        Some(ids.chunks(PAGE).map(batch).collect())
    }

    /// Returns the queue ids that were given, if nothing else was given.
    pub fn only_ids(&self) -> Option<BTreeSet<QueueId>> {
        let Filter { customer, arrived_before, held, deferred, .. } = &self.filter;
        let has_more = customer.is_some()
            || arrived_before.is_some()
            || held.is_some()
            || deferred.is_some()
            || self.recipient_domain.is_some()
            || self.batches().is_none();
        self.filter.ids.as_deref().filter(|_| !has_more).cloned()
    }

    /// Returns the queue id if exactly one was given.
    pub fn only_id(&self) -> Option<QueueId> {
        self.filter.ids.as_ref().filter(|ids| ids.len() == 1).and_then(|ids| ids.first().copied())
    }

    fn fits(&self, service: &Service, record: &Record) -> bool {
        let is_there = || {
            let at = service.lane_route(&record.lane);
            (!self.stopped || at.stopped.is_some()) && (self.route.is_none() || at.route == self.route)
        };
        let waits_in = |domain: &Domain| record.waiting().any(|(_, to)| to.address.domain() == Some(domain));
        self.delivering.is_none_or(|delivering| record.leased == delivering)
            && self.recipient_domain.as_ref().is_none_or(waits_in)
            && self.names.fit(record)
            && ((!self.stopped && self.route.is_none()) || is_there())
    }
}

/// Reads a queue id as people write it.
pub(super) fn queue_id(text: &str) -> Result<QueueId, Error> {
    let refused = |error: crate::message::id::NotAQueueId| {
        Error::invalid(error.to_string(), "`postbud queue list` shows the ids")
    };
    text.parse().map_err(refused)
}

impl Service {
    /// Returns true if the spool has mail of a customer, who may have been removed from the configuration.
    async fn has_mail_of(&self, customer: &CustomerId) -> Result<bool, spool::Error> {
        let lanes = spool::lanes_in_order(&*self.spool).await?;
        Ok(lanes.iter().any(|(lane, _)| lane.customer == *customer))
    }
}

/// Reads the records of a selection, oldest first.
pub(super) struct Walk {
    plan: Plan,
    after: Option<QueueId>,
    /// How many records the next page reads at most.
    page: usize,
    ended: bool,
}

impl Walk {
    /// Begins after this record, or with the first.
    pub fn new(plan: Plan, after: Option<QueueId>) -> Self {
        Walk { plan, after, page: PAGE, ended: false }
    }

    /// Like [`new`](Self::new), but the first page reads no more than the caller wants.
    pub fn of_first(plan: Plan, after: Option<QueueId>, wanted: usize) -> Self {
        Walk { page: wanted.clamp(1, PAGE), ..Walk::new(plan, after) }
    }

    /// Returns true if there is nothing more to look at.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The last record that was looked at.
    pub fn position(&self) -> Option<QueueId> {
        self.after
    }

    /// Returns the next matching records, possibly none, or `None` at the end.
    pub async fn next(&mut self, service: &Service) -> Result<Option<Vec<Record>>, spool::Error> {
        if self.ended {
            return Ok(None);
        }
        // The spool would read until it has found enough messages to a domain. Here each page ends after the same number of records.
        let filter = Filter { after: self.after, recipient_domain: None, ..self.plan.filter.clone() };
        let page = service.spool.list(filter, self.page).await?;
        // A page that makes no progress would be read again and again.
        let last = page.last().map(|record| record.id).filter(|last| Some(*last) > self.after);
        self.ended = page.len() < self.page || last.is_none();
        self.after = last.or(self.after);
        self.page = PAGE;
        Ok(Some(page.into_iter().filter(|record| self.plan.fits(service, record)).collect()))
    }
}

//! Commands that look: list, show, stats, routes.

use super::selection::Plan;
use super::stopped::Suspended;
use crate::customers::SigningDomain;
use crate::events;
use crate::message::{CustomerId, MailKind, QueueId, Urgency};
use crate::operate::socket::protocol::{
    Done, LaneStats, Message, MessageState, Recipient, Refusal, Route, Selection, Signer, Stats,
};
use crate::operate::{Output, Relay};
use crate::route::RouteState;
use crate::smtp::Domain;
use crate::spool::{self, RecipientState, Record};
use crate::time::Timestamp;

/// Recipients shown of a message in a list.
const LISTED_RECIPIENTS: usize = 3;
/// Events shown of a message.
const HISTORY: usize = 200;

impl Relay {
    pub(in crate::operate) async fn list(
        &self,
        which: &Selection,
        limit: Option<u64>,
        out: &mut impl Output,
    ) -> std::io::Result<Result<Done, Refusal>> {
        let now = Timestamp::now();
        let plan = match Plan::new(self, which, false, now).await {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let limit = limit.unwrap_or(u64::MAX);
        let mut pages = plan.pages();
        let mut done = Done::default();
        loop {
            let page = match pages.next(self).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(done)),
                Err(error) => return Ok(Err(error.into())),
            };
            let suspended = self.suspended();
            for record in &page {
                if done.count == limit {
                    return Ok(Ok(Done { more: true, ..done }));
                }
                let waiting = record.waiting().map(|(index, _)| recipient(record, index)).take(LISTED_RECIPIENTS);
                out.item(&self.message(record, waiting.collect(), &suspended, now)).await?;
                done.count += 1;
            }
        }
    }

    pub(in crate::operate) async fn show(
        &self,
        id: &str,
        out: &mut impl Output,
    ) -> std::io::Result<Result<Done, Refusal>> {
        let id: QueueId = match id.parse() {
            Ok(id) => id,
            Err(error) => {
                let error: crate::message::id::NotAQueueId = error;
                let remedy = "`postbud queue list` shows the ids".into();
                return Ok(Err(Refusal { message: error.to_string(), remedy }));
            }
        };
        let (record, header) = match self.spool.show(id).await {
            Ok(found) => found,
            Err(error) => return Ok(Err(error.into())),
        };
        let all = (0..record.recipients.len()).map(|index| recipient(&record, index)).collect();
        let mut message = self.message(&record, all, &self.suspended(), Timestamp::now());
        message.header = Some(String::from_utf8_lossy(&header).into_owned());
        message.history = self.history(id).await;
        out.item(&message).await?;
        Ok(Ok(Done { count: 1, ..Done::default() }))
    }

    /// What signs for each domain of a customer; nothing where there is no such customer.
    pub(in crate::operate) fn signers(&self, customer: &str) -> Vec<Signer> {
        let customer = self.routing.customer(&CustomerId::new(customer));
        let domains = customer.as_ref().map(|customer| &customer.domains);
        let selectors = |domain: &Domain, signing: &SigningDomain| match signing {
            SigningDomain::Ready(signer) => signer.profiles_of(domain).map(|p| p.selector.to_string()).collect(),
            SigningDomain::Broken(_) => Vec::new(),
        };
        let signer =
            |(domain, signing)| Signer { domain: Domain::to_string(domain), selectors: selectors(domain, signing) };
        domains.into_iter().flatten().map(signer).collect()
    }

    pub(in crate::operate) async fn stats(&self, now: Timestamp) -> Result<Stats, spool::Error> {
        let totals = self.spool.totals().await?;
        let lanes = spool::all_lanes(&*self.spool).await?;
        let age = |id: Option<QueueId>| id.map(|id| now.since(id.arrived()).as_secs());
        let mut stats = Stats {
            disk_bytes: totals.disk_bytes,
            quarantined: totals.quarantined,
            oldest_secs: age(lanes.values().filter_map(|lane| lane.oldest).min()),
            ..Stats::default()
        };
        let suspended = self.suspended();
        for (lane, counts) in &lanes {
            let stopped = self.stopped(lane, &suspended);
            if stopped.is_some() {
                stats.stopped += counts.records.saturating_sub(counts.held + counts.leased);
            }
            stats.messages += counts.records;
            stats.held += counts.held;
            stats.deferred += counts.deferred;
            stats.delivering += counts.leased;
            stats.bytes += counts.bytes;
            stats.lanes.push(LaneStats {
                customer: lane.customer.to_string(),
                domain: lane.domain.to_string(),
                urgency: urgency(lane.urgency).into(),
                kind: kind(lane.kind).into(),
                route: self.route_of(lane).map(|route| route.to_string()),
                stopped,
                messages: counts.records,
                held: counts.held,
                deferred: counts.deferred,
                delivering: counts.leased,
                oldest_secs: age(counts.oldest).unwrap_or_default(),
            });
        }
        Ok(stats)
    }

    pub(in crate::operate) fn route_items(&self) -> Vec<Route> {
        let routes = self.routes.list().into_iter();
        let item = |route: crate::route::RouteStatus| Route {
            route: route.id.to_string(),
            server: route.server,
            state: route.state.as_str().into(),
            reason: route.state.reason().map(str::to_owned),
            until: match route.state {
                RouteState::Throttled { until, .. } => Some(until.to_string()),
                _ => None,
            },
            since: match route.state {
                RouteState::Suspended { since, .. } => Some(since.to_string()),
                _ => None,
            },
            in_trouble_since: route.in_trouble_since.map(|since| since.to_string()),
            lifted_by: match route.state {
                RouteState::Suspended { cause, .. } => Some(cause.lifted_by().to_owned()),
                _ => None,
            },
            in_flight: route.in_flight,
            sent_today: route.sent_today,
            per_day: route.per_day,
        };
        routes.map(item).collect()
    }

    fn message(&self, record: &Record, recipients: Vec<Recipient>, suspended: &Suspended, now: Timestamp) -> Message {
        let is_free = !record.leased && record.held.is_none();
        Message {
            id: record.id.to_string(),
            message_id: record.message_id.clone(),
            customer: record.lane.customer.to_string(),
            kind: kind(record.lane.kind).into(),
            urgency: urgency(record.lane.urgency).into(),
            route: self.route_of(&record.lane).map(|route| route.to_string()),
            sender: record.envelope.reverse_path.to_string(),
            from_domain: record.lane.domain.to_string(),
            size: record.size,
            arrived: record.id.arrived().to_string(),
            age_secs: now.since(record.id.arrived()).as_secs(),
            state: state(record),
            held: record.held.clone(),
            stopped: is_free.then(|| self.stopped(&record.lane, suspended)).flatten(),
            attempts: record.attempts,
            due: record.due.to_string(),
            recipient_count: record.recipients.len() as u64,
            waiting_count: record.waiting().count() as u64,
            recipients,
            header: None,
            history: Vec::new(),
        }
    }

    /// What the event log remembers of a message. The queue goes on without it.
    async fn history(&self, id: QueueId) -> Vec<serde_json::Value> {
        let Some(log) = self.events.log().map(std::path::Path::to_owned) else { return Vec::new() };
        let read = tokio::task::spawn_blocking(move || events::history(&log, id, HISTORY)).await;
        match read {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => {
                tracing::warn!("the event log cannot be read for the history of {id}: {error}");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}

fn recipient(record: &Record, index: usize) -> Recipient {
    let (state, reply) = match &record.recipients[index] {
        RecipientState::Waiting { last_reply } => ("waiting", last_reply.clone()),
        RecipientState::Delivered { reply } => ("delivered", Some(reply.clone())),
        RecipientState::Failed { reply } => ("failed", Some(reply.clone())),
    };
    Recipient { address: record.envelope.recipients[index].address.to_string(), state: state.into(), reply }
}

fn state(record: &Record) -> MessageState {
    if record.leased {
        MessageState::Delivering
    } else if record.held.is_some() {
        MessageState::Held
    } else if record.attempts > 0 {
        MessageState::Deferred
    } else {
        MessageState::Waiting
    }
}

fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Single => "single",
        Urgency::Bulk => "bulk",
    }
}

fn kind(kind: MailKind) -> &'static str {
    match kind {
        MailKind::Mail => "mail",
        MailKind::Bounce => "bounce",
    }
}

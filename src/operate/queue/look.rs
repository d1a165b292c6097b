//! Commands that read the queue: list, show, stats.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selection::{PAGE, Plan, Walk, queue_id};
use super::stopped::Suspended;
use super::{LaneStats, Message, MessageState, Recipient, Selection, Stats};
use crate::message::{QueueId, Urgency};
use crate::operate::actor::Need;
use crate::operate::{Actor, Error, Service};
use crate::record::trace;
use crate::spool::{self, RecipientState, Record};
use crate::time::Timestamp;

/// The maximum number of recipients that a list shows for a message.
const LISTED_RECIPIENTS: usize = 3;
/// The maximum number of events that are shown for a message.
const HISTORY: usize = 200;
/// A page of a list is searched for no longer than this.
const SEARCH: Duration = Duration::from_secs(4);

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// The position of the next page. Absent on the last page. A page may have fewer items than requested, or none, and still have a next
    /// page, because each page ends after some seconds of searching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Reads a list a part at a time, so that a million messages are never in memory.
pub struct Pages<'a> {
    service: &'a Service,
    walk: Walk,
    now: Timestamp,
}

impl Pages<'_> {
    /// Returns the next messages, possibly none, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Message>>, Error> {
        let Some(records) = self.walk.next(self.service).await? else { return Ok(None) };
        let suspended = self.service.suspended();
        let message = |record: &Record| {
            let waiting = record.waiting().map(|(index, _)| recipient(record, index)).take(LISTED_RECIPIENTS);
            self.service.message(record, waiting.collect(), &suspended, self.now)
        };
        Ok(Some(records.iter().map(message).collect()))
    }
}

impl Service {
    /// Returns all matching messages, oldest first.
    pub async fn pages(&self, actor: &Actor, which: &Selection) -> Result<Pages<'_>, Error> {
        self.first_pages(actor, which, None, PAGE).await
    }

    /// Returns the same from behind the message `after`, for a caller that wants `wanted` of them.
    async fn first_pages(
        &self,
        actor: &Actor,
        which: &Selection,
        after: Option<&str>,
        wanted: usize,
    ) -> Result<Pages<'_>, Error> {
        let now = Timestamp::now();
        let plan = Plan::to_look(self, actor, which, now).await?;
        let after = after.map(queue_id).transpose()?;
        Ok(Pages { service: self, walk: Walk::of_first(plan, after, wanted), now })
    }

    /// Returns at most `limit` matching messages, oldest first, after the message `after` if it is given. The search ends after some seconds,
    /// and the page says where to continue.
    pub async fn list(
        &self,
        actor: &Actor,
        which: &Selection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Message>, Error> {
        let limit = limit.max(1);
        let began = Instant::now();
        let mut pages = self.first_pages(actor, which, after, limit + 1).await?;
        let mut items: Vec<Message> = Vec::new();
        while let Some(page) = pages.next().await? {
            let room = limit - items.len();
            let over = page.len() > room;
            items.extend(page.into_iter().take(room));
            if over {
                let next = items.last().map(|message| message.id.clone());
                return Ok(Page { items, next });
            }
            if began.elapsed() > SEARCH && !pages.walk.has_ended() {
                return Ok(Page { items, next: pages.walk.position().map(|id| id.to_string()) });
            }
        }
        Ok(Page { items, next: None })
    }

    /// Returns one message with all its recipients, its header, and its events in the event log.
    pub async fn show(&self, actor: &Actor, id: &str) -> Result<Message, Error> {
        let id = queue_id(id)?;
        let (record, header) = self.spool.show(id).await?;
        if !actor.may_see(&record.lane.customer) {
            // An actor that may not see a message does not learn that it exists.
            return Err(spool::Error::Unknown(id).into());
        }
        let all = (0..record.recipients.len()).map(|index| recipient(&record, index)).collect();
        let mut message = self.message(&record, all, &self.suspended(), Timestamp::now());
        message.header = Some(String::from_utf8_lossy(&header).into_owned());
        message.history = self.history(id).await;
        Ok(message)
    }

    /// Returns the number of messages that a command would change.
    pub async fn count(&self, actor: &Actor, which: &Selection) -> Result<u64, Error> {
        let plan = Plan::to_change(self, actor, which, Timestamp::now()).await?;
        let mut walk = Walk::new(plan, None);
        let mut count = 0;
        while let Some(page) = walk.next(self).await? {
            count += page.len() as u64;
        }
        Ok(count)
    }

    /// Returns the numbers of the queue, and why mail is stopped.
    pub async fn stats(&self, actor: &Actor) -> Result<Stats, Error> {
        actor.may(Need::Read)?;
        let now = Timestamp::now();
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
                kind: lane.kind.as_str().into(),
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

    fn message(&self, record: &Record, recipients: Vec<Recipient>, suspended: &Suspended, now: Timestamp) -> Message {
        let is_free = !record.leased && record.held.is_none();
        let references = &record.envelope.references;
        Message {
            id: record.id.to_string(),
            message_id: record.message_id.clone(),
            customer: record.lane.customer.to_string(),
            kind: record.lane.kind.as_str().into(),
            urgency: urgency(record.lane.urgency).into(),
            route: self.route_of(&record.lane).map(|route| route.to_string()),
            sender: record.envelope.reverse_path.to_string(),
            from_domain: record.lane.domain.to_string(),
            reference: references.reference.as_deref().map(str::to_owned),
            campaign: references.campaign.as_deref().map(str::to_owned),
            tags: references.tags.iter().map(ToString::to_string).collect(),
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

    /// Returns the events of a message in the event log. If the log cannot be read, the message is shown without them.
    async fn history(&self, id: QueueId) -> Vec<serde_json::Value> {
        let Some(log) = self.events.log().map(std::path::Path::to_owned) else { return Vec::new() };
        let read = tokio::task::spawn_blocking(move || trace::life(&log, id, HISTORY)).await;
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
        RecipientState::Waiting { last_reply } => ("waiting", last_reply.as_ref().map(ToString::to_string)),
        RecipientState::Relayed { reply } => ("relayed", Some(reply.to_string())),
        RecipientState::Failed { reply } => ("failed", Some(reply.to_string())),
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

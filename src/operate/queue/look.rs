//! Commands that read the queue: list, show, stats.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selection::{Plan, Walk, queue_id};
use super::stopped::LaneRoute;
use super::{LaneStats, Message, MessageState, Recipient, Selection, Stats};
use crate::message::{CustomerId, Lane, QueueId, Urgency};
use crate::operate::actor::Need;
use crate::operate::nodes::{Ask, NodeAnswers};
use crate::operate::{Actor, Error, ErrorKind, Service};
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
    /// The nodes whose part is missing, because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl<T> Page<T> {
    /// A page from behind whose last item the next one goes on, if there is one.
    pub fn new(items: Vec<T>, next: Option<String>) -> Self {
        Page { items, next, missing: Vec::new() }
    }

    /// The first `most` of these items. If there are more, the next page begins after the cursor of the last one.
    pub fn of(items: impl IntoIterator<Item = T>, most: usize, cursor_of: impl FnOnce(&T) -> String) -> Self {
        let mut items = items.into_iter();
        let page: Vec<T> = items.by_ref().take(most).collect();
        let next = items.next().and(page.last()).map(cursor_of);
        Page::new(page, next)
    }
}

/// What this node owns of a list, a part at a time.
struct Pages<'a> {
    service: &'a Service,
    walk: Walk,
    now: Timestamp,
}

impl Pages<'_> {
    /// Returns the next messages, possibly none, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Message>>, Error> {
        let Some(records) = self.walk.next(self.service).await? else { return Ok(None) };
        let message = |record: &Record| {
            let waiting = record.waiting().map(|(index, _)| recipient(record, index)).take(LISTED_RECIPIENTS);
            self.service.message(record, waiting.collect(), self.now)
        };
        Ok(Some(records.iter().map(message).collect()))
    }
}

impl Service {
    /// Returns at most `limit` matching messages, oldest first, after the message `after` if it is given. The search ends after some seconds,
    /// and the page says where to continue.
    pub async fn list(
        &self,
        actor: &Actor,
        which: &Selection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Message>, Error> {
        let ask = Ask::List { which: which.clone(), after: after.map(str::to_owned), limit };
        let (own, answers) = tokio::join!(
            self.list_here(actor, which, after, limit),
            self.ask_others::<Page<Message>>(actor, ask, None)
        );
        let (parts, missing) = together(own, answers)?;
        Ok(merged(parts, limit.max(1), missing))
    }

    /// Like [`list`](Self::list), for the messages of this node only.
    pub(in crate::operate) async fn list_here(
        &self,
        actor: &Actor,
        which: &Selection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Message>, Error> {
        let (limit, began) = (limit.max(1), Instant::now());
        let plan = Plan::to_look(self, actor, which, Timestamp::now()).await?;
        let walk = Walk::of_first(plan, after.map(queue_id).transpose()?, limit + 1);
        let mut pages = Pages { service: self, walk, now: Timestamp::now() };
        let mut items: Vec<Message> = Vec::new();
        while let Some(page) = pages.next().await? {
            let room = limit - items.len();
            let over = page.len() > room;
            items.extend(page.into_iter().take(room));
            if over {
                let next = items.last().map(|message| message.id.clone());
                return Ok(Page::new(items, next));
            }
            if began.elapsed() > SEARCH && !pages.walk.has_ended() {
                return Ok(Page::new(items, pages.walk.position().map(|id| id.to_string())));
            }
        }
        Ok(Page::new(items, None))
    }

    /// Returns one message with all its recipients, its header, and its events in the event log.
    pub async fn show(&self, actor: &Actor, id: &str) -> Result<Message, Error> {
        let own = self.show_here(actor, id).await;
        if own.as_ref().map_or_else(|error| error.kind != ErrorKind::NotFound, |_| true) {
            return own;
        }
        let answers = self.ask_others::<Message>(actor, Ask::Show { id: id.to_owned() }, None).await;
        let missing = answers.all();
        match answers.parts.into_iter().next() {
            Some(message) => Ok(message),
            None => missing.and(own),
        }
    }

    /// Like [`show`](Self::show), if this node has the message.
    pub(in crate::operate) async fn show_here(&self, actor: &Actor, id: &str) -> Result<Message, Error> {
        let id = queue_id(id)?;
        let (record, header) = self.spool.show(id).await?;
        if !actor.may_see(&record.lane.customer) {
            // An actor that may not see a message does not learn that it exists.
            return Err(spool::Error::Unknown(id).into());
        }
        let all = (0..record.recipients.len()).map(|index| recipient(&record, index)).collect();
        let mut message = self.message(&record, all, Timestamp::now());
        message.header = Some(String::from_utf8_lossy(&header).into_owned());
        message.history = self.history(id).await;
        Ok(message)
    }

    /// Returns the number of messages that a command would change. Fails if not every node answers, because the number would be too low.
    pub async fn count(&self, actor: &Actor, which: &Selection) -> Result<u64, Error> {
        let ask = Ask::Count { which: which.clone() };
        let (own, answers) = tokio::join!(self.count_here(actor, which), self.ask_others::<u64>(actor, ask, None));
        answers.all()?;
        Ok(together(own, answers)?.0.into_iter().sum())
    }

    /// Like [`count`](Self::count), for the messages of this node only.
    pub(in crate::operate) async fn count_here(&self, actor: &Actor, which: &Selection) -> Result<u64, Error> {
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
        let (own, answers) = tokio::join!(self.stats_here(actor), self.ask_others::<Stats>(actor, Ask::Stats, None));
        let (parts, missing) = together(own, answers)?;
        Ok(parts.into_iter().fold(Stats { missing, ..Stats::default() }, Stats::and))
    }

    /// Like [`stats`](Self::stats), for the messages of this node only.
    pub(in crate::operate) async fn stats_here(&self, actor: &Actor) -> Result<Stats, Error> {
        actor.may(Need::Read)?;
        let now = Timestamp::now();
        let totals = self.spool.totals().await?;
        let lanes = spool::lanes_in_order(&*self.spool).await?;
        let age = |id: Option<QueueId>| id.map(|id| now.since(id.arrived()).as_secs());
        let routes = self.lane_routes();
        let mut stats = Stats {
            disk_bytes: totals.disk_bytes,
            quarantined: totals.quarantined,
            oldest_secs: age(lanes.iter().filter_map(|(_, lane)| lane.oldest).min()),
            ..Stats::default()
        };
        stats.lanes.reserve(lanes.len());
        for (lane, counts) in &lanes {
            let LaneRoute { route, stopped } = routes.of(lane);
            if stopped.is_some() {
                stats.stopped += counts.records.saturating_sub(counts.held + counts.leased);
            }
            stats.messages += counts.records;
            stats.held += counts.held;
            stats.deferred += counts.deferred;
            stats.delivering += counts.leased;
            stats.bytes += counts.bytes;
            stats.lanes.push(lane_stats(lane, counts, LaneRoute { route, stopped }, age(counts.oldest)));
        }
        Ok(stats)
    }

    /// Returns the numbers of a customer's lanes, and the nodes whose part is missing, because they did not answer.
    pub async fn lanes_of(&self, actor: &Actor, customer: &str) -> Result<(Vec<LaneStats>, Vec<String>), Error> {
        let id = CustomerId::new(customer);
        let (own, answers) =
            tokio::join!(self.lanes_here(actor, &id), self.ask_others::<Stats>(actor, Ask::Stats, None));
        let lanes = |stats: Stats| stats.lanes.into_iter().filter(|lane| lane.customer == customer).collect();
        let NodeAnswers { parts, refused, missing } = answers;
        let answers = NodeAnswers { parts: parts.into_iter().map(lanes).collect(), refused, missing };
        let (parts, missing) = together(own, answers)?;
        Ok((parts.into_iter().flatten().collect(), missing))
    }

    async fn lanes_here(&self, actor: &Actor, customer: &CustomerId) -> Result<Vec<LaneStats>, Error> {
        actor.may(Need::Read)?;
        let now = Timestamp::now();
        let lanes = spool::lanes_in_order(&*self.spool).await?;
        let lanes = lanes.iter().filter(|(lane, _)| lane.customer == *customer);
        let stats = |(lane, counts): &(Lane, spool::LaneStats)| {
            let oldest = counts.oldest.map(|id| now.since(id.arrived()).as_secs());
            lane_stats(lane, counts, self.lane_route(lane), oldest)
        };
        Ok(lanes.map(stats).collect())
    }

    fn message(&self, record: &Record, recipients: Vec<Recipient>, now: Timestamp) -> Message {
        let is_free = !record.leased && record.held.is_none();
        let LaneRoute { route, stopped } = self.lane_route(&record.lane);
        let references = &record.envelope.references;
        Message {
            id: record.id.to_string(),
            message_id: record.message_id.clone(),
            customer: record.lane.customer.to_string(),
            kind: record.lane.kind.as_str().into(),
            urgency: urgency(record.lane.urgency).into(),
            route: route.map(|route| route.to_string()),
            sender: record.envelope.reverse_path.to_string(),
            from_domain: record.lane.domain.to_string(),
            reference: references.reference.as_deref().map(str::to_owned),
            campaign: references.campaign.as_deref().map(str::to_owned),
            tags: references.tags.iter().map(ToString::to_string).collect(),
            envid: record.envelope.decoded_envid().map(Cow::into_owned),
            size: record.size,
            arrived: record.id.arrived().to_string(),
            age_secs: now.since(record.id.arrived()).as_secs(),
            state: state(record),
            held: record.held.clone(),
            stopped: stopped.filter(|_| is_free),
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

/// Joins this node's part with those of the others. Also returns the nodes that did not answer. A message that this node does not find may be
/// at another node.
pub(in crate::operate) fn together<T>(
    own: Result<T, Error>,
    answers: NodeAnswers<T>,
) -> Result<(Vec<T>, Vec<String>), Error> {
    let NodeAnswers { mut parts, refused, mut missing } = answers;
    let is_absent = |error: &Error| error.kind == ErrorKind::NotFound;
    missing.extend(refused.iter().filter(|error| !is_absent(error)).map(ToString::to_string));
    match own {
        Ok(own) => parts.insert(0, own),
        Err(error) if !is_absent(&error) || parts.is_empty() => return Err(error),
        Err(_) => {}
    }
    Ok((parts, missing))
}

/// Joins the nodes' pages into one. It ends where the page of the slowest node ends, because that node may have more messages behind it.
fn merged(parts: Vec<Page<Message>>, limit: usize, missing: Vec<String>) -> Page<Message> {
    let seen_to = parts.iter().filter_map(|part| part.next.clone()).min();
    let mut items: Vec<Message> = parts.into_iter().flat_map(|part| part.items).collect();
    // The text of an id sorts as the id does. A message that changes its owner meanwhile may be in two parts.
    items.sort_by(|one, two| one.id.cmp(&two.id));
    items.dedup_by(|one, two| one.id == two.id);
    items.retain(|message| seen_to.as_ref().is_none_or(|end| message.id <= *end));
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let next = if is_cut { items.last().map(|message| message.id.clone()) } else { seen_to };
    Page { items, next, missing }
}

impl Stats {
    /// Adds the numbers of another node. All nodes share one database, so its size counts once.
    pub(in crate::operate) fn and(mut self, other: Stats) -> Stats {
        self.messages += other.messages;
        self.held += other.held;
        self.deferred += other.deferred;
        self.stopped += other.stopped;
        self.delivering += other.delivering;
        self.bytes += other.bytes;
        self.disk_bytes = self.disk_bytes.max(other.disk_bytes);
        self.quarantined += other.quarantined;
        self.oldest_secs = self.oldest_secs.max(other.oldest_secs);
        self.lanes.extend(other.lanes);
        self
    }
}

fn lane_stats(lane: &Lane, counts: &spool::LaneStats, at: LaneRoute, oldest_secs: Option<u64>) -> LaneStats {
    LaneStats {
        customer: lane.customer.to_string(),
        domain: lane.domain.to_string(),
        urgency: urgency(lane.urgency).into(),
        kind: lane.kind.as_str().into(),
        route: at.route.map(|route| route.to_string()),
        stopped: at.stopped,
        messages: counts.records,
        held: counts.held,
        deferred: counts.deferred,
        delivering: counts.leased,
        oldest_secs: oldest_secs.unwrap_or_default(),
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

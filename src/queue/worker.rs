//! A worker holds one slot of a route and takes turns: claim, attempt, decide, apply, until nothing is due on the route.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::io::Write;
use std::sync::Arc;

use crate::bounce::header_text;
use crate::customers::Customer;
use crate::delivery::{Outcome, Trouble, Verdict};
use crate::dkim;
use crate::machine;
use crate::message::{Lane, MailKind, QueueId, References};
use crate::queue::decide::{self, Moment};
use crate::queue::inner::Inner;
use crate::queue::schedule::throttle::Taken;
use crate::route::{Route, RouteKind};
use crate::spool::{Lease, Record};
use crate::time::Timestamp;

/// How often one attempt continues after the server closed the connection at a recipient.
const MOST_AGAIN: u32 = 8;

/// One of a route's slots. Dropping it gives the slot back.
pub(super) struct Slot {
    inner: Arc<Inner>,
    route: Arc<Route>,
}

impl Slot {
    /// Wraps a slot that the caller has taken with [`enter`](super::schedule::routes::Routes::enter).
    pub(super) fn new(inner: &Arc<Inner>, route: Arc<Route>) -> Self {
        Slot { inner: Arc::clone(inner), route }
    }

    /// Takes one more slot of the same route, if one is free.
    fn another(&self) -> Option<Slot> {
        let entered = self.inner.with_routes(|routes, now| routes.enter(&self.route, now));
        entered.then(|| Slot::new(&self.inner, Arc::clone(&self.route)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.inner.with_routes(|routes, _| routes.leave(&self.route.id));
        // Lanes that found no slot must be looked at again.
        self.inner.wake.notify_one();
    }
}

/// Takes turns until nothing is due on the route, the route carries nothing now, or the queue stops.
pub(super) async fn run(slot: Slot) {
    take_turns(slot, VecDeque::new()).await;
}

/// Takes turns, beginning with leases that are already claimed.
async fn take_turns(slot: Slot, mut in_hand: VecDeque<Lease>) {
    let inner = Arc::clone(&slot.inner);
    // The leases in hand are from a turn that another worker took.
    let mut had_one = !in_hand.is_empty();
    loop {
        if inner.stop.is_cancelled() || inner.halt.left().is_some() {
            return;
        }
        let Some(lease) = in_hand.pop_front() else {
            let turn = inner.with_routes(|routes, now| routes.turn(&slot.route.id, had_one, now));
            let Some(turn) = turn else { return };
            had_one = true;
            // A look at the spool starts only one worker for each route. If each lane has one message, the slots would never fill without
            // this.
            if turn.more {
                start_another(&slot);
            }
            match claim(&slot, &turn.lane, turn.most).await {
                Some(leases) => in_hand = leases,
                None => return,
            }
            share_leases(&slot, &mut in_hand);
            continue;
        };
        match inner.parts.routing.resolve(&lease.record.lane) {
            // Resolve the route again, because a reload may have changed it since the worker began.
            Ok(route) if route.id == slot.route.id => attempt(&inner, &route, lease).await,
            // Since the claim the lane has got another route, or none.
            _ => give_back(&inner, &slot.route, lease),
        }
    }
}

/// Claims up to `most` records of a lane, if the lane still uses this route. Returns `None` if the spool cannot be read.
async fn claim(slot: &Slot, lane: &Lane, most: usize) -> Option<VecDeque<Lease>> {
    let inner = &slot.inner;
    if inner.parts.routing.resolve(lane).is_ok_and(|route| route.id == slot.route.id) {
        let backoff = &inner.settings.patience.retry.backoff;
        match inner.parts.spool.claim(lane, Timestamp::now(), most, backoff).await {
            Ok(leases) => {
                if leases.len() < most {
                    inner.with_routes(|routes, _| routes.exhausted(&slot.route.id, lane));
                    // Mail may have arrived since the claim. The next look puts the lane in line again.
                    inner.wake.notify_one();
                }
                return Some(leases.into());
            }
            Err(why) => {
                inner.halt(&why);
                return None;
            }
        }
    }
    // The lane has another route now, or none. The next look at the spool puts it in the right line.
    inner.with_routes(|routes, _| routes.exhausted(&slot.route.id, lane));
    inner.wake.notify_one();
    Some(VecDeque::new())
}

fn start_another(slot: &Slot) {
    if let Some(another) = slot.another() {
        slot.inner.tasks.spawn(run(another));
    }
}

/// Gives all claimed leases but the first to new workers, as far as slots are free.
fn share_leases(slot: &Slot, in_hand: &mut VecDeque<Lease>) {
    while in_hand.len() > 1 {
        let Some(another) = slot.another() else { return };
        let lease = in_hand.pop_back().into_iter().collect();
        slot.inner.tasks.spawn(take_turns(another, lease));
    }
}

/// Gives a lease back unchanged. The lane has no turn on this route any more; the next look at the spool puts it in the right line.
fn give_back(inner: &Inner, route: &Route, lease: Lease) {
    inner.with_routes(|routes, _| routes.exhausted(&route.id, &lease.record.lane));
    drop(lease);
    inner.wake.notify_one();
}

/// Makes one attempt for a record (one transaction or several), decides on the result and applies it.
async fn attempt(inner: &Arc<Inner>, route: &Arc<Route>, lease: Lease) {
    let counted = Timestamp::now();
    if !inner.parts.outcomes.count_leaving(&lease.record.lane, counted) {
        // The customer's mail has no route until its cap has room.
        return give_back(inner, route, lease);
    }
    let (own_waiting, began) = inner
        .with_routes(|routes, now| (routes.own_waiting(&route.id, lease.record.due, lease.record.expedited, now), now));
    let patience = &inner.settings.patience;
    let outcome = match signature_expired(inner, &lease, began) {
        None => send(inner, route, &lease).await,
        Some(why) => {
            let moment = Moment { now: began, own_waiting, clock_trusted: inner.trusts_clock() };
            // A message that is also too old is given up instead, because the sender of a held message is not informed.
            let hold = (!decide::is_given_up(&lease.record, patience, moment)).then_some(why);
            Some(Outcome { hold, ..Outcome::default() })
        }
    };
    let left = outcome.iter().flat_map(|outcome| &outcome.recipients).any(|it| it.meaning.verdict == Verdict::Relayed);
    if !left {
        inner.parts.outcomes.uncount_leaving(&lease.record.lane, counted);
    }
    // Nothing was tried, so the lease is given back unchanged.
    let Some(outcome) = outcome else { return };
    let moment = Moment { now: Timestamp::now(), own_waiting, clock_trusted: inner.trusts_clock() };
    let mut decision = decide::after_attempt(&lease.record, route, &outcome, patience, moment, machine::random());
    if lease.record.lane.kind == MailKind::Test {
        decision.add_test_reports(&lease.record, moment.now);
    }
    decision.announce_next_attempt(|| inner.with_routes(|routes, now| routes.carries_from(&route.id, now)));
    inner.apply(lease, decision).await;
}

/// Sends a record in as many transactions as its recipients and the route's caps require. Returns `None` if no transaction was made because
/// another worker used up the caps, or if the result is unknown because the queue stopped.
async fn send(inner: &Arc<Inner>, route: &Arc<Route>, lease: &Lease) -> Option<Outcome> {
    let Lease { record, bytes, .. } = lease;
    let customer = inner.parts.routing.customer(&record.lane.customer);
    let extra_header = mailjet_fields(record, customer.as_deref(), route.kind);
    let mut groups = VecDeque::from([waiting_recipients(record)]);
    let mut outcome = Outcome::default();
    let one_by_one = inner.parts.delivery.separates_recipients(route, record);
    let (mut tried, mut again, mut most) = (false, 0, if one_by_one { 1 } else { usize::MAX });
    // When the queue stops, the running transaction ends, and further ones are left to the next start. The same happens if the process was
    // frozen for so long that another node may own the message.
    while outcome.trouble.is_none() && outcome.hold.is_none() && !inner.stop.is_cancelled() && lease.stands() {
        let Some(mut group) = groups.pop_front() else { break };
        let wanted = group.len().min(most);
        let taken = inner.with_routes(|routes, now| routes.take(&route.id, wanted, now));
        if taken.recipients == 0 {
            break;
        }
        tried = true;
        groups.push_front(group.split_off(taken.recipients as usize));
        inner.parts.outcomes.counters().attempts.inc();
        let transaction = inner.parts.delivery.attempt(route, record, bytes, &group, &extra_header);
        let Some(mut part) = inner.cut.run_until_cancelled(transaction).await else {
            // The result of this transaction is unknown. The results of earlier ones are recorded.
            tried = !outcome.recipients.is_empty();
            break;
        };
        report(inner, route, record.id, &part, taken).await;
        // If the server accepts fewer recipients at once, the groups get smaller, so the loop ends.
        most = part.takes.unwrap_or(most);
        let closed_at_one = part.takes.is_none() && !part.again.is_empty() && again < MOST_AGAIN;
        again += u32::from(closed_at_one);
        if closed_at_one || part.takes.is_some() {
            let heard: HashSet<usize> = part.recipients.iter().map(|r| r.index).chain(part.again.clone()).collect();
            group.retain(|index| !heard.contains(index));
            groups.push_front(group);
            groups.push_front(std::mem::take(&mut part.again));
        }
        if closed_at_one {
            part.trouble = part.trouble.filter(|trouble| !matches!(trouble, Trouble::Doubt { .. }));
        }
        groups.retain(|group| !group.is_empty());
        outcome.add(part);
    }
    tried.then_some(outcome)
}

/// Returns why a message is held because its signatures have expired: nothing leaves unsigned, and only intake signs. Returns `None` right
/// after the clock jumped ahead. The text is the same for all messages of a kind, because the spool stores each distinct reason once.
fn signature_expired(inner: &Inner, lease: &Lease, now: Timestamp) -> Option<String> {
    dkim::expiry(&lease.bytes.prefix).filter(|at| now >= *at && inner.trusts_clock())?;
    let remedy = match lease.record.lane.kind {
        MailKind::Mail | MailKind::Test | MailKind::TestLeaving => {
            "have it sent again, and end this one with `postbud queue bounce` or `postbud queue remove`"
        }
        MailKind::Bounce => "nobody can send this notification again; end it with `postbud queue remove`",
    };
    Some(format!("its DKIM signature expired ([dkim] expires), and nothing is signed twice: {remedy}"))
}

/// Returns the recipients that still wait. Each attempt begins with another recipient, so that a server that closes the connection at one
/// recipient does not keep the others from being tried.
fn waiting_recipients(record: &Record) -> Vec<usize> {
    let mut waiting: Vec<usize> = record.waiting().map(|(index, _)| index).collect();
    if !waiting.is_empty() {
        let first = record.attempts as usize % waiting.len();
        waiting.rotate_left(first);
    }
    waiting
}

/// Tells the route about the outcome. New trouble that a person must correct raises an alert.
async fn report(inner: &Arc<Inner>, route: &Route, message: QueueId, outcome: &Outcome, taken: Taken) {
    let jitter = machine::random();
    if !inner.with_routes(|routes, now| routes.report(route, message, outcome, taken, now, jitter)) {
        return;
    }
    match &outcome.trouble {
        Some(Trouble::Suspend { cause, reason, advice }) => {
            let detail = format!("route suspended: {reason}. {advice}. What lifts it: {}", cause.lifted_by());
            inner.alert_route(&route.id, detail);
            if let Err(why) = inner.save_suspensions().await {
                let detail = format!("the suspension cannot be saved, a restart would try the login again: {why}");
                inner.alert(None, Some(&route.id), None, detail);
            }
        }
        Some(
            Trouble::BackOff { reason, advice: Some(advice), .. } | Trouble::Doubt { reason, advice: Some(advice), .. },
        ) => {
            inner.alert_route(&route.id, format!("route backs off: {reason}. {advice}"));
        }
        _ => {}
    }
}

/// Returns the unsigned header fields that are added for Mailjet: the queue id, by which Mailjet's reports are matched, names that only our
/// own fields gave, and the customer's tracking settings. They are made for the route of this attempt, because mail may have moved to
/// another route since it was accepted. Fields that the submitter set are not changed.
fn mailjet_fields(record: &Record, customer: Option<&Customer>, kind: RouteKind) -> Vec<u8> {
    let mut fields = Vec::new();
    if kind != RouteKind::Mailjet {
        return fields;
    }
    let References { reference, campaign, for_mailjet, .. } = &record.envelope.references;
    let mut add = |name: &str, value: &str| {
        write!(fields, "{name}: {value}\r\n").expect("a Vec takes every write");
    };
    if !for_mailjet.has_payload {
        add("X-MJ-EventPayload", &record.id.to_string());
    }
    for (is_added, name, value) in [
        (for_mailjet.adds_reference, "X-MJ-CustomID", reference),
        (for_mailjet.adds_campaign, "X-Mailjet-Campaign", campaign),
    ] {
        if let Some(value) = value.as_deref().filter(|_| is_added) {
            // Mailjet returns this text as it reads it, so ASCII is sent unencoded.
            add(name, &if value.is_ascii() { Cow::Borrowed(value) } else { header_text(value).into() });
        }
    }
    let (opens, clicks) = customer.map_or((None, None), |customer| (customer.track_opens, customer.track_clicks));
    for (name, choice) in [("X-Mailjet-TrackOpen", opens), ("X-Mailjet-TrackClick", clicks)] {
        if let Some(on) = choice {
            add(name, if on { "1" } else { "0" });
        }
    }
    fields
}

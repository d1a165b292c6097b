//! Random operations against the spool and against a map in memory. Both must agree after every step, after every stop, and after
//! every kill. A failed run names its seed: `POSTBUD_MODEL_SEEDS=7` runs that one, `0..100` many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use postbud::message::QueueId;
use postbud::spool::{
    Draft, Expedited, Filter, Lease, LinesById, OutboxPosition, RecipientState, Record, Settlement, Spool, all_lanes,
};
use postbud::time::Timestamp;

use crate::backend::Backend;
use crate::drafts::{draft, soon};
use crate::port::{bytes_of, claim_all, content_of, outbox};

const CUSTOMERS: [&str; 2] = ["x", "y"];
const STEPS: u64 = 150;

/// What the map knows of a message.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    seed: u64,
    size: usize,
    customer: usize,
    attempts: u32,
    states: Vec<RecipientState>,
    held: bool,
    mark: Option<Mark>,
    /// When it is due, if a settlement said so.
    due: Option<Timestamp>,
    /// It was leased since then. A kill leaves it with the due time of that lease.
    was_leased: bool,
}

/// [`Expedited`] without its time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Requested,
    Released,
}

impl Mark {
    fn of(record: &Record) -> Option<Mark> {
        record.expedited.map(|expedited| match expedited {
            Expedited::Requested => Mark::Requested,
            Expedited::Released { .. } => Mark::Released,
        })
    }
}

/// The spool under test, the map, and the leases that some attempts still have.
struct Run {
    spool: Arc<dyn Spool>,
    map: BTreeMap<QueueId, Expected>,
    in_flight: Vec<Lease>,
    told: Told,
}

/// What the outbox was given.
#[derive(Default)]
struct Told {
    /// The lines of the outbox that are not read yet.
    lines: String,
    /// How far the journal has read.
    read: Option<OutboxPosition>,
    count: u32,
    /// The lines of all customers come in one order.
    has_one_log: bool,
}

impl Told {
    /// These are the lines, each once.
    fn assert_is_told(&self, lines: &str) {
        if self.has_one_log {
            assert_eq!(lines, self.lines);
        } else {
            let sorted = |lines: &str| lines.lines().map(str::to_owned).collect::<BTreeSet<String>>();
            assert_eq!((sorted(lines), lines.len()), (sorted(&self.lines), self.lines.len()));
        }
    }

    /// Adds a line to those that the outbox was given, and returns it.
    fn tell(&mut self, what: &str) -> Vec<u8> {
        self.count += 1;
        let line = format!("{} {what}\n", self.count);
        self.lines.push_str(&line);
        line.into_bytes()
    }
}

/// Whether the spool goes on, or was opened again.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    Same,
    Next,
}

pub async fn the_spool_and_a_map_agree_after_every_step_every_stop_and_every_kill<B: Backend>() {
    for seed in seeds() {
        println!("seed {seed}");
        run::<B>(seed).await;
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(asked) = std::env::var("POSTBUD_MODEL_SEEDS") else { return 0..5 };
    let number = |text: &str| text.parse::<u64>().expect("a seed, or two with .. between them");
    match asked.split_once("..") {
        Some((first, last)) => number(first)..number(last),
        None => number(&asked)..number(&asked) + 1,
    }
}

async fn run<B: Backend>(seed: u64) {
    let place = B::new();
    let mut run = Run {
        spool: place.open(),
        map: BTreeMap::new(),
        in_flight: Vec::new(),
        told: Told { has_one_log: B::HAS_ONE_LOG, ..Told::default() },
    };
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for step in 0..STEPS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = random >> 20;
        let one = run.map.keys().nth((pick % 64) as usize % run.map.len().max(1)).copied();
        match (random >> 60, one) {
            (0..=4, _) => run.commit(step, pick).await,
            (5..=7, _) => run.attempt(pick).await,
            (8, _) => run.end_one_in_flight(pick).await,
            (9, Some(id)) => run.hold(id).await,
            (10, Some(id)) => run.release(id).await,
            (11, Some(id)) => run.expedite(Filter::one(id)).await,
            (12, _) => run.expedite(Filter::default()).await,
            (13, _) => {
                run.in_flight.clear();
                run.spool.stop().await;
                run.spool = place.open();
                compare(&*run.spool, &run.map, Life::Next, 0).await;
                run.take_over_due_times().await;
            }
            (14, _) => {
                let left = place.killed();
                let again = left.open();
                compare(&*again, &run.map, Life::Next, 0).await;
                run.told.assert_is_told(&outbox(&*again, run.told.read.clone()).await.0);
            }
            (15, _) => run.read_outbox(pick).await,
            _ => {}
        }
        compare(&*run.spool, &run.map, Life::Same, run.in_flight.len() as u64).await;
    }
}

async fn compare(spool: &dyn Spool, map: &BTreeMap<QueueId, Expected>, life: Life, leased: u64) {
    let records = spool.list(Filter::default(), 10_000).await.unwrap();
    let is_sure = |e: &Expected| !e.was_leased || life == Life::Same;
    let found: Vec<_> = records
        .iter()
        .map(|r| {
            let place = map.get(&r.id).filter(|e| is_sure(e)).map(|e| (Mark::of(r), e.due.map(|_| r.due)));
            (r.id, r.attempts, r.recipients.clone(), r.held.is_some(), place.filter(|_| !r.leased))
        })
        .collect();
    let is_leased = |id: &QueueId| records.iter().any(|r| r.id == *id && r.leased);
    let expected: Vec<_> = map
        .iter()
        .map(|(id, e)| {
            let place = (is_sure(e) && !is_leased(id)).then_some((e.mark, e.due));
            (*id, e.attempts, e.states.clone(), e.held, place)
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(spool.totals().await.unwrap().records, map.len() as u64);
    let lanes = all_lanes(spool).await.unwrap();
    let sum = |count: fn(&postbud::spool::LaneStats) -> u64| lanes.values().map(count).sum::<u64>();
    assert_eq!(sum(|lane| lane.records), map.len() as u64);
    assert_eq!(sum(|lane| lane.held), map.values().filter(|e| e.held).count() as u64);
    assert_eq!(sum(|lane| lane.deferred), map.values().filter(|e| e.attempts > 0).count() as u64);
    assert_eq!(sum(|lane| lane.leased), leased);
    for (customer, name) in CUSTOMERS.iter().enumerate() {
        let oldest = map.iter().find(|(_, e)| e.customer == customer).map(|(id, _)| *id);
        let lane = lanes.iter().find(|(lane, _)| lane.customer.as_str() == *name);
        assert_eq!(lane.and_then(|(_, stats)| stats.oldest), oldest);
    }
}

impl Run {
    async fn commit(&mut self, seed: u64, pick: u64) {
        let size = [0, 300, 5000, 40_000, 300_000][(pick % 5) as usize];
        let customer = (pick >> 4) as usize % 2;
        let to: &[&str] = if pick.is_multiple_of(2) { &["a@b.dk"] } else { &["a@b.dk", "c@d.dk", "e@b.dk"] };
        let lines = self.told.tell("accepted");
        let draft = Draft { lines, ..draft(CUSTOMERS[customer], to, seed, size) };
        let id = self.spool.commit(draft).await.unwrap().id();
        let states = vec![RecipientState::Waiting { last_reply: None }; to.len()];
        let (attempts, held, mark, due, was_leased) = (0, false, None, None, false);
        self.map.insert(id, Expected { seed, size, customer, attempts, states, held, mark, due, was_leased });
    }

    /// Claims what is due of a customer. Some attempts end at once, some are given up, one goes on.
    async fn attempt(&mut self, pick: u64) {
        let customer = CUSTOMERS[(pick % 2) as usize];
        let leases = claim_all(&*self.spool, customer).await;
        leases.iter().for_each(|lease| self.map.get_mut(&lease.record.id).unwrap().was_leased = true);
        for (i, lease) in leases.into_iter().enumerate().take(4) {
            let expected = self.map.get_mut(&lease.record.id).unwrap();
            assert!(!expected.held);
            assert_eq!(lease.record.recipients, expected.states);
            assert_eq!(bytes_of(&lease).await, content_of(expected.seed, expected.size));
            match (pick >> (8 + i)) % 5 {
                0 => drop(lease),
                1 if self.in_flight.len() < 3 => self.in_flight.push(lease),
                _ => self.settle(lease, pick >> i).await,
            }
        }
    }

    async fn end_one_in_flight(&mut self, pick: u64) {
        if !self.in_flight.is_empty() {
            let lease = self.in_flight.remove(pick as usize % self.in_flight.len());
            self.settle(lease, pick).await;
        }
    }

    async fn settle(&mut self, lease: Lease, pick: u64) {
        let id = lease.record.id;
        let expected = self.map.get_mut(&id).unwrap();
        let reply = format!("{pick} heard");
        let mut results = Vec::new();
        for (at, state) in expected.states.iter_mut().enumerate().filter(|(_, state)| state.is_waiting()) {
            let new = match (pick >> at) % 4 {
                0 => RecipientState::Waiting { last_reply: Some(reply.clone().into()) },
                1 => RecipientState::Failed { reply: reply.clone().into() },
                2 => RecipientState::Relayed { reply: reply.clone().into() },
                _ => continue,
            };
            *state = new.clone();
            results.push((at, new));
        }
        let hold = (pick >> 16).is_multiple_of(7).then(|| "held by the queue".to_owned());
        let due = match pick % 3 {
            0 => Some(Timestamp::from_millis(1_000)),
            1 => Some(soon() + Duration::from_secs(900)),
            // It keeps its place in line.
            _ => None,
        };
        expected.attempts += 1;
        expected.was_leased = false;
        expected.held |= hold.is_some();
        expected.due = Some(due.unwrap_or(lease.record.due));
        expected.mark = if due.is_some() { None } else { Mark::of(&lease.record) };
        if !expected.states.iter().any(RecipientState::is_waiting) {
            self.map.remove(&id);
        }
        let waited_for_caps = Duration::from_millis(pick % 100);
        let lines = self.told.tell("settled");
        let settlement = Settlement { results, due, counts: true, waited_for_caps, delay_notified: false, hold, lines };
        self.spool.settle(lease, settlement).await.unwrap();
    }

    /// Learns what a lease left of the due times before a stop.
    async fn take_over_due_times(&mut self) {
        for record in self.spool.list(Filter::default(), 10_000).await.unwrap() {
            let expected = self.map.get_mut(&record.id).unwrap();
            if std::mem::take(&mut expected.was_leased) {
                // A message that was never tried is due at once after a stop, and later after a kill.
                let is_later = record.due > Timestamp::now();
                let was_tried = is_later || record.attempts > 0 || record.expedited.is_some();
                (expected.mark, expected.due) = (Mark::of(&record), was_tried.then_some(record.due));
            }
        }
    }

    /// The journal reads, and now and then it has what it read on disk.
    async fn read_outbox(&mut self, pick: u64) {
        self.spool.sync().await.unwrap();
        let (lines, position) = outbox(&*self.spool, self.told.read.clone()).await;
        self.told.assert_is_told(&lines);
        if pick.is_multiple_of(2) {
            self.spool.confirm(position.clone());
            (self.told.lines, self.told.read) = (String::new(), Some(position));
        }
    }

    fn is_in_flight(&self, id: QueueId) -> bool {
        self.in_flight.iter().any(|lease| lease.record.id == id)
    }

    async fn hold(&mut self, id: QueueId) {
        let expected = self.map.get_mut(&id).unwrap();
        // One that is held already does not change.
        let line = if expected.held { b"held already\n".to_vec() } else { self.told.tell("held") };
        expected.held = true;
        let lines = LinesById::from([(id, line)]);
        self.spool.hold(Filter::one(id), "held by hand".into(), lines).await.unwrap();
    }

    async fn release(&mut self, id: QueueId) {
        if self.is_in_flight(id) {
            return;
        }
        let expected = self.map.get_mut(&id).unwrap();
        let mut lines = LinesById::new();
        if std::mem::take(&mut expected.held) {
            (expected.mark, expected.due, expected.was_leased) = (Some(Mark::Released), None, false);
            lines.insert(id, self.told.tell("released"));
        }
        self.spool.release(Filter::one(id), lines).await.unwrap();
    }

    async fn expedite(&mut self, filter: Filter) {
        let ids = filter.ids.clone();
        self.spool.expedite(filter).await.unwrap();
        let now = Timestamp::now();
        for id in self.map.keys().copied().collect::<Vec<_>>() {
            let is_meant = ids.as_ref().is_none_or(|ids| ids.contains(&id)) && !self.is_in_flight(id);
            let expected = self.map.get_mut(&id).unwrap();
            if is_meant && !expected.held {
                // The change that is written has the present due time, whatever a lease left.
                expected.was_leased = false;
                if expected.due.is_some_and(|due| due > now) {
                    (expected.mark, expected.due) = (Some(Mark::Requested), None);
                }
            }
        }
    }
}

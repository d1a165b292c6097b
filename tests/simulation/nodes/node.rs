//! A process of a node: the relay's spool in PostgreSQL, and in place of submission and of the queue as little as hands messages in and
//! delivers them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LEASE;
use super::book::Book;
use super::database::Database;
use super::faults::Fault;
use super::world::{NODES, SHARDS};
use crate::machine;
use crate::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, Recipient, References, ReplyText, Urgency};
use crate::postgres::Server;
use crate::simulation::machine::Clock;
use crate::smtp::{Mailbox, ReversePath};
use crate::spool::postgres::{Postgres, Settings};
use crate::spool::{Backoff, Commit, Draft, Lease, Notices, RecipientState, Settled, Settlement, Spool, Work};
use crate::time::Timestamp;

/// When the second attempt is due.
const RETRY: Duration = Duration::from_secs(5);
/// How long delivery halts after mail could not be read.
const HALT: Duration = Duration::from_secs(1);
/// How often a message is put off at most.
const PUT_OFF: u32 = 2;
/// How long attempts may go on at a stop.
const GRACE: Duration = Duration::from_secs(6);

/// How a process ended: in good order, or why not.
pub type Ended = Result<(), String>;

/// What a process works with.
#[derive(Clone)]
pub struct Surroundings {
    pub number: usize,
    pub book: Arc<Book>,
    pub clock: Arc<Clock>,
    pub database: Arc<Database>,
    pub fault: Option<Fault>,
}

/// The settings of a node's spool.
fn settings(number: usize) -> Settings {
    Settings {
        server: Server {
            hosts: vec!["simulated".into()],
            node: format!("node{number}"),
            lease: LEASE,
            timeout: Duration::from_secs(2),
            ..Server::default()
        },
        nodes: NODES as u32,
        shards: SHARDS,
        segment_size: 12 << 10,
        notices: Notices::to(|_| {}),
        ..Settings::default()
    }
}

/// Runs until the process is stopped, or its spool gives up. Messages of the customers that come in are handed in.
pub async fn live(all: Surroundings, mut handed_in: UnboundedReceiver<u32>, stop: CancellationToken) -> Ended {
    let (spool, ended) = match Postgres::open_here(settings(all.number)).await {
        Ok(opened) => opened,
        Err(why) => return Err(format!("the spool was not opened: {why}")),
    };
    all.book.note(all.clock.now(), &format!("node{} runs", all.number));
    let (attempts, no_more) = (TaskTracker::new(), CancellationToken::new());
    let delivering = tokio::spawn(deliver(all.clone(), Arc::clone(&spool), attempts.clone(), no_more.clone()));
    let mut health = spool.health();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = health.changed() => {
                if let Some(why) = health.borrow().stopped.clone() {
                    return Err(format!("the spool gave up: {why}"));
                }
            }
            Some(customer) = handed_in.recv() => drop(tokio::spawn(hand_in(all.clone(), Arc::clone(&spool), customer))),
        }
    }
    no_more.cancel();
    let _ = delivering.await;
    attempts.close();
    let _ = tokio::time::timeout(GRACE, attempts.wait()).await;
    spool.stop_here();
    let _ = ended.await;
    Ok(())
}

/// Hands a message in, as submission does.
async fn hand_in(all: Surroundings, spool: Arc<Postgres>, customer: u32) {
    let id = spool.next_id();
    let mailbox = |text: &str| Mailbox::parse(text).expect("it is an address");
    let lane = Lane {
        customer: CustomerId::new(&format!("c{customer}")),
        domain: crate::test_customers::domain("test.dk"),
        urgency: Urgency::Single,
        kind: MailKind::Mail,
    };
    let header = format!("Subject: {id}\r\n").into_bytes();
    let draft = Draft {
        id,
        lane,
        envelope: Envelope {
            reverse_path: ReversePath::Mailbox(mailbox("sender@test.dk")),
            recipients: vec![Recipient::new(mailbox("b@example.net"))],
            body: BodyKind::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            references: References::default(),
        },
        message_id: format!("{id}@test.dk"),
        prefix: Vec::new(),
        header_len: header.len() as u32,
        content: vec![header.into(), b"\r\nA letter.\r\n".to_vec().into()],
        retry_at: Timestamp::now() + RETRY,
        held: None,
        lines: Vec::new(),
    };
    all.book.note(all.clock.now(), &format!("{id} of c{customer} is handed in at node{}", all.number));
    let heard = spool.commit(draft).await;
    let now = all.clock.now();
    match heard {
        Ok(durable) => {
            all.book.note(now, &format!("{id} is acknowledged"));
            all.book.facts().acknowledged.insert(durable.id(), now);
        }
        Err(why) => all.book.note(now, &format!("{id} is refused: {why}")),
    }
}

/// Delivers what is due, as the queue does.
async fn deliver(all: Surroundings, spool: Arc<Postgres>, attempts: TaskTracker, no_more: CancellationToken) {
    let (changed, backoff) = (spool.changed(), Backoff { first: RETRY, factor: 1.0, longest: RETRY });
    while !no_more.is_cancelled() {
        let now = Timestamp::now();
        let due = spool.due(now, None, 100).await.unwrap_or_default();
        for lane in due.lanes {
            match spool.claim(&lane.lane, now, 3, &backoff).await {
                Ok(leases) => leases.into_iter().for_each(|lease| {
                    drop(attempts.spawn(attempt(all.clone(), Arc::clone(&spool), lease)));
                }),
                Err(_) => tokio::time::sleep(HALT).await,
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(200), changed.notified()).await;
    }
}

fn moment(most: u64) -> Duration {
    Duration::from_millis(machine::random::<u64>() % most)
}

async fn attempt(all: Surroundings, spool: Arc<Postgres>, lease: Lease) {
    // The way to a server takes a while, in which a lease may end.
    tokio::time::sleep(moment(3_000)).await;
    let (id, shard) = (lease.record.id, crc32fast::hash(lease.record.lane.customer.as_str().as_bytes()) % SHARDS);
    if !lease.stands() && all.fault != Some(Fault::IgnoresLease) {
        return;
    }
    let begun = all.clock.now();
    let owner = all.database.server().owner(shard).to_owned();
    all.book.begins(begun, id, all.number, &owner);
    tokio::time::sleep(Duration::from_millis(20) + moment(2_000)).await;
    let is_taken = !machine::random::<u64>().is_multiple_of(4) || all.book.puts_off(id) >= PUT_OFF;
    let reply = ReplyText::new(if is_taken { "250 2.0.0 taken" } else { "451 4.2.0 later" }, None);
    let taken = is_taken.then(|| all.book.takes(all.clock.now(), id, all.number, begun));
    let (state, due) = match is_taken {
        true => (RecipientState::Relayed { reply }, None),
        false => (RecipientState::Waiting { last_reply: Some(reply) }, Some(Timestamp::now() + RETRY)),
    };
    if all.fault == Some(Fault::LosesResult) && is_taken {
        drop(lease);
        return all.book.recorded(all.clock.now(), taken.expect("it is taken"));
    }
    let settlement = Settlement { results: vec![(0, state)], due, counts: true, ..Settlement::default() };
    let settled = spool.settle(lease, settlement).await;
    if let (Some(number), Ok(Settled::Written)) = (taken, settled) {
        all.book.recorded(all.clock.now(), number);
    }
}

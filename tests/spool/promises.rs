//! What the port promises, in good times.

use std::sync::Arc;
use std::time::Duration;

use postbud::message::Lane;
use postbud::spool::embedded::{Embedded, OpenError, Settings};
use postbud::spool::{
    self, Commit, Draft, Error, Expedited, Filter, Inspect, Intervene, LaneStats, Lease, RecipientState, Settlement,
    Spool, Work,
};
use postbud::time::Timestamp;

use crate::drafts::{backoff, content, draft, lane, soon};

pub fn settings(dir: &std::path::Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        min_free: 0,
        min_free_inodes: 0,
        segment_size: 1 << 20,
        settle_delay: Duration::from_millis(5),
        guard_interval: Duration::from_millis(100),
        ..Settings::default()
    }
}

pub fn open(dir: &std::path::Path) -> Arc<Embedded> {
    Embedded::open(settings(dir)).unwrap()
}

/// The lanes with due mail, and when the next of the others is due.
pub async fn due(spool: &dyn Spool, now: Timestamp) -> (Vec<Lane>, Option<Timestamp>) {
    let page = spool.due(now, None, 1000).await.unwrap();
    (page.lanes.into_iter().map(|due| due.lane).collect(), page.next_due)
}

/// The counts of a customer's lane.
pub async fn stats_of(spool: &dyn Spool, customer: &str) -> LaneStats {
    spool::all_lanes(spool).await.unwrap().get(&lane(customer)).copied().unwrap_or_default()
}

pub async fn claim_all(spool: &dyn Spool, customer: &str) -> Vec<Lease> {
    spool.claim(&lane(customer), soon(), 1000, &backoff()).await.unwrap()
}

pub fn delivered(lease: &Lease) -> Settlement {
    settlement(lease, RecipientState::Delivered { reply: "250 ok".into() }, Timestamp::NEVER)
}

pub fn settlement(lease: &Lease, state: RecipientState, due: Timestamp) -> Settlement {
    Settlement {
        results: (0..lease.record.recipients.len()).map(|i| (i, state.clone())).collect(),
        due: Some(due),
        counts: true,
        ..Settlement::default()
    }
}

pub async fn bytes_of(lease: &Lease) -> Vec<u8> {
    let mut all = Vec::new();
    for i in 0..lease.bytes.chunks() {
        let chunk = lease.bytes.chunk(i).await.unwrap();
        assert!(chunk.len() <= 256 << 10);
        all.extend_from_slice(&chunk);
    }
    all
}

#[tokio::test]
async fn what_was_committed_is_claimed_byte_for_byte_and_gone_once_settled() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for (seed, size) in [(1, 0), (2, 10_000), (3, 300_000), (4, 3_000_000), (5, 262_144)] {
        let id = spool.commit(draft("x", &["a@b.dk"], seed, size)).await.unwrap().id();
        let mut leases = claim_all(&*spool, "x").await;
        assert_eq!(leases.len(), 1);
        let lease = leases.pop().unwrap();
        let (header, body) = content(seed, size);
        assert_eq!(lease.record.id, id);
        assert_eq!(lease.bytes.header_len as usize, header.len());
        assert_eq!(bytes_of(&lease).await, [header, body].concat(), "{size}");
        assert_eq!(lease.bytes.prefix, format!("X-Seed: {seed}\r\n").into_bytes());
        assert_eq!(lease.record.size, lease.bytes.content_len + lease.bytes.prefix.len() as u64);
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
        assert!(claim_all(&*spool, "x").await.is_empty());
        assert!(matches!(spool.show(id).await, Err(Error::Unknown(_))));
    }
    spool.stop().await;
    let spool = open(dir.path());
    assert!(spool.lanes(None, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restart_keeps_waiting_messages_with_their_state() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let first = spool.commit(draft("x", &["a@b.dk", "c@d.dk"], 1, 5000)).await.unwrap().id();
    let second = spool.commit(draft("x", &["a@b.dk"], 2, 5000)).await.unwrap().id();
    let mut leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.iter().map(|l| l.record.id).collect::<Vec<_>>(), [first, second]);
    let lease = leases.remove(0);
    let later = soon() + Duration::from_secs(5);
    let partial = Settlement {
        results: vec![
            (0, RecipientState::Delivered { reply: "250 done".into() }),
            (1, RecipientState::Waiting { last_reply: Some("451 later".into()) }),
        ],
        due: Some(later),
        counts: true,
        waited_for_caps: Duration::from_secs(3),
        delay_notified: true,
        hold: None,
    };
    spool.settle(lease, partial).await.unwrap();
    // Before the write reaches the disk, and after.
    for _ in 0..2 {
        let (record, header) = spool.show(first).await.unwrap();
        assert_eq!(record.attempts, 1);
        assert_eq!(record.due, later);
        assert_eq!(record.recipients[0], RecipientState::Delivered { reply: "250 done".into() });
        assert_eq!(record.recipients[1], RecipientState::Waiting { last_reply: Some("451 later".into()) });
        assert_eq!(record.waited_for_caps, Duration::from_secs(3));
        assert!(record.delay_notified && !record.leased);
        assert_eq!(header, b"X-Seed: 1\r\nSubject: 1\r\nFrom: a@test.dk\r\n");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(leases);
    spool.stop().await;
    drop(spool);

    let spool = open(dir.path());
    let (record, _) = spool.show(first).await.unwrap();
    assert_eq!((record.attempts, record.due, record.delay_notified), (1, later, true));
    assert_eq!(record.recipients[0], RecipientState::Delivered { reply: "250 done".into() });
    // Stopped in good order: what was never tried need not wait for its second attempt's time.
    let leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.iter().map(|l| l.record.id).collect::<Vec<_>>(), [second]);
    assert_eq!(bytes_of(&leases[0]).await, <[Vec<u8>; 2]>::from(content(2, 5000)).concat());
    drop(leases);
    let leases = spool.claim(&lane("x"), later, 10, &backoff()).await.unwrap();
    assert_eq!(leases.len(), 2);
}

#[tokio::test]
async fn a_dropped_lease_comes_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    for _ in 0..3 {
        let leases = claim_all(&*spool, "x").await;
        assert_eq!(leases.len(), 1);
        assert!(claim_all(&*spool, "x").await.is_empty());
        assert_eq!(due(&*spool, soon()).await, (vec![], None));
        drop(leases);
        assert_eq!(due(&*spool, soon()).await.0, [lane("x")]);
    }
}

#[tokio::test]
async fn operators_hold_release_expedite_and_seize() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let a = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let b = spool.commit(draft("y", &["a@other.dk"], 2, 100)).await.unwrap().id();
    let domain = Filter { recipient_domain: Some("b.dk".parse_domain()), ..Filter::default() };
    assert_eq!(spool.hold(domain.clone(), "odd".into()).await.unwrap(), 1);
    assert_eq!(spool.hold(domain, "odd".into()).await.unwrap(), 0);
    assert!(claim_all(&*spool, "x").await.is_empty());
    let held = spool.list(Filter { held: Some(true), ..Filter::default() }, 10).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].id, held[0].held.as_deref()), (a, Some("odd")));
    spool.stop().await;
    drop(spool);

    let spool = open(dir.path());
    assert_eq!(stats_of(&*spool, "x").await.held, 1);
    let seized = spool.seize(Filter::one(a), 5).await.unwrap();
    assert_eq!(seized.len(), 1);
    drop(seized);
    assert_eq!(spool.release(Filter::default()).await.unwrap(), 1);
    let lease = claim_all(&*spool, "x").await.pop().unwrap();
    let late = soon() + Duration::from_secs(1000);
    let deferred = settlement(&lease, RecipientState::Waiting { last_reply: None }, late);
    // Held while it is attempted: held when it comes back.
    assert_eq!(spool.hold(Filter::one(a), "wait".into()).await.unwrap(), 1);
    spool.settle(lease, deferred).await.unwrap();
    assert_eq!(spool.show(a).await.unwrap().0.held.as_deref(), Some("wait"));
    assert_eq!(spool.expedite(Filter::default()).await.unwrap(), 1);
    assert_eq!(spool.release(Filter::one(a)).await.unwrap(), 1);
    assert_eq!(due(&*spool, soon()).await.0, [lane("x"), lane("y")]);
    assert_eq!(spool.list(Filter::default(), 1).await.unwrap()[0].id, a);
    assert_eq!(stats_of(&*spool, "y").await.oldest, Some(b));
}

#[tokio::test]
async fn what_is_made_due_at_once_was_not_kept_back_and_what_is_released_was() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let due_already = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let before = spool.show(due_already).await.unwrap().0.due;
    let _ = spool.commit(draft("y", &["a@b.dk"], 2, 100)).await.unwrap();
    let lease = claim_all(&*spool, "y").await.pop().unwrap();
    let (id, late) = (lease.record.id, soon() + Duration::from_secs(1000));
    let later = settlement(&lease, RecipientState::Waiting { last_reply: None }, late);
    spool.settle(lease, later).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(spool.expedite(Filter::default()).await.unwrap(), 2);
    let shown = async |id| spool.show(id).await.unwrap().0;
    let kept = shown(due_already).await;
    assert_eq!((kept.due, kept.expedited), (before, None), "the queue says what it has waited for since");
    let requested = shown(id).await;
    assert_eq!(requested.expedited, Some(Expedited::Requested));
    assert!(requested.due <= Timestamp::now() && !requested.is_released());
    spool.hold(Filter::one(id), "why".into()).await.unwrap();
    spool.release(Filter::one(id)).await.unwrap();
    assert!(shown(id).await.is_released());
    spool.stop().await;
    drop(spool);
    let spool = open(dir.path());
    assert!(spool.show(id).await.unwrap().0.is_released(), "a restart does not forget it");
    let lease = claim_all(&*spool, "y").await.pop().unwrap();
    assert!(lease.record.is_released());
    let unchanged = Settlement { delay_notified: true, ..Settlement::default() };
    spool.settle(lease, unchanged).await.unwrap();
    let lease = claim_all(&*spool, "y").await.pop().expect("it kept its place in line");
    assert!(lease.record.is_released() && lease.record.delay_notified);
    let later = settlement(&lease, RecipientState::Waiting { last_reply: None }, late);
    spool.settle(lease, later).await.unwrap();
    let tried = spool.show(id).await.unwrap().0;
    assert_eq!((tried.due, tried.expedited), (late, None), "the mark ends with the attempt");
}

#[tokio::test]
async fn two_processes_cannot_have_one_spool() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let pid = std::process::id().to_string();
    let second = Embedded::open(settings(dir.path()));
    assert!(matches!(second, Err(OpenError::InUse { pid: found, .. }) if found == pid));
    spool.stop().await;
    let again = open(dir.path());
    assert!(matches!(spool.commit(draft("x", &["a@b.dk"], 1, 1)).await, Err(Error::Stopped(_))));
    drop(again);
}

trait ParseDomain {
    fn parse_domain(&self) -> postbud::smtp::Domain;
}

impl ParseDomain for str {
    fn parse_domain(&self) -> postbud::smtp::Domain {
        postbud::smtp::Domain::parse(self).unwrap()
    }
}

#[tokio::test]
async fn a_lease_that_a_panic_dropped_does_not_come_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    drop(claim_all(&*spool, "x").await);
    let leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.len(), 1, "one that was merely dropped is due again");
    let attempt = tokio::spawn(async move {
        let _leases = leases;
        panic!("as an attempt might");
    });
    assert!(attempt.await.unwrap_err().is_panic());
    assert!(claim_all(&*spool, "x").await.is_empty());
    let (_, next) = due(&*spool, Timestamp::now()).await;
    assert!(next.is_some_and(|at| at > Timestamp::now() + Duration::from_secs(200)));
}

#[tokio::test]
async fn a_search_by_age_finds_what_is_older_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let mut ids = Vec::new();
    for seed in 0..3 {
        ids.push(spool.commit(draft("x", &["a@b.dk"], seed, 100)).await.unwrap().id());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let old = Filter { arrived_before: Some(ids[2].arrived()), ..Filter::default() };
    let found: Vec<_> = spool.list(old, 10).await.unwrap().iter().map(|record| record.id).collect();
    assert_eq!(found, ids[..2]);
}

#[tokio::test]
async fn an_id_that_waits_already_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let id = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let again = Draft { id, ..draft("x", &["a@b.dk"], 2, 100) };
    assert!(matches!(spool.commit(again).await, Err(Error::Io { .. })));
    assert_eq!(claim_all(&*spool, "x").await.len(), 1);
}

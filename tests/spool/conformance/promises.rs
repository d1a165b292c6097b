//! The promises of `postbud::spool`, one by one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postbud::spool::{
    Backoff, Draft, Error, Expedited, Filter, Health, LinesById, RecipientState, Settled, Settlement,
};
use postbud::time::Timestamp;

use crate::backend::Backend;
use crate::drafts::{backoff, draft, lane, soon};
use crate::port::{bytes_of, claim_all, content_of, deferred, delivered, domain, due, stats_of};

pub async fn what_was_committed_is_claimed_byte_for_byte_and_gone_once_settled<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    for (seed, size) in [(1, 0), (2, 10_000), (3, 300_000), (4, 3_000_000), (5, 262_144)] {
        let committed = draft("x", &["a@b.dk"], seed, size);
        let header_len = committed.header_len;
        let id = spool.commit(committed).await.unwrap().id();
        let mut leases = claim_all(&*spool, "x").await;
        assert_eq!(leases.len(), 1);
        let lease = leases.pop().unwrap();
        assert_eq!(lease.record.id, id);
        assert_eq!(lease.bytes.header_len, header_len);
        assert_eq!(bytes_of(&lease).await, content_of(seed, size), "{size}");
        assert_eq!(lease.bytes.prefix, format!("X-Seed: {seed}\r\n").into_bytes());
        assert_eq!(lease.record.size, lease.bytes.content_len + lease.bytes.prefix.len() as u64);
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
        assert!(claim_all(&*spool, "x").await.is_empty());
        assert!(matches!(spool.show(id).await, Err(Error::Unknown(_))));
    }
    spool.stop().await;
    drop(spool);
    assert!(place.open().lanes(None, 1).await.unwrap().is_empty());
}

pub async fn a_commit_finishes_although_nobody_waits_for_it<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    drop(spool.commit(draft("x", &["a@b.dk"], 1, 100)));
    spool.sync().await.unwrap();
    assert_eq!(spool.totals().await.unwrap().records, 1);
}

pub async fn an_id_that_waits_already_is_refused<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let id = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let again = Draft { id, ..draft("x", &["a@b.dk"], 2, 100) };
    assert!(matches!(spool.commit(again).await, Err(Error::Io { .. })));
    assert_eq!(claim_all(&*spool, "x").await.len(), 1);
}

pub async fn ids_go_up_also_after_a_restart<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let ids: Vec<_> = (0..100).map(|_| spool.next_id()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    // From a clock that was a minute ahead and was set back.
    let ahead = postbud::message::QueueId::first_at(Timestamp::now() + Duration::from_secs(60));
    let _ = spool.commit(Draft { id: ahead, ..draft("x", &["a@b.dk"], 1, 100) }).await.unwrap();
    spool.stop().await;
    drop(spool);
    assert!(place.open().next_id() > ahead);
}

pub async fn what_was_acknowledged_survives_a_kill<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let id = spool.commit(draft("x", &["a@b.dk", "c@d.dk"], 1, 300_000)).await.unwrap().id();
    let left = place.killed();
    let again = left.open();
    let lease = again.seize(Filter::default(), 10).await.unwrap().pop().unwrap();
    assert_eq!((lease.record.id, lease.record.recipients.len()), (id, 2));
    assert_eq!(bytes_of(&lease).await, content_of(1, 300_000));
}

pub async fn a_restart_keeps_waiting_messages_with_their_state<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let first = spool.commit(draft("x", &["a@b.dk", "c@d.dk"], 1, 5000)).await.unwrap().id();
    let second = spool.commit(draft("x", &["a@b.dk"], 2, 5000)).await.unwrap().id();
    let mut leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.iter().map(|l| l.record.id).collect::<Vec<_>>(), [first, second]);
    let lease = leases.remove(0);
    let later = soon() + Duration::from_secs(5);
    let states = [
        RecipientState::Relayed { reply: "250 done".into() },
        RecipientState::Waiting { last_reply: Some("451 later".into()) },
    ];
    let partial = Settlement {
        results: states.iter().cloned().enumerate().collect(),
        due: Some(later),
        counts: true,
        waited_for_caps: Duration::from_secs(3),
        delay_notified: true,
        hold: None,
        lines: Vec::new(),
    };
    spool.settle(lease, partial).await.unwrap();
    // Before the state is synced, and after.
    for _ in 0..2 {
        let (record, header) = spool.show(first).await.unwrap();
        assert_eq!((record.attempts, record.due), (1, later));
        assert_eq!(record.recipients, states);
        assert_eq!(record.waited_for_caps, Duration::from_secs(3));
        assert!(record.delay_notified && !record.leased);
        assert_eq!(header, b"X-Seed: 1\r\nSubject: 1\r\nFrom: a@test.dk\r\n");
        spool.sync().await.unwrap();
    }
    drop(leases);
    spool.stop().await;
    drop(spool);

    let spool = place.open();
    let (record, _) = spool.show(first).await.unwrap();
    assert_eq!((record.attempts, record.due, record.delay_notified), (1, later, true));
    assert_eq!(record.recipients, states);
    // Stopped in good order: what was never tried need not wait for its second attempt's time.
    let leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.iter().map(|l| l.record.id).collect::<Vec<_>>(), [second]);
    assert_eq!(bytes_of(&leases[0]).await, content_of(2, 5000));
    drop(leases);
    assert_eq!(spool.claim(&lane("x"), later, 10, &backoff()).await.unwrap().len(), 2);
}

pub async fn a_result_that_was_told_survives_a_kill<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    for seed in 0..60 {
        let _ = spool.commit(draft("x", &["a@b.dk", "c@d.dk"], seed, 2000)).await.unwrap();
    }
    let late = soon() + Duration::from_secs(1000);
    let mut expected = Vec::new();
    for (i, lease) in claim_all(&*spool, "x").await.into_iter().enumerate() {
        let id = lease.record.id;
        // Some are settled, some deferred in part; the rest is in flight.
        let settlement = match i % 3 {
            0 => delivered(&lease),
            1 => Settlement {
                results: vec![(1, RecipientState::Failed { reply: "550 no".into() })],
                ..deferred(&lease, late)
            },
            _ => {
                expected.push((id, 0, 2));
                std::mem::forget(lease);
                continue;
            }
        };
        assert!(matches!(spool.settle(lease, settlement).await, Ok(Settled::Written)));
        if i % 3 == 1 {
            expected.push((id, 1, 1));
        }
    }
    // Nothing is synced for the sake of these results.
    let left = place.killed();
    let records = left.open().list(Filter::default(), 100).await.unwrap();
    let found: Vec<_> = records.iter().map(|r| (r.id, r.attempts, r.waiting().count())).collect();
    assert_eq!(found, expected);
}

pub async fn after_a_kill_an_untried_message_waits_for_the_time_of_its_second_attempt<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let committed = draft("x", &["a@b.dk"], 1, 100);
    let second_attempt = committed.retry_at;
    let _ = spool.commit(committed).await.unwrap();
    let left = place.killed();
    let again = left.open();
    assert!(claim_all(&*again, "x").await.is_empty(), "its first attempt may be under way");
    assert_eq!(due(&*again, soon()).await, (vec![], Some(second_attempt)));
    assert_eq!(again.claim(&lane("x"), second_attempt, 10, &backoff()).await.unwrap().len(), 1);
}

pub async fn a_message_that_was_tried_is_due_later_before_it_is_handed_out_again<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    let lease = claim_all(&*spool, "x").await.pop().unwrap();
    let now = Timestamp::now();
    let again = deferred(&lease, now);
    spool.settle(lease, again).await.unwrap();
    let pause = Duration::from_secs(100);
    let second = Backoff { first: pause, factor: 1.0, longest: pause };
    let lease = spool.claim(&lane("x"), now, 10, &second).await.unwrap().pop().unwrap();
    assert_eq!((lease.record.due, lease.record.attempts), (now, 1), "the lease says when it was due");
    let left = place.killed();
    let record = left.open().list(Filter::default(), 10).await.unwrap().pop().unwrap();
    assert!((now + pause.mul_f64(0.8)..=now + pause.mul_f64(1.2)).contains(&record.due), "{} {}", record.due, now);
}

pub async fn a_dropped_lease_comes_back_at_once<B: Backend>() {
    let place = B::new();
    let spool = place.open();
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

pub async fn a_lease_that_a_panic_dropped_does_not_come_back_at_once<B: Backend>() {
    let place = B::new();
    let spool = place.open();
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

pub async fn a_message_is_leased_to_one_caller_at_a_time<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    for seed in 0..40 {
        let _ = spool.commit(draft("x", &["a@b.dk"], seed, 100)).await.unwrap();
    }
    let callers = (0..8).map(|caller| {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move {
            match caller % 2 {
                0 => spool.claim(&lane("x"), soon(), 10, &backoff()).await.unwrap(),
                _ => spool.seize(Filter::default(), 10).await.unwrap(),
            }
        })
    });
    let mut leases = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        leases.extend(caller.await.unwrap());
    }
    let ids: BTreeSet<_> = leases.iter().map(|lease| lease.record.id).collect();
    assert_eq!((ids.len(), leases.len()), (40, 40));
    assert_eq!(stats_of(&*spool, "x").await.leased, 40);
}

pub async fn expedited_messages_come_first_then_those_due_longest<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let mut ids = Vec::new();
    for seed in 0..4 {
        ids.push(spool.commit(draft("x", &["a@b.dk"], seed, 100)).await.unwrap().id());
    }
    let now = Timestamp::now();
    let later = [Duration::from_secs(30), Duration::from_secs(10), Duration::from_secs(2000), Duration::from_secs(20)];
    for (lease, later) in claim_all(&*spool, "x").await.into_iter().zip(later) {
        let settlement = deferred(&lease, now + later);
        spool.settle(lease, settlement).await.unwrap();
    }
    spool.expedite(Filter::one(ids[2])).await.unwrap();
    let claimed = spool.claim(&lane("x"), now + Duration::from_secs(60), 10, &backoff()).await.unwrap();
    let order: Vec<_> = claimed.iter().map(|lease| lease.record.id).collect();
    assert_eq!(order, [ids[2], ids[1], ids[3], ids[0]]);
}

pub async fn operators_hold_release_expedite_and_seize<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let a = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let b = spool.commit(draft("y", &["a@other.dk"], 2, 100)).await.unwrap().id();
    let in_domain = Filter { recipient_domain: Some(domain("b.dk")), ..Filter::default() };
    assert_eq!(spool.hold(in_domain.clone(), "odd".into(), LinesById::new()).await.unwrap(), 1);
    assert_eq!(spool.hold(in_domain, "odd".into(), LinesById::new()).await.unwrap(), 0);
    assert!(claim_all(&*spool, "x").await.is_empty());
    let held = spool.list(Filter { held: Some(true), ..Filter::default() }, 10).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].id, held[0].held.as_deref()), (a, Some("odd")));
    spool.stop().await;
    drop(spool);

    let spool = place.open();
    assert_eq!(stats_of(&*spool, "x").await.held, 1);
    let seized = spool.seize(Filter::one(a), 5).await.unwrap();
    assert_eq!(seized.len(), 1);
    drop(seized);
    assert_eq!(spool.release(Filter::default(), LinesById::new()).await.unwrap(), 1);
    let lease = claim_all(&*spool, "x").await.pop().unwrap();
    let later = deferred(&lease, soon() + Duration::from_secs(1000));
    // Held while it is attempted: held when it comes back.
    assert_eq!(spool.hold(Filter::one(a), "wait".into(), LinesById::new()).await.unwrap(), 1);
    spool.settle(lease, later).await.unwrap();
    assert_eq!(spool.show(a).await.unwrap().0.held.as_deref(), Some("wait"));
    assert_eq!(spool.expedite(Filter::default()).await.unwrap(), 1);
    assert_eq!(spool.release(Filter::one(a), LinesById::new()).await.unwrap(), 1);
    assert_eq!(due(&*spool, soon()).await.0, [lane("x"), lane("y")]);
    assert_eq!(spool.list(Filter::default(), 1).await.unwrap()[0].id, a);
    assert_eq!(stats_of(&*spool, "y").await.oldest, Some(b));
}

pub async fn a_record_can_be_ended_without_being_read_unless_it_is_leased<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let a = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let b = spool.commit(draft("x", &["a@b.dk"], 2, 100)).await.unwrap().id();
    spool.hold(Filter::one(a), "odd".into(), LinesById::new()).await.unwrap();
    let leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.iter().map(|lease| lease.record.id).collect::<Vec<_>>(), [b]);
    assert!(!spool.discard(b).await.unwrap());
    assert!(spool.discard(a).await.unwrap());
    assert!(!spool.discard(a).await.unwrap(), "it is gone");
    drop(leases);
    let left = place.killed();
    let records = left.open().list(Filter::default(), 10).await.unwrap();
    assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), [b]);
}

pub async fn what_operators_changed_survives_a_kill<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let mut ids = Vec::new();
    for seed in 0..3 {
        let held = (seed == 1).then(|| "from the start".to_owned());
        let draft = Draft { held, ..draft("x", &["a@b.dk"], seed, 100) };
        ids.push(spool.commit(draft).await.unwrap().id());
    }
    let lease = claim_all(&*spool, "x").await.into_iter().find(|lease| lease.record.id == ids[2]).unwrap();
    let later = deferred(&lease, soon() + Duration::from_secs(1000));
    spool.settle(lease, later).await.unwrap();
    spool.hold(Filter::one(ids[0]), "by hand".into(), LinesById::new()).await.unwrap();
    spool.release(Filter::one(ids[1]), LinesById::new()).await.unwrap();
    spool.expedite(Filter::one(ids[2])).await.unwrap();
    let left = place.killed();
    let records = left.open().list(Filter::default(), 10).await.unwrap();
    let found: Vec<_> = records.iter().map(|r| (r.held.as_deref(), r.expedited, r.is_released())).collect();
    assert_eq!(found[0], (Some("by hand"), None, false));
    assert_eq!((found[1].0, found[1].2), (None, true));
    assert_eq!(found[2], (None, Some(Expedited::Requested), false));
}

pub async fn what_is_made_due_at_once_was_not_kept_back_and_what_is_released_was<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let due_already = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let before = spool.show(due_already).await.unwrap().0.due;
    let _ = spool.commit(draft("y", &["a@b.dk"], 2, 100)).await.unwrap();
    let lease = claim_all(&*spool, "y").await.pop().unwrap();
    let (id, late) = (lease.record.id, soon() + Duration::from_secs(1000));
    let later = deferred(&lease, late);
    spool.settle(lease, later).await.unwrap();
    // Until a millisecond has passed, the first is not due already.
    while Timestamp::now() <= before {
        tokio::task::yield_now().await;
    }
    assert_eq!(spool.expedite(Filter::default()).await.unwrap(), 2);
    let shown = async |id| spool.show(id).await.unwrap().0;
    let kept = shown(due_already).await;
    assert_eq!((kept.due, kept.expedited), (before, None), "the queue says what it has waited for since");
    let requested = shown(id).await;
    assert_eq!(requested.expedited, Some(Expedited::Requested));
    assert!(requested.due <= Timestamp::now() && !requested.is_released());
    spool.hold(Filter::one(id), "why".into(), LinesById::new()).await.unwrap();
    spool.release(Filter::one(id), LinesById::new()).await.unwrap();
    assert!(shown(id).await.is_released());
    spool.stop().await;
    drop(spool);
    let spool = place.open();
    assert!(spool.show(id).await.unwrap().0.is_released(), "a restart does not forget it");
    let lease = claim_all(&*spool, "y").await.pop().unwrap();
    assert!(lease.record.is_released());
    let unchanged = Settlement { delay_notified: true, ..Settlement::default() };
    spool.settle(lease, unchanged).await.unwrap();
    let lease = claim_all(&*spool, "y").await.pop().expect("it kept its place in line");
    assert!(lease.record.is_released() && lease.record.delay_notified);
    let later = deferred(&lease, late);
    spool.settle(lease, later).await.unwrap();
    let tried = spool.show(id).await.unwrap().0;
    assert_eq!((tried.due, tried.expedited), (late, None), "the mark ends with the attempt");
}

pub async fn no_answer_is_larger_than_it_was_asked_for<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    for customer in ["a", "b", "c", "d", "e"] {
        for seed in 0..3 {
            let _ = spool.commit(draft(customer, &["a@b.dk"], seed, 100)).await.unwrap();
        }
    }
    let (mut due, mut after) = (Vec::new(), None);
    loop {
        let page = spool.due(soon(), after, 2).await.unwrap();
        assert!(page.lanes.len() <= 2);
        after = page.lanes.last().cloned();
        due.extend(page.lanes.into_iter().map(|due| due.lane.customer.to_string()));
        if !page.more {
            break;
        }
    }
    due.sort();
    assert_eq!(due, ["a", "b", "c", "d", "e"], "each lane is on one page");
    let (mut lanes, mut after) = (Vec::new(), None);
    loop {
        let page = spool.lanes(after, 2).await.unwrap();
        let is_last = page.len() < 2;
        after = page.last().map(|(lane, _)| lane.clone());
        lanes.extend(page.into_iter().map(|(lane, stats)| (lane.customer.to_string(), stats.records)));
        if is_last {
            break;
        }
    }
    assert_eq!(lanes, ["a", "b", "c", "d", "e"].map(|customer| (customer.to_owned(), 3)));
    let mut listed = Vec::new();
    loop {
        let after = listed.last().copied();
        let page = spool.list(Filter { after, ..Filter::default() }, 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|record| record.id));
    }
    assert!(listed.len() == 15 && listed.is_sorted());
    assert_eq!(spool.claim(&lane("a"), soon(), 2, &backoff()).await.unwrap().len(), 2);
    assert_eq!(spool.seize(Filter::default(), 7).await.unwrap().len(), 7);
}

pub async fn a_search_by_age_finds_what_is_older_and_nothing_else<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let now = Timestamp::now();
    let mut ids = Vec::new();
    for seed in 0..3u64 {
        let id = postbud::message::QueueId::first_at(now - Duration::from_secs(30 - 10 * seed));
        ids.push(spool.commit(Draft { id, ..draft("x", &["a@b.dk"], seed, 100) }).await.unwrap().id());
    }
    let old = Filter { arrived_before: Some(ids[2].arrived()), ..Filter::default() };
    let found: Vec<_> = spool.list(old, 10).await.unwrap().iter().map(|record| record.id).collect();
    assert_eq!(found, ids[..2]);
}

pub async fn a_commit_a_release_and_an_expedition_notify_whoever_waits<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let changed = spool.changed();
    let id = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    changed.notified().await;
    spool.hold(Filter::one(id), "why".into(), LinesById::new()).await.unwrap();
    spool.release(Filter::one(id), LinesById::new()).await.unwrap();
    changed.notified().await;
    let lease = claim_all(&*spool, "x").await.pop().unwrap();
    let later = deferred(&lease, soon() + Duration::from_secs(1000));
    spool.settle(lease, later).await.unwrap();
    spool.expedite(Filter::one(id)).await.unwrap();
    changed.notified().await;
}

pub async fn a_spool_in_order_says_so_and_a_stopped_one_takes_no_more_work<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let health = spool.health();
    assert_eq!(*health.borrow(), Health::default());
    assert!(health.borrow().may_deliver());
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    let lease = claim_all(&*spool, "x").await.pop().unwrap();
    spool.stop().await;
    assert_eq!(health.borrow().stopped, None, "it did not give up");
    let refused = |error: Error| assert!(matches!(error, Error::Stopped(_)), "{error}");
    refused(spool.commit(draft("x", &["a@b.dk"], 2, 1)).await.unwrap_err());
    refused(spool.claim(&lane("x"), soon(), 1, &backoff()).await.err().unwrap());
    let settlement = delivered(&lease);
    refused(spool.settle(lease, settlement).await.unwrap_err());
    refused(spool.hold(Filter::default(), "why".into(), LinesById::new()).await.unwrap_err());
    refused(spool.sync().await.unwrap_err());
    // A result that was refused is not recorded.
    drop(spool);
    let records = place.open().list(Filter::default(), 10).await.unwrap();
    assert_eq!(records.iter().map(|record| (record.attempts, record.leased)).collect::<Vec<_>>(), [(0, false)]);
}

/// How many records there are, usually. `POSTBUD_SPOOL_RECORDS=1000000` shows the real thing.
const RECORDS: u64 = 1000;

pub async fn many_records_are_counted_paged_and_claimed_in_order_and_their_content_is_not_in_memory<B: Backend>() {
    let asked = std::env::var("POSTBUD_SPOOL_RECORDS").ok().map(|records| records.parse().expect("a number"));
    let (records, size): (u64, usize) = asked.map_or((RECORDS, 40_000), |records| (records, 2_000));
    let place = B::new();
    let spool = place.open();
    let before = resident();
    let customers = 10;
    for from in (0..records).step_by(100) {
        let commits: Vec<_> = (from..records.min(from + 100))
            .map(|seed| spool.commit(draft(&format!("c{}", seed % customers), &["a@b.dk"], seed, size)))
            .collect();
        for commit in commits {
            let _ = commit.await.unwrap();
        }
    }
    assert_eq!(spool.totals().await.unwrap().records, records);
    spool.stop().await;
    drop(spool);
    let spool = place.open();
    assert_eq!(spool.totals().await.unwrap().records, records);
    // Other tests use memory, too, where they run in the same process.
    let grown = resident().saturating_sub(before);
    let bound = (records as usize * size / 2).min(250 << 20);
    println!("{records} records of {size} octets take {} KiB of memory", grown >> 10);
    assert!(std::env::var_os("NEXTEST").is_none() || grown < bound, "{grown} octets");
    let lanes = spool.lanes(None, 100).await.unwrap();
    assert_eq!(lanes.iter().map(|(_, stats)| stats.records).sum::<u64>(), records);
    // All ids in order, in pages.
    let (mut ids, mut after) = (0, None);
    loop {
        let page = spool.list(Filter { after, ..Filter::default() }, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().map(|record| record.id).is_sorted() && Some(page[0].id) > after);
        ids += page.len() as u64;
        after = Some(last.id);
    }
    assert_eq!(ids, records);
    // The oldest of a lane come first.
    let (mut seeds, mut claimed) = (Vec::new(), 0);
    while claimed < 300.min(records / customers) {
        let leases = spool.claim(&lane("c3"), soon(), 100, &backoff()).await.unwrap();
        assert!(!leases.is_empty());
        for lease in leases {
            seeds.push(lease.record.message_id.split_once('@').unwrap().0.parse::<u64>().unwrap());
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
            claimed += 1;
        }
    }
    assert_eq!(seeds, (0..claimed).map(|number| 3 + number * customers).collect::<Vec<_>>());
    assert_eq!(spool.totals().await.unwrap().records, records - claimed);
}

/// The resident memory of this process in octets.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
}

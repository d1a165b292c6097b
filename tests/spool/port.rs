//! Short forms of the port's calls.

use postbud::message::Lane;
use postbud::smtp::Domain;
use postbud::spool::{self, LaneStats, Lease, OutboxPosition, RecipientState, Settlement, Spool};
use postbud::time::Timestamp;

use crate::drafts::{backoff, content, lane, soon};

/// Claims everything of a customer that is due soon.
pub async fn claim_all(spool: &dyn Spool, customer: &str) -> Vec<Lease> {
    spool.claim(&lane(customer), soon(), 1000, &backoff()).await.unwrap()
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

/// Every recipient was served.
pub fn delivered(lease: &Lease) -> Settlement {
    settlement(lease, RecipientState::Relayed { reply: "250 ok".into() }, Timestamp::NEVER)
}

/// Every recipient waits, for an attempt at `due`.
pub fn deferred(lease: &Lease, due: Timestamp) -> Settlement {
    settlement(lease, RecipientState::Waiting { last_reply: None }, due)
}

/// Every recipient is in this state.
pub fn settlement(lease: &Lease, state: RecipientState, due: Timestamp) -> Settlement {
    Settlement {
        results: (0..lease.record.recipients.len()).map(|i| (i, state.clone())).collect(),
        due: Some(due),
        counts: true,
        ..Settlement::default()
    }
}

/// All lines of the outbox behind a position, and where they end.
pub async fn outbox(spool: &dyn Spool, after: Option<OutboxPosition>) -> (String, OutboxPosition) {
    let (mut lines, mut after) = (Vec::new(), after);
    loop {
        let page = spool.lines(after).await.unwrap();
        lines.extend(page.lines);
        if !page.more {
            return (String::from_utf8(lines).unwrap(), page.position);
        }
        after = Some(page.position);
    }
}

/// The content of a leased message.
pub async fn bytes_of(lease: &Lease) -> Vec<u8> {
    let mut all = Vec::new();
    for i in 0..lease.bytes.chunks() {
        let chunk = lease.bytes.chunk(i).await.unwrap();
        assert!(chunk.len() <= 256 << 10);
        all.extend_from_slice(&chunk);
    }
    all
}

/// The content that a draft with this seed has.
pub fn content_of(seed: u64, size: usize) -> Vec<u8> {
    <[Vec<u8>; 2]>::from(content(seed, size)).concat()
}

pub fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

//! Memory for messages on their way in, over all connections: a session that would go over the limit waits, and its client is
//! held back by TCP; after a while it hears 452.
//!
//! Messages half read hold what the others wait for: fifty large ones at once would all stop short of their ends. So one
//! message at a time may go over the limit to its end; the next has its turn when that one is done. The limit is thus passed
//! by at most one message. Memory has to be used: a message that has the turn, or holds memory while others wait for some,
//! and comes too slowly is refused, and its memory is theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What is accounted in one step: small enough that a small message does not claim much, large enough that few steps are made.
const STEP: usize = 32 << 10;
/// The least octets a second from the message that has the turn, once half the time that others wait for room has passed.
const TURN_RATE: usize = 128 << 10;
/// The least octets a second, over all of it, from a message that holds memory others wait for: with less the largest message would not
/// come to its end in time anyway.
pub(super) const SHORT_RATE: u64 = 16 << 10;
/// How many times as long as others wait for room a turn lasts, whatever the rate.
const TURN_LASTS: u32 = 6;

/// The room for all.
pub(super) struct Budget {
    steps: Arc<Semaphore>,
    /// The turn to go over the limit: one permit.
    turn: Arc<Semaphore>,
    wait: Duration,
    /// Messages that wait for room now.
    waiting: AtomicUsize,
    gauge: Gauge,
}

/// Why a message cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// No room came free in time.
    Waited,
    /// It had the turn and came too slowly.
    SlowTurn,
}

impl Budget {
    pub(super) fn new(bytes: u64, wait: Duration, gauge: Gauge) -> Self {
        let steps = usize::try_from(bytes / STEP as u64).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        let (steps, turn) = (Arc::new(Semaphore::new(steps)), Arc::new(Semaphore::new(1)));
        Budget { steps, turn, wait, waiting: AtomicUsize::new(0), gauge }
    }

    /// Begins a share that holds nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { steps: None, turn: None, gauge: self.gauge.clone() }
    }

    /// Whether others wait for what a message holds.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// When the message that holds `bytes` loses its turn unless more of it comes; `None` where it has none.
    pub(super) fn turn_ends(&self, share: &Share, bytes: usize) -> Option<Instant> {
        let turn = share.turn.as_ref()?;
        let earned = Duration::from_secs((bytes.saturating_sub(turn.from) / TURN_RATE) as u64);
        Some(turn.since + (self.wait / 2 + earned).min(self.wait * TURN_LASTS))
    }

    /// Makes sure that `share` covers `bytes`; waits for room where there is none. Who has the turn needs none, and whether it
    /// still has it is asked before more is waited for ([`turn_ends`](Self::turn_ends)): a message that is there is not too slow.
    pub(super) async fn cover(&self, share: &mut Share, bytes: usize) -> Result<(), NoRoom> {
        if self.cover_at_once(share, bytes) || share.turn.is_some() {
            return Ok(());
        }
        let missing = u32::try_from(share.missing(bytes)).map_err(|_| NoRoom::Waited)?;
        let _waiting = Waiting::new(&self.waiting);
        let room = Arc::clone(&self.steps).acquire_many_owned(missing);
        let turn = Arc::clone(&self.turn).acquire_owned();
        tokio::select! {
            biased;
            room = room => share.add(room.map_err(|_| NoRoom::Waited)?),
            turn = turn => {
                let permit = turn.map_err(|_| NoRoom::Waited)?;
                share.turn = Some(Turn { since: Instant::now(), from: bytes, _permit: permit });
            }
            () = tokio::time::sleep(self.wait) => return Err(NoRoom::Waited),
        }
        Ok(())
    }

    /// Whether there is room for `bytes` without waiting; `share` covers them then. A message that had the turn does not need
    /// it any more: it is another's. Nothing need be missing for that: what was cut from a message made it smaller.
    pub(super) fn cover_at_once(&self, share: &mut Share, bytes: usize) -> bool {
        let missing = share.missing(bytes);
        if missing > 0 {
            let Ok(missing) = u32::try_from(missing) else { return false };
            let Ok(more) = Arc::clone(&self.steps).try_acquire_many_owned(missing) else { return false };
            share.add(more);
        }
        share.turn = None;
        true
    }
}

/// One more that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Waiting(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one message holds; given back when it is dropped.
pub(super) struct Share {
    steps: Option<OwnedSemaphorePermit>,
    turn: Option<Turn>,
    gauge: Gauge,
}

/// The turn to go over the limit, and what the message had when it came.
struct Turn {
    since: Instant,
    from: usize,
    _permit: OwnedSemaphorePermit,
}

impl Share {
    fn steps(&self) -> usize {
        self.steps.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// How many more steps `bytes` take.
    fn missing(&self, bytes: usize) -> usize {
        bytes.div_ceil(STEP).saturating_sub(self.steps())
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        self.gauge.inc_by((more.num_permits() * STEP) as i64);
        match &mut self.steps {
            Some(steps) => steps.merge(more),
            none => *none = Some(more),
        }
    }

    /// Gives everything back at once.
    pub(super) fn release(&mut self) {
        self.gauge.dec_by((self.steps() * STEP) as i64);
        self.steps = None;
        self.turn = None;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_then_goes_without() {
        let gauge = Gauge::default();
        let budget = Budget::new(2 * STEP as u64, Duration::from_secs(1), gauge.clone());
        let (mut first, mut second, mut third) = (budget.share(), budget.share(), budget.share());
        budget.cover(&mut first, STEP + 1).await.unwrap();
        assert_eq!(gauge.get(), 2 * STEP as i64);
        budget.cover(&mut second, 1).await.expect("one may go over the limit");
        assert_eq!(budget.cover(&mut third, 1).await, Err(NoRoom::Waited));
        assert!(!budget.is_short());
        let mut waiting = Box::pin(budget.cover(&mut third, 1));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        assert!(budget.is_short());
        drop(first);
        waiting.await.unwrap();
        assert!(!budget.is_short());
        drop((second, third));
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_turn_to_go_over_the_limit_lasts_as_long_as_it_is_used() {
        let (wait, mib) = (Duration::from_secs(10), 1 << 20);
        let budget = Budget::new(STEP as u64, wait, Gauge::default());
        let (mut first, mut slow, mut next) = (budget.share(), budget.share(), budget.share());
        budget.cover(&mut first, STEP).await.unwrap();
        budget.cover(&mut slow, 1).await.expect("the turn");
        let left = |share: &Share, bytes| budget.turn_ends(share, bytes).map(|end| end - Instant::now());
        assert_eq!(left(&slow, 1), Some(wait / 2));
        assert_eq!(left(&slow, 1 + mib), Some(wait / 2 + Duration::from_secs(8)));
        assert_eq!(left(&slow, 100 * mib), Some(wait * 6));
        // 1 KiB/s: half the others' waiting time, and no more.
        for second in 1..=5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            budget.cover(&mut slow, 1 + (second << 10)).await.unwrap();
            assert_eq!(left(&slow, 1 + (second << 10)), Some(Duration::from_secs(5 - second as u64)));
        }
        slow.release();
        budget.cover(&mut next, 1).await.expect("the turn is the next one's");
        // With room again the turn goes back at once.
        drop(first);
        budget.cover(&mut next, 2).await.unwrap();
        assert_eq!(left(&next, 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_over_costs_nothing_where_there_is_room() {
        let gauge = Gauge::default();
        let budget = Budget::new(STEP as u64, Duration::from_secs(10), gauge.clone());
        let (mut first, mut slow) = (budget.share(), budget.share());
        budget.cover(&mut first, STEP).await.unwrap();
        budget.cover(&mut slow, 1).await.expect("the turn");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!budget.cover_at_once(&mut slow, 1));
        drop(first);
        assert!(budget.cover_at_once(&mut slow, 1));
        assert_eq!((budget.turn_ends(&slow, 1), gauge.get()), (None, STEP as i64));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_became_smaller_gives_its_turn_back() {
        let budget = Budget::new(2 * STEP as u64, Duration::from_secs(10), Gauge::default());
        let (mut first, mut cut, mut next) = (budget.share(), budget.share(), budget.share());
        budget.cover(&mut first, STEP).await.unwrap();
        budget.cover(&mut cut, STEP).await.unwrap();
        budget.cover(&mut cut, STEP + 1).await.expect("the turn");
        // A long Bcc is cut once the header is whole.
        assert!(budget.cover_at_once(&mut cut, STEP - 1));
        assert_eq!(budget.turn_ends(&cut, STEP - 1), None);
        budget.cover(&mut next, 1).await.expect("the turn is the next one's");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_hold_what_the_others_need_still_come_to_their_ends() {
        let budget = Budget::new(4 * STEP as u64, Duration::from_secs(1), Gauge::default());
        let grow = async || {
            let mut share = budget.share();
            budget.cover(&mut share, STEP).await?;
            // By now all four have begun: nobody can grow, and nobody would give anything back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            budget.cover(&mut share, 3 * STEP).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, NoRoom>(())
        };
        let all = tokio::join!(grow(), grow(), grow(), grow());
        assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
    }
}

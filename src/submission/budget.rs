//! Memory for messages on their way in, over all connections. A session that would exceed the limit waits, so that TCP slows its
//! client down. If it waits too long, the client hears 452.
//!
//! Half-read messages occupy the memory that others wait for: fifty large ones could all stop before their ends. One message at a
//! time may therefore overdraw: it goes over the limit until it ends, and then the next may. So the limit is exceeded by at most
//! one message. Memory must be used: if others wait, a message that overdraws or occupies memory and arrives too slowly is refused,
//! and its memory becomes theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The unit of accounting. It is small enough that a small message does not claim much, and large enough that few steps are made.
const STEP: usize = 32 << 10;
/// The least octets a second from the message that overdraws, after half the time that others wait for room.
const OVERDRAFT_RATE: usize = 128 << 10;
/// The least octets a second, on average, from a message whose memory others wait for. A slower one would not end in time anyway, if it
/// is as large as a message may be.
pub(crate) const SHORT_RATE: u64 = 16 << 10;
/// How long a message may overdraw at most, as a multiple of the time that others wait for room.
const OVERDRAFT_LASTS: u32 = 6;

/// The memory of all messages.
pub(crate) struct Budget {
    steps: Arc<Semaphore>,
    /// The one permit to go over the limit.
    overdraft: Arc<Semaphore>,
    wait: Duration,
    /// The number of messages that wait for room now.
    waiting: AtomicUsize,
    gauge: Gauge,
}

/// Why a message cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// No room came free in time.
    Waited,
    /// It occupied memory that others wait for, and arrived too slowly.
    TooSlow,
}

impl Budget {
    pub(crate) fn new(bytes: u64, wait: Duration, gauge: Gauge) -> Self {
        let steps = usize::try_from(bytes / STEP as u64).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        let (steps, overdraft) = (Arc::new(Semaphore::new(steps)), Arc::new(Semaphore::new(1)));
        Budget { steps, overdraft, wait, waiting: AtomicUsize::new(0), gauge }
    }

    /// Begins a share that holds nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { steps: None, overdraft: None, gauge: self.gauge.clone() }
    }

    /// Returns true if messages wait for room now.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns when a message of `bytes` so far must stop to overdraw unless more of it arrives. `None` if it does not overdraw.
    pub(crate) fn overdraft_ends(&self, share: &Share, bytes: usize) -> Option<Instant> {
        let overdraft = share.overdraft.as_ref()?;
        let earned = Duration::from_secs((bytes.saturating_sub(overdraft.from) / OVERDRAFT_RATE) as u64);
        Some(overdraft.since + (self.wait / 2 + earned).min(self.wait * OVERDRAFT_LASTS))
    }

    /// Makes `share` cover `bytes`, and waits for room if there is none. A message that overdraws needs no room. The caller checks whether
    /// it may still overdraw before it waits for more of the message ([`overdraft_ends`](Self::overdraft_ends)).
    pub(crate) async fn cover(&self, share: &mut Share, bytes: usize) -> Result<(), NoRoom> {
        if self.cover_at_once(share, bytes) || share.overdraft.is_some() {
            return Ok(());
        }
        let missing = u32::try_from(share.missing(bytes)).map_err(|_| NoRoom::Waited)?;
        let _waiting = Waiting::new(&self.waiting);
        let room = Arc::clone(&self.steps).acquire_many_owned(missing);
        let overdraft = Arc::clone(&self.overdraft).acquire_owned();
        tokio::select! {
            biased;
            room = room => share.add(room.map_err(|_| NoRoom::Waited)?),
            permit = overdraft => {
                let permit = permit.map_err(|_| NoRoom::Waited)?;
                share.overdraft = Some(Overdraft { since: Instant::now(), from: bytes, _permit: permit });
            }
            () = tokio::time::sleep(self.wait) => return Err(NoRoom::Waited),
        }
        Ok(())
    }

    /// Makes `share` cover `bytes` if there is room without waiting, and returns true if it does. A message that overdraws stops doing so,
    /// also if it has become smaller because something was cut from it.
    pub(crate) fn cover_at_once(&self, share: &mut Share, bytes: usize) -> bool {
        let missing = share.missing(bytes);
        if missing > 0 {
            let Ok(missing) = u32::try_from(missing) else { return false };
            let Ok(more) = Arc::clone(&self.steps).try_acquire_many_owned(missing) else { return false };
            share.add(more);
        }
        share.overdraft = None;
        true
    }
}

/// Counts a message as waiting until it is dropped.
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

/// The memory of one message, which is given back when it is dropped.
pub(crate) struct Share {
    steps: Option<OwnedSemaphorePermit>,
    overdraft: Option<Overdraft>,
    gauge: Gauge,
}

/// The right to go over the limit: since when, and how large the message was then.
struct Overdraft {
    since: Instant,
    from: usize,
    _permit: OwnedSemaphorePermit,
}

impl Share {
    fn steps(&self) -> usize {
        self.steps.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// The number of steps that `bytes` need beyond those of this share.
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
    pub(crate) fn release(&mut self) {
        self.gauge.dec_by((self.steps() * STEP) as i64);
        self.steps = None;
        self.overdraft = None;
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
    async fn an_overdraft_lasts_as_long_as_it_is_used() {
        let (wait, mib) = (Duration::from_secs(10), 1 << 20);
        let budget = Budget::new(STEP as u64, wait, Gauge::default());
        let (mut first, mut slow, mut next) = (budget.share(), budget.share(), budget.share());
        budget.cover(&mut first, STEP).await.unwrap();
        budget.cover(&mut slow, 1).await.expect("it may overdraw");
        let left = |share: &Share, bytes| budget.overdraft_ends(share, bytes).map(|end| end - Instant::now());
        assert_eq!(left(&slow, 1), Some(wait / 2));
        assert_eq!(left(&slow, 1 + mib), Some(wait / 2 + Duration::from_secs(8)));
        assert_eq!(left(&slow, 100 * mib), Some(wait * 6));
        // At 1 KiB/s it has half the others' waiting time, and no more.
        for second in 1..=5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            budget.cover(&mut slow, 1 + (second << 10)).await.unwrap();
            assert_eq!(left(&slow, 1 + (second << 10)), Some(Duration::from_secs(5 - second as u64)));
        }
        slow.release();
        budget.cover(&mut next, 1).await.expect("the next may overdraw");
        // With room again it ends at once.
        drop(first);
        budget.cover(&mut next, 2).await.unwrap();
        assert_eq!(left(&next, 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdraft_that_is_over_costs_nothing_where_there_is_room() {
        let gauge = Gauge::default();
        let budget = Budget::new(STEP as u64, Duration::from_secs(10), gauge.clone());
        let (mut first, mut slow) = (budget.share(), budget.share());
        budget.cover(&mut first, STEP).await.unwrap();
        budget.cover(&mut slow, 1).await.expect("it may overdraw");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!budget.cover_at_once(&mut slow, 1));
        drop(first);
        assert!(budget.cover_at_once(&mut slow, 1));
        assert_eq!((budget.overdraft_ends(&slow, 1), gauge.get()), (None, STEP as i64));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_became_smaller_stops_to_overdraw() {
        let budget = Budget::new(2 * STEP as u64, Duration::from_secs(10), Gauge::default());
        let (mut first, mut cut, mut next) = (budget.share(), budget.share(), budget.share());
        budget.cover(&mut first, STEP).await.unwrap();
        budget.cover(&mut cut, STEP).await.unwrap();
        budget.cover(&mut cut, STEP + 1).await.expect("it may overdraw");
        // A long Bcc is cut once the header is whole.
        assert!(budget.cover_at_once(&mut cut, STEP - 1));
        assert_eq!(budget.overdraft_ends(&cut, STEP - 1), None);
        budget.cover(&mut next, 1).await.expect("the next may overdraw");
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

//! Admits messages: limits the memory and the time that each message may use. One [`Admission`] counts the messages of all connections of
//! submission, and another those of returned mail.
//!
//! Memory for content. A session that would exceed the limit waits, so that TCP slows its client down. If it waits too long, the client
//! gets 452. Half-read messages occupy memory that others wait for, so fifty large messages could all stop before their ends. Therefore one
//! message at a time may overdraw: it may exceed the limit until it ends, and then the next may. So the limit is exceeded by at most one
//! message. If others wait, a message that overdraws or occupies memory and arrives too slowly is refused, and its memory goes to the
//! others.
//!
//! Memory for recipients. Without a limit, a thousand transactions of a thousand recipients each would occupy a gigabyte before their
//! content arrives.
//!
//! Time. A message has a deadline that starts at MAIL, and its content extends it with each octet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Limits;

/// The unit of accounting: small enough that a small message claims little, and large enough that few steps are needed.
const STEP: usize = 32 << 10;
/// The least octets a second from the message that overdraws, after half the time that others wait for room.
const OVERDRAFT_RATE: usize = 128 << 10;
/// The least average octets per second from a message whose memory others wait for. A slower message of maximum size could not end in time
/// anyway.
const SHORT_RATE: u64 = 16 << 10;
/// The longest time that a message may overdraw, as a multiple of the time that others wait for room.
const OVERDRAFT_LASTS: u32 = 6;
/// How often a stalled message is checked for others that wait for its memory.
const LOOK: Duration = Duration::from_secs(2);

/// The totals of all messages.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    steps: Arc<Semaphore>,
    /// The one permit to exceed the limit.
    overdraft: Arc<Semaphore>,
    /// The number of messages that wait for room.
    waiting: AtomicUsize,
    /// The octets of long lists of recipients.
    lists: AtomicU64,
    gauge: Gauge,
}

/// Why a message cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// No room became free in time.
    Waited,
    /// It occupied memory that others wait for, and arrived too slowly.
    TooSlow,
}

impl Admission {
    /// `gauge` reports the octets of content in memory.
    pub(crate) fn new(limits: &Limits, gauge: Gauge) -> Arc<Self> {
        let steps = usize::try_from(limits.bytes_in_flight / STEP as u64).unwrap_or(usize::MAX);
        let steps = Arc::new(Semaphore::new(steps.clamp(1, Semaphore::MAX_PERMITS)));
        let (overdraft, waiting, lists) = (Arc::new(Semaphore::new(1)), AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Admission { limits: limits.clone(), steps, overdraft, waiting, lists, gauge })
    }

    /// Admits a message at its MAIL. It holds no memory yet.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Admitted {
        let deadline = now + self.limits.transaction_timeout;
        Admitted { all: Arc::clone(self), list: 0, steps: None, overdraft: None, begun: now, deadline, received: 0 }
    }

    #[cfg(test)]
    pub(super) fn lists(&self) -> u64 {
        self.lists.load(Ordering::Relaxed)
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

/// The memory and time of one message. Dropping it frees the memory.
#[derive(Debug)]
pub(crate) struct Admitted {
    all: Arc<Admission>,
    /// The octets of its list of recipients, if that is long.
    list: u64,
    steps: Option<OwnedSemaphorePermit>,
    /// Boxed, because almost no message has one.
    overdraft: Option<Box<Overdraft>>,
    /// When its content began, moved forward by the time that it had to wait for us.
    begun: Instant,
    deadline: Instant,
    /// The octets of content that have arrived.
    received: u64,
}

/// The permit to exceed the limit: when it was given, and the message's size at that time.
#[derive(Debug)]
struct Overdraft {
    since: Instant,
    from: usize,
    _permit: OwnedSemaphorePermit,
}

impl Admitted {
    /// Reserves memory for one more recipient. Returns false if there is no room.
    pub(super) fn reserve_recipient(&mut self, octets: u64) -> bool {
        let most = self.all.limits.bytes_in_flight;
        let within = |used: u64| used.checked_add(octets).filter(|used| *used <= most);
        // A refused request must not occupy memory, because it would cause further refusals.
        let grown = self.all.lists.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if grown {
            self.list += octets;
        }
        grown
    }

    /// Records that the content begins.
    pub(crate) fn begin_content(&mut self) {
        self.begun = Instant::now();
    }

    /// Records that further octets of content arrived.
    pub(crate) fn add_received(&mut self, octets: usize) {
        self.received += octets as u64;
    }

    /// Returns the deadline of the whole message.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns how long to wait for more content: at most until DATA has stood still for too long, until the message's deadline, and until
    /// the time that its octets have earned at the minimum rate.
    pub(crate) fn content_until(&self, now: Instant) -> Instant {
        let limits = &self.all.limits;
        (now + limits.data_timeout).min(self.deadline).min(self.earned_until(limits.minimum_rate))
    }

    /// Returns the time that the octets so far have earned at this rate per second.
    fn earned_until(&self, rate: u64) -> Instant {
        self.begun + self.all.limits.minimum_rate_grace + Duration::from_secs(self.received / rate.max(1))
    }

    /// Reserves memory for `bytes` octets, and waits if there is no room. The wait does not count against the message. A message that
    /// overdraws needs no room; [`may_keep`](Self::may_keep) decides whether it may continue.
    pub(crate) async fn cover(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if bytes == 0 || self.cover_at_once(bytes) || self.overdraft.is_some() {
            return Ok(());
        }
        let since = Instant::now();
        let covered = self.wait_for_room(bytes).await;
        self.begun += since.elapsed();
        covered
    }

    async fn wait_for_room(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let missing = u32::try_from(self.missing(bytes)).map_err(|_| NoRoom::Waited)?;
        let all = Arc::clone(&self.all);
        let _waiting = Waiting::new(&all.waiting);
        let room = Arc::clone(&all.steps).acquire_many_owned(missing);
        let overdraft = Arc::clone(&all.overdraft).acquire_owned();
        tokio::select! {
            biased;
            room = room => self.add(room.map_err(|_| NoRoom::Waited)?),
            permit = overdraft => {
                let permit = permit.map_err(|_| NoRoom::Waited)?;
                let since = Instant::now();
                self.overdraft = Some(Box::new(Overdraft { since, from: bytes, _permit: permit }));
            }
            () = tokio::time::sleep(all.limits.bytes_in_flight_wait) => return Err(NoRoom::Waited),
        }
        Ok(())
    }

    /// Reserves memory for `bytes` octets if there is room now. Returns true if it succeeds. A message that overdraws stops doing so, also
    /// if it has become smaller because fields were cut.
    fn cover_at_once(&mut self, bytes: usize) -> bool {
        let missing = self.missing(bytes);
        if missing > 0 {
            let Ok(missing) = u32::try_from(missing) else { return false };
            let Ok(more) = Arc::clone(&self.all.steps).try_acquire_many_owned(missing) else { return false };
            self.add(more);
        }
        self.overdraft = None;
        true
    }

    /// Returns true if a message of `bytes` so far may keep its memory. It may not if it is too slow while others wait. If its permit to
    /// overdraw has ended, it may if there is room now.
    pub(crate) fn may_keep(&mut self, bytes: usize, now: Instant) -> bool {
        let is_over = self.overdraft_ends(bytes).is_some_and(|end| now >= end);
        let is_too_slow = self.contested_until(bytes).is_some_and(|end| now >= end);
        !is_too_slow && (!is_over || self.cover_at_once(bytes))
    }

    /// Returns when to check again whether a stalled message [may keep](Self::may_keep) its memory. `None` if it has no memory.
    pub(crate) fn next_check(&self, bytes: usize) -> Option<Instant> {
        let next = (bytes > 0).then(|| Instant::now() + LOOK);
        [self.overdraft_ends(bytes), self.contested_until(bytes), next].into_iter().flatten().min()
    }

    /// Returns when a message of `bytes` so far must stop overdrawing unless more of it arrives. `None` if it does not overdraw.
    fn overdraft_ends(&self, bytes: usize) -> Option<Instant> {
        let (overdraft, wait) = (self.overdraft.as_ref()?, self.all.limits.bytes_in_flight_wait);
        let earned = Duration::from_secs((bytes.saturating_sub(overdraft.from) / OVERDRAFT_RATE) as u64);
        Some(overdraft.since + (wait / 2 + earned).min(wait * OVERDRAFT_LASTS))
    }

    /// Returns until when a message may keep memory that others wait for. `None` if no one waits.
    fn contested_until(&self, bytes: usize) -> Option<Instant> {
        let is_short = bytes > 0 && self.all.waiting.load(Ordering::Relaxed) > 0;
        is_short.then(|| self.earned_until(SHORT_RATE))
    }

    fn steps(&self) -> usize {
        self.steps.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Returns how many more steps `bytes` octets need.
    fn missing(&self, bytes: usize) -> usize {
        bytes.div_ceil(STEP).saturating_sub(self.steps())
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        self.all.gauge.inc_by((more.num_permits() * STEP) as i64);
        match &mut self.steps {
            Some(steps) => steps.merge(more),
            none => *none = Some(more),
        }
    }

    /// Frees the memory of the content.
    pub(crate) fn release(&mut self) {
        self.all.gauge.dec_by((self.steps() * STEP) as i64);
        self.steps = None;
        self.overdraft = None;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.release();
        self.all.lists.fetch_sub(self.list, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(steps: usize, wait: Duration) -> (Arc<Admission>, Gauge) {
        let (gauge, bytes) = (Gauge::default(), (steps * STEP) as u64);
        let limits = Limits { bytes_in_flight: bytes, bytes_in_flight_wait: wait, ..Limits::default() };
        (Admission::new(&limits, gauge.clone()), gauge)
    }

    fn messages<const N: usize>(admission: &Arc<Admission>) -> [Admitted; N] {
        [(); N].map(|()| admission.begin(Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_then_goes_without() {
        let (admission, gauge) = admission(2, Duration::from_secs(1));
        let is_short = || admission.waiting.load(Ordering::Relaxed) > 0;
        let [mut first, mut second, mut third] = messages(&admission);
        first.cover(STEP + 1).await.unwrap();
        assert_eq!(gauge.get(), 2 * STEP as i64);
        second.cover(1).await.expect("one may go over the limit");
        assert_eq!(third.cover(1).await, Err(NoRoom::Waited));
        assert!(!is_short());
        let mut waiting = Box::pin(third.cover(1));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        assert!(is_short());
        drop(first);
        waiting.await.unwrap();
        assert!(!is_short());
        drop((second, third));
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdraft_lasts_as_long_as_it_is_used() {
        let (wait, mib) = (Duration::from_secs(10), 1 << 20);
        let (admission, _) = admission(1, wait);
        let [mut first, mut slow, mut next] = messages(&admission);
        first.cover(STEP).await.unwrap();
        slow.cover(1).await.expect("it may overdraw");
        let left = |message: &Admitted, bytes| message.overdraft_ends(bytes).map(|end| end - Instant::now());
        assert_eq!(left(&slow, 1), Some(wait / 2));
        assert_eq!(left(&slow, 1 + mib), Some(wait / 2 + Duration::from_secs(8)));
        assert_eq!(left(&slow, 100 * mib), Some(wait * 6));
        // At 1 KiB/s it may overdraw for half of the time that others wait, and no longer.
        for second in 1..=5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            slow.cover(1 + (second << 10)).await.unwrap();
            assert_eq!(left(&slow, 1 + (second << 10)), Some(Duration::from_secs(5 - second as u64)));
        }
        slow.release();
        next.cover(1).await.expect("the next may overdraw");
        // When there is room again, overdrawing ends at once.
        drop(first);
        next.cover(2).await.unwrap();
        assert_eq!(left(&next, 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdraft_that_is_over_costs_nothing_where_there_is_room() {
        let (admission, gauge) = admission(1, Duration::from_secs(10));
        let [mut first, mut slow] = messages(&admission);
        first.cover(STEP).await.unwrap();
        slow.cover(1).await.expect("it may overdraw");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!slow.cover_at_once(1));
        drop(first);
        assert!(slow.cover_at_once(1));
        assert_eq!((slow.overdraft_ends(1), gauge.get()), (None, STEP as i64));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_became_smaller_stops_to_overdraw() {
        let (admission, _) = admission(2, Duration::from_secs(10));
        let [mut first, mut cut, mut next] = messages(&admission);
        first.cover(STEP).await.unwrap();
        cut.cover(STEP).await.unwrap();
        cut.cover(STEP + 1).await.expect("it may overdraw");
        // A long Bcc is cut when the header is complete.
        assert!(cut.cover_at_once(STEP - 1));
        assert_eq!(cut.overdraft_ends(STEP - 1), None);
        next.cover(1).await.expect("the next may overdraw");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_hold_what_the_others_need_still_come_to_their_ends() {
        let (admission, _) = admission(4, Duration::from_secs(1));
        let grow = async || {
            let mut message = admission.begin(Instant::now());
            message.cover(STEP).await?;
            // All four have begun, so none of them could grow, and none would free memory.
            tokio::time::sleep(Duration::from_millis(10)).await;
            message.cover(3 * STEP).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, NoRoom>(())
        };
        let all = tokio::join!(grow(), grow(), grow(), grow());
        assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
    }

    #[test]
    fn a_slow_message_earns_time_by_its_octets() {
        let second = Duration::from_secs(1);
        let limits = Limits {
            data_timeout: 180 * second,
            minimum_rate: 1000,
            minimum_rate_grace: 30 * second,
            transaction_timeout: 600 * second,
            ..Limits::default()
        };
        let begun = Instant::now();
        let mut message = Admission::new(&limits, Gauge::default()).begin(begun);
        let until = |message: &Admitted, at: u32| message.content_until(begun + at * second) - begun;
        assert_eq!(until(&message, 0), 30 * second);
        message.add_received(20_000);
        assert_eq!(until(&message, 0), 50 * second);
        message.add_received(9_980_000);
        assert_eq!(until(&message, 0), 180 * second);
        assert_eq!(until(&message, 500), 600 * second);
    }
}

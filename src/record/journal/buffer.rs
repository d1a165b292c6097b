//! The buffer before the journal: a bounded amount of memory between the code that emits events and the writer's thread.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::spool::OutboxPosition;

/// The most octets of waiting lines, without those of the outbox: some 40,000 events.
const LIMIT: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Notified after all earlier lines are on disk.
    waiting: Vec<oneshot::Sender<()>>,
    outbox: Option<FromOutbox>,
    lost: u64,
    stopping: bool,
}

/// Lines of the spool's outbox.
#[derive(Debug)]
pub(crate) struct FromOutbox {
    pub lines: Vec<u8>,
    /// The position behind them in the outbox.
    pub position: OutboxPosition,
    /// The outbox had no more.
    pub is_all: bool,
    /// Notified after the lines are on disk.
    pub synced: oneshot::Sender<()>,
}

/// The lines that the writer takes at once.
#[derive(Debug, Default)]
pub(crate) struct TakenLines {
    pub lines: Vec<u8>,
    /// Notified after `lines` are on disk.
    pub waiting: Vec<oneshot::Sender<()>>,
    /// Further lines, from the outbox.
    pub outbox: Option<FromOutbox>,
    /// The number of lines since the last take that did not fit. They came after `lines`.
    pub lost: u64,
    /// True if no more lines will come.
    pub last: bool,
}

impl Buffer {
    /// Adds a line with its LF. Returns false if there is no room or the journal was stopped. The line then counts as lost.
    pub fn push(&self, line: &[u8]) -> bool {
        let mut state = self.lock();
        if state.stopping || state.lines.len() + line.len() > LIMIT {
            state.lost += 1;
            return false;
        }
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        if was_empty {
            self.work.notify_one();
        }
        true
    }

    /// Adds lines, all or none. The receiver is notified after they are on disk, or gets an error if the journal stops before. Returns
    /// `None` if there is no room; nothing counts as lost then, because the caller keeps the lines.
    pub fn push_whole(&self, lines: &[u8]) -> Option<oneshot::Receiver<()>> {
        let (synced, is_synced) = oneshot::channel();
        let mut state = self.lock();
        if state.stopping || state.lines.len() + lines.len() > LIMIT {
            return None;
        }
        state.lines.extend_from_slice(lines);
        state.waiting.push(synced);
        self.work.notify_one();
        Some(is_synced)
    }

    /// Adds lines of the outbox. Its one reader waits for the answer before it adds more.
    pub fn push_outbox(&self, lines: FromOutbox) {
        self.lock().outbox = Some(lines);
        self.work.notify_one();
    }

    /// Waits for lines and takes all of them: lines of the outbox at once, and others not before `not_before`. Returns empty after
    /// `longest`. `spare` becomes the next buffer.
    pub fn take(&self, mut spare: Vec<u8>, not_before: Instant, longest: Duration) -> TakenLines {
        spare.clear();
        let until = Instant::now() + longest;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let has_some = !state.lines.is_empty() || state.lost > 0 || !state.waiting.is_empty();
            if state.outbox.is_some() || state.stopping || now >= until || (has_some && now >= not_before) {
                return TakenLines {
                    lines: std::mem::replace(&mut state.lines, spare),
                    waiting: std::mem::take(&mut state.waiting),
                    outbox: state.outbox.take(),
                    lost: std::mem::take(&mut state.lost),
                    last: state.stopping,
                };
            }
            let wake_at = if has_some { not_before.min(until) } else { until };
            state = self.work.wait_timeout(state, wake_at - now).expect("no holder of this lock can panic").0;
        }
    }

    /// Waits before a failed write is tried again. Returns true if [`stop`](Self::stop) ended the wait.
    pub fn pause(&self, how_long: Duration) -> bool {
        let (state, _) = self
            .work
            .wait_timeout_while(self.lock(), how_long, |state| !state.stopping)
            .expect("no holder of this lock can panic");
        state.stopping
    }

    /// Ends the buffer: the writer takes the rest and ends.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_full_buffer_counts_what_it_refuses_and_takes_lines_again_once_emptied() {
        let buffer = Buffer::default();
        let line = vec![b'x'; LIMIT / 2];
        assert!(buffer.push(&line));
        assert!(buffer.push(&line));
        assert!(!buffer.push(b"y\n"));
        assert!(!buffer.push(b"z\n"));
        let taken = buffer.take(Vec::new(), Instant::now(), LONG);
        assert_eq!((taken.lines.len(), taken.lost, taken.last), (LIMIT, 2, false));
        assert!(buffer.push(b"y\n"));
        assert_eq!(buffer.take(taken.lines, Instant::now(), LONG).lines, b"y\n");
    }

    #[test]
    fn stopping_hands_out_the_rest_and_refuses_more() {
        let buffer = Buffer::default();
        assert!(buffer.push(b"a\n"));
        buffer.stop();
        assert!(!buffer.push(b"b\n"));
        let taken = buffer.take(Vec::new(), Instant::now() + LONG, LONG);
        assert_eq!((taken.lines.as_slice(), taken.lost, taken.last), (&b"a\n"[..], 1, true));
    }

    #[test]
    fn who_waits_for_lines_is_told_with_them_and_not_after_a_stop() {
        let buffer = Buffer::default();
        assert!(buffer.push_whole(&vec![b'x'; LIMIT + 1]).is_none());
        assert!(buffer.push(b"a\n"));
        let mut synced = buffer.push_whole(b"b\nc\n").unwrap();
        let taken = buffer.take(Vec::new(), Instant::now(), LONG);
        assert_eq!((taken.lines.as_slice(), taken.waiting.len(), taken.lost), (&b"a\nb\nc\n"[..], 1, 0));
        assert!(synced.try_recv().is_err(), "not before they are on disk");
        taken.waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap());
        assert_eq!(synced.try_recv(), Ok(()));
        buffer.stop();
        assert!(buffer.push_whole(b"d\n").is_none());
    }

    #[test]
    fn lines_of_the_outbox_do_not_wait_and_take_others_along() {
        let buffer = Buffer::default();
        assert!(buffer.push(b"a\n"));
        let (synced, _) = oneshot::channel();
        buffer.push_outbox(FromOutbox {
            lines: b"b\n".to_vec(),
            position: OutboxPosition::new("1"),
            is_all: true,
            synced,
        });
        let taken = buffer.take(Vec::new(), Instant::now() + LONG, LONG);
        assert_eq!((taken.lines.as_slice(), taken.outbox.unwrap().lines.as_slice()), (&b"a\n"[..], &b"b\n"[..]));
        let taken = buffer.take(Vec::new(), Instant::now() + LONG, Duration::ZERO);
        assert!(taken.lines.is_empty() && taken.outbox.is_none() && !taken.last);
    }
}

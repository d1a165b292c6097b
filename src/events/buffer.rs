//! Lines on their way to the log: a bounded buffer in memory between the producers and the writer's thread.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Octets that may wait: some 50,000 events, or minutes of a stalled disk at full load.
const LIMIT: usize = 16 << 20;
/// The writer does not linger once this much waits.
const WRITE_AT: usize = 256 << 10;
/// How long the writer gathers lines after the first, so that a busy relay wakes it 50 times a second and not at every event.
const LINGER: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    lost: u64,
    stopping: bool,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// How many lines found no room since the last take; they came after `lines`.
    pub(super) lost: u64,
    /// No more will come.
    pub(super) last: bool,
}

impl Buffer {
    /// Adds a line that ends in LF. `false` where there is no room or the log was stopped; the line is then counted as lost.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut state = self.lock();
        if state.stopping || state.lines.len() + line.len() > LIMIT {
            state.lost += 1;
            return false;
        }
        let before = state.lines.len();
        state.lines.extend_from_slice(line);
        if before == 0 || (before < WRITE_AT && state.lines.len() >= WRITE_AT) {
            self.work.notify_one();
        }
        true
    }

    /// Waits for lines, gathers a little, and takes all of them. `spare` becomes the next buffer.
    pub(super) fn take(&self, mut spare: Vec<u8>) -> Taken {
        spare.clear();
        let idle = |state: &mut State| state.lines.is_empty() && state.lost == 0 && !state.stopping;
        let state = self.work.wait_while(self.lock(), idle).expect("no holder of this lock can panic");
        let gathering = |state: &mut State| state.lines.len() < WRITE_AT && !state.stopping;
        let (mut state, _) =
            self.work.wait_timeout_while(state, LINGER, gathering).expect("no holder of this lock can panic");
        Taken {
            lines: std::mem::replace(&mut state.lines, spare),
            lost: std::mem::take(&mut state.lost),
            last: state.stopping,
        }
    }

    /// Sleeps before the next try of a failed write; cut short by [`stop`](Self::stop). Gives whether it was.
    pub(super) fn pause(&self, how_long: Duration) -> bool {
        let (state, _) = self
            .work
            .wait_timeout_while(self.lock(), how_long, |state| !state.stopping)
            .expect("no holder of this lock can panic");
        state.stopping
    }

    /// No more lines: the writer takes what is left and ends.
    pub(super) fn stop(&self) {
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

    #[test]
    fn a_full_buffer_counts_what_it_refuses_and_takes_lines_again_once_emptied() {
        let buffer = Buffer::default();
        let line = vec![b'x'; LIMIT / 2];
        assert!(buffer.push(&line));
        assert!(buffer.push(&line));
        assert!(!buffer.push(b"y\n"));
        assert!(!buffer.push(b"z\n"));
        let taken = buffer.take(Vec::new());
        assert_eq!((taken.lines.len(), taken.lost, taken.last), (LIMIT, 2, false));
        assert!(buffer.push(b"y\n"));
        assert_eq!(buffer.take(taken.lines).lines, b"y\n");
    }

    #[test]
    fn stopping_hands_out_the_rest_and_refuses_more() {
        let buffer = Buffer::default();
        assert!(buffer.push(b"a\n"));
        buffer.stop();
        assert!(!buffer.push(b"b\n"));
        let taken = buffer.take(Vec::new());
        assert_eq!((taken.lines.as_slice(), taken.lost, taken.last), (&b"a\n"[..], 1, true));
    }
}

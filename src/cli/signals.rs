//! The signals that a relay handles, from the first moment of its process. Signals that arrive early wait, instead of ending the process as
//! unhandled ones.

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for SIGTERM and SIGINT, and for SIGHUP.
pub(super) struct Signals {
    pub(super) stop: Stop,
    pub(super) hang_up: Signal,
}

/// SIGTERM or SIGINT.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Handles signals from now on, and those that [`hold`] has kept. Call it on the runtime's main thread.
    pub(super) fn take() -> std::io::Result<Self> {
        let stop = Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        let signals = Signals { stop, hang_up: signal(SignalKind::hangup())? };
        let_in();
        Ok(signals)
    }
}

impl Stop {
    /// Waits for one of them.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Blocks the signals in this thread and in the threads that it starts. They stay pending until this thread takes them.
pub(super) fn hold() {
    // An error would mean that the system does not know these signals.
    let _ = ours().thread_block();
}

/// Unblocks the signals. A pending one ends the process unless [`Signals`] has taken it.
pub(super) fn let_in() {
    let _ = ours().thread_unblock();
}

fn ours() -> SigSet {
    [Number::SIGHUP, Number::SIGTERM, Number::SIGINT].into_iter().collect()
}

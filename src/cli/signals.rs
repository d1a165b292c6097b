//! The signals that a relay acts on, from the first moment of its process: what comes before it can act waits, instead of ending
//! the process as an unhandled signal would.

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Told by SIGTERM and SIGINT, and by SIGHUP.
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
    /// Takes the signals from now on, and those that [`hold`] has kept. For a runtime's own thread.
    pub(super) fn take() -> std::io::Result<Self> {
        let stop = Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        let signals = Signals { stop, hang_up: signal(SignalKind::hangup())? };
        let_in();
        Ok(signals)
    }
}

impl Stop {
    /// Waits for one.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Keeps the signals waiting. The threads that this one starts do so, too, and go on: whatever comes is for this one.
pub(super) fn hold() {
    // An error would mean that the system does not know these signals.
    let _ = ours().thread_block();
}

/// Lets in what waits: it ends the process unless [`Signals`] has taken it.
pub(super) fn let_in() {
    let _ = ours().thread_unblock();
}

fn ours() -> SigSet {
    [Number::SIGHUP, Number::SIGTERM, Number::SIGINT].into_iter().collect()
}

//! The signals that a relay handles, from the first moment of its process. Signals that arrive early wait, instead of ending the process as
//! unhandled ones.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often [`wait`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

/// Waits until one of the signals comes that [`hold`] has blocked. It stays pending. Must be called on the runtime.
pub(super) async fn wait() -> std::io::Result<()> {
    let signals = pending()?;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        if poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0 {
            return Ok(());
        }
    }
}

/// Waits until standard input has something to read. Returns false if one of the signals came first, which [`hold`] has blocked: it stays
/// pending.
pub(super) fn wait_for_input() -> std::io::Result<bool> {
    let (signals, stdin) = (pending()?, std::io::stdin());
    loop {
        let mut both = [signals.as_fd(), stdin.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut both, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            polled => {
                polled?;
                return Ok(!both[0].any().unwrap_or_default());
            }
        }
    }
}

/// Makes a file that can be read while one of the signals is pending.
fn pending() -> std::io::Result<SignalFd> {
    Ok(SignalFd::with_flags(&ours(), SfdFlags::SFD_CLOEXEC)?)
}

fn ours() -> SigSet {
    [Number::SIGHUP, Number::SIGTERM, Number::SIGINT].into_iter().collect()
}

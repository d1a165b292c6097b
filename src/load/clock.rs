//! One clock for all processes of a measurement: CLOCK_MONOTONIC is the same for the whole machine, so times of different processes can be
//! subtracted.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns microseconds since the machine's monotonic epoch.
pub fn now() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// Returns the CPU time of the calling thread in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
}

/// Returns the time left until `at`, or zero if it has passed.
pub fn until(at: u64) -> Duration {
    Duration::from_micros(at.saturating_sub(now()))
}

fn micros(t: Timespec) -> u64 {
    t.tv_sec.unsigned_abs() * 1_000_000 + t.tv_nsec.unsigned_abs() / 1_000
}

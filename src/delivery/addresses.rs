//! The order in which a host's addresses are tried (RFC 5321 §5.1): as DNS lists them, with those that failed recently
//! last.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an address that failed goes behind the others. Otherwise, an address that accepts connections and says
/// nothing would cost every new connection minutes.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The addresses of one host that failed, and when.
#[derive(Debug, Default)]
pub struct Failed(Mutex<Vec<(SocketAddr, Instant)>>);

impl Failed {
    /// Moves the addresses that failed to the end. The one that failed last comes last.
    pub fn last<E>(&self, endpoints: &mut [E], address: impl Fn(&E) -> Option<SocketAddr>, now: Instant) {
        let failed = self.failed(now);
        if failed.is_empty() {
            return;
        }
        endpoints.sort_by_key(|endpoint| {
            let at = failed.iter().find(|(failed, _)| Some(*failed) == address(endpoint));
            at.map(|(_, at)| *at)
        });
    }

    /// Records that an address failed.
    pub fn note(&self, address: SocketAddr, now: Instant) {
        let mut failed = self.failed(now);
        failed.retain(|(other, _)| *other != address);
        failed.push((address, now));
    }

    /// Records that an address works.
    pub fn forget(&self, address: SocketAddr) {
        self.failed(Instant::now()).retain(|(other, _)| *other != address);
    }

    /// Locks the list and drops the entries that are too old at `now`. A panic cannot leave a change half made.
    fn failed(&self, now: Instant) -> MutexGuard<'_, Vec<(SocketAddr, Instant)>> {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED);
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    #[test]
    fn addresses_that_failed_go_last_for_a_while() {
        let failed = Failed::default();
        let order = |now| {
            let mut all = [1, 2, 3];
            failed.last(&mut all, |last| Some(address(*last)), now);
            all
        };
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(order(start), [1, 2, 3]);
        failed.note(address(1), start);
        failed.note(address(2), start + second);
        assert_eq!(order(start + second), [3, 1, 2]);
        failed.note(address(1), start + 2 * second);
        assert_eq!(order(start + 2 * second), [3, 2, 1]);
        failed.forget(address(2));
        assert_eq!(order(start + 2 * second), [2, 3, 1]);
        assert_eq!(order(start + 2 * second + REMEMBERED), [1, 2, 3]);
    }
}

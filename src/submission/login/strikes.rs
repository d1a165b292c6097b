//! Wrong logins, counted by address and by name within a window, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::submission::Limits;

/// The most addresses, and the most names, whose wrong logins are counted. Beyond that, the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// The number of wrong logins of each address and name.
pub(crate) struct Strikes {
    addresses: Counts<IpAddr>,
    /// Names are kept as digests, because a mistyped name may be a password.
    names: Counts<[u8; 32]>,
    delay: Duration,
    longest: Duration,
    per_address: u32,
    per_name: u32,
}

impl Strikes {
    /// Starts without wrong logins.
    pub(crate) fn new(limits: &Limits) -> Self {
        Strikes {
            addresses: Counts::new(limits.login_window),
            names: Counts::new(limits.login_window),
            delay: limits.login_delay,
            longest: limits.longest_login_delay,
            per_address: limits.login_failures_per_address,
            per_name: limits.login_failures_per_name,
        }
    }

    /// Returns true if an unknown client's login is checked. An address with too many wrong logins gets one check each
    /// `longest_login_delay`, so that it is never locked out for good. If a name has too many, it is being guessed from many addresses.
    /// Then each address gets one check, which is enough for the rightful owner at a new address.
    pub(crate) fn admits(&self, peer: IpAddr, name: &[u8; 32], now: Instant) -> bool {
        let Some((wrong, last)) = self.addresses.get(&site(peer), now) else { return true };
        let is_guessed_at = self.names.get(name, now).is_some_and(|(wrong, _)| wrong >= self.per_name);
        !is_guessed_at && (wrong < self.per_address || now >= last + self.longest)
    }

    /// Counts a wrong login of an address. Returns the delay of its answer.
    pub(crate) fn strike_address(&self, peer: IpAddr, now: Instant) -> Duration {
        self.delay_of(self.addresses.strike(site(peer), now))
    }

    /// Returns the longest delay of an answer.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Counts a wrong login of an address and of a name. Returns the delay of its answer.
    pub(super) fn strike(&self, peer: IpAddr, name: [u8; 32], now: Instant) -> Duration {
        self.strike_address(peer, now).max(self.delay_of(self.names.strike(name, now)))
    }

    /// Returns the delay: `login_delay` for the first wrong login, and twice as long for each further one, up to `longest_login_delay`.
    fn delay_of(&self, strikes: u32) -> Duration {
        let doublings = strikes.saturating_sub(1).min(20);
        self.delay.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// Returns the network that an address counts as. An IPv6 address counts as its /48, which one site gets (RFC 6177), because otherwise the
/// site could guess from 65,536 networks.
fn site(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80))),
        v4 => v4,
    }
}

/// The number of wrong logins of each key, and the time of the last.
struct Counts<K> {
    window: Duration,
    seen: Mutex<HashMap<K, (u32, Instant)>>,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn new(window: Duration) -> Self {
        Counts { window, seen: Mutex::default() }
    }

    /// Returns the count of a key, or `None` if there was no wrong login within the window.
    fn get(&self, key: &K, now: Instant) -> Option<(u32, Instant)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(key).copied().filter(|(_, last)| now < *last + self.window)
    }

    /// Counts one wrong login. Returns the new count.
    fn strike(&self, key: K, now: Instant) -> u32 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED && !seen.contains_key(&key) {
            seen.retain(|_, (_, last)| now < *last + self.window);
            let oldest = seen.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest.filter(|_| seen.len() >= REMEMBERED) {
                seen.remove(&oldest);
            }
        }
        let (count, last) = seen.entry(key).or_insert((0, now));
        *count = if now < *last + self.window { count.saturating_add(1) } else { 1 };
        *last = now.max(*last);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { login_failures_per_address: 3, login_failures_per_name: 5, ..Limits::default() }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_wrong_login_doubles_the_delay_up_to_the_longest() {
        let strikes = Strikes::new(&limits());
        let now = Instant::now();
        let delays: Vec<u64> = (1..=7).map(|_| strikes.strike_address(address("192.0.2.1"), now).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(strikes.strike_address(address("192.0.2.2"), now), seconds(1));
    }

    #[test]
    fn a_name_that_is_guessed_at_from_many_addresses_makes_each_answer_later() {
        let strikes = Strikes::new(&limits());
        let now = Instant::now();
        let delays = (1..=4).map(|n| strikes.strike(address(&format!("192.0.2.{n}")), [7; 32], now).as_secs());
        assert_eq!(delays.collect::<Vec<_>>(), [1, 2, 4, 8]);
    }

    #[test]
    fn what_is_looked_at_by_the_clock() {
        let strikes = Strikes::new(&limits());
        let start = Instant::now();
        let (webcrm, other) = ([1; 32], [2; 32]);
        let near = address("192.0.2.1");
        for second in 0..3 {
            assert!(strikes.admits(near, &webcrm, start + seconds(second)));
            strikes.strike(near, webcrm, start + seconds(second));
        }
        // The address is at its limit, whatever the name.
        for (second, admitted) in [(2, false), (31, false), (32, true)] {
            for name in [&webcrm, &other] {
                assert_eq!(strikes.admits(near, name, start + seconds(second)), admitted, "{second}");
            }
        }
        strikes.strike(near, webcrm, start + seconds(32));
        assert!(!strikes.admits(near, &webcrm, start + seconds(61)), "one look each longest delay");
        assert!(strikes.admits(near, &webcrm, start + seconds(62)));
        assert!(strikes.admits(address("192.0.2.2"), &webcrm, start + seconds(33)), "another address has its own");
        // With two more from elsewhere the name is at its limit, and each address gets one check.
        for n in [3, 4] {
            strikes.strike(address(&format!("192.0.2.{n}")), webcrm, start + seconds(40));
        }
        assert!(!strikes.admits(near, &webcrm, start + seconds(80)));
        assert!(!strikes.admits(address("192.0.2.3"), &webcrm, start + seconds(80)));
        assert!(strikes.admits(address("192.0.2.3"), &other, start + seconds(80)), "another name is not guessed at");
        assert!(strikes.admits(address("192.0.2.9"), &webcrm, start + seconds(80)), "who comes for the first time");
        // After the window everything is forgotten.
        assert!(strikes.admits(address("192.0.2.3"), &webcrm, start + seconds(40 + 900)));
    }

    #[test]
    fn a_site_with_ipv6_counts_as_one_address() {
        let strikes = Strikes::new(&limits());
        let now = Instant::now();
        for network in 0..3 {
            strikes.strike_address(address(&format!("2001:db8:1:{network}::1")), now);
        }
        assert!(!strikes.admits(address("2001:db8:1:ffff::9"), &[0; 32], now));
        assert!(strikes.admits(address("2001:db8:2::9"), &[0; 32], now));
    }

    #[test]
    fn strikes_are_forgotten_after_the_window_and_bounded_in_number() {
        let counts = Counts::new(seconds(10));
        let start = Instant::now();
        let count = |key: &usize, second| counts.get(key, start + seconds(second)).map_or(0, |(count, _)| count);
        assert_eq!((counts.strike(0usize, start), counts.strike(0, start)), (1, 2));
        assert_eq!((count(&0, 9), count(&0, 10)), (2, 0));
        for key in 1..=REMEMBERED {
            counts.strike(key, start + seconds(1));
        }
        assert_eq!(counts.seen.lock().unwrap().len(), REMEMBERED);
        assert_eq!(count(&0, 1), 0);
    }
}

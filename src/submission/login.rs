//! Checks logins: remembered ones at once, others on a blocking thread, few at a time; wrong ones are answered late, and later
//! each time for the same address or name.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::auth::Memory;
use super::limits::counted_as;
use super::{Credentials, Limits, Submitter, Submitters};

/// How long a login waits for its turn to be checked.
const TURN: Duration = Duration::from_secs(20);
/// Addresses and names remembered for their wrong logins; beyond, the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// What came of a login.
#[derive(Debug)]
pub(super) enum Login {
    /// Right; whether the password was remembered.
    Right { submitter: Arc<Submitter>, remembered: bool },
    /// Wrong. Already delayed.
    Wrong,
    /// This address was wrong too often to be listened to.
    Throttled,
    /// Too many others are being checked.
    Busy,
}

/// The checking of all connections.
pub(super) struct Logins {
    turns: Arc<Semaphore>,
    /// As many as were ever in use at once: no more than there are turns.
    memories: Arc<Mutex<Vec<Memory>>>,
    strikes: Arc<Struck>,
    delay: Duration,
    longest: Duration,
    per_address: u32,
}

/// Who was wrong how often.
struct Struck {
    addresses: Strikes<IpAddr>,
    /// By digest: a mistyped name may be a password.
    names: Strikes<[u8; 32]>,
}

impl Struck {
    /// Adds a wrong login; returns how many there are now.
    fn strike(&self, peer: IpAddr, name: [u8; 32], now: Instant) -> u32 {
        self.addresses.strike(peer, now).max(self.names.strike(name, now))
    }

    /// A login was right.
    fn forget(&self, peer: &IpAddr, name: &[u8; 32]) {
        self.addresses.forget(peer);
        self.names.forget(name);
    }
}

impl Logins {
    pub(super) fn new(limits: &Limits) -> Self {
        // Argon2 takes a whole core: half of them stay free for mail.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Logins {
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            memories: Arc::default(),
            strikes: Arc::new(Struck {
                addresses: Strikes::new(limits.login_window),
                names: Strikes::new(limits.login_window),
            }),
            delay: limits.login_delay,
            longest: limits.longest_login_delay,
            per_address: limits.login_failures_per_address,
        }
    }

    /// Checks one login. A wrong one returns only after its delay, counted from the start, so that its length says nothing
    /// about what was compared.
    pub(super) async fn check(&self, submitters: Arc<Submitters>, credentials: Credentials, peer: IpAddr) -> Login {
        let start = Instant::now();
        let peer = counted_as(peer);
        let name = digest::digest(&digest::SHA256, credentials.username.as_bytes());
        let name: [u8; 32] = name.as_ref().try_into().expect("SHA-256 has 32 octets");
        let from_memory = || {
            let submitter = submitters.remembered(&credentials)?;
            self.strikes.forget(&peer, &name);
            Some(Login::Right { submitter, remembered: true })
        };
        // A right password is right however often others were wrong: nobody locks webCRM out by guessing at its name.
        if let Some(right) = from_memory() {
            return right;
        }
        let Ok(Ok(turn)) = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await else {
            return Login::Busy;
        };
        // Looked at only now: guesses made at once over many connections take their turns one after the other.
        if self.strikes.addresses.count(&peer, start) >= self.per_address {
            return Login::Throttled;
        }
        // Meanwhile another connection may have had the same password verified.
        if let Some(right) = from_memory() {
            return right;
        }
        let (memories, struck) = (Arc::clone(&self.memories), Arc::clone(&self.strikes));
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let kept = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let submitter = submitters.verify(&credentials, &mut memory);
            kept().push(memory);
            // Before the turn is given up: the next guess is counted against it.
            match submitter {
                Some(submitter) => {
                    struck.forget(&peer, &name);
                    Ok(submitter)
                }
                None => Err(struck.strike(peer, name, start)),
            }
        })
        .await;
        match checked {
            Ok(Ok(submitter)) => Login::Right { submitter, remembered: false },
            Ok(Err(strikes)) => {
                tokio::time::sleep_until(start + delay(self.delay, self.longest, strikes)).await;
                Login::Wrong
            }
            Err(_) => Login::Busy,
        }
    }
}

/// The first wrong login waits `first`, each further one twice as long, up to `longest`.
fn delay(first: Duration, longest: Duration, strikes: u32) -> Duration {
    let doublings = strikes.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(longest)
}

/// Wrong logins within a window, by address or name.
struct Strikes<K> {
    window: Duration,
    seen: Mutex<HashMap<K, (u32, Instant)>>,
}

impl<K: Eq + Hash + Clone> Strikes<K> {
    fn new(window: Duration) -> Self {
        Strikes { window, seen: Mutex::default() }
    }

    fn count(&self, key: &K, now: Instant) -> u32 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(key).filter(|(_, last)| now < *last + self.window).map_or(0, |(count, _)| *count)
    }

    /// Adds one; returns how many there are now.
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
        *last = now;
        *count
    }

    fn forget(&self, key: &K) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, SaltString};
    use argon2::{Algorithm, Argon2, Params, Version};

    use super::*;

    #[test]
    fn each_wrong_login_doubles_the_delay_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let delays: Vec<u64> = (1..=7).map(|n| delay(second, 30 * second, n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn strikes_are_forgotten_after_the_window_and_bounded_in_number() {
        let strikes = Strikes::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!((strikes.strike(0usize, start), strikes.strike(0, start)), (1, 2));
        assert_eq!(strikes.count(&0, start + Duration::from_secs(9)), 2);
        assert_eq!(strikes.count(&0, start + Duration::from_secs(10)), 0);
        for key in 1..=REMEMBERED {
            strikes.strike(key, start + Duration::from_secs(1));
        }
        assert_eq!(strikes.seen.lock().unwrap().len(), REMEMBERED);
        assert_eq!(strikes.count(&0, start), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_was_wrong_too_often_is_not_listened_to() {
        let limits = Limits { login_failures_per_address: 2, ..Limits::default() };
        let logins = Logins::new(&limits);
        let submitters = Arc::new(Submitters::new(Vec::new()).unwrap());
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let guess = || Credentials { username: "x".to_owned().into(), password: "y".to_owned().into() };
        for expected in [1, 2] {
            let start = Instant::now();
            assert!(matches!(logins.check(Arc::clone(&submitters), guess(), peer).await, Login::Wrong));
            assert!(start.elapsed() >= Duration::from_secs(expected));
        }
        assert!(matches!(logins.check(submitters, guess(), peer).await, Login::Throttled));
    }

    /// Checks cost little here: who is unknown costs what somebody known does.
    fn submitters() -> Arc<Submitters> {
        let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
        let cheap = Params::new(8, 1, 1, None).unwrap();
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap).hash_password(b"right", &salt).unwrap();
        let (username, password_hash) = ("webcrm".to_owned(), hash.to_string());
        let one = Submitter { username, password_hash, customers: crate::submission::Allowed::All, urgency: None };
        Arc::new(Submitters::new(vec![one]).unwrap())
    }

    fn credentials(password: &str) -> Credentials {
        Credentials { username: "webcrm".to_owned().into(), password: password.to_owned().into() }
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_made_at_once_are_counted_one_by_one() {
        let logins = Arc::new(Logins::new(&Limits { login_failures_per_address: 5, ..Limits::default() }));
        let (submitters, peer): (_, IpAddr) = (submitters(), "192.0.2.1".parse().unwrap());
        let guesses = (0..20).map(|n| {
            let (logins, submitters) = (Arc::clone(&logins), Arc::clone(&submitters));
            tokio::spawn(async move { logins.check(submitters, credentials(&format!("guess {n}")), peer).await })
        });
        let mut looked_at = 0;
        for guess in guesses.collect::<Vec<_>>() {
            looked_at += u32::from(matches!(guess.await.unwrap(), Login::Wrong));
        }
        assert_eq!(looked_at, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_login_forgets_the_wrong_ones_whether_its_password_is_remembered_or_not() {
        let logins = Logins::new(&Limits { login_failures_per_address: 2, ..Limits::default() });
        let (submitters, peer): (_, IpAddr) = (submitters(), "192.0.2.1".parse().unwrap());
        let check = async |password: &str| logins.check(Arc::clone(&submitters), credentials(password), peer).await;
        for expected in [false, true, true] {
            let begun = Instant::now();
            assert!(matches!(check("wrong").await, Login::Wrong));
            assert_eq!(begun.elapsed().as_secs(), 1, "the delay of a first one");
            assert!(matches!(check("right").await, Login::Right { remembered, .. } if remembered == expected));
        }
    }
}

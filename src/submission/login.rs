//! Checks logins. Remembered passwords are checked at once, others on a blocking thread, a few at a time. Wrong logins are answered with a
//! delay, which grows with each wrong login of the same address or name.
//!
//! Not every login is checked, so that nobody can guess passwords, and guessers lock nobody out:
//!
//! | the client | its login is checked |
//! |---|---|
//! | is known: this submitter has logged in from there with the present password ([`clients`]) | always, for up to 100 logins at once |
//! | is not known | until its address was wrong too often ([`strikes`]); then from time to time |
//! | is not known, and the name is being guessed from many addresses | until it was wrong once |
//!
//! All others get 454, and their password is not compared with anything, because a remembered password would be confirmed at once. A right
//! login makes the client known and nothing else: earlier wrong logins from its address stay counted.

mod clients;
mod strikes;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::clients::Clients;
pub(crate) use self::strikes::Strikes;
use super::auth::{Fingerprint, Memory};
use super::limits::counted_as;
use super::{Credentials, Limits, Submitter, Submitters};

/// How long a login waits for its check.
const CHECK_WAIT: Duration = Duration::from_secs(20);
/// The most logins of a known client at once, including wrong ones that wait for their answer. Beyond that, the client counts as unknown.
/// This limits guessing from an address that also logs in correctly.
const UNDER_WAY: usize = 100;

/// The result of a login.
#[derive(Debug)]
pub(crate) enum Login {
    /// The password is right. `remembered` is true if it was verified before.
    Right { submitter: Arc<Submitter>, remembered: bool },
    /// The name or the password is wrong. The delay has passed.
    Wrong {
        /// The given name.
        username: Zeroizing<String>,
    },
    /// The login was not checked, because there were too many wrong ones.
    Throttled,
    /// Too many other logins are being checked.
    Busy,
}

/// Checks the logins of all connections.
pub(crate) struct Logins {
    /// Permits for simultaneous checks. Known clients have their own, so that they do not wait behind guessers.
    checks: Arc<Semaphore>,
    checks_of_known: Arc<Semaphore>,
    /// The working memory of checks: at most one for each permit.
    memories: Arc<Mutex<Vec<Memory>>>,
    strikes: Arc<Strikes>,
    clients: Arc<Clients>,
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Logins {
    /// Reads the known clients from the file `known_clients`, which survives a restart. Blocks.
    pub(crate) fn new(limits: &Limits, known_clients: Option<PathBuf>) -> Self {
        // A check takes a whole core, so half of them stay free for mail.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Logins {
            checks: Arc::new(Semaphore::new((cores / 2).max(1))),
            checks_of_known: Arc::new(Semaphore::new(1)),
            memories: Arc::default(),
            strikes: Arc::new(Strikes::new(limits)),
            clients: Arc::new(Clients::open(known_clients)),
            under_way: Arc::default(),
        }
    }

    /// Checks one login. A wrong login returns after its delay, which is counted from the start, so that its duration does not reveal what
    /// was compared.
    pub(crate) async fn check(&self, submitters: Arc<Submitters>, credentials: Credentials, peer: IpAddr) -> Login {
        let start = Instant::now();
        let peer = counted_as(peer);
        let login = submitters.fingerprint(&credentials.username);
        let known = login.filter(|login| self.clients.has(*login, peer)).and_then(|_| UnderWay::begin(self, peer));
        if known.is_some() {
            if let Some(right) = self.remembered(&submitters, &credentials, login, peer) {
                return right;
            }
            // A program with an old password repeats it again and again. That is no guessing.
            if submitters.was_wrong(&credentials) {
                drop(known);
                tokio::time::sleep_until(start + self.strikes.strike_address(peer, start)).await;
                return Login::Wrong { username: credentials.username };
            }
        }
        let checks = if known.is_some() { &self.checks_of_known } else { &self.checks };
        let Ok(Ok(permit)) = tokio::time::timeout(CHECK_WAIT, Arc::clone(checks).acquire_owned()).await else {
            return Login::Busy;
        };
        let name = digest::digest(&digest::SHA256, credentials.username.as_bytes());
        let name: [u8; 32] = name.as_ref().try_into().expect("SHA-256 has 32 octets");
        // Count only here, because guesses over many connections at once are checked one after the other.
        if known.is_none() && !self.strikes.admits(peer, &name, start) {
            return Login::Throttled;
        }
        // Another connection may have verified the same password meanwhile.
        if let Some(right) = self.remembered(&submitters, &credentials, login, peer) {
            return right;
        }
        let (memories, strikes, clients) =
            (Arc::clone(&self.memories), Arc::clone(&self.strikes), Arc::clone(&self.clients));
        let is_known = known.is_some();
        let checked = tokio::task::spawn_blocking(move || {
            let kept = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let submitter = submitters.verify(&credentials, &mut memory);
            kept().push(memory);
            let checked = match submitter {
                Some(submitter) => {
                    let is_new = login.is_some_and(|login| clients.add(login, peer, &submitters));
                    Ok((submitter, is_new))
                }
                // A known client's mistake does not count against others who use its name.
                None if is_known => Err((strikes.strike_address(peer, start), credentials.username)),
                None => Err((strikes.strike(peer, name, start), credentials.username)),
            };
            // The next guess must be counted after this one.
            drop(permit);
            if let Ok((_, true)) = checked {
                clients.save();
            }
            checked
        })
        .await;
        match checked {
            Ok(Ok((submitter, _))) => Login::Right { submitter, remembered: false },
            Ok(Err((delay, username))) => {
                tokio::time::sleep_until(start + delay).await;
                Login::Wrong { username }
            }
            Err(_) => Login::Busy,
        }
    }

    /// Returns the login if this very password was verified before.
    fn remembered(
        &self,
        submitters: &Submitters,
        credentials: &Credentials,
        login: Option<Fingerprint>,
        peer: IpAddr,
    ) -> Option<Login> {
        let submitter = submitters.remembered(credentials)?;
        if self.clients.add(login?, peer, submitters) {
            let clients = Arc::clone(&self.clients);
            tokio::task::spawn_blocking(move || clients.save());
        }
        Some(Login::Right { submitter, remembered: true })
    }
}

/// Counts a login of a known client until it is answered.
struct UnderWay {
    all: Arc<Mutex<HashMap<IpAddr, usize>>>,
    peer: IpAddr,
}

impl UnderWay {
    fn begin(logins: &Logins, peer: IpAddr) -> Option<Self> {
        let mut all = logins.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let here = all.entry(peer).or_default();
        (*here < UNDER_WAY).then(|| {
            *here += 1;
            UnderWay { all: Arc::clone(&logins.under_way), peer }
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = all.get_mut(&self.peer) {
            *here -= 1;
            if *here == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use argon2::password_hash::{PasswordHasher, SaltString};
    use argon2::{Algorithm, Argon2, Params, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::submission::Allowed;

    /// Uses cheap hashes, also for the decoys of unknown names.
    fn submitter(username: &str, password: &str) -> Submitter {
        let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
        let cheap = Params::new(8, 1, 1, None).unwrap();
        let hash =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap).hash_password(password.as_bytes(), &salt).unwrap();
        let (username, password_hash) = (username.to_owned(), hash.to_string());
        Submitter { username, password_hash, customers: Allowed::All, urgency: None, test: None }
    }

    fn submitters() -> Arc<Submitters> {
        let all = vec![submitter("webcrm", "right of webcrm"), submitter("other", "right of other")];
        Arc::new(Submitters::new(all).unwrap())
    }

    const NEAR: &str = "192.0.2.1";

    struct Rig {
        logins: Arc<Logins>,
        submitters: Arc<Submitters>,
        guesses: std::cell::Cell<usize>,
    }

    impl Rig {
        fn new() -> Self {
            Rig::at(None)
        }

        fn at(known_clients: Option<PathBuf>) -> Self {
            let logins = Arc::new(Logins::new(&Limits::default(), known_clients));
            Rig { logins, submitters: submitters(), guesses: Default::default() }
        }

        /// The login starts to run when the test waits.
        fn begin(&self, from: &str, name: &str, password: &str) -> tokio::task::JoinHandle<Login> {
            let credentials = Credentials { username: name.to_owned().into(), password: password.to_owned().into() };
            let (logins, submitters) = (Arc::clone(&self.logins), Arc::clone(&self.submitters));
            let from = from.parse().unwrap();
            tokio::spawn(async move { logins.check(submitters, credentials, from).await })
        }

        async fn check(&self, from: &str, name: &str, password: &str) -> Login {
            self.begin(from, name, password).await.unwrap()
        }

        async fn right(&self, from: &str, name: &str) -> bool {
            matches!(self.check(from, name, &format!("right of {name}")).await, Login::Right { .. })
        }

        /// Starts this many guesses at once, each with another password.
        fn guessing(&self, from: &str, name: &str, guesses: usize) -> Vec<tokio::task::JoinHandle<Login>> {
            let first = self.guesses.replace(self.guesses.get() + guesses);
            (first..first + guesses).map(|n| self.begin(from, name, &format!("guess {n}"))).collect()
        }

        /// Makes this many guesses at once. Returns how many were checked.
        async fn guess(&self, from: &str, name: &str, guesses: usize) -> usize {
            looked_at(self.guessing(from, name, guesses)).await
        }
    }

    async fn looked_at(logins: Vec<tokio::task::JoinHandle<Login>>) -> usize {
        let mut looked_at = 0;
        for one in logins {
            looked_at += usize::from(matches!(one.await.unwrap(), Login::Wrong { .. }));
        }
        looked_at
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_made_at_once_are_counted_one_by_one() {
        let rig = Rig::new();
        let found = rig.guess(NEAR, "webcrm", 200).await;
        // Checks that began before the last guess was counted may let more through.
        let checks = rig.logins.checks.available_permits();
        assert!((30..30 + checks).contains(&found), "{found}");
        assert_eq!(rig.guess(NEAR, "nobody", 10).await, 1, "one look each longest delay");
    }

    #[tokio::test(start_paused = true)]
    async fn right_logins_do_not_make_the_wrong_ones_of_their_address_forgotten() {
        let rig = Rig::new();
        let (mut found, begun) = (0, Instant::now());
        for _ in 0..80 {
            assert!(rig.right(NEAR, "other").await);
            found += rig.guess(NEAR, "webcrm", 1).await;
        }
        // 1 + 2 + 4 + 8 + 16 seconds, and 30 seconds for each further checked guess.
        assert!(begun.elapsed().as_secs() >= 31 + (found as u64 - 5) * 30, "{found} in {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_at_a_submitter_from_its_own_address_is_slow_and_does_not_keep_it_out() {
        let rig = Rig::new();
        assert!(rig.right(NEAR, "webcrm").await);
        let guesses = rig.guessing(NEAR, "webcrm", 36);
        assert!(rig.right(NEAR, "webcrm").await, "while they go on");
        looked_at(guesses).await;
        let begun = Instant::now();
        let found = rig.guess(NEAR, "webcrm", 900).await;
        assert!(found <= UNDER_WAY + 2 && begun.elapsed().as_secs() >= 30, "{found} in {:?}", begun.elapsed());
        assert!(rig.right(NEAR, "webcrm").await);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_logins_keep_no_submitter_out_after_a_restart_where_it_logged_in_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = Some(dir.path().join("known-clients.json"));
        let before = Rig::at(file.clone());
        assert!(before.right(NEAR, "webcrm").await);
        let rig = Rig::at(file);
        let guesses: Vec<_> =
            ["webcrm", "nobody", "other"].into_iter().flat_map(|name| rig.guessing(NEAR, name, 36)).collect();
        let (right, new) = (rig.right(NEAR, "webcrm").await, rig.check(NEAR, "other", "right of other").await);
        assert!(right);
        assert!(matches!(new, Login::Throttled), "other has not logged in from there: {new:?}");
        looked_at(guesses).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_client_is_kept_out_for_one_delay_only() {
        let rig = Rig::new();
        let guesses = rig.guessing(NEAR, "webcrm", 36);
        assert!(!rig.right(NEAR, "webcrm").await);
        looked_at(guesses).await;
        assert!(rig.right(NEAR, "webcrm").await);
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_from_many_addresses_is_slow_and_locks_nobody_out() {
        let rig = Rig::new();
        assert!(rig.right(NEAR, "webcrm").await);
        let address = |n: usize| format!("198.51.100.{n}");
        let guesses: Vec<_> = (0..50).flat_map(|n| rig.guessing(&address(n), "webcrm", 30)).collect();
        let found = looked_at(guesses).await;
        // All guesses of the first three addresses and ten of the fourth, then one of each other address.
        assert!((146..150).contains(&found), "{found}");
        assert!(rig.right(NEAR, "webcrm").await, "where it was before");
        assert!(rig.right("203.0.113.1", "webcrm").await, "at a new address");
        assert!(rig.right(&address(49), "other").await, "another name at an address that guesses");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_with_the_old_password_does_not_keep_out_the_one_beside_it() {
        let rig = Rig::new();
        assert!(rig.right(NEAR, "webcrm").await);
        assert!(matches!(rig.check(NEAR, "webcrm", "that of last year").await, Login::Wrong { .. }));
        let stubborn: Vec<_> = (0..1000).map(|_| rig.begin(NEAR, "webcrm", "that of last year")).collect();
        assert!(rig.right(NEAR, "webcrm").await, "while all of these wait for their answer");
        assert_eq!(looked_at(stubborn).await, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_is_remembered_is_no_help_to_who_guesses() {
        let rig = Rig::new();
        assert!(rig.right(NEAR, "webcrm").await);
        let far = "198.51.100.1";
        let guesses = rig.guessing(far, "webcrm", 40);
        assert!(matches!(rig.check(far, "webcrm", "right of webcrm").await, Login::Throttled));
        looked_at(guesses).await;
    }

    #[derive(Clone, Debug)]
    enum Step {
        Right { near: bool, name: usize },
        Guess { from: u8, name: usize, at_once: usize },
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (any::<bool>(), 0..2usize).prop_map(|(near, name)| Step::Right { near, name }),
            (0..6u8, 0..3usize, 1..80usize).prop_map(|(from, name, at_once)| Step::Guess { from, name, at_once }),
            (0..1000u64).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        /// Property: a client that has logged in before gets in at once, and no other address has more guesses checked than its allowance
        /// and one per delay.
        #[test]
        fn known_clients_get_in_and_guesses_are_bounded(steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let rig = Rig::new();
                let address = |n: u8| format!("192.0.2.{n}");
                let names = ["webcrm", "other", "nobody"];
                for name in &names[..2] {
                    assert!(rig.right(NEAR, name).await);
                }
                let begun = Instant::now();
                let mut found: BTreeMap<u8, usize> = BTreeMap::new();
                for step in steps {
                    match step {
                        Step::Right { near: true, name } => assert!(rig.right(NEAR, names[name]).await),
                        Step::Right { near: false, name } => drop(rig.right("203.0.113.1", names[name]).await),
                        Step::Guess { from, name, at_once } => {
                            *found.entry(from).or_default() += rig.guess(&address(from), names[name], at_once).await;
                        }
                        Step::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    }
                }
                // In each window its allowance, and then one check per delay.
                let (windows, delays) = (begun.elapsed().as_secs() / 900 + 1, begun.elapsed().as_secs() / 30 + 1);
                for (from, found) in found.into_iter().filter(|(from, _)| address(*from) != NEAR) {
                    assert!(found as u64 <= windows * 31 + delays, "{from}: {found} in {:?}", begun.elapsed());
                }
            });
        }
    }
}

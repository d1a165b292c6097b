//! Checks logins. Remembered passwords are checked at once, others on a blocking thread, a few at a time. Wrong logins are answered with a
//! delay, which grows with each wrong login of the same address or name.
//!
//! Not every login is checked, so that nobody can guess passwords, and guessers lock nobody out:
//!
//! | the client | its login is checked |
//! |---|---|
//! | is known: this submitter has logged in from there with the present password ([`clients`]) | always. If 100 of its logins are under way at its address, a further one waits |
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
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::clients::Clients;
pub(crate) use self::strikes::Strikes;
use super::auth::{Fingerprint, Memory};
use super::limits::counted_as;
use super::{Credentials, Limits, Submitter, Submitters};

/// How long a login waits for its check.
const CHECK_WAIT: Duration = Duration::from_secs(20);
/// The most logins of known clients at one address at once, including wrong ones that wait for their answer. Others wait for a permit, so
/// guesses at an address that also logs in rightly are slow and keep nobody out.
const UNDER_WAY: usize = 100;
/// How long a known client waits for a permit. A right login gets one even while 250 connections guess at its address. .NET's SmtpClient
/// waits for 100 seconds.
const PERMIT_WAIT: Duration = Duration::from_secs(90);
/// How many addresses are remembered before those without a login under way are forgotten.
const MANY: usize = 1000;

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

/// The client whose password is verified.
struct UnverifiedClient {
    peer: IpAddr,
    /// The digest of the given name.
    name: [u8; 32],
    /// The login with this name, if somebody has it.
    login: Option<Fingerprint>,
    is_known: bool,
    start: Instant,
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
    /// The permits of each address that has logins of known clients under way.
    permits: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
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
            permits: Mutex::default(),
        }
    }

    /// Checks one login. A wrong login returns after its delay, which is counted from the moment at which its check could begin, so that its
    /// duration does not reveal what was compared.
    pub(crate) async fn check(&self, submitters: Arc<Submitters>, credentials: Credentials, peer: IpAddr) -> Login {
        let peer = counted_as(peer);
        let login = submitters.fingerprint(&credentials.username);
        // A known client keeps its permit until it is answered, also during the delay of a wrong login.
        let known = match login.is_some_and(|login| self.clients.has(login, peer)) {
            true => match tokio::time::timeout(PERMIT_WAIT, self.permits_at(peer).acquire_owned()).await {
                Ok(permit) => Some(permit.expect("the semaphore is never closed")),
                Err(_) => return Login::Throttled,
            },
            false => None,
        };
        let start = Instant::now();
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
        let client = UnverifiedClient { peer, name, login, is_known: known.is_some(), start };
        match self.verify(submitters, credentials, client, permit).await {
            Some(Ok(submitter)) => Login::Right { submitter, remembered: false },
            Some(Err((delay, username))) => {
                tokio::time::sleep_until(start + delay).await;
                Login::Wrong { username }
            }
            None => Login::Busy,
        }
    }

    /// Verifies a password on a blocking thread, with `permit` for the check. Records the client as known if the password is right, and
    /// counts a strike otherwise. Returns the submitter, or the delay of the answer with the given name. Returns `None` if the thread
    /// failed.
    async fn verify(
        &self,
        submitters: Arc<Submitters>,
        credentials: Credentials,
        client: UnverifiedClient,
        permit: OwnedSemaphorePermit,
    ) -> Option<Result<Arc<Submitter>, (Duration, Zeroizing<String>)>> {
        let UnverifiedClient { peer, name, login, is_known, start } = client;
        let (memories, strikes, clients) =
            (Arc::clone(&self.memories), Arc::clone(&self.strikes), Arc::clone(&self.clients));
        let verified = tokio::task::spawn_blocking(move || {
            let kept = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let submitter = submitters.verify(&credentials, &mut memory);
            kept().push(memory);
            let is_new = submitter.is_some() && login.is_some_and(|login| clients.add(login, peer, &submitters));
            let verified = submitter.ok_or_else(|| match is_known {
                // A known client's mistake does not count against others who use its name.
                true => (strikes.strike_address(peer, start), credentials.username),
                false => (strikes.strike(peer, name, start), credentials.username),
            });
            // The next guess must be counted after this one.
            drop(permit);
            if is_new {
                clients.save();
            }
            verified
        });
        verified.await.ok()
    }

    /// Returns the permits of known clients at an address. They are given in the order of asking.
    fn permits_at(&self, peer: IpAddr) -> Arc<Semaphore> {
        let mut all = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(permits) = all.get(&peer).and_then(Weak::upgrade) {
            return permits;
        }
        if all.len() >= MANY {
            all.retain(|_, permits| permits.strong_count() > 0);
        }
        let permits = Arc::new(Semaphore::new(UNDER_WAY));
        all.insert(peer, Arc::downgrade(&permits));
        permits
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
        // A hundred each longest delay, while one waits for its permit.
        assert!(found <= 4 * UNDER_WAY + 2 && begun.elapsed().as_secs() >= 90, "{found} in {:?}", begun.elapsed());
        assert!(rig.right(NEAR, "webcrm").await);
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_over_hundreds_of_connections_from_its_own_address_keep_no_submitter_out() {
        let rig = Rig::new();
        assert!(rig.right(NEAR, "webcrm").await);
        let (is_over, looked_at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let guessers: Vec<_> = (0..250)
            .map(|guesser| {
                let (logins, submitters) = (Arc::clone(&rig.logins), Arc::clone(&rig.submitters));
                let (is_over, looked_at) = (Arc::clone(&is_over), Arc::clone(&looked_at));
                tokio::spawn(async move {
                    for number in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            return;
                        }
                        let password = format!("guess {guesser}-{number}").into();
                        let credentials = Credentials { username: "webcrm".to_owned().into(), password };
                        let login = logins.check(Arc::clone(&submitters), credentials, NEAR.parse().unwrap()).await;
                        looked_at.fetch_add(usize::from(matches!(login, Login::Wrong { .. })), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let begun = Instant::now();
        for login in 0..10 {
            assert!(rig.right(NEAR, "webcrm").await, "login {login} in {:?}", begun.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        for guesser in guessers {
            guesser.await.unwrap();
        }
        let delays = begun.elapsed().as_secs() / 30 + 2;
        let looked_at = looked_at.load(Ordering::Relaxed);
        assert!(looked_at as u64 <= delays * UNDER_WAY as u64, "{looked_at} in {:?}", begun.elapsed());
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

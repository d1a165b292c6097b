//! The file with the suspended routes and the paused customers. Both survive a restart: a relay that restarts in a loop must not try a
//! refused login at every start, and a route that an operator suspended stays suspended.
//!
//! A suspension for a refused login ends when the login changes. To recognise the refused login, the file stores a fingerprint: an
//! HMAC-SHA-256 under a random key in the same file. It reveals neither the secret nor a plain hash of it, and cannot be compared with
//! another file's.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::customers::{Pause, Pauses};
use crate::files;
use crate::machine;
use crate::message::CustomerId;
use crate::route::{Cause, LoginSecret, Route, RouteId};
use crate::time::Timestamp;

/// The length of the key and of a fingerprint, in octets.
const LEN: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The cause, which decides what lifts the suspension.
    pub cause: Cause,
    /// The server's reply, or the operator's reason.
    pub reason: String,
    pub since: Timestamp,
    /// The fingerprint of the server and login that the route had then.
    pub fingerprint: Fingerprint,
}

impl Suspension {
    /// Returns true if the suspension still applies to the route as it is configured now.
    pub fn stands(&self, route: &Route, fingerprints: &Fingerprints) -> bool {
        self.cause == Cause::Operator || self.fingerprint == fingerprints.of(route)
    }
}

/// The suspensions by route, including those of routes that are not configured now.
pub type Suspended = BTreeMap<RouteId, Suspension>;

/// All suspended routes and paused customers.
pub type Stopped = (Suspended, Pauses);

/// Identifies a server and login without revealing the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; LEN]);

/// Makes fingerprints under the key of one file.
#[derive(Clone)]
pub struct Fingerprints(hmac::Key);

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprints")
    }
}

/// Makes a random key, so that no fingerprint equals one of another process.
impl Default for Fingerprints {
    fn default() -> Self {
        Fingerprints::with(&machine::random())
    }
}

impl Fingerprints {
    fn with(key: &[u8; LEN]) -> Self {
        Fingerprints(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Returns the fingerprint of a route's server, login and TLS settings, because a change of any of them may correct a refused login.
    pub fn of(&self, route: &Route) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        // Each field is preceded by its length, so that different lists of fields never give the same input.
        let mut field = |text: &str| {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        };
        field(&route.host);
        field(&route.port.to_string());
        // The debug text covers every TLS setting. Renaming a field in the source costs one login at the next start.
        field(&format!("{:?}", route.tls));
        if let Some(login) = &route.login {
            field(&login.username);
            match &login.secret {
                LoginSecret::Password(password) => field(password),
                LoginSecret::ClientCredentials { token_url, client_id, client_secret, scope } => {
                    [token_url, client_id, client_secret, scope].into_iter().for_each(|text| field(text));
                }
            }
            if let Some(mechanism) = login.mechanism {
                field(mechanism.as_str());
            }
        }
        let mut fingerprint = [0; LEN];
        fingerprint.copy_from_slice(context.sign().as_ref());
        Fingerprint(fingerprint)
    }
}

/// The file with the suspensions and pauses.
#[derive(Debug)]
pub struct SuspensionFile {
    path: PathBuf,
    key: String,
    saved: Mutex<Stopped>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    key: String,
    routes: BTreeMap<String, Line>,
    #[serde(default)]
    customers: BTreeMap<String, Pause>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    cause: Cause,
    reason: String,
    since: u64,
    fingerprint: String,
}

impl SuspensionFile {
    /// Reads the file. A missing file counts as empty. An unreadable file is an error, because without it the relay would repeat logins
    /// that were refused.
    pub fn open(path: PathBuf) -> io::Result<(Self, Stopped, Fingerprints)> {
        let content = match files::read_state(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Content {
                key: STANDARD.encode(machine::random::<[u8; LEN]>()),
                routes: BTreeMap::new(),
                customers: BTreeMap::new(),
            },
            read => serde_json::from_slice(&read?).map_err(|e| not_understood(&path, &e.to_string()))?,
        };
        let octets = |text: &str| -> io::Result<[u8; LEN]> {
            let wrong = || not_understood(&path, "a key or fingerprint is not 32 octets in base 64");
            STANDARD.decode(text).ok().and_then(|octets| octets.try_into().ok()).ok_or_else(wrong)
        };
        let fingerprints = Fingerprints::with(&octets(&content.key)?);
        let mut saved = Suspended::new();
        for (id, Line { cause, reason, since, fingerprint }) in content.routes {
            let (since, fingerprint) = (Timestamp::from_millis(since), Fingerprint(octets(&fingerprint)?));
            saved.insert(RouteId::new(&id), Suspension { cause, reason, since, fingerprint });
        }
        let pauses = content.customers.into_iter().map(|(id, pause)| (CustomerId::new(&id), pause)).collect();
        let stopped = (saved, pauses);
        Ok((SuspensionFile { path, key: content.key, saved: Mutex::new(stopped.clone()) }, stopped, fingerprints))
    }

    /// Saves what `current` returns, if that differs from the file. `current` is called under the file's lock, so that the later of two
    /// calls writes the later state. Blocks.
    pub fn save(&self, current: impl FnOnce() -> Stopped) -> io::Result<()> {
        let mut saved = self.saved.lock().expect("nothing panics while it holds what was saved");
        let current = current();
        if *saved == current {
            return Ok(());
        }
        let line = |(id, suspension): (&RouteId, &Suspension)| {
            let Suspension { cause, reason, since, fingerprint } = suspension.clone();
            let fingerprint = STANDARD.encode(fingerprint.0);
            (id.to_string(), Line { cause, reason, since: since.as_millis(), fingerprint })
        };
        let customers = current.1.iter().map(|(id, pause)| (id.to_string(), pause.clone())).collect();
        let content = Content { key: self.key.clone(), routes: current.0.iter().map(line).collect(), customers };
        files::replace(&self.path, &serde_json::to_vec_pretty(&content)?)?;
        *saved = current;
        Ok(())
    }
}

fn not_understood(path: &std::path::Path, why: &str) -> io::Error {
    let remedy =
        format!("{}: {why}; delete the file to let every suspended route and paused customer go on", path.display());
    io::Error::new(io::ErrorKind::InvalidData, remedy)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::customers::PauseCause;
    use crate::route::Login;
    use crate::test_customers;

    const SECRET: &str = "canary-7c1e";

    fn route(password: &str) -> Route {
        let login = Login::new("webcrm", LoginSecret::Password(password.into()));
        Route { login: Some(login), ..test_customers::route("own-server.a", "mail.a.dk") }
    }

    fn suspension(cause: Cause, fingerprint: Fingerprint) -> Suspension {
        Suspension { cause, reason: "535 5.7.8 no".into(), since: Timestamp::from_millis(1 << 40), fingerprint }
    }

    #[test]
    fn a_login_is_known_again_after_a_restart_and_another_one_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suspensions.json");
        let (store, (suspended, _), fingerprints) = SuspensionFile::open(path.clone()).unwrap();
        assert!(suspended.is_empty());
        let by_login = suspension(Cause::Login, fingerprints.of(&route(SECRET)));
        let by_operator = suspension(Cause::Operator, fingerprints.of(&route(SECRET)));
        let all = Suspended::from([(RouteId::new("a"), by_login), (RouteId::new("b"), by_operator)]);
        let paused = Pause::new(PauseCause::Leap, "why", Timestamp::from_millis(7)).sparing_single(true);
        let paused = Pauses::from([(CustomerId::new("acme"), paused)]);
        store.save(|| (all.clone(), paused.clone())).unwrap();

        let (_, (suspended, pauses), fingerprints) = SuspensionFile::open(path.clone()).unwrap();
        assert_eq!((&suspended, &pauses), (&all, &paused));
        let stands = |id: &str, route: &Route| suspended[&RouteId::new(id)].stands(route, &fingerprints);
        assert!(stands("a", &route(SECRET)));
        assert!(!stands("a", &route("mended")), "another password");
        assert!(!stands("a", &Route { host: "mail2.a.dk".into(), ..route(SECRET) }), "another server");
        assert!(!stands("a", &Route { login: None, ..route(SECRET) }), "no login");
        assert!(stands("b", &route("mended")), "an operator's word stands");
    }

    #[test]
    fn the_file_has_neither_the_secret_nor_a_hash_of_it_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let files = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            let (store, _, fingerprints) = SuspensionFile::open(path.clone()).unwrap();
            let one = suspension(Cause::Login, fingerprints.of(&route(SECRET)));
            store.save(|| (Suspended::from([(RouteId::new("a"), one)]), Pauses::new())).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            fs::read_to_string(path).unwrap()
        });
        assert!(!files[0].contains(SECRET));
        let fingerprint = |text: &str| {
            let content: Content = serde_json::from_str(text).unwrap();
            content.routes["a"].fingerprint.clone()
        };
        assert_ne!(fingerprint(&files[0]), fingerprint(&files[1]), "the same login in two files");
    }

    #[test]
    fn a_file_that_is_not_understood_is_an_error_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suspensions.json");
        for content in ["{", r#"{"key": "00", "routes": {}}"#] {
            fs::write(&path, content).unwrap();
            assert!(
                SuspensionFile::open(path.clone()).unwrap_err().to_string().contains("delete the file"),
                "{content}"
            );
        }
    }
}

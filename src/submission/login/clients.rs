//! Known clients: the addresses from which each submitter has logged in with the present password, also before the last start. Wrong logins
//! of others must not lock them out.
//!
//! The file holds no password and nothing from which one could be guessed: a digest of the Argon2id hash, which has its own salt. If the
//! file cannot be read, all clients count as unknown until the next start, which reads it again; one that cannot be understood is begun
//! anew.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::files;
use crate::submission::Submitters;
use crate::submission::auth::Fingerprint;

/// The most addresses at which a submitter is known. Beyond that, the address with the oldest login is forgotten.
const ADDRESSES: usize = 100;

/// The addresses of each submitter, the latest at the end.
type AddressesBySubmitter = HashMap<Fingerprint, VecDeque<IpAddr>>;

/// The known clients of all submitters.
pub(super) struct Clients {
    /// `None` if nothing is written.
    path: Option<PathBuf>,
    known: Mutex<AddressesBySubmitter>,
    /// Locked while the file is written, so that the later call writes the later state.
    file: Mutex<()>,
}

impl Clients {
    /// Reads the file. Without a path, known clients are forgotten when the process ends.
    pub(super) fn open(path: Option<PathBuf>) -> Self {
        let (mut path, mut known) = (path, AddressesBySubmitter::new());
        match path.as_deref().map_or(Ok(AddressesBySubmitter::new()), read) {
            Ok(read) => known = read,
            Err(error) => {
                tracing::warn!("{error}; clients that have logged in before count as new ones");
                if error.kind() != io::ErrorKind::InvalidData {
                    path = None;
                }
            }
        }
        Clients { path, known: Mutex::new(known), file: Mutex::default() }
    }

    /// Returns true if this login has come from this address before.
    pub(super) fn has(&self, login: Fingerprint, address: IpAddr) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&login).is_some_and(|addresses| addresses.contains(&address))
    }

    /// Records a right login. Returns true if the address is new, so that [`save`](Self::save) must be called.
    pub(super) fn add(&self, login: Fingerprint, address: IpAddr, submitters: &Submitters) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known.get_mut(&login)
            && let Some(at) = addresses.iter().rposition(|known| *known == address)
        {
            addresses.remove(at);
            addresses.push_back(address);
            return false;
        }
        // Forget submitters that have another password now, or are gone.
        let current = submitters.fingerprints();
        known.retain(|login, _| current.contains(login));
        let addresses = known.entry(login).or_default();
        addresses.push_back(address);
        if addresses.len() > ADDRESSES {
            addresses.pop_front();
        }
        true
    }

    /// Writes the file. Blocks.
    pub(super) fn save(&self) {
        let Some(path) = &self.path else { return };
        let _writing = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let content: BTreeMap<String, &VecDeque<IpAddr>> =
            known.iter().map(|(login, addresses)| (STANDARD.encode(login.0), addresses)).collect();
        let text = serde_json::to_vec_pretty(&content);
        drop(known);
        if let Err(error) = text.map_err(io::Error::from).and_then(|text| files::replace(path, &text)) {
            tracing::warn!("{} is not written: {error}", path.display());
        }
    }
}

fn read(path: &Path) -> io::Result<AddressesBySubmitter> {
    let text = match files::read_state(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AddressesBySubmitter::new()),
        read => read.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
    };
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    let content: BTreeMap<String, VecDeque<IpAddr>> =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let login = |(name, mut addresses): (String, VecDeque<IpAddr>)| {
        let octets = STANDARD.decode(&name).ok()?.try_into().ok()?;
        addresses.truncate(ADDRESSES);
        Some((Fingerprint(octets), addresses))
    };
    let known: Option<AddressesBySubmitter> = content.into_iter().map(login).collect();
    known.ok_or_else(|| wrong("a name is not 32 octets in base 64".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::submission::{Allowed, Submitter};

    fn submitters(passwords: &[&str]) -> Submitters {
        let submitter = |(n, hash): (usize, &&str)| Submitter {
            username: format!("submitter {n}"),
            password_hash: (*hash).to_owned(),
            customers: Allowed::All,
            urgency: None,
            test: None,
        };
        Submitters::new(passwords.iter().enumerate().map(submitter).collect()).unwrap()
    }

    const ONE: &str = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$yFzVtCLRi27ZgKmKJhzoEOCkv9ffXzL+jdpv7zR2+Uc";
    const TWO: &str = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$zFzVtCLRi27ZgKmKJhzoEOCkv9ffXzL+jdpv7zR2+Uc";

    fn address(n: usize) -> IpAddr {
        format!("10.0.{}.{}", n / 256, n % 256).parse().unwrap()
    }

    #[test]
    fn clients_are_known_after_a_restart_while_the_password_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known-clients.json");
        let before = submitters(&[ONE, ONE]);
        let login = before.fingerprint("submitter 0").unwrap();
        let clients = Clients::open(Some(path.clone()));
        assert!(!clients.has(login, address(1)));
        assert!(clients.add(login, address(1), &before) && !clients.add(login, address(1), &before));
        clients.save();
        let clients = Clients::open(Some(path.clone()));
        assert!(clients.has(login, address(1)) && !clients.has(login, address(2)));
        assert!(
            !clients.has(before.fingerprint("submitter 1").unwrap(), address(1)),
            "another's name, the same password"
        );
        let after = submitters(&[TWO]);
        let changed = after.fingerprint("submitter 0").unwrap();
        assert!(!clients.has(changed, address(1)));
        clients.add(changed, address(2), &after);
        clients.save();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("10.0.0.1") && text.contains("10.0.0.2"), "the old password is forgotten: {text}");
    }

    #[test]
    fn the_addresses_of_a_submitter_are_bounded_and_the_oldest_goes() {
        let submitters = submitters(&[ONE]);
        let login = submitters.fingerprint("submitter 0").unwrap();
        let clients = Clients::open(None);
        for n in 0..ADDRESSES {
            clients.add(login, address(n), &submitters);
        }
        clients.add(login, address(0), &submitters);
        clients.add(login, address(1000), &submitters);
        assert!(clients.has(login, address(0)) && !clients.has(login, address(1)) && clients.has(login, address(1000)));
        assert_eq!(clients.known.lock().unwrap()[&login].len(), ADDRESSES);
    }

    #[test]
    fn a_file_that_cannot_be_understood_makes_all_clients_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known-clients.json");
        for text in ["{", "[]", r#"{"x": []}"#, r#"{"AAAA": ["10.0.0.1"]}"#, r#"{"AAAA": ["nowhere"]}"#] {
            fs::write(&path, text).unwrap();
            assert!(Clients::open(Some(path.clone())).known.lock().unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_for_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known-clients.json");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        let submitters = submitters(&[ONE]);
        let login = submitters.fingerprint("submitter 0").unwrap();
        let clients = Clients::open(Some(path.clone()));
        assert!(clients.add(login, address(1), &submitters));
        clients.save();
        assert!(path.is_symlink(), "it was written over");
    }
}

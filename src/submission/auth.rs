//! The submitters who may log in, and the check of their passwords.
//!
//! Hashes are Argon2id, and a check takes tens of milliseconds by design, but webCRM logs in for every message. A password that was
//! verified is therefore remembered as an HMAC under a random key that lives only as long as the process. A reload forgets it only if
//! the password's hash has changed. Otherwise a reload would shut out the right password from an address that has guessed too often.
//! Neither the answer nor its time tells an unknown name from a wrong password.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{self, Output, PasswordHash, PasswordHashString, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::{digest, hmac};
use thiserror::Error;
use zeroize::Zeroizing;

use super::stack::wiped_after;
use crate::customers::TestMode;
use crate::message::{CustomerId, Urgency};

/// A program that may log in: a table `[[submitter]]`.
#[derive(Clone)]
pub struct Submitter {
    /// The name it logs in with.
    pub username: String,
    /// Its password's Argon2id hash in PHC form.
    pub password_hash: String,
    /// The customers for whom it may send.
    pub customers: Allowed,
    /// The urgency of its mail if the mail itself does not say; `None` is single mail.
    pub urgency: Option<Urgency>,
    /// How its mail is tested; `None` for normal mail.
    pub test: Option<TestMode>,
}

/// Never shows the hash.
impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Submitter({}, {:?}, {:?})", self.username, self.customers, self.urgency)
    }
}

/// The customers for whom a submitter may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// It may send for every customer.
    All,
    /// It may send for these customers.
    Listed(BTreeSet<CustomerId>),
}

impl Allowed {
    /// Returns true if `customer` is among them.
    pub fn includes(&self, customer: &CustomerId) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Listed(ids) => ids.contains(customer),
        }
    }
}

/// Why submitters cannot be used. The operator must act.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SubmitterError {
    /// Two submitters have the same name.
    #[error("submitter \"{0}\" is named twice")]
    Twice(String),
    /// The hash is not Argon2id in PHC form.
    #[error("password_hash of submitter \"{0}\" is not an Argon2id hash; make one with `postbud hash-password`")]
    Hash(String),
}

/// The name and password of a login.
pub struct Credentials {
    /// The name that the client gives.
    pub username: Zeroizing<String>,
    /// The password that the client gives.
    pub password: Zeroizing<String>,
}

/// Identifies a submitter with the present password. After a change of password, the fingerprint is another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

/// The most wrong logins that are remembered. A login that is tried repeatedly is soon remembered again.
const WRONG: usize = 1_000;

/// The working memory of Argon2, which is reused for later checks. If its 19 MiB were freed and allocated for each check, they would get
/// another place in the heap each time: in a test, wrong logins alone made the process grow to 600 MB.
#[derive(Default)]
pub struct Memory(Vec<Block>);

/// All submitters, and the passwords that were verified.
pub struct Submitters {
    by_name: HashMap<String, Entry>,
    /// Hashes for checking the password of an unknown name. No password has them, and there is one for each cost.
    decoys: Vec<PasswordHashString>,
    key: hmac::Key,
    /// Has at most one entry for each submitter, because only right passwords are kept.
    verified: Mutex<HashMap<[u8; 32], Arc<Submitter>>>,
    wrong: Mutex<WrongLogins>,
}

/// Fingerprints of logins that were wrong: as a set, and in their order with the newest last.
type WrongLogins = (HashSet<[u8; 32]>, VecDeque<[u8; 32]>);

struct Entry {
    submitter: Arc<Submitter>,
    hash: PasswordHashString,
    fingerprint: Fingerprint,
}

impl Submitters {
    /// Checks names and hashes.
    pub fn new(submitters: Vec<Submitter>) -> Result<Self, SubmitterError> {
        let mut by_name = HashMap::new();
        let mut decoys = Vec::new();
        for submitter in submitters {
            let refused = || SubmitterError::Hash(submitter.username.clone());
            let hash = PasswordHash::new(&submitter.password_hash).map_err(|_| refused())?;
            let params = Params::try_from(&hash).map_err(|_| refused())?;
            if hash.algorithm != Algorithm::Argon2id.ident() || hash.hash.is_none() || hash.salt.is_none() {
                return Err(refused());
            }
            decoys.push(decoy(params));
            let (name, hash) = (submitter.username.clone(), hash.serialize());
            let fingerprint = fingerprint(&submitter);
            let entry = Entry { submitter: Arc::new(submitter), hash, fingerprint };
            if by_name.insert(name.clone(), entry).is_some() {
                return Err(SubmitterError::Twice(name));
            }
        }
        if decoys.is_empty() {
            decoys.push(decoy(Params::default()));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        Ok(Submitters { by_name, decoys, key, verified: Mutex::default(), wrong: Mutex::default() })
    }

    /// Returns the submitter if these very credentials were verified before. Takes microseconds.
    pub fn remembered(&self, credentials: &Credentials) -> Option<Arc<Submitter>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&self.tag(credentials)).cloned()
    }

    /// Returns true if these very credentials were wrong before, so that trying them again reveals nothing.
    pub(super) fn was_wrong(&self, credentials: &Credentials) -> bool {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).0.contains(&self.tag(credentials))
    }

    /// Returns the fingerprint of the login with this name, or `None` if nobody has the name.
    pub(super) fn fingerprint(&self, username: &str) -> Option<Fingerprint> {
        self.by_name.get(username).map(|entry| entry.fingerprint)
    }

    pub(super) fn fingerprints(&self) -> HashSet<Fingerprint> {
        self.by_name.values().map(|entry| entry.fingerprint).collect()
    }

    /// Returns the submitter as it is configured now, if its password has not changed. Its rights are decided again for each message.
    pub fn current(&self, submitter: &Submitter) -> Option<Arc<Submitter>> {
        let entry = self.by_name.get(&submitter.username)?;
        (entry.submitter.password_hash == submitter.password_hash).then(|| Arc::clone(&entry.submitter))
    }

    /// Keeps the verified passwords from before a reload, if they have not changed.
    #[must_use]
    pub fn remembering(mut self, before: &Submitters) -> Self {
        self.key = before.key.clone();
        let verified = before.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let still_right =
            verified.iter().filter_map(|(tag, submitter)| Some((*tag, self.current(submitter)?))).collect();
        self.verified = Mutex::new(still_right);
        self
    }

    /// Checks a password. Takes tens of milliseconds whatever the name: call it on a blocking thread.
    pub fn verify(&self, credentials: &Credentials, memory: &mut Memory) -> Option<Arc<Submitter>> {
        let entry = self.by_name.get(credentials.username.as_str());
        let hash = entry.map_or_else(|| self.decoy_for(credentials), |entry| &entry.hash);
        let matches = wiped_after(|| is_password(credentials.password.as_bytes(), &hash.password_hash(), memory));
        let Some(submitter) = entry.filter(|_| matches).map(|entry| Arc::clone(&entry.submitter)) else {
            self.remember_wrong(self.tag(credentials));
            return None;
        };
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.insert(self.tag(credentials), Arc::clone(&submitter));
        Some(submitter)
    }

    fn remember_wrong(&self, tag: [u8; 32]) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (tags, order) = &mut *wrong;
        if tags.insert(tag) {
            order.push_back(tag);
        }
        if order.len() > WRONG {
            order.pop_front().map(|oldest| tags.remove(&oldest));
        }
    }

    /// Chooses the decoy for an unknown name, always the same one, so that its check takes as long as that of some known name.
    fn decoy_for(&self, credentials: &Credentials) -> &PasswordHashString {
        // A mistyped name may be a password.
        let tag = wiped_after(|| hmac::sign(&self.key, credentials.username.as_bytes()));
        &self.decoys[tag.as_ref()[0] as usize % self.decoys.len()]
    }

    fn tag(&self, credentials: &Credentials) -> [u8; 32] {
        let tag = wiped_after(|| {
            let mut context = hmac::Context::with_key(&self.key);
            context.update(&credentials.username.len().to_le_bytes());
            context.update(credentials.username.as_bytes());
            context.update(credentials.password.as_bytes());
            context.sign()
        });
        tag.as_ref().try_into().expect("SHA-256 has 32 octets")
    }
}

impl fmt::Debug for Submitters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// The PHC string of a password, with a fresh salt and the crate's parameters (OWASP's: 19 MiB, 2 passes, 1 lane).
pub(crate) fn hash_password(password: &str) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

fn fingerprint(submitter: &Submitter) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&submitter.username.len().to_le_bytes());
    context.update(submitter.username.as_bytes());
    context.update(submitter.password_hash.as_bytes());
    Fingerprint(context.finish().as_ref().try_into().expect("SHA-256 has 32 octets"))
}

/// Returns true if a hash in PHC form is this password's. `false` also for one with parameters that Argon2 does not have.
fn is_password(password: &[u8], hash: &PasswordHash<'_>, memory: &mut Memory) -> bool {
    let mut salt = [0; Salt::MAX_LENGTH];
    let (Some(expected), Some(Ok(salt))) = (hash.hash, hash.salt.map(|text| text.decode_b64(&mut salt))) else {
        return false;
    };
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from);
    let (Ok(params), Ok(version)) = (Params::try_from(hash), version) else { return false };
    memory.0.resize(memory.0.len().max(params.block_count()), Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
    let made = Output::init_with(expected.len(), |made| {
        Ok(argon2.hash_password_into_with_memory(password, salt, made, &mut memory.0)?)
    });
    // Compared in constant time.
    made.is_ok_and(|made| made == expected)
}

fn decoy(params: Params) -> PasswordHashString {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 octets are a legal salt");
    let output = Output::new(&rand::random::<[u8; 32]>()).expect("32 octets are a legal output");
    PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: params.try_into().expect("parameters came from a hash"),
        salt: Some(salt.as_salt()),
        hash: Some(output),
    }
    .serialize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        let cheap = Params::new(8, 1, 1, None).unwrap();
        let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap)
            .hash_password(password.as_bytes(), &salt)
            .unwrap()
            .to_string()
    }

    fn submitter(name: &str, password: &str) -> Submitter {
        Submitter {
            username: name.into(),
            password_hash: hash(password),
            customers: Allowed::All,
            urgency: None,
            test: None,
        }
    }

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials { username: name.to_owned().into(), password: password.to_owned().into() }
    }

    #[test]
    fn a_password_is_remembered_only_after_it_was_verified() {
        let submitters = Submitters::new(vec![submitter("webcrm", "right")]).unwrap();
        let (right, wrong) = (credentials("webcrm", "right"), credentials("webcrm", "wrong"));
        assert!(submitters.remembered(&right).is_none());
        let mut memory = Memory::default();
        assert!(submitters.verify(&wrong, &mut memory).is_none());
        assert!(submitters.verify(&right, &mut memory).is_some());
        assert!(submitters.remembered(&right).is_some());
        assert!(submitters.remembered(&wrong).is_none());
        // Octets cannot move between name and password without changing the tag.
        assert!(submitters.remembered(&credentials("webcrmr", "ight")).is_none());
    }

    #[test]
    fn a_reload_forgets_a_password_only_where_it_changed() {
        let mut memory = Memory::default();
        let before = Submitters::new(vec![submitter("same", "one"), submitter("changed", "two")]).unwrap();
        for (name, password) in [("same", "one"), ("changed", "two")] {
            assert!(before.verify(&credentials(name, password), &mut memory).is_some());
        }
        let after = Submitters::new(vec![submitter("same", "one"), submitter("changed", "three")]).unwrap();
        let after = after.remembering(&before);
        assert!(after.remembered(&credentials("same", "one")).is_some());
        assert!(after.remembered(&credentials("changed", "two")).is_none());
        assert!(after.verify(&credentials("changed", "two"), &mut memory).is_none());
        assert!(after.verify(&credentials("changed", "three"), &mut memory).is_some());
    }

    #[test]
    fn memory_that_was_used_before_changes_no_answer() {
        let costly = Params::new(64, 2, 2, None).unwrap();
        let salt = SaltString::encode_b64(b"another salt.").unwrap();
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, costly).hash_password(b"long", &salt).unwrap();
        let other = Submitter { password_hash: hash.to_string(), ..submitter("other", "long") };
        let submitters = Submitters::new(vec![submitter("webcrm", "right"), other]).unwrap();
        let mut memory = Memory::default();
        for _ in 0..3 {
            for (name, password, is_right) in
                [("webcrm", "right", true), ("other", "long", true), ("other", "right", false), ("webcrm", "", false)]
            {
                let found = submitters.verify(&credentials(name, password), &mut memory);
                assert_eq!(found.is_some(), is_right, "{name} {password}");
            }
        }
        assert_eq!(memory.0.len(), 64);
    }

    #[test]
    fn an_unknown_name_is_checked_against_a_hash_of_the_same_cost() {
        let submitters = Submitters::new(vec![submitter("webcrm", "right")]).unwrap();
        assert!(submitters.verify(&credentials("nobody", "right"), &mut Memory::default()).is_none());
        let real = submitters.by_name["webcrm"].hash.password_hash().params.to_string();
        let decoy = submitters.decoy_for(&credentials("nobody", "x"));
        assert_eq!(decoy.password_hash().params.to_string(), real);
    }

    #[test]
    fn hashes_of_other_kinds_and_doubled_names_are_refused() {
        let bad = Submitter { password_hash: "$2y$10$abc".into(), ..submitter("a", "x") };
        assert_eq!(Submitters::new(vec![bad]).unwrap_err(), SubmitterError::Hash("a".into()));
        let twice = Submitters::new(vec![submitter("a", "x"), submitter("a", "y")]);
        assert_eq!(twice.unwrap_err(), SubmitterError::Twice("a".into()));
    }

    #[test]
    fn debug_output_shows_no_hash() {
        let text = format!("{:?}", submitter("webcrm", "right"));
        assert!(text.contains("webcrm") && !text.contains("argon2"), "{text}");
    }
}

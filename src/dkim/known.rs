//! The keys that are in use, by the content of their files. Reading an RSA key checks it, which takes about half a millisecond, and a
//! reload of ten thousand customers reads files that have hardly changed. Keys that nobody uses any more are forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aws_lc_rs::digest::{Context, SHA256};

use super::pair::Pair;
use crate::sealed::Passphrase;

/// Names a key by a digest of its file and of the passphrase that opens it. Content that a passphrase does not open has no name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name([u8; 32]);

impl Name {
    pub fn of(pem: &[u8], passphrase: Option<&Passphrase>) -> Self {
        let passphrase = passphrase.map(Passphrase::octets);
        let mut context = Context::new(&SHA256);
        context.update(&[u8::from(passphrase.is_some())]);
        let passphrase = passphrase.unwrap_or_default();
        context.update(&(passphrase.len() as u64).to_le_bytes());
        context.update(passphrase);
        context.update(pem);
        Name(context.finish().as_ref().try_into().expect("SHA-256 has 32 octets"))
    }
}

#[derive(Default)]
struct Known {
    keys: HashMap<Name, Weak<Pair>>,
    /// At this number of keys, those that are gone are removed.
    tidy_at: usize,
}

/// One for the process, because a key is the same for whoever reads it.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// Returns the key with this name, if it is in use.
pub(super) fn find(name: &Name) -> Option<Arc<Pair>> {
    known().as_ref()?.keys.get(name)?.upgrade()
}

/// Remembers a key for as long as it is in use.
pub(super) fn keep(name: Name, pair: &Arc<Pair>) {
    let mut known = known();
    let known = known.get_or_insert_default();
    known.keys.insert(name, Arc::downgrade(pair));
    if known.keys.len() > known.tidy_at {
        known.keys.retain(|_, pair| pair.strong_count() > 0);
        known.tidy_at = known.keys.len() * 2 + 16;
    }
}

/// Returns the number of keys that are in use.
pub fn count() -> usize {
    known().as_ref().map_or(0, |known| known.keys.values().filter(|pair| pair.strong_count() > 0).count())
}

fn known() -> MutexGuard<'static, Option<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::SigningKey;
    use super::*;

    #[test]
    fn a_key_in_use_is_not_read_again_and_one_that_is_gone_is_forgotten() {
        let pem = SigningKey::generate_rsa(2048).unwrap().to_pem().unwrap();
        let name = Name::of(pem.as_bytes(), None);
        assert!(find(&name).is_none());
        let first = SigningKey::from_pem(pem.as_bytes()).unwrap();
        let second = SigningKey::from_pem(pem.as_bytes()).unwrap();
        assert!(first.is_shared_with(&second));
        drop(first);
        assert!(find(&name).is_some());
        drop(second);
        assert!(find(&name).is_none());
    }

    #[test]
    fn a_sealed_key_is_opened_by_its_own_passphrase_only_even_while_it_is_known() {
        let passphrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned()));
        let right = passphrase("right");
        let pem = SigningKey::generate_ed25519().unwrap().to_sealed_pem(&right).unwrap();
        let key = SigningKey::from_pem_with(pem.as_bytes(), Some(&right)).unwrap();
        assert!(SigningKey::from_pem_with(pem.as_bytes(), Some(&right)).unwrap().is_shared_with(&key));
        assert!(SigningKey::from_pem_with(pem.as_bytes(), Some(&passphrase("wrong"))).is_err());
        assert!(SigningKey::from_pem_with(pem.as_bytes(), None).is_err());
    }
}

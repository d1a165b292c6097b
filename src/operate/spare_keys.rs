//! RSA keys that are made in advance. Making one takes a tenth of a second, and sometimes much longer, and whoever adds a customer waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dkim::{KeyError, SigningKey};

/// The size that new customers get.
const BITS: usize = 2048;
/// The number of keys that are kept ready. A program that brings customers in adds several one after the other, faster than keys are made.
const READY: usize = 16;

/// The keys. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SpareKeys(Arc<Mutex<Spares>>);

#[derive(Debug, Default)]
struct Spares {
    ready: Vec<SigningKey>,
    /// True while a thread makes keys.
    is_making: bool,
}

impl SpareKeys {
    /// Begins to make keys, on a thread of its own, until enough are ready.
    pub fn prepare(&self) {
        let mut spares = self.lock();
        if spares.is_making || spares.ready.len() >= READY {
            return;
        }
        let spare = self.clone();
        let started = std::thread::Builder::new().name("spare-keys".into()).spawn(move || spare.make());
        spares.is_making = started.is_ok();
    }

    /// Returns a key that nobody else gets, and prepares the next. If none is ready, it is made now.
    pub fn take(&self) -> Result<SigningKey, KeyError> {
        let ready = self.lock().ready.pop();
        self.prepare();
        ready.map_or_else(|| SigningKey::generate_rsa(BITS), Ok)
    }

    fn make(&self) {
        loop {
            let made = SigningKey::generate_rsa(BITS);
            let mut spares = self.lock();
            // After an error, whoever needs a key makes it and hears of the error.
            let is_made = made.map(|key| spares.ready.push(key)).is_ok();
            if !is_made || spares.ready.len() >= READY {
                spares.is_making = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn no_key_is_given_twice_and_the_next_ones_are_made_meanwhile() {
        let spare = SpareKeys::default();
        let keys: BTreeSet<String> =
            (0..READY + 2).map(|_| spare.take().unwrap().public_key_base64().unwrap()).collect();
        assert_eq!(keys.len(), READY + 2);
        let until = Instant::now() + Duration::from_secs(60);
        while spare.lock().is_making {
            assert!(Instant::now() < until, "the thread does not end");
            std::thread::yield_now();
        }
        assert_eq!(spare.lock().ready.len(), READY);
        assert!(!keys.contains(&spare.take().unwrap().public_key_base64().unwrap()));
    }
}

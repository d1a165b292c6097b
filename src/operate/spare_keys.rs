//! RSA keys that are made in advance. Making one takes a tenth of a second, and sometimes much longer, and whoever adds a customer waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dkim::{KeyError, SigningKey};

/// The size that new customers get.
const BITS: usize = 2048;
/// The number of keys that are kept ready. A program that brings customers in adds several one after the other, or at once, faster than
/// keys are made.
const READY: usize = 64;

/// The keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpareKeys {
    spares: Arc<Mutex<Spares>>,
    /// The number of keys that are kept ready.
    most: usize,
}

impl Default for SpareKeys {
    fn default() -> Self {
        SpareKeys { spares: Arc::default(), most: READY }
    }
}

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
        if spares.is_making || spares.ready.len() >= self.most {
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
        // On Linux this is about this thread alone. Mail comes first, also right after a start.
        let _ = rustix::process::nice(10);
        loop {
            let made = SigningKey::generate_rsa(BITS);
            let mut spares = self.lock();
            // After an error, whoever needs a key makes it and hears of the error.
            let is_made = made.map(|key| spares.ready.push(key)).is_ok();
            if !is_made || spares.ready.len() >= self.most {
                spares.is_making = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spares> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn no_key_is_given_twice_and_the_next_ones_are_made_meanwhile() {
        const MOST: usize = 4;
        let spare = SpareKeys { most: MOST, ..SpareKeys::default() };
        let keys: BTreeSet<String> =
            (0..MOST + 2).map(|_| spare.take().unwrap().public_key_base64().unwrap()).collect();
        assert_eq!(keys.len(), MOST + 2);
        let until = Instant::now() + Duration::from_secs(60);
        while spare.lock().is_making {
            assert!(Instant::now() < until, "the thread does not end");
            std::thread::yield_now();
        }
        assert_eq!(spare.lock().ready.len(), MOST);
        assert!(!keys.contains(&spare.take().unwrap().public_key_base64().unwrap()));
    }
}

//! A limit on what goes on at the same time, of which nobody takes all: whoever has its part waits, and the others do not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many places, and so many of them at most for one taker. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places(Arc<Inner>);

struct Inner {
    all: Arc<Semaphore>,
    of_one: usize,
    /// The places of each taker that has any.
    own: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place that is taken until this is dropped.
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    pub fn new(all: usize, of_one: usize) -> Self {
        Places(Arc::new(Inner { all: Arc::new(Semaphore::new(all)), of_one, own: Mutex::default() }))
    }

    /// Waits for a place. Takers that have their part wait for their own places, and only then in line with the others.
    pub async fn take(&self, taker: &str) -> Place {
        const NEVER: &str = "the semaphores are never closed";
        let own = self.own(taker).acquire_owned().await.expect(NEVER);
        let of_all = Arc::clone(&self.0.all).acquire_owned().await.expect(NEVER);
        Place { _own: own, _of_all: of_all }
    }

    /// Takes a place if there is one now.
    pub fn try_take(&self, taker: &str) -> Option<Place> {
        let own = self.own(taker).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.0.all).try_acquire_owned().ok()?;
        Some(Place { _own: own, _of_all: of_all })
    }

    fn own(&self, taker: &str) -> Arc<Semaphore> {
        let mut all = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(taker).and_then(Weak::upgrade) {
            return own;
        }
        all.retain(|_, places| places.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.0.of_one));
        all.insert(taker.to_owned(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_waits_behind_itself_and_holds_up_nobody_else() {
        let places = Places::new(4, 2);
        let held = [places.take("one").await, places.take("one").await];
        let flood: Vec<_> = (0..50)
            .map(|_| {
                let places = places.clone();
                tokio::spawn(async move { timeout(Duration::from_secs(1), places.take("one")).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        for _ in 0..20 {
            places.take("other").await;
        }
        assert!(begun.elapsed().is_zero() && places.try_take("other").is_some() && places.try_take("one").is_none());
        for waiting in flood {
            assert!(!waiting.await.unwrap());
        }
        drop(held);
        let all = [places.take("one").await, places.take("one").await, places.take("b").await, places.take("c").await];
        assert!(places.try_take("d").is_none(), "no more than all of them");
        drop(all);
        assert!(places.try_take("d").is_some());
        assert_eq!(places.0.own.lock().unwrap().len(), 1, "whoever has none is forgotten");
    }
}

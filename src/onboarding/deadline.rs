//! The time limit for all checks of one domain, which run at the same time.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::finding::{Check, Finding, Item, Need};

/// The time limit for all checks of one domain, which run at the same time.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    whole: Duration,
    ends: Instant,
}

impl Deadline {
    /// A limit that begins now.
    pub fn begins(whole: Duration) -> Self {
        Deadline { whole, ends: Instant::now() + whole }
    }

    /// The moment at which the time is over.
    pub fn ends(self) -> Instant {
        self.ends
    }

    /// Returns the result of `check`. If the time ends first, returns an error with a check whose result is unknown.
    pub async fn of<T>(self, item: Item, need: Need, check: impl Future<Output = T>) -> Result<T, Check> {
        tokio::time::timeout_at(self.ends, check).await.map_err(|_| {
            let mut unknown = Check::new(item, need);
            unknown.say(Finding::OutOfTime { secs: self.whole.as_secs() });
            unknown
        })
    }
}

//! The time limit for all checks of one domain, which run at the same time, and a callback as each of them ends.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::finding::{Check, Finding, Item, Need, Severity};

/// Told that a check has ended: which, and how it stands so far. `None`: that depends on the others. The report may say something
/// worse, because some checks are judged together.
pub type Told<'a> = dyn Fn(Item, Option<Severity>) + Send + Sync + 'a;

/// The time limit for all checks of one domain, which run at the same time.
#[derive(Clone, Copy)]
pub(super) struct Deadline<'a> {
    whole: Duration,
    ends: Instant,
    told: Option<&'a Told<'a>>,
}

/// What a check gives: its severity by itself, where it has one.
pub(super) trait Outcome {
    /// How it stands so far.
    fn severity(&self) -> Option<Severity>;
}

impl Outcome for Check {
    fn severity(&self) -> Option<Severity> {
        Some(Check::severity(self))
    }
}

impl<T> Outcome for (Check, T) {
    fn severity(&self) -> Option<Severity> {
        Some(self.0.severity())
    }
}

impl<T, E> Outcome for Result<T, E> {
    fn severity(&self) -> Option<Severity> {
        None
    }
}

impl<'a> Deadline<'a> {
    /// A limit that begins now.
    pub fn begins(whole: Duration) -> Self {
        Deadline { whole, ends: Instant::now() + whole, told: None }
    }

    /// The same, telling of each check that ends.
    pub fn telling(self, told: &'a Told<'a>) -> Self {
        Deadline { told: Some(told), ..self }
    }

    /// The moment at which the time is over.
    pub fn ends(self) -> Instant {
        self.ends
    }

    /// Returns the result of `check`. If the time ends first, returns an error with a check whose result is unknown.
    pub async fn of<T: Outcome>(self, item: Item, need: Need, check: impl Future<Output = T>) -> Result<T, Check> {
        let ended = tokio::time::timeout_at(self.ends, check).await.map_err(|_| {
            let mut unknown = Check::new(item, need);
            unknown.say(Finding::OutOfTime { secs: self.whole.as_secs() });
            unknown
        });
        if let Some(told) = self.told {
            told(item, ended.as_ref().map_or(Some(Severity::Unknown), Outcome::severity));
        }
        ended
    }
}

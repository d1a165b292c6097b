//! The time limit for all checks of one domain, which run at the same time, and a callback as each of them ends.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::finding::{Check, Finding, Item, Need, Severity};

/// Called when a check ends, with its item and its severity so far. The severity is `None` if it depends on other checks. The report may
/// say something worse, because some checks are judged together.
pub type Told<'a> = dyn Fn(Item, Option<Severity>) + Send + Sync + 'a;

/// The time limit for all checks of one domain, which run at the same time.
#[derive(Clone, Copy)]
pub(super) struct Deadline<'a> {
    whole: Duration,
    ends: Instant,
    told: Option<&'a Told<'a>>,
}

/// The result of a check, which may have a severity of its own.
pub(super) trait CheckResult {
    /// Returns the severity so far, or `None` if it depends on other checks.
    fn severity(&self) -> Option<Severity>;
}

impl CheckResult for Check {
    fn severity(&self) -> Option<Severity> {
        Some(Check::severity(self))
    }
}

impl<T> CheckResult for (Check, T) {
    fn severity(&self) -> Option<Severity> {
        Some(self.0.severity())
    }
}

impl<T, E> CheckResult for Result<T, E> {
    fn severity(&self) -> Option<Severity> {
        None
    }
}

impl<'a> Deadline<'a> {
    /// Begins the time limit now.
    pub fn begins(whole: Duration) -> Self {
        Deadline { whole, ends: Instant::now() + whole, told: None }
    }

    /// Returns the same limit, which also calls `told` for each check that ends.
    pub fn telling(self, told: &'a Told<'a>) -> Self {
        Deadline { told: Some(told), ..self }
    }

    /// Returns when the time is over.
    pub fn ends(self) -> Instant {
        self.ends
    }

    /// Returns the result of `check`. If the time ends first, returns an error with a check whose result is unknown.
    pub async fn of<T: CheckResult>(self, item: Item, need: Need, check: impl Future<Output = T>) -> Result<T, Check> {
        let ended = tokio::time::timeout_at(self.ends, check).await.map_err(|_| {
            let mut unknown = Check::new(item, need);
            unknown.say(Finding::OutOfTime { secs: self.whole.as_secs() });
            unknown
        });
        if let Some(told) = self.told {
            told(item, ended.as_ref().map_or(Some(Severity::Unknown), CheckResult::severity));
        }
        ended
    }
}

//! Limits how many requests read the record at the same time. Reading it takes whole cores and much memory, and a program can ask faster
//! than it is answered: without a limit, one token would take the cores from mail and from everybody else's requests. Pages of events have
//! places of their own, so that whoever follows the events never waits for slow searches.

use std::time::Duration;

use super::fair::{Place, Places};
use super::{Actor, Error, ErrorKind};

/// The most readings of a sort at once. Each is on a thread of its own.
const AT_ONCE: usize = 4;
/// The most readings of a sort of one actor at once.
const OF_ONE: usize = 2;
/// How long a reading waits for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// The readings that are under way. Cheap to clone.
#[derive(Clone)]
pub struct Readings {
    pages: Places,
    searches: Places,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A page of events.
    Page,
    /// Everything about some mails.
    Search,
}

/// One reading, which counts until this is dropped.
pub(super) struct Reading {
    _place: Place,
}

impl Default for Readings {
    fn default() -> Self {
        Readings { pages: Places::new(AT_ONCE, OF_ONE), searches: Places::new(AT_ONCE, OF_ONE) }
    }
}

impl Readings {
    /// Waits for the actor's turn. Returns an error if that takes too long.
    pub(super) async fn begin(&self, actor: &Actor, sort: Sort) -> Result<Reading, Error> {
        let places = match sort {
            Sort::Page => &self.pages,
            Sort::Search => &self.searches,
        };
        match tokio::time::timeout(PATIENCE, places.take(&actor.to_string())).await {
            Ok(place) => Ok(Reading { _place: place }),
            Err(_) => {
                let message = format!("too many requests read the record now, {OF_ONE} of {actor} at most");
                Err(Error::new(ErrorKind::TooMany, message, "wait until earlier requests are answered"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::Role;

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_too_much_is_told() {
        let (readings, actor) = (Readings::default(), Actor::new("token one", Role::Read));
        let held =
            [readings.begin(&actor, Sort::Search).await.unwrap(), readings.begin(&actor, Sort::Search).await.unwrap()];
        let refused = readings.begin(&actor, Sort::Search).await.err().unwrap();
        assert!(refused.kind == ErrorKind::TooMany && refused.message.contains("token one"), "{refused}");
        assert!(readings.begin(&Actor::new("token other", Role::Read), Sort::Search).await.is_ok());
        let pages = [readings.begin(&actor, Sort::Page).await, readings.begin(&actor, Sort::Page).await];
        assert!(pages.iter().all(Result::is_ok), "events do not wait for searches");
        assert!(readings.begin(&actor, Sort::Page).await.is_err());
        drop(held);
        assert!(readings.begin(&actor, Sort::Search).await.is_ok());
    }
}

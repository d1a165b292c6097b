//! Brings the events of changes into the event log. The changes stay on disk until the log has them, so a crash in between loses none: the
//! next start emits the events again, with the same ids.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Monitor;
use crate::customers::Customer;
use crate::events::Event;
use crate::onboarding::state::Change;
use crate::smtp::Domain;

/// The pause before another attempt, if the log or the disk takes nothing.
const RETRY: Duration = Duration::from_secs(5);

/// The changes whose events are on their way into the log.
#[derive(Default)]
pub(super) struct Telling {
    tasks: JoinSet<Told>,
    under_way: HashMap<Domain, Vec<Change>>,
}

/// Changes that the log has, and that are no longer on disk as unreported.
pub(super) struct Told {
    domain: Domain,
    changes: Vec<Change>,
}

impl Telling {
    /// Returns those of a domain's unreported changes that are not under way, or `None` if there is nothing to do about them.
    pub(super) fn fresh(&self, domain: &Domain, unreported: &[Change]) -> Option<Vec<Change>> {
        let Some(under_way) = self.under_way.get(domain) else { return Some(unreported.to_vec()) };
        let fresh: Vec<Change> = unreported.iter().filter(|change| !under_way.contains(change)).cloned().collect();
        (!fresh.is_empty()).then_some(fresh)
    }

    /// Returns the next changes that the log has, or `None` if nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            match self.tasks.join_next().await? {
                Ok(told) => return Some(told),
                Err(error) => tracing::error!("changes of a domain are reported at the next start: {error}"),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl Monitor {
    /// Emits the events of a domain's changes without waiting for the log.
    pub(super) fn tell(
        &mut self,
        customer: &Customer,
        domain: &Domain,
        changes: Vec<Change>,
        told: Vec<Event<'static>>,
    ) {
        self.telling.under_way.entry(domain.clone()).or_default().extend(changes.iter().cloned());
        let (events, store) = (self.events.clone(), self.store.clone());
        let (customer, domain) = (customer.id.clone(), domain.clone());
        self.telling.tasks.spawn(async move {
            while !events.emit_synced(told.iter().cloned()).await {
                tokio::time::sleep(RETRY).await;
            }
            loop {
                let (store, id, of, reported) = (store.clone(), customer.clone(), domain.clone(), changes.clone());
                match tokio::task::spawn_blocking(move || store.reported(&id, &of, &reported)).await {
                    Ok(Ok(())) => return Told { domain, changes },
                    Ok(Err(error)) => tracing::warn!("the reported changes of {domain} stay on disk: {error}"),
                    Err(error) => tracing::error!("the reported changes of {domain} stay on disk: {error}"),
                }
                tokio::time::sleep(RETRY).await;
            }
        });
    }

    /// Forgets changes that the log has.
    pub(super) fn told(&mut self, told: Told) {
        let Told { domain, changes } = told;
        if let Some(under_way) = self.telling.under_way.get_mut(&domain) {
            under_way.retain(|change| !changes.contains(change));
            if under_way.is_empty() {
                self.telling.under_way.remove(&domain);
            }
        }
        if let Some(state) = self.states.get_mut(&domain) {
            state.forget_reported(&changes);
        }
    }
}

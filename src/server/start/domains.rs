//! The checks of customers' domains, and what receivers report about these domains.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::super::open::{self, DurableParts, state};
use super::super::{Settings, StartError};
use super::tasks::Tasks;
use crate::customers::Routing;
use crate::onboarding::{self, Checker, Monitor};
use crate::resolver::Dns;
use crate::returns::dmarc::Reports;

/// The running domain checks, and the DMARC reports.
pub(super) struct Domains {
    /// Receives the settings of a reload.
    pub settings: watch::Sender<Arc<onboarding::Settings>>,
    pub counters: onboarding::Counters,
    /// Receives the results of checks that somebody asked for.
    pub looks: mpsc::Sender<onboarding::Looked>,
    /// The changes to write letters about.
    pub changes: mpsc::Receiver<onboarding::Changed>,
    pub dmarc: Reports,
}

impl Domains {
    /// Starts the checks. The results of the last run are available before the first message is routed.
    pub async fn open(
        settings: &Settings,
        stored: &DurableParts,
        routing: &Routing,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let (home, spool) = (settings.spool.state_home(&settings.state_dir), Arc::clone(&stored.spool));
        let onboarding = open::share_domains(settings.onboarding.clone(), &home, &stored.database).await?;
        let state_dir = onboarding.state_dir.clone();
        // The checks have their own resolver, so that delivery never waits for what strangers' name servers do to it.
        let checker = Checker::new(onboarding, Arc::new(Dns::new(&settings.resolver)?))
            .map_err(|source| state("cannot keep the results of checks in", &state_dir, source))?;
        let monitor = Monitor::new(checker, routing.clone(), stored.events.clone());
        let mut monitor = monitor.only_while(move || spool.leads());
        let (settings_of_checks, counters) = (monitor.settings(), monitor.counters().clone());
        let (looks, changes) = (monitor.looks(), monitor.changes());
        let stopped = monitor.start(tasks.stopping.clone()).map_err(StartError::Threads)?;
        // Nothing is sent; the channel closes when the thread ends.
        tasks.spawn(|_| async { drop(stopped.await) });
        let dmarc =
            open::dmarc(stored.database.clone(), settings.dmarc.keep, routing.clone(), &settings_of_checks).await?;
        Ok(Domains { settings: settings_of_checks, counters, looks, changes, dmarc })
    }
}

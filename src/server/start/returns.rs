//! Opens what receives reports about mail that was sent: the endpoint for Mailjet's events, and the listener for returned mail.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::open::{self, DurableParts};
use super::super::{Settings, StartError};
use super::domains::Domains;
use super::path::MessagePath;
use crate::returns::mail::{self, ReturnedMail};
use crate::returns::mailjet::{self, Mailjet};

/// The ways back, each `None` if it is not configured. Both wait until they are started.
pub(super) struct Returns {
    pub mailjet: Option<Mailjet>,
    pub mail: Option<ReturnedMail>,
}

impl Returns {
    /// Opens both inboxes, and binds the listener for returned mail.
    pub async fn open(
        settings: &Settings,
        stored: &DurableParts,
        path: &MessagePath,
        domains: &Domains,
        accepting: &CancellationToken,
    ) -> Result<Self, StartError> {
        let mailjet = match settings.mailjet_events.clone() {
            None => None,
            Some(settings) => Some(Mailjet::open(settings, mailjet_parts(stored, path, domains)).await?),
        };
        let mail = match (settings.returned_mail.clone(), path.return_paths.clone()) {
            (Some(of_mail), Some(paths)) => {
                let parts = mail::Parts {
                    hostname: settings.hostname.clone(),
                    state_dir: settings.state_dir.clone(),
                    paths,
                    events: stored.events.clone(),
                    suppression: stored.suppression.clone(),
                    outcomes: path.outcomes.clone(),
                    routing: path.routing.clone(),
                    spool: stored.spool.clone(),
                    retry_first: path.first_retry,
                    egress: settings.egress.address,
                    dmarc: Some(Arc::new(domains.dmarc.clone())),
                };
                Some(open::returned_mail(of_mail, parts, accepting.clone())?)
            }
            _ => None,
        };
        Ok(Returns { mailjet, mail })
    }
}

fn mailjet_parts(stored: &DurableParts, path: &MessagePath, domains: &Domains) -> mailjet::Parts {
    mailjet::Parts {
        database: stored.database.clone(),
        events: stored.events.clone(),
        routing: path.routing.clone(),
        suppression: stored.suppression.clone(),
        outcomes: path.outcomes.clone(),
        accounts: domains.settings.subscribe(),
    }
}

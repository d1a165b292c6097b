//! Starts the tasks beside the path of a message, which run until the relay stops.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::refeed::{self, Refeed};
use super::http::Answering;
use super::returns::Returns;
use super::tasks::Tasks;
use crate::customers::suppression::{Feed, Suppression};
use crate::onboarding::Changed;
use crate::operate::letters::Letters;
use crate::operate::{self, Service, socket};
use crate::returns::dmarc::Reports;

/// Everything that runs in the background, before it does.
pub(super) struct Background {
    pub state_dir: PathBuf,
    pub service: Service,
    pub control: socket::Listener,
    pub answering: Vec<Answering>,
    pub returns: Returns,
    pub dmarc: Reports,
    /// Writes letters about these changes of domains.
    pub letters: Letters,
    pub changes: mpsc::Receiver<Changed>,
    pub suppression: Suppression,
    /// The reports that are added to the suppression lists.
    pub reports: Feed,
    pub refeed: Refeed,
}

impl Background {
    pub fn start(self, tasks: &Tasks) {
        let Background { state_dir, service, letters, changes, dmarc, refeed, .. } = self;
        // What operators see, and what they command.
        let (events, spool) = (service.events.clone(), Arc::clone(&service.spool));
        tasks.spawn(|stopping| service.history.clone().follow(events, spool, stopping));
        tasks.spawn(|stopping| service.clone().answer_others(stopping));
        tasks.spawn(|stopping| service.clone().erase_owed(stopping));
        tasks.spawn(|stopping| socket::serve(self.control, service.clone(), stopping));
        tasks.spawn(|stopping| operate::collect_audit(state_dir, service.events.clone(), stopping));
        for (endpoint, router) in self.answering {
            tasks.spawn(|stopping| endpoint.serve(router, stopping));
        }
        let (tokens, operators) = (service.tokens, service.operators);
        tasks.spawn(|stopping| async move {
            stopping.run_until_cancelled(async { tokio::join!(tokens.follow(), operators.follow()) }).await;
        });

        // What comes back about mail.
        if let Some(mail) = self.returns.mail {
            tasks.spawn(|stopping| mail.run(stopping));
        }
        if let Some(mailjet) = self.returns.mailjet {
            mailjet.start(&tasks.running, &tasks.stopping);
        }
        tasks.spawn(|stopping| dmarc.run(stopping));
        let (lists, reports, fed) = (self.suppression, self.reports, refeed.file.clone());
        tasks.spawn(|stopping| refeed.run(stopping));
        tasks.spawn(|stopping| async move {
            lists.run(reports, stopping).await;
            refeed::note_end(&lists, &fed);
        });
        tasks.spawn(|stopping| letters.run(changes, stopping));
    }
}

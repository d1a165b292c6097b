//! Probes a customer's routes: finds what a delivery would find, without sending anything.

use std::collections::VecDeque;
use std::sync::Arc;

use super::audit::Act;
use super::jobs::{Job, JobKind, JobResult, Jobs};
use super::site::{Site, postmaster};
use super::{Actor, Error};
use crate::customers::Via;
use crate::delivery::{Delivery, ProbeReport};
use crate::events::Action;
use crate::route::Route;
use crate::smtp::Mailbox;

/// Probes one route after the other.
pub struct Probe {
    delivery: Delivery,
    from: Mailbox,
    to: Mailbox,
    routes: VecDeque<Arc<Route>>,
}

impl Site {
    /// Prepares a probe of a customer's routes: its own server; or its own Mailjet account, and every Mailjet tier or the one in its file.
    /// The default of `from` is postmaster@ the customer's first domain; the default of `to` is `from`. The audit has the probe before it
    /// begins.
    pub fn probe(
        &self,
        actor: &Actor,
        customer: &str,
        from: Option<Mailbox>,
        to: Option<Mailbox>,
    ) -> Result<Probe, Error> {
        let customer = self.customer(actor, customer)?;
        let from = match from {
            Some(from) => from,
            None => postmaster(&customer)?,
        };
        let to = to.unwrap_or_else(|| from.clone());
        let routes = match &customer.via {
            Via::OwnServer(route) => VecDeque::from([Arc::clone(route)]),
            Via::Mailjet { tier } => {
                let all = self.configured.directory.tiers().iter();
                let tiers = all.filter(|(name, _)| tier.as_ref().is_none_or(|fixed| fixed == *name));
                let tiers = tiers.map(|(_, tier)| Arc::clone(&tier.route));
                customer.own_mailjet.iter().cloned().chain(tiers).collect()
            }
        };
        let delivery = self.delivery()?;
        let detail = format!("a probe of its routes was commanded, with MAIL FROM:<{from}> and RCPT TO:<{to}>");
        let (customer, recipient) = (Some(customer.id.to_string()), Some(to.to_string()));
        let act = Act { customer, recipient, ..Act::new(Action::CustomerProbe, detail) };
        self.audit()?.tell(actor, act)?;
        Ok(Probe { delivery, from, to, routes })
    }
}

impl Probe {
    /// Continues as a job of this actor.
    pub fn begin(mut self, jobs: &Jobs, actor: &Actor, customer: String) -> Result<Job, Error> {
        let task = jobs.begin(actor, JobKind::Probe, Some(customer))?;
        Ok(task.spawn(|_| async move {
            let mut reports = Vec::new();
            while let Some(report) = self.next().await {
                reports.push(report);
            }
            Ok(JobResult::Probe(reports))
        }))
    }

    /// Returns the report on the next route, or `None` after the last.
    pub async fn next(&mut self) -> Option<ProbeReport> {
        let route = self.routes.pop_front()?;
        Some(self.delivery.probe(&route, &self.from, &self.to).await)
    }
}

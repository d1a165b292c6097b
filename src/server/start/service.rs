//! The service of commands, and the configuration that they see.

use std::sync::{Arc, Mutex};

use super::super::live::Live;
use super::super::open::DurableParts;
use super::super::{Settings, StartError};
use super::domains::Domains;
use super::path::MessagePath;
use crate::operate::{self, Acknowledgements, History, Jobs, Links, Nodes, Readings, Service, SpareKeys, Tokens};

/// Returns the configuration, parts of which reloads and commands replace later.
pub(super) fn live(settings: &Settings, stored: &DurableParts, path: &MessagePath, domains: &Domains) -> Live {
    Live {
        hostname: settings.hostname.clone(),
        state_dir: settings.state_dir.clone(),
        state_home: settings.spool.state_home(&settings.state_dir),
        egress: settings.egress.clone(),
        timeouts: settings.timeouts,
        resolver: settings.resolver.clone(),
        returns_domain: settings.returned_mail.as_ref().map(|returned| returned.domain.clone()),
        mailjet_events: settings.mailjet_events.clone(),
        routing: path.routing.clone(),
        queue: path.queue().clone(),
        events: stored.events.clone(),
        onboarding: domains.settings.clone(),
        looks: domains.looks.clone(),
        dmarc: settings.dmarc.clone(),
        customer_files: Mutex::new(Arc::clone(&settings.customer_files)),
        with_passwords: Mutex::default(),
    }
}

/// Opens the service. It knows who may command, and what was commanded.
pub(super) fn open(
    settings: &Settings,
    stored: &DurableParts,
    path: &MessagePath,
    domains: &Domains,
    live: Arc<Live>,
) -> Result<Service, StartError> {
    let database = &stored.database;
    let sessions = settings.operators_pages.as_ref().map(|it| it.sessions).unwrap_or_default();
    let spare_keys = SpareKeys::default();
    if settings.api.is_some() {
        // Customers are added over it.
        spare_keys.prepare();
    }
    Ok(Service {
        spool: Arc::clone(&stored.spool),
        routes: Arc::new(path.queue().clone()),
        routing: path.routing.clone(),
        events: stored.events.clone(),
        outcomes: path.outcomes.clone(),
        suppression: stored.suppression.clone(),
        dmarc: Some(domains.dmarc.clone()),
        tokens: Tokens::open(database.clone())?,
        operators: operate::Operators::open(database.clone(), &settings.limits, sessions)?,
        acknowledgements: Acknowledgements::new(database.clone()),
        history: History::new(database.clone()),
        jobs: Jobs::default(),
        readings: Readings::default(),
        links: Links::new(database.clone(), settings.customers_pages.as_ref().map(|pages| pages.url.clone())),
        spare_keys,
        nodes: Nodes::new(database),
        live: Some(live),
    })
}

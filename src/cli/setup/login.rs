//! Tries the login at each Mailjet tier, as the first delivery would.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::cli::{block_on, signals};
use crate::delivery::{self, Delivery, ProbeStep, Step, StepResult};
use crate::resolver::{Dns, SharedResolver};
use crate::server::Settings;
use crate::smtp::Mailbox;

/// A server refuses a login, for the reason that it gives.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LoginRefused(String);

/// Fails with [`LoginRefused`] if a server refuses the login. An unreachable server is only reported, because the network may not be ready yet.
pub(super) fn try_tiers(settings: Settings) -> anyhow::Result<()> {
    block_on(async move {
        tokio::select! {
            tried = try_all(settings) => tried,
            interrupted = signals::wait() => interrupted.context("cannot wait for signals").and_then(|()| bail!("interrupted")),
        }
    })
}

async fn try_all(settings: Settings) -> anyhow::Result<()> {
    let hostname = settings.hostname.as_str().to_owned();
    let resolver: SharedResolver = Arc::new(Dns::new(&settings.resolver)?);
    let delivery = Delivery::new(delivery::Settings {
        timeouts: settings.timeouts,
        resolver: Some(resolver),
        ..delivery::Settings::new(&hostname, settings.egress)
    })?;
    let postmaster = Mailbox::parse(&format!("postmaster@{hostname}")).context("the relay's name")?;
    for (name, tier) in settings.directory.tiers() {
        let report = delivery.probe(&tier.route, &postmaster, &postmaster).await;
        // Steps after the login are about a sender that Mailjet does not know.
        let is_before =
            |step: &&ProbeStep| !matches!(step.step, Step::Mail | Step::Rcpt | Step::Rset | Step::OpenRelay);
        let failed = report.steps.iter().filter(is_before).find(|step| step.finding == StepResult::Failed);
        match failed {
            None => say!("{}: the login of [mailjet.{name}] is accepted", report.server),
            Some(ProbeStep { step: Step::Login, found, .. }) => {
                bail!(LoginRefused(format!("{} refuses the login of [mailjet.{name}]: {found}", report.server)))
            }
            Some(ProbeStep { step, found, .. }) => say!(
                "{}: the login of [mailjet.{name}] could not be tried ({step}: {found}); `postbud probe CUSTOMER` tries it later",
                report.server
            ),
        }
    }
    Ok(())
}

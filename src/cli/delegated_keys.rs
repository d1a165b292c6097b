//! Keeps delegated keys up to date while the relay runs: their records in webCRM's zone, running rotations, and rotations that are due.
//!
//! A round changes customers' files, which the relay then reads again. It works like a command outside the relay. A round that fails raises
//! an alert for the customer and is repeated.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::config::ServerFile;
use crate::events::{Event, Events, Subject};
use crate::message::CustomerId;
use crate::operate::zone::KeysKept;
use crate::operate::{Actor, Role, Site};

/// Runs the rounds in its own task.
pub(super) struct DelegatedKeys {
    reloaded: watch::Sender<()>,
    switched: mpsc::Receiver<Vec<String>>,
}

impl DelegatedKeys {
    /// Starts the rounds.
    pub(super) fn start(files: ServerFile, events: Events) -> Self {
        let (reloaded, changes) = watch::channel(());
        let (tell, switched) = mpsc::channel(1);
        tokio::spawn(rounds(files, events, changes, tell));
        DelegatedKeys { reloaded, switched }
    }

    /// Waits until customers' files name other keys and must be read again. Returns the customers.
    pub(super) async fn switched(&mut self) -> Vec<String> {
        match self.switched.recv().await {
            Some(customers) => customers,
            None => std::future::pending().await,
        }
    }

    /// Starts a round at once, because the configuration was read again.
    pub(super) fn reloaded(&self) {
        self.reloaded.send_replace(());
    }
}

async fn rounds(files: ServerFile, events: Events, mut changes: watch::Receiver<()>, tell: mpsc::Sender<Vec<String>>) {
    loop {
        changes.borrow_and_update();
        let pause = match round(&files, &events).await {
            // There is nothing to do before the configuration changes.
            Round::Idle => None,
            Round::Done { again, switched } => {
                if !switched.is_empty() && tell.send(switched).await.is_err() {
                    return;
                }
                Some(again)
            }
        };
        let changed = match pause {
            None => changes.changed().await,
            Some(pause) => tokio::select! {
                changed = changes.changed() => changed,
                () = tokio::time::sleep(pause) => Ok(()),
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

enum Round {
    Idle,
    Done { again: Duration, switched: Vec<String> },
}

async fn round(files: &ServerFile, events: &Events) -> Round {
    // This reads many files.
    let site = match tokio::task::block_in_place(|| Site::open(files)) {
        Ok(site) => site,
        Err(error) => {
            tracing::warn!("delegated keys are not looked after until the configuration is right: {error}");
            return Round::Idle;
        }
    };
    let settings = site.onboarding();
    if settings.delegation.as_ref().is_none_or(|delegation| delegation.updates.is_none()) {
        return Round::Idle;
    }
    let again = settings.check_every_while_incomplete;
    let KeysKept { switched, failed, kept } = site.keep_keys(&Actor::new("postbud", Role::Admin)).await;
    for (customer, reason) in failed {
        let alert = Event::alert(format!("its delegated key is not looked after: {reason}"));
        let owner = CustomerId::new(&customer);
        events.emit(alert.with_subject(Subject::DelegatedKey(customer)).about_customer(&owner));
    }
    for customer in kept.iter().chain(&switched) {
        events.resolve(&Subject::DelegatedKey(customer.clone()), "its delegated key is looked after again");
    }
    Round::Done { again, switched }
}

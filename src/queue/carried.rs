//! The queue's knowledge of customers and routes that must move to another node: when a node takes over a customer, or when all nodes must
//! know it.
//!
//! | text | belongs to | content |
//! |---|---|---|
//! | `throttle ROUTE` | the owner of the customer that has this server or Mailjet account | what was sent today and in the last minute, and the server's troubles |
//! | `volume` | the owner of the customer | what the customer has sent in each hour |
//! | `suspended ROUTE` | all nodes | why a route is suspended |
//! | `paused CUSTOMER` | all nodes | why a customer is paused |
//!
//! If a node's files differ from the shared spool, the spool wins. Texts that arrive before the queue exists are kept until it does.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::inner::Inner;
use super::schedule::throttle_state::ThrottleState;
use super::volume::Volume;
use super::{OpenedQueue, Queue};
use crate::customers::{Directory, Pause, Via};
use crate::message::CustomerId;
use crate::route::{Cause, RouteId};
use crate::spool::{Carried, Texts};
use crate::time::Timestamp;

const THROTTLE: &str = "throttle ";
const VOLUME: &str = "volume";
const SUSPENDED: &str = "suspended ";
const PAUSED: &str = "paused ";

/// A suspension without the fingerprint of its login, because fingerprints are comparable only within one node's file. After the login has
/// been corrected, each node lets its own attempt show whether the server accepts it.
#[derive(Serialize, Deserialize)]
struct Suspension {
    cause: Cause,
    reason: String,
    since: u64,
}

#[derive(Default)]
struct State {
    /// The customers that this node took over before the queue existed.
    early: Vec<(CustomerId, Texts)>,
    queue: Option<Weak<Inner>>,
    /// The texts for all nodes, as this node's files had them at the start.
    common: Texts,
    /// The digest of the directory, and the directory that it was computed from.
    digest: Option<(Arc<Directory>, String)>,
}

/// The queue's part of what nodes tell each other.
#[derive(Default)]
pub struct Carrier(Mutex<State>);

impl Carrier {
    /// Connects the queue, and hands it the texts that arrived earlier. Call this before the queue delivers.
    pub fn attach(&self, opened: &OpenedQueue) {
        let Queue(inner) = opened.queue();
        let mut state = self.state();
        state.queue = Some(Arc::downgrade(inner));
        state.common = common(inner);
        let early = std::mem::take(&mut state.early);
        drop(state);
        for (customer, texts) in early {
            take_over(inner, &customer, &texts);
        }
    }

    fn queue(&self) -> Option<Arc<Inner>> {
        self.state().queue.as_ref().and_then(Weak::upgrade)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carried for Carrier {
    fn of_customers(&self, owns: &dyn Fn(&CustomerId) -> bool) -> BTreeMap<CustomerId, Texts> {
        let Some(inner) = self.queue() else { return BTreeMap::new() };
        let mut all: BTreeMap<CustomerId, Texts> = BTreeMap::new();
        let states = inner.with_routes(|routes, _| routes.throttle_states());
        for customer in inner.parts.routing.directory().customers().filter(|customer| owns(&customer.id)) {
            let own = match &customer.via {
                Via::OwnServer(route) => Some(route),
                Via::Mailjet { .. } => customer.own_mailjet.as_ref(),
            };
            if let Some((id, state)) = own.and_then(|route| states.get_key_value(&route.id)) {
                all.entry(customer.id.clone()).or_default().insert(format!("{THROTTLE}{id}"), text(state));
            }
        }
        for (customer, volume) in inner.parts.outcomes.volumes().of_customers(owns) {
            all.entry(customer).or_default().insert(VOLUME.into(), text(&volume));
        }
        all
    }

    fn take_over(&self, customer: CustomerId, texts: Texts) {
        let mut state = self.state();
        let queue = state.queue.as_ref().and_then(Weak::upgrade);
        match queue {
            Some(inner) => {
                drop(state);
                take_over(&inner, &customer, &texts);
            }
            // Under the same lock, so that `attach` finds it.
            None => state.early.push((customer, texts)),
        }
    }

    fn configuration(&self) -> Option<String> {
        let directory = self.queue()?.parts.routing.directory();
        let mut state = self.state();
        // The digest is kept, because computing it reads all keys, and the lease is renewed once a second.
        match &state.digest {
            Some((of, digest)) if Arc::ptr_eq(of, &directory) => Some(digest.clone()),
            _ => {
                let digest = directory.digest();
                state.digest = Some((directory, digest.clone()));
                Some(digest)
            }
        }
    }

    fn common(&self) -> Option<Texts> {
        Some(common(&*self.queue()?))
    }

    fn common_at_start(&self) -> Texts {
        self.state().common.clone()
    }

    fn changed_elsewhere(&self, name: &str, text: Option<&str>) -> bool {
        let Some(inner) = self.queue() else { return false };
        let is_taken = if let Some(id) = name.strip_prefix(SUSPENDED) {
            change_route(&inner, &RouteId::new(id), text)
        } else if let Some(id) = name.strip_prefix(PAUSED) {
            change_customer(&inner, &CustomerId::new(id), text)
        } else {
            false
        };
        inner.unsaved.store(true, Ordering::Relaxed);
        inner.wake.notify_one();
        is_taken
    }
}

fn common(inner: &Inner) -> Texts {
    let suspended = inner.with_routes(|routes, _| routes.suspended());
    let suspended = suspended.into_iter().map(|(id, one)| {
        let (cause, reason, since) = (one.cause, one.reason, one.since.as_millis());
        (format!("{SUSPENDED}{id}"), text(&Suspension { cause, reason, since }))
    });
    let pauses = inner.parts.routing.pauses();
    let paused = pauses.iter().map(|(id, pause)| (format!("{PAUSED}{id}"), text(pause)));
    suspended.chain(paused).collect()
}

fn take_over(inner: &Inner, customer: &CustomerId, texts: &Texts) {
    for (name, text) in texts {
        if name == VOLUME {
            read::<Volume>(text).into_iter().for_each(|volume| inner.parts.outcomes.volumes().put(customer, volume));
        } else if let Some(id) = name.strip_prefix(THROTTLE)
            && let Some(state) = read::<ThrottleState>(text)
        {
            let id = RouteId::new(id);
            inner.with_routes(|routes, now| routes.take_over(&id, state, now));
        }
    }
}

/// Suspends or resumes a route, because another node did. The suspension is copied exactly, so that nodes that suspended the route at the
/// same time end with the same one.
fn change_route(inner: &Inner, id: &RouteId, text: Option<&str>) -> bool {
    inner.with_routes(|routes, now| {
        let is_known = routes.resume(id, now).is_some();
        let Some(text) = text else { return is_known };
        let Some(Suspension { cause, reason, since }) = read(text) else { return false };
        routes.suspend_since(id, cause, &reason, Timestamp::from_millis(since), now).is_some()
    })
}

/// Pauses or resumes a customer, because another node did.
fn change_customer(inner: &Inner, id: &CustomerId, text: Option<&str>) -> bool {
    let routing = &inner.parts.routing;
    let before = routing.resume(id);
    match text {
        None => {
            // An operator has looked at the unusual results, so they must not pause the customer again.
            if let Some(pause) = before {
                inner.parts.outcomes.volumes().forgive(id, pause.ends(), Timestamp::now());
            }
            true
        }
        Some(text) => read::<Pause>(text).is_some_and(|pause| routing.pause(id, &pause)),
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these have no keys but texts and numbers")
}

fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    let read = serde_json::from_str(text);
    read.inspect_err(|error| tracing::warn!(%error, "what another node knew is not understood")).ok()
}

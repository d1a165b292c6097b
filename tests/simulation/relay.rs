//! A process of the relay on a simulated machine: the parts of a message's way, joined as `server/start.rs` joins them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::decoys::Decoy;
use super::machine::Machine;
use super::site;
use crate::bounce::{self, Postmaster};
use crate::customers::suppression::Suppression;
use crate::delivery::{self, Delivery, Egress};
use crate::events::{Event, Events};
use crate::queue::{self, Outcomes, Queue};
use crate::spool::embedded::{self, Embedded};
use crate::spool::{Notices, Spool};
use crate::submission::{self, Limits, ListenerAuth, ListenerSettings, ListenerTls, Submission, Submitters};

/// The parts of a running relay.
pub struct Relay {
    pub spool: Arc<dyn Spool>,
    pub queue: Queue,
    pub events: broadcast::Receiver<Arc<Event<'static>>>,
    submission: Arc<Submission>,
    accepting: CancellationToken,
}

impl Relay {
    /// Opens the spool and lets mail in and out. Called inside the runtime of the machine. Returns an error if the spool cannot be opened.
    pub fn start(machine: &Arc<Machine>, listener: SocketAddr) -> Result<Relay, String> {
        let state_dir = machine.hardware.disk.state_dir();
        let fault = machine.hardware.fault;
        let settings = embedded::Settings {
            dir: state_dir.join("spool"),
            min_free: 0,
            min_free_inodes: 0,
            segment_size: 96 << 10,
            settle_delay: site::SETTLE_DELAY,
            notices: Notices::to(|_| {}),
            ..embedded::Settings::default()
        };
        let spool: Arc<dyn Spool> = Embedded::open(settings).map_err(|error| error.to_string())?;
        let spool = Decoy::before(spool, fault);
        let routing = site::routing(fault);
        let events = Events::default();
        let hearing = events.subscribe();
        let egress = Egress::bound(site::EGRESS, site::EGRESS);
        let delivery = delivery::Settings { timeouts: site::timeouts(), ..delivery::Settings::new("out.test", egress) };
        let delivery = Arc::new(Delivery::new(delivery).map_err(|error| error.to_string())?);
        let postmaster = Postmaster {
            settings: Arc::new(bounce::Settings {
                retry_first: Duration::from_secs(10),
                ..bounce::Settings::default()
            }),
            routing: routing.clone(),
            workers: site::WORKERS.clone(),
            spool: spool.clone(),
        };
        let parts = queue::Parts {
            spool: Arc::clone(&spool),
            delivery,
            routing: routing.clone(),
            events: events.clone(),
            outcomes: Outcomes::new(Arc::clone(&spool), postmaster, events.clone(), Suppression::default()),
        };
        let throttle_states = match fault {
            Some(super::faults::Fault::ForgetsDay) => {
                state_dir.join(format!("counters-{}", machine.clock.now().as_millis()))
            }
            _ => state_dir.join("counters"),
        };
        let settings = queue::Settings {
            patience: site::patience(),
            throttle_states,
            suspensions: state_dir.join("suspensions"),
            volumes: state_dir.join("volumes"),
            at_once: 10,
            route_alert_after: queue::ROUTE_ALERT_AFTER,
        };
        let waiting = Queue::open(settings, parts).map_err(|error| error.to_string())?;
        let context = submission::Context {
            hostname: crate::test_customers::domain("out.test"),
            limits: Limits::default(),
            first_retry: Duration::from_secs(10),
            bulk_requires: Vec::new(),
            routing,
            suppression: Suppression::default(),
            submitters: Arc::new(ArcSwap::from_pointee(
                Submitters::new(Vec::new()).map_err(|error| error.to_string())?,
            )),
            spool: spool.clone(),
            workers: site::WORKERS.clone(),
            events,
            counters: submission::Counters::default(),
            known_clients: None,
        };
        let listener = ListenerSettings {
            address: listener,
            tls: ListenerTls::Off,
            auth: ListenerAuth::Off,
            allow_plaintext_auth: false,
            allow_from: Vec::new(),
        };
        let accepting = CancellationToken::new();
        let submission =
            Submission::start(vec![listener], context, accepting.clone()).map_err(|error| error.to_string())?;
        Ok(Relay { spool, queue: waiting.deliver(), events: hearing, submission: Arc::new(submission), accepting })
    }

    /// Stops in good order, as `server/mod.rs` does.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let (accepting, submission) = (self.accepting.clone(), Arc::clone(&self.submission));
        let (queue, spool) = (self.queue.clone(), Arc::clone(&self.spool));
        async move {
            accepting.cancel();
            let _ = tokio::time::timeout(site::GRACE, submission.stopped()).await;
            queue.stop(site::GRACE).await;
            spool.stop().await;
        }
    }
}

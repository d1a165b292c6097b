//! The relay in a process of a simulated machine: the parts of a message's way, joined as `src/server/start/` joins them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::decoys::Decoy;
use super::machine::Machine;
use super::site;
use crate::bounce::{self, Postmaster};
use crate::customers::suppression::Suppression;
use crate::database::Database;
use crate::delivery::{self, Delivery, Egress};
use crate::events::{Event, EventKind, Events};
use crate::queue::{self, Carrier, Outcomes, Queue};
use crate::spool::embedded::{self, Embedded};
use crate::spool::{Notices, Spool};
use crate::submission::{self, Limits, ListenerAuth, ListenerSettings, ListenerTls, Submission, Submitters};

/// The parts of a running relay.
pub struct Relay {
    pub spool: Arc<dyn Spool>,
    queue: Queue,
    events: broadcast::Receiver<Arc<Event<'static>>>,
    submission: Arc<Submission>,
    accepting: CancellationToken,
}

/// What several nodes share besides the spool.
pub struct Common {
    pub carrier: Arc<Carrier>,
    pub database: Database,
}

impl Relay {
    /// Opens the spool on the machine's disk, and starts a relay with it. Called inside the runtime of the machine. Returns an error if the
    /// spool cannot be opened.
    pub fn open(machine: &Arc<Machine>) -> Result<Relay, String> {
        let settings = embedded::Settings {
            dir: machine.hardware.disk.state_dir().join("spool"),
            min_free: 0,
            min_free_inodes: 0,
            segment_size: 96 << 10,
            settle_delay: site::SETTLE_DELAY,
            notices: Notices::to(|_| {}),
            ..embedded::Settings::default()
        };
        let spool: Arc<dyn Spool> = Embedded::open(settings).map_err(|error| error.to_string())?;
        Relay::start(machine, Decoy::before(spool, machine.hardware.fault), None)
    }

    /// Lets mail in and out, from a spool of its own or from one that nodes share. Called inside the runtime of the machine.
    pub fn start(machine: &Arc<Machine>, spool: Arc<dyn Spool>, common: Option<Common>) -> Result<Relay, String> {
        let state_dir = machine.hardware.disk.state_dir();
        let fault = machine.hardware.fault;
        let site = if common.is_some() { site::NODES } else { site::ALONE };
        let routing = site.routing(fault);
        let events = Events::default();
        let hearing = events.subscribe();
        let egress = Egress::bound(site::EGRESS, site::EGRESS);
        let delivery = delivery::Settings { timeouts: site::timeouts(), ..delivery::Settings::new("out.test", egress) };
        let delivery = Arc::new(Delivery::new(delivery).map_err(|error| error.to_string())?);
        let postmaster = Postmaster {
            settings: Arc::new(bounce::Settings { retry_first: site.backoff.first, ..bounce::Settings::default() }),
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
            patience: site.patience(),
            throttle_states,
            suspensions: state_dir.join("suspensions"),
            volumes: state_dir.join("volumes"),
            at_once: 10,
            route_alert_after: queue::ROUTE_ALERT_AFTER,
        };
        let waiting = Queue::open(settings, parts).map_err(|error| error.to_string())?;
        if let Some(common) = &common {
            common.carrier.attach(&waiting);
        }
        let context = submission::Context {
            hostname: crate::test_customers::domain("out.test"),
            limits: Limits::default(),
            first_retry: site.backoff.first,
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
            address: site::listener_of(machine.hardware.number),
            tls: ListenerTls::Off,
            auth: ListenerAuth::Off,
            allow_plaintext_auth: false,
            allow_from: Vec::new(),
        };
        let accepting = CancellationToken::new();
        let submission =
            Submission::start(vec![listener], context, accepting.clone()).map_err(|error| error.to_string())?;
        let queue = waiting.deliver();
        if let Some(common) = &common {
            queue.share_days(&common.database);
        }
        Ok(Relay { spool, queue, events: hearing, submission: Arc::new(submission), accepting })
    }

    /// Writes down what the relay tells of mail that it gave up.
    pub fn tells(&mut self, book: &Book, now: Duration) {
        while let Ok(event) = self.events.try_recv() {
            if let (EventKind::Bounced | EventKind::Expired, Some(id)) = (event.event, event.queue_id) {
                let recipient = event.recipient.as_deref().unwrap_or_default().to_owned();
                book.note(now, &format!("{id} is given up for {recipient}: {:?}", event.event));
                book.facts().given_up.push((id, recipient));
            }
        }
    }

    /// Stops in good order, as `src/server/mod.rs` does.
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

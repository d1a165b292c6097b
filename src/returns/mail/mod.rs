//! Receives returned mail, complaints and DMARC reports, at a small SMTP listener of its own.
//!
//! ```text
//! listener ─► connection ─► session (of submission) ─► inbox (a file a message, synced) ─► 250
//!                 addresses: return paths, complaints, DMARC      │
//!                                                                 ▼
//!                           work ─► read (DSN, ARF, prose) ─► told ─► events, suppression, rates
//!                             ├───► forward ─► spool
//!                             └───► DmarcReports
//! ```
//!
//! Promises: mail is accepted only for return paths that this relay made and for the configured addresses. Nothing is relayed, and no mail
//! is answered with mail. A message that was answered with 250 stays on disk until its events are in the log. Memory, disk and time are
//! bounded, whatever strangers send.

mod addresses;
mod connection;
mod counters;
mod dmarc;
mod forward;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod inbox;
pub(crate) mod keys;
mod listener;
mod read;
mod settings;
mod told;
mod unmatched;
mod work;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use counters::{Counters, WordLabel};
pub use dmarc::{DmarcReports, NotTaken};
pub use settings::{Forward, Settings};

use addresses::Addresses;
use connection::Shared;
use forward::Forwarder;
use inbox::Inbox;
use listener::ReturnsListener;
use unmatched::Unmatched;
use work::Desk;

use crate::customers::Routing;
use crate::customers::suppression::Suppression;
use crate::events::Events;
use crate::message::ReturnPaths;
use crate::queue::Outcomes;
use crate::smtp::Domain;
use crate::spool::Commit;
use crate::submission::admission::Admission;

/// The folder of waiting mail in the state directory.
pub(crate) const INBOX: &str = "returned";

/// The other stages that returned mail uses.
pub struct Parts {
    pub hostname: Domain,
    pub state_dir: PathBuf,
    /// Recognises the return paths that delivery made.
    pub paths: Arc<ReturnPaths>,
    /// Emits events. Its log tells whose mail a report is about.
    pub events: Events,
    /// Gets hard bounces, complaints and unsubscriptions.
    pub suppression: Suppression,
    /// Counts hard bounces and complaints.
    pub outcomes: Outcomes,
    pub routing: Routing,
    /// The spool for forwarded mail.
    pub spool: Arc<dyn Commit>,
    /// The time from the commit of forwarded mail to its second attempt.
    pub retry_first: Duration,
    /// The address that all mail leaves from.
    pub egress: IpAddr,
    /// Reads DMARC reports, if configured.
    pub dmarc: Option<Arc<dyn DmarcReports>>,
}

/// The stage before it runs.
pub struct ReturnedMail {
    listener: ReturnsListener,
    desk: Desk,
    counters: Counters,
}

impl ReturnedMail {
    /// Opens the inbox and binds the listener. When `accepting` is cancelled, no more mail is accepted. Blocks while the inbox is listed.
    /// Must be called within a Tokio runtime.
    pub fn open(settings: Settings, parts: Parts, accepting: CancellationToken) -> io::Result<ReturnedMail> {
        let counters = Counters::default();
        let settings = Arc::new(settings);
        let inbox = Arc::new(Inbox::open(parts.state_dir.join(INBOX), settings.inbox_size)?);
        let addresses = || Addresses::new(Arc::clone(&settings), Arc::clone(&parts.paths), counters.clone());
        let shared = Shared {
            settings: Arc::clone(&settings),
            addresses: addresses(),
            inbox: Arc::clone(&inbox),
            admission: Admission::new(&settings.limits, counters.bytes_in_flight.clone()),
            counters: counters.clone(),
            shutdown: accepting,
        };
        let listener = ReturnsListener::bind(parts.hostname.clone(), Arc::new(shared))?;
        let desk = Desk {
            inbox,
            addresses: Arc::new(addresses()),
            forward: settings.forward,
            forwarder: Forwarder {
                hostname: parts.hostname,
                settings: Arc::clone(&settings),
                routing: parts.routing.clone(),
                spool: parts.spool,
                retry_first: parts.retry_first,
            },
            dmarc: parts.dmarc,
            events: parts.events,
            suppression: parts.suppression,
            outcomes: parts.outcomes,
            routing: parts.routing,
            egress: parts.egress,
            counters: counters.clone(),
            unmatched: Unmatched::default(),
        };
        Ok(ReturnedMail { listener, desk, counters })
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Accepts and reads mail until `stopping`.
    pub async fn run(self, stopping: CancellationToken) {
        tokio::join!(self.listener.run(), self.desk.run(stopping));
    }
}

//! Returned mail, complaints and DMARC reports, at a small SMTP listener of their own.
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
//! Promises: mail is taken for return paths that this relay made and for the configured addresses, and for nothing else. Nothing is
//! relayed, and no mail is answered with mail. A message that heard 250 is on disk until what it says is in the record. Whatever
//! strangers send, memory, disk and time are bounded.

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
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use counters::{Counters, WordLabel};
pub use dmarc::{DmarcReports, NotTaken};
pub use settings::{Forward, Settings};

use addresses::Addresses;
use forward::Forwarder;
use inbox::Inbox;
use listener::{Listener, Shared};
use unmatched::Unmatched;
use work::Desk;

use crate::customers::Routing;
use crate::events::Events;
use crate::message::ReturnPaths;
use crate::queue::Outcomes;
use crate::smtp::Domain;
use crate::spool::Commit;
use crate::submission::admission::Admission;

/// The folder of mail that waits to be read, in the state folder.
pub(crate) const INBOX: &str = "returned";

/// What returned mail works with.
pub struct Parts {
    pub hostname: Domain,
    pub state_dir: PathBuf,
    /// Recognises the return paths that deliveries use.
    pub paths: Arc<ReturnPaths>,
    /// Told what mail says. Its log says whose mail it is about.
    pub events: Events,
    /// Told of hard bounces and complaints.
    pub outcomes: Outcomes,
    pub routing: Routing,
    /// Takes what is forwarded.
    pub spool: Arc<dyn Commit>,
    /// How long after its commit forwarded mail is tried a second time.
    pub retry_first: Duration,
    /// The address that all mail leaves from.
    pub egress: IpAddr,
    /// Reads DMARC reports, if somebody does.
    pub dmarc: Option<Arc<dyn DmarcReports>>,
}

/// Returned mail, ready to be taken.
pub struct ReturnedMail {
    listener: Arc<Listener>,
    desk: Desk,
    counters: Counters,
    address: SocketAddr,
}

impl ReturnedMail {
    /// Opens the inbox and binds the listener. Once `accepting` is cancelled no mail is taken any more. Blocks while the inbox is
    /// listed. Must be called within a Tokio runtime.
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
        let listener = Arc::new(Listener::bind(parts.hostname.clone(), Arc::new(shared))?);
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
            outcomes: parts.outcomes,
            routing: parts.routing,
            egress: parts.egress,
            counters: counters.clone(),
            unmatched: Unmatched::default(),
        };
        let address = listener.address()?;
        Ok(ReturnedMail { listener, desk, counters, address })
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where mail is taken: the port that the system gave for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes and reads mail, until `stopping`.
    pub async fn run(self, stopping: CancellationToken) {
        tokio::join!(self.listener.run(), self.desk.run(stopping));
    }
}

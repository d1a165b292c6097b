//! The listening socket for returned mail. It has its own limits, so that a flood takes nothing away from webCRM's submission.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::connection::{Returning, Shared};
use crate::machine::net::{TcpListener, TcpStream};
use crate::smtp::Domain;
use crate::submission::ListenerTls;
use crate::submission::listener::{Encryption, Listener, MailReceiver, TurnedAway, bind};
use crate::submission::session::Rules;

/// A bound socket that does not accept clients yet.
pub(super) struct ReturnsListener {
    socket: TcpListener,
    listener: Arc<Listener<Shared>>,
}

impl ReturnsListener {
    pub fn bind(hostname: Domain, shared: Arc<Shared>) -> io::Result<ReturnsListener> {
        let settings = &shared.settings;
        let socket = bind(settings.listener.address)?;
        let rules = Rules {
            hostname,
            limits: settings.limits.clone(),
            admission: Arc::clone(&shared.admission),
            starttls: matches!(settings.listener.tls, ListenerTls::StartTls(_)),
            auth_required: false,
            plaintext_auth: false,
            takes_reports: true,
        };
        let listener = Listener {
            settings: settings.listener.clone(),
            rules: Arc::new(rules),
            open: Arc::default(),
            tasks: TaskTracker::new(),
            shutdown: shared.shutdown.clone(),
            receiver: shared,
        };
        Ok(ReturnsListener { socket, listener: Arc::new(listener) })
    }

    /// Accepts mail until the shutdown, and returns when every connection has ended.
    pub async fn run(self) {
        let tasks = self.listener.tasks.clone();
        self.listener.accept(self.socket).await;
        tasks.close();
        tasks.wait().await;
    }
}

impl MailReceiver for Shared {
    type Service = Returning;

    fn service(self: &Arc<Self>, _: Option<Encryption>) -> Returning {
        Returning::new(self)
    }

    fn opened(&self) {
        self.counters.open.inc();
    }

    fn closed(&self) {
        self.counters.open.dec();
    }

    fn turned_away(&self, _: SocketAddr, _: IpAddr, why: TurnedAway) {
        self.counters.refuse(why.as_str());
    }

    fn handshake_succeeded(&self, _: &TlsStream<TcpStream>) {}

    fn handshake_failed(&self, _: IpAddr, _: &dyn Display) {
        self.counters.refuse("handshake");
    }
}

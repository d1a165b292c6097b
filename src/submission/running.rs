//! The running listeners of submission, and what they count and report about clients at the socket.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::connection::submitting::{Shared, Submitting};
use super::limits::MAX_HEADER_SIZE;
use super::listener::{Encryption, Listener, MailReceiver, TurnedAway, bind};
use super::login::Logins;
use super::open_connections::OpenConnections;
use super::refusals::Refusals;
use super::session::Rules;
use super::{Context, ListenerAuth, ListenerSettings, ListenerTls};
use crate::machine::net::TcpStream;

/// The running listeners.
pub struct Submission {
    addresses: Vec<SocketAddr>,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

impl Submission {
    /// Binds all listeners and starts accepting mail. When `shutdown` is cancelled, no more connections are accepted, and each open one
    /// ends after its running message. Must be called within a Tokio runtime. Fails if an address is taken, or if
    /// [`Limits::header_size`](super::Limits) is over its maximum.
    pub fn start(
        listeners: Vec<ListenerSettings>,
        context: Context,
        shutdown: CancellationToken,
    ) -> io::Result<Submission> {
        if context.limits.header_size > MAX_HEADER_SIZE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("header_size is over {MAX_HEADER_SIZE}")));
        }
        let bound = listeners
            .into_iter()
            .map(|settings| {
                let failed = |e: io::Error| io::Error::new(e.kind(), format!("listener {}: {e}", settings.address));
                let socket = bind(settings.address).map_err(failed)?;
                Ok((socket.local_addr()?, socket, settings))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let limits = &context.limits;
        let admission = Admission::new(limits, context.counters.bytes_in_flight.clone());
        let logins = Logins::new(limits, context.known_clients.clone());
        let refusals = Refusals::new(context.events.clone());
        let shared = Arc::new(Shared { context, logins, admission, refusals, shutdown: shutdown.clone() });
        let tasks = TaskTracker::new();
        let minutes = Arc::clone(&shared);
        tasks.spawn(async move { minutes.refusals.run(minutes.shutdown.clone()).await });
        let open = Arc::new(OpenConnections::default());
        let mut addresses = Vec::new();
        for (address, socket, settings) in bound {
            addresses.push(address);
            let listener = Listener {
                rules: Arc::new(Rules::of(&settings, &shared)),
                settings,
                receiver: Arc::clone(&shared),
                open: Arc::clone(&open),
                tasks: tasks.clone(),
                shutdown: shutdown.clone(),
            };
            tasks.spawn(Arc::new(listener).accept(socket));
        }
        tasks.close();
        Ok(Submission { addresses, tasks, shared })
    }

    /// Returns the addresses of the listeners in the order they were given, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns once `shutdown` was cancelled and every connection has ended.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
        self.shared.refusals.end_minute();
    }
}

impl Rules {
    fn of(settings: &ListenerSettings, shared: &Shared) -> Self {
        let context = &shared.context;
        Rules {
            hostname: context.hostname.clone(),
            limits: context.limits.clone(),
            admission: Arc::clone(&shared.admission),
            starttls: matches!(settings.tls, ListenerTls::StartTls(_)),
            auth_required: settings.auth == ListenerAuth::Required,
            plaintext_auth: settings.allow_plaintext_auth,
            takes_reports: false,
        }
    }
}

impl MailReceiver for Shared {
    type Service = Submitting;

    fn service(self: &Arc<Self>, tls: Option<Encryption>) -> Submitting {
        Submitting::new(self, tls)
    }

    fn opened(&self) {
        self.context.counters.connections.inc();
        self.context.counters.open.inc();
    }

    fn closed(&self) {
        self.context.counters.open.dec();
    }

    fn turned_away(&self, listener: SocketAddr, peer: IpAddr, why: TurnedAway) {
        self.context.counters.refuse_connection(why.as_str());
        if why == TurnedAway::NotAllowed && self.refusals.admits_stranger(peer) {
            tracing::warn!(%peer, %listener, "refused: not in allow_from");
        }
    }

    fn handshake_succeeded(&self, stream: &TlsStream<TcpStream>) {
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        self.context.counters.handshake(if resumed { "resumed" } else { "full" });
    }

    fn handshake_failed(&self, peer: IpAddr, why: &dyn Display) {
        self.context.counters.handshake("failed");
        if self.refusals.admits_stranger(peer) {
            tracing::info!(%peer, error = %why, "TLS handshake failed");
        }
    }
}

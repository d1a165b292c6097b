//! The listening socket for returned mail. It has its own limits, so that a flood takes nothing away from webCRM's submission.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::connection::{Returning, Shared};
use crate::machine::net::{TcpListener, TcpStream};
use crate::smtp::{Domain, EnhancedCode, Reply};
use crate::submission::connection::{Connection, End, Stream};
use crate::submission::limits::counted_as;
use crate::submission::listener::{ConnectionLimiter, Full, bind};
use crate::submission::session::{Rules, Session};
use crate::submission::{ListenerTls, ServerTls};

/// The pause after an accept that failed because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket that does not accept clients yet.
pub(super) struct Listener {
    socket: TcpListener,
    rules: Arc<Rules>,
    shared: Arc<Shared>,
    limiter: Arc<ConnectionLimiter>,
    tasks: TaskTracker,
}

impl Listener {
    pub fn bind(hostname: Domain, shared: Arc<Shared>) -> io::Result<Listener> {
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
        let (limiter, tasks) = (Arc::default(), TaskTracker::new());
        Ok(Listener { socket, rules: Arc::new(rules), shared, limiter, tasks })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts mail until the shutdown, and returns when every connection has ended.
    pub async fn run(self: Arc<Self>) {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let Some(accepted) = shutdown.run_until_cancelled(self.socket.accept()).await else { break };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer.ip().to_canonical()),
                // The client has already gone, which is no error of ours.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!("the listener of returned mail cannot accept connections: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: IpAddr) {
        let Shared { settings, counters, .. } = &*self.shared;
        if !settings.listener.admits(peer) {
            counters.refuse("allow_from");
            return turn_away(&stream, 554, EnhancedCode(5, 7, 1), "this address may not connect");
        }
        let limits = &settings.limits;
        let permit = match self.limiter.enter(counted_as(peer), limits.connections, limits.connections_per_address) {
            Ok(permit) => permit,
            Err(full) => {
                counters.refuse(full.as_str());
                let enhanced = if full == Full::All { EnhancedCode(4, 3, 2) } else { EnhancedCode(4, 7, 0) };
                return turn_away(&stream, 421, enhanced, "too many connections; try again later");
            }
        };
        counters.open.inc();
        let listener = Arc::clone(self);
        self.tasks.spawn(async move {
            listener.serve(stream, peer).await;
            listener.shared.counters.open.dec();
            drop(permit);
        });
    }

    async fn serve(&self, stream: TcpStream, peer: IpAddr) {
        let _ = stream.set_nodelay(true);
        let session = Session::new(Arc::clone(&self.rules), false, Instant::now());
        let mut connection = self.connection(stream, peer, session);
        connection.greet();
        let end = connection.run(Returning::new(&self.shared)).await;
        let (End::StartTls(upgrade), ListenerTls::StartTls(tls)) = (end, &self.shared.settings.listener.tls) else {
            return;
        };
        let (stream, session) = *upgrade;
        if let Some(stream) = Box::pin(self.shake_hands(tls, stream)).await {
            let connection = self.connection(stream, peer, session.secured());
            Box::pin(connection.run(Returning::new(&self.shared))).await;
        }
    }

    fn connection<S: Stream>(&self, stream: S, peer: IpAddr, session: Session) -> Connection<S> {
        let Shared { settings, shutdown, .. } = &*self.shared;
        Connection::new(stream, peer, session, settings.limits.reply_timeout, shutdown)
    }

    async fn shake_hands(&self, tls: &ServerTls, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let handshake = tokio::time::timeout(self.shared.settings.limits.handshake_timeout, handshake);
        // A stop does not wait for the handshake. The client cannot be told, because it expects TLS.
        match self.shared.shutdown.run_until_cancelled(handshake).await? {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(_)) | Err(_) => {
                self.shared.counters.refuse("handshake");
                None
            }
        }
    }
}

/// Tells the client why it is refused, as far as fits into the socket's empty buffer, and closes.
fn turn_away(stream: &TcpStream, code: u16, enhanced: EnhancedCode, text: &str) {
    let mut out = Vec::new();
    Reply::new(code, enhanced, text).write_to(&mut out);
    let _ = stream.try_write(&out);
}

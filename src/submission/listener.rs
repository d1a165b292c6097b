//! The listening sockets: which clients may connect, how many at once, and TLS before SMTP.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{CipherSuite, HandshakeKind, ProtocolVersion};
use socket2::{Domain as Family, Protocol, Socket, Type};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::connection::submitting::{Shared, Submitting};
use super::connection::{Connection, End, Stream};
use super::limits::{MAX_HEADER_SIZE, counted_as};
use super::login::Logins;
use super::refusals::Refusals;
use super::session::{Rules, Session};
use super::{Context, ListenerAuth, ListenerSettings, ListenerTls, ServerTls};
use crate::machine::net::{self, TcpListener, TcpStream};
use crate::smtp::{EnhancedCode, Reply};

/// The number of connections that the kernel queues until they are accepted. With a short queue, a burst of clients waits for seconds.
const BACKLOG: i32 = 4096;
/// The pause after an accept that failed because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        let shared = Arc::new(Shared { context, logins, admission, refusals, shutdown });
        let tasks = TaskTracker::new();
        let minutes = Arc::clone(&shared);
        tasks.spawn(async move { minutes.refusals.run(minutes.shutdown.clone()).await });
        let limiter = Arc::new(ConnectionLimiter::default());
        let mut addresses = Vec::new();
        for (address, socket, settings) in bound {
            addresses.push(address);
            let listener = Listener {
                rules: Arc::new(Rules::of(&settings, &shared)),
                settings: Arc::new(settings),
                shared: Arc::clone(&shared),
                limiter: Arc::clone(&limiter),
                tasks: tasks.clone(),
            };
            tasks.spawn(listener.run(socket));
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

/// Binds an address to listen on.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    net::listen(address, |address| {
        let socket = Socket::new(Family::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    })
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

/// Counts the open connections, in all and for each address.
#[derive(Default)]
pub(crate) struct ConnectionLimiter {
    inside: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// The limit that a connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit on all connections.
    All,
    /// The limit on connections from one address.
    FromAddress,
}

impl Full {
    /// Returns the label of the reason in metrics: the limit's key in `[limits]`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Full::All => "connections",
            Full::FromAddress => "connections_per_address",
        }
    }
}

/// A connection that counts against the limits until it is dropped.
pub(crate) struct Permit {
    limiter: Arc<ConnectionLimiter>,
    peer: IpAddr,
}

impl ConnectionLimiter {
    /// Counts a connection if it is within the limits.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, most: usize, most_per_address: usize) -> Result<Permit, Full> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, by_address) = &mut *inside;
        if *all >= most {
            return Err(Full::All);
        }
        let here = by_address.entry(peer).or_default();
        if *here >= most_per_address {
            return Err(Full::FromAddress);
        }
        *here += 1;
        *all += 1;
        Ok(Permit { limiter: Arc::clone(self), peer })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inside = self.limiter.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.0 -= 1;
        if let Entry::Occupied(mut here) = inside.1.entry(self.peer) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

#[derive(Clone)]
struct Listener {
    settings: Arc<ListenerSettings>,
    rules: Arc<Rules>,
    shared: Arc<Shared>,
    limiter: Arc<ConnectionLimiter>,
    tasks: TaskTracker,
}

impl Listener {
    async fn run(self, socket: TcpListener) {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer.ip().to_canonical()),
                // The client has already gone, which is no error of ours.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => {
                    tracing::error!(listener = %self.settings.address, error = %e, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: IpAddr) {
        let (context, limits) = (&self.shared.context, &self.shared.context.limits);
        if !self.settings.admits(peer) {
            context.counters.refuse_connection("allow_from");
            if self.shared.refusals.admits_stranger(peer) {
                tracing::warn!(%peer, listener = %self.settings.address, "refused: not in allow_from");
            }
            return self.turn_away(&stream, 554, EnhancedCode(5, 7, 1), "this address may not connect");
        }
        let permit = match self.limiter.enter(counted_as(peer), limits.connections, limits.connections_per_address) {
            Ok(permit) => permit,
            Err(full) => {
                context.counters.refuse_connection(full.as_str());
                let (enhanced, text) = match full {
                    Full::All => (EnhancedCode(4, 3, 2), "too many connections"),
                    Full::FromAddress => (EnhancedCode(4, 7, 0), "too many connections from this address"),
                };
                return self.turn_away(&stream, 421, enhanced, text);
            }
        };
        context.counters.connections.inc();
        let open = Open::new(&self.shared);
        let listener = self.clone();
        self.tasks.spawn(async move {
            listener.serve(stream, peer).await;
            drop((permit, open));
        });
    }

    /// Tells the client why it is refused, as far as fits into the socket's empty buffer, and closes. Nothing can be said before implicit
    /// TLS.
    fn turn_away(&self, stream: &TcpStream, code: u16, enhanced: EnhancedCode, text: &str) {
        if !matches!(self.settings.tls, ListenerTls::Implicit(_)) {
            let mut out = Vec::new();
            Reply::new(code, enhanced, text).write_to(&mut out);
            let _ = stream.try_write(&out);
        }
    }

    async fn serve(self, stream: TcpStream, peer: IpAddr) {
        // Nagle's algorithm with delayed ACK would cost the sender 41 ms a message.
        let _ = stream.set_nodelay(true);
        let secured = matches!(self.settings.tls, ListenerTls::Implicit(_));
        let session = Session::new(Arc::clone(&self.rules), secured, Instant::now());
        match &self.settings.tls {
            ListenerTls::Implicit(tls) => {
                // Boxed, so that plaintext connections reserve no memory for it.
                if let Some(stream) = Box::pin(self.shake_hands(tls, stream, peer)).await {
                    Box::pin(self.secured(stream, peer, session, true)).await;
                }
            }
            ListenerTls::Off | ListenerTls::StartTls(_) => {
                let mut connection = self.connection(stream, peer, session);
                connection.greet();
                let end = connection.run(Submitting::new(&self.shared, None)).await;
                let (End::StartTls(upgrade), ListenerTls::StartTls(tls)) = (end, &self.settings.tls) else { return };
                let (stream, session) = *upgrade;
                if let Some(stream) = Box::pin(self.shake_hands(tls, stream, peer)).await {
                    Box::pin(self.secured(stream, peer, session.secured(), false)).await;
                }
            }
        }
    }

    async fn secured(&self, stream: TlsStream<TcpStream>, peer: IpAddr, session: Session, greet: bool) {
        let tls = described(&stream);
        let mut connection = self.connection(stream, peer, session);
        if greet {
            connection.greet();
        }
        connection.run(Submitting::new(&self.shared, tls)).await;
    }

    fn connection<S: Stream>(&self, stream: S, peer: IpAddr, session: Session) -> Connection<S> {
        let Shared { context, shutdown, .. } = &*self.shared;
        Connection::new(stream, peer, session, context.limits.reply_timeout, shutdown)
    }

    async fn shake_hands(&self, tls: &ServerTls, stream: TcpStream, peer: IpAddr) -> Option<TlsStream<TcpStream>> {
        let counters = &self.shared.context.counters;
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let handshake = tokio::time::timeout(self.shared.context.limits.handshake_timeout, handshake);
        // A stop does not wait for the handshake. The client cannot be told, because it expects TLS.
        match self.shared.shutdown.run_until_cancelled(handshake).await? {
            Ok(Ok(stream)) => {
                let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                counters.handshake(if resumed { "resumed" } else { "full" });
                Some(stream)
            }
            Ok(Err(error)) => {
                counters.handshake("failed");
                if self.shared.refusals.admits_stranger(peer) {
                    tracing::info!(%peer, %error, "TLS handshake failed");
                }
                None
            }
            Err(_) => {
                counters.handshake("failed");
                if self.shared.refusals.admits_stranger(peer) {
                    tracing::info!(%peer, "TLS handshake took too long");
                }
                None
            }
        }
    }
}

/// Returns the TLS version and cipher suite as the standards write them, for the Received field.
fn described(stream: &TlsStream<TcpStream>) -> Option<(&'static str, &'static str)> {
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version()? {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = match connection.negotiated_cipher_suite()?.suite() {
        // RFC 8446 §B.4: rustls has names of its own for these.
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str()?,
    };
    Some((version, suite))
}

/// Counts a connection while it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.context.counters.open.inc();
        Open(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.context.counters.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_by_address_and_given_back() {
        let limiter = Arc::new(ConnectionLimiter::default());
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = limiter.enter(a, 2, 1).ok().unwrap();
        assert_eq!(limiter.enter(a, 2, 1).err(), Some(Full::FromAddress));
        let second = limiter.enter(b, 2, 1).ok().unwrap();
        assert_eq!(limiter.enter(b, 2, 2).err(), Some(Full::All));
        drop((first, second));
        let inside = limiter.inside.lock().unwrap();
        assert_eq!((inside.0, inside.1.len()), (0, 0));
    }
}

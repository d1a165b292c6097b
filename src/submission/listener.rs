//! A listening socket for SMTP, the same for submission and for returned mail: accepts clients within the limits, tells the others why they
//! are turned away, begins TLS, and runs each conversation in a task. What differs is the listener's [`MailReceiver`].
//!
//! Promise: the number of connections is bounded, in all and for each address, and a client has a limited time for its handshake.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::{CipherSuite, ProtocolVersion};
use socket2::{Domain as Family, Protocol, Socket, Type};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, End, Service, Stream};
use super::open_connections::{Full, OpenConnections};
use super::session::{Rules, Session};
use super::{ListenerSettings, ListenerTls, ServerTls};
use crate::machine::net::{self, TcpListener, TcpStream};
use crate::smtp::{EnhancedCode, Reply};

/// The number of connections that the kernel queues until they are accepted. With a short queue, a burst of clients waits for seconds.
const BACKLOG: i32 = 4096;
/// The pause after an accept that failed because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the mail of a listener: makes the service of each connection, and counts what happens at the socket.
pub(crate) trait MailReceiver: Send + Sync + 'static {
    /// The part of a conversation that differs between listeners.
    type Service: Service;

    /// Makes the service of a connection.
    fn service(self: &Arc<Self>, tls: Option<Encryption>) -> Self::Service;

    /// A client was admitted. [`closed`](Self::closed) follows.
    fn opened(&self);

    /// The connection of an admitted client has ended.
    fn closed(&self);

    /// A client was turned away.
    fn turned_away(&self, listener: SocketAddr, peer: IpAddr, why: TurnedAway);

    /// A TLS handshake has succeeded.
    fn handshake_succeeded(&self, stream: &TlsStream<TcpStream>);

    /// A TLS handshake has failed, or took longer than the time limit.
    fn handshake_failed(&self, peer: IpAddr, why: &dyn Display);
}

/// The TLS version and cipher suite of a connection, as the standards write them.
pub(crate) type Encryption = (&'static str, &'static str);

/// Why a client is turned away before it is greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// Its address is not in `allow_from`.
    NotAllowed,
    /// There are as many connections as a limit allows.
    Full(Full),
}

impl TurnedAway {
    /// Returns the label of the reason in metrics: the key of the setting.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TurnedAway::NotAllowed => "allow_from",
            TurnedAway::Full(Full::All) => "connections",
            TurnedAway::Full(Full::FromAddress) => "connections_per_address",
        }
    }

    fn reply(self) -> Reply {
        match self {
            TurnedAway::NotAllowed => Reply::new(554, EnhancedCode(5, 7, 1), "this address may not connect"),
            TurnedAway::Full(Full::All) => Reply::new(421, EnhancedCode(4, 3, 2), "too many connections"),
            TurnedAway::Full(Full::FromAddress) => {
                Reply::new(421, EnhancedCode(4, 7, 0), "too many connections from this address")
            }
        }
    }
}

/// A bound address, and all that its connections need.
pub(crate) struct Listener<R> {
    pub(crate) settings: ListenerSettings,
    pub(crate) rules: Arc<Rules>,
    pub(crate) receiver: Arc<R>,
    /// The open connections, which several listeners may count together.
    pub(crate) open: Arc<OpenConnections>,
    /// The running conversations.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// Binds an address to listen on. Must be called within a Tokio runtime.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = net::listen(address, |address| {
        let socket = Socket::new(Family::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            let advice = "a port below 1024 needs CAP_NET_BIND_SERVICE, and the systemd unit says where";
            io::Error::new(error.kind(), format!("{error}: {advice}"))
        }
        _ => error,
    })
}

impl<R: MailReceiver> Listener<R> {
    /// Accepts clients until the shutdown. Conversations may still run then.
    pub(crate) async fn accept(self: Arc<Self>, socket: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
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

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: IpAddr) {
        if !self.settings.admits(peer) {
            return self.turn_away(&stream, peer, TurnedAway::NotAllowed);
        }
        let counted = match self.open.admit(peer, &self.rules.limits) {
            Ok(counted) => counted,
            Err(full) => return self.turn_away(&stream, peer, TurnedAway::Full(full)),
        };
        let reported = OpenGuard::new(&self.receiver);
        let listener = Arc::clone(self);
        self.tasks.spawn(async move {
            listener.serve(stream, peer).await;
            drop((counted, reported));
        });
    }

    /// Tells the client why it is refused, as far as fits into the socket's empty buffer, and closes. Nothing can be said before implicit
    /// TLS.
    fn turn_away(&self, stream: &TcpStream, peer: IpAddr, why: TurnedAway) {
        self.receiver.turned_away(self.settings.address, peer, why);
        if !matches!(self.settings.tls, ListenerTls::Implicit(_)) {
            let mut out = Vec::new();
            why.reply().write_to(&mut out);
            let _ = stream.try_write(&out);
        }
    }

    async fn serve(&self, stream: TcpStream, peer: IpAddr) {
        // Nagle's algorithm with delayed ACK would cost the sender 41 ms a message.
        let _ = stream.set_nodelay(true);
        let secured = matches!(self.settings.tls, ListenerTls::Implicit(_));
        let session = Session::new(Arc::clone(&self.rules), secured, Instant::now());
        match &self.settings.tls {
            ListenerTls::Implicit(tls) => {
                // Boxed, so that plaintext connections reserve no memory for it.
                if let Some(stream) = Box::pin(self.shake_hands(tls, stream, peer)).await {
                    Box::pin(self.converse_in_tls(stream, peer, session, true)).await;
                }
            }
            ListenerTls::Off | ListenerTls::StartTls(_) => {
                let mut connection = self.connection(stream, peer, session);
                connection.greet();
                let end = connection.run(self.receiver.service(None)).await;
                let (End::StartTls(upgrade), ListenerTls::StartTls(tls)) = (end, &self.settings.tls) else { return };
                let (stream, session) = *upgrade;
                if let Some(stream) = Box::pin(self.shake_hands(tls, stream, peer)).await {
                    Box::pin(self.converse_in_tls(stream, peer, session.secured(), false)).await;
                }
            }
        }
    }

    async fn converse_in_tls(&self, stream: TlsStream<TcpStream>, peer: IpAddr, session: Session, greet: bool) {
        let tls = encryption_of(&stream);
        let mut connection = self.connection(stream, peer, session);
        if greet {
            connection.greet();
        }
        connection.run(self.receiver.service(tls)).await;
    }

    fn connection<S: Stream>(&self, stream: S, peer: IpAddr, session: Session) -> Connection<S> {
        Connection::new(stream, peer, session, self.rules.limits.reply_timeout, &self.shutdown)
    }

    async fn shake_hands(&self, tls: &ServerTls, stream: TcpStream, peer: IpAddr) -> Option<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let handshake = tokio::time::timeout(self.rules.limits.handshake_timeout, handshake);
        // A stop does not wait for the handshake. The client cannot be told, because it expects TLS.
        match self.shutdown.run_until_cancelled(handshake).await? {
            Ok(Ok(stream)) => {
                self.receiver.handshake_succeeded(&stream);
                Some(stream)
            }
            Ok(Err(error)) => {
                self.receiver.handshake_failed(peer, &error);
                None
            }
            Err(_) => {
                self.receiver.handshake_failed(peer, &"it took too long");
                None
            }
        }
    }
}

/// Returns the TLS version and cipher suite as the standards write them, for the Received field.
fn encryption_of(stream: &TlsStream<TcpStream>) -> Option<Encryption> {
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

/// Tells the receiver when a connection is open and when it has ended.
struct OpenGuard<R: MailReceiver>(Arc<R>);

impl<R: MailReceiver> OpenGuard<R> {
    fn new(receiver: &Arc<R>) -> Self {
        receiver.opened();
        OpenGuard(Arc::clone(receiver))
    }
}

impl<R: MailReceiver> Drop for OpenGuard<R> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

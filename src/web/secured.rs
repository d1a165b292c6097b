//! Connections with or without TLS. The handshake is a part of the first read. A client that never finishes it delays no other client, and
//! the limiter closes its connection like one whose request never ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::limiter::{Connection, Limited};
use crate::submission::ServerTls;

/// A listener that speaks TLS if it has a certificate.
pub(super) struct Secured {
    listener: Limited,
    tls: Option<ServerTls>,
}

impl Secured {
    pub(super) fn new(listener: Limited, tls: Option<ServerTls>) -> Self {
        Secured { listener, tls }
    }
}

impl Listener for Secured {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (connection, peer) = self.listener.accept().await;
        let stream = match &self.tls {
            None => Stream::Plain(connection),
            // A reloaded certificate is used from the next connection on.
            Some(tls) => Stream::Handshake(Box::new(TlsAcceptor::from(tls.config()).accept(connection))),
        };
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection of either kind.
pub(super) enum Stream {
    Plain(Connection),
    /// The handshake has not finished.
    Handshake(Box<Accept<Connection>>),
    Encrypted(Box<TlsStream<Connection>>),
    Failed,
}

impl Stream {
    /// Continues the handshake without waiting.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Handshake(accept) => match ready!(Pin::new(accept).poll(context)) {
                Ok(stream) => *self = Stream::Encrypted(Box::new(stream)),
                Err(error) => {
                    *self = Stream::Failed;
                    return Poll::Ready(Err(error));
                }
            },
            Stream::Failed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Stream::Plain(_) | Stream::Encrypted(_) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, out),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(context, out),
            Stream::Handshake(_) | Stream::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?;
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(context, octets),
            Stream::Handshake(_) | Stream::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(context),
            Stream::Handshake(_) | Stream::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Handshake(_) | Stream::Failed => Poll::Ready(Ok(())),
        }
    }
}

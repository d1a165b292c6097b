//! What stands in the unit tests' build in the place of tokio's sockets: real ones, or those of a simulated network.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpSocket;
use tokio::time::Sleep;

use super::faults::{Fault, is_on};
use super::machine::Clock;
use super::network::{Accepted, Found, Kind, Link, Network, lock};
use super::{here, world_clock};

/// One end of a simulated connection.
pub struct Stream {
    network: Arc<Network>,
    pub link: Arc<Mutex<Link>>,
    pub side: usize,
    clock: Arc<Clock>,
    local: SocketAddr,
    timer: Option<Pin<Box<Sleep>>>,
    hasty: Hasty,
}

/// What [`Fault::SettlesBeforeReply`] does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hasty {
    No,
    /// An answer is made up.
    MakesUp,
    /// The server's own answer is left out.
    LeavesOut,
}

impl Stream {
    pub fn new(
        network: &Arc<Network>,
        link: &Arc<Mutex<Link>>,
        side: usize,
        clock: &Arc<Clock>,
        local: SocketAddr,
    ) -> Stream {
        Stream {
            network: Arc::clone(network),
            link: Arc::clone(link),
            side,
            clock: Arc::clone(clock),
            local,
            timer: None,
            hasty: Hasty::No,
        }
    }

    fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.network.note_activity();
        let mut link = lock(&self.link);
        let other = 1 - self.side;
        if link.is_reset || !link.open[other] {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        link.send(other, data, self.clock.now());
        Ok(data.len())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may be dropped outside its runtime, where its clock cannot be read.
        let now = self.network.now();
        self.network.note_activity();
        let mut link = lock(&self.link);
        link.open[self.side] = false;
        if !link.is_reset {
            link.end(1 - self.side, now);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.hasty == Hasty::MakesUp {
            this.hasty = Hasty::LeavesOut;
            buf.put_slice(b"250 2.0.0 taken\r\n");
            return Poll::Ready(Ok(()));
        }
        loop {
            let until = {
                let mut link = lock(&this.link);
                if link.is_reset {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                let pipe = &mut link.pipes[this.side];
                pipe.reader = Some(cx.waker().clone());
                match pipe.take(this.clock.now(), buf.remaining()) {
                    Found::Data(_) if this.hasty == Hasty::LeavesOut => {
                        this.hasty = Hasty::No;
                        continue;
                    }
                    Found::Data(data) => {
                        buf.put_slice(&data);
                        return Poll::Ready(Ok(()));
                    }
                    Found::End => return Poll::Ready(Ok(())),
                    Found::Nothing => return Poll::Pending,
                    Found::Until(at) => this.clock.instant(at),
                }
            };
            let timer = this.timer.insert(Box::pin(tokio::time::sleep_until(until)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if is_on(Fault::SettlesBeforeReply) && buf.ends_with(b"\r\n.\r\n") {
            this.hasty = Hasty::MakesUp;
        }
        Poll::Ready(this.send(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut link = lock(&self.link);
        if !link.is_reset {
            link.end(1 - self.side, self.clock.now());
        }
        Poll::Ready(Ok(()))
    }
}

/// A TCP connection, or one in a simulation.
#[derive(Debug)]
pub enum TcpStream {
    Real(tokio::net::TcpStream),
    Simulated(Stream),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "side {} of a simulated connection", self.side)
    }
}

impl From<tokio::net::TcpStream> for TcpStream {
    fn from(stream: tokio::net::TcpStream) -> Self {
        TcpStream::Real(stream)
    }
}

impl TcpStream {
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            TcpStream::Real(stream) => stream.set_nodelay(nodelay),
            TcpStream::Simulated(_) => Ok(()),
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            TcpStream::Real(stream) => stream.local_addr(),
            TcpStream::Simulated(stream) => Ok(stream.local),
        }
    }

    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            TcpStream::Real(stream) => stream.try_write(data),
            TcpStream::Simulated(stream) => stream.send(data),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TcpStream::Real(stream) => Pin::new(stream).poll_read(cx, buf),
            TcpStream::Simulated(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TcpStream::Real(stream) => Pin::new(stream).poll_write(cx, buf),
            TcpStream::Simulated(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TcpStream::Real(stream) => Pin::new(stream).poll_flush(cx),
            TcpStream::Simulated(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TcpStream::Real(stream) => Pin::new(stream).poll_shutdown(cx),
            TcpStream::Simulated(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A listener of the system's, or one in a simulation.
#[derive(Debug)]
pub enum TcpListener {
    Real(tokio::net::TcpListener),
    Simulated(Listener),
}

impl From<tokio::net::TcpListener> for TcpListener {
    fn from(listener: tokio::net::TcpListener) -> Self {
        TcpListener::Real(listener)
    }
}

impl TcpListener {
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            TcpListener::Real(listener) => {
                listener.accept().await.map(|(stream, peer)| (TcpStream::Real(stream), peer))
            }
            TcpListener::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream::Simulated(stream), peer))
            }
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            TcpListener::Real(listener) => listener.local_addr(),
            TcpListener::Simulated(listener) => Ok(listener.address),
        }
    }
}

/// A listener of a simulated network.
pub struct Listener {
    pub network: Arc<Network>,
    pub clock: Arc<Clock>,
    pub address: SocketAddr,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a simulated listener at {}", self.address)
    }
}

impl Listener {
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            let at = poll_fn(|cx| match self.network.accept(self.address, self.clock.now(), cx.waker()) {
                Accepted::Stream(stream, peer) => Poll::Ready(Ok(Ok((stream, peer)))),
                Accepted::Until(at) => Poll::Ready(Ok(Err(at))),
                Accepted::Nothing => Poll::Pending,
                Accepted::Closed => Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected))),
            })
            .await?;
            match at {
                Ok(accepted) => return Ok(accepted),
                Err(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
            }
        }
    }
}

/// Listens in the network of this thread's machine, if it is a simulated one.
pub fn listen(address: SocketAddr) -> Option<TcpListener> {
    let machine = here()?;
    let network = Arc::clone(&machine.hardware.network);
    network.listen(address, Some(machine.hardware.number));
    Some(TcpListener::Simulated(Listener { network, clock: Arc::clone(&machine.clock), address }))
}

/// Dials from this thread's machine to the world, if it is a simulated one. The connection leaves from the address that the socket is
/// really bound to.
pub fn dial(socket: &TcpSocket, peer: SocketAddr) -> Option<impl Future<Output = io::Result<TcpStream>> + use<>> {
    let machine = here()?;
    let local = socket.local_addr();
    Some(async move {
        let mut local = local?;
        if is_on(Fault::LeavesFromElsewhere) && machine.below(8) == 0 {
            local.set_ip(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99)));
        }
        let stream = to_world(&machine, Kind::Delivery, local, peer).await?;
        Ok(TcpStream::Simulated(stream))
    })
}

/// Connects a machine with somebody in the world.
pub async fn to_world(
    machine: &super::machine::Machine,
    kind: Kind,
    local: SocketAddr,
    peer: SocketAddr,
) -> io::Result<Stream> {
    let (network, number) = (&machine.hardware.network, machine.hardware.number);
    match network.dial(kind, number, (local, peer), (&machine.clock, &world_clock())) {
        Some(dialled) => {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            dialled
        }
        None => std::future::pending().await,
    }
}

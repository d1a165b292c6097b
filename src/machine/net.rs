//! Listening and connecting, over the system's sockets or over a simulated network.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;
use tokio::net::TcpSocket;

#[cfg(test)]
pub(crate) use crate::simulation::stream::{TcpListener, TcpStream};
#[cfg(not(test))]
pub(crate) use tokio::net::{TcpListener, TcpStream};

/// Connects a socket, which is bound to the address that the connection is to leave from.
pub(crate) async fn connect(socket: TcpSocket, peer: SocketAddr) -> io::Result<TcpStream> {
    #[cfg(test)]
    if let Some(dialled) = crate::simulation::stream::dial(&socket, peer) {
        return dialled.await;
    }
    socket.connect(peer).await.map(of_system)
}

/// Connects with the simulated database of this thread's machine, if it has one.
#[cfg(test)]
pub(crate) use crate::simulation::nodes::dial as database;

/// A connection of the system's.
pub(crate) fn of_system(stream: tokio::net::TcpStream) -> TcpStream {
    #[cfg(test)]
    let stream = TcpStream::from(stream);
    stream
}

/// Takes connections at an address. `socket` makes a socket that listens there.
pub(crate) fn listen(
    address: SocketAddr,
    socket: impl FnOnce(SocketAddr) -> io::Result<Socket>,
) -> io::Result<TcpListener> {
    #[cfg(test)]
    if let Some(listener) = crate::simulation::stream::listen(address) {
        return Ok(listener);
    }
    let listener = tokio::net::TcpListener::from_std(socket(address)?.into())?;
    #[cfg(test)]
    let listener = TcpListener::from(listener);
    Ok(listener)
}

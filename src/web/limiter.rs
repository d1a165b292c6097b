//! Limits the number of connections, and their requests and lifetime. A new client always gets in: at the limit, the connection that has
//! been idle longest is closed, so that clients that keep connections open cannot lock out a health check. If none is idle, the connection
//! with the longest-running request is closed, because its client is stuck or sends the request one octet at a time. An address that has more
//! than half of all connections pays first, so that a client that opens one after the other does not cut off the answers of others. Its
//! requests go on while anybody has a connection that has been idle for a while.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

const CONNECTIONS: usize = 128;
/// A connection is closed if it gets no answer for this long, even if the client keeps sending: our requests are small.
const IDLE: Duration = Duration::from_secs(30);
/// A connection that has been idle for longer than this is closed before a request of an address that has too many connections.
const LEFT_IDLE: Duration = Duration::from_secs(5);
/// After this time, or this many answers, a connection is closed when it is idle.
const LIFE: Duration = Duration::from_secs(300);
const ANSWERS: u32 = 100;

/// A listener that limits its connections.
pub(super) struct Limited {
    listener: TcpListener,
    limiter: ConnectionLimiter,
}

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        Limited { listener, limiter: ConnectionLimiter::new(CONNECTIONS) }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Connection::new(stream, self.limiter.permit(peer.ip())), peer),
                Err(error) => {
                    // No descriptors are left, or the client is gone. Only waiting helps.
                    tracing::debug!("the web listener: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The open connections. Cheap to clone.
#[derive(Clone)]
struct ConnectionLimiter(Arc<Limits>);

struct Limits {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Entry>,
}

struct Entry {
    peer: IpAddr,
    /// True while a request is being handled.
    asked: bool,
    /// When the request began, or when the connection became idle.
    since: Instant,
    close: CancellationToken,
}

impl Open {
    /// Returns the address that has more than half of all connections, if there is one.
    fn greedy(&self, most: usize) -> Option<IpAddr> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.connections.values() {
            *counts.entry(entry.peer).or_default() += 1;
        }
        counts.into_iter().find(|(_, count)| *count > most / 2).map(|(peer, _)| peer)
    }

    /// Returns the connection that makes room for another one.
    fn next_to_go(&self, most: usize) -> Option<u64> {
        let longest = |is_meant: &dyn Fn(&Entry) -> bool| {
            let meant = self.connections.iter().filter(|(_, entry)| is_meant(entry));
            meant.map(|(id, entry)| (entry.asked, entry.since, *id)).min().map(|(.., id)| id)
        };
        let Some(greedy) = self.greedy(most) else { return longest(&|_| true) };
        longest(&|entry| entry.peer == greedy && !entry.asked)
            .or_else(|| longest(&|entry| !entry.asked && entry.since.elapsed() > LEFT_IDLE))
            .or_else(|| longest(&|entry| entry.peer == greedy))
    }
}

impl ConnectionLimiter {
    fn new(most: usize) -> Self {
        ConnectionLimiter(Arc::new(Limits { most, open: Mutex::default() }))
    }

    /// Admits a connection. At the limit, closes another one.
    fn permit(&self, peer: IpAddr) -> Permit {
        let mut open = self.open();
        if open.connections.len() >= self.0.most
            && let Some(entry) = open.next_to_go(self.0.most).and_then(|id| open.connections.remove(&id))
        {
            entry.close.cancel();
        }
        let id = open.next;
        open.next += 1;
        let close = CancellationToken::new();
        open.connections.insert(id, Entry { peer, asked: false, since: Instant::now(), close: close.clone() });
        drop(open);
        Permit { limiter: self.clone(), id, close }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit of one connection. Dropping it frees its place.
struct Permit {
    limiter: ConnectionLimiter,
    id: u64,
    close: CancellationToken,
}

impl Permit {
    fn set_asked(&self, asked: bool) {
        if let Some(entry) = self.limiter.open().connections.get_mut(&self.id)
            && entry.asked != asked
        {
            (entry.asked, entry.since) = (asked, Instant::now());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.open().connections.remove(&self.id);
    }
}

/// A connection with its permit.
pub(super) struct Connection<S = TcpStream> {
    stream: S,
    permit: Permit,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    idle: Pin<Box<Sleep>>,
    opened: Instant,
    answers: u32,
    /// True if a part of a request was read that is not answered yet.
    asked: bool,
}

impl<S> Connection<S> {
    fn new(stream: S, permit: Permit) -> Self {
        let (closed, now) = (Box::pin(permit.close.clone().cancelled_owned()), Instant::now());
        let idle = Box::pin(tokio::time::sleep_until(now + IDLE));
        Connection { stream, permit, closed, idle, opened: now, answers: 0, asked: false }
    }

    fn asked(&mut self) {
        if !self.asked {
            self.asked = true;
            self.permit.set_asked(true);
        }
    }

    /// Restarts the idle timer. Only answers do that, because a hostile client can always send more.
    fn answered(&mut self) {
        self.idle.as_mut().reset(Instant::now() + IDLE);
        if self.asked {
            self.asked = false;
            self.answers += 1;
            self.permit.set_asked(false);
        }
    }

    /// Returns true if nothing more may be read. Otherwise the task is woken when that changes.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let evicted = self.closed.as_mut().poll(context).is_ready();
        let used_up = !self.asked && (self.answers >= ANSWERS || self.opened.elapsed() >= LIFE);
        let timed_out = self.idle.as_mut().poll(context).is_ready();
        evicted || used_up || timed_out
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, out) {
            Poll::Pending if self.is_over(context) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(Ok(())) if out.filled().len() > before => {
                self.asked();
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, octets) {
            Poll::Pending if self.is_over(context) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(written) => {
                self.answered();
                Poll::Ready(written)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn connection(limiter: &ConnectionLimiter) -> (Connection<DuplexStream>, DuplexStream) {
        connection_of(limiter, 1)
    }

    fn connection_of(limiter: &ConnectionLimiter, peer: u8) -> (Connection<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Connection::new(ours, limiter.permit([192, 0, 2, peer].into())), theirs)
    }

    async fn ask(connection: &mut Connection<DuplexStream>, client: &mut DuplexStream) {
        client.write_all(b"q").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'q');
    }

    async fn answer(connection: &mut Connection<DuplexStream>, client: &mut DuplexStream) {
        connection.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');
    }

    /// Returns true if the connection is closed. Does not wait.
    async fn is_closed(connection: &mut Connection<DuplexStream>) -> bool {
        let read = tokio::time::timeout(Duration::ZERO, connection.read_u8()).await;
        read.is_ok_and(|read| read.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_is_given_up() {
        let (mut connection, mut client) = connection(&ConnectionLimiter::new(1));
        tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let error = loop {
            match connection.read_u8().await {
                Ok(octet) => assert!(octet == b'x' && begun.elapsed() < 2 * IDLE),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, IDLE.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_answered_may_ask_again_for_a_while() {
        let (mut connection, mut client) = connection(&ConnectionLimiter::new(1));
        let begun = Instant::now();
        let mut answers = 0;
        while !is_closed(&mut connection).await {
            ask(&mut connection, &mut client).await;
            answer(&mut connection, &mut client).await;
            answers += 1;
            tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        }
        assert!(answers > 5 && begun.elapsed() < LIFE + IDLE, "{answers} in {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_carries_so_many_answers_and_closes_after_the_last() {
        let (mut connection, mut client) = connection(&ConnectionLimiter::new(1));
        for _ in 0..ANSWERS {
            assert!(!is_closed(&mut connection).await);
            ask(&mut connection, &mut client).await;
            answer(&mut connection, &mut client).await;
        }
        assert!(is_closed(&mut connection).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_gets_the_place_of_the_one_that_is_idle_the_longest() {
        let limiter = ConnectionLimiter::new(3);
        let tick = || tokio::time::sleep(Duration::from_millis(10));
        let (mut busy, mut busy_client) = connection(&limiter);
        ask(&mut busy, &mut busy_client).await;
        tick().await;
        let (mut answered, mut answered_client) = connection(&limiter);
        tick().await;
        let (mut silent, _silent_client) = connection(&limiter);
        tick().await;
        ask(&mut answered, &mut answered_client).await;
        answer(&mut answered, &mut answered_client).await;

        let (mut first, _first_client) = connection(&limiter);
        assert!(is_closed(&mut silent).await && !is_closed(&mut answered).await && !is_closed(&mut busy).await);
        tick().await;
        let (mut second, mut second_client) = connection(&limiter);
        assert!(is_closed(&mut answered).await && !is_closed(&mut busy).await, "though it was there before");
        assert!(!is_closed(&mut first).await && !is_closed(&mut second).await);
        answer(&mut busy, &mut busy_client).await;

        tick().await;
        drop(first);
        ask(&mut second, &mut second_client).await;
        tick().await;
        let (mut third, mut third_client) = connection(&limiter);
        ask(&mut third, &mut third_client).await;
        ask(&mut busy, &mut busy_client).await;
        let _fourth = connection(&limiter);
        assert!(is_closed(&mut second).await, "none is idle: the request that has waited the longest");
        assert!(!is_closed(&mut third).await && !is_closed(&mut busy).await);
        assert_eq!(limiter.open().connections.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_address_cuts_off_its_own_requests_and_not_anothers() {
        let limiter = ConnectionLimiter::new(8);
        let (mut other, mut other_client) = connection_of(&limiter, 2);
        ask(&mut other, &mut other_client).await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (mut connection, mut client) = connection_of(&limiter, 1);
            ask(&mut connection, &mut client).await;
            flood.push((connection, client));
        }
        assert!(!is_closed(&mut other).await, "it waits the longest, and is not of the flood");
        assert!(is_closed(&mut flood[0].0).await && !is_closed(&mut flood[19].0).await);
        let (mut idle, _idle_client) = connection_of(&limiter, 2);
        let _next = connection_of(&limiter, 1);
        assert!(!is_closed(&mut idle).await && is_closed(&mut flood[14].0).await);
    }

    #[tokio::test(start_paused = true)]
    async fn many_requests_of_one_address_go_on_while_others_hold_idle_connections() {
        let limiter = ConnectionLimiter::new(4);
        let (mut idle, _idle_client) = connection_of(&limiter, 2);
        let mut busy = Vec::new();
        for _ in 0..3 {
            let (mut connection, mut client) = connection_of(&limiter, 1);
            ask(&mut connection, &mut client).await;
            busy.push((connection, client));
        }
        tokio::time::sleep(LEFT_IDLE + Duration::from_secs(1)).await;
        let (mut own, _own_client) = connection_of(&limiter, 1);
        assert!(is_closed(&mut idle).await && !is_closed(&mut busy[0].0).await);
        let (mut fresh, _fresh_client) = connection_of(&limiter, 2);
        assert!(is_closed(&mut own).await && !is_closed(&mut busy[0].0).await, "its own idle one before its requests");
        let (mut next, _next_client) = connection_of(&limiter, 2);
        assert!(is_closed(&mut busy[0].0).await, "nobody's has been idle for long");
        assert!(!is_closed(&mut fresh).await && !is_closed(&mut next).await);
    }

    #[tokio::test(start_paused = true)]
    async fn permits_are_given_back() {
        let limiter = ConnectionLimiter::new(2);
        for _ in 0..10 {
            drop(connection(&limiter));
        }
        let all: Vec<_> = (0..5).map(|_| connection(&limiter)).collect();
        assert_eq!(limiter.open().connections.len(), 2);
        drop(all);
        assert!(limiter.open().connections.is_empty());
    }
}

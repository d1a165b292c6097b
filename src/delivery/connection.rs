//! One connection to a smarthost: sends commands and reads replies, each within a time limit. It knows nothing about
//! messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use zeroize::{Zeroize, Zeroizing};

use super::tls::{Fallback, TlsInfo, about_our_certificate};
use crate::machine::net::TcpStream;
use crate::smtp::response::{MAX_BLANK, ReplyReader, ResponseError, blank_lines, is_blank, quoted};
use crate::smtp::{Extensions, Mechanism, Reply};

/// Enough room for the replies of an ordinary transaction in one read.
const READ_SIZE: usize = 4096;
/// The buffers of an idle connection shrink to this size.
const IDLE_BUFFER: usize = 32 * 1024;
/// How long to wait for the reply of a server that stopped reading. It may have said why.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How many reads an idle connection may fill with blank lines before it is given up.
const MOST_IDLE_READS: usize = 4;

/// Why a connection can no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// The server closed it in the middle of a line.
    #[error("the server closed the connection in the middle of a reply: \"{0}\"")]
    CutOff(String),
    /// No reply came in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// Only a part of a reply came in time.
    #[error("no whole answer within {} s, only \"{heard}\"", .limit.as_secs_f32())]
    Unfinished {
        limit: Duration,
        /// The part that came.
        heard: String,
    },
    #[error("connection lost: {0}")]
    Lost(String),
    /// The server sent a reply that no command can have had, or octets that are no reply. One reply is missing, or
    /// there is one too many. From here on, replies cannot be matched to commands.
    #[error("the server's replies do not fit our commands: {0}")]
    OutOfStep(String),
    /// The server's reply is not SMTP.
    #[error(transparent)]
    Malformed(#[from] ResponseError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Many TLS peers close without close_notify. That is an ordinary close.
            io::ErrorKind::UnexpectedEof => Broken::Closed,
            _ => Broken::Lost(about_our_certificate(&error).unwrap_or_else(|| error.to_string())),
        }
    }
}

/// The stream under a connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Counts a connection as open while it exists.
struct OpenGuard(Gauge);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One SMTP connection to a smarthost.
pub struct Connection {
    stream: Stream,
    /// Octets received from the server. The first `taken` of them have been read as replies.
    received: Vec<u8>,
    taken: usize,
    /// How far the next reply has been read.
    reader: ReplyReader,
    /// Octets to be sent next.
    pub out: Vec<u8>,
    /// The extensions that the server offered in its last reply to EHLO.
    pub extensions: Extensions,
    /// The server's address, as text for people.
    pub peer: String,
    /// The result of the TLS handshake; `None` without TLS.
    pub tls: Option<TlsInfo>,
    /// Why the connection has no TLS although the route asks for it.
    pub fallback: Option<Fallback>,
    /// The mechanism of the login; `None` without a login.
    pub mechanism: Option<Mechanism>,
    /// The number of transactions made.
    pub served: u32,
    /// When the connection was last used.
    pub used: Instant,
    /// A transaction was left open, so RSET must be sent before the next one.
    pub reset_first: bool,
    _open: OpenGuard,
}

impl Connection {
    /// A connection over a TCP stream that has just been connected.
    pub fn new(stream: TcpStream, peer: String, open: &Gauge) -> Self {
        Connection::over(Stream::Plain(stream), None, peer, open)
    }

    fn over(stream: Stream, tls: Option<TlsInfo>, peer: String, open: &Gauge) -> Self {
        open.inc();
        Connection {
            stream,
            received: Vec::with_capacity(READ_SIZE),
            taken: 0,
            reader: ReplyReader::default(),
            out: Vec::with_capacity(READ_SIZE),
            extensions: Extensions::default(),
            peer,
            tls,
            fallback: None,
            mechanism: None,
            served: 0,
            used: Instant::now(),
            reset_first: false,
            _open: OpenGuard(open.clone()),
        }
    }

    /// Appends a command line to what is to be sent.
    pub fn command(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends all of `out` in as few writes as possible, and empties it.
    pub async fn send(&mut self, limit: Duration) -> Result<(), Broken> {
        let writing = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        let sent = timeout(limit, writing).await;
        self.out.clear();
        sent.map_err(|_| Broken::TimedOut(limit))?.map_err(Broken::from)
    }

    /// Reads the next reply of the server.
    pub async fn reply(&mut self, limit: Duration) -> Result<Reply, Broken> {
        // Usually the reply is buffered already, and no timer is needed.
        if let Some(reply) = self.buffered_reply()? {
            return Ok(reply);
        }
        let hearing = async {
            loop {
                self.receive().await?;
                if let Some(reply) = self.buffered_reply()? {
                    return Ok(reply);
                }
            }
        };
        timeout(limit, hearing).await.unwrap_or_else(|_| match is_blank(self.unread()) {
            true => Err(Broken::TimedOut(limit)),
            false => Err(Broken::Unfinished { limit, heard: self.quote_unread() }),
        })
    }

    /// Sends one line and reads its reply.
    pub async fn ask(&mut self, line: &str, limit: Duration) -> Result<Reply, Broken> {
        self.command(line);
        self.send(limit).await?;
        self.reply(limit).await
    }

    /// Like [`ask`](Self::ask), for a line that holds a secret: no copy of it stays in the buffer.
    pub async fn ask_in_secret(&mut self, line: Zeroizing<String>, limit: Duration) -> Result<Reply, Broken> {
        // The buffer is empty here. If it must grow, the memory that it gives up holds no secret.
        self.out.reserve_exact(line.len() + 2);
        self.command(&line);
        let sent = self.send(limit).await;
        self.out.zeroize();
        sent?;
        self.reply(limit).await
    }

    /// Reads the reply of a server that stopped reading, if it sent one.
    pub async fn last_words(&mut self) -> Option<Reply> {
        self.reply(LAST_WORDS).await.ok()
    }

    /// Returns true if octets were received that have not been read as a reply.
    pub fn has_more(&self) -> bool {
        self.taken < self.received.len()
    }

    /// Like [`has_more`](Self::has_more), but skips blank lines: some servers send one after a reply.
    pub fn says_more(&mut self) -> bool {
        self.taken += blank_lines(self.unread());
        self.reader = ReplyReader::default();
        !is_blank(self.unread())
    }

    /// Quotes the octets that have not been read as a reply, for an event.
    pub fn quote_unread(&self) -> String {
        quoted(self.unread())
    }

    fn unread(&self) -> &[u8] {
        &self.received[self.taken..]
    }

    /// Returns true if an idle connection can still be used: the server said nothing and did not close it. Does not
    /// wait.
    pub async fn is_quiet(&mut self) -> bool {
        for _ in 0..MOST_IDLE_READS {
            if self.says_more() {
                return false;
            }
            let mut octets = [0; MAX_BLANK];
            let mut buffer = ReadBuf::new(&mut octets);
            let stream = &mut self.stream;
            let read = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer))).await;
            match read {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.received.extend_from_slice(buffer.filled()),
                Poll::Ready(_) => return false,
            }
        }
        false
    }

    /// Gives back memory before the connection is kept in a pool.
    pub fn rest(&mut self) {
        self.out.shrink_to(IDLE_BUFFER);
        self.received.shrink_to(IDLE_BUFFER);
        self.used = Instant::now();
    }

    /// Takes the stream out for a TLS handshake. Octets received before are dropped with the connection.
    pub fn into_plain_stream(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream) => Some(stream),
            Stream::Tls(_) => None,
        }
    }

    /// A connection that continues over TLS. RFC 3207 §4.2: nothing the server said before counts any more.
    pub fn encrypted(stream: TlsStream<TcpStream>, info: TlsInfo, peer: String, open: &Gauge) -> Self {
        Connection::over(Stream::Tls(Box::new(stream)), Some(info), peer, open)
    }

    /// Sends QUIT and closes, within `limit`. The reply does not matter, but servers log a connection that ends without
    /// QUIT.
    pub async fn quit(mut self, limit: Duration) {
        let _ = timeout(limit, self.ask("QUIT", limit)).await;
    }

    /// Sends QUIT and closes without waiting for the reply.
    pub async fn quit_without_waiting(mut self) {
        self.command("QUIT");
        let _ = self.send(Duration::from_millis(100)).await;
    }

    fn buffered_reply(&mut self) -> Result<Option<Reply>, Broken> {
        if !self.has_more() {
            return Ok(None);
        }
        let Some((reply, used)) = self.reader.take(&self.received[self.taken..])? else { return Ok(None) };
        self.taken += used;
        if !self.has_more() {
            self.received.clear();
            self.taken = 0;
        }
        Ok(Some(reply))
    }

    async fn receive(&mut self) -> Result<(), Broken> {
        if self.taken > 0 {
            self.received.drain(..self.taken);
            self.taken = 0;
        }
        self.received.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.received).await? {
            0 if is_blank(self.unread()) => Err(Broken::Closed),
            0 => Err(Broken::CutOff(self.quote_unread())),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

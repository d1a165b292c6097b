//! One connection to a smarthost: sends commands, hears replies, each within its time. Knows no message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use zeroize::{Zeroize, Zeroizing};

use super::tls::{Fallback, TlsInfo, about_our_certificate};
use crate::smtp::response::{MAX_BLANK, ResponseError, blank_lines, is_blank, quoted, take_reply};
use crate::smtp::{Extensions, Mechanism, Reply};

/// Room for the replies of an ordinary transaction in one read.
const READ_SIZE: usize = 4096;
/// Buffers of an idle connection are given back beyond this.
const IDLE_BUFFER: usize = 32 * 1024;
/// A server that answers early and stops reading has said why; this long is waited for it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A server that has sent more blank lines than so many reads bring is not waited for.
const MOST_IDLE_READS: usize = 4;

/// The connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// The server closed it in the middle of a line.
    #[error("the server closed the connection in the middle of a reply: \"{0}\"")]
    CutOff(String),
    /// No reply in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// A part of a reply in time.
    #[error("no whole answer within {} s, only \"{heard}\"", .limit.as_secs_f32())]
    Unfinished {
        /// How long it was waited for.
        limit: Duration,
        /// What there was of it.
        heard: String,
    },
    /// The network failed.
    #[error("connection lost: {0}")]
    Lost(String),
    /// A reply that no command can have had, or a piece of something: one too many was sent, or one is missing. From here on
    /// nobody knows what answers what.
    #[error("the server's replies do not fit our commands: {0}")]
    OutOfStep(String),
    /// What was heard is no SMTP.
    #[error(transparent)]
    Malformed(#[from] ResponseError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A TLS peer that closes without close_notify (many do) is a peer that closed.
            io::ErrorKind::UnexpectedEof => Broken::Closed,
            _ => Broken::Lost(about_our_certificate(&error).unwrap_or_else(|| error.to_string())),
        }
    }
}

/// Plain or encrypted.
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Counts a connection as open for as long as it lives.
struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A connection.
pub struct Connection {
    stream: Stream,
    /// What was received; `taken` octets of it have been read as replies.
    received: Vec<u8>,
    taken: usize,
    /// What is to be sent next.
    pub out: Vec<u8>,
    /// What the server offers, as of the last EHLO.
    pub extensions: Extensions,
    /// The address at the other end, for people.
    pub peer: String,
    /// What TLS agreed on; `None` without TLS.
    pub tls: Option<TlsInfo>,
    /// Why it has no TLS, where it was to have it.
    pub fallback: Option<Fallback>,
    /// What the login went by, where there was one.
    pub mechanism: Option<Mechanism>,
    /// Transactions made.
    pub served: u32,
    /// When it was last used.
    pub used: Instant,
    /// A transaction was left open: RSET goes before the next.
    pub reset_first: bool,
    _open: Open,
}

impl Connection {
    /// Over a stream that has just been connected.
    pub fn new(stream: TcpStream, peer: String, open: &Gauge) -> Self {
        open.inc();
        Connection {
            stream: Stream::Plain(stream),
            received: Vec::with_capacity(READ_SIZE),
            taken: 0,
            out: Vec::with_capacity(READ_SIZE),
            extensions: Extensions::default(),
            peer,
            tls: None,
            fallback: None,
            mechanism: None,
            served: 0,
            used: Instant::now(),
            reset_first: false,
            _open: Open(open.clone()),
        }
    }

    /// Appends a command line to what is to be sent.
    pub fn command(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends all of `out` in as few writes as the system takes it, and empties it.
    pub async fn send(&mut self, limit: Duration) -> Result<(), Broken> {
        let writing = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        let sent = timeout(limit, writing).await;
        self.out.clear();
        sent.map_err(|_| Broken::TimedOut(limit))?.map_err(Broken::from)
    }

    /// Hears one reply.
    pub async fn reply(&mut self, limit: Duration) -> Result<Reply, Broken> {
        // Mostly the reply is there already, or comes with the first read: then no timer is touched.
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

    /// Sends one line and hears its reply.
    pub async fn ask(&mut self, line: &str, limit: Duration) -> Result<Reply, Broken> {
        self.command(line);
        self.send(limit).await?;
        self.reply(limit).await
    }

    /// The same with a line that holds a secret: no copy of it is left in the buffer.
    pub async fn ask_in_secret(&mut self, line: Zeroizing<String>, limit: Duration) -> Result<Reply, Broken> {
        // The buffer is empty, so that what it leaves behind where it has to grow is no secret.
        self.out.reserve_exact(line.len() + 2);
        self.command(&line);
        let sent = self.send(limit).await;
        self.out.zeroize();
        sent?;
        self.reply(limit).await
    }

    /// The reply that a server sent before it stopped listening, where there is one.
    pub async fn last_words(&mut self) -> Option<Reply> {
        self.reply(LAST_WORDS).await.ok()
    }

    /// Octets are there that nobody asked for.
    pub fn has_more(&self) -> bool {
        self.taken < self.received.len()
    }

    /// The same, where blank lines do not count: some servers put one behind a reply.
    pub fn says_more(&mut self) -> bool {
        self.taken += blank_lines(self.unread());
        !is_blank(self.unread())
    }

    /// What is there and was not taken for a reply, for an event.
    pub fn quote_unread(&self) -> String {
        quoted(self.unread())
    }

    fn unread(&self) -> &[u8] {
        &self.received[self.taken..]
    }

    /// Whether an idle connection is still of use: nothing was said and it was not closed. Does not wait.
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

    /// Gives back memory before the connection waits in a pool.
    pub fn rest(&mut self) {
        self.out.shrink_to(IDLE_BUFFER);
        self.received.shrink_to(IDLE_BUFFER);
        self.used = Instant::now();
    }

    /// Takes the stream out for a TLS handshake. What was received before belongs to nobody and is forgotten with the rest.
    pub fn into_plain_stream(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream) => Some(stream),
            Stream::Tls(_) => None,
        }
    }

    /// Goes on over TLS. RFC 3207 §4.2: nothing the server said before counts any more.
    pub fn encrypted(stream: TlsStream<TcpStream>, info: TlsInfo, peer: String, open: &Gauge) -> Self {
        open.inc();
        Connection {
            stream: Stream::Tls(Box::new(stream)),
            received: Vec::with_capacity(READ_SIZE),
            taken: 0,
            out: Vec::with_capacity(READ_SIZE),
            extensions: Extensions::default(),
            peer,
            tls: Some(info),
            fallback: None,
            mechanism: None,
            served: 0,
            used: Instant::now(),
            reset_first: false,
            _open: Open(open.clone()),
        }
    }

    /// Says QUIT and goes, within `limit`. The answer is of no interest, but a server that is left without a word logs it.
    pub async fn quit(mut self, limit: Duration) {
        let _ = timeout(limit, self.ask("QUIT", limit)).await;
    }

    /// Says QUIT and goes at once.
    pub async fn quit_without_waiting(mut self) {
        self.command("QUIT");
        let _ = self.send(Duration::from_millis(100)).await;
    }

    fn buffered_reply(&mut self) -> Result<Option<Reply>, Broken> {
        if !self.has_more() {
            return Ok(None);
        }
        let Some((reply, used)) = take_reply(self.unread())? else { return Ok(None) };
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

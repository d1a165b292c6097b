//! The octets of a connection: unprocessed input, and replies that wait to be written.
//!
//! A client's flight of commands is read with one call and answered with one write. A connection that waits for a command holds no buffers.
//! Every wait has a deadline.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::input::Input;
use crate::smtp::Reply;

/// The most octets that are read at once.
const READ: usize = 64 << 10;
/// After an unexpected farewell, the client's input is read and dropped for this long. If the socket were closed at once, the kernel would
/// discard our reply.
const LINGER: Duration = Duration::from_secs(2);

/// The result of a read.
pub(crate) enum Read {
    Some,
    Eof,
    Late,
    Stopping,
}

pub(crate) struct Wire<S> {
    stream: S,
    input: Input,
    output: Vec<u8>,
    /// How long the client may take to read our replies.
    reply_timeout: Duration,
    alarm: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// `may_be_secret` is true if the client may log in.
    pub(crate) fn new(stream: S, reply_timeout: Duration, shutdown: &CancellationToken, may_be_secret: bool) -> Self {
        // The first read that waits sets the real time.
        let alarm = Box::pin(tokio::time::sleep(reply_timeout));
        let stopping = Box::pin(shutdown.clone().cancelled_owned());
        let input = Input::new(may_be_secret);
        Wire { stream, input, output: Vec::new(), reply_timeout, alarm, stopping }
    }

    /// Returns the unprocessed octets.
    pub(crate) fn pending(&self) -> &[u8] {
        self.input.pending()
    }

    /// Marks the next `len` octets as processed.
    pub(crate) fn take(&mut self, len: usize) {
        self.input.take(len);
    }

    /// Marks the next `len` octets as processed, and wipes them.
    pub(crate) fn take_secret(&mut self, len: usize) {
        self.input.take_secret(len);
    }

    /// Drops the middle of the unprocessed octets (see [`Input::keep`]).
    pub(crate) fn keep(&mut self, len: usize) -> usize {
        self.input.keep(len)
    }

    /// Records that the client has logged in, so that no password comes any more.
    pub(crate) fn end_secrecy(&mut self) {
        self.input.end_secrecy();
    }

    /// Appends a reply to those that the next [`flush`](Self::flush) writes.
    pub(crate) fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
    }

    /// Reads the available octets. With `idle`, also returns when the server stops.
    pub(crate) async fn read(&mut self, until: Instant, idle: bool) -> io::Result<Read> {
        self.input.rest();
        let Wire { stream, input, alarm, stopping, .. } = self;
        poll_fn(|cx| {
            // The buffer is on the stack for this poll only, so that a waiting connection holds no buffer.
            let mut space = [const { MaybeUninit::<u8>::uninit() }; READ];
            let mut read = ReadBuf::uninit(&mut space);
            if let Poll::Ready(done) = Pin::new(&mut *stream).poll_read(cx, &mut read) {
                let filled = read.filled_mut();
                input.add(filled);
                return Poll::Ready(done.map(|()| if filled.is_empty() { Read::Eof } else { Read::Some }));
            }
            if idle && stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Read::Stopping));
            }
            // The timer is changed only if it would fire too late, or has fired too early, and not for every read.
            if alarm.deadline() > until {
                alarm.as_mut().reset(until);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                if Instant::now() >= until {
                    return Poll::Ready(Ok(Read::Late));
                }
                alarm.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }

    /// Writes all waiting replies.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let stream = &mut self.stream;
        let written = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        tokio::time::timeout(self.reply_timeout, written).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Writes waiting replies and closes, because the client expects nothing more.
    pub(crate) async fn close(&mut self) {
        let _ = self.flush().await;
        self.end().await;
    }

    /// Writes waiting replies and closes, although the client may still be sending.
    pub(crate) async fn close_gently(&mut self) {
        if self.flush().await.is_ok() && self.end().await {
            let until = Instant::now() + LINGER;
            // The timer never fires for a client that sends as fast as we read, so check the time here.
            while Instant::now() < until
                && let Ok(Read::Some) = self.read(until, false).await
            {
                self.input.take_all();
            }
        }
    }

    /// Ends our side of the stream. With TLS that writes, and waits if the client does not read.
    async fn end(&mut self) -> bool {
        matches!(tokio::time::timeout(LINGER, self.stream.shutdown()).await, Ok(Ok(())))
    }

    /// Returns the stream, so that TLS can begin on it.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

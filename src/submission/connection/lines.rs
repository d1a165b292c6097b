//! Finds the lines among what a client sent.
//!
//! Only CRLF ends a line. A lone LF is refused at once, because a person who types into `nc` waits for an answer. What follows it
//! belongs to the same refused line: if it were obeyed, it would be smuggled past every program that splits lines at CRLF.

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;

/// How many octets of an overlong line are dropped before the connection is closed.
const OVERLONG: usize = 64 << 10;

/// What is remembered from one line to the next.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The number of octets that were dropped of a line whose end is still to come.
    dropped: usize,
    /// The line that is arriving is refused already, so the rest of it, up to its CRLF, is dropped.
    is_refused: bool,
}

/// A whole line. It has `len` octets at the start of what is pending, and an LF behind them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) len: usize,
    pub(crate) form: Form,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It ends with CRLF, the CR within `len`.
    Whole,
    /// The same, and it is longer than it may be.
    TooLong,
    /// It ends with a lone LF.
    BareLf,
}

/// A line goes on for too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

impl Lines {
    /// Finds the next line. Returns `None` if there is none yet. `limit` says from the start of a line how long it may be.
    pub(crate) fn next<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        limit: impl Fn(&[u8]) -> usize,
    ) -> Result<Option<Line>, Endless> {
        if self.is_refused && !self.skip_refused(wire)? {
            return Ok(None);
        }
        let pending = wire.pending();
        let limit = limit(pending);
        let Some(len) = memchr::memchr(b'\n', pending) else {
            // Keep only enough to tell that it is too long, because nobody has logged in yet.
            self.dropped += wire.keep(limit + 2);
            self.bound(wire.pending().len())?;
            return Ok(None);
        };
        self.dropped = 0;
        let form = match pending[..len].strip_suffix(b"\r") {
            Some(line) if line.len() > limit => Form::TooLong,
            Some(_) => Form::Whole,
            None => Form::BareLf,
        };
        self.is_refused = form == Form::BareLf;
        Ok(Some(Line { len, form }))
    }

    /// Drops the rest of a refused line. Returns true once its CRLF has come.
    fn skip_refused<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<bool, Endless> {
        let pending = wire.pending();
        let end = memchr::memmem::find(pending, b"\r\n");
        // Without an end, the last octet may be the CR of one.
        let len = end.map_or_else(|| pending.len() - usize::from(pending.ends_with(b"\r")), |at| at + 2);
        // It may be the rest of a password.
        wire.take_secret(len);
        self.dropped = if end.is_some() { 0 } else { self.dropped + len };
        self.is_refused = end.is_none();
        self.bound(0)?;
        Ok(end.is_some())
    }

    /// Fails if a line goes on for too long. `kept` octets of it are still in the input.
    fn bound(&self, kept: usize) -> Result<(), Endless> {
        if kept + self.dropped <= OVERLONG { Ok(()) } else { Err(Endless) }
    }
}

//! Finds lines in the octets of a client.
//!
//! Only CRLF ends a line. A lone LF is refused at once, because a person who types into `nc` waits for an answer. Octets behind it belong
//! to the same refused line: if they were obeyed, a command could be smuggled past programs that split lines only at CRLF.

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;

/// How many octets of an overlong line are dropped before the connection is closed.
const OVERLONG: usize = 64 << 10;

/// The state between two lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The number of dropped octets of an unfinished line.
    dropped: usize,
    /// True if the arriving line is already refused, so that the rest of it is dropped up to its CRLF.
    is_refused: bool,
}

/// A whole line: `len` octets at the start of the unprocessed octets, followed by an LF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) len: usize,
    pub(crate) form: Form,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It ends with CRLF. The CR is among the `len` octets.
    Whole,
    /// It ends with CRLF, and is longer than allowed.
    TooLong,
    /// It ends with a lone LF.
    BareLf,
}

/// A line is too long without an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

impl Lines {
    /// Returns the next line, or `None` if there is none yet. `limit` gives the maximum length for the start of a line.
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
            // Keep only enough to recognise an overlong line, because the client has not logged in yet.
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

    /// Drops the rest of a refused line. Returns true after its CRLF.
    fn skip_refused<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<bool, Endless> {
        let pending = wire.pending();
        let end = memchr::memmem::find(pending, b"\r\n");
        // Keep a final CR, because it may begin the line end.
        let len = end.map_or_else(|| pending.len() - usize::from(pending.ends_with(b"\r")), |at| at + 2);
        // The rest of a line may be a part of a password.
        wire.take_secret(len);
        self.dropped = if end.is_some() { 0 } else { self.dropped + len };
        self.is_refused = end.is_none();
        self.bound(0)?;
        Ok(end.is_some())
    }

    /// Fails if a line is too long without an end. `kept` octets of it are still in the input.
    fn bound(&self, kept: usize) -> Result<(), Endless> {
        if kept + self.dropped <= OVERLONG { Ok(()) } else { Err(Endless) }
    }
}

//! The part of the original message that a notification returns.

use super::Original;
use crate::spool::{Bytes, Error};

/// The header, and the body if the message has one chunk (256 KiB).
pub struct Content {
    header: Vec<u8>,
    chunk: Vec<u8>,
    header_len: usize,
    whole: bool,
}

impl Content {
    /// Reads the message's first chunk.
    pub async fn read(bytes: &Bytes) -> Result<Self, Error> {
        let chunk = bytes.chunk(0).await?;
        let header_len = (bytes.header_len as usize).min(chunk.len());
        let header = [&bytes.prefix, &chunk[..header_len]].concat();
        Ok(Content { header, chunk, header_len, whole: bytes.chunks() == 1 })
    }

    /// Returns the content in the form that [`notification`](super::notification) takes.
    pub fn original(&self) -> Original<'_> {
        // The blank line stands between header and body.
        let body = self.chunk.get(self.header_len + 2..).filter(|_| self.whole);
        Original { header: &self.header, body }
    }
}

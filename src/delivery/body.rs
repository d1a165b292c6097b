//! The message as it is sent: extra lines, prefix, header and content, in chunks, with dots stuffed.
//!
//! Nothing is rewritten. On the way to a customer's own server the fields meant for Mailjet are left out; no signature
//! covers them. The header lies wholly in the first chunk.

use crate::message::headers::{Field, fields};
use crate::route::RouteKind;
use crate::smtp::{BareLineEnd, DotStuffer};
use crate::spool::{Bytes, is_for_now};

/// Octets gathered before a write. A small message needs one write, a large one a few.
const WRITE_SIZE: usize = 128 * 1024;
/// A part that is longer may take a while to be sent. If another node may take the message over meanwhile, the final dot does not go with it.
const AT_ONCE: usize = 64 * 1024;

/// Why the message's octets cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They are damaged, or no server takes them as they are. The message is held for a person to look at, and not tried again.
    Damaged(String),
    /// The spool cannot read them now. The message is tried again later.
    ForNow(String),
}

impl From<BareLineEnd> for Unreadable {
    fn from(error: BareLineEnd) -> Self {
        Unreadable::Damaged(error.to_string())
    }
}

impl From<crate::spool::Error> for Unreadable {
    fn from(error: crate::spool::Error) -> Self {
        match is_for_now(&error) {
            true => Unreadable::ForNow(error.to_string()),
            false => Unreadable::Damaged(error.to_string()),
        }
    }
}

/// A message about to be sent.
pub struct Body<'a> {
    bytes: &'a Bytes,
    /// The first chunk. It is read before dialling, so that a damaged record costs no connection.
    first: Vec<u8>,
    extra: &'a [u8],
    kind: RouteKind,
}

impl<'a> Body<'a> {
    /// Reads the first chunk. Fails if it cannot be read, or if the header does not lie within it.
    pub async fn open(bytes: &'a Bytes, extra: &'a [u8], kind: RouteKind) -> Result<Self, Unreadable> {
        let first = if bytes.chunks() == 0 { Vec::new() } else { bytes.chunk(0).await? };
        let header_len = bytes.header_len as usize;
        if header_len > first.len() {
            return Err(Unreadable::Damaged(format!(
                "the header of {header_len} octets does not lie within the first chunk of {}",
                first.len()
            )));
        }
        let extra = if kind == RouteKind::Mailjet { extra } else { &[] };
        Ok(Body { bytes, first, extra, kind })
    }

    /// The number of octets to be sent without stuffed dots, as SIZE counts them (RFC 1870 §6). It is an upper bound
    /// where fields are left out.
    pub fn size(&self) -> u64 {
        (self.extra.len() + self.bytes.prefix.len()) as u64 + self.bytes.content_len
    }

    /// Returns true if the header, as it is sent, is ASCII.
    pub fn header_is_ascii(&self) -> bool {
        let header = &self.first[..self.bytes.header_len as usize];
        let left_out = |field: &Field<'_>| self.kind == RouteKind::OwnServer && field.is_for_mailjet();
        let in_ascii = |field: Result<Field<'_>, &[u8]>| {
            field.map_or_else(<[u8]>::is_ascii, |field| left_out(&field) || field.raw().is_ascii())
        };
        self.bytes.prefix.is_ascii() && (header.is_ascii() || fields(header).all(in_ascii))
    }

    pub fn transfer(&self) -> Transfer<'_> {
        Transfer { body: self, next: 0, stuffer: DotStuffer::new() }
    }
}

/// One transfer of a body. Call [`fill`](Transfer::fill) and send its output, until it returns true.
pub struct Transfer<'a> {
    body: &'a Body<'a>,
    next: usize,
    stuffer: DotStuffer,
}

impl Transfer<'_> {
    /// Appends the next part to `out`, which is empty. Returns true with the last part, which ends with the final dot. After an error
    /// nothing more may be sent, and least of all a final dot.
    ///
    /// Fails if another node may have the message by now: this process may have been stopped for a while (SIGSTOP, a machine without time
    /// for it), anywhere in the message. So this is asked last, after the part was read, and once more before the dot of a message that
    /// takes time.
    pub async fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool, Unreadable> {
        let body = self.body;
        let chunks = body.bytes.chunks();
        if self.next == 0 {
            self.stuffer.stuff(body.extra, out)?;
            self.stuffer.stuff(&body.bytes.prefix, out)?;
            let (header, rest) = body.first.split_at(body.bytes.header_len as usize);
            match body.kind {
                RouteKind::Mailjet => self.stuffer.stuff(header, out)?,
                RouteKind::OwnServer => self.stuff_header_for_others(header, out)?,
            }
            self.stuffer.stuff(rest, out)?;
            self.next = 1;
        }
        while self.next < chunks && out.len() < WRITE_SIZE {
            let chunk = body.bytes.chunk(self.next).await?;
            self.stuffer.stuff(&chunk, out)?;
            self.next += 1;
        }
        let is_last = self.next >= chunks && (out.len() <= AT_ONCE || !body.bytes.is_shared());
        if is_last {
            std::mem::take(&mut self.stuffer).end(out)?;
        }
        body.bytes.may_be_sent()?;
        Ok(is_last)
    }

    fn stuff_header_for_others(&mut self, header: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        // Consecutive fields that stay are stuffed together. Most messages need one call.
        let mut run = 0;
        let mut at = 0;
        for field in fields(header) {
            let raw = field.as_ref().map_or_else(|line| *line, |field| field.raw());
            if field.is_ok_and(|field| field.is_for_mailjet()) {
                self.stuffer.stuff(&header[run..at], out)?;
                run = at + raw.len();
            }
            at += raw.len();
        }
        self.stuffer.stuff(&header[run..], out)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::spool::{Error, Pending, ReadChunk};

    struct Chunks(Vec<Vec<u8>>);

    impl ReadChunk for Chunks {
        fn chunks(&self) -> usize {
            self.0.len()
        }
        fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>> {
            Box::pin(async move { Ok(self.0[index].clone()) })
        }
    }

    fn bytes(prefix: &str, chunks: &[&str]) -> Bytes {
        let content_len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let header_len = chunks.first().and_then(|first| first.find("\r\n\r\n")).map_or(0, |at| at + 2) as u32;
        let chunks = chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect();
        Bytes::new(prefix.as_bytes().to_vec(), header_len, content_len, Arc::new(Chunks(chunks)))
    }

    async fn sent(bytes: &Bytes, extra: &str, kind: RouteKind) -> Result<String, Unreadable> {
        let body = Body::open(bytes, extra.as_bytes(), kind).await?;
        let mut transfer = body.transfer();
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            let last = transfer.fill(&mut out).await?;
            all.extend(out);
            if last {
                return Ok(String::from_utf8(all).unwrap());
            }
        }
    }

    #[tokio::test]
    async fn fields_for_mailjet_reach_mailjet_only() {
        let message = bytes(
            "DKIM-Signature: x\r\n",
            &[
                "x-mj-CustomID: 1\r\nFrom: a@test.dk\r\nX-Mailjet-Campaign: a\r\n folded\r\nSubject: X-MJ-\r\nX-MJX: stays\r\n\
               X-MJ-last: 1\r\n\r\nX-MJ-body: stays\r\n",
            ],
        );
        assert_eq!(
            sent(&message, "X-Mailjet-TrackOpen: 0\r\n", RouteKind::OwnServer).await.unwrap(),
            "DKIM-Signature: x\r\nFrom: a@test.dk\r\nSubject: X-MJ-\r\nX-MJX: stays\r\n\r\nX-MJ-body: stays\r\n.\r\n"
        );
        let to_mailjet = sent(&message, "X-Mailjet-TrackOpen: 0\r\n", RouteKind::Mailjet).await.unwrap();
        assert!(to_mailjet.starts_with("X-Mailjet-TrackOpen: 0\r\nDKIM-Signature: x\r\nx-mj-CustomID: 1\r\n"));
        assert!(to_mailjet.contains("X-Mailjet-Campaign: a\r\n folded\r\n"));
    }

    #[tokio::test]
    async fn a_spool_that_is_away_damages_no_message() {
        struct Failing(std::io::ErrorKind);
        impl ReadChunk for Failing {
            fn chunks(&self) -> usize {
                1
            }
            fn read(self: Arc<Self>, _: usize) -> Pending<Result<Vec<u8>, Error>> {
                Box::pin(async move { Err(Error::Io { what: "reading".into(), source: self.0.into() }) })
            }
        }
        let of =
            async |kind| sent(&Bytes::new(Vec::new(), 0, 9, Arc::new(Failing(kind))), "", RouteKind::OwnServer).await;
        let (away, broken) = (of(std::io::ErrorKind::NotConnected).await, of(std::io::ErrorKind::InvalidData).await);
        assert!(matches!(away, Err(Unreadable::ForNow(_))), "{away:?}");
        assert!(matches!(broken, Err(Unreadable::Damaged(_))), "{broken:?}");
    }

    #[tokio::test]
    async fn dots_are_stuffed_across_chunks_and_the_end_is_one() {
        let message = bytes("", &["A: b\r\n\r\nx\r", "\n.", "y\r\n", ".\r\n", "z"]);
        assert_eq!(sent(&message, "", RouteKind::OwnServer).await.unwrap(), "A: b\r\n\r\nx\r\n..y\r\n..\r\nz\r\n.\r\n");
        assert_eq!(sent(&bytes("", &[]), "", RouteKind::OwnServer).await.unwrap(), ".\r\n");
    }

    #[tokio::test]
    async fn a_large_message_goes_in_several_parts() {
        let chunk = "x".repeat(998) + "\r\n";
        let chunk = chunk.repeat(250);
        let chunks: Vec<&str> = (0..4).map(|_| chunk.as_str()).collect();
        let message = bytes("", &chunks);
        let body = Body::open(&message, b"", RouteKind::Mailjet).await.unwrap();
        let (mut transfer, mut parts, mut most) = (body.transfer(), 0, 0);
        loop {
            let mut out = Vec::new();
            let last = transfer.fill(&mut out).await.unwrap();
            (parts, most) = (parts + 1, most.max(out.len()));
            if last {
                break;
            }
        }
        assert_eq!(parts, 4, "the final dot goes with the last of four chunks");
        assert!(most < 2 * 256 * 1024);
    }

    #[tokio::test]
    async fn what_another_node_may_have_by_now_gets_no_further_part_and_no_final_dot() {
        struct Leased(Vec<u8>, usize, AtomicUsize);
        impl ReadChunk for Leased {
            fn chunks(&self) -> usize {
                self.1
            }
            fn read(self: Arc<Self>, _: usize) -> Pending<Result<Vec<u8>, Error>> {
                Box::pin(async move { Ok(self.0.clone()) })
            }
            fn is_shared(&self) -> bool {
                true
            }
            fn may_be_sent(&self) -> Result<(), Error> {
                match self.2.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                    Ok(_) => Ok(()),
                    Err(_) => {
                        Err(Error::Io { what: "sending".into(), source: std::io::ErrorKind::NotConnected.into() })
                    }
                }
            }
        }
        let large = ("x".repeat(998) + "\r\n").repeat(200).into_bytes();
        for (chunk, chunks, parts) in [(&large, 3, 4), (&large, 1, 2), (&b"x\r\n".to_vec(), 1, 1)] {
            for allowed in 0..=parts {
                let source = Leased(chunk.clone(), chunks, AtomicUsize::new(allowed));
                let bytes = Bytes::new(Vec::new(), 0, (chunk.len() * chunks) as u64, Arc::new(source));
                let body = Body::open(&bytes, b"", RouteKind::OwnServer).await.unwrap();
                let (mut transfer, mut sent) = (body.transfer(), Vec::new());
                let ended = loop {
                    let mut out = Vec::new();
                    let filled = transfer.fill(&mut out).await;
                    sent.extend(out.into_iter().filter(|_| filled.is_ok()));
                    if !matches!(filled, Ok(false)) {
                        break filled.map(drop);
                    }
                };
                assert_eq!(ended.is_ok(), allowed == parts, "{chunks} chunks, {allowed} parts");
                assert!(ended.is_ok() || !sent.ends_with(b".\r\n"));
                assert!(!matches!(ended, Err(Unreadable::Damaged(_))), "the message waits");
            }
        }
    }

    #[tokio::test]
    async fn damaged_bytes_are_never_ended_by_a_dot() {
        for broken in ["A: b\r\n\r\nx\ny\r\n", "A: b\r\n\r\nx\ry\r\n", "A: b\r\n\r\nx\r"] {
            assert!(sent(&bytes("", &[broken]), "", RouteKind::OwnServer).await.is_err(), "{broken:?}");
        }
    }
}

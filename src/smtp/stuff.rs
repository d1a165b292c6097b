//! The sending side of DATA: stuffs dots (RFC 5321 §4.5.2) and writes the end of data, in one pass over the message.
//!
//! Promise, for any input: the output never holds a lone CR or LF, and `CRLF . CRLF` occurs in it exactly once, at its
//! end. Input with a lone CR or LF is refused. Intake refuses such messages, so only damage can bring one. After that
//! nothing more is written, and the caller must drop the connection: half a message is never ended by a dot.

use thiserror::Error;

/// The message holds a CR without LF or an LF without CR. It cannot be sent as it is, and must not be altered, because
/// the signature covers its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the message holds a line end that is not CRLF")]
pub struct BareLineEnd;

/// The position of the encoder between two chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Middle,
    AfterCr,
}

/// Encodes one message. Pass the chunks in order to [`stuff`](Self::stuff), then call [`end`](Self::end).
#[derive(Debug)]
pub struct DotStuffer {
    at: At,
    broken: bool,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl DotStuffer {
    /// An encoder at the start of a message, right after the 354.
    pub fn new() -> Self {
        DotStuffer { at: At::LineStart, broken: false }
    }

    /// Appends `chunk` to `out`, with another dot before each dot that begins a line. A chunk may begin and end
    /// anywhere.
    pub fn stuff(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        if self.broken {
            return Err(BareLineEnd);
        }
        out.reserve(chunk.len() + chunk.len() / 64);
        let (mut copied, mut pos) = (0, 0);
        while pos < chunk.len() {
            match self.at {
                At::LineStart => {
                    if chunk[pos] == b'.' {
                        out.extend_from_slice(&chunk[copied..pos]);
                        out.push(b'.');
                        copied = pos;
                    }
                    self.at = At::Middle;
                }
                At::AfterCr => {
                    if chunk[pos] != b'\n' {
                        return self.refuse();
                    }
                    pos += 1;
                    self.at = At::LineStart;
                }
                At::Middle => match memchr::memchr2(b'\r', b'\n', &chunk[pos..]) {
                    None => pos = chunk.len(),
                    Some(found) if chunk[pos + found] == b'\r' => {
                        pos += found + 1;
                        self.at = At::AfterCr;
                    }
                    Some(_) => return self.refuse(),
                },
            }
        }
        out.extend_from_slice(&chunk[copied..]);
        Ok(())
    }

    /// Appends the end of data. A last line without a line end gets one, because the receiver would see one in any
    /// case.
    pub fn end(self, out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        match self.at {
            _ if self.broken => return Err(BareLineEnd),
            At::AfterCr => return Err(BareLineEnd),
            At::LineStart => out.extend_from_slice(b".\r\n"),
            At::Middle => out.extend_from_slice(b"\r\n.\r\n"),
        }
        Ok(())
    }

    fn refuse(&mut self) -> Result<(), BareLineEnd> {
        self.broken = true;
        Err(BareLineEnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, BareLineEnd> {
        let (mut stuffer, mut out) = (DotStuffer::new(), Vec::new());
        for chunk in chunks {
            stuffer.stuff(chunk, &mut out)?;
        }
        stuffer.end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn dots_at_line_starts_are_doubled_wherever_the_message_is_split() {
        for (message, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"..a\r\n.b.\r\n\r\n", b"...a\r\n..b.\r\n\r\n.\r\n"),
        ] {
            for split in 0..=message.len() {
                let (head, tail) = message.split_at(split);
                assert_eq!(encode([head, tail]).unwrap(), wire, "{message:?} split at {split}");
            }
            assert_eq!(encode(message.chunks(1)).unwrap(), wire);
        }
    }

    #[test]
    fn lone_line_ends_are_never_written() {
        for message in [&b"a\nb"[..], b"a\r", b"a\rb", b"\n.\n", b"\r\r\n", b"a\r\n\n"] {
            for split in 0..=message.len() {
                let (head, tail) = message.split_at(split);
                assert_eq!(encode([head, tail]), Err(BareLineEnd), "{message:?} split at {split}");
            }
        }
    }

    #[test]
    fn nothing_is_written_after_a_refusal() {
        let (mut stuffer, mut out) = (DotStuffer::new(), Vec::new());
        assert!(stuffer.stuff(b"a\n", &mut out).is_err());
        let written = out.len();
        assert!(stuffer.stuff(b"b\r\n", &mut out).is_err());
        assert!(stuffer.end(&mut out).is_err());
        assert_eq!(out.len(), written);
    }
}

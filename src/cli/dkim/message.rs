//! Reads a message from a file or standard input, for `sign` and `verify`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::files;

/// Reads a message; `-` or no path means standard input. Lines that end with LF alone, as files on this system have them, get CRLF, as in
/// mail.
pub(super) fn read(path: Option<&PathBuf>) -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    match path.filter(|path| path.as_path() != Path::new("-")) {
        Some(path) => octets = files::read(path).with_context(|| path.display().to_string())?,
        None => {
            std::io::stdin().lock().read_to_end(&mut octets).context("standard input")?;
            octets = files::without_mark(octets);
        }
    }
    Ok(with_crlf(&octets))
}

fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32);
    for line in octets.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(content) => {
                out.extend_from_slice(content.strip_suffix(b"\r").unwrap_or(content));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// Returns the header block with its CRLFs, and the part after the empty line.
pub(super) fn split(message: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = message.strip_prefix(b"\r\n") {
        return (&[], body);
    }
    match memchr::memmem::find(message, b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_get_crlf_once() {
        assert_eq!(with_crlf(b"a\nb\r\n\nc\rd"), b"a\r\nb\r\n\r\nc\rd");
    }

    #[test]
    fn the_empty_line_parts_header_and_body() {
        assert_eq!(split(b"A: b\r\n\r\nbody"), (&b"A: b\r\n"[..], &b"body"[..]));
        assert_eq!(split(b"A: b\r\n\r\n"), (&b"A: b\r\n"[..], &b""[..]));
        assert_eq!(split(b"A: b\r\n"), (&b"A: b\r\n"[..], &b""[..]));
        assert_eq!(split(b"\r\nbody"), (&b""[..], &b"body"[..]));
    }
}

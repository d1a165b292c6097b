//! Converts a report to UTF-8. The encoding is that of the byte order mark, or else the declared one, or else UTF-8. Invalid text is
//! replaced, so that a name in the wrong encoding does not cost the numbers beside it.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// The most octets of one tag or one piece of text. The limit also holds for comments and document types.
const LONGEST_EVENT: usize = 64 << 10;
/// The octets that are decoded at once.
const AT_ONCE: usize = 16 << 10;
/// The XML declaration must be within this many octets.
const DECLARATION: usize = 512;

/// A stream of UTF-8.
pub(super) struct Utf8<'a> {
    input: &'a mut dyn BufRead,
    decoder: Option<Decoder>,
    decoded: Vec<u8>,
    at: usize,
    ended: bool,
    /// Octets since the last event.
    of_event: usize,
    /// True if some text was invalid in its encoding.
    pub garbled: bool,
}

impl<'a> Utf8<'a> {
    pub fn new(input: &'a mut dyn BufRead) -> Self {
        Utf8 { input, decoder: None, decoded: Vec::new(), at: 0, ended: false, of_event: 0, garbled: false }
    }

    /// Records that a new event begins.
    pub fn next_event(&mut self) {
        self.of_event = 0;
    }

    fn decode_more(&mut self) -> io::Result<()> {
        let input = self.input.fill_buf()?;
        let decoder =
            self.decoder.get_or_insert_with(|| encoding(&input[..input.len().min(DECLARATION)]).new_decoder());
        let input = &input[..input.len().min(AT_ONCE)];
        self.ended = input.is_empty();
        let room = decoder.max_utf8_buffer_length(input.len()).unwrap_or(4 * AT_ONCE);
        self.decoded.clear();
        self.decoded.resize(room, 0);
        let (_, read, written, garbled) = decoder.decode_to_utf8(input, &mut self.decoded, self.ended);
        self.garbled |= garbled;
        self.decoded.truncate(written);
        self.at = 0;
        self.input.consume(read);
        Ok(())
    }
}

/// Finds the encoding in the first octets.
fn encoding(beginning: &[u8]) -> &'static Encoding {
    if let Some((marked, _)) = Encoding::for_bom(beginning) {
        return marked;
    }
    match beginning {
        [b'<', 0, ..] => return UTF_16LE,
        [0, b'<', ..] => return UTF_16BE,
        _ => {}
    }
    let declared = || {
        let text = String::from_utf8_lossy(beginning);
        let after = text.split_once("?>")?.0.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
        let label = after.trim_start_matches(['"', '\'']).split(['"', '\'', ' ']).next()?.to_owned();
        Encoding::for_label(label.as_bytes())
    };
    match declared() {
        // In that encoding, the declaration could not have been read.
        Some(wide) if wide == UTF_16LE || wide == UTF_16BE => UTF_8,
        Some(declared) => declared,
        None => UTF_8,
    }
}

impl Read for Utf8<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Utf8<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.of_event > LONGEST_EVENT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "one element of it is longer than 64 KiB"));
        }
        while self.at == self.decoded.len() && !self.ended {
            self.decode_more()?;
        }
        // Return small pieces, so that the limit is checked in time.
        let end = self.decoded.len().min(self.at + 4096);
        Ok(&self.decoded[self.at..end])
    }

    fn consume(&mut self, count: usize) {
        self.of_event += count;
        self.at = (self.at + count).min(self.decoded.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> (String, bool) {
        let mut octets = octets;
        let mut text = Utf8::new(&mut octets);
        let mut decoded = Vec::new();
        while let Ok([first, ..]) = text.fill_buf() {
            decoded.push(*first);
            text.consume(1);
            text.next_event();
        }
        (String::from_utf8(decoded).unwrap(), text.garbled)
    }

    #[test]
    fn every_usual_encoding_is_read() {
        let text = "<?xml version=\"1.0\" encoding=\"X\"?><org>Blåbær</org>";
        let utf_16 = |order: fn(u16) -> [u8; 2], mark: bool| {
            let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
            units.flat_map(order).collect::<Vec<u8>>()
        };
        let latin = |label: &str| -> Vec<u8> { text.replace('X', label).chars().map(|c| c as u8).collect() };
        for octets in [utf_16(u16::to_le_bytes, true), utf_16(u16::to_be_bytes, true), utf_16(u16::to_le_bytes, false)]
        {
            assert_eq!(read(&octets), (text.to_owned(), false));
        }
        for label in ["ISO-8859-1", "windows-1252", "iso8859-1"] {
            assert_eq!(read(&latin(label)), (text.replace('X', label), false));
        }
        assert_eq!(read(format!("\u{feff}{text}").as_bytes()), (text.to_owned(), false));
        // The declared encoding is wrong.
        let wrong = text.replace('X', "UTF-16");
        assert_eq!(read(wrong.as_bytes()), (wrong, false));
        let (garbled, told) = read(&latin("UTF-8"));
        assert!(told && garbled.contains("Bl\u{fffd}b\u{fffd}r"), "{garbled}");
    }

    #[test]
    fn an_element_without_an_end_is_not_gathered() {
        let mut endless = io::BufReader::new(io::repeat(b'a'));
        let mut text = Utf8::new(&mut endless);
        let mut read = 0;
        while let Ok(more) = text.fill_buf() {
            let count = more.len();
            read += count;
            text.consume(count);
        }
        assert!(read < 2 * LONGEST_EVENT, "{read}");
    }
}

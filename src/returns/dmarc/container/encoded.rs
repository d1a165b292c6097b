//! Decodes the transfer encodings of mail (RFC 2045 §6) as a stream. Foreign characters are skipped.

use std::io::{self, BufRead, Read};

use ::base64::Engine as _;
use ::base64::alphabet::STANDARD;
use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// As lenient as mail programs: padding may be missing.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The letters that are decoded at once: whole groups of four.
const AT_ONCE: usize = 4096;

/// Base64, decoded as it is read. It ends at its padding.
pub(super) struct Base64<'a> {
    input: &'a [u8],
    decoded: Vec<u8>,
    at: usize,
}

impl<'a> Base64<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Base64 { input, decoded: Vec::new(), at: 0 }
    }

    fn decode_more(&mut self) {
        let mut letters = Vec::with_capacity(AT_ONCE);
        let mut taken = self.input.len();
        for (at, octet) in self.input.iter().enumerate() {
            match octet {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => letters.push(*octet),
                b'=' => break,
                _ => {}
            }
            if letters.len() == AT_ONCE {
                taken = at + 1;
                break;
            }
        }
        self.input = &self.input[taken..];
        // A single left-over letter encodes no octet.
        if letters.len() % 4 == 1 {
            letters.pop();
        }
        self.at = 0;
        self.decoded.clear();
        ENGINE.decode_vec(&letters, &mut self.decoded).expect("letters of the alphabet in groups");
    }
}

impl Read for Base64<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Base64<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.decoded.len() && !self.input.is_empty() {
            self.decode_more();
        }
        Ok(&self.decoded[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.decoded.len());
    }
}

/// Decodes quoted-printable. An equals sign without a valid escape is kept.
pub(super) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let content = line.trim_ascii_end();
        let (content, is_soft) = match content.strip_suffix(b"=") {
            Some(content) => (content, true),
            None => (content, false),
        };
        let mut rest = content;
        while let [octet, after @ ..] = rest {
            let escaped = match (octet, after) {
                (b'=', [high, low, ..]) => digit(*high).zip(digit(*low)),
                _ => None,
            };
            rest = match escaped {
                Some((high, low)) => {
                    decoded.push(high << 4 | low);
                    &after[2..]
                }
                None => {
                    decoded.push(*octet);
                    after
                }
            };
        }
        if !is_soft && line.ends_with(b"\n") {
            decoded.push(b'\n');
        }
    }
    decoded
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base64(text: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        Base64::new(text).read_to_end(&mut decoded).unwrap();
        decoded
    }

    #[test]
    fn base64_is_read_as_mailers_break_it() {
        for text in ["aGVsbG8=", "aGVsbG8", "aGV\r\nsbG8=\r\n", " aGV sbG8 = \n\n", "aGVs\0bG8=garbage", "aGVsbG8=\n--"]
        {
            assert_eq!(base64(text.as_bytes()), b"hello", "{text:?}");
        }
        assert_eq!(base64(b"a"), b"");
        assert_eq!(base64(b"=aGVsbG8="), b"");
    }

    #[test]
    fn quoted_printable_is_read_as_mailers_break_it() {
        for (text, decoded) in [
            ("a=3Db", "a=b"),
            ("a=3db=\r\nc", "a=bc"),
            ("a=\nb \r\nc", "ab\nc"),
            ("a=zz=4", "a=zz=4"),
            ("=", ""),
            ("", ""),
        ] {
            assert_eq!(quoted_printable(text.as_bytes()), decoded.as_bytes(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_comes_back(octets in prop::collection::vec(any::<u8>(), 0..9000), width in 1usize..100) {
            let encoded = ::base64::prelude::BASE64_STANDARD.encode(&octets);
            let lines: Vec<&[u8]> = encoded.as_bytes().chunks(width).collect();
            prop_assert_eq!(base64(&lines.join(&b"\r\n"[..])), octets);
        }
    }
}

//! Extracts XML from a mail, a zip or gzip archive, or plain XML. The kind is recognised by the first octets. Declared types and file names
//! are ignored, because half of them are wrong.
//!
//! Everything is read as a stream, and everything is limited: the nesting, the number of parts and entries, the octets of output, and the
//! ratio of output to input (decompression bombs). An input beyond a limit is refused with a reason.

mod encoded;
mod mime;
mod zip;

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// The most octets of a mail or file that are read.
pub const LONGEST: usize = 32 << 20;
/// The most octets of XML from one mail or file.
const MOST_OUT: u64 = 64 << 20;
/// The largest ratio of output to input. XML of reports compresses to between a tenth and a fiftieth, so anything beyond this was made to
/// grow.
const MOST_GROWTH: u64 = 200;
/// The octets of output that are always allowed, however small the input.
const ALWAYS_OUT: u64 = 1 << 20;
/// The deepest nesting of archives. An archive in an archive does occur; deeper nesting does not.
const DEEPEST: u32 = 2;
/// The first octets that show the kind.
const BEGINNING: usize = 512;

/// Why a container gives no XML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// The input is larger than the limit.
    #[error("it has {0} octets, and at most {LONGEST} are looked at")]
    TooLarge(usize),
    /// The output is larger than any report.
    #[error(
        "it unpacks to more than a report has ({MOST_OUT} octets, or {MOST_GROWTH} times its size): a decompression bomb"
    )]
    Bomb,
    /// Archives are nested too far.
    #[error("it is an archive in an archive in an archive")]
    Nested,
    /// The archive has a password.
    #[error("the zip archive is encrypted")]
    Encrypted,
    /// The zip archive uses a method that no reporter uses.
    #[error("the zip archive is compressed by method {0}, and reports come by 8 (deflate) or 0 (stored)")]
    Method(u16),
    /// The archive holds nothing.
    #[error("the archive is empty")]
    Empty,
    /// It is an archive of another kind.
    #[error("it is a {0} archive, and reports come as zip, gzip or XML")]
    Archive(&'static str),
    /// It is a mail without a report.
    #[error("the mail has no report attached: no part of it is XML, gzip or zip")]
    NothingAttached,
    /// The input is of a kind in which no report comes.
    #[error("it is neither XML nor gzip, zip or a mail")]
    Unknown,
    /// The mail or archive has too many parts.
    #[error("it has more than {0} parts")]
    Parts(usize),
}

/// The corrections that were necessary to open a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// An archive was inside another one.
    pub nested: bool,
    /// A part was encoded without declaring it.
    pub undeclared_encoding: bool,
}

/// Opens `octets` and passes each XML document in them to `each`, as a stream. A truncated document causes an error of the stream. Returns
/// what had to be corrected. If no document was found, the error gives the last reason.
pub fn open(octets: &[u8], each: &mut dyn FnMut(&mut dyn BufRead)) -> Result<Opening, Unopened> {
    if octets.len() > LONGEST {
        return Err(Unopened::TooLarge(octets.len()));
    }
    let most = MOST_OUT.min(ALWAYS_OUT.max(MOST_GROWTH * octets.len() as u64));
    // Input without compression does not grow.
    let most = most.max(octets.len() as u64);
    let opener = Opener { left: Cell::new(most), is_bomb: Cell::new(false), opening: Cell::default() };
    let mut each = |xml: &mut dyn BufRead| each(xml);
    let found = match kind(octets) {
        ContainerKind::Unknown if mime::is_mail(octets) => opener.mail(octets, &mut each),
        _ => opener.stream(&mut &*octets, 0, &mut each),
    };
    match found {
        _ if opener.is_bomb.get() => Err(Unopened::Bomb),
        Ok(()) => Ok(opener.opening.get()),
        Err(reason) => Err(reason),
    }
}

struct Opener {
    /// The octets of output that are still allowed.
    left: Cell<u64>,
    is_bomb: Cell<bool>,
    opening: Cell<Opening>,
}

type Each<'a> = dyn FnMut(&mut dyn BufRead) + 'a;

impl Opener {
    fn mail(&self, octets: &[u8], each: &mut Each<'_>) -> Result<(), Unopened> {
        let (mut found, mut reason) = (false, None);
        let mut open = |part: &mut dyn BufRead| match self.stream(part, 0, each) {
            Ok(()) => found = true,
            // Most of these mails also have a text for people.
            Err(Unopened::Unknown) => {}
            Err(other) => reason = Some(other),
        };
        let undeclared = mime::each_part(octets, &mut open)?;
        if undeclared {
            self.opening.set(Opening { undeclared_encoding: true, ..self.opening.get() });
        }
        match (found, reason) {
            (true, _) => Ok(()),
            (false, Some(reason)) => Err(reason),
            (false, None) => Err(Unopened::NothingAttached),
        }
    }

    fn stream(&self, input: &mut dyn BufRead, depth: u32, each: &mut Each<'_>) -> Result<(), Unopened> {
        let mut input = Peeked::new(input);
        match kind(input.beginning()) {
            ContainerKind::Zip | ContainerKind::Gzip if depth >= DEEPEST => Err(Unopened::Nested),
            ContainerKind::Gzip => {
                self.note_depth(depth);
                let mut unpacked = BufReader::new(Bounded { input: MultiGzDecoder::new(input), opener: self });
                self.stream(&mut unpacked, depth + 1, each)
            }
            ContainerKind::Zip => {
                self.note_depth(depth);
                let mut open = |entry: &mut dyn Read| {
                    let mut unpacked = BufReader::new(Bounded { input: entry, opener: self });
                    let opened = self.stream(&mut unpacked, depth + 1, each);
                    // The next entry begins where this one ends.
                    (opened, io::copy(&mut unpacked, &mut io::sink()).is_ok())
                };
                zip::each_entry(&mut input, &mut open)
            }
            ContainerKind::Xml => {
                each(&mut input);
                Ok(())
            }
            ContainerKind::Archive(name) => Err(Unopened::Archive(name)),
            ContainerKind::EmptyZip => Err(Unopened::Empty),
            ContainerKind::Unknown => Err(Unopened::Unknown),
        }
    }

    fn note_depth(&self, depth: u32) {
        if depth > 0 {
            self.opening.set(Opening { nested: true, ..self.opening.get() });
        }
    }
}

/// Counts the output of an archive, and ends it at the limit.
struct Bounded<'o, R> {
    input: R,
    opener: &'o Opener,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        match self.opener.left.get().checked_sub(count as u64) {
            Some(left) => self.opener.left.set(left),
            None => {
                self.opener.is_bomb.set(true);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a decompression bomb"));
            }
        }
        Ok(count)
    }
}

/// A stream whose first octets were already examined.
struct Peeked<'a> {
    beginning: Vec<u8>,
    at: usize,
    rest: &'a mut dyn BufRead,
}

impl<'a> Peeked<'a> {
    /// Examines the first octets. A read error is reported to the next reader.
    fn new(rest: &'a mut dyn BufRead) -> Self {
        let mut beginning = Vec::with_capacity(BEGINNING);
        while beginning.len() < BEGINNING {
            match rest.fill_buf() {
                Ok([]) | Err(_) => break,
                Ok(more) => {
                    let count = more.len().min(BEGINNING - beginning.len());
                    beginning.extend_from_slice(&more[..count]);
                    rest.consume(count);
                }
            }
        }
        Peeked { beginning, at: 0, rest }
    }

    fn beginning(&self) -> &[u8] {
        &self.beginning
    }
}

impl Read for Peeked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Peeked<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.beginning.len() { Ok(&self.beginning[self.at..]) } else { self.rest.fill_buf() }
    }

    fn consume(&mut self, count: usize) {
        if self.at < self.beginning.len() {
            self.at = (self.at + count).min(self.beginning.len());
        } else {
            self.rest.consume(count);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContainerKind {
    Xml,
    Gzip,
    Zip,
    EmptyZip,
    Archive(&'static str),
    Unknown,
}

/// Recognises the kind by the first octets.
fn kind(beginning: &[u8]) -> ContainerKind {
    let magics: [(&[u8], ContainerKind); 10] = [
        (b"PK\x03\x04", ContainerKind::Zip),
        // Split archives have this before the first entry.
        (b"PK\x07\x08PK\x03\x04", ContainerKind::Zip),
        (b"PK\x05\x06", ContainerKind::EmptyZip),
        (b"\x1f\x8b", ContainerKind::Gzip),
        (b"BZh", ContainerKind::Archive("bzip2")),
        (b"\xfd7zXZ\0", ContainerKind::Archive("xz")),
        (b"7z\xbc\xaf\x27\x1c", ContainerKind::Archive("7z")),
        (b"Rar!\x1a\x07", ContainerKind::Archive("RAR")),
        (b"\x28\xb5\x2f\xfd", ContainerKind::Archive("zstd")),
        (b"\x1f\x9d", ContainerKind::Archive("compress")),
    ];
    if let Some((_, kind)) = magics.into_iter().find(|(magic, _)| beginning.starts_with(magic)) {
        return kind;
    }
    // XML in any encoding: the first octet that is not a part of a byte order mark, a NUL of UTF-16, or white space.
    let first = beginning
        .iter()
        .find(|octet| !matches!(octet, 0 | 0xef | 0xbb | 0xbf | 0xfe | 0xff | b' ' | b'\t' | b'\r' | b'\n'));
    if first == Some(&b'<') { ContainerKind::Xml } else { ContainerKind::Unknown }
}

#[cfg(test)]
mod tests;

//! Reads the entries of a zip archive in the order of the file (APPNOTE.TXT §4.3). A report's archive has one entry. Reading it in this way
//! needs neither memory nor the directory, and a truncated archive still gives what it has.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;

use super::Unopened;

/// The most entries that are examined. Some packers add a folder or notes.
const MOST_ENTRIES: usize = 16;
/// The octets of a local header after its signature.
const HEADER: usize = 26;
/// The size that refers to the zip64 extra field.
const ELSEWHERE: u32 = u32::MAX;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
const SIZES_FOLLOW: u16 = 8;
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const SPLIT: [u8; 4] = *b"PK\x07\x08";

/// Opens an entry and reads it to its end. The second result is false if it has none.
type Open<'a> = dyn FnMut(&mut dyn Read) -> (Result<(), Unopened>, bool) + 'a;

/// Passes each entry to `open`. An entry that is no report does not matter if another one is.
pub(super) fn each_entry(input: &mut dyn BufRead, open: &mut Open<'_>) -> Result<(), Unopened> {
    let (mut found, mut reason) = (false, Unopened::Empty);
    let mut is_whole = false;
    for _ in 0..MOST_ENTRIES {
        let Ok(Some(header)) = Header::read(input) else {
            is_whole = true;
            break;
        };
        if header.flags & ENCRYPTED != 0 {
            reason = Unopened::Encrypted;
            is_whole = true;
            break;
        }
        let sizes_follow = header.flags & SIZES_FOLLOW != 0;
        let (opened, ended) = match header.method {
            // The entry is a folder.
            STORED if header.size == 0 && !sizes_follow => continue,
            // Without the size, entries behind this one cannot be found.
            STORED if sizes_follow => (open(&mut *input).0, false),
            STORED => open(&mut Read::take(&mut *input, header.size)),
            DEFLATED => open(&mut DeflateDecoder::new(&mut *input)),
            // An entry with an unknown method may precede the report.
            method => {
                let skipped = io::copy(&mut Read::take(&mut *input, header.size), &mut io::sink());
                (Err(Unopened::Method(method)), skipped.is_ok() && !sizes_follow)
            }
        };
        match opened {
            Ok(()) => found = true,
            Err(why) => reason = why,
        }
        if !ended || (sizes_follow && skip_sizes(input).is_err()) {
            is_whole = true;
            break;
        }
    }
    match (found, is_whole) {
        (true, _) => Ok(()),
        (false, true) => Err(reason),
        (false, false) => Err(Unopened::Parts(MOST_ENTRIES)),
    }
}

/// The header of an entry.
struct Header {
    flags: u16,
    method: u16,
    /// The packed octets, unless the flags say that the sizes follow the entry.
    size: u64,
}

impl Header {
    /// Reads the next header. Returns `None` at the directory, which ends the entries.
    fn read(input: &mut dyn BufRead) -> io::Result<Option<Header>> {
        let mut signature = [0; 4];
        input.read_exact(&mut signature)?;
        if signature == SPLIT {
            input.read_exact(&mut signature)?;
        }
        if signature != LOCAL {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        input.read_exact(&mut header)?;
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (flags, method, packed) = (short(2), short(4), long(14));
        let (name, extra) = (short(22), short(24));
        io::copy(&mut Read::take(&mut *input, name.into()), &mut io::sink())?;
        let mut extras = Vec::new();
        Read::take(&mut *input, extra.into()).read_to_end(&mut extras)?;
        let size = if packed == ELSEWHERE { packed_size(&extras).unwrap_or(u64::MAX) } else { packed.into() };
        Ok(Some(Header { flags, method, size }))
    }
}

/// Returns the packed size in the zip64 extra field, where it comes second (§4.5.3).
fn packed_size(mut extras: &[u8]) -> Option<u64> {
    while let [a, b, c, d, rest @ ..] = extras {
        let (id, length) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]).into());
        let data = rest.get(..length)?;
        if id == 1 {
            return Some(u64::from_le_bytes(data.get(8..16)?.try_into().ok()?));
        }
        extras = &rest[length..];
    }
    None
}

/// Skips the sizes behind an entry. They may follow a signature, and each may have four or eight octets. Another entry or the directory
/// follows, both of which begin with "PK".
fn skip_sizes(input: &mut dyn BufRead) -> io::Result<()> {
    for more in [12, 4, 4, 4] {
        input.read_exact(&mut [0; 12][..more])?;
        if input.fill_buf()?.first() == Some(&b'P') {
            return Ok(());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

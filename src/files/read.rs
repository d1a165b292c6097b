//! Reads files that people or this program wrote, without the byte order mark that some editors put first. A reader that does not know the
//! mark would take it for a part of the first word.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{as_folders_owner, open};

/// U+FEFF in UTF-8, with which some editors begin a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file that a person wrote cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no regular file, or is too large.
    #[error("{0}")]
    NotPlain(&'static str),
    /// The system cannot read it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a file that this program wrote, and that somebody may have edited. See [`read_octets`] for links.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_octets(path).map(without_mark)
}

/// Opens a file that a person named. Fails for a pipe or a device with a name in a folder, because it may never end: another user can put
/// one there. Those below /dev and /proc are the shell's (`<(command)`).
pub fn open_named(path: &Path) -> io::Result<fs::File> {
    is_no_trap(path)?;
    fs::File::open(path)
}

fn is_no_trap(path: &Path) -> io::Result<()> {
    let is_shells = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() && !is_shells => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file"))
        }
        _ => Ok(()),
    }
}

/// Reads a file as it is. If it is a link in a folder of another user, root reads what that user may read: its content may be sent to a
/// server, or end up in a file of that user's.
pub fn read_octets(path: &Path) -> io::Result<Vec<u8>> {
    is_no_trap(path)?;
    if !geteuid().is_root() {
        return fs::read(path);
    }
    match open(OpenOptions::new().read(true), OFlags::empty(), path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            as_folders_owner(path, || fs::read(path))
        }
        file => {
            let mut octets = Vec::new();
            file?.read_to_end(&mut octets)?;
            Ok(octets)
        }
    }
}

/// Removes the byte order mark.
pub fn without_mark(mut octets: Vec<u8>) -> Vec<u8> {
    if octets.starts_with(BYTE_ORDER_MARK) {
        octets.drain(..BYTE_ORDER_MARK.len());
    }
    octets
}

/// Reads a file as text. Returns an error if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads a file that a person wrote: a configuration, a secret, a key, a certificate. The content may be secret, so it is wiped when
/// dropped.
pub fn read_plain(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    is_plain(path).map_err(ReadError::NotPlain)?;
    Ok(Zeroizing::new(read(path)?))
}

/// Returns a one-line text without its line end.
pub fn line(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Like [`line`], for a text that did not come from a file: an environment variable, or an answer on standard input. A byte order mark is
/// removed, as from a file.
pub fn line_of_text(text: &str) -> &str {
    line(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Fails if a path does not lead to a file that can be read whole: a pipe would block, a device never ends, and none of our files is larger
/// than 1 MiB. A path that cannot be examined passes, so that opening it reports the error.
pub fn is_plain(path: &Path) -> Result<(), &'static str> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err("is not a file"),
        Ok(found) if found.len() > 1 << 20 => Err("is larger than 1 MiB: this is not what belongs here"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_at_the_beginning_is_no_part_of_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (written, expected) in [
            (&b"\xef\xbb\xbf-----BEGIN"[..], &b"-----BEGIN"[..]),
            (b"\xef\xbb\xbf", b""),
            (b"", b""),
            (b"\xef\xbb", b"\xef\xbb"),
            (b"\xef\xbb\xbf\xef\xbb\xbfx", b"\xef\xbb\xbfx"),
            (b"a\xef\xbb\xbf", b"a\xef\xbb\xbf"),
        ] {
            fs::write(&path, written).unwrap();
            assert_eq!((read(&path).unwrap(), &**read_plain(&path).unwrap()), (expected.to_vec(), expected));
        }
        fs::write(&path, "\u{feff}æ\n").unwrap();
        assert_eq!(read_text(&path).unwrap(), "æ\n");
        fs::write(&path, b"\xe6").unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_plain(dir.path()).unwrap_err().to_string(), "is not a file");
        assert!(read_plain(&dir.path().join("none")).unwrap_err().to_string().starts_with("cannot be read: No such"));
    }

    #[test]
    fn a_line_is_what_stands_between_mark_and_line_end() {
        for (written, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("\u{feff}secret\r\n", "secret"),
            (" secret \n\n", " secret "),
            ("\u{feff}\n", ""),
            ("a\nb\n", "a\nb"),
            ("a\u{feff}", "a\u{feff}"),
            ("\u{feff}\u{feff}a", "\u{feff}a"),
        ] {
            assert_eq!(line_of_text(written), expected, "{written:?}");
        }
    }
}

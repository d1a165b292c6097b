//! Reads whole lines of one file of the journal, compressed or not.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::Opened;

/// Reads about `max` octets of whole lines between `offset` and `limit`, and at least one line if there is one.
pub(super) fn read(file: &Opened, offset: u64, limit: u64, max: usize) -> io::Result<Vec<u8>> {
    match file {
        Opened::Plain(file) => of_plain(file, offset, limit, max),
        Opened::Archive(archive) => {
            let mut lines = archive.lines_from(offset)?;
            lines.truncate(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
            let whole = memchr::memrchr(b'\n', &lines[..max.min(lines.len())]);
            let first = memchr::memchr(b'\n', &lines);
            lines.truncate(whole.or(first).map_or(0, |end| end + 1));
            Ok(lines)
        }
    }
}

/// Returns the octet at `offset`, or `None` at the end.
pub(super) fn octet(file: &Opened, offset: u64) -> io::Result<Option<u8>> {
    match file {
        Opened::Plain(file) => {
            let mut octet = [0];
            Ok((file.read_at(&mut octet, offset)? == 1).then_some(octet[0]))
        }
        Opened::Archive(archive) => Ok(archive.lines_from(offset)?.first().copied()),
    }
}

fn of_plain(file: &File, offset: u64, limit: u64, max: usize) -> io::Result<Vec<u8>> {
    let mut file = file;
    let mut lines = Vec::new();
    let left = usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(lines);
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut wanted = max.min(left);
    loop {
        let before = lines.len();
        file.take((wanted - before) as u64).read_to_end(&mut lines)?;
        if let Some(end) = memchr::memrchr(b'\n', &lines) {
            lines.truncate(end + 1);
            return Ok(lines);
        }
        if lines.len() < wanted || wanted == left {
            return Ok(Vec::new());
        }
        wanted = wanted.saturating_mul(2).min(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_read_and_a_long_one_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.jsonl");
        std::fs::write(&path, b"aaaaaaaaaaaaaaaaaaaa\nbb\ncc").unwrap();
        let read = |offset, limit, max| {
            String::from_utf8(read(&Opened::Plain(File::open(&path).unwrap()), offset, limit, max).unwrap()).unwrap()
        };
        assert!(read(0, 26, 4).starts_with("aaaaaaaaaaaaaaaaaaaa\n"));
        assert_eq!(read(0, 26, 100), "aaaaaaaaaaaaaaaaaaaa\nbb\n");
        assert_eq!(read(21, 26, 100), "bb\n");
        assert_eq!(read(24, 26, 100), "");
        assert_eq!(read(0, 21, 100), "aaaaaaaaaaaaaaaaaaaa\n");
        assert_eq!(read(21, 21, 100), "");
    }
}

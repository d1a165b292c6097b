//! An archive: a closed file of the journal, compressed, with an index behind the lines.
//!
//! ```text
//! zstd frame (block 0) │ zstd frame (block 1) │ … │ skippable frame: header, blocks, keys
//! ```
//!
//! A block holds whole lines. Every tool that knows zstd can read the file (`zstdcat`), because RFC 8878 §3.1.2 makes it skip the index.
//! Offsets in the archive count the octets of the uncompressed lines, so a position in the journal stays valid when its file is closed.
//!
//! [`close`] writes the archive beside the journal's file, syncs it, and only then removes the file. A crash leaves one or both, never
//! none.

mod index;
pub(crate) mod keys;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::files::open_to_read;
use crate::time::Timestamp;
use index::{Index, Indexer};
pub use keys::Key;

/// The approximate size of a block before compression. Larger blocks compress better, but a search must read at least one whole block.
const BLOCK: usize = 256 << 10;
/// For events, zstd's level 3 needs a third of the time of level 6, and a tenth more space.
const LEVEL: i32 = 3;
/// The most blocks, because the index stores block numbers in 16 bits.
const MOST_BLOCKS: u64 = 60_000;

/// An archive that is open for reading.
#[derive(Debug)]
pub struct Archive {
    file: File,
    index: Index,
}

impl Archive {
    /// Opens an archive. Fails with `InvalidData` if its index is damaged; its lines can then still be read with zstd.
    pub fn open(path: &Path) -> io::Result<Self> {
        Archive::read(open_to_read(path)?)
    }

    /// Reads an archive from an open file.
    pub fn read(file: File) -> io::Result<Self> {
        let index = Index::read(&file)?;
        Ok(Archive { file, index })
    }

    /// Returns the times of the first and the last event.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (self.index.first_at, self.index.last_at)
    }

    /// Returns the octets of its lines before compression.
    pub fn octets(&self) -> u64 {
        self.index.octets()
    }

    /// Returns the number of its blocks.
    pub fn blocks(&self) -> usize {
        self.index.blocks.len()
    }

    /// Returns the blocks that may hold an event with this key, in ascending order. Sometimes a listed block does not.
    pub fn blocks_with(&self, key: &Key<'_>) -> io::Result<Vec<usize>> {
        self.index.blocks_with(&self.file, key.hash())
    }

    /// Returns the lines of one block. Fails with `InvalidData` if the block is damaged.
    pub fn block(&self, number: usize) -> io::Result<Vec<u8>> {
        let block = &self.index.blocks[number];
        let mut compressed = vec![0; block.compressed as usize];
        self.file.read_exact_at(&mut compressed, block.at)?;
        let lines = zstd::bulk::decompress(&compressed, block.len as usize)?;
        if lines.len() != block.len as usize {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a block of the archive is shorter than its index says",
            ));
        }
        Ok(lines)
    }

    /// Returns the lines from `offset`, which must be the start of a line, to the end of their block. Returns nothing at the end of the
    /// archive.
    pub fn lines_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        let mut begin = 0;
        for (number, block) in self.index.blocks.iter().enumerate() {
            let end = begin + u64::from(block.len);
            if offset < end {
                let mut lines = self.block(number)?;
                lines.drain(..usize::try_from(offset - begin).unwrap_or(usize::MAX));
                return Ok(lines);
            }
            begin = end;
        }
        Ok(Vec::new())
    }
}

/// Compresses a file of JSON lines into an archive at `to` with mode `mode`. The file is removed after the archive is on disk. Fails with
/// `WouldBlock` while somebody erases from the file.
pub fn close(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let file = open_to_read(from)?;
    file.try_lock()?;
    let block = BLOCK.max(usize::try_from(file.metadata()?.len() / MOST_BLOCKS).unwrap_or(usize::MAX));
    let mut lines = BufReader::with_capacity(BLOCK, &file);
    let mut archive = ArchiveWriter::new(to, mode)?;
    let mut gathered = Vec::with_capacity(block + 4096);
    loop {
        let is_end = lines.read_until(b'\n', &mut gathered)? == 0;
        if gathered.len() >= block || (is_end && !gathered.is_empty()) {
            archive.add(&gathered)?;
            gathered.clear();
        }
        if is_end {
            break;
        }
    }
    archive.finish()?;
    fs::remove_file(from)
}

/// Writes an archive under a temporary name. It gets its own name when it is complete and synced.
pub(super) struct ArchiveWriter {
    file: BufWriter<tempfile::NamedTempFile>,
    to: std::path::PathBuf,
    compressor: zstd::bulk::Compressor<'static>,
    index: Indexer,
}

impl ArchiveWriter {
    pub(super) fn new(to: &Path, mode: u32) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder)?;
        // Set the mode explicitly, because the umask would change it.
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(ArchiveWriter { file: BufWriter::new(file), to: to.to_owned(), compressor, index: Indexer::default() })
    }

    /// Begins an archive that replaces another one. It gets that one's owner and permissions.
    pub(super) fn in_place_of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        let old = fs::metadata(path)?;
        let writer = ArchiveWriter::new(path, old.permissions().mode() & 0o7777)?;
        let file = writer.file.get_ref().as_file();
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid()))?;
        }
        Ok(writer)
    }

    /// Adds whole lines as a block.
    pub(super) fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        let compressed = self.compressor.compress(lines)?;
        self.file.write_all(&compressed)?;
        self.index.add(lines, compressed.len());
        Ok(())
    }

    /// Writes the index, syncs the file and gives it its name.
    pub(super) fn finish(self) -> io::Result<()> {
        let ArchiveWriter { mut file, to, index, .. } = self;
        file.write_all(&index.finish())?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(&to).map_err(|error| error.error)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn lines(count: u32) -> String {
        let mut lines = String::new();
        for n in 0..count {
            writeln!(
                lines,
                r#"{{"event_id":"{n}-1-0","at":"2026-11-29T08:{:02}:{:02}.000Z","event":"relayed","queue_id":"Q{n}","recipient":"User{n}@example.com"}}"#,
                n / 60 % 60,
                n % 60
            )
            .unwrap();
        }
        lines
    }

    fn closed(text: &str) -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("e.jsonl.000001"), dir.path().join("e.jsonl.000001.zst"));
        fs::write(&plain, text).unwrap();
        close(&plain, &packed, 0o600).unwrap();
        assert!(!plain.exists());
        let archive = Archive::open(&packed).unwrap();
        (dir, archive)
    }

    #[test]
    fn every_line_comes_back_from_every_offset() {
        let text = lines(5000);
        let (_dir, archive) = closed(&text);
        assert!(archive.blocks() > 1);
        assert_eq!(archive.octets(), text.len() as u64);
        let mut offset = 0;
        while offset < archive.octets() {
            let read = archive.lines_from(offset).unwrap();
            assert_eq!(read, &text.as_bytes()[offset as usize..offset as usize + read.len()]);
            offset += read.len() as u64;
        }
        let second_line = text.find('\n').unwrap() + 1;
        assert!(archive.lines_from(second_line as u64).unwrap().starts_with(b"{\"event_id\":\"1-1-0\""));
        assert!(archive.lines_from(archive.octets()).unwrap().is_empty());
    }

    #[test]
    fn a_key_leads_to_the_block_that_holds_it_whatever_its_case() {
        let (_dir, archive) = closed(&lines(5000));
        for n in [0, 1234, 4999] {
            let address = format!("uSER{n}@EXAMPLE.com");
            let blocks = archive.blocks_with(&Key::Recipient(&address)).unwrap();
            let wanted = format!("User{n}@example.com");
            assert!(
                blocks.iter().any(|block| {
                    memchr::memmem::find(&archive.block(*block).unwrap(), wanted.as_bytes()).is_some()
                })
            );
            assert!(blocks.len() < archive.blocks());
        }
        assert!(archive.blocks_with(&Key::Recipient("nobody@example.com")).unwrap().is_empty());
        // The kind of the key matters: a queue id is not found as a recipient.
        assert!(archive.blocks_with(&Key::Recipient("Q17")).unwrap().is_empty());
        assert_eq!(archive.blocks_with(&Key::QueueId("Q17")).unwrap(), [0]);
    }

    #[test]
    fn zstd_reads_the_lines_without_knowing_of_the_index() {
        let text = lines(5000);
        let (dir, _archive) = closed(&text);
        let packed = File::open(dir.path().join("e.jsonl.000001.zst")).unwrap();
        assert_eq!(zstd::stream::decode_all(packed).unwrap(), text.as_bytes());
    }

    #[test]
    fn the_span_of_time_is_known() {
        let (_dir, archive) = closed(&lines(61));
        let (first, last) = archive.span();
        assert_eq!(
            (first.to_string(), last.to_string()),
            ("2026-11-29T08:00:00.000Z".into(), "2026-11-29T08:01:00.000Z".into())
        );
    }

    #[test]
    fn damage_is_an_error_and_never_a_wrong_line() {
        let text = lines(300);
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("e.1"), dir.path().join("e.1.zst"));
        fs::write(&plain, &text).unwrap();
        close(&plain, &packed, 0o600).unwrap();
        let whole = fs::read(&packed).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            fs::write(&packed, &damaged).unwrap();
            if let Ok(archive) = Archive::open(&packed)
                && let Ok(read) = archive.lines_from(0)
            {
                assert!(text.as_bytes().starts_with(&read), "octet {at}");
            }
        }
        for len in 0..whole.len() {
            fs::write(&packed, &whole[..len]).unwrap();
            assert!(Archive::open(&packed).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_file_without_lines_makes_an_empty_archive() {
        let (_dir, archive) = closed("");
        assert!(archive.octets() == 0 && archive.lines_from(0).unwrap().is_empty());
    }
}

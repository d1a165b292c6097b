//! Small files that are replaced as a whole: after a crash or a power cut there is the old one or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file in place of another, mode 0600. The old one stays where the new one cannot be written whole. Blocks.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    // Without this a power cut may bring the old name back.
    File::open(folder)?.sync_all()
}

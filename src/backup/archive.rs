//! The archive file: a tar file, compressed with zstd. `manifest.json` comes first, then the files in its order.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Error, FORMAT, Manifest, digest};
use crate::files::{self, Whole};
use crate::time::Timestamp;

const MANIFEST: &str = "manifest.json";
const LEVEL: i32 = 3;
/// More octets than any relay's configuration and state. A larger content is not one of our archives.
const LARGEST: u64 = 4 << 30;

/// Writes the archive with mode 0600. Fails if the file exists.
pub fn write(path: &Path, manifest: &Manifest, contents: &[Zeroizing<Vec<u8>>]) -> Result<(), Error> {
    let packed = pack(manifest, contents).map_err(Error::file("cannot pack", path))?;
    let folder = files::folder(path);
    files::refuse_links_of_others(folder).map_err(Error::file("cannot write", path))?;
    let written = Whole::write(folder, &packed, 0o600, None).and_then(|whole| whole.name(path));
    written.map_err(Error::file("cannot write, and nothing that exists is overwritten:", path))
}

fn pack(manifest: &Manifest, contents: &[Zeroizing<Vec<u8>>]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(zstd::stream::Encoder::new(Vec::new(), LEVEL)?);
    let description = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
    append(&mut tar, Path::new(MANIFEST), 0o600, &manifest.made, &description)?;
    for (saved, octets) in manifest.files.iter().zip(contents) {
        append(&mut tar, &name_of(&saved.path), saved.mode, &saved.modified, octets)?;
    }
    tar.into_inner()?.finish()
}

fn append(
    tar: &mut tar::Builder<impl io::Write>,
    name: &Path,
    mode: u32,
    modified: &str,
    octets: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(octets.len() as u64);
    header.set_mode(mode);
    header.set_mtime(modified.parse::<Timestamp>().map_or(0, |at| at.as_millis() / 1000));
    tar.append_data(&mut header, name, octets)
}

/// Returns a file's name in the archive.
fn name_of(path: &Path) -> PathBuf {
    Path::new("files").join(path.strip_prefix("/").unwrap_or(path))
}

/// An archive that was read, and whose files match its manifest.
pub struct Archive {
    pub manifest: Manifest,
    /// The content of the files, in the manifest's order.
    pub(super) contents: Vec<Zeroizing<Vec<u8>>>,
}

impl Archive {
    /// Reads an archive and checks each file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = files::open_named(path).map_err(Error::file("cannot read", path))?;
        let wrong = |what: String| Error::Archive { path: path.to_owned(), what };
        unpack(file).map_err(|error| wrong(format!("is no backup of postbud, or is damaged: {error}")))?.map_err(wrong)
    }
}

/// The outer error is about reading the file, the inner one about its content.
fn unpack(file: File) -> io::Result<Result<Archive, String>> {
    let mut tar = tar::Archive::new(zstd::stream::Decoder::new(file)?.take(LARGEST));
    let mut entries = tar.entries()?;
    let Some(first) = entries.next() else { return Ok(Err("is empty".to_owned())) };
    let (name, description) = entry(first?)?;
    if name != Path::new(MANIFEST) {
        return Ok(Err(format!("begins with {}, not with {MANIFEST}", name.display())));
    }
    let manifest: Manifest = match serde_json::from_slice(&description) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Err(format!("its {MANIFEST} is not understood: {error}"))),
    };
    if manifest.format != FORMAT {
        let what =
            format!("has format {}, and this version reads {FORMAT}: use the postbud that wrote it", manifest.format);
        return Ok(Err(what));
    }
    let mut contents = Vec::new();
    for saved in &manifest.files {
        let path = saved.path.display();
        let Some(next) = entries.next() else { return Ok(Err(format!("ends before {path}"))) };
        let (name, octets) = entry(next?)?;
        let is_plain = saved.path.is_absolute() && saved.path.components().all(|part| part.as_os_str() != "..");
        if name != name_of(&saved.path) || !is_plain || saved.mode > 0o777 {
            return Ok(Err(format!("has {} where its {MANIFEST} has {path}", name.display())));
        }
        if octets.len() as u64 != saved.size || digest(&octets) != saved.sha256 {
            return Ok(Err(format!("{path} is not what was written: the archive is damaged")));
        }
        contents.push(octets);
    }
    Ok(match entries.next() {
        Some(_) => Err(format!("has more files than its {MANIFEST} names")),
        None => Ok(Archive { manifest, contents }),
    })
}

fn entry(mut entry: tar::Entry<'_, impl Read>) -> io::Result<(PathBuf, Zeroizing<Vec<u8>>)> {
    let name = entry.path()?.into_owned();
    let mut octets = Zeroizing::new(Vec::new());
    entry.read_to_end(&mut octets)?;
    Ok((name, octets))
}

//! The file with the keys of return paths. It is created once, can be read by the relay only, and is in the state directory, so `postbud
//! backup` includes it.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use crate::files;
use crate::hex::{hex, octets};
use crate::message::return_path::Key;

/// The file's name in the state directory.
const FILE: &str = "return-path.keys";
const HEAD: &str =
    "# Keys of return paths, the newest first. Mail returns for as long as the record is kept: leave old lines in.\n";

/// Returns the path of the keys' file in a state directory.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Reads the keys, the newest first. Returns `None` if the file does not exist. Blocks.
pub fn read(path: &Path) -> io::Result<Option<Vec<Key>>> {
    let text = match files::read_state(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => Zeroizing::new(read?),
    };
    let text = std::str::from_utf8(&text).map_err(|_| wrong(path, "is not text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(octets::<32>).collect::<Option<Vec<[u8; 32]>>>();
    let keys = keys.ok_or_else(|| wrong(path, "has a line that is not 64 hexadecimal digits"))?;
    match keys.is_empty() {
        true => Err(wrong(path, "holds no key")),
        false => Ok(Some(keys.into_iter().map(Zeroizing::new).collect())),
    }
}

/// Reads the keys, or creates the file with a new key if it does not exist. Blocks.
pub fn read_or_make(path: &Path) -> io::Result<Vec<Key>> {
    if let Some(keys) = read(path)? {
        return Ok(keys);
    }
    let key = new_key()?;
    files::replace(path, file_of(std::slice::from_ref(&key)).as_bytes())?;
    Ok(vec![key])
}

/// Puts a new key before the others, which are read on, and returns how many keys there are then. Makes the file if there is none.
/// Blocks.
pub fn rotate(path: &Path) -> io::Result<usize> {
    let mut keys = read(path)?.unwrap_or_default();
    keys.insert(0, new_key()?);
    files::replace(path, file_of(&keys).as_bytes())?;
    Ok(keys.len())
}

fn new_key() -> io::Result<Key> {
    let mut new = [0; 32];
    aws_lc_rs::rand::fill(&mut new).map_err(|_| io::Error::other("no random numbers"))?;
    let key = Zeroizing::new(new);
    new.zeroize();
    Ok(key)
}

fn file_of(keys: &[Key]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(HEAD.to_owned());
    for key in keys {
        text.push_str(&Zeroizing::new(hex(&**key)));
        text.push('\n');
    }
    text
}

/// Makes the error for a damaged file. It stops the start, because without the keys no returned mail could be distinguished from a forgery.
fn wrong(path: &Path, what: &str) -> io::Error {
    let text = format!(
        "{} {what}; put back the file from a backup, or remove it and lose what is still to return",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_are_the_relays_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        assert!(read(&path).unwrap().is_none());
        let made = read_or_make(&path).unwrap();
        assert_eq!((made.len(), fs::metadata(&path).unwrap().permissions().mode() & 0o777), (1, 0o600));
        assert_eq!(read_or_make(&path).unwrap(), made);
        assert_ne!(*made[0], [0; 32]);
    }

    #[test]
    fn a_new_key_comes_first_and_the_old_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let made = read_or_make(&path).unwrap();
        assert_eq!((rotate(&path).unwrap(), rotate(&path).unwrap()), (2, 3));
        let rotated = read_or_make(&path).unwrap();
        assert_eq!((rotated.len(), &rotated[2]), (3, &made[0]));
        assert!(rotated[0] != rotated[1] && rotated[1] != made[0]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_file_of_keys_is_named_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        for (text, what) in [("", "holds no key"), ("# only\n", "holds no key"), ("abc\n", "64 hexadecimal digits")] {
            fs::write(&path, text).unwrap();
            let error = read_or_make(&path).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("from a backup"), "{error}");
        }
    }
}

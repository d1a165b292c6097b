//! Reads customers' keys on all cores, at a start. Checking an RSA key takes about half a millisecond, and ten thousand customers have as many.
//!
//! The files are read again in their order by the reader that notes mistakes. It then finds the keys in memory. At a reload, almost all keys are
//! in use already, and the other cores are left to the mail.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::customers::KeyPlace;
use crate::dkim::{self, SigningKey, key};
use crate::files;
use crate::sealed::Passphrase;

/// Fewer files than this are read as fast on one core.
const FEW: usize = 32;

/// Reads the keys that these customers' files name, unless keys are in use already. They are in memory as long as the result is. What cannot be
/// read is left out.
pub(super) fn read_ahead(files: &[PathBuf], passphrase: Option<&Passphrase>) -> Vec<SigningKey> {
    let threads = dkim::one_a_core();
    if files.len() < FEW || threads < 2 || dkim::keys_in_use() > 0 {
        return Vec::new();
    }
    std::thread::scope(|scope| {
        let of_part = |part| scope.spawn(move || read_part(part, passphrase));
        let parts: Vec<_> = files.chunks(files.len().div_ceil(threads)).map(of_part).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

fn read_part(files: &[PathBuf], passphrase: Option<&Passphrase>) -> Vec<SigningKey> {
    let read = |path: PathBuf| SigningKey::from_pem_with(&key::read(&path).ok()?.0, passphrase).ok();
    files.iter().flat_map(|file| named_keys(file)).filter_map(read).collect()
}

/// Returns the files with keys that a customer's file names.
fn named_keys(file: &Path) -> Vec<PathBuf> {
    let Ok(octets) = files::read_plain(file) else { return Vec::new() };
    let Ok(text) = std::str::from_utf8(&octets) else { return Vec::new() };
    let (root, _) = DeTable::parse_recoverable(text);
    let Some(DeValue::Table(table)) = root.get_ref().get("dkim").map(|value| value.get_ref()) else {
        return Vec::new();
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let named = |place: KeyPlace| match table.get(place.private_key())?.get_ref() {
        DeValue::String(path) => Some(folder.join(&**path)),
        _ => None,
    };
    KeyPlace::ALL.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_keys_of_a_customer_are_found_beside_its_file_and_what_is_wrong_is_left_to_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let named = |text: &str| {
            fs::write(&file, text).unwrap();
            named_keys(&file)
        };
        let both = "[dkim]\nprivate_key = \"../a.pem\"\ned25519_private_key = \"/keys/b.pem\"";
        assert_eq!(named(both), [dir.path().join("../a.pem"), PathBuf::from("/keys/b.pem")]);
        for wrong in ["", "dkim = 7", "[dkim]\nprivate_key = 7", "[dkim", "\u{fffd}"] {
            assert!(named(wrong).is_empty(), "{wrong}");
        }
        assert!(named_keys(&dir.path().join("missing.toml")).is_empty());
        let pem = SigningKey::generate_rsa(2048).unwrap().to_pem().unwrap();
        fs::write(dir.path().join("a.pem"), pem.as_bytes()).unwrap();
        named("[dkim]\nprivate_key = \"a.pem\"\ned25519_private_key = \"missing.pem\"");
        assert_eq!(read_part(&[file], None).len(), 1);
    }
}

//! Reads the folder of customers' files.
//!
//! Some hundred files at a time are first read and parsed, and then their customers are made in the order of the files' names, because no
//! two may have the same domain. At a start, the first step runs on all cores and also reads the keys that the files name: checking an RSA
//! key takes about half a millisecond, and ten thousand customers have as many. The customers find these keys in memory. At a reload, almost
//! all keys are in use already, and the other cores are left to the mail.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use toml::de::DeValue;

use super::customer::{self, Defaults};
use super::mistake::{Mistake, Notes};
use super::reader::{File, Table, Tree};
use crate::customers::KeyPlace;
use crate::dkim::{self, SigningKey, key};
use crate::message::CustomerId;
use crate::sealed::Passphrase;

/// The most files that are in memory at once.
const AT_ONCE: usize = 512;
/// Fewer files than this are read as fast on one core.
const FEW: usize = 32;

/// Reads `dir/*.toml` in the order of their names. Other files there are ignored.
pub(super) fn read(root: &Table<'_>, dir: &Path, defaults: &Defaults, notes: &Notes) -> Vec<customer::CustomerFile> {
    let named = named_files(root, dir, notes);
    let cores = match dkim::keys_in_use() {
        0 if named.len() >= FEW => dkim::one_a_core(),
        _ => 1,
    };
    let (passphrase, mut taken, mut customers) = (notes.passphrase(), BTreeMap::new(), Vec::new());
    for some in named.chunks(AT_ONCE) {
        let files = on_cores(cores, some, |(_, path)| File::open(path));
        let trees = on_cores(cores, &files, |file| {
            let tree = file.as_ref()?.tree();
            let keys = if cores > 1 { keys(&tree, passphrase) } else { Vec::new() };
            Ok((tree, keys))
        });
        for ((id, _), tree) in some.iter().zip(trees) {
            match tree {
                // The keys are in memory until the customer has them.
                Ok((tree, _keys)) => {
                    let document = tree.document(notes);
                    customers.extend(customer::customer(id.clone(), &document.root(), defaults, &mut taken));
                }
                Err(unread) => notes.add(Mistake::clone(unread)),
            }
        }
    }
    customers
}

/// Returns the files of customers in a folder, in the order of their names. Other files there are ignored.
pub(crate) fn customer_files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(paths_in(dir)?.into_iter().filter(|path| is_customer_file(path)).collect())
}

fn paths_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn is_customer_file(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    path.extension().is_some_and(|end| end == "toml") && !is_hidden
}

/// Returns the files of customers with the ids that their names give.
fn named_files(root: &Table<'_>, dir: &Path, notes: &Notes) -> Vec<(CustomerId, PathBuf)> {
    let mut paths = match paths_in(dir) {
        Ok(paths) => paths,
        Err(error) => {
            root.mistake("customers_dir", format!("{} cannot be read: {error}", dir.display()));
            return Vec::new();
        }
    };
    for path in &paths {
        let end = path.extension().unwrap_or_default();
        if end != "toml" && end.eq_ignore_ascii_case("toml") {
            notes.warning(path, None, String::new(), "is left alone: a customer's file ends in .toml, in lower case");
        }
    }
    paths.retain(|path| is_customer_file(path));
    let named = paths.into_iter().filter_map(|path| {
        let id = customer::id(&path);
        if id.is_none() {
            let what =
                "a customer's file is named after its id, in lower case letters, digits and hyphens, like test-as.toml";
            notes.mistake(&path, None, String::new(), what);
        }
        Some((id?, path))
    });
    named.collect()
}

/// Does the same work for all items, each core for a part of them. Returns the results in the order of the items.
fn on_cores<'i, I: Sync, T: Send>(cores: usize, items: &'i [I], work: impl Fn(&'i I) -> T + Sync) -> Vec<T> {
    if cores < 2 {
        return items.iter().map(work).collect();
    }
    thread::scope(|scope| {
        let work = &work;
        let begin = |part: &'i [I]| scope.spawn(move || part.iter().map(work).collect::<Vec<T>>());
        let parts: Vec<_> = items.chunks(items.len().div_ceil(cores).max(1)).map(begin).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Reads the keys that a customer's file names. What cannot be read is left out, and noted when the customer is made.
fn keys(tree: &Tree<'_>, passphrase: Option<&Passphrase>) -> Vec<SigningKey> {
    let read = |path: PathBuf| SigningKey::from_pem_with(&key::read(&path).ok()?.0, passphrase).ok();
    named_keys(tree).into_iter().filter_map(read).collect()
}

/// Returns the files with keys that a customer's file names.
fn named_keys(tree: &Tree<'_>) -> Vec<PathBuf> {
    let Some(DeValue::Table(table)) = tree.value("dkim") else { return Vec::new() };
    let named = |place: KeyPlace| match table.get(place.private_key())?.get_ref() {
        DeValue::String(path) => Some(tree.resolve(path)),
        _ => None,
    };
    KeyPlace::ALL.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customers_of_a_folder_are_its_visible_toml_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".c.toml", "d.toml.bak", "E.TOML", "f.toml~", "toml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let expected = ["a.toml", "b.toml"].map(|name| dir.path().join(name));
        assert_eq!(customer_files_in(dir.path()).unwrap(), expected);
        assert!(customer_files_in(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn the_keys_of_a_customer_are_found_beside_its_file_and_what_is_wrong_is_left_to_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let named = |text: &str| {
            fs::write(&file, text).unwrap();
            named_keys(&File::open(&file).unwrap().tree())
        };
        let both = "[dkim]\nprivate_key = \"../a.pem\"\ned25519_private_key = \"/keys/b.pem\"";
        assert_eq!(named(both), [dir.path().join("../a.pem"), PathBuf::from("/keys/b.pem")]);
        for wrong in ["", "dkim = 7", "[dkim]\nprivate_key = 7", "[dkim", "\u{fffd}"] {
            assert!(named(wrong).is_empty(), "{wrong}");
        }
        assert!(File::open(&dir.path().join("missing.toml")).is_err());
        let pem = SigningKey::generate_rsa(2048).unwrap().to_pem().unwrap();
        fs::write(dir.path().join("a.pem"), pem.as_bytes()).unwrap();
        named("[dkim]\nprivate_key = \"a.pem\"\ned25519_private_key = \"missing.pem\"");
        assert_eq!(keys(&File::open(&file).unwrap().tree(), None).len(), 1);
    }

    #[test]
    fn results_are_in_the_order_of_the_items_on_any_number_of_cores() {
        let items: Vec<usize> = (0..100).collect();
        for cores in [1, 2, 3, 7, 64, 200] {
            let done = on_cores(cores, &items, |item| item * 2);
            assert!(done.iter().copied().eq((0..200).step_by(2)), "{cores}: {done:?}");
            assert!(on_cores(cores, &[], |item: &usize| *item).is_empty());
        }
    }
}

//! Collects the content of a backup: the configuration, the files that it names, and the lasting part of the state.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Error, FORMAT, LEFT_OUT, Manifest, Owner, Role, Saved, digest};
use crate::config;
use crate::database;
use crate::events;
use crate::files;
use crate::message::CustomerId;
use crate::onboarding::rotation;
use crate::returns;
use crate::server::Settings;
use crate::time::Timestamp;
use crate::version;

/// How often everything is read before a backup fails because the files keep changing.
const READINGS: u32 = 10;
/// Keys whose value is the path of a file, besides the keys that end in `_file`.
const NAMING_KEYS: [&str; 6] =
    ["certificate", "private_key", "ed25519_private_key", "client_certificate", "client_key", "ca_file"];
/// The key that names the file of the passphrase.
const PASSPHRASE: &str = "passphrase_file";
/// Files of the state directory that are about the past, or about the running process only.
const PASSING: [&str; 7] = [
    "suppression-fed",
    "daily-counters.json",
    "known-clients.json",
    "audit",
    events::WEBHOOK_CURSORS,
    "webhook-outbox.jsonl",
    returns::mail::INBOX,
];

/// The content of files, in the manifest's order.
pub type Contents = Vec<Zeroizing<Vec<u8>>>;

/// A file that was read: its entry in the manifest, and its content.
type Read = (Saved, Zeroizing<Vec<u8>>);

/// Reads everything in a consistent state: reads again until two readings in a row are equal.
pub fn collect(server_file: &Path) -> Result<(Manifest, Contents), Error> {
    let server_file = std::path::absolute(server_file).map_err(Error::file("cannot find", server_file))?;
    let mut before = read_all(&server_file)?;
    for _ in 0..READINGS {
        let again = read_all(&server_file)?;
        if again.0 == before.0 {
            let (files, contents) = again.1.into_iter().unzip();
            return Ok((Manifest { made: Timestamp::now().to_string(), files, ..again.0 }, contents));
        }
        before = again;
    }
    Err(Error::Restless(server_file))
}

/// Reads everything once. The manifest has the files' digests, so that two readings can be compared.
fn read_all(server_file: &Path) -> Result<(Manifest, Vec<Read>), Error> {
    let settings = config::load(server_file)?.settings;
    let state_dir = plain(&settings.state_dir);
    let relay = fs::metadata(&state_dir).ok().map(|found| found.uid());
    // Root reads below the state directory with the rights of its owner: see `files`.
    let mut read = Vec::new();
    for (path, role) in configuration_files(server_file, &settings)? {
        read.push(read_file(&path, role, relay, files::read_octets)?);
    }
    for path in lasting(&state_dir, &settings)? {
        let in_state = |path: &Path| {
            files::in_state(&[&state_dir], || match path == state_dir.join(database::FILE) {
                true => database::snapshot(path).map_err(io::Error::other),
                false => files::read_state(path),
            })
        };
        read.push(read_file(&path, Role::State, relay, in_state)?);
    }
    read.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    let manifest = Manifest {
        format: FORMAT,
        postbud: version::LONG.to_owned(),
        made: String::new(),
        hostname: settings.hostname.to_string(),
        server_file: server_file.to_owned(),
        state_dir,
        files: read.iter().map(|(saved, _)| saved.clone()).collect(),
        left_out: LEFT_OUT.map(str::to_owned).to_vec(),
    };
    Ok((manifest, read))
}

/// Returns the server file, the customers' files, and the files that they name.
pub fn configuration_files(server_file: &Path, settings: &Settings) -> Result<BTreeMap<PathBuf, Role>, Error> {
    let mut wanted = BTreeMap::from([(server_file.to_owned(), Role::Server)]);
    let text = files::read_text(server_file).map_err(Error::file("cannot read", server_file))?;
    let server: toml::Table = toml::from_str(&text).unwrap_or_default();
    let here = files::folder(server_file);
    for path in named(&server, here) {
        wanted.entry(path).or_insert(Role::Named);
    }
    let customers = settings.customer_files.dir();
    let customer_files = config::customer_files_in(customers).map_err(Error::file("cannot read", customers))?;
    for file in customer_files.iter().map(|file| plain(file)) {
        let text = files::read_text(&file).map_err(Error::file("cannot read", &file))?;
        let mut others = named(&toml::from_str(&text).unwrap_or_default(), files::folder(&file));
        others.extend(keys_under_way(settings, &file)?);
        for path in others {
            wanted.entry(path).or_insert(Role::Named);
        }
        wanted.insert(file, Role::Customer);
    }
    Ok(wanted)
}

fn read_file(
    path: &Path,
    role: Role,
    relay: Option<u32>,
    read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
) -> Result<Read, Error> {
    let found = fs::metadata(path).map_err(Error::file("cannot read", path))?;
    let octets = Zeroizing::new(read(path).map_err(Error::file("cannot read", path))?);
    let modified = u64::try_from(found.mtime_nsec() / 1_000_000 + found.mtime() * 1000).unwrap_or_default();
    let saved = Saved {
        path: path.to_owned(),
        role,
        owner: if Some(found.uid()) == relay && found.uid() != 0 { Owner::Relay } else { Owner::Operator },
        mode: found.mode() & 0o777,
        modified: Timestamp::from_millis(modified).to_string(),
        size: octets.len() as u64,
        sha256: digest(&octets),
    };
    Ok((saved, octets))
}

/// Returns the files that a configuration's keys name, without `..`.
fn named(table: &toml::Table, dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::String(path) if is_naming(key) => found.push(plain(&dir.join(path))),
            toml::Value::Table(inner) => found.extend(named(inner, dir)),
            toml::Value::Array(items) => {
                found.extend(items.iter().filter_map(toml::Value::as_table).flat_map(|inner| named(inner, dir)));
            }
            _ => {}
        }
    }
    found
}

/// Returns the key files of a customer's running rotations, which its file does not name yet, or no more. Without the new one, a key whose
/// record the customer has published would be lost. The old one may be gone.
fn keys_under_way(settings: &Settings, customer_file: &Path) -> Result<Vec<PathBuf>, Error> {
    let id = CustomerId::new(&customer_file.file_stem().unwrap_or_default().to_string_lossy());
    let rotations = rotation::under_way(&settings.onboarding, &id);
    let rotations = rotations.map_err(Error::file("cannot read the change of keys of", customer_file))?;
    let path = |key: &rotation::Key| plain(&files::folder(customer_file).join(&key.file));
    let keys = rotations.iter().flat_map(|it| [Some(path(&it.new)), Some(path(&it.old)).filter(|old| old.exists())]);
    Ok(keys.flatten().collect())
}

/// Returns true if the key names a file to back up. The passphrase of encrypted keys is kept apart from them, so it is not in the backup.
fn is_naming(key: &str) -> bool {
    (key.ends_with("_file") && key != PASSPHRASE) || NAMING_KEYS.contains(&key)
}

/// Returns the same path with its folder resolved, without `..` and links.
fn plain(path: &Path) -> PathBuf {
    match (files::folder(path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Returns the lasting files of the state directory: all but the spool, the event log and [`PASSING`]. Files that a later version adds are
/// therefore backed up, too.
fn lasting(state_dir: &Path, settings: &Settings) -> Result<Vec<PathBuf>, Error> {
    let spool = settings.spool.dir().map(plain);
    let log = settings.events.log.as_deref().map(plain);
    let is_log = |path: &Path| {
        let log = log.as_ref().map(|log| log.as_os_str().as_encoded_bytes());
        log.is_some_and(|log| path.as_os_str().as_encoded_bytes().starts_with(log))
    };
    let (mut found, mut folders) = (Vec::new(), vec![state_dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match files::in_state(&[state_dir], || fs::read_dir(&folder)?.collect::<io::Result<Vec<_>>>()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::file("cannot read", &folder))?,
        };
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_passing = folder == state_dir && PASSING.iter().any(|passing| name == *passing);
            // A hidden file is incomplete or a lock.
            let is_beside = database::BESIDE.iter().any(|end| name.strip_suffix(end) == Some(database::FILE));
            let is_none_of_it = is_passing || is_beside || name.starts_with('.') || name.ends_with(".lock");
            if is_none_of_it || is_log(&path) || spool.as_ref() == Some(&plain(&path)) {
                continue;
            }
            let kind = entry.file_type().map_err(Error::file("cannot look at", &path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the keys of the example files, including those that are commented out.
    fn keys_with_paths() -> Vec<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let mut found = Vec::new();
        for file in ["postbud.toml", "docker.toml", "customers/test-as.toml", "customers/egen-server.toml"] {
            for line in fs::read_to_string(root.join(file)).unwrap().lines() {
                let line = line.trim_start_matches(['#', ' ']);
                let Some((key, rest)) = line.split_once(" = \"") else { continue };
                let value = rest.split('"').next().unwrap();
                let is_path = value.starts_with("../") || value.starts_with("secrets/") || value.ends_with("pem");
                if is_path && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                    found.push((key.to_owned(), value.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn every_key_of_the_examples_that_names_a_file_is_known() {
        let keys = keys_with_paths();
        assert!(keys.len() > 15, "{keys:?}");
        // Folders, and files that are left out on purpose.
        let others = ["state_dir", "log", "dir", PASSPHRASE];
        let unknown: Vec<_> = keys.iter().filter(|(key, _)| !is_naming(key) && !others.contains(&&**key)).collect();
        assert!(unknown.is_empty(), "is this a file that a backup needs? {unknown:?}");
    }

    #[test]
    fn files_are_found_in_tables_of_tables_and_in_lists_of_them() {
        let table = toml::from_str(
            "[secrets]\npassphrase_file = \"a\"\n[[submitter]]\npassword_hash_file = \"b\"\n[[submitter]]\npassword_hash_file = \"/c\"\nname = \"d\"\n\
             [mailjet.starter]\npassword_file = \"e\"\n[route.oauth]\nclient_secret_file = \"f\"\n[dkim.second]\nprivate_key = \"g\"",
        )
        .unwrap();
        let mut found = named(&table, Path::new("/nowhere"));
        found.sort();
        assert_eq!(found, ["/c", "/nowhere/b", "/nowhere/e", "/nowhere/f", "/nowhere/g"].map(PathBuf::from));
    }
}

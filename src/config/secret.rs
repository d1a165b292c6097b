//! Reads secrets from a file, the environment or a command. A file may be encrypted ([`sealed`]). A password in the configuration itself is
//! a mistake. No mistake's text shows a value that does not name an existing file or variable, because it may be the secret itself.

use std::env::VarError;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::mistake::ReadAgain;
use super::reader::Table;
use crate::files;
use crate::sealed;
use crate::visible::is_unseen;

/// The four keys that a value may come from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub inline: &'static str,
    pub file: &'static str,
    pub env: &'static str,
    /// The key of a command that prints the value.
    pub command: &'static str,
    /// True if the value may be in the configuration itself.
    pub may_be_inline: bool,
    /// True if other users must not read the file.
    pub is_secret: bool,
}

/// Makes the four keys of a secret: `secret_keys!("password")` are `password`, `password_file`, `password_env` and `password_command`. The
/// secret must not be in the configuration itself, and other users must not read its file.
macro_rules! secret_keys {
    ($name:literal) => {
        $crate::config::secret::Source {
            inline: $name,
            file: concat!($name, "_file"),
            env: concat!($name, "_env"),
            command: concat!($name, "_command"),
            may_be_inline: false,
            is_secret: true,
        }
    };
}
pub(super) use secret_keys;

/// Returns the value, if there is one that can be used. It is a mistake if the value comes from two places.
pub(super) fn value(table: &Table<'_>, source: Source) -> Option<Zeroizing<String>> {
    let Source { inline, file, env, command, .. } = source;
    let given: Vec<_> = [inline, file, env, command].into_iter().filter(|key| table.has(key)).collect();
    if let [_, second, ..] = given.as_slice() {
        table.mistake(second, format!("is given besides {}; keep one of them", given[0]));
        return None;
    }
    if table.has(inline) {
        let text: Option<String> = table.get(inline);
        if source.may_be_inline {
            return one_line(table, inline, &"the value", &Zeroizing::new(text?));
        }
        drop(text.map(Zeroizing::new));
        let what = format!(
            "a secret does not belong in this file; put it in a file of its own that only postbud may read and write \
             {file} = \"secrets/…\", or name an environment variable with {env}"
        );
        table.mistake(inline, what);
        return None;
    }
    if let Some(path) = table.get::<PathBuf>(file) {
        return from_file(table, file, &path, source.is_secret);
    }
    if table.has(command) {
        return from_command(table, command, &table.get::<Vec<String>>(command)?);
    }
    from_environment(table, env, &table.get::<String>(env)?)
}

/// Returns true if any of the four keys is present.
pub(super) fn is_given(table: &Table<'_>, source: Source) -> bool {
    // Ask for all four, so that the table knows them.
    let given = [source.inline, source.file, source.env, source.command].map(|key| table.has(key));
    given.contains(&true)
}

/// Describes where the value is, for advice: `password_file (secrets/acme.password)`.
pub(super) fn place(table: &Table<'_>, source: Source) -> Option<String> {
    let Source { inline, file, env, command, .. } = source;
    if table.has(command) {
        return Some(command.to_owned());
    }
    if let Some(path) = table.get::<PathBuf>(file) {
        return Some(format!("{file} ({})", path.display()));
    }
    let variable = table.get::<String>(env).map(|name| format!("{env} ({name})"));
    variable.or_else(|| table.has(inline).then(|| inline.to_owned()))
}

fn from_file(table: &Table<'_>, key: &'static str, path: &Path, secret: bool) -> Option<Zeroizing<String>> {
    // If the folder cannot be read, assume that the value is a path.
    if let Err(error) = std::fs::metadata(path)
        && error.kind() != std::io::ErrorKind::PermissionDenied
    {
        let what =
            format!("cannot be read: {error}: write the path of the file that holds it; {}", unshown(table, key));
        table.mistake(key, what);
        return None;
    }
    let bytes = read(table, key, path, ReadAgain::WithItsKey)?;
    if secret {
        warn_if_readable_by_others(table, key, path);
    }
    let bytes = match sealed::open_secret(bytes, table.passphrase()) {
        Ok(bytes) => bytes,
        Err(error) => {
            table.mistake(key, format!("{}: {error}", path.display()));
            return None;
        }
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        table.mistake(key, format!("{} does not hold UTF-8 text; save it as UTF-8", path.display()));
        return None;
    };
    one_line(table, key, &path.display(), files::line(text))
}

/// Returns the value, unless it is empty. Warns of invisible white space around it, because it is sent to the server as a part of the
/// secret.
fn one_line(table: &Table<'_>, key: &'static str, place: &dyn fmt::Display, value: &str) -> Option<Zeroizing<String>> {
    if value.is_empty() {
        table.mistake(key, format!("{place} is empty"));
        return None;
    }
    if value.chars().any(char::is_control) {
        table.mistake(key, format!("{place} must hold the value on one line and nothing else"));
        return None;
    }
    let is_blank = |c: char| c.is_whitespace() || is_unseen(c);
    if value.starts_with(is_blank) || value.ends_with(is_blank) {
        let what = "begins or ends with a blank, which counts as part of the value; remove it unless it is meant";
        table.warning(key, format!("{place} {what}"));
    }
    Some(Zeroizing::new(value.to_owned()))
}

/// Returns the one line that a command prints.
fn from_command(table: &Table<'_>, key: &'static str, command: &[String]) -> Option<Zeroizing<String>> {
    let output = match table.run(command) {
        Ok(output) => output,
        Err(error) => {
            table.mistake(key, error);
            return None;
        }
    };
    let place = "what the command prints";
    let Ok(text) = std::str::from_utf8(&output) else {
        table.mistake(key, format!("{place} is not UTF-8 text"));
        return None;
    };
    one_line(table, key, &place, files::line_of_text(text))
}

fn from_environment(table: &Table<'_>, key: &'static str, name: &str) -> Option<Zeroizing<String>> {
    match std::env::var(name).map(Zeroizing::new) {
        Ok(text) => {
            let place = format_args!("the environment variable {name}");
            one_line(table, key, &place, files::line_of_text(&text))
        }
        Err(VarError::NotUnicode(text)) => {
            drop(Zeroizing::new(text.into_encoded_bytes()));
            table.mistake(key, format!("the environment variable {name} does not hold UTF-8 text"));
            None
        }
        Err(VarError::NotPresent) => {
            let what = format!(
                "there is no environment variable of this name: set it where postbud is started; {}",
                unshown(table, key)
            );
            table.mistake(key, what);
            None
        }
    }
}

/// Describes a value that names nothing, without showing the value.
fn unshown(table: &Table<'_>, key: &'static str) -> String {
    let len = table.get::<String>(key).map_or(0, |text| text.chars().count());
    format!("the {len} characters that stand here are not shown, for they may be the secret itself")
}

/// Reads a file of at most 1 MiB.
fn read(table: &Table<'_>, key: &'static str, path: &Path, read_again: ReadAgain) -> Option<Zeroizing<Vec<u8>>> {
    match files::read_plain(path) {
        Ok(bytes) => {
            table.contents(key, &bytes, read_again);
            Some(bytes)
        }
        Err(error) => {
            table.mistake(key, format!("{} {error}", path.display()));
            None
        }
    }
}

/// Warns if users other than the file's owner and group may read it.
fn warn_if_readable_by_others(table: &Table<'_>, key: &'static str, path: &Path) {
    if std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o006 != 0) {
        let path = path.display();
        table.warning(key, format!("{path} can be read or written by every user of this machine; chmod 600 {path}"));
    }
}

const PASSPHRASE: Source = secret_keys!("passphrase");
/// The shortest passphrase. Passphrases are random, and nobody types them.
const SHORTEST_PASSPHRASE: usize = 16;

/// Reads `[secrets]`: the passphrase of encrypted keys and passwords.
pub(super) fn passphrase(table: &Table<'_>) -> Option<sealed::Passphrase> {
    let text = value(table, PASSPHRASE)?;
    if text.chars().count() < SHORTEST_PASSPHRASE {
        let what = "the passphrase has fewer than 16 characters; `openssl rand -base64 32` makes a good one";
        table.mistake(place_key(table), what);
        return None;
    }
    Some(sealed::Passphrase::new(text))
}

/// Returns the key that gives the passphrase.
fn place_key(table: &Table<'_>) -> &'static str {
    let Source { file, env, command, .. } = PASSPHRASE;
    [file, env, command].into_iter().find(|key| table.has(key)).unwrap_or(file)
}

/// Reads a file with at least one PEM certificate. Returns its path and its certificates.
pub(super) fn certificates(
    table: &Table<'_>,
    key: &'static str,
    read_again: ReadAgain,
) -> Option<(PathBuf, Vec<CertificateDer<'static>>)> {
    let path: PathBuf = table.get(key)?;
    let bytes = read(table, key, &path, read_again)?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Some((path, found)),
        Ok(_) => {
            table.mistake(key, format!("{} holds no certificate (-----BEGIN CERTIFICATE-----)", path.display()));
            None
        }
        Err(error) => {
            table.mistake(key, format!("{} is not a PEM file of certificates: {error}", path.display()));
            None
        }
    }
}

/// Reads a file with a PEM private key for TLS.
fn private_key(
    table: &Table<'_>,
    key: &'static str,
    read_again: ReadAgain,
) -> Option<(PathBuf, PrivateKeyDer<'static>)> {
    let path: PathBuf = table.get(key)?;
    let bytes = read(table, key, &path, read_again)?;
    warn_if_readable_by_others(table, key, &path);
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(found) => Some((path, found)),
        Err(_) => {
            let what = "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)";
            table.mistake(key, format!("{} {what}", path.display()));
            None
        }
    }
}

/// Reads a certificate file and the file of its private key, which must belong together. Either both are given or neither. The caller
/// makes sure that a running relay reads both again.
pub(super) fn key_pair(table: &Table<'_>, certificate: &'static str, key: &'static str) -> Option<(PathBuf, PathBuf)> {
    match (table.has(certificate), table.has(key)) {
        (true, false) => table.mistake(certificate, format!("needs {key} besides")),
        (false, true) => table.mistake(key, format!("needs {certificate} besides")),
        _ => {}
    }
    let chain = certificates(table, certificate, ReadAgain::Always);
    let private = private_key(table, key, ReadAgain::Always);
    let ((chain_path, chain), (key_path, private)) = (chain?, private?);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Err(error) = rustls::sign::CertifiedKey::from_der(chain, private, &provider) {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("is not the key of {}; give the two that belong together", chain_path.display())
            }
            other => format!("cannot be used with {}: {other}", chain_path.display()),
        };
        table.mistake(key, format!("{} {what}", key_path.display()));
        return None;
    }
    Some((chain_path, key_path))
}

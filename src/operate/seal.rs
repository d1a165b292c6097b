//! The command that encrypts or decrypts a file with a key or a password.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::actor::Need;
use super::audit::{Act, Notes};
use super::{Actor, Configuration, Error};
use crate::dkim::{KeyError, SigningKey};
use crate::events::Action;
use crate::files;
use crate::sealed::{self, Passphrase};

/// Encrypts a file in place, or decrypts it if `open`. Returns false if it is already in that state.
pub fn file(configuration: &dyn Configuration, actor: &Actor, path: &Path, open: bool) -> Result<bool, Error> {
    actor.may(Need::Admin)?;
    let configured = configuration.read()?;
    let notes = Notes::open(&configured.state_dir)?;
    let passphrase = configured.passphrase.as_ref().ok_or_else(|| {
        Error::invalid(
            "the server file names no passphrase",
            "set passphrase_file, passphrase_env or passphrase_command in [secrets]",
        )
    })?;
    // Whoever owns the folder may exchange the file for a link at any time. Root must neither read nor write behind it.
    let done = files::as_folders_owner(path, || Ok::<_, io::Error>(change(path, passphrase, open)));
    let done = done.unwrap_or_else(|error| Err(Error::failed(error.to_string(), "nothing was changed")));
    if !done.map_err(|error| error.within(&path.display().to_string()))? {
        return Ok(false);
    }
    let what = if open { "decrypted" } else { "encrypted" };
    notes.leave(actor, Act::new(Action::SecretSeal, format!("{} was {what}", path.display())))?;
    Ok(true)
}

/// Encrypts or decrypts the file. Returns false if it is already in that state.
fn change(path: &Path, passphrase: &Passphrase, open: bool) -> Result<bool, Error> {
    let content = files::read_plain(path).map_err(|error| Error::failed(error.to_string(), "nothing was changed"))?;
    if sealed::is_sealed(&content) != open {
        return Ok(false);
    }
    let changed = if open { opened(content, passphrase) } else { closed(&content, passphrase) }?;
    files::replace_alike(path, &changed)
        .map_err(|error| Error::failed(error.to_string(), "make sure that its folder can be written"))?;
    Ok(true)
}

fn closed(content: &Zeroizing<Vec<u8>>, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::failed(error.to_string(), "nothing was changed");
    let text = match SigningKey::from_pem(content) {
        Ok(key) => key.to_sealed_pem(passphrase).map_err(|error| failed(&error))?,
        // The file is not a key, so it is a password.
        Err(KeyError::NoKey) => {
            let line = std::str::from_utf8(content).map(files::line);
            let line = line.map_err(|_| Error::invalid("it is neither a key nor a text", "nothing was changed"))?;
            if line.is_empty() || line.contains('\n') {
                let what = "it is neither a private key nor a secret on one line";
                return Err(Error::invalid(what, "nothing was changed"));
            }
            sealed::seal_secret(line.as_bytes(), passphrase).map_err(|error| failed(&error))?
        }
        Err(error) => return Err(failed(&error)),
    };
    Ok(Zeroizing::new(text.into_bytes()))
}

fn opened(content: Zeroizing<Vec<u8>>, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::failed(error.to_string(), "nothing was changed");
    if sealed::open_key(&content, Some(passphrase)).is_some() {
        let key = SigningKey::from_pem_with(&content, Some(passphrase)).map_err(|error| failed(&error))?;
        let pem = key.to_pem().map_err(|error| failed(&error))?;
        return Ok(Zeroizing::new(pem.as_bytes().to_vec()));
    }
    let mut line = sealed::open_secret(content, Some(passphrase)).map_err(|error| failed(&error))?;
    line.push(b'\n');
    Ok(line)
}

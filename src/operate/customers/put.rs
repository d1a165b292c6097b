//! Replaces a customer's file for commands that change its text themselves: a key, a login, an account.
//!
//! They ask DNS or a server before they write, and hold no lock meanwhile. So the file is compared with the text that they have read, under
//! the lock that every change of a customer takes.

use std::path::Path;

use super::{preserve, store};
use crate::message::CustomerId;
use crate::operate::site::Site;
use crate::operate::{Actor, Error};

impl Site {
    /// Replaces a customer's file. `read` is the text that the command has read, and `changed` what it has made of it. Nothing is changed if
    /// the file is another one by then, or if the new text has mistakes. Line ends stay, and the old version is kept. Returns true if the
    /// relay already uses the new one, because it carries out this command.
    pub(in crate::operate) async fn put_customer(
        &self,
        actor: &Actor,
        id: &CustomerId,
        read: &str,
        changed: &str,
    ) -> Result<bool, Error> {
        let broken = |error| Error::failed(format!("the work broke off: {error}"), "see the relay's log");
        tokio::task::spawn_blocking(self.putting(actor, id, read, changed)).await.map_err(broken)?
    }

    /// Does the same, and blocks.
    pub(in crate::operate) fn put_customer_blocking(
        &self,
        actor: &Actor,
        id: &CustomerId,
        read: &str,
        changed: &str,
    ) -> Result<bool, Error> {
        self.putting(actor, id, read, changed)()
    }

    fn putting(
        &self,
        actor: &Actor,
        id: &CustomerId,
        read: &str,
        changed: &str,
    ) -> impl FnOnce() -> Result<bool, Error> + Send + use<> {
        let (state_dir, files) = (self.configured.state_dir.clone(), self.configured.customer_files.clone());
        let (directory, running) = (self.configured.directory.clone(), self.running.clone());
        let changed = preserve::as_before(read, changed);
        let (actor, id, read) = (actor.clone(), id.clone(), read.to_owned());
        move || {
            let _changes = store::hold_changes(&state_dir)?;
            let path = files.path(&id);
            unchanged(&path, &read)?;
            files.read(&id, &changed, &directory)?;
            store::keep(&state_dir, &id, &read)?;
            store::replace(&path, &changed)?;
            running.take_here(&actor, &id)
        }
    }
}

/// Returns an error if somebody has edited or removed the file since it was read, because the edit would be lost.
fn unchanged(path: &Path, text: &str) -> Result<(), Error> {
    if store::read(path)?.is_some_and(|now| now == text) {
        return Ok(());
    }
    let message = format!("{} was changed meanwhile and is left as it is", path.display());
    Err(Error::conflict(message, "run this command again"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_edit_or_a_removal_made_meanwhile_is_not_undone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test-as.toml");
        fs::write(&path, "name = \"T\"").unwrap();
        unchanged(&path, "name = \"T\"").unwrap();
        let refused = unchanged(&path, "name = \"S\"").unwrap_err().to_string();
        assert!(refused.contains("was changed meanwhile"), "{refused}");
        fs::remove_file(&path).unwrap();
        unchanged(&path, "name = \"T\"").unwrap_err();
    }
}

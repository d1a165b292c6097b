//! The configuration's files, for commands that read or change them.

use std::path::{Path, PathBuf};

use super::load;
use crate::files;
use crate::operate::{self, Configuration, Configured};
use crate::server::Settings;

/// The server file, and what it names.
#[derive(Clone, Debug)]
pub struct ServerFile {
    /// Where it is.
    pub path: PathBuf,
}

impl Configuration for ServerFile {
    fn read(&self) -> Result<Configured, operate::Error> {
        let loaded = load(&self.path).map_err(|refused| {
            operate::Error::conflict(refused.to_string(), "`postbud check` says the same at any time")
        })?;
        let Settings { hostname, state_dir, directory, egress, timeouts, onboarding, resolver, passphrase, .. } =
            loaded.settings;
        Ok(Configured { hostname, state_dir, directory, egress, timeouts, onboarding, resolver, passphrase })
    }

    fn customers_dir(&self) -> Result<PathBuf, operate::Error> {
        let path = self.path.display();
        let failed = |why: String| operate::Error::failed(why, "name the relay's configuration with --config");
        let text = files::read_text(&self.path).map_err(|error| failed(format!("cannot read {path}: {error}")))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| failed(format!("{path}: {error}")))?;
        let dir = table.get("customers_dir").and_then(toml::Value::as_str).unwrap_or("customers");
        Ok(self.path.parent().unwrap_or(Path::new("")).join(dir))
    }
}

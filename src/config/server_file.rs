//! The server file, as commands read it that work beside the relay.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load;
use crate::operate::{self, Configuration, Configured};
use crate::server::Settings;

/// The example that a package installs, unchanged. It is not below /usr/share/doc, which many systems leave out.
const EXAMPLE: &str = "/usr/share/postbud/postbud.toml";

/// Returns true if a server file is exactly the package's example, which may be replaced.
pub fn is_untouched_example(server_file: &Path) -> io::Result<bool> {
    let read = |path: &Path| match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    let found = read(server_file)?;
    Ok(found.is_some() && found == read(Path::new(EXAMPLE))?)
}

/// The server file and the files that it names.
#[derive(Clone, Debug)]
pub struct ServerFile {
    /// The path of the server file.
    pub path: PathBuf,
}

impl Configuration for ServerFile {
    fn read(&self) -> Result<Configured, operate::Error> {
        let loaded = load(&self.path).map_err(|refused| {
            operate::Error::conflict(refused.to_string(), "`postbud check` says the same at any time")
        })?;
        let Settings {
            hostname,
            state_dir,
            spool,
            directory,
            customer_files,
            egress,
            timeouts,
            onboarding,
            dmarc,
            resolver,
            returned_mail,
            mailjet_events,
            passphrase,
            ..
        } = loaded.settings;
        let directory = Arc::new(directory);
        Ok(Configured {
            hostname,
            state_home: spool.state_home(&state_dir),
            state_dir,
            directory,
            customer_files,
            egress,
            timeouts,
            onboarding: Arc::new(onboarding),
            dmarc,
            resolver,
            returns_domain: returned_mail.map(|returned| returned.domain),
            mailjet_events,
            passphrase,
        })
    }
}

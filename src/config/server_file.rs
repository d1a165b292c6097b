//! The server file, as commands read it that work beside the relay.

use std::path::PathBuf;
use std::sync::Arc;

use super::load;
use crate::operate::{self, Configuration, Configured};
use crate::server::Settings;

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

//! What `report` and `plot` are asked: whose mail, of which domain, over how many days, and in which language.

use crate::cli::ConfigFile;
use crate::cli::domain::Language;
use crate::operate::Actor;
use crate::operate::dmarc::{DAYS, DmarcReport};
use crate::smtp::Domain;

/// Whose mail, of which domain, over how many days, and in which language.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// The customer: the name of its file.
    pub customer: String,
    #[command(flatten)]
    pub config: ConfigFile,
    /// Only this domain. A picture shows one, so it needs this if the customer has several.
    #[arg(long, value_parser = Domain::parse)]
    pub domain: Option<Domain>,
    /// Count the reports of so many days up to now.
    #[arg(long, default_value_t = DAYS)]
    pub days: u32,
    #[command(flatten)]
    pub language: Language,
}

impl Asked {
    /// Returns what the reports say, a domain each.
    pub async fn reports(&self) -> anyhow::Result<Vec<DmarcReport>> {
        let site = self.config.site()?;
        Ok(site.dmarc(&Actor::this_process(), &self.customer, self.domain.as_ref(), self.days).await?)
    }
}

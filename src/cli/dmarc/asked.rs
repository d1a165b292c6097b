//! The arguments of `report` and `plot`: the customer, the domain, the number of days, and the language.

use crate::cli::ConfigFile;
use crate::cli::domain::Language;
use crate::operate::Actor;
use crate::operate::dmarc::{DAYS, DmarcReport};
use crate::smtp::Domain;

/// The customer, the domain, the number of days, and the language.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// The customer: the name of its file.
    pub customer: String,
    #[command(flatten)]
    pub config: ConfigFile,
    /// Only this domain. A picture shows only one, so it is required there if the customer has several.
    #[arg(long, value_parser = Domain::parse)]
    pub domain: Option<Domain>,
    /// The number of days up to today.
    #[arg(long, default_value_t = DAYS)]
    pub days: u32,
    #[command(flatten)]
    pub language: Language,
}

impl Asked {
    /// Returns the reports, one summary for each domain.
    pub async fn reports(&self) -> anyhow::Result<Vec<DmarcReport>> {
        let site = self.config.site()?;
        Ok(site.dmarc(&Actor::this_process(), &self.customer, self.domain.as_ref(), self.days).await?)
    }
}

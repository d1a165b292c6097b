//! The options that name mail, for commands that search for it.

/// The names that webCRM gives a mail, its ENVID, and its envelope sender.
#[derive(Debug, clap::Args)]
pub(super) struct MailNames {
    /// Only mails with exactly this reference of webCRM.
    #[arg(long, value_name = "TEXT")]
    pub reference: Option<String>,
    /// Only mails of exactly this campaign of webCRM.
    #[arg(long, value_name = "TEXT")]
    pub campaign: Option<String>,
    /// Only mails with exactly this tag of webCRM.
    #[arg(long, value_name = "TEXT")]
    pub tag: Option<String>,
    /// Only mails with exactly this ENVID of MAIL (RFC 3461), decoded.
    #[arg(long, value_name = "TEXT")]
    pub envid: Option<String>,
    /// Only mails from this envelope sender.
    #[arg(long, value_name = "ADDRESS")]
    pub sender: Option<String>,
}

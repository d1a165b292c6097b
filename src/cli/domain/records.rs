//! `postbud domain records`: prints everything that a customer must publish.

use std::process::ExitCode;

use super::Language;
use crate::cli::output;
use crate::cli::{ConfigFile, block_on};
use crate::onboarding::Item;
use crate::onboarding::records::{self, RecordTable};
use crate::operate::Actor;

/// Print everything that a customer must publish in DNS.
///
/// For each domain it prints:
///
/// - the proof of ownership;
/// - the SPF record: the published one with us added, or, for an own server, a new one without us if it is missing or broken;
/// - our DKIM key;
/// - Mailjet's own records from its API or the customer's file; a domain that Mailjet does not have yet is registered first;
/// - a first DMARC policy and the return-path alias.
///
/// Beside each host is its name in its zone, as DNS panels want it. Published records are marked, and so are records about which DNS did
/// not answer, and records that must be removed first: no record can exist beside an alias, and `--zone` prints no line there. If DNS does
/// not answer, SPF and DMARC are left out, because a record without the customer's other senders would stop their mail. A Mailjet key with
/// an unknown value is left out too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud domain records test-as
  postbud domain records test-as --mail --lang da | mail -s 'DNS' it@test.dk
  postbud domain records test-as --zone >> test.dk.zone

Exit codes: 0 all there is to publish was printed; 1 something could not be: DNS did not answer, a key cannot be used, or
the value of Mailjet's key is not known.")]
pub(super) struct Args {
    /// The customer: the name of its file.
    customer: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Print the records as JSON.
    #[arg(long, conflicts_with_all = ["zone", "mail"])]
    json: bool,
    /// Print lines for a BIND zone file.
    #[arg(long, conflicts_with = "mail")]
    zone: bool,
    /// Print a mail to the customer, subject first.
    #[arg(long)]
    mail: bool,
    #[command(flatten)]
    language: Language,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let tables = site.records(&Actor::this_process(), &self.customer).await?;
            let lang = self.language.or_english();
            if self.json {
                output::json(&records::json(&tables, lang))?;
            } else if self.mail {
                let lang = self.language.or_customers(&site);
                let (subject, body) = lang.mail(&site.customer(&Actor::this_process(), &self.customer)?.name, &tables);
                output::text(&format!("Subject: {subject}\n\n{body}"));
            } else if self.zone {
                tables.iter().for_each(|table| output::text(&records::zone(table, lang)));
            } else {
                let texts = tables.iter().map(|table| self.config.in_commands(&records::text(table, lang)));
                texts.for_each(|text| show!("{text}"));
            }
            let over_api = !site.onboarding().mailjet_accounts.is_empty();
            for table in &tables {
                for reason in &table.broken_keys {
                    say!("postbud: the key of {} cannot be used: {reason}", table.domain);
                }
                if let Some(host) = &table.mailjet_key_unset {
                    let what = match table.rows.iter().any(|row| row.item == Item::MailjetDkim) {
                        true => format!("nobody knows whether the key at {host} is Mailjet's"),
                        false => format!("Mailjet's key at {host} is not in the table"),
                    };
                    let remedy = match over_api {
                        true => "`postbud domain check` says why Mailjet has not issued it; or take",
                        false => "take",
                    };
                    let remedy = self.config.in_commands(remedy);
                    say!(
                        "postbud: {what}: {remedy} its value from Mailjet's console and enter it in the customer's file, dkim in \
                         [mailjet.\"{}\"]",
                        table.domain
                    );
                }
                if let Some(reason) = &table.rotation_unreadable {
                    say!("postbud: records of a change of keys may be missing for {}: {reason}", table.domain);
                }
            }
            let whole = tables.iter().all(RecordTable::is_whole);
            Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

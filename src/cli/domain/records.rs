//! `postbud domain records`: everything a customer has to publish.

use std::process::ExitCode;

use super::Language;
use crate::cli::output;
use crate::cli::{ConfigFile, block_on};
use crate::onboarding::Item;
use crate::onboarding::records::{self, RecordTable};
use crate::operate::Actor;

/// Print everything a customer has to publish in DNS.
///
/// For each domain: the proof of ownership, the SPF record as it reads with us added to what the domain publishes now (for
/// an own server only where it is missing or broken, and without us), our DKIM key, Mailjet's own records as its API or the
/// customer's file gives them (a domain that Mailjet does not have yet is registered first), a DMARC policy to begin with, and the return-path alias. Beside each host stands its
/// name in the zone it lies in, as DNS panels want it. What is published already is marked, and so is what has to go first: no
/// record can stand beside an alias, and `--zone` prints no line there. Where DNS does not answer, SPF and DMARC are left out (a record that forgets the customer's other senders would
/// stop their mail), and a key of Mailjet's whose value is not known.
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
    /// Print JSON.
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

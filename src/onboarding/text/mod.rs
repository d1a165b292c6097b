//! The texts for people in Danish and in English: each language in its own file, with every text in one place.
//!
//! Both files have the same functions, and each function matches on all possible cases, so a missing text does not compile. Tests compare
//! both for names and values that one of them lacks.

mod da;
mod en;
mod names;

use super::dmarc::{self, Policy, policy_of};
use super::finding::{Finding, Item, Need};
use super::records::{InTheWay, RecordTable, Row};
use super::rotation::{Role, RotationStep};
use super::spf::merge::Note;
use super::spf::obstacle::Obstacle;
use super::state::{Change, ChangeKind};
use super::{Overall, Settings};
pub use crate::onboarding::lang::Lang;
use crate::smtp::Domain;
use crate::visible::visible;
use names::in_own_letters;

/// The text of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub what: String,
    /// The next step; empty if nothing must be done.
    pub next: String,
}

/// The words of tables and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The heading of the column with the need of a record.
    Need,
    /// The heading of the column with the purpose of a record.
    For,
    /// The heading of the column with record types.
    Type,
    /// The heading of the column with hosts.
    Host,
    /// The heading of the column with hosts as DNS panels want them.
    Label,
    /// The heading of the column with values.
    Value,
    /// The heading of a table.
    Records,
    /// The label before a reason.
    Why,
    /// The words before an alternative to a record.
    OrInstead,
    /// The label before what was found.
    Found,
    /// The label before what was expected.
    Expected,
    /// The label before the next step.
    Next,
    /// A record is already published.
    AlreadyThere,
    /// Beside a record: DNS did not answer whether it is published.
    NotKnown,
    /// The same as a sentence.
    Unanswered,
    /// The hint that values are one line.
    OneLineHint,
    /// The hint that DNS did not answer, so that records which depend on the published ones are left out.
    Unknown,
}

macro_rules! by_language {
    ($lang:expr, $function:ident($($argument:expr),*)) => {
        match $lang {
            Lang::Da => da::$function($($argument),*),
            Lang::En => en::$function($($argument),*),
        }
    };
}

impl Lang {
    /// Returns the meaning of a finding and the next step, one line each, whatever text the records contain.
    pub fn finding(self, finding: &Finding) -> Text {
        let (what, next) = by_language!(self, finding(finding));
        Text { what: line(&what), next: line(&next) }
    }

    /// Returns a domain name in its own script, followed by its form in DNS.
    pub fn name(self, domain: &str) -> String {
        line(domain)
    }

    /// Returns the name of an item.
    pub fn item(self, item: Item) -> &'static str {
        by_language!(self, item(item))
    }

    /// Returns the purpose of a record, for a customer with its own server or with Mailjet.
    pub fn reason(self, item: Item, own_server: bool) -> &'static str {
        by_language!(self, reason(item, own_server))
    }

    /// Explains why a row's record is needed, and what it replaces.
    pub fn why(self, table: &RecordTable, row: &Row) -> String {
        let enforces = row.item == Item::Dmarc && policy_of(&row.value).is_some_and(|policy| policy > Policy::None);
        let reason = match row.role {
            Some(role) => self.role(role),
            None if row.item == Item::Dmarc && !enforces && !row.value.contains("rua=") => {
                by_language!(self, watching())
            }
            None if enforces => by_language!(self, enforcing()),
            None if row.is_offer() => by_language!(self, delegating()),
            None => self.reason(row.item, table.sent_through.is_own_server()),
        };
        match row.replaces {
            0 => reason.to_owned(),
            _ if row.present => reason.to_owned(),
            count => format!("{reason} {}", by_language!(self, replaces(count))),
        }
    }

    /// Explains on one line what must be removed from `host` before a record can be published there.
    pub fn in_the_way(self, host: &str, what: &InTheWay) -> String {
        line(&by_language!(self, in_the_way(host, what)))
    }

    /// Explains how hosts are entered in DNS panels.
    pub fn label_hint(self, table: &RecordTable) -> String {
        line(&by_language!(self, label_hint(table)))
    }

    /// Returns further steps that the customer may have to take, one line each.
    pub fn other_steps(self, table: &RecordTable) -> Vec<String> {
        by_language!(self, other_steps(table)).iter().map(|step| line(step)).collect()
    }

    /// Returns the word for a need.
    pub fn need(self, need: Need) -> &'static str {
        by_language!(self, need(need))
    }

    /// Returns the overall result in one sentence.
    pub fn overall(self, overall: Overall) -> &'static str {
        by_language!(self, overall(overall))
    }

    /// Returns a word of tables and reports.
    pub fn word(self, word: Word) -> &'static str {
        by_language!(self, word(word))
    }

    /// Explains on one line a change in a merged SPF record other than the include, or a guess.
    pub fn note(self, note: &Note) -> String {
        visible(&by_language!(self, note(note))).into_owned()
    }

    /// Explains on one line what keeps a published (`present`) or proposed SPF record from working, and what to do.
    pub fn obstacle(self, obstacle: &Obstacle, present: bool) -> String {
        let (what, next) = by_language!(self, obstacle(obstacle, present));
        line(&format!("{what} {next}"))
    }

    /// Describes a needed record that has no value yet.
    pub fn to_come(self, host: &str) -> String {
        line(&by_language!(self, to_come(host)))
    }

    /// Returns the subject and the body of the mail to a customer.
    pub fn mail(self, customer: &str, tables: &[RecordTable]) -> (String, String) {
        by_language!(self, mail(customer, tables))
    }

    /// Explains why a key that does not sign needs a record.
    pub fn role(self, role: Role) -> &'static str {
        by_language!(self, role(role))
    }

    /// Explains the next DMARC policy, whether it is safe, and what to do.
    pub fn dmarc_step(self, step: &dmarc::step::Step) -> Text {
        let (what, next) = by_language!(self, dmarc_step(step));
        Text { what: line(&what), next: line(&next) }
    }

    /// Describes a step of a key rotation for the operator and the customer.
    pub fn rotation(self, step: &RotationStep) -> String {
        let text = by_language!(self, rotation(step));
        // Indented lines have records to type, so they stay unchanged.
        let own = |line: &str| if line.starts_with(' ') { line.to_owned() } else { in_own_letters(line).into_owned() };
        text.split('\n').map(own).collect::<Vec<_>>().join("\n")
    }
}

/// Makes one line of text for people, whatever the records and names in it contain.
fn line(text: &str) -> String {
    visible(&in_own_letters(text)).into_owned()
}

/// Returns each text once, in order.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    texts.for_each(|text| {
        if !all.contains(&text) {
            all.push(text);
        }
    });
    all
}

/// Lists the same TXT record at several hosts, one line each.
fn txt_lines(hosts: &[String], value: &str) -> String {
    hosts.iter().map(|host| format!("\n  {host} TXT {value}")).collect()
}

/// Describes a change for logs and alerts, which are in English for operators.
pub fn change(domain: &Domain, change: &Change, settings: &Settings) -> String {
    let requirement = &change.requirement;
    let why = if change.faults.is_empty() { String::new() } else { format!(" ({})", change.faults.join(", ")) };
    let hours = settings.grace.as_secs() / 3600;
    match change.change {
        ChangeKind::Verified => format!("{domain}: {requirement} is verified"),
        ChangeKind::Returned => format!("{domain}: {requirement} is in order again"),
        ChangeKind::Vanished => format!(
            "{domain}: {requirement} was in order and is not any more{why}; it still counts for {hours} h: \
             run `postbud domain check` and tell the customer"
        ),
        ChangeKind::Lost => format!(
            "{domain}: {requirement} has been missing for {hours} h{why} and no longer counts: tier and bulk mail follow"
        ),
    }
}

#[cfg(test)]
mod tests;

/// Returns true if a term of an SPF record is a version: `v=spf1`.
fn is_version(term: &str) -> bool {
    term.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case("v="))
}

/// Returns true if a DNS panel has appended the zone's name to the target of an alias: `bnc3.mailjet.com.test.dk`.
fn is_appended_to(target: &str, found: &str) -> bool {
    found.strip_prefix(target.trim_end_matches('.')).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
}

/// Returns the addresses that a tag for reports was meant to have, if it is written in another way.
fn reports_meant(tag: &str) -> Option<String> {
    let value = tag.strip_prefix("rua=").or_else(|| tag.strip_prefix("ruf="))?;
    dmarc::reports_meant(value).filter(|meant| meant != value)
}

/// Returns true if a destination of DMARC reports is an address without its `mailto:`: `rua=a@test.dk`.
fn is_bare_address(tag: &str) -> bool {
    let destination = tag.strip_prefix("rua=").or_else(|| tag.strip_prefix("ruf="));
    destination.is_some_and(|uri| uri.contains('@') && !uri.contains(':'))
}

//! What people read, in Danish and in English: each language in a file of its own, every text in one place.
//!
//! Both files have the same functions, and each function matches on everything there is to say: a missing text does not
//! compile. Tests compare the two for names and values that one has and the other lacks.

mod da;
mod en;
mod names;

use super::dmarc::{self, Policy, policy_of};
use super::finding::{Finding, Item, Need};
use super::records::{InTheWay, RecordTable, Row};
use super::rotation::{Role, Step};
use super::spf::merge::Note;
use super::spf::obstacle::Obstacle;
use super::state::{Change, ChangeKind};
use super::{Overall, Settings};
pub use crate::onboarding::lang::Lang;
use crate::smtp::Domain;
use crate::visible::visible;
use names::in_own_letters;

/// What a finding means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub what: String,
    /// The next step; empty where nothing is to be done.
    pub next: String,
}

/// Words of tables and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The heading of the column that says how much a record is needed.
    Need,
    /// The heading of the column that says what a record is for.
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
    /// A record is there already.
    AlreadyThere,
    /// Says that values are one line.
    OneLineHint,
    /// DNS did not answer, so what builds on today's records is left out.
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
    /// What a finding means and what to do: a line each, whatever stands in the records it speaks of.
    pub fn finding(self, finding: &Finding) -> Text {
        let (what, next) = by_language!(self, finding(finding));
        Text { what: line(&what), next: line(&next) }
    }

    /// A domain in its own letters, with the form that DNS holds beside it.
    pub fn name(self, domain: &str) -> String {
        line(domain)
    }

    /// The name of what is checked.
    pub fn item(self, item: Item) -> &'static str {
        by_language!(self, item(item))
    }

    /// What a record is for; of a customer whose mail goes through an own server, or through Mailjet.
    pub fn reason(self, item: Item, own_server: bool) -> &'static str {
        by_language!(self, reason(item, own_server))
    }

    /// Why a row's record is wanted, and what it replaces.
    pub fn why(self, table: &RecordTable, row: &Row) -> String {
        let enforces = row.item == Item::Dmarc && policy_of(&row.value).is_some_and(|policy| policy > Policy::None);
        let reason = match row.role {
            Some(role) => self.role(role),
            None if row.item == Item::Dmarc && !enforces && !row.value.contains("rua=") => {
                by_language!(self, watching())
            }
            None if enforces => by_language!(self, enforcing()),
            None => self.reason(row.item, table.way.is_own_server()),
        };
        match row.replaces {
            0 => reason.to_owned(),
            _ if row.present => reason.to_owned(),
            count => format!("{reason} {}", by_language!(self, replaces(count))),
        }
    }

    /// What has to go from `host` before a record can be published there: one line.
    pub fn in_the_way(self, host: &str, what: &InTheWay) -> String {
        line(&by_language!(self, in_the_way(host, what)))
    }

    /// How hosts are entered in DNS panels.
    pub fn label_hint(self, table: &RecordTable) -> String {
        line(&by_language!(self, label_hint(table)))
    }

    /// What the customer may have to do besides publishing: a line each.
    pub fn other_steps(self, table: &RecordTable) -> Vec<String> {
        by_language!(self, other_steps(table)).iter().map(|step| line(step)).collect()
    }

    /// How much it is needed.
    pub fn need(self, need: Need) -> &'static str {
        by_language!(self, need(need))
    }

    /// The whole in one sentence.
    pub fn overall(self, overall: Overall) -> &'static str {
        by_language!(self, overall(overall))
    }

    /// A word of tables and reports.
    pub fn word(self, word: Word) -> &'static str {
        by_language!(self, word(word))
    }

    /// What changes in a merged SPF record besides the include, or was guessed: one line.
    pub fn note(self, note: &Note) -> String {
        visible(&by_language!(self, note(note))).into_owned()
    }

    /// What keeps an SPF record from working that is `present`, or is to be published, and what to do: one line.
    pub fn obstacle(self, obstacle: &Obstacle, present: bool) -> String {
        let (what, next) = by_language!(self, obstacle(obstacle, present));
        line(&format!("{what} {next}"))
    }

    /// A record that is needed besides and has no value yet.
    pub fn to_come(self, host: &str) -> String {
        line(&by_language!(self, to_come(host)))
    }

    /// The mail to a customer: subject and body.
    pub fn mail(self, customer: &str, tables: &[RecordTable]) -> (String, String) {
        by_language!(self, mail(customer, tables))
    }

    /// Why a record is wanted of a key that does not sign.
    pub fn role(self, role: Role) -> &'static str {
        by_language!(self, role(role))
    }

    /// The next DMARC policy and whether it is safe, and what to do.
    pub fn dmarc_step(self, step: &dmarc::step::Step) -> Text {
        let (what, next) = by_language!(self, dmarc_step(step));
        Text { what: line(&what), next: line(&next) }
    }

    /// A step of a key rotation, for the operator and the customer.
    pub fn rotation(self, step: &Step) -> String {
        let text = by_language!(self, rotation(step));
        // Lines that are set in hold records to type.
        let own = |line: &str| if line.starts_with(' ') { line.to_owned() } else { in_own_letters(line).into_owned() };
        text.split('\n').map(own).collect::<Vec<_>>().join("\n")
    }
}

/// A line of text for people, whatever stands in the records and names that it speaks of.
fn line(text: &str) -> String {
    visible(&in_own_letters(text)).into_owned()
}

/// Each text once, in order.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    texts.for_each(|text| {
        if !all.contains(&text) {
            all.push(text);
        }
    });
    all
}

/// The same TXT record at several hosts, a line each, every line begun anew.
fn txt_lines(hosts: &[String], value: &str) -> String {
    hosts.iter().map(|host| format!("\n  {host} TXT {value}")).collect()
}

/// A change, for logs and alerts: these are in English, as all of the operator's are.
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

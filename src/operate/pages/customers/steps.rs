//! The steps of the guide, and how each of them stands.

use super::text::Words;
use crate::onboarding::{Check, Finding, Item, Need, RecordTable, Report, Severity};
use crate::operate::pages::elements::Mood;

/// A step, in the guide's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The name itself. It is shown only where something about it is to be said.
    Domain,
    Spf,
    /// Guide 2: ownership and keys.
    Dkim,
    Dmarc,
    /// Guide 4. Only of customers with a server of their own.
    Server,
    Internal,
}

/// How a step stands. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing is to be done.
    Done,
    /// There is something to know.
    Information,
    /// webCRM has to do something.
    Ours,
    /// It could not be looked up.
    Unknown,
    /// Something should be done.
    Recommended,
    /// Something must be done.
    Required,
}

impl Standing {
    /// Its colour and sign.
    pub fn mood(self) -> Mood {
        match self {
            Standing::Done => Mood::Good,
            Standing::Information | Standing::Ours | Standing::Unknown => Mood::Calm,
            Standing::Recommended => Mood::Wait,
            Standing::Required => Mood::Bad,
        }
    }

    pub fn word(self, words: &Words) -> &'static str {
        match self {
            Standing::Done => words.done,
            Standing::Information => words.for_information,
            Standing::Ours => words.waits_for_us,
            Standing::Unknown => words.not_known,
            Standing::Recommended => words.recommended,
            Standing::Required => words.required,
        }
    }
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Step; 6] = [Step::Domain, Step::Spf, Step::Dkim, Step::Dmarc, Step::Server, Step::Internal];

    /// The id of its section on the page.
    pub fn id(self) -> &'static str {
        match self {
            Step::Domain => "domain",
            Step::Spf => "spf",
            Step::Dkim => "dkim",
            Step::Dmarc => "dmarc",
            Step::Server => "server",
            Step::Internal => "internal",
        }
    }

    /// Its title, and what it is good for.
    pub fn words(self, words: &Words) -> [&'static str; 2] {
        match self {
            Step::Domain => words.domain,
            Step::Spf => words.spf,
            Step::Dkim => words.dkim,
            Step::Dmarc => words.dmarc,
            Step::Server => words.server,
            Step::Internal => words.internal,
        }
    }

    /// The step that an item belongs to.
    pub fn of(item: Item) -> Self {
        match item {
            Item::FromDomain | Item::Mx => Step::Domain,
            Item::Spf => Step::Spf,
            Item::Ownership | Item::Dkim | Item::MailjetDkim | Item::MailjetAccount => Step::Dkim,
            Item::Dmarc | Item::ReturnPath => Step::Dmarc,
            Item::OwnServer => Step::Server,
            Item::InternalMail => Step::Internal,
        }
    }

    /// The checks of the report that belong to it.
    pub fn checks(self, report: &Report) -> impl Iterator<Item = &Check> {
        report.checks.iter().filter(move |check| Step::of(check.item) == self)
    }

    /// How it stands; `None` where the page does not show it.
    pub fn standing(self, report: &Report, table: &RecordTable) -> Option<Standing> {
        let worst = self.checks(report).map(standing).max()?;
        let worst = match self {
            // What a person has to look at there is told by the probe, beside it.
            Step::Internal => Standing::Information,
            Step::Domain if worst == Standing::Done => return None,
            _ => worst,
        };
        let rows = table.rows.iter().filter(|row| Step::of(row.item) == self && !row.present);
        let wanted = rows.map(|row| match row.need {
            Need::Required => Standing::Required,
            Need::Recommended => Standing::Recommended,
            Need::Optional => Standing::Done,
        });
        Some(wanted.max().unwrap_or(Standing::Done).max(worst))
    }
}

/// How one check stands, for its customer.
pub(super) fn standing(check: &Check) -> Standing {
    let mut standing = Standing::Done;
    for finding in &check.findings {
        standing = standing.max(match finding.severity() {
            Severity::Good | Severity::Hint => Standing::Done,
            _ if is_ours(finding) => Standing::Ours,
            Severity::Unknown => Standing::Unknown,
            _ if check.need == Need::Optional => Standing::Done,
            Severity::Warning => Standing::Recommended,
            Severity::Fault if check.need == Need::Required => Standing::Required,
            Severity::Fault => Standing::Recommended,
        });
    }
    standing
}

/// Returns true if webCRM has to do something about it, and not its customer. Its words are for operators.
pub(super) fn is_ours(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::SpfOursBroken { .. }
            | Finding::DkimKeyUnusable { .. }
            | Finding::DkimRotationUnreadable { .. }
            | Finding::DelegationZone { .. }
            | Finding::MailjetKeyMissing { .. }
            | Finding::MailjetKeyShort { .. }
            | Finding::MailjetKeyUnset { .. }
            | Finding::MailjetAccepts { .. }
            | Finding::MailjetOwned { .. }
            | Finding::MailjetRefuses { .. }
            | Finding::MailjetCredentials { .. }
            | Finding::MailjetSilent { .. }
            | Finding::MailjetUnkept { .. }
    )
}

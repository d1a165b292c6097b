//! The steps that bring a domain into order, and the state of each.

use super::text::Words;
use crate::onboarding::{Check, Finding, Item, Need, RecordTable, Report, Severity};
use crate::operate::pages::elements::Mood;

/// A step, in the order in which the page shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The domain name itself. The step is shown only if there is something to say about it.
    Domain,
    Spf,
    /// Ownership and keys.
    Dkim,
    Dmarc,
    /// Only for customers with their own server.
    Server,
    Internal,
}

/// The state of a step, in ascending order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing must be done.
    Done,
    /// There is something to know.
    Information,
    /// webCRM must do something.
    Ours,
    /// It could not be looked up.
    Unknown,
    /// The customer should do something.
    Recommended,
    /// The customer must do something.
    Required,
}

impl Standing {
    /// Returns its colour and sign.
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
    /// All steps, in order.
    pub const ALL: [Step; 6] = [Step::Domain, Step::Spf, Step::Dkim, Step::Dmarc, Step::Server, Step::Internal];

    /// Returns the id of its section on the page.
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

    /// Returns its title and its purpose.
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

    /// Returns the step that an item belongs to.
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

    /// Returns the checks of the report that belong to it.
    pub fn checks(self, report: &Report) -> impl Iterator<Item = &Check> {
        report.checks.iter().filter(move |check| Step::of(check.item) == self)
    }

    /// Returns its state, or `None` if the page does not show it.
    pub fn standing(self, report: &Report, table: &RecordTable) -> Option<Standing> {
        let worst = self.checks(report).map(standing).max()?;
        let worst = match self {
            // The probe, which is shown beside it, reports what a person must look at.
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

/// Returns the state of one check, as its customer sees it.
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

/// Returns true if webCRM, and not the customer, must act on the finding. Its words are for operators.
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

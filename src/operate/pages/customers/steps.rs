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
pub(super) enum StepState {
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

impl StepState {
    /// Returns its colour and sign.
    pub fn mood(self) -> Mood {
        match self {
            StepState::Done => Mood::Good,
            StepState::Information | StepState::Ours | StepState::Unknown => Mood::Calm,
            StepState::Recommended => Mood::Wait,
            StepState::Required => Mood::Bad,
        }
    }

    pub fn word(self, words: &Words) -> &'static str {
        match self {
            StepState::Done => words.done,
            StepState::Information => words.for_information,
            StepState::Ours => words.waits_for_us,
            StepState::Unknown => words.not_known,
            StepState::Recommended => words.recommended,
            StepState::Required => words.required,
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
    pub fn state(self, report: &Report, table: &RecordTable) -> Option<StepState> {
        let worst = self.checks(report).map(state_of).max()?;
        let worst = match self {
            // The probe, which is shown beside it, reports what a person must look at.
            Step::Internal => StepState::Information,
            Step::Domain if worst == StepState::Done => return None,
            _ => worst,
        };
        let rows = table.rows.iter().filter(|row| Step::of(row.item) == self && !row.present);
        let wanted = rows.map(|row| match row.need {
            _ if row.unanswered => StepState::Unknown,
            Need::Required => StepState::Required,
            Need::Recommended => StepState::Recommended,
            Need::Optional => StepState::Done,
        });
        Some(wanted.max().unwrap_or(StepState::Done).max(worst))
    }
}

/// Returns the state of one check, as its customer sees it.
pub(super) fn state_of(check: &Check) -> StepState {
    let mut state = StepState::Done;
    for finding in &check.findings {
        state = state.max(match finding.severity() {
            Severity::Good | Severity::Hint => StepState::Done,
            _ if is_ours(finding) => StepState::Ours,
            Severity::Unknown => StepState::Unknown,
            _ if check.need == Need::Optional => StepState::Done,
            Severity::Warning => StepState::Recommended,
            Severity::Fault if check.need == Need::Required => StepState::Required,
            Severity::Fault => StepState::Recommended,
        });
    }
    state
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
            | Finding::MailjetRefuses { .. }
            | Finding::MailjetCredentials { .. }
            | Finding::MailjetSilent { .. }
            | Finding::MailjetUnkept { .. }
    )
}

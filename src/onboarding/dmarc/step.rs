//! Finds the next policy of a domain, and judges from the reports whether it is safe now. Has no side effects.
//!
//! ```text
//! none ─► quarantine; t=y ─► quarantine ─► reject; t=y ─► reject
//! ```
//!
//! `t=y` (RFC 9989 §4.7) asks receivers to apply the policy one step milder. Receivers that still follow RFC 7489 do not know the tag and
//! apply the policy in full, so a step to `t=y` needs as many messages and as few failures as the policy itself.
//! `t=y` replaces `pct`, which RFC 9989 has removed.

use serde::Serialize;

use super::record::{Policy, Record, amended};
use crate::smtp::Mailbox;

/// The stage of a domain on its way to `reject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyStage {
    Missing,
    None,
    QuarantineTesting,
    Quarantine,
    RejectTesting,
    Reject,
}

/// The conditions under which a stage is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threshold {
    days: u32,
    /// The minimum number of messages of the domain's own senders.
    messages: u64,
    /// The minimum number of independent reporters. A single one sees only one kind of recipient.
    reporters: u32,
    /// The maximum number of failing messages in a thousand.
    failing_per_mille: u64,
}

/// The maximum age of the newest report in days. Older reports say nothing about today.
const NEWEST_DAYS: u32 = 4;
/// A sender that is seen on this number of days, with at least the given share of all messages, is not a passing forger: somebody must
/// identify it.
const STEADY_DAYS: u32 = 3;
const STEADY_PER_MILLE: u64 = 10;

impl PolicyStage {
    /// Returns the stage of the policy that applies: of the record `policy` of the domain itself, or of one that it inherits.
    pub fn of(policy: Option<Policy>, is_testing: bool) -> PolicyStage {
        match (policy, is_testing) {
            (None, _) => PolicyStage::Missing,
            (Some(Policy::None), _) => PolicyStage::None,
            (Some(Policy::Quarantine), true) => PolicyStage::QuarantineTesting,
            (Some(Policy::Quarantine), false) => PolicyStage::Quarantine,
            (Some(Policy::Reject), true) => PolicyStage::RejectTesting,
            (Some(Policy::Reject), false) => PolicyStage::Reject,
        }
    }

    /// Returns the next stage.
    pub fn next(self) -> Option<PolicyStage> {
        match self {
            PolicyStage::Missing => Some(PolicyStage::None),
            PolicyStage::None => Some(PolicyStage::QuarantineTesting),
            PolicyStage::QuarantineTesting => Some(PolicyStage::Quarantine),
            PolicyStage::Quarantine => Some(PolicyStage::RejectTesting),
            PolicyStage::RejectTesting => Some(PolicyStage::Reject),
            PolicyStage::Reject => None,
        }
    }

    /// Returns the policy, and whether it is in test mode.
    fn tags(self) -> (Policy, bool) {
        match self {
            PolicyStage::Missing | PolicyStage::None => (Policy::None, false),
            PolicyStage::QuarantineTesting => (Policy::Quarantine, true),
            PolicyStage::Quarantine => (Policy::Quarantine, false),
            PolicyStage::RejectTesting => (Policy::Reject, true),
            PolicyStage::Reject => (Policy::Reject, false),
        }
    }

    /// Returns the tags as in a record: `p=quarantine; t=y`.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyStage::Missing => "",
            PolicyStage::None => "p=none",
            PolicyStage::QuarantineTesting => "p=quarantine; t=y",
            PolicyStage::Quarantine => "p=quarantine",
            PolicyStage::RejectTesting => "p=reject; t=y",
            PolicyStage::Reject => "p=reject",
        }
    }

    fn threshold(self) -> Option<Threshold> {
        let (days, messages, failing_per_mille) = match self {
            PolicyStage::Missing | PolicyStage::None => return None,
            PolicyStage::QuarantineTesting => (14, 100, 10),
            PolicyStage::Quarantine => (21, 100, 10),
            PolicyStage::RejectTesting | PolicyStage::Reject => (28, 200, 2),
        };
        Some(Threshold { days, messages, reporters: 2, failing_per_mille })
    }
}

/// The content of the reports of the last weeks. The domain's own senders are we, and senders whose mail mostly passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub days: u32,
    /// The number of days since the newest report ended; `None` without reports.
    pub newest: Option<u32>,
    pub reporters: u32,
    pub all: u64,
    /// The messages of the domain's own senders.
    pub messages: u64,
    /// The messages among them that fail, including forwarded ones, because a policy affects these too.
    pub failing: u64,
    /// The messages that we sent and that fail.
    pub ours_failing: u64,
    /// The messages that we sent.
    pub ours: u64,
    /// The senders whose mail fails: forgers, or systems of the customer that nobody has set up.
    pub strangers: Vec<Stranger>,
}

/// A sender whose mail fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranger {
    /// Its name, as far as reports show.
    pub name: String,
    pub messages: u64,
    /// The number of days on which it was seen.
    pub days: u32,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The current stage.
    pub stage: PolicyStage,
    /// The next stage; `None` at the end.
    pub next: Option<PolicyStage>,
    /// The host of the record.
    pub host: String,
    /// The record to publish for the next stage, whether it is already safe or not.
    pub record: Option<String>,
    /// Whether the next stage is safe.
    #[serde(rename = "verdict")]
    pub safety: Safety,
}

/// Whether the next stage is safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Safety {
    /// The domain has reached the last stage.
    Reached,
    /// It is safe now.
    Safe,
    /// It is safe if none of these senders is the customer's, because their mail would be affected.
    SafeUnless {
        /// The senders, those with the most messages first.
        senders: Vec<Stranger>,
    },
    /// It is not safe yet.
    NotYet { reasons: Vec<Reason> },
}

/// Why a stage is not safe yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are numbers that each variant's sentence says")]
pub enum Reason {
    NoReports,
    /// The newest report is old.
    OldReports {
        days: u32,
    },
    /// The reports cover too few days.
    FewDays {
        days: u32,
        needed: u32,
    },
    /// The reports cover too few messages.
    FewMessages {
        messages: u64,
        needed: u64,
    },
    /// The reports come from too few receivers.
    FewReporters {
        reporters: u32,
        needed: u32,
    },
    /// Too much of our own mail fails.
    OursFail {
        failing: u64,
        messages: u64,
    },
    /// Too much mail of the domain's own senders fails.
    OthersFail {
        failing: u64,
        messages: u64,
        per_mille: u64,
    },
}

/// Judges the next stage.
pub fn judge(stage: PolicyStage, facts: &Facts) -> Safety {
    let Some(next) = stage.next() else { return Safety::Reached };
    let Some(threshold) = next.threshold() else { return Safety::Safe };
    let mut reasons = Vec::new();
    match facts.newest {
        None => return Safety::NotYet { reasons: vec![Reason::NoReports] },
        Some(days) if days > NEWEST_DAYS => reasons.push(Reason::OldReports { days }),
        Some(_) => {}
    }
    if facts.days < threshold.days {
        reasons.push(Reason::FewDays { days: facts.days, needed: threshold.days });
    }
    if facts.messages < threshold.messages {
        reasons.push(Reason::FewMessages { messages: facts.messages, needed: threshold.messages });
    }
    if facts.reporters < threshold.reporters {
        reasons.push(Reason::FewReporters { reporters: facts.reporters, needed: threshold.reporters });
    }
    let is_over = |failing: u64, messages: u64| {
        u128::from(failing) * 1000 > u128::from(messages) * u128::from(threshold.failing_per_mille)
    };
    let (others, others_failing) =
        (facts.messages.saturating_sub(facts.ours), facts.failing.saturating_sub(facts.ours_failing));
    if is_over(facts.ours_failing, facts.ours) {
        reasons.push(Reason::OursFail { failing: facts.ours_failing, messages: facts.ours });
    }
    if is_over(others_failing, others) {
        let per_mille = threshold.failing_per_mille;
        reasons.push(Reason::OthersFail { failing: others_failing, messages: others, per_mille });
    }
    if !reasons.is_empty() {
        return Safety::NotYet { reasons };
    }
    let is_steady = |stranger: &&Stranger| {
        let part = u128::from(stranger.messages) * 1000 >= u128::from(facts.all) * u128::from(STEADY_PER_MILLE);
        stranger.days >= STEADY_DAYS && part
    };
    let mut senders: Vec<Stranger> = facts.strangers.iter().filter(is_steady).cloned().collect();
    senders.sort_by_key(|stranger| std::cmp::Reverse(stranger.messages));
    if senders.is_empty() { Safety::Safe } else { Safety::SafeUnless { senders } }
}

/// Makes the step from the policy that applies. `published` is the domain's own record, and `inherited` the policy of a parent domain if it
/// has none. `reports` is the address for reports if a record has none.
pub fn step(
    host: String,
    published: Option<&str>,
    inherited: Option<Policy>,
    reports: Option<&Mailbox>,
    facts: &Facts,
) -> Step {
    let own = published.and_then(|text| Record::parse(text).ok());
    let stage = match &own {
        Some(record) => PolicyStage::of(Some(record.policy), record.testing || record.percent == Some(0)),
        None => PolicyStage::of(inherited, false),
    };
    let next = stage.next();
    let record = next.map(|next| record_at(next, published, reports));
    Step { stage, next, host, record, safety: judge(stage, facts) }
}

/// Returns the record of a stage: the published record with another policy.
fn record_at(stage: PolicyStage, published: Option<&str>, reports: Option<&Mailbox>) -> String {
    let (policy, is_testing) = stage.tags();
    let kept = published.and_then(amended).unwrap_or_default();
    let mut record = format!("v=DMARC1; p={}", policy.as_str());
    let mut has_reports = false;
    let is_changed = |tag: &str| ["v=", "p=", "t=", "pct="].iter().any(|name| tag.starts_with(name));
    for tag in kept.split("; ").filter(|tag| !tag.is_empty() && !is_changed(tag)) {
        has_reports |= tag.starts_with("rua=");
        record.push_str("; ");
        record.push_str(tag);
    }
    if is_testing {
        record.push_str("; t=y");
    }
    match reports {
        Some(address) if !has_reports => format!("{record}; rua=mailto:{address}"),
        _ => record,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            days: 30,
            newest: Some(1),
            reporters: 5,
            all: 10_000,
            messages: 10_000,
            failing: 10,
            ours_failing: 8,
            ours: 8_000,
            strangers: Vec::new(),
        }
    }

    fn stranger(messages: u64, days: u32) -> Stranger {
        Stranger { name: "192.0.2.0/24".to_owned(), messages, days }
    }

    #[test]
    fn every_threshold_has_two_sides() {
        let not_yet = |reason| Safety::NotYet { reasons: vec![reason] };
        let safe = Safety::Safe;
        let (quarantine, reject) = (PolicyStage::None, PolicyStage::Quarantine);
        for (stage, facts, safety) in [
            (PolicyStage::Missing, Facts::default(), safe.clone()),
            (PolicyStage::Reject, Facts::default(), Safety::Reached),
            (quarantine, Facts::default(), not_yet(Reason::NoReports)),
            (quarantine, good(), safe.clone()),
            (reject, good(), safe.clone()),
            (quarantine, Facts { newest: Some(4), ..good() }, safe.clone()),
            (quarantine, Facts { newest: Some(5), ..good() }, not_yet(Reason::OldReports { days: 5 })),
            (quarantine, Facts { days: 14, ..good() }, safe.clone()),
            (quarantine, Facts { days: 13, ..good() }, not_yet(Reason::FewDays { days: 13, needed: 14 })),
            (
                PolicyStage::QuarantineTesting,
                Facts { days: 20, ..good() },
                not_yet(Reason::FewDays { days: 20, needed: 21 }),
            ),
            (reject, Facts { days: 27, ..good() }, not_yet(Reason::FewDays { days: 27, needed: 28 })),
            (PolicyStage::RejectTesting, Facts { days: 28, ..good() }, safe.clone()),
            (quarantine, Facts { reporters: 1, ..good() }, not_yet(Reason::FewReporters { reporters: 1, needed: 2 })),
            (
                quarantine,
                Facts { messages: 99, ours: 99, failing: 0, ours_failing: 0, ..good() },
                not_yet(Reason::FewMessages { messages: 99, needed: 100 }),
            ),
            // One of a hundred for quarantine, two of a thousand for reject.
            (quarantine, Facts { ours_failing: 80, failing: 80, ..good() }, safe.clone()),
            (
                quarantine,
                Facts { ours_failing: 81, failing: 81, ..good() },
                not_yet(Reason::OursFail { failing: 81, messages: 8_000 }),
            ),
            (
                quarantine,
                Facts { ours_failing: 0, failing: 21, ..good() },
                not_yet(Reason::OthersFail { failing: 21, messages: 2_000, per_mille: 10 }),
            ),
            (reject, Facts { ours_failing: 16, failing: 20, ..good() }, safe.clone()),
            (
                reject,
                Facts { ours_failing: 17, failing: 17, ..good() },
                not_yet(Reason::OursFail { failing: 17, messages: 8_000 }),
            ),
            // The policy is directed at forgers that come and go.
            (quarantine, Facts { strangers: vec![stranger(5_000, 2)], ..good() }, safe.clone()),
            (quarantine, Facts { strangers: vec![stranger(99, 30)], ..good() }, safe.clone()),
            (
                quarantine,
                Facts { strangers: vec![stranger(100, 3), stranger(2_000, 9)], ..good() },
                Safety::SafeUnless { senders: vec![stranger(2_000, 9), stranger(100, 3)] },
            ),
        ] {
            assert_eq!(judge(stage, &facts), safety, "{stage:?} {facts:?}");
        }
    }

    #[test]
    fn several_reasons_are_all_named() {
        let Safety::NotYet { reasons } = judge(PolicyStage::None, &Facts { newest: Some(9), ..Facts::default() })
        else {
            panic!()
        };
        assert_eq!(reasons.len(), 4, "{reasons:?}");
    }

    #[test]
    fn the_record_keeps_what_the_customer_has_set() {
        let reports = Mailbox::parse("dmarc@reports.webcrm.com").unwrap();
        let host = || "_dmarc.test.dk".to_owned();
        for (published, inherited, record) in [
            (None, None, "v=DMARC1; p=none; rua=mailto:dmarc@reports.webcrm.com"),
            (Some("v=DMARC1; p=none"), None, "v=DMARC1; p=quarantine; t=y; rua=mailto:dmarc@reports.webcrm.com"),
            (
                Some("v=DMARC1; p=none; pct=100; aspf=s; rua=mailto:a@test.dk"),
                None,
                "v=DMARC1; p=quarantine; aspf=s; rua=mailto:a@test.dk; t=y",
            ),
            (Some("v=DMARC1; p=quarantine; t=y; rua=mailto:a@b.dk"), None, "v=DMARC1; p=quarantine; rua=mailto:a@b.dk"),
            (
                Some("v=DMARC1; p=quarantine; pct=0; rua=mailto:a@b.dk"),
                None,
                "v=DMARC1; p=quarantine; rua=mailto:a@b.dk",
            ),
            (
                Some("v=DMARC1; p=quarantine; sp=none; rua=mailto:a@b.dk"),
                None,
                "v=DMARC1; p=reject; sp=none; rua=mailto:a@b.dk; t=y",
            ),
            // A name that inherits another domain's policy gets its own record.
            (None, Some(Policy::Quarantine), "v=DMARC1; p=reject; t=y; rua=mailto:dmarc@reports.webcrm.com"),
        ] {
            let step = step(host(), published, inherited, Some(&reports), &good());
            assert_eq!(step.record.as_deref(), Some(record), "{published:?}");
            assert!(Record::parse(record).is_ok());
        }
        assert_eq!(step(host(), Some("v=DMARC1; p=reject"), None, Some(&reports), &good()).record, None);
    }
}

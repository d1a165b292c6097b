//! The severity of each finding, and the original error texts of the libraries.

use super::{Finding, Severity, Shown};

impl Finding {
    /// Returns how bad the finding is.
    pub fn severity(&self) -> Severity {
        use Finding as F;
        match self {
            F::OwnDomain { .. }
            | F::OwnershipByTxt { .. }
            | F::OwnershipByFile { .. }
            | F::SpfPasses { .. }
            | F::SpfUsable { .. }
            | F::DkimGood { .. }
            | F::DkimRotating { shown: Shown::Right, .. }
            | F::MailjetAccepts { .. }
            | F::DmarcGood { .. }
            | F::DmarcDkimAligned { .. }
            | F::ReturnPathGood { .. }
            | F::MxGood { .. }
            | F::ProbeGood { .. } => Severity::Good,

            F::DmarcInherited { .. }
            | F::DmarcNoReports { wanted: false, .. }
            | F::DmarcReports { .. }
            | F::DmarcMonitoring
            | F::DmarcSpfUnaligned { .. }
            | F::InternalMail { .. }
            | F::InternalMailByMailjet { .. }
            | F::FromDomainAlias { .. }
            | F::FromDomainWildcard { .. }
            | F::RelayByAddress { .. }
            | F::ProbeSkipped { .. }
            | F::SpfWithoutUs { .. }
            | F::SpfMeant { .. }
            | F::MailjetKeyUnset { .. }
            | F::DelegationByHand { .. }
            | F::DelegationOffered { .. }
            | F::DelegationReady { .. }
            | F::FileNotThere { .. } => Severity::Hint,

            F::SpfNearMiss { .. }
            | F::SpfAfterAll { .. }
            | F::SpfNoEffect { .. }
            | F::SpfUnread { .. }
            | F::SpfEverybody { .. }
            | F::SpfPtr { .. }
            | F::SpfNearLookupLimit { .. }
            | F::SpfManyVoidLookups { .. }
            | F::SpfBeyondUs { .. }
            | F::SpfTooManyExchanges { .. }
            | F::SpfProposalFails { .. }
            | F::DmarcTag { .. }
            | F::DmarcNearMiss { .. }
            | F::DmarcPercent { .. }
            | F::DmarcObsolete { .. }
            | F::DmarcNoReports { wanted: true, .. }
            | F::DmarcReportsRefused { .. }
            | F::DmarcReportsNotAllowed { .. }
            | F::DmarcTesting
            | F::DmarcWithoutDkim { .. }
            | F::DmarcOnSpfAlone { .. }
            | F::DmarcKeyFirst { .. }
            | F::DmarcSpfStrict { .. }
            | F::MxNull { .. }
            | F::MxMissing { .. }
            | F::MxBesideAlias { .. }
            | F::MxUnreachable { .. }
            | F::WrongHost { .. }
            | F::FileNotEmpty { .. }
            | F::FileAnywhere { .. }
            | F::FileAddressRefused { .. }
            | F::FileRedirectRefused { .. }
            | F::DkimRotating { .. }
            | F::DkimRotatingUnanswered { .. }
            | F::DkimRotationUnreadable { .. }
            | F::MailjetKeyOfOther { .. }
            | F::DelegationIdle { .. }
            | F::DkimSecond { .. }
            | F::OwnershipUntidy { .. }
            | F::OwnershipWrongValue { .. } => Severity::Warning,

            F::DelegationZone { said, .. } => said.severity(),

            F::DkimFlaw { flaw, .. } if !flaw.0.is_fatal() => match flaw.0 {
                crate::dkim::record::Flaw::Testing => Severity::Warning,
                _ => Severity::Hint,
            },

            F::MailjetKeyShort { bits, .. } if crate::dkim::record::Flaw::Weak(*bits).is_fatal_to_others() => {
                Severity::Fault
            }
            F::MailjetKeyShort { .. } => Severity::Hint,

            F::Unanswered { .. } | F::OutOfTime { .. } | F::MailjetSilent { .. } => Severity::Unknown,

            F::PublicProvider { .. }
            | F::OwnershipMissing { .. }
            | F::SpfMissing { .. }
            | F::SpfSeveral { .. }
            | F::SpfSyntax { .. }
            | F::SpfTooLong { .. }
            | F::SpfLoop { .. }
            | F::SpfTooManyLookups { .. }
            | F::SpfTooManyVoidLookups { .. }
            | F::SpfIncludeWithoutRecord { .. }
            | F::SpfIncludeSeveral { .. }
            | F::SpfOursBroken { .. }
            | F::SpfIncludeMissing { .. }
            | F::SpfIncludeShadowed { .. }
            | F::SpfAddressOnly { .. }
            | F::SpfDoesNotPass { .. }
            | F::SpfBesideAlias { .. }
            | F::DkimMissing { .. }
            | F::DkimSeveral { .. }
            | F::DkimMismatch { .. }
            | F::DkimFlaw { .. }
            | F::DkimKeyUnusable { .. }
            | F::MailjetKeyMissing { .. }
            | F::DelegationWrong { .. }
            | F::DelegationMissing { .. }
            | F::MailjetUnproven { .. }
            | F::MailjetObjects { .. }
            | F::MailjetOwned { .. }
            | F::MailjetRefuses { .. }
            | F::MailjetCredentials { .. }
            | F::MailjetUnkept { .. }
            | F::DmarcMissing { .. }
            | F::DmarcSeveral { .. }
            | F::DmarcInvalid { .. }
            | F::DmarcNoPolicy { .. }
            | F::DmarcPolicyName { .. }
            | F::DmarcValue { .. }
            | F::DmarcMistake { .. }
            | F::ReturnPathMissing { .. }
            | F::ReturnPathWrong { .. }
            | F::ReturnPathAddress { .. }
            | F::ProbeFailed { .. } => Severity::Fault,
        }
    }

    /// Returns the original English words of the resolver, the HTTP library, the key, the disk or the probe, for operators.
    /// `crate::onboarding::text` describes the same for customers.
    pub fn detail(&self) -> Option<String> {
        match self {
            Finding::Unanswered { reason } | Finding::DkimRotatingUnanswered { reason, .. } => Some(reason.to_string()),
            Finding::FileNotThere { reason, .. } => Some(reason.to_string()),
            Finding::DkimKeyUnusable { reason }
            | Finding::DkimRotationUnreadable { reason }
            | Finding::MailjetSilent { reason, .. } => Some(reason.clone()),
            Finding::ProbeGood { detail, .. } => Some(detail.clone()),
            Finding::ProbeFailed { reason, remedy, .. } if remedy.is_empty() => Some(reason.clone()),
            Finding::ProbeFailed { reason, remedy, .. } => Some(format!("{reason}. {remedy}")),
            Finding::DkimSecond { said, .. } | Finding::DelegationZone { said, .. } => said.detail(),
            _ => None,
        }
    }
}

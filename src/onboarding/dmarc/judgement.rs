//! Judges what the policy that applies to a domain does to our mail.

use super::record::{Policy, policy_of};
use crate::onboarding::Seen;
use crate::onboarding::deadline::CheckResult;
use crate::onboarding::finding::{Check, Finding, Item, Severity};
use crate::smtp::Domain;

/// The way by which the domain's mail is sent, as far as alignment depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Mail is sent through Mailjet.
    Mailjet {
        /// The result for the return-path alias: `bnc3.<domain>` points to Mailjet.
        alias: Seen,
    },
    /// Mail is sent through the customer's own server.
    OwnServer,
}

impl Path {
    /// Returns the item of the key whose signature receivers find on our mail.
    fn key(self) -> Item {
        match self {
            Path::Mailjet { .. } => Item::MailjetDkim,
            Path::OwnServer => Item::Dkim,
        }
    }
}

/// The policy that applies to a domain, as far as DNS answers. Its effect on our mail depends on the keys, which are checked at the same
/// time.
#[derive(Debug)]
pub struct Found {
    pub(super) check: Check,
    pub(super) applies: Option<Applies>,
    pub(super) domain: Domain,
    pub(super) alias: String,
    pub(super) proposed: Option<String>,
}

/// A policy that applies.
#[derive(Debug)]
pub(super) struct Applies {
    pub(super) policy: Policy,
    pub(super) strict_spf: bool,
}

impl CheckResult for Found {
    /// The policy is judged together with the key.
    fn severity(&self) -> Option<Severity> {
        None
    }
}

impl Found {
    /// Judges the effect of the policy on our mail. `key` is the result for the key whose signature receivers find on our mail. Also
    /// returns the record to publish, if the domain has none that counts with every receiver.
    pub fn judge(self, path: Path, key: Seen) -> (Check, Option<String>) {
        let Found { mut check, applies, domain, alias, proposed } = self;
        if let Some(record) = &proposed {
            check.expected.push(format!("_dmarc.{domain} TXT \"{record}\""));
        }
        let Some(Applies { policy, strict_spf }) = applies else {
            let strict = proposed.as_deref().and_then(policy_of).filter(|policy| *policy > Policy::None);
            if let Some(policy) = strict.filter(|_| key == Seen::Missing) {
                check.say(Finding::DmarcKeyFirst { policy: policy.as_str().to_owned(), key: path.key() });
            }
            return (check, proposed);
        };
        // Our d= is the From domain itself, and so is Mailjet's, so the signature aligns in strict mode as well (RFC 9989 §4.4.1).
        let spf = match path {
            Path::Mailjet { alias } if !strict_spf => alias,
            _ => Seen::Missing,
        };
        match (key, spf) {
            (Seen::Verified, _) => check.say(Finding::DmarcDkimAligned { domain: domain.to_string() }),
            (Seen::Missing, Seen::Verified | Seen::Missing) if policy > Policy::None => {
                let (policy, key) = (policy.as_str().to_owned(), path.key());
                check.say(match spf {
                    Seen::Verified => Finding::DmarcOnSpfAlone { policy, key },
                    _ => Finding::DmarcWithoutDkim { policy, key },
                });
            }
            (Seen::Missing | Seen::Unknown, _) => {}
        }
        match path {
            Path::Mailjet { alias: Seen::Missing } => check.say(Finding::DmarcSpfUnaligned { alias }),
            Path::Mailjet { alias: Seen::Verified } if strict_spf => check.say(Finding::DmarcSpfStrict { alias }),
            Path::Mailjet { .. } | Path::OwnServer => {}
        }
        (check, proposed)
    }
}

//! Verification status: the requirements that a From domain can meet, and which of them it has verified.

use std::fmt;

/// A requirement that a From domain can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// The customer controls the domain.
    Ownership,
    /// SPF allows us to send for the domain.
    Spf,
    /// Our DKIM key is published.
    Dkim,
    /// A DMARC policy is published.
    Dmarc,
}

impl Requirement {
    /// All requirements, in the order in which customers are asked to meet them.
    pub const ALL: [Requirement; 4] = [Requirement::Ownership, Requirement::Spf, Requirement::Dkim, Requirement::Dmarc];

    /// Returns the name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Requirement::Ownership => "ownership",
            Requirement::Spf => "spf",
            Requirement::Dkim => "dkim",
            Requirement::Dmarc => "dmarc",
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The set of requirements that a domain has verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerificationStatus(u8);

impl VerificationStatus {
    /// Adds `requirement` to those that are verified.
    #[must_use]
    pub fn with(self, requirement: Requirement) -> Self {
        VerificationStatus(self.0 | 1 << requirement as u8)
    }

    /// Returns true if `requirement` is verified.
    pub fn has(self, requirement: Requirement) -> bool {
        self.0 & (1 << requirement as u8) != 0
    }

    /// Returns the first of `needed` that is not verified.
    pub fn missing(self, needed: &[Requirement]) -> Option<Requirement> {
        needed.iter().copied().find(|r| !self.has(*r))
    }
}

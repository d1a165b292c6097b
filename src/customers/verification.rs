//! What a From domain has verified: the steps of webCRM's guide, and which of them a domain has behind it.

use std::fmt;

/// Something a domain must have verified (webCRM's guide, steps 1–3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// The domain is the customer's.
    Ownership,
    /// SPF lets us send.
    Spf,
    /// Our key is published.
    Dkim,
    /// A DMARC policy is published.
    Dmarc,
}

impl Requirement {
    /// All, in the guide's order.
    pub const ALL: [Requirement; 4] = [Requirement::Ownership, Requirement::Spf, Requirement::Dkim, Requirement::Dmarc];

    /// As configuration writes it.
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

/// What a domain has verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerificationStatus(u8);

impl VerificationStatus {
    /// With `requirement` verified besides.
    #[must_use]
    pub fn with(self, requirement: Requirement) -> Self {
        VerificationStatus(self.0 | 1 << requirement as u8)
    }

    /// Whether it is verified.
    pub fn has(self, requirement: Requirement) -> bool {
        self.0 & (1 << requirement as u8) != 0
    }

    /// The first of `needed` that is not verified.
    pub fn missing(self, needed: &[Requirement]) -> Option<Requirement> {
        needed.iter().copied().find(|r| !self.has(*r))
    }
}

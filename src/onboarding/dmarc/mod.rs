//! DMARC: the policy that applies to a domain (`tree`), whether its record is right and its reports reach somebody (`check`), whether our
//! mail aligns with it (`judgement`), and which policy comes next (`step`).

#[cfg(test)]
mod broken;
mod check;
mod judgement;
mod record;
pub(crate) mod step;
mod tree;

pub use check::{Published, look, proposed, published};
pub use judgement::{Found, Path};
pub use record::{Policy, Record, Unusable, amended, is_dmarc, policy_meant, policy_of, reports_meant};
pub use tree::organization;

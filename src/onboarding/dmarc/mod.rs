//! DMARC: the policy that applies to a domain (`tree`), whether our mail aligns with it and its reports reach somebody (`check`), and which
//! policy comes next (`step`).

#[cfg(test)]
mod broken;
mod check;
mod record;
pub mod step;
mod tree;

pub use check::{Found, Path, Published, look, policy_of, proposed, published};
pub use record::{Policy, Record, Unusable, amended, is_dmarc, policy_meant};
pub use tree::organization;

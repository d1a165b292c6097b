//! DMARC: the policy that applies to a domain (`tree`), whether our mail aligns with it, and whether its reports go anywhere
//! (`check`).

mod check;
mod record;
mod tree;

pub use check::{Found, Path, look, policy_of, proposed};
pub use record::{Policy, Record, Unusable, amended, is_dmarc};
pub use tree::organization;

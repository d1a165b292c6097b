//! Customers: their domains, their keys, and the routes of their mail.
//!
//! [`Directory`] has the customers and Mailjet's tiers from the configuration. [`VerificationStatus`] says which requirements a domain has
//! verified. [`Routing`] uses both to resolve the route of a lane. The queue, submission, notifications and operators' commands all use
//! [`Routing`], so they agree. [`suppression`] has the addresses to which a customer's mail is no longer sent.

mod customer;
mod directory;
mod domain_map;
mod pause;
pub(crate) mod public_mailboxes;
mod routing;
pub mod suppression;
pub(crate) mod test_mode;
mod verification;
mod volume;

pub use customer::{BulkPolicy, Contact, ContactLanguage, Customer, KeyPlace, SigningDomain, Via};
pub use directory::{Directory, Tier};
pub use pause::{LONGEST_CAP, Pause, PauseCause, Pauses};
pub use routing::{Acceptance, NoRoute, Routing, RoutingView, own_account};
pub use test_mode::{AllowedRecipient, TestMode};
pub use verification::{Requirement, VerificationStatus};
pub use volume::{Reaction, VolumeLimits};

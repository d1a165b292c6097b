//! Customers: whose domains, whose keys, and which route their mail takes.
//!
//! [`Directory`] holds what configuration says of customers and Mailjet's tiers; [`VerificationStatus`] what a domain has been seen
//! to have verified. [`Routing`] has both, and resolves the route of a lane from them. Everything that asks where mail goes asks
//! there: the queue, submission, notifications, and what operators are shown.

mod customer;
mod directory;
pub mod public_mailboxes;
mod routing;
mod verification;

pub use customer::{BulkPolicy, Customer, KeyPlace, SigningDomain, Via};
pub use directory::{Directory, Tier};
pub use routing::{NoRoute, Routing, RoutingView};
pub use verification::{Requirement, VerificationStatus};

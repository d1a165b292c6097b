//! Onboarding sets a customer's domain up: it shows which records to publish, checks which are published, and reports what is missing and
//! the next step.
//!
//! ```text
//!   Settings, Directory ─► records ─► what to hand to the customer
//!                       ─► Checker::check ─► Report ─► DomainState::apply ─► DomainState on disk, Routing, events
//!                              ▲  ownership, spf, dkim, dmarc, …            ▲
//!                              └──────────────── monitor ───────────────────┘
//!                                    (and mailjet: registers the domain in Mailjet's accounts)
//! ```
//!
//! Checks only read. If DNS does not answer, the result is `Unknown` and changes nothing: a failure of the resolver never counts as
//! a mistake of the customer.

pub mod alias;
pub(crate) mod checker;
pub(crate) mod connect;
pub(crate) mod counters;
mod deadline;
pub(crate) mod delegation;
pub(crate) mod dkim;
pub mod dmarc;
mod dns_provider;
pub mod fetch;
pub mod finding;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub(crate) mod kept;
pub(crate) mod lang;
pub mod mailjet;
mod misplaced;
pub(crate) mod monitor;
mod mx;
pub mod ownership;
pub mod records;
pub mod report;
pub(crate) mod return_path;
pub mod rotation;
pub(crate) mod settings;
pub mod spf;
pub(crate) mod state;
#[cfg(test)]
mod test_table;
pub(crate) mod text;

pub use checker::{Checker, Overall, ProbeFailure, Report, Seen};
pub use counters::Counters;
pub use deadline::Told;
pub use dns_provider::DnsProvider;
pub use finding::{Check, Finding, Item, Need, Severity};
pub use lang::Lang;
pub use monitor::{Changed, Looked, Monitor};
pub use ownership::{Challenge, Secret};
pub use records::RecordTable;
pub use settings::{Delegation, DomainConnect, Issued, MailjetAccount, MailjetRecords, Settings};
pub use state::{ChangeKind, Store};

//! A customer's domain, from nothing to verified: what to publish, what is published, what is missing and the next step.
//!
//! ```text
//!   Settings, Directory ─► records ─► what to hand to the customer
//!                       ─► Checker::check ─► Report ─► state::apply ─► DomainState on disk, Standings, events
//!                              ▲  ownership, spf, dkim, dmarc, …            ▲
//!                              └──────────────── monitor ───────────────────┘
//! ```
//!
//! Checks only look. An answer that did not come is `Unknown` and changes nothing: a resolver's failure is never taken for a
//! customer's mistake.

pub mod alias;
pub mod counters;
pub mod dkim;
pub mod dmarc;
pub mod fetch;
pub mod finding;
mod misplaced;
pub mod monitor;
pub mod ownership;
pub mod records;
pub mod report;
pub mod return_path;
pub mod rotation;
pub mod settings;
pub mod spf;
pub mod state;
pub mod text;
pub mod verdict;

pub use counters::Counters;
pub use finding::{Check, Finding, Item, Need, Severity};
pub use monitor::Monitor;
pub use ownership::{Challenge, Secret};
pub use records::Table;
pub use settings::{MailjetRecords, Settings};
pub use state::Store;
pub use text::Lang;
pub use verdict::{Checker, Outcome, Report, Seen};

//! DMARC aggregate reports (RFC 9990): what receivers saw of mail in customers' names.
//!
//! ```text
//! mail, file ─► container ─► report ─► aggregate ─► store (tables) ─► summary ─► text, plot, JSON
//!               zip, gzip,   records   sums by      by day                └────► onboarding::dmarc::step: is the next policy safe?
//!               MIME         one by    source and
//!                            one       result
//! ```
//!
//! [`Reports::take`] accepts reports from the listener for returned mail and from `postbud dmarc import`. Each report is accepted once, and
//! only about domains of configured customers. Reports are not signed, and everybody who knows the address can send one. So the stored
//! numbers are claims of reporters, and are shown as such.

mod aggregate;
pub mod container;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod owners;
pub(crate) mod plot;
pub mod report;
mod reports;
pub(crate) mod sources;
mod store;
pub(crate) mod summary;
pub(crate) mod text;

pub use reports::{ReportRefused, Reports, Settings, TakenReport, TakenReports};
pub use store::{Reporter, SCHEMA};

#[cfg(test)]
mod samples;
#[cfg(test)]
pub(crate) mod tests;

//! A customer's domain, from nothing to verified: what to publish, what is published, what is missing and the next step.

pub mod settings;
pub mod spf;
pub mod text;

pub use settings::{MailjetRecords, Settings};
pub use text::Lang;

//! Returned mail.

mod dmarc;

pub use dmarc::{DmarcReports, NotTaken};

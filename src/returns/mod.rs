//! Reports of other systems about mail that has left, which become events.
//!
//! - [`mail`]: returned mail, complaints and DMARC reports, at an SMTP listener of its own.
//! - [`mailjet`]: Mailjet's reports over HTTP, and questions to Mailjet's API when it reports nothing.
//! - [`dmarc`]: the content of DMARC reports, stored and added up.
//!
//! Each kind of report has its own module, which reads it and emits events with the fields of the mail that it is about
//! (`record::event::Known`). A report that matches no mail of ours becomes an `unmatched` event and is counted.

pub mod dmarc;
pub mod mail;
pub mod mailjet;

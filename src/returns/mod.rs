//! What comes back: other systems' reports on mail that has left, turned into events of the record.
//!
//! * [`mail`]: returned mail, complaints and DMARC reports, at a small SMTP listener of its own.
//! * [`mailjet`]: what Mailjet reports over HTTP, and what is asked of Mailjet where it reports nothing.
//! * [`dmarc`]: what DMARC reports say, kept and added up.
//!
//! Each kind of report is read in a module of its own, and is told in the words of the mail that it is about
//! ([`Known`](crate::record::event::Known)). What is about no mail of ours is told as `unmatched` and counted.

pub mod dmarc;
pub mod mail;
pub mod mailjet;

//! The spool as its callers see it.
//!
//! `conformance` holds what the port promises, for every backend; `embedded` what is the segment log's own affair: damage, crashes, full
//! disks, files.

#[path = "support/drafts.rs"]
mod drafts;

#[path = "spool/backend.rs"]
mod backend;
#[path = "spool/conformance/mod.rs"]
mod conformance;
#[path = "spool/embedded/mod.rs"]
mod embedded;
#[path = "spool/port.rs"]
mod port;

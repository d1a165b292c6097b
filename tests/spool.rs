//! The spool as its callers see it: promises, recovery, damage, full disks.

#[path = "support/drafts.rs"]
mod drafts;

#[path = "spool/promises.rs"]
mod promises;

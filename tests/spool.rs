//! The spool as its callers see it: promises, recovery, damage, full disks.

#[path = "support/drafts.rs"]
mod drafts;

#[path = "spool/promises.rs"]
mod promises;

#[path = "spool/damage.rs"]
mod damage;

#[path = "spool/model.rs"]
mod model;

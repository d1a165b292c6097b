//! The spool as its callers see it.
//!
//! `conformance` holds what the port promises, for every backend; `embedded` what is the segment log's own affair: damage, crashes, full
//! disks, files; `moving` takes mail from one to another; `database` what is the affair of the spool in PostgreSQL: a server that is lost, slow, full or unfit, and other nodes.

#[path = "support/certs.rs"]
mod certs;
#[path = "support/drafts.rs"]
mod drafts;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/skip.rs"]
mod skip;

#[path = "spool/backend.rs"]
mod backend;
#[path = "spool/conformance/mod.rs"]
mod conformance;
#[path = "spool/database/mod.rs"]
mod database;
#[path = "spool/embedded/mod.rs"]
mod embedded;
#[path = "spool/moving.rs"]
mod moving;
#[path = "spool/port.rs"]
mod port;

//! The submission server over real sockets, by scripts and by real clients.

#[path = "support/certs.rs"]
mod certs;
#[path = "support/customers.rs"]
mod customers;
#[path = "support/intake_spool.rs"]
mod intake_spool;
#[path = "support/lookalikes.rs"]
mod lookalikes;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/submission.rs"]
mod support;

#[path = "submission/admission.rs"]
mod admission;
#[path = "submission/clients.rs"]
mod clients;
#[path = "submission/content.rs"]
mod content;
#[path = "submission/conversation.rs"]
mod conversation;
#[path = "submission/end_of_data.rs"]
mod end_of_data;
#[path = "submission/end_of_line.rs"]
mod end_of_line;
#[path = "submission/limits.rs"]
mod limits;
#[path = "submission/login.rs"]
mod login;
#[path = "submission/memory.rs"]
mod memory;
#[path = "submission/refusals.rs"]
mod refusals;
#[path = "submission/tenancy.rs"]
mod tenancy;
#[path = "submission/tls.rs"]
mod tls;

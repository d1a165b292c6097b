//! Delivery as the queue uses it: against a scripted server that misbehaves in every way, and against real servers.

#[path = "support/certs.rs"]
mod certs;
#[path = "support/messages.rs"]
mod messages;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/script.rs"]
mod script;
#[path = "support/skip.rs"]
mod skip;

#[path = "delivery/real_servers.rs"]
mod real_servers;
#[path = "delivery/transactions.rs"]
mod transactions;

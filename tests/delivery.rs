//! Delivery as the queue uses it: against a scripted server that misbehaves in every way, and against real servers.

#[path = "support/certs.rs"]
mod certs;
#[path = "support/messages.rs"]
mod messages;
#[path = "support/own_network.rs"]
mod own_network;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/proxies.rs"]
mod proxies;
#[path = "support/records.rs"]
mod records;
#[path = "support/script.rs"]
mod script;
#[path = "support/skip.rs"]
mod skip;

#[path = "delivery/addresses.rs"]
mod addresses;
#[path = "delivery/broken_servers.rs"]
mod broken_servers;
#[path = "delivery/egress.rs"]
mod egress;
#[path = "delivery/greetings.rs"]
mod greetings;
#[path = "delivery/kept_connections.rs"]
mod kept_connections;
#[path = "delivery/logins.rs"]
mod logins;
#[path = "delivery/long_replies.rs"]
mod long_replies;
#[path = "delivery/odd_certificates.rs"]
mod odd_certificates;
#[path = "delivery/parameters.rs"]
mod parameters;
#[path = "delivery/pools.rs"]
mod pools;
#[path = "delivery/probe.rs"]
mod probe;
#[path = "delivery/real_servers.rs"]
mod real_servers;
#[path = "delivery/refused_logins.rs"]
mod refused_logins;
#[path = "delivery/tls.rs"]
mod tls;
#[path = "delivery/transactions.rs"]
mod transactions;

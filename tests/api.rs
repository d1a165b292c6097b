//! The HTTP interface, spoken to as programs speak to it: the real binary with real state.

#[path = "api/client.rs"]
mod client;
#[path = "api/customers.rs"]
mod customers;
#[path = "api/document.rs"]
mod document;
#[path = "api/domains.rs"]
mod domains;
#[path = "api/endpoint.rs"]
mod endpoint;
#[path = "api/erasure.rs"]
mod erasure;
#[path = "api/full_disk.rs"]
mod full_disk;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/links.rs"]
mod links;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/mailjet_key.rs"]
mod mailjet_key;
#[path = "api/queue.rs"]
mod queue;
#[path = "api/rig.rs"]
mod rig;
#[path = "api/rotation.rs"]
mod rotation;
#[path = "api/speed.rs"]
mod speed;
#[path = "api/suppression.rs"]
mod suppression;
#[path = "api/tenancy.rs"]
mod tenancy;
#[path = "api/tokens.rs"]
mod tokens;

#[path = "support"]
mod support {
    pub mod capture;
    pub mod client;
    pub mod contract;
    pub mod disks;
    pub mod drafts;
    pub mod http;
    pub mod mailjet_api;
    pub mod ports;
    pub mod relay;
    pub mod scripted_dns;
    pub mod skip;
}

//! The pages, read and used by a real browser: the real binary with real state, and a real DNS server.

#[path = "pages/customers.rs"]
mod customers;
#[path = "pages/door.rs"]
mod door;
#[path = "pages/pictures.rs"]
mod pictures;
#[path = "pages/rig.rs"]
mod rig;
#[path = "pages/server.rs"]
mod server;

#[path = "support"]
mod support {
    pub mod browser;
    pub mod client;
    pub mod contract;
    pub mod http;
    pub mod knot;
    pub mod ports;
    pub mod relay;
    pub mod skip;
}

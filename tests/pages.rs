//! The pages, read and used by a real browser: the real binary with real state, and a real DNS server.

#[path = "pages/advice.rs"]
mod advice;
#[path = "pages/connect.rs"]
mod connect;
#[path = "pages/customers.rs"]
mod customers;
#[path = "pages/domains.rs"]
mod domains;
#[path = "pages/door.rs"]
mod door;
#[path = "pages/events.rs"]
mod events;
#[path = "pages/logins.rs"]
mod logins;
#[path = "pages/mail_server.rs"]
mod mail_server;
#[path = "pages/pictures.rs"]
mod pictures;
#[path = "pages/reports.rs"]
mod reports;
#[path = "pages/rig.rs"]
mod rig;
#[path = "pages/server.rs"]
mod server;
#[path = "pages/states.rs"]
mod states;
#[path = "pages/switch.rs"]
mod switch;

#[path = "support"]
mod support {
    pub mod browser;
    pub mod capture;
    pub mod certs;
    pub mod client;
    pub mod contract;
    pub mod http;
    pub mod knot;
    pub mod mailjet_api;
    pub mod ports;
    pub mod relay;
    pub mod script;
    pub mod skip;
}

//! Operators' pages: the real binary with real state, asked over HTTP and used in a real browser.

#[path = "operators/client.rs"]
mod client;
#[path = "operators/commands.rs"]
mod commands;
#[path = "operators/customer.rs"]
mod customer;
#[path = "operators/browser.rs"]
mod in_browser;
#[path = "operators/live.rs"]
mod live;
#[path = "operators/login.rs"]
mod login;
#[path = "pages/mail_server.rs"]
mod mail_server;
#[path = "operators/measured.rs"]
mod measured;
#[path = "operators/passwords.rs"]
mod passwords;
#[path = "operators/rig.rs"]
mod rig;
#[path = "operators/routes.rs"]
mod routes;
#[path = "operators/strange.rs"]
mod strange;

#[path = "support"]
mod support {
    pub mod browser;
    pub mod certs;
    pub mod client;
    pub mod contract;
    pub mod drafts;
    pub mod http;
    pub mod ports;
    pub mod relay;
    pub mod script;
    pub mod skip;
}

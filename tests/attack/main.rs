//! The attacks that were once made on the running relay, each with variants, against the real binary over real sockets: as a hostile
//! submitter, customer, smarthost, web client and local user. A usual run makes each in a short version; `tests/attack/run` makes
//! the long one against a binary of one's choice.

mod commands;
mod dns;
mod files;
mod floods;
mod logins;
mod ownership;
mod pages;
mod replies;
mod root;
mod senders;
mod smuggling;
mod terminal;

#[path = "../support"]
mod support {
    pub mod capture;
    pub mod client;
    pub mod contract;
    pub mod http;
    pub mod knot;
    pub mod lookalikes;
    pub mod own_network;
    pub mod ports;
    pub mod relay;
    pub mod scripted_dns;
    pub mod skip;
}

/// How often an attack is repeated: `few` in a usual run, all in a long one.
pub fn rounds(few: usize, all: usize) -> usize {
    if std::env::var_os("POSTBUD_ATTACK_LONG").is_some() { all } else { few }
}

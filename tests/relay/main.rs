//! The main job, end to end: the real binary between a submitting client and a receiving server.

mod backup;
mod bench;
mod consumer;
mod container;
mod crash;
mod exim;
mod failing_disk;
mod fairness;
mod fidelity;
mod incident;
mod life;
mod lost;
mod mailjet;
mod mailjet_disk;
mod mailjet_events;
mod mailjet_gaps;
mod mailjet_key;
mod mailjet_load;
mod metrics;
mod monitoring;
mod package;
mod passwords;
mod pauses;
mod postfix;
mod refusals;
mod reload;
mod restart;
mod returned;
mod samples;
mod scale;
mod sealed;
mod service_manager;
mod setup;
mod start;
mod suppression;
mod test_mode;
mod test_send;
mod trouble;
mod upgrade;

#[path = "../support"]
mod support {
    pub mod capture;
    pub mod certs;
    pub mod client;
    pub mod contract;
    pub mod disks;
    pub mod drafts;
    pub mod http;
    pub mod lookalikes;
    pub mod mailjet;
    pub mod mailjet_api;
    pub mod mailjet_events;
    pub mod peers;
    pub mod ports;
    pub mod relay;
    pub mod scripted_dns;
    pub mod skip;
}

/// Returns the `[route]` of a customer whose own server is a real one, which the relay logs in to over verified TLS. Writes its password.
fn own_server(site: &support::relay::Site, peer: &support::peers::Peer, username: &str) -> String {
    std::fs::write(site.path("config/secret"), support::peers::PASSWORD).unwrap();
    format!(
        "via = \"own-server\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"required\"\nca_file = \"{}\"\n\
         username = \"{username}\"\npassword_file = \"../secret\"\n",
        peer.smtp.port(),
        peer.ca.display()
    )
}

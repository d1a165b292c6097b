//! A relay with an API, two customers whose servers take nothing, and mail of both in the queue.

use std::net::SocketAddr;

use crate::client::Client;
use crate::support::relay::{Running, Site, free_port};

/// A site, its relay, and where its API is.
pub struct Rig {
    pub site: Site,
    pub relay: Running,
    pub api: SocketAddr,
}

impl Rig {
    /// Starts a relay with plaintext on loopback.
    pub fn start() -> Self {
        Rig::with("")
    }

    /// The same with further lines in `[api]`.
    pub fn with(more: &str) -> Self {
        let api = free_port();
        let lines = format!("[api]\naddress = \"{api}\"\ntls = \"off\"\n{more}");
        let (site, _) = Site::of_anna_and_bo(&lines);
        let relay = site.start();
        Rig { site, relay, api }
    }

    /// A client with a new token of this role.
    pub fn client(&self, role: &str) -> Client {
        self.client_of(role, &[])
    }

    /// The same, for customers.
    pub fn client_of(&self, role: &str, customers: &[&str]) -> Client {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{role}-{number}");
        let mut arguments = vec!["token", "add", &name, "--role", role];
        for customer in customers {
            arguments.extend(["--customer", customer]);
        }
        let made = self.site.operate(&arguments);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Client { to: self.api, token: String::from_utf8(made.stdout).unwrap().trim().to_owned() }
    }

    /// Submits a message, and gives its queue id.
    pub fn submit(&self, from: &str, to: &str) -> String {
        self.site.submit(from, to, "test")
    }
}

//! A relay with an API, two customers whose servers take nothing, and mail of both in the queue.

use std::fs;
use std::net::SocketAddr;

use crate::client::Client;
use crate::support::client;
use crate::support::relay::{PASSWORD, Running, Site, USERNAME, free_port};

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
        // Nobody answers questions to the DNS there.
        Rig::asking("127.0.0.1:9".parse().unwrap(), more)
    }

    /// The same, with the server of the DNS.
    pub fn asking(dns: SocketAddr, more: &str) -> Self {
        let api = free_port();
        let lines = format!("[api]\naddress = \"{api}\"\ntls = \"off\"\n{more}");
        let (site, _) = Site::of_anna_and_bo(&lines);
        let file = fs::read_to_string(site.config()).unwrap();
        fs::write(site.config(), file.replace("127.0.0.1:9\"", &format!("{dns}\""))).unwrap();
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
        self.submit_with(from, to, "")
    }

    /// The same with further lines in its header.
    pub fn submit_with(&self, from: &str, to: &str, fields: &str) -> String {
        let mut client = client::Client::login(self.site.smtp, USERNAME, PASSWORD).unwrap();
        let content = format!("{fields}From: <{from}>\r\nTo: <{to}>\r\nSubject: test\r\n\r\nhello\r\n");
        client::queue_id(&client.send(from, &[to], content.as_bytes()).unwrap()).to_owned()
    }
}

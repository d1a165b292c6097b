//! A relay with operators' pages, and two customers with servers of their own that do not answer.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::support::relay::{Running, Site, binary, free_port};

/// The password of every operator.
pub const OPERATORS_PASSWORD: &str = "correct horse battery staple";

/// A site, its relay, where its pages are, and where the customers' servers would be.
pub struct Rig {
    pub site: Site,
    pub relay: Running,
    pub pages: SocketAddr,
    pub server_of_anna: SocketAddr,
}

impl Rig {
    /// Starts a relay. An alert about a route comes after a second.
    pub fn start() -> Self {
        Rig::with("", "")
    }

    /// The same with further lines in `[pages.operators]`, and at the end of the file.
    pub fn with(of_pages: &str, more: &str) -> Self {
        let pages = free_port();
        let lines = format!(
            "[delivery]\nroute_alert_after = \"1s\"\n[retry]\nfirst = \"2s\"\n[pages.operators]\nurl = \"http://{pages}\"\naddress = \"{pages}\"\ntls = \"off\"\n{of_pages}\n{more}"
        );
        let (site, anna) = Site::of_anna_and_bo(&lines);
        let relay = site.start();
        Rig { site, relay, pages, server_of_anna: anna }
    }

    /// The same with customers' pages besides, and where they are.
    pub fn with_customers_pages() -> (Self, SocketAddr) {
        let customers = free_port();
        let pages =
            format!("[pages.customers]\nurl = \"http://{customers}\"\naddress = \"{customers}\"\ntls = \"off\"\n");
        (Rig::with("", &pages), customers)
    }

    /// Runs `postbud operator …` with a password on its standard input.
    pub fn operator(&self, arguments: &[&str], password: &str) -> (bool, String) {
        let mut child = Command::new(binary())
            .arg("operator")
            .args(arguments)
            .args(["--config", self.site.config().to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// Adds an operator of this role, with the password that all have.
    pub fn add(&self, name: &str, role: &str) {
        let (done, said) = self.operator(&["add", name, "--role", role], OPERATORS_PASSWORD);
        assert!(done, "{said}");
    }

    /// A client that nobody has logged in.
    pub fn client(&self) -> Client {
        Client::new(self.pages)
    }

    /// A client that a new operator of this role has logged in.
    pub fn logged_in(&self, name: &str, role: &str) -> Client {
        self.add(name, role);
        let mut client = self.client();
        let answer = client.log_in(name, OPERATORS_PASSWORD);
        assert_eq!(answer.status, 303, "{}", answer.body);
        client
    }

    /// Submits a message, and gives its queue id.
    pub fn submit(&self, from: &str, to: &str, subject: &str) -> String {
        self.site.submit(from, to, subject)
    }
}

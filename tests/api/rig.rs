//! A relay with an API, two customers whose servers take nothing, and mail of both in the queue.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::Client;
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, free_port, plain_route};

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
        // Nobody listens there: mail waits.
        let (a, b) = (plain_route(free_port()), plain_route(free_port()));
        let customers = [
            Customer { id: "anna", domain: "anna.example", route: a },
            Customer { id: "bo", domain: "bo.example", route: b },
        ];
        let lines = format!(
            "[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\nattempts = 1\n[api]\naddress = \"{api}\"\ntls = \"off\"\n{more}"
        );
        let site = Site::with(&customers, &lines);
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
        let stream = TcpStream::connect(self.site.smtp).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut hear = move || loop {
            let line = lines.next().unwrap().unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        };
        let say = |text: String| (&stream).write_all(text.as_bytes()).unwrap();
        hear();
        say("EHLO test\r\n".into());
        hear();
        say(format!("AUTH PLAIN {}\r\n", STANDARD.encode(format!("\0{USERNAME}\0{PASSWORD}"))));
        assert!(hear().starts_with("235"));
        for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".to_owned()] {
            say(format!("{command}\r\n"));
            let reply = hear();
            assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
        }
        say(format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: test\r\n\r\nhello\r\n.\r\n"));
        let reply = hear();
        say("QUIT\r\n".into());
        let (_, id) = reply.split_once("queued as ").unwrap_or_else(|| panic!("{reply}"));
        id.trim().to_owned()
    }
}

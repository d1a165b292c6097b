//! A relay with operators' pages, and two customers with servers of their own that do not answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::Client;
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, binary, free_port, plain_route};

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
        let (anna, bo) = (free_port(), free_port());
        let customers = [
            Customer { id: "anna", domain: "anna.example", route: plain_route(anna) },
            Customer { id: "bo", domain: "bo.example", route: plain_route(bo) },
        ];
        let lines = format!(
            "[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\nattempts = 1\n[delivery]\nroute_alert_after = \"1s\"\n\
             [retry]\nfirst = \"2s\"\n[pages.operators]\nurl = \"http://{pages}\"\naddress = \"{pages}\"\ntls = \"off\"\n{of_pages}\n{more}"
        );
        let site = Site::with(&customers, &lines);
        let relay = site.start();
        Rig { site, relay, pages, server_of_anna: anna }
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
        say(format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nhello\r\n.\r\n"));
        let reply = hear();
        say("QUIT\r\n".into());
        let (_, id) = reply.split_once("queued as ").unwrap_or_else(|| panic!("{reply}"));
        id.trim().to_owned()
    }
}

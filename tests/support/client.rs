//! A submitting SMTP client that sends exactly the octets it is given.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use socket2::Socket;

/// A session with the server.
pub struct Client {
    input: BufReader<TcpStream>,
    out: TcpStream,
}

/// `Err` if the connection broke.
pub type Heard = std::io::Result<String>;

impl Client {
    /// Connects and says EHLO.
    pub fn connect(server: SocketAddr) -> std::io::Result<Client> {
        Client::over(TcpStream::connect(server)?)
    }

    /// Does the same with a server that may answer late or not at all.
    pub fn connect_with_patience(server: SocketAddr, patience: Duration) -> std::io::Result<Client> {
        let stream = TcpStream::connect_timeout(&server, patience)?;
        Client::with_patience(stream, patience)
    }

    fn over(out: TcpStream) -> std::io::Result<Client> {
        Client::with_patience(out, Duration::from_secs(60))
    }

    fn with_patience(out: TcpStream, patience: Duration) -> std::io::Result<Client> {
        out.set_nodelay(true)?;
        out.set_read_timeout(Some(patience))?;
        let mut client = Client { input: BufReader::new(out.try_clone()?), out };
        client.hear()?;
        client.say("EHLO client.example.com")?;
        Ok(client)
    }

    /// Does the same from another address of this machine.
    pub fn connect_from(from: IpAddr, server: SocketAddr) -> std::io::Result<Client> {
        let socket = Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&server.into())?;
        Client::over(socket.into())
    }

    /// Connects and logs in.
    pub fn login(server: SocketAddr, username: &str, password: &str) -> std::io::Result<Client> {
        let mut client = Client::connect(server)?;
        let heard = client.auth(username, password)?;
        if heard.starts_with("235") { Ok(client) } else { Err(std::io::Error::other(heard)) }
    }

    /// Sends AUTH PLAIN and returns the reply.
    pub fn auth(&mut self, username: &str, password: &str) -> Heard {
        let response = base64::engine::general_purpose::STANDARD.encode(format!("\0{username}\0{password}"));
        self.say(&format!("AUTH PLAIN {response}"))
    }

    /// Sends one line and returns the reply.
    pub fn say(&mut self, line: &str) -> Heard {
        self.out.write_all(format!("{line}\r\n").as_bytes())?;
        self.hear()
    }

    /// Sets the longest time to wait for a reply from now on.
    pub fn give_up_after(&mut self, patience: Duration) {
        self.out.set_read_timeout(Some(patience)).expect("a socket takes a timeout");
    }

    /// Sends octets unchanged.
    pub fn push(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.out.write_all(octets)
    }

    /// Runs a whole transaction. Returns the last reply: the first refusal, or the reply to the final dot.
    pub fn send(&mut self, from: &str, to: &[&str], content: &[u8]) -> Heard {
        let mut lines = vec![format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        for line in lines {
            let heard = self.say(&line)?;
            if !heard.starts_with(['2', '3']) {
                return Ok(heard);
            }
        }
        self.content(content)
    }

    /// Sends DATA and the content after MAIL and RCPT. Returns the last reply.
    pub fn content(&mut self, content: &[u8]) -> Heard {
        let heard = self.say("DATA")?;
        if !heard.starts_with('3') {
            return Ok(heard);
        }
        self.out.write_all(&stuffed(content))?;
        self.hear()
    }

    /// Reads one reply with all its lines.
    pub fn hear(&mut self) -> Heard {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            if self.input.read_line(&mut reply)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if reply.as_bytes().get(start + 3) != Some(&b'-') {
                return Ok(reply.trim_end().to_owned());
            }
        }
    }
}

/// Returns the queue id in `250 2.0.0 … queued as ID`.
pub fn queue_id(reply: &str) -> &str {
    assert!(reply.starts_with("250"), "{reply}");
    reply.rsplit(' ').next().unwrap()
}

/// Makes a short, complete message.
pub fn message(from: &str, to: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: Afsender <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: Mon, 23 Nov 2026 12:00:00 +0100\r\n\
         Message-ID: <{subject}@webcrm.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nHej,\r\n\r\nRødgrød med fløde.\r\n.\r\n..to prikker\r\n"
    )
    .into_bytes()
}

fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    for line in content.split_inclusive(|b| *b == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

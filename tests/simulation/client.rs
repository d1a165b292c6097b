//! A client: hands one message in, and again until it hears 250 or 5xx.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::book::{Book, Heard, Submission};
use super::machine::Clock;
use super::network::{Kind, Network};
use super::plan::Fate;
use super::site;
use super::stream::Stream;

/// How often it hands a message in.
const TRIES: u32 = 4;
/// How long it waits in between.
const PAUSE: Duration = Duration::from_secs(9);

pub struct Client {
    pub book: Arc<Book>,
    pub clock: Arc<Clock>,
    pub network: Arc<Network>,
    pub number: u32,
    pub customer: usize,
    pub fates: Vec<Fate>,
    pub size: usize,
    /// The local part of the sender's address, which says what becomes of notifications.
    pub sender: &'static str,
    /// How long it waits for an answer.
    pub patience: Duration,
    /// The nodes' listeners, the one to begin with in front.
    pub nodes: Vec<(usize, SocketAddr)>,
}

impl Client {
    pub async fn run(self) {
        for attempt in 0..TRIES {
            let token = format!("m{}x{attempt}", self.number);
            let node = self.nodes[attempt as usize % self.nodes.len()];
            let heard = match tokio::time::timeout(self.patience, self.hand_in(&token, node)).await {
                Ok(Ok(heard)) => heard,
                Ok(Err(_)) | Err(_) => Heard::Nothing,
            };
            let is_over = match &heard {
                Heard::Accepted(_) => true,
                Heard::Refused(reply) => reply.starts_with('5'),
                Heard::Nothing => false,
            };
            self.book.submitted(Submission {
                number: self.number,
                customer: self.customer,
                node: node.0,
                recipients: self.recipients(&token),
                token,
                at: self.clock.now(),
                heard,
            });
            if is_over {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn recipients(&self, token: &str) -> Vec<String> {
        let numbered = self.fates.iter().enumerate();
        numbered.map(|(number, fate)| format!("{token}-{number}-{fate}@there.test")).collect()
    }

    async fn hand_in(&self, token: &str, (node, address): (usize, SocketAddr)) -> io::Result<Heard> {
        let local = SocketAddr::from(([198, 51, 100, 1], 0));
        let dialled = self.network.dial(Kind::Submission, node, (local, address), (&self.clock, &node_clock(node)?));
        let Some(stream) = dialled else { return std::future::pending().await };
        let mut stream = BufReader::new(stream?);
        let domain = &site::domain_of(self.customer);
        let recipients = self.recipients(token);
        if !reply(&mut stream).await?.starts_with("220") {
            return Ok(Heard::Refused("4xx at the greeting".to_owned()));
        }
        let mut commands = vec!["EHLO client.test".to_owned(), format!("MAIL FROM:<{}@{domain}>", self.sender)];
        commands.extend(recipients.iter().map(|address| format!("RCPT TO:<{address}>")));
        commands.push("DATA".to_owned());
        for command in &commands {
            stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            let reply = reply(&mut stream).await?;
            if !reply.starts_with(['2', '3']) {
                return Ok(Heard::Refused(reply));
            }
        }
        stream.write_all(self.content(token, domain).as_bytes()).await?;
        let reply = reply(&mut stream).await?;
        let id = reply.strip_prefix("250 2.0.0 queued as ").and_then(|rest| rest.split_whitespace().next());
        Ok(match id.and_then(|id| id.parse().ok()) {
            Some(id) => Heard::Accepted(id),
            None => Heard::Refused(reply),
        })
    }

    fn content(&self, token: &str, domain: &str) -> String {
        let mut content = format!(
            "From: <sender@{domain}>\r\nTo: <all@there.test>\r\nSubject: {token}\r\nMessage-ID: <{token}@{domain}>\r\n\
             Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\n"
        );
        while content.len() < self.size {
            content.push_str("..A line of the text, which is not much longer than lines of text usually are.\r\n");
        }
        content.push_str(".\r\n");
        content
    }
}

/// The clock of the process on a node, if there is one.
fn node_clock(node: usize) -> io::Result<Arc<Clock>> {
    super::clock_of(node).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}

/// The last line of a reply.
async fn reply(stream: &mut BufReader<Stream>) -> io::Result<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.trim_end().to_owned());
        }
    }
}

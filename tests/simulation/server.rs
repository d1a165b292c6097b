//! A next server: takes, puts off and refuses what its recipients' addresses say, and writes down what it took and what it saw.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::book::{Book, Take};
use super::machine::Clock;
use super::network::{Link, Network, lock};
use super::plan::{Fate, Mood};
use super::site;
use super::stream::{Listener, Stream};
use crate::dkim::verify::{Keys, verify};

/// What a server does with everybody, if that is not what the recipients say.
pub type Moods = Arc<Mutex<BTreeMap<usize, Mood>>>;

/// A server by itself.
pub struct Server {
    pub number: usize,
    pub book: Arc<Book>,
    pub clock: Arc<Clock>,
    pub network: Arc<Network>,
    pub moods: Moods,
    /// The transactions that are under way, by connection.
    pub under_way: Mutex<Vec<UnderWay>>,
}

/// A transaction that is under way.
pub struct UnderWay {
    link: Arc<Mutex<Link>>,
    begun: Duration,
}

/// A message on its way in.
#[derive(Default)]
struct Mail {
    begun: Duration,
    recipients: Vec<(String, String, Fate)>,
}

impl Server {
    /// Takes connections for ever.
    pub async fn run(self: Arc<Self>) {
        let address = site::address_of(self.number);
        let listener = Listener { network: Arc::clone(&self.network), clock: Arc::clone(&self.clock), address };
        self.network.listen(address, None);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let server = Arc::clone(&self);
                    tokio::spawn(async move {
                        // Whoever resets a connection has its reasons.
                        let _ = server.serve(stream, peer.ip()).await;
                    });
                }
                // It is down. The world listens again in its place.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn mood(&self) -> Option<Mood> {
        self.moods.lock().expect("nothing panics while it holds the moods").get(&self.number).copied()
    }

    async fn serve(&self, stream: Stream, from: IpAddr) -> io::Result<()> {
        let link = Arc::clone(&stream.link);
        let _leaves = Leaves { server: self, link: &link };
        let mut stream = BufReader::new(stream);
        if from != site::EGRESS {
            self.book.wrong(self.clock.now(), "address", format!("a connection comes from {from}"));
        }
        match self.mood() {
            Some(Mood::Mute) => return std::future::pending().await,
            Some(Mood::Busy) => return stream.write_all(b"421 4.3.2 too busy\r\n").await,
            _ => {}
        }
        stream.write_all(b"220 server.test\r\n").await?;
        let (mut mail, mut transactions) = (None, 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply = match (&*verb, &mut mail) {
                ("EHLO", _) => "250-server.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10000000".to_owned(),
                ("MAIL", _) => {
                    mail = Some(Mail { begun: self.clock.now(), ..Mail::default() });
                    "250 2.1.0 ok".to_owned()
                }
                ("RCPT", Some(mail)) => {
                    let reply = self.recipient(&line, mail);
                    // A transaction of which all recipients were put off is over for the relay, too.
                    if mail.recipients.len() == 1 && reply.starts_with('2') {
                        transactions += 1;
                        self.begins(&link, transactions);
                    }
                    reply
                }
                ("DATA", Some(mail)) if !mail.recipients.is_empty() => {
                    stream.write_all(b"354 go on\r\n").await?;
                    let content = content(&mut stream).await?;
                    let mail = std::mem::take(mail);
                    match self.content(&link, mail, &content).await {
                        Some(reply) => {
                            self.ends(&link);
                            reply
                        }
                        None => return Ok(()),
                    }
                }
                ("RSET", _) => {
                    mail = None;
                    self.ends(&link);
                    "250 2.0.0 ok".to_owned()
                }
                ("QUIT", _) => return stream.write_all(b"221 2.0.0 bye\r\n").await,
                _ => "503 5.5.1 not now".to_owned(),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
    }

    /// A transaction begins: are there too many?
    fn begins(&self, link: &Arc<Mutex<Link>>, transactions: u32) {
        let caps = site::caps_of(self.number);
        let mut under_way = self.under_way.lock().expect("nothing panics while it holds them");
        under_way.retain(|other| {
            let other = lock(&other.link);
            !other.is_reset && other.open[0]
        });
        let now = self.clock.now();
        if !under_way.iter().any(|other| Arc::ptr_eq(&other.link, link)) {
            under_way.push(UnderWay { link: Arc::clone(link), begun: now });
        }
        let count = under_way.iter().filter(|other| !self.is_unknown(other, now)).count();
        if count > caps.concurrency as usize {
            let seen = format!("{} has {count} transactions at once", site::SERVERS[self.number]);
            self.book.wrong(now, "concurrency", seen);
        }
        if transactions > caps.messages_per_connection {
            let seen = format!("{} gets message {transactions} over one connection", site::SERVERS[self.number]);
            self.book.wrong(self.clock.now(), "messages per connection", seen);
        }
    }

    /// Returns true if another node may own the customer's mail by now, which cannot know of this transaction.
    fn is_unknown(&self, other: &UnderWay, now: Duration) -> bool {
        let node = lock(&other.link).machine;
        !site::is_shared(self.number) && self.book.facts().was_in_trouble(node, other.begun, now)
    }

    fn ends(&self, link: &Arc<Mutex<Link>>) {
        let mut under_way = self.under_way.lock().expect("nothing panics while it holds them");
        under_way.retain(|other| !Arc::ptr_eq(&other.link, link));
    }

    fn recipient(&self, line: &str, mail: &mut Mail) -> String {
        let address = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        // A notification goes to a sender, who takes it.
        let (token, fate) = match address.split('@').next().and_then(|local| local.rsplit_once('-')) {
            Some((rest, fate)) => {
                (rest.split('-').next().unwrap_or_default(), Fate::parse(fate).unwrap_or(Fate::Taken))
            }
            None => ("", Fate::Taken),
        };
        *self.book.facts().heard_of.entry(self.number).or_default() += 1;
        let times = self.book.tried(&address);
        match fate {
            Fate::Later(most) if times < most => {
                self.book.put_off(&address, self.clock.now());
                "451 4.7.1 later".to_owned()
            }
            Fate::Never => {
                self.book.refused(&address);
                "550 5.1.1 nobody".to_owned()
            }
            _ => {
                let most = site::caps_of(self.number).recipients_per_transaction;
                if mail.recipients.len() >= most as usize {
                    let seen = format!("{} gets more than {most} recipients", site::SERVERS[self.number]);
                    self.book.wrong(self.clock.now(), "recipients per transaction", seen);
                }
                mail.recipients.push((token.to_owned(), address, fate));
                "250 2.1.5 ok".to_owned()
            }
        }
    }

    /// The content has come. `None` if the server closes the connection in place of its answer.
    async fn content(&self, link: &Arc<Mutex<Link>>, mail: Mail, content: &[u8]) -> Option<String> {
        let now = self.clock.now();
        let dot = now;
        let is_of_mail = self.number != site::SENDERS;
        if is_of_mail {
            self.look_at_signature(content).await;
        } else {
            self.book.notification(now, &String::from_utf8_lossy(content));
        }
        let mut slowest = 0;
        for (_, address, fate) in &mail.recipients {
            match fate {
                Fate::LaterAtDot(most) if self.book.tried_at_dot(address) < *most => {
                    mail.recipients.iter().for_each(|(_, address, _)| self.book.put_off(address, now));
                    return Some("451 4.3.0 later".to_owned());
                }
                Fate::Slow(seconds) => slowest = slowest.max(*seconds),
                _ => {}
            }
        }
        let loses = mail
            .recipients
            .iter()
            .any(|(_, address, fate)| matches!(fate, Fate::Lost(most) if self.book.lost(address) < *most));
        tokio::time::sleep(Duration::from_secs(slowest.into())).await;
        let now = self.clock.now();
        // The relay has heard the answer once it has read this much. An answer that is never sent is never heard.
        let reply = "250 2.0.0 taken".to_owned();
        let heard_at = if loses { u64::MAX } else { lock(link).written(0) + reply.len() as u64 };
        let takes = mail.recipients.into_iter().map(|(token, address, _)| Take {
            server: self.number,
            token,
            address,
            begun: mail.begun,
            dot,
            at: now,
            link: Arc::clone(link),
            heard_at,
        });
        self.book.takes(takes.collect());
        (!loses).then_some(reply)
    }

    async fn look_at_signature(&self, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        let from = text.lines().find_map(|line| line.strip_prefix("From: <")).unwrap_or_default();
        let domain = from.trim_end_matches('>').split('@').nth(1).unwrap_or_default();
        let Some(record) = site::record_of(domain) else {
            return self.book.wrong(self.clock.now(), "signature", format!("mail comes from {from:?}"));
        };
        let checks = verify(content, Keys::Record(record)).await.unwrap_or_default();
        if !checks.iter().any(|check| check.domain == domain && check.result.is_ok()) {
            self.book.wrong(self.clock.now(), "signature", format!("no signature of {domain} verifies: {checks:?}"));
        }
    }
}

/// A connection's transaction ends with it.
struct Leaves<'a> {
    server: &'a Server,
    link: &'a Arc<Mutex<Link>>,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.server.ends(self.link);
    }
}

/// Reads up to the final dot.
async fn content(stream: &mut BufReader<Stream>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let begin = content.len();
        if stream.read_until(b'\n', &mut content).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if &content[begin..] == b".\r\n" {
            content.truncate(begin);
            return Ok(content);
        }
        if content[begin] == b'.' {
            content.remove(begin);
        }
    }
}

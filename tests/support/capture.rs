//! A receiving SMTP server that keeps every octet it gets. It uses plaintext, accepts any login, and has one thread for each connection.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A received message.
#[derive(Clone, Debug)]
pub struct Received {
    /// The argument of MAIL FROM, brackets included.
    pub from: String,
    /// The arguments of RCPT TO.
    pub to: Vec<String>,
    /// The content, without dot stuffing and without the final dot.
    pub content: Vec<u8>,
    /// When its 250 was written.
    pub at: Instant,
}

impl Received {
    /// Returns the header block with its last CRLF.
    pub fn header(&self) -> &[u8] {
        let end = memchr::memmem::find(&self.content, b"\r\n\r\n").expect("a message has a blank line");
        &self.content[..end + 2]
    }

    /// Returns the content after the blank line.
    pub fn body(&self) -> &[u8] {
        &self.content[self.header().len() + 2..]
    }
}

/// The server's answer to a command line, or to the content (`.`). `None` leaves the answer to the server.
pub type Script = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The server. It stops when dropped.
pub struct Capture {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    changed: Condvar,
    stopped: AtomicBool,
    script: Script,
    pause: Mutex<Duration>,
    /// The number of running transactions, and the maximum number at once.
    under_way: Mutex<(usize, usize)>,
}

/// A transaction from MAIL to its last reply.
struct Transaction<'a>(&'a Shared);

impl<'a> Transaction<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut under_way = shared.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
        Transaction(shared)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().0 -= 1;
    }
}

impl Capture {
    /// Accepts everything, on a free port.
    pub fn start() -> Capture {
        Capture::at(std::net::Ipv4Addr::LOCALHOST.into())
    }

    /// The same at another address.
    pub fn at(address: std::net::IpAddr) -> Capture {
        Capture::scripted(&SocketAddr::new(address, 0).to_string(), Box::new(|_| None))
    }

    /// Starts at an address, with a script.
    pub fn scripted(address: &str, script: Script) -> Capture {
        let listener = TcpListener::bind(address).expect("a port to receive on");
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            script,
            pause: Mutex::default(),
            under_way: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || converse(stream, &serving));
            }
        });
        Capture { address, shared }
    }

    /// Delays every message's 250 by this time from now on.
    pub fn answer_after(&self, pause: Duration) {
        *self.shared.pause.lock().unwrap() = pause;
    }

    /// Returns the messages so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns the maximum number of transactions at once since the previous call.
    pub fn most_at_once(&self) -> usize {
        let mut under_way = self.shared.under_way.lock().unwrap();
        let most = under_way.1;
        under_way.1 = under_way.0;
        most
    }

    /// Waits until `count` messages have arrived. Panics after `timeout`, with the messages so far.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Vec<Received> {
        let received = self.shared.received.lock().unwrap();
        let (received, result) =
            self.shared.changed.wait_timeout_while(received, timeout, |r| r.len() < count).unwrap();
        assert!(!result.timed_out(), "{} of {count} messages arrived within {timeout:?}", received.len());
        received.clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn converse(stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut transaction = None;
    let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes()).ok();
    say("220 capture ESMTP")?;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 || shared.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let line = line.trim_end();
        if let Some(answer) = (shared.script)(line) {
            if answer.is_empty() {
                return None; // the script hangs up
            }
            say(&answer)?;
            continue;
        }
        match line.split([' ', ':']).next()?.to_ascii_uppercase().as_str() {
            "EHLO" => say(
                "250-capture\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250 SIZE 100000000",
            )?,
            "AUTH" => say("235 2.7.0 welcome")?,
            "MAIL" => {
                from = argument(line);
                to.clear();
                drop(transaction.take());
                transaction = Some(Transaction::begin(shared));
                say("250 2.1.0 ok")?;
            }
            "RCPT" => {
                to.push(argument(line));
                say("250 2.1.5 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                let content = read_content(&mut input)?;
                // Read it first: a lock held while sleeping would make the connections wait for each other.
                let pause = *shared.pause.lock().unwrap();
                std::thread::sleep(pause);
                let answer = (shared.script)(".").unwrap_or_else(|| "250 2.0.0 taken".to_owned());
                if answer.starts_with('2') {
                    let received = Received { from: from.clone(), to: to.clone(), content, at: Instant::now() };
                    shared.received.lock().unwrap().push(received);
                    shared.changed.notify_all();
                }
                // Before the reply, because the next transaction may begin with it.
                drop(transaction.take());
                say(&answer)?;
            }
            "QUIT" => {
                say("221 bye")?;
                return None;
            }
            _ => say("250 ok")?,
        }
    }
}

fn argument(line: &str) -> String {
    let after = line.split_once(':').map_or("", |(_, after)| after).trim_start();
    after.split_inclusive('>').next().unwrap_or_default().to_owned()
}

fn read_content(input: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let start = content.len();
        if input.read_until(b'\n', &mut content).ok()? == 0 {
            return None;
        }
        if content[start..] == *b".\r\n" {
            content.truncate(start);
            return Some(content);
        }
        if content[start] == b'.' {
            content.remove(start);
        }
    }
}

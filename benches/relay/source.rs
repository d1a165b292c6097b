//! The source: many SMTP sessions in one thread that submit as fast as they are answered (closed loop) or at a fixed rate
//! (open loop), and write down when each message was due, begun, sent and answered.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::clock;
use super::mail::{self, Shape, Template};
use super::wire::{Auth, Tls, Wire, client_config};

/// What to send, where and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The address of the relay.
    pub target: SocketAddr,
    /// Tells this run's messages from those of others; letters and digits.
    pub run: String,
    /// How many messages.
    pub messages: u64,
    /// Connections at once.
    pub sessions: usize,
    /// Messages a connection; 0 keeps connections to the end. With 1 the connection is closed without QUIT, as .NET does.
    pub per_connection: u64,
    /// Messages a second; as fast as possible if absent.
    pub rate: Option<f64>,
    /// Recipients of each message.
    pub recipients: usize,
    /// Send MAIL, RCPT and DATA in one write (smtp-source and .NET don't).
    pub pipelining: bool,
    /// Whether the source uses TLS.
    pub tls: Tls,
    /// Whom to trust under TLS.
    pub ca: Option<PathBuf>,
    /// How the source logs in.
    pub auth: Auth,
    /// The name to log in with.
    pub username: String,
    /// The password to log in with.
    pub password: String,
    /// What the messages look like.
    pub shape: Shape,
    /// Domain of the From field and of MAIL FROM.
    pub from_domain: String,
}

/// One message's times, in [`clock`] microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The number of the message, counted from the start of the run.
    pub number: u64,
    /// When it should have begun: its place in the schedule if the sessions were late because the relay was; otherwise
    /// when it did begin. This is the correction for coordinated omission.
    pub due: u64,
    /// When MAIL FROM (or the connection, if it needed one) was begun.
    pub began: u64,
    /// When the final dot had been handed to the kernel.
    pub end_of_data: u64,
    /// When the reply to it had been read.
    pub answered: u64,
    /// That reply's code; 0 if the connection broke between (the message's fate is unknown).
    pub code: u16,
    /// How often it was refused for now (4xx) before.
    pub refused: u32,
}

/// What the source knows at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Every message that was tried to its end.
    pub sent: Vec<Sent>,
    /// How many connections the source made.
    pub connections: u64,
    /// Of these, how many resumed TLS.
    pub resumed: u64,
    /// What went wrong, the first few.
    pub failures: Vec<String>,
    /// CPU the source itself used, in microseconds.
    pub cpu_us: u64,
}

/// A session that fails this often in a row gives up.
const FAILURES_IN_A_ROW: u32 = 20;
/// Pause after a 4xx or a broken connection.
const PAUSE: Duration = Duration::from_millis(50);
/// A connection that the kernel says is there, but that a full backlog swallowed, never greets.
const GREETING: Duration = Duration::from_secs(10);
/// RFC 5321 §4.5.3.2 allows ten minutes; a load that stands still for one has failed.
const ATTEMPT: Duration = Duration::from_secs(60);

struct Shared {
    settings: Settings,
    templates: Vec<Template>,
    tls: Option<Arc<rustls::ClientConfig>>,
    recipients: Vec<String>,
    start: u64,
    next: Cell<u64>,
    report: RefCell<Report>,
}

/// Sends everything. `progress` hears the count of answered messages about ten times a second.
pub async fn run(settings: Settings, mut progress: impl FnMut(u64)) -> anyhow::Result<Report> {
    let tls = match (&settings.tls, &settings.ca) {
        (Tls::Off, _) => None,
        (_, Some(ca)) => Some(client_config(ca)?),
        (_, None) => anyhow::bail!("TLS needs a CA file"),
    };
    let shared = Rc::new(Shared {
        templates: mail::templates(settings.shape, &settings.run, &settings.from_domain),
        tls,
        recipients: (0..settings.recipients).map(|i| format!("r{i}@example.net")).collect(),
        start: clock::now(),
        next: Cell::new(0),
        report: RefCell::default(),
        settings,
    });
    let cpu = clock::thread_cpu_ns();
    let local = LocalSet::new();
    for _ in 0..shared.settings.sessions {
        let shared = Rc::clone(&shared);
        // A ticket store of its own: a shared one keeps eight tickets, and sessions that come in bursts would find it empty.
        let tls = shared.tls.as_ref().map(|config| {
            let mut own = (**config).clone();
            own.resumption = rustls::client::Resumption::in_memory_sessions(8);
            Arc::new(own)
        });
        local.spawn_local(async move { session(&shared, tls).await });
    }
    let watched = Rc::clone(&shared);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut all = std::pin::pin!(local);
    loop {
        tokio::select! {
            () = all.as_mut() => break,
            _ = tick.tick() => progress(watched.report.borrow().sent.len() as u64),
        }
    }
    let mut report = shared.report.take();
    report.cpu_us = (clock::thread_cpu_ns() - cpu) / 1_000;
    progress(report.sent.len() as u64);
    Ok(report)
}

/// One session: connections in a row until there is no message left.
async fn session(shared: &Shared, tls: Option<Arc<rustls::ClientConfig>>) {
    let mut connection: Option<(Wire, u64)> = None;
    let mut data = Vec::new();
    let mut free_at = shared.start;
    let mut failed = 0;
    while let Some(number) = shared.take_number() {
        let due = shared.due(number);
        tokio::time::sleep(clock::until(due)).await;
        let mut sent = Sent { number, due, began: 0, end_of_data: 0, answered: 0, code: 0, refused: 0 };
        let first_began = clock::now();
        // A session that sat idle and was only woken late by its own timer does not charge that to the relay.
        sent.due = if free_at > due { due } else { first_began };
        loop {
            sent.began = clock::now();
            match in_time(ATTEMPT, attempt(shared, tls.as_ref(), &mut connection, &mut sent, &mut data)).await {
                Ok(()) if (400..500).contains(&sent.code) => {
                    sent.refused += 1;
                    failed = 0;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(()) => {
                    failed = 0;
                    break;
                }
                Err(error) => {
                    connection = None;
                    failed += 1;
                    shared.failed(number, &error);
                    // After the final dot nobody knows; sending again might make a duplicate that is our own.
                    if sent.end_of_data != 0 || failed >= FAILURES_IN_A_ROW {
                        sent.code = 0;
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        sent.answered = clock::now();
        free_at = sent.answered;
        shared.report.borrow_mut().sent.push(sent);
        if failed >= FAILURES_IN_A_ROW {
            return;
        }
        let limit = shared.settings.per_connection;
        if let Some((wire, count)) = &mut connection
            && limit != 0
            && *count >= limit
        {
            if limit > 1 {
                // Whoever waits for the 221 loses a round trip; nothing depends on it.
                let _ = wire.send(b"QUIT\r\n").await;
            }
            connection = None;
        }
    }
    if let Some((mut wire, _)) = connection {
        let _ = wire.send(b"QUIT\r\n").await;
    }
}

/// One transaction, on the connection there is or on a new one. `sent.code` is the reply that ended it.
async fn attempt(
    shared: &Shared,
    tls: Option<&Arc<rustls::ClientConfig>>,
    connection: &mut Option<(Wire, u64)>,
    sent: &mut Sent,
    data: &mut Vec<u8>,
) -> io::Result<()> {
    sent.end_of_data = 0;
    let (wire, count) = match connection {
        Some(open) => open,
        none => none.insert((connect(shared, tls).await?, 0)),
    };
    let domain = &shared.settings.from_domain;
    let template = &shared.templates[(sent.number % shared.templates.len() as u64) as usize];
    if shared.settings.pipelining {
        let mut commands = format!("MAIL FROM:<bounce@{domain}> SIZE={}\r\n", template.len());
        for recipient in &shared.recipients {
            commands.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        commands.push_str("DATA\r\n");
        wire.send(commands.as_bytes()).await?;
        let mut refusal = None;
        for _ in 0..=shared.recipients.len() {
            let code = wire.reply().await?;
            refusal = refusal.or((code != 250).then_some(code));
        }
        let code = wire.reply().await?;
        if let Some(refusal) = refusal.or((code != 354).then_some(code)) {
            if code == 354 {
                wire.send(b".\r\n").await?;
                wire.reply().await?;
            }
            return reset(wire, sent, refusal).await;
        }
    } else {
        wire.send(format!("MAIL FROM:<bounce@{domain}>\r\n").as_bytes()).await?;
        let mut code = wire.reply().await?;
        for recipient in &shared.recipients {
            if code == 250 {
                wire.send(format!("RCPT TO:<{recipient}>\r\n").as_bytes()).await?;
                code = wire.reply().await?;
            }
        }
        if code == 250 {
            wire.send(b"DATA\r\n").await?;
            code = wire.reply().await?;
        }
        if code != 354 {
            return reset(wire, sent, code).await;
        }
    }
    template.write(sent.number, data);
    wire.send(data).await?;
    sent.end_of_data = clock::now();
    sent.code = wire.reply().await?;
    *count += 1;
    Ok(())
}

async fn in_time<T>(limit: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// After a refusal: back to where a transaction can begin.
async fn reset(wire: &mut Wire, sent: &mut Sent, code: u16) -> io::Result<()> {
    if code == 421 {
        return Err(io::Error::other("421: the relay closed the connection"));
    }
    sent.code = code;
    wire.send(b"RSET\r\n").await?;
    match wire.reply().await? {
        250 => Ok(()),
        other => Err(io::Error::other(format!("RSET was answered {other}"))),
    }
}

async fn connect(shared: &Shared, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Wire> {
    let settings = &shared.settings;
    let mut wire = Wire::new(TcpStream::connect(settings.target).await?)?;
    if let (Tls::Implicit, Some(tls)) = (settings.tls, tls) {
        wire.connect_tls(tls).await?;
    }
    expect(in_time(GREETING, wire.reply()).await?, 220, "the greeting")?;
    hello(&mut wire).await?;
    if let (Tls::Starttls, Some(tls)) = (settings.tls, tls) {
        wire.send(b"STARTTLS\r\n").await?;
        expect(wire.reply().await?, 220, "STARTTLS")?;
        wire.connect_tls(tls).await?;
        hello(&mut wire).await?;
    }
    match settings.auth {
        Auth::Off => {}
        Auth::Plain => {
            let token = STANDARD.encode(format!("\0{}\0{}", settings.username, settings.password));
            wire.send(format!("AUTH PLAIN {token}\r\n").as_bytes()).await?;
            expect(wire.reply().await?, 235, "AUTH PLAIN")?;
        }
        Auth::Login => {
            wire.send(format!("AUTH login {}\r\n", STANDARD.encode(&settings.username)).as_bytes()).await?;
            expect(wire.reply().await?, 334, "AUTH login")?;
            wire.send(format!("{}\r\n", STANDARD.encode(&settings.password)).as_bytes()).await?;
            expect(wire.reply().await?, 235, "the password")?;
        }
    }
    let mut report = shared.report.borrow_mut();
    report.connections += 1;
    report.resumed += u64::from(wire.resumed());
    Ok(wire)
}

async fn hello(wire: &mut Wire) -> io::Result<()> {
    wire.send(b"EHLO source.example.net\r\n").await?;
    expect(wire.reply().await?, 250, "EHLO")
}

fn expect(code: u16, wanted: u16, what: &str) -> io::Result<()> {
    if code == wanted { Ok(()) } else { Err(io::Error::other(format!("{what}: {code} instead of {wanted}"))) }
}

impl Shared {
    fn take_number(&self) -> Option<u64> {
        let number = self.next.get();
        self.next.set(number + 1);
        (number < self.settings.messages).then_some(number)
    }

    /// Its place in the schedule; in closed loop, now.
    fn due(&self, number: u64) -> u64 {
        match self.settings.rate {
            Some(rate) => self.start + (number as f64 * 1e6 / rate) as u64,
            None => clock::now(),
        }
    }

    fn failed(&self, number: u64, error: &io::Error) {
        let mut report = self.report.borrow_mut();
        if report.failures.len() < 20 {
            report.failures.push(format!("message {number}: {error}"));
        }
    }
}

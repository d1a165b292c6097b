//! The sink: an SMTP server in one thread that accepts everything, records the times, and can be slow or unfriendly.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postbud::load::{Auth, Tls, Wire, clock};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::mail;
use super::server::{accept_tls, server_config};

/// How the sink behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Where to listen; port 0 picks one.
    pub listen: String,
    /// This run's name; other messages are counted as strangers.
    pub run: String,
    /// Wait this long before answering the final dot, in milliseconds.
    pub delay_ms: u64,
    /// The share of transactions refused with 451 at RCPT, 0 to 1.
    pub defer: f64,
    /// The share of transactions where the connection is dropped at MAIL, 0 to 1.
    pub drop: f64,
    /// Whether the sink offers TLS.
    pub tls: Tls,
    /// Certificate chain under TLS.
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate.
    pub private_key: Option<PathBuf>,
    /// What clients must do before MAIL; with anything but [`Auth::Off`] the credentials below are checked.
    pub auth: Auth,
    /// The name that clients log in with.
    pub username: String,
    /// The password that clients log in with.
    pub password: String,
    /// Keep every n-th message whole, for the signature check.
    pub sample_every: u64,
}

/// One recipient's copy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// The message's number.
    pub number: u64,
    /// Which recipient (the n of `r<n>@`).
    pub recipient: u32,
    /// When the final dot was read, in [`clock`] microseconds.
    pub at: u64,
    /// Octets, dots still stuffed.
    pub size: u32,
}

/// What the sink knows at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Every copy taken.
    pub arrivals: Vec<Arrival>,
    /// Messages that were not of this run.
    pub strangers: u64,
    /// How many connections the sink took.
    pub connections: u64,
    /// Of these, how many resumed TLS.
    pub resumed: u64,
    /// Transactions refused with 451.
    pub deferred: u64,
    /// Connections dropped on purpose.
    pub dropped: u64,
    /// Whole messages, dots removed.
    #[serde(skip)]
    pub samples: Vec<Vec<u8>>,
    /// CPU the sink itself used, in microseconds.
    pub cpu_us: u64,
}

struct Shared {
    settings: Settings,
    tls: Option<Arc<rustls::ServerConfig>>,
    dice: Cell<u64>,
    report: RefCell<Report>,
}

/// Serves until `stop` is done. `progress` hears the count of copies taken about ten times a second.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<Report> {
    let tls = match (&settings.tls, &settings.certificate, &settings.private_key) {
        (Tls::Off, _, _) => None,
        (_, Some(chain), Some(key)) => Some(server_config(chain, key)?),
        _ => anyhow::bail!("TLS needs a certificate and its key"),
    };
    let shared = Rc::new(Shared { settings, tls, dice: Cell::new(0x9E37_79B9_7F4A_7C15), report: RefCell::default() });
    let cpu = clock::thread_cpu_ns();
    let local = LocalSet::new();
    let serving = Rc::clone(&shared);
    local
        .run_until(async {
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            let mut stop = std::pin::pin!(stop);
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (socket, _) = accepted?;
                        let shared = Rc::clone(&serving);
                        // How a connection ends tells nothing: the relay may close it as it likes.
                        tokio::task::spawn_local(async move { connection(&shared, socket).await });
                    }
                    _ = tick.tick() => progress(serving.report.borrow().arrivals.len() as u64),
                    () = stop.as_mut() => return io::Result::Ok(()),
                }
            }
        })
        .await?;
    let mut report = shared.report.take();
    report.cpu_us = (clock::thread_cpu_ns() - cpu) / 1_000;
    progress(report.arrivals.len() as u64);
    Ok(report)
}

/// What a connection knows between commands.
#[derive(Default)]
struct Session {
    authenticated: bool,
    name_due: bool,
    tls: bool,
    recipients: Vec<u32>,
    refuse: bool,
    replies: Vec<u8>,
}

/// What the caller does after a command.
enum Next {
    Command,
    Data,
    Starttls,
    Challenge,
    Close,
}

async fn connection(shared: &Shared, socket: TcpStream) -> io::Result<()> {
    let mut wire = Wire::new(socket)?;
    let mut session = Session::default();
    if let (Tls::Implicit, Some(tls)) = (shared.settings.tls, &shared.tls) {
        accept_tls(&mut wire, tls).await?;
        session.tls = true;
    }
    shared.report.borrow_mut().connections += 1;
    session.replies.extend_from_slice(b"220 sink.example.net ESMTP\r\n");
    loop {
        let Some(len) = wire.line_len() else {
            // All commands that came together are answered together.
            if !session.replies.is_empty() {
                wire.send(&session.replies).await?;
                session.replies.clear();
            }
            wire.fill().await?;
            continue;
        };
        let next = command(shared, &mut session, &wire.pending()[..len]);
        wire.take(len);
        match next {
            Next::Command => {}
            Next::Close => {
                wire.send(&session.replies).await?;
                return Ok(());
            }
            Next::Starttls => {
                let Some(tls) = &shared.tls else { return Ok(()) };
                wire.send(&session.replies).await?;
                accept_tls(&mut wire, tls).await?;
                session = Session { tls: true, ..Session::default() };
                shared.report.borrow_mut().resumed += u64::from(wire.resumed());
            }
            Next::Challenge => challenge(shared, &mut session, &mut wire).await?,
            Next::Data => {
                wire.send(&session.replies).await?;
                session.replies.clear();
                data(shared, &mut session, &mut wire).await?;
            }
        }
    }
}

fn command(shared: &Shared, session: &mut Session, line: &[u8]) -> Next {
    let settings = &shared.settings;
    let mut verb = [0; 4];
    let n = line.len().min(4);
    verb[..n].copy_from_slice(&line[..n]);
    verb.make_ascii_uppercase();
    let answer: &[u8] = match &verb {
        b"MAIL" if settings.auth != Auth::Off && !session.authenticated => b"530 5.7.0 authenticate first\r\n",
        b"MAIL" => {
            if shared.roll(settings.drop) {
                shared.report.borrow_mut().dropped += 1;
                return Next::Close;
            }
            session.recipients.clear();
            session.refuse = shared.roll(settings.defer);
            if session.refuse {
                shared.report.borrow_mut().deferred += 1;
            }
            b"250 2.1.0 ok\r\n"
        }
        b"RCPT" if session.refuse => b"451 4.7.1 not now\r\n",
        b"RCPT" => {
            session.recipients.push(recipient_index(line));
            b"250 2.1.5 ok\r\n"
        }
        b"DATA" if session.recipients.is_empty() => b"503 5.5.1 no recipients\r\n",
        b"DATA" => {
            session.replies.extend_from_slice(b"354 go on\r\n");
            return Next::Data;
        }
        b"EHLO" => {
            session.replies.extend_from_slice(b"250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n");
            if settings.tls == Tls::Starttls && !session.tls {
                session.replies.extend_from_slice(b"250-STARTTLS\r\n");
            }
            if settings.auth != Auth::Off && (session.tls || settings.tls == Tls::Off) {
                session.replies.extend_from_slice(b"250-AUTH PLAIN LOGIN\r\n");
            }
            b"250-SIZE 52428800\r\n250 ENHANCEDSTATUSCODES\r\n"
        }
        b"HELO" => b"250 sink.example.net\r\n",
        b"AUTH" => return authenticate(settings, session, line),
        b"STAR" if shared.tls.is_some() && !session.tls => {
            session.replies.extend_from_slice(b"220 2.0.0 go on\r\n");
            return Next::Starttls;
        }
        b"RSET" | b"NOOP" => {
            session.recipients.clear();
            b"250 2.0.0 ok\r\n"
        }
        b"QUIT" => {
            session.replies.extend_from_slice(b"221 2.0.0 bye\r\n");
            return Next::Close;
        }
        _ => b"502 5.5.1 not here\r\n",
    };
    session.replies.extend_from_slice(answer);
    Next::Command
}

/// The n of `r<n>@`, so that a copy can be told from a duplicate.
fn recipient_index(line: &[u8]) -> u32 {
    let digits = line.iter().skip_while(|b| **b != b'<').skip(2).take_while(|b| b.is_ascii_digit());
    digits.fold(0, |n: u32, d| n.wrapping_mul(10).wrapping_add(u32::from(d - b'0')))
}

fn authenticate(settings: &Settings, session: &mut Session, line: &[u8]) -> Next {
    let words: Vec<&[u8]> = line.trim_ascii().split(|b| *b == b' ').collect();
    let plain = STANDARD.encode(format!("\0{}\0{}", settings.username, settings.password));
    match words.as_slice() {
        [_, mechanism, token] if mechanism.eq_ignore_ascii_case(b"PLAIN") => {
            session.authenticated = *token == plain.as_bytes();
            session.answer_auth();
            Next::Command
        }
        [_, mechanism, ..] if mechanism.eq_ignore_ascii_case(b"LOGIN") => {
            let step: &[u8] = if words.len() > 2 { b"334 UGFzc3dvcmQ6\r\n" } else { b"334 VXNlcm5hbWU6\r\n" };
            session.replies.extend_from_slice(step);
            session.name_due = words.len() == 2;
            session.authenticated =
                words.get(2).is_none_or(|name| *name == STANDARD.encode(&settings.username).as_bytes());
            Next::Challenge
        }
        _ => {
            session.replies.extend_from_slice(b"504 5.5.4 unknown mechanism\r\n");
            Next::Command
        }
    }
}

/// The steps of AUTH LOGIN that follow the first line.
async fn challenge(shared: &Shared, session: &mut Session, wire: &mut Wire) -> io::Result<()> {
    wire.send(&session.replies).await?;
    session.replies.clear();
    if session.name_due {
        session.name_due = false;
        session.authenticated = credential(wire, &shared.settings.username).await?;
        wire.send(b"334 UGFzc3dvcmQ6\r\n").await?;
    }
    session.authenticated &= credential(wire, &shared.settings.password).await?;
    session.answer_auth();
    Ok(())
}

async fn credential(wire: &mut Wire, expected: &str) -> io::Result<bool> {
    let len = loop {
        match wire.line_len() {
            Some(len) => break len,
            None => wire.fill().await?,
        }
    };
    let right = wire.pending()[..len].trim_ascii() == STANDARD.encode(expected).as_bytes();
    wire.take(len);
    Ok(right)
}

impl Session {
    fn answer_auth(&mut self) {
        self.replies.extend_from_slice(if self.authenticated {
            b"235 2.7.0 welcome\r\n"
        } else {
            b"535 5.7.8 wrong credentials\r\n"
        });
    }
}

/// Reads a message to its final dot and answers it. Of a large message only what is needed stays in memory.
async fn data(shared: &Shared, session: &mut Session, wire: &mut Wire) -> io::Result<()> {
    const END: &[u8] = b"\r\n.\r\n";
    /// The header block and a signature or two fit in here.
    const HEADER: usize = 64 * 1024;
    let mut searched = 0;
    let mut dropped = 0;
    let mut number = None;
    let len = loop {
        let pending = wire.pending();
        if let Some(at) = memchr::memmem::find(&pending[searched..], END) {
            break searched + at + END.len();
        }
        searched = pending.len().saturating_sub(END.len() - 1);
        if number.is_none() && pending.len() >= HEADER {
            number = mail::number(pending, &shared.settings.run);
        }
        if searched >= 4 * HEADER && !number.is_some_and(|number| shared.sampled(number)) {
            wire.take(searched);
            dropped += searched;
            searched = 0;
        }
        wire.fill().await?;
    };
    let at = clock::now();
    let rest = &wire.pending()[..len - b".\r\n".len()];
    let number = number.or_else(|| mail::number(rest, &shared.settings.run));
    shared.arrived(session, number, rest, dropped, at);
    wire.take(len);
    if shared.settings.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(shared.settings.delay_ms)).await;
    }
    session.recipients.clear();
    session.replies.extend_from_slice(b"250 2.0.0 taken\r\n");
    Ok(())
}

impl Shared {
    fn arrived(&self, session: &Session, number: Option<u64>, message: &[u8], dropped: usize, at: u64) {
        let mut report = self.report.borrow_mut();
        let Some(number) = number else {
            report.strangers += 1;
            return;
        };
        let size = u32::try_from(dropped + message.len()).unwrap_or(u32::MAX);
        report.arrivals.extend(session.recipients.iter().map(|&recipient| Arrival { number, recipient, at, size }));
        if dropped == 0 && self.sampled(number) {
            report.samples.push(unstuff(message));
        }
    }

    fn sampled(&self, number: u64) -> bool {
        self.settings.sample_every != 0 && number.is_multiple_of(self.settings.sample_every)
    }

    /// True with probability `share`, in an order that is the same in every run.
    fn roll(&self, share: f64) -> bool {
        if share <= 0.0 {
            return false;
        }
        let mut x = self.dice.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.dice.set(x);
        ((x >> 11) as f64 / (1u64 << 53) as f64) < share
    }
}

/// RFC 5321 §4.5.2, the receiving side.
fn unstuff(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut from = usize::from(message.first() == Some(&b'.'));
    for at in memchr::memmem::find_iter(message, b"\r\n.") {
        out.extend_from_slice(&message[from..at + 2]);
        from = at + 3;
    }
    out.extend_from_slice(&message[from..]);
    out
}

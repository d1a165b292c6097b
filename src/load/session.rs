//! One session of a load: makes one connection after the other until no message is left.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::wire::{Auth, Tls, Wire};
use super::{Sent, Settings, Shared, clock};

/// A session gives up after this many failures in a row.
const FAILURES_IN_A_ROW: u32 = 20;
/// The pause after a 4xx reply or a broken connection.
const PAUSE: Duration = Duration::from_millis(50);
/// The time limit for the greeting. If a full backlog dropped a connection that the kernel reports as open, no greeting ever comes.
const GREETING: Duration = Duration::from_secs(10);
/// The time limit of an attempt. RFC 5321 §4.5.3.2 allows ten minutes, but a load that stands still for one minute has failed.
const ATTEMPT: Duration = Duration::from_secs(60);

/// Why an attempt got no final reply.
enum Fault {
    /// The connection could not be made, broke, or got an unexpected reply.
    Broken(io::Error),
    /// Further attempts would fail, too: a login or a certificate was refused.
    Final(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Broken(error)
    }
}

/// The settings of TLS.
type Trust = (Arc<ClientConfig>, ServerName<'static>);

pub(super) async fn run(shared: &Shared) {
    // Each session has its own ticket store. A shared one keeps eight tickets, which are not enough for bursts of sessions.
    let trust = shared.settings.trust.as_ref().map(|(config, name)| {
        let mut own = (**config).clone();
        own.resumption = rustls::client::Resumption::in_memory_sessions(8);
        (Arc::new(own), name.clone())
    });
    let mut session = LoadSession { shared, trust, connection: None, data: Vec::new(), failed: 0 };
    let mut free_at = shared.start;
    while let Some(number) = shared.take_number() {
        let due = shared.due(number);
        tokio::select! {
            () = tokio::time::sleep(clock::until(due)) => {}
            () = shared.settings.stop.cancelled() => break,
        }
        let mut sent = Sent { number, due, began: 0, end_of_data: 0, answered: 0, code: 0, refused: 0 };
        let first_began = clock::now();
        // If the session was idle and its own timer woke it late, the relay is not charged for that delay.
        sent.due = if free_at > due { due } else { first_began };
        session.send(&mut sent).await;
        sent.answered = clock::now();
        free_at = sent.answered;
        shared.sent(&sent);
        if session.failed >= FAILURES_IN_A_ROW {
            return;
        }
        session.keep_to_limit().await;
    }
    if let Some((mut wire, _)) = session.connection {
        let _ = wire.send(b"QUIT\r\n").await;
    }
}

struct LoadSession<'a> {
    shared: &'a Shared,
    trust: Option<Trust>,
    /// The open connection, and the number of messages that it has carried.
    connection: Option<(Wire, u64)>,
    /// Holds the content of the message that is sent.
    data: Vec<u8>,
    /// The number of failed attempts in a row.
    failed: u32,
}

impl LoadSession<'_> {
    /// Sends a message. After a 4xx reply or a broken connection it is sent again, until its outcome is known or the load ends.
    async fn send(&mut self, sent: &mut Sent) {
        let shared = self.shared;
        loop {
            sent.began = clock::now();
            let attempt = attempt(shared, self.trust.as_ref(), &mut self.connection, sent, &mut self.data);
            match within(ATTEMPT, attempt).await {
                Ok(()) if (400..500).contains(&sent.code) => {
                    self.failed = 0;
                    if shared.settings.stop.is_cancelled() {
                        return;
                    }
                    sent.refused += 1;
                }
                Ok(()) => {
                    self.failed = 0;
                    return;
                }
                Err(fault) => {
                    self.connection = None;
                    self.failed += 1;
                    sent.code = 0;
                    match fault {
                        Fault::Broken(error) => shared.failed(sent.number, &error),
                        Fault::Final(why) => shared.end(why),
                    }
                    // After the final dot the outcome is unknown, and sending again could make a duplicate.
                    let is_over = shared.settings.stop.is_cancelled() || self.failed >= FAILURES_IN_A_ROW;
                    if sent.end_of_data != 0 || is_over {
                        return;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends the connection once it has carried as many messages as it may.
    async fn keep_to_limit(&mut self) {
        let limit = self.shared.settings.per_connection;
        if let Some((wire, count)) = &mut self.connection
            && limit != 0
            && *count >= limit
        {
            if limit > 1 {
                // The reply to QUIT is not awaited, because nothing depends on it.
                let _ = wire.send(b"QUIT\r\n").await;
            }
            self.connection = None;
        }
    }
}

/// Makes one attempt, over the present connection or a new one. `sent.code` gets the final reply's code.
async fn attempt(
    shared: &Shared,
    trust: Option<&Trust>,
    connection: &mut Option<(Wire, u64)>,
    sent: &mut Sent,
    data: &mut Vec<u8>,
) -> Result<(), Fault> {
    sent.end_of_data = 0;
    let (wire, count) = match connection {
        Some(open) => open,
        none => none.insert((connect_or_end(shared, trust).await?, 0)),
    };
    let settings = &shared.settings;
    let template = &settings.templates[(sent.number % settings.templates.len() as u64) as usize];
    let refusal = match settings.pipelining {
        true => envelope_at_once(settings, wire, template.octets()).await?,
        false => envelope_by_steps(settings, wire).await?,
    };
    if let Some((verb, code, said)) = refusal {
        shared.refused(verb, &said);
        return Ok(reset(wire, sent, code).await?);
    }
    template.write(sent.number, data);
    wire.send(data).await?;
    sent.end_of_data = clock::now();
    sent.code = wire.reply().await?;
    if sent.code >= 400 {
        shared.refused("the content", &wire.said());
    }
    *count += 1;
    Ok(())
}

/// The command that was refused, with the code and the text of the reply.
type RefusedCommand = (&'static str, u16, String);

/// Sends the envelope and DATA in one flight. Returns the first refusal, if there is one; no content is expected then.
async fn envelope_at_once(settings: &Settings, wire: &mut Wire, octets: usize) -> io::Result<Option<RefusedCommand>> {
    let mut commands = format!("MAIL FROM:<{}> SIZE={octets}\r\n", settings.reverse_path);
    for recipient in &settings.recipients {
        commands.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
    }
    commands.push_str("DATA\r\n");
    wire.send(commands.as_bytes()).await?;
    let mut refusal = None;
    for at in 0..=settings.recipients.len() {
        let verb = if at == 0 { "MAIL" } else { "RCPT" };
        let code = wire.reply().await?;
        refusal = refusal.or_else(|| (code != 250).then(|| (verb, code, wire.said())));
    }
    let code = wire.reply().await?;
    refusal = refusal.or_else(|| (code != 354).then(|| ("DATA", code, wire.said())));
    if refusal.is_some() && code == 354 {
        wire.send(b".\r\n").await?;
        wire.reply().await?;
    }
    Ok(refusal)
}

/// Sends the envelope and DATA, each command after the reply to the one before. Returns the refusal, if one was refused.
async fn envelope_by_steps(settings: &Settings, wire: &mut Wire) -> io::Result<Option<RefusedCommand>> {
    let mut verb = "MAIL";
    wire.send(format!("MAIL FROM:<{}>\r\n", settings.reverse_path).as_bytes()).await?;
    let mut code = wire.reply().await?;
    for recipient in &settings.recipients {
        if code == 250 {
            verb = "RCPT";
            wire.send(format!("RCPT TO:<{recipient}>\r\n").as_bytes()).await?;
            code = wire.reply().await?;
        }
    }
    if code == 250 {
        verb = "DATA";
        wire.send(b"DATA\r\n").await?;
        code = wire.reply().await?;
    }
    Ok((code != 354).then(|| (verb, code, wire.said())))
}

async fn within<E: From<io::Error>, T>(limit: Duration, what: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let in_time = tokio::time::timeout(limit, what).await;
    in_time.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", limit.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
    })
}

/// After a refusal, returns to the state in which a transaction can begin.
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

/// Connects. As long as no connection was ever made, the end of the load ends the wait for it: a host that swallows packets would otherwise
/// keep it for a minute longer.
async fn connect_or_end(shared: &Shared, trust: Option<&Trust>) -> Result<Wire, Fault> {
    tokio::select! {
        connected = connect(shared, trust) => connected,
        () = shared.settings.stop.cancelled(), if !shared.connected.is_cancelled() => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "no connection until the load ended").into())
        }
    }
}

async fn connect(shared: &Shared, trust: Option<&Trust>) -> Result<Wire, Fault> {
    let settings = &shared.settings;
    let mut wire = Wire::new(TcpStream::connect(settings.target).await?)?;
    if let (Tls::Implicit, Some(trust)) = (settings.tls, trust) {
        secure(&mut wire, trust).await?;
    }
    within(GREETING, async { expect(wire.reply().await?, 220, "the greeting", &wire) }).await?;
    hello(shared, &mut wire).await?;
    if let (Tls::Starttls, Some(trust)) = (settings.tls, trust) {
        wire.send(b"STARTTLS\r\n").await?;
        expect(wire.reply().await?, 220, "STARTTLS", &wire)?;
        secure(&mut wire, trust).await?;
        hello(shared, &mut wire).await?;
    }
    match settings.auth {
        Auth::Off => {}
        Auth::Plain => {
            let token = STANDARD.encode(format!("\0{}\0{}", settings.username, settings.password));
            wire.send(format!("AUTH PLAIN {token}\r\n").as_bytes()).await?;
            expect(wire.reply().await?, 235, "the login", &wire)?;
        }
        Auth::Login => {
            wire.send(format!("AUTH login {}\r\n", STANDARD.encode(&settings.username)).as_bytes()).await?;
            expect(wire.reply().await?, 334, "AUTH", &wire)?;
            wire.send(format!("{}\r\n", STANDARD.encode(&settings.password)).as_bytes()).await?;
            expect(wire.reply().await?, 235, "the login", &wire)?;
        }
    }
    shared.connected.cancel();
    let mut report = shared.report.borrow_mut();
    report.connections += 1;
    report.resumed += u64::from(wire.resumed());
    Ok(wire)
}

async fn secure(wire: &mut Wire, (config, name): &Trust) -> Result<(), Fault> {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let done = wire.secure(async |socket| connector.connect(name.clone(), socket).await.map(Into::into)).await;
    done.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Fault::Final(format!("the relay's certificate is not accepted: {why}"))
        }
        Some(_) | None => Fault::Broken(error),
    })
}

async fn hello(shared: &Shared, wire: &mut Wire) -> Result<(), Fault> {
    wire.send(format!("EHLO {}\r\n", shared.settings.hostname).as_bytes()).await?;
    expect(wire.reply().await?, 250, "EHLO", wire)
}

/// Fails if the reply has another code than `wanted`. A permanent refusal ends the load, because it would repeat.
fn expect(code: u16, wanted: u16, what: &str, wire: &Wire) -> Result<(), Fault> {
    match code {
        code if code == wanted => Ok(()),
        500.. => Err(Fault::Final(format!("{what} was refused: {}", wire.said()))),
        _ if wire.said().is_empty() => Err(io::Error::other(format!("{what}: {code} instead of {wanted}")).into()),
        _ => Err(io::Error::other(format!("{what} was answered: {}", wire.said())).into()),
    }
}

//! The source: the library's load ([`postbud::load`]) as a process of its own, told by a file what to send.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postbud::load::{self, Auth, Sent, Tls, client_config};
use serde::{Deserialize, Serialize};

use super::mail::{self, Shape};

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

/// Sends everything. `progress` hears the count of answered messages about ten times a second.
pub async fn run(settings: Settings, mut progress: impl FnMut(u64)) -> anyhow::Result<Report> {
    let trust = match (&settings.tls, &settings.ca) {
        (Tls::Off, _) => None,
        (_, Some(ca)) => {
            let config = client_config(Some(ca)).map_err(anyhow::Error::msg)?;
            Some((Arc::new(config), "localhost".try_into()?))
        }
        (_, None) => anyhow::bail!("TLS needs a CA file"),
    };
    let all = load::Settings {
        target: settings.target,
        hostname: "source.example.net".to_owned(),
        messages: Some(settings.messages),
        duration: None,
        sessions: settings.sessions,
        per_connection: settings.per_connection,
        rate: settings.rate,
        pipelining: settings.pipelining,
        tls: settings.tls,
        trust,
        auth: settings.auth,
        username: settings.username,
        password: settings.password,
        reverse_path: format!("bounce@{}", settings.from_domain),
        recipients: (0..settings.recipients).map(|i| format!("r{i}@example.net")).collect(),
        templates: mail::templates(settings.shape, &settings.run, &settings.from_domain).into(),
        stop: Default::default(),
    };
    let sent: Rc<RefCell<Vec<Sent>>> = Rc::default();
    let seen = Rc::clone(&sent);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut load = std::pin::pin!(load::run(all, move |one| seen.borrow_mut().push(*one)));
    let done = loop {
        tokio::select! {
            done = load.as_mut() => break done,
            _ = tick.tick() => progress(sent.borrow().len() as u64),
        }
    };
    progress(sent.borrow().len() as u64);
    Ok(Report {
        sent: sent.take(),
        connections: done.connections,
        resumed: done.resumed,
        failures: done.ended.into_iter().chain(done.failures).collect(),
        cpu_us: done.cpu_us,
    })
}

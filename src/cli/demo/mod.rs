//! `postbud demo`: shows the whole path of a newsletter on this machine, without any setup.
//!
//! The relay is the real one, started from configuration files in a temporary folder. The customer's own server is a small receiving SMTP
//! server with STARTTLS and AUTH ([`receiver`]). lettre submits as webCRM would ([`newsletters`]). The demo has its own DNS server
//! ([`names`]) with half of the records of the customer's domain, so that the pages have something to show.

mod looks;
mod names;
mod newsletters;
mod receiver;
mod workshop;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::broadcast::Receiver as Subscription;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::mpsc;

use super::signals::Signals;
use crate::config;
use crate::dkim::verify::{Keys, verify};
use crate::events::Event;
use crate::server::Relay;
use receiver::{Received, Receiver};
use workshop::Workshop;

/// The maximum time of a newsletter from webCRM to the customer's server.
const PATIENCE: Duration = Duration::from_secs(30);

/// See postbud work: three newsletters from webCRM to a customer's server, signed and verified.
///
/// Needs no setup and leaves nothing behind. In a temporary folder it makes a CA, certificates and a customer's DKIM key. It starts the
/// relay with its embedded spool, and a receiving SMTP server with STARTTLS and AUTH as the customer's own server. Then it submits three
/// Danish newsletters over TLS with a login, as webCRM would, and verifies the received mails with the public key. Each step is shown when
/// it happens. Only loopback addresses are used; no mail leaves this machine. The demo's own DNS server has half of the records of the
/// customer's domain, so that the pages have something to show.
///
/// Afterwards the relay runs until Ctrl-C, so that you can look at it or send mail to it yourself.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud demo
  postbud demo --once && echo every newsletter arrived and verified

Exit codes: 0 every newsletter arrived and its signature verified; 1 otherwise.")]
pub(super) struct Args {
    /// Stop after the three newsletters instead of waiting for Ctrl-C.
    #[arg(long)]
    once: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        super::block_on(async move {
            // From here on, a signal ends the demo in order, which removes its folder.
            let mut signals = Signals::take().context("cannot listen for signals")?;
            let (arrived, mut arrivals) = mpsc::channel(16);
            let workshop = Workshop::new()?;
            say("1", "a temporary folder with a CA, certificates, passwords and a customer's DKIM key (RSA-2048)");
            detail(&format!("{}", workshop.dir().display()));
            let receiver = Receiver::start(&workshop, arrived).await.context("the customer's server does not start")?;
            say("2", &format!("the customer's own server: {}, STARTTLS and AUTH", receiver.address()));
            let names = names::serve(workshop.zone()?).await?;
            workshop.write_configuration(receiver.address(), names)?;
            let relay = Relay::start(config::load(&workshop.configuration())?.settings).await?;
            let address = *relay.addresses().first().context("the relay listens nowhere")?;
            say("3", &format!("the relay: takes mail at {address}, STARTTLS and AUTH, spool on disk"));
            if let Some(web) = relay.web_address() {
                detail(&format!("status page http://{web}/, metrics http://{web}/metrics"));
            }
            let link = looks::open(&workshop).await?;
            let (operator, password) = (looks::OPERATOR, workshop.password());
            detail(&format!("operators' pages {}, login {operator} / {password}", workshop.operators()));
            detail(&format!("what the customer sees, whose domain is half in order: {link}"));
            detail("the record that the customer publishes:");
            detail(&format!("{} TXT {}…", workshop.record().name, head(&workshop.record().value, 60)));

            let mut events = relay.events().subscribe();
            let outcome = tokio::select! {
                outcome = send_all(&workshop, address, &mut arrivals, &mut events) => outcome,
                () = told_to_end(&mut signals) => {
                    relay.stop().await;
                    return Ok(ExitCode::FAILURE);
                }
            };
            match &outcome {
                Ok(verified) => {
                    show!("\n{verified} of {} newsletters arrived with a signature that verifies.", newsletters::COUNT)
                }
                Err(error) => show!("\nThe demo did not end well: {}", super::with_causes(error)),
            }
            if !self.once {
                show!("\nThe relay stays up. Send it mail yourself, or look around; Ctrl-C ends it.");
                show!("  login {} / {}, From …@{}", workshop::USERNAME, workshop.password(), workshop::DOMAIN);
                // As it was called, so that the line can be pasted: `cargo run` puts nothing on the path.
                let program = std::env::args().next().unwrap_or_else(|| "postbud".to_owned());
                show!("  {program} queue list --config {}", workshop.configuration().display());
                stay(&mut arrivals, &workshop, &mut events, &mut signals).await?;
            }
            relay.stop().await;
            let all = outcome.is_ok_and(|verified| verified == newsletters::COUNT);
            Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// Submits every newsletter and waits until the customer's server has it. Returns the number of verified ones.
async fn send_all(
    workshop: &Workshop,
    relay: SocketAddr,
    arrivals: &mut mpsc::Receiver<Received>,
    events: &mut Subscription<std::sync::Arc<Event<'static>>>,
) -> anyhow::Result<usize> {
    let tls = TlsParameters::builder("127.0.0.1".to_owned())
        .add_root_certificate(Certificate::from_pem(workshop.ca().as_bytes())?)
        .build()?;
    let webcrm = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(relay.port())
        .tls(Tls::Required(tls))
        .credentials(Credentials::new(workshop::USERNAME.to_owned(), workshop.password().to_owned()))
        .build();
    let mut verified = 0;
    for (index, newsletter) in newsletters::all(workshop::DOMAIN)?.into_iter().enumerate() {
        let step = format!("{}", index + 4);
        say(&step, &format!("webCRM submits \"{}\"", newsletter.subject));
        let reply = webcrm.send(newsletter.message).await.context("the relay refused the newsletter")?;
        detail(&format!("the relay answered {} {}", reply.code(), reply.message().collect::<Vec<_>>().join(" ")));
        let received = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
        let received = match received {
            Ok(Some(received)) => received,
            Ok(None) => bail!("the customer's server ended"),
            Err(_) => {
                tell(events);
                bail!("the newsletter did not arrive within {PATIENCE:?}")
            }
        };
        verified += usize::from(report(&received, workshop).await?);
        // The event follows the reply that the receiver has just sent.
        tokio::time::sleep(Duration::from_millis(200)).await;
        tell(events);
    }
    Ok(verified)
}

/// Shows a received mail. Returns true if every signature is valid.
async fn report(received: &Received, workshop: &Workshop) -> anyhow::Result<bool> {
    detail(&format!(
        "the customer's server took it: {} octets from {} over {}, logged in as {}",
        received.content.len(),
        received.peer,
        received.tls,
        received.login,
    ));
    let checks = verify(&received.content, Keys::Record(&workshop.record().value)).await?;
    for check in &checks {
        let says = match &check.result {
            Ok(()) => "verified".to_owned(),
            Err(why) => format!("NOT verified: {why}"),
        };
        detail(&format!("signature d={} s={}: {says} by mail-auth", check.domain, check.selector));
    }
    if checks.is_empty() {
        detail("NO signature");
    }
    Ok(!checks.is_empty() && checks.iter().all(|check| check.result.is_ok()))
}

/// Shows the relay's events.
fn tell(events: &mut Subscription<std::sync::Arc<Event<'static>>>) {
    loop {
        match events.try_recv() {
            Ok(event) => detail(&format!(
                "event {}: {} {}{}",
                event.event.as_str(),
                event.queue_id.map_or("-".to_owned(), |id| id.to_string()),
                event.route.as_deref().map(|route| format!("over {route}, ")).unwrap_or_default(),
                event.reply.as_deref().or(event.detail.as_deref()).unwrap_or("durable in the spool"),
            )),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

async fn stay(
    arrivals: &mut mpsc::Receiver<Received>,
    workshop: &Workshop,
    events: &mut Subscription<std::sync::Arc<Event<'static>>>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = told_to_end(signals) => return Ok(()),
            Some(received) = arrivals.recv() => {
                show!("");
                report(&received, workshop).await?;
                tell(events);
            }
        }
    }
}

/// Waits for Ctrl-C, for SIGTERM, or for the end of the terminal.
async fn told_to_end(signals: &mut Signals) {
    tokio::select! {
        () = signals.stop.told() => {}
        _ = signals.hang_up.recv() => {}
    }
}

fn say(step: &str, what: &str) {
    show!("{step}. {what}");
}

fn detail(what: &str) {
    show!("   {what}");
}

fn head(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

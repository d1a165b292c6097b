//! `postbud bench`: puts an operator's own load on the operator's own staging relay.

mod figures;
mod target;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;

use self::figures::{Counted, Figures};
use self::target::Target;
use super::{hash_password, output, time};
use crate::files;
use crate::load::{self, Auth, Template, Tls};
use crate::smtp::{Domain, Mailbox};

/// The number of permanent refusals before the first accepted message after which the load is given up.
const HOPELESS: u64 = 20;
/// How often a person is shown the progress.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Load a staging relay, and measure how it answers.
///
/// Submits mail over SMTP as webCRM does, with your sizes, rate and number of connections. Prints the rate, the latencies and all refusals.
/// It ends after --duration or --messages. Ctrl-C ends it earlier, with the figures so far.
///
/// The mail is real: the relay signs it and delivers it. Use a relay whose customers' routes lead to servers that discard mail, never one
/// that carries customers' mail. A target that is neither this machine nor in a private network is refused without --yes-this-is-staging.
/// The recipients are load-N@ the domain in --recipient-domain.
///
/// Without --rate, every connection submits the next message as soon as the last one is answered, which finds the highest rate. With
/// --rate, messages are due at fixed times, and a latency counts from the due time even if the relay was late, which measures what clients
/// experience.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud bench relay.staging.internal:2525 --from news@test.dk --recipient-domain sink.internal \\
      --username webcrm --password-from webcrm.password --rate 200 --size 30KB --duration 5m
  postbud bench 127.0.0.1:2525 --from news@test.dk --recipient-domain sink.internal --username webcrm \\
      --password-from webcrm.password --ca certs/ca.pem --per-connection 1 --message newsletter.eml --json

Exit codes: 0 every message was accepted; 1 some were not, or nothing could be sent.")]
pub(super) struct Args {
    /// The address of the relay that gets the mail.
    #[arg(value_name = "HOST:PORT")]
    relay: String,
    /// The sender, in MAIL FROM and in the From field of generated messages. It must be in a domain of a customer of the relay.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    from: Mailbox,
    /// The domain of the recipients. The relay delivers this mail, so name a domain whose mail your route discards.
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    recipient_domain: Domain,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    recipients: u32,
    /// The size of a generated message, such as 10240 or 30KB; several sizes are used in turn. Default: 10240.
    #[arg(long = "size", value_name = "SIZE", value_parser = size)]
    sizes: Vec<usize>,
    /// A message of your own to send, with its own From; several are used in turn. It gets a new Message-ID each time.
    #[arg(long = "message", value_name = "FILE")]
    messages_from: Vec<PathBuf>,
    /// Messages per second. Default: as fast as they are answered.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// How long to start messages: 90s, 5m, 4h.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = time::seconds)]
    duration: u64,
    /// End after this number of messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Connections at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Messages per connection: 0 keeps connections, 1 closes after each message, as .NET does.
    #[arg(long, default_value_t = 0, value_name = "N")]
    per_connection: u64,
    /// Send MAIL, RCPT and DATA in one write.
    #[arg(long)]
    pipelining: bool,
    /// Whether TLS is used, and when it begins.
    #[arg(long, value_enum, default_value_t = Tls::Starttls)]
    tls: Tls,
    /// A file with the trusted authorities. Default: those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The name that the relay's certificate must have. Default: the host.
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// Log in with this name.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The file with the password. Default: ask for it.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_from: Option<PathBuf>,
    /// The AUTH mechanism: LOGIN, as .NET uses it, or PLAIN.
    #[arg(long, value_enum, default_value_t = Auth::Login, requires = "username")]
    auth: Auth,
    /// The name in EHLO.
    #[arg(long, default_value = "load.example.net", value_name = "NAME", value_parser = domain)]
    hostname: Domain,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Confirm that the target is a staging relay, although its address is public.
    #[arg(long)]
    yes_this_is_staging: bool,
}

fn address(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text).map_err(|error| error.to_string())
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<usize, String> {
    let octets =
        text.parse().ok().or_else(|| crate::config::octets(text)).filter(|octets| (512..=1 << 30).contains(octets));
    octets
        .map(|octets| octets as usize)
        .ok_or_else(|| format!("\"{text}\" is no size between 512 and 1 GiB, like 10240 or 30KB"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok().filter(|rate| (0.01..=1e6).contains(rate));
    rate.ok_or_else(|| format!("\"{text}\" is no rate between 0.01 and 1000000 messages a second"))
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.duration == 0 {
            bail!("--duration 0s: a load needs time");
        }
        let password = self.password()?;
        let templates = self.templates()?;
        // The load runs on one thread, whose processor time is reported.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let figures = runtime.context("cannot start the runtime")?.block_on(self.load(&password, templates))?;
        match self.json {
            true => output::json(&figures)?,
            false => output::text(&figures.text()),
        }
        Ok(if figures.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn load(&self, password: &str, templates: Vec<Template>) -> anyhow::Result<Figures> {
        let target = target::find(&self.relay, self.yes_this_is_staging).await?;
        let what = self.what(&target);
        say!("{what}");
        let stop = CancellationToken::new();
        let sizes = templates.iter().map(|template| template.octets() as u64).collect();
        let counted = Rc::new(RefCell::new(Counted::new(sizes)));
        let settings = load::Settings {
            target: target.address,
            hostname: self.hostname.to_string(),
            messages: self.messages,
            duration: Some(Duration::from_secs(self.duration)),
            sessions: self.sessions as usize,
            per_connection: self.per_connection,
            rate: self.rate,
            pipelining: self.pipelining,
            tls: self.tls,
            trust: self.trust(&target)?,
            auth: if self.username.is_some() { self.auth } else { Auth::Off },
            username: self.username.clone().unwrap_or_default(),
            password: password.to_owned(),
            reverse_path: self.from.to_string(),
            recipients: (0..self.recipients).map(|n| format!("load-{n}@{}", self.recipient_domain)).collect(),
            templates: templates.into(),
            stop: stop.clone(),
        };
        let (books, hopeless) = (Rc::clone(&counted), stop.clone());
        let load = load::run(settings, move |sent| {
            let mut books = books.borrow_mut();
            books.count(sent);
            let so_far = books.outcomes();
            if so_far.accepted == 0 && so_far.refused >= HOPELESS {
                hopeless.cancel();
            }
        });
        let Some(mut report) = followed(load, &counted, &stop).await? else {
            bail!("interrupted twice: transactions under way were left, and nothing is told")
        };
        let outcomes = counted.borrow().outcomes();
        if outcomes.accepted == 0 && outcomes.refused >= HOPELESS {
            report.ended.get_or_insert(format!("the first {} messages were all refused", outcomes.refused));
        }
        let figures = counted.borrow().figures(what, report, self.rate, self.messages);
        Ok(figures)
    }

    /// Describes the load in one line.
    fn what(&self, target: &Target) -> String {
        let rate = self.rate.map_or("as fast as it answers".to_owned(), |rate| format!("{rate}/s"));
        let connections = match self.per_connection {
            0 => "kept".to_owned(),
            n => format!("{n} messages each"),
        };
        let tls = match self.tls {
            Tls::Off => "no TLS",
            Tls::Starttls => "STARTTLS",
            Tls::Implicit => "TLS",
        };
        let login = self.username.as_deref().map_or("no login".to_owned(), |name| format!("login {name}"));
        format!(
            "{}, {tls}, {login}, {} connections ({connections}), {rate}, {} recipients a message, at most {} s",
            target.address, self.sessions, self.recipients, self.duration
        )
    }

    fn password(&self) -> anyhow::Result<zeroize::Zeroizing<String>> {
        match (&self.username, &self.password_from) {
            (None, _) => Ok(Default::default()),
            (Some(_), Some(file)) => {
                let text = files::read_text(file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok(zeroize::Zeroizing::new(files::line_of_text(&text).to_owned()))
            }
            (Some(name), None) => hash_password::secret(&format!("Password of {name}: ")),
        }
    }

    /// Returns the messages, those of files first.
    fn templates(&self) -> anyhow::Result<Vec<Template>> {
        let run = format!("{:08x}", rand::random::<u32>());
        let from = self.from.to_string();
        let of_file = |file: &PathBuf| {
            let message = files::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            Template::of_message(&message, &run, &from).with_context(|| format!("{} is no message", file.display()))
        };
        let mut templates = self.messages_from.iter().map(of_file).collect::<anyhow::Result<Vec<_>>>()?;
        templates.extend(self.sizes.iter().map(|size| Template::plain(*size, &run, &from)));
        if templates.is_empty() {
            templates.push(Template::plain(10_240, &run, &from));
        }
        Ok(templates)
    }

    fn trust(&self, target: &Target) -> anyhow::Result<Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>> {
        if self.tls == Tls::Off {
            return Ok(None);
        }
        let name = self.tls_name.as_ref().unwrap_or(&target.host).clone();
        let named = ServerName::try_from(name.clone());
        let named = named.with_context(|| format!("\"{name}\" is no name that a certificate can have"))?;
        let config = load::client_config(self.ca.as_deref().map(Path::new)).map_err(anyhow::Error::msg)?;
        Ok(Some((Arc::new(config), named)))
    }
}

/// Runs the load and returns its report. Ctrl-C stops it; a second one stops it at once and without a report. A person at a terminal is
/// shown the progress.
async fn followed(
    load: impl Future<Output = load::Report>,
    counted: &RefCell<Counted>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<load::Report>> {
    use std::io::IsTerminal as _;
    let is_watched = std::io::stderr().is_terminal();
    let mut load = std::pin::pin!(load);
    let mut tick = tokio::time::interval(TOLD_EVERY);
    let mut last = (0, tokio::time::Instant::now());
    tick.tick().await;
    loop {
        tokio::select! {
            report = load.as_mut() => return Ok(Some(report)),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("cannot wait for Ctrl-C")?;
                if stop.is_cancelled() {
                    return Ok(None);
                }
                say!("ending: no message is begun any more");
                stop.cancel();
            }
            _ = tick.tick(), if is_watched => {
                let outcomes = counted.borrow().outcomes();
                let per_second = (outcomes.accepted - last.0) as f64 / last.1.elapsed().as_secs_f64();
                last = (outcomes.accepted, tokio::time::Instant::now());
                say!("{} accepted, {per_second:.0}/s now, {} refused", outcomes.accepted, outcomes.refused);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_numbers_within_reason() {
        assert_eq!(["10240", "30KB", "1 MiB"].map(|text| size(text).unwrap()), [10_240, 30_000, 1_048_576]);
        for wrong in ["", "511", "10 stones", "2GiB", "-1"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(["0.5", "200"].map(|text| rate(text).unwrap()), [0.5, 200.0]);
        for wrong in ["", "0", "-1", "NaN", "inf", "many"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}

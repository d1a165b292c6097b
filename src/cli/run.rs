//! `postbud run`: runs the relay until it is stopped.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context;

use super::delegated_keys::DelegatedKeys;
use super::log::{self, LogFormat};
use super::signals::Signals;
use super::started::Configured;
use super::systemd::ServiceManager;
use crate::config::{self, Keys, Remarks, ServerFile};
use crate::events::{Action, Event, Events, Subject};
use crate::files;
use crate::operate::customers::hold_changes;
use crate::server::{Relay, Reload, Settings};
use crate::time::Timestamp;

/// The number of open files besides connections: segments of the spool, logs, sockets of listeners and of lookups.
const OTHER_FILES: u64 = 256;

/// Run the relay: accept mail, sign it, keep it safe, deliver it.
///
/// Runs in the foreground until SIGTERM or SIGINT. Then it accepts no more mail, finishes running messages and deliveries (for up to
/// shutdown_grace in total), and leaves the rest in the queue for the next start, so nothing is lost. A delivery that is cut off after the
/// grace period is tried again, and may have arrived already. A second signal ends the relay at once with exit code 1, as safely as a
/// crash.
///
/// A spool that has given up on its disk (repeatedly failing syncs) also ends the relay in this order, with exit code 1. Only a start reads
/// the disk again, so let systemd or Docker restart it on failure.
///
/// SIGHUP reads the configuration again: customers, submitters, Mailjet tiers, the checks of domains, certificates, passwords and the
/// webhooks' secrets are replaced at once. If there is a mistake, nothing changes and an alert is raised. Changes that need a restart are
/// listed in the log: keys of the server file, and files with changed contents.
///
/// Under systemd with Type=notify it reports when it is ready, reloads and stops, and feeds the watchdog while its loops make progress.
///
/// Events about messages are in the event log ([events] log); the log on standard error is about the program itself. RUST_LOG sets its
/// level (default: info).
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud run --config config/postbud.toml
  RUST_LOG=postbud::delivery=debug postbud run
  kill -HUP $(pidof postbud)                     Read the configuration again")]
pub struct Args {
    #[command(flatten)]
    config: super::ConfigFile,
    /// The format of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Write …@example.com in that log in place of each mail address. The event log has complete addresses.
    #[arg(long)]
    hide_addresses: bool,
}

impl Args {
    /// Runs until stopped. Returns an error if the relay could not keep its promises.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        log::start(self.log_format, self.hide_addresses);
        let open_files = raise_open_files();
        forbid_core_dumps();
        files::make_all_private();
        let path = self.config.path;
        super::block_on(async move {
            let Signals { mut stop, mut hang_up } = Signals::take().context("cannot listen for signals")?;
            let systemd = ServiceManager::from_environment();
            let (relay, mut keys) = tokio::select! {
                started = start(path.clone(), open_files) => started?,
                () = stop.told() => {
                    tracing::info!("stopped before the start was complete");
                    std::process::exit(0);
                }
            };
            systemd.ready();
            let mut watchdog = systemd.watchdog();
            let mut delegated = DelegatedKeys::start(ServerFile { path: path.clone() }, relay.events().clone());
            // A SIGHUP during the start is handled now, because the configuration that the start has read may be old.
            let gave_up = loop {
                tokio::select! {
                    () = stop.told() => break false,
                    () = relay.gave_up() => break true,
                    _ = hang_up.recv() => {
                        systemd.reloading();
                        keys = reload(&relay, &path, keys, "SIGHUP");
                        delegated.reloaded();
                        systemd.ready();
                    }
                    customers = delegated.switched() => {
                        tracing::info!("new keys sign for {}", customers.join(", "));
                        systemd.reloading();
                        keys = reload(&relay, &path, keys, "postbud");
                        delegated.reloaded();
                        systemd.ready();
                    }
                    () = watchdog.is_due_and(relay.wait_for_dispatcher()) => systemd.alive(),
                }
            };
            systemd.stopping();
            tracing::info!("stopping; a second signal does not wait for deliveries under way");
            let mut stopping = pin!(relay.stop());
            loop {
                tokio::select! {
                    () = &mut stopping => break,
                    () = stop.told() => {
                        tracing::warn!("stopped at once: deliveries under way are tried again after the next start");
                        // All acknowledged mail is on disk. Returning would wait for the threads.
                        std::process::exit(1);
                    }
                    // During a stop, TimeoutStopSec= sets the limit.
                    () = watchdog.is_due() => systemd.alive(),
                }
            }
            // The service manager restarts the relay after a failure, and only a start reads the disk again.
            anyhow::ensure!(!gave_up, "the spool gave up, and the alert says why; a restart reads what is there");
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Reads the configuration and starts the relay.
async fn start(path: PathBuf, open_files: Option<u64>) -> anyhow::Result<(Relay, Keys)> {
    let file = path.clone();
    let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await.context("the configuration")??;
    refuse_what_others_own(&loaded.settings)?;
    if let Some(files) = open_files {
        warn_of_few(files, &loaded.settings);
    }
    tell(&loaded.remarks);
    let configured = Configured::of(&path, &loaded.settings);
    let relay = Relay::start(loaded.settings).await?;
    configured.tell(&relay).await;
    Ok((relay, loaded.keys))
}

/// Refuses to run as root in folders of other users, because it would follow links that they put there.
pub(super) fn refuse_what_others_own(settings: &Settings) -> anyhow::Result<()> {
    let log = settings.events.log.as_deref().map(files::folder);
    [&*settings.state_dir].into_iter().chain(settings.spool.dir()).chain(log).try_for_each(refuse_anothers)
}

/// Refuses to work as root in a folder of another user.
pub(super) fn refuse_anothers(dir: &Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match files::not_roots_own(dir).with_context(|| format!("cannot look into {}", dir.display()))? {
        None => Ok(()),
        Some(found) => anyhow::bail!(
            "{} belongs to another user than root, or others may write to it: do not run the relay as root, but as the user \
             that state_dir belongs to (User= in the unit, sudo -u, docker run --user)",
            found.display()
        ),
    }
}

/// Reads the configuration again. Returns the keys that are now active.
fn reload(relay: &Relay, path: &Path, keys: Keys, actor: &str) -> Keys {
    // Otherwise a customer that is changed meanwhile would be replaced by the older version.
    let _changes = match hold_changes(relay.state_dir()) {
        Ok(held) => held,
        Err(error) => {
            refused(relay, &error.to_string());
            return keys;
        }
    };
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            refused(relay, &mistakes.to_string());
            return keys;
        }
    };
    tell(&loaded.remarks);
    let restart = keys.needs_restart(&loaded.keys);
    let settings = loaded.settings;
    let customers = settings.directory.customers().count();
    let new = Reload {
        directory: settings.directory,
        customer_files: settings.customer_files,
        submitters: settings.submitters,
        onboarding: settings.onboarding,
        webhook_secrets: settings.events.webhooks.into_iter().map(|hook| (hook.name, hook.secret)).collect(),
    };
    relay.reload(new);
    relay.reloads().ended(true);
    relay.events().resolve(&Subject::Configuration, "the configuration is read again");
    let mut detail = format!("configuration reloaded: {customers} customers");
    if !restart.is_empty() {
        detail = format!("{detail}; changed, but only a restart takes it: {}", restart.join(", "));
    }
    tell_audit(relay.events(), actor, detail);
    // Keys that need a restart are named until there was one.
    if restart.is_empty() { loaded.keys } else { keys }
}

fn refused(relay: &Relay, why: &str) {
    relay.reloads().ended(false);
    relay.events().raise(Subject::Configuration, format!("reload refused, what ran goes on: {why}"));
}

fn tell_audit(events: &Events, actor: &str, detail: String) {
    tracing::info!("{detail}");
    events.emit(Event::audit(actor, Action::ConfigurationReload, detail, Timestamp::now()));
}

fn tell(remarks: &Remarks) {
    for broken in &remarks.broken {
        tracing::error!("{broken}");
    }
    for warning in &remarks.warnings {
        tracing::warn!("{warning}");
    }
}

/// Raises the limit on open files, because each connection needs one and the usual soft limit of 1,024 would limit connections. Returns the
/// new limit, or `None` if there is none.
fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
    getrlimit(Resource::Nofile).current
}

/// Makes a crash leave no image of the memory, because keys and passwords are in it.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Core);
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit }) {
        tracing::warn!("a crash may leave keys and passwords in a core file: {error}");
    }
}

/// Warns if clients could use up the open files, because then mail could not be read and delivered.
fn warn_of_few(open_files: u64, settings: &Settings) {
    let connections = settings.limits.connections as u64 + u64::from(settings.queue.at_once);
    if open_files < connections + OTHER_FILES {
        tracing::warn!(
            "{open_files} files may be open at once, but {connections} connections are allowed ([limits] connections and \
             [delivery] connections): raise the hard limit (LimitNOFILE=, ulimit -Hn), or allow fewer"
        );
    }
}

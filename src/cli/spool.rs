//! `postbud spool`: the spool as a whole, while no relay works on it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

use super::{ConfigFile, output};
use crate::config;
use crate::database::moving::Copied;
use crate::events::{self, Events};
use crate::server::{Settings, SpoolSettings, StateMove};
use crate::size::octets;
use crate::spool::embedded::{self, Embedded};
use crate::spool::moving::{self, Movable, Move, Moved, Progress};
use crate::spool::postgres::Postgres;

/// How often progress is printed if the output is not a terminal.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Move all waiting mail to another spool.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  postbud spool move")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: SpoolCommand,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    /// Move all waiting mail to the spool that the configuration names, from the one that it named before.
    ///
    /// Stop the relay (all nodes), change [spool] in the server file, run this, and start the relay. Mail keeps its queue id, its
    /// recipients' states, its attempts, due times and holds. What is known beside it goes along: suppression lists, tokens, operators,
    /// links, DMARC reports, Mailjet's events, the history. What the old spool still tells the event log is written there first.
    ///
    /// A move that is interrupted, by a power cut or kill -9 too, is run again and goes on. From its first step until its end no relay
    /// starts with either spool, so nothing is lost and nothing is sent twice. The old spool keeps copies, and says where its mail went:
    /// delete it once you are content. The target must be empty.
    #[command(after_long_help = "\
Examples:
  postbud spool move                                   From the folder state_dir/spool to PostgreSQL
  postbud spool move --from /srv/postbud/spool         From another folder
  postbud spool move --from /etc/postbud/former.toml   From where that server file says, for example from PostgreSQL to a folder
  postbud spool move --cancel                          Empty the target again, and use the old spool as before

Exit codes: 0 all mail is in the target; 1 not so, and what is said tells why.")]
    Move(MoveArgs),
}

#[derive(Debug, clap::Args)]
struct MoveArgs {
    /// Where the mail is: the folder of an embedded spool, or a server file that says it. Unset: state_dir/spool.
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Take an unfinished move back: the target is emptied, and the old spool can be used as before.
    #[arg(long, conflicts_with = "leave_unreadable")]
    cancel: bool,
    /// Finish although messages cannot be read. They stay in the old spool, and are named.
    #[arg(long)]
    leave_unreadable: bool,
    /// Print one JSON object: what was moved, or deleted at the target.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let SpoolCommand::Move(arguments) = self.command;
        let new = config::load(&self.config.path)?.settings;
        super::run::refuse_what_others_own(&new)?;
        let Source { spool, events, state_dir } = arguments.source(&new)?;
        let state = Arc::new(StateMove::new(&spool, &state_dir, &new));
        super::block_on(run(spool, new.spool, events, state, arguments))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a site's mail is.
struct Source {
    spool: SpoolSettings,
    /// The event log that the spool tells.
    events: events::Settings,
    state_dir: PathBuf,
}

impl MoveArgs {
    fn source(&self, new: &Settings) -> anyhow::Result<Source> {
        let folder = |dir: PathBuf| {
            anyhow::ensure!(dir.is_dir(), "there is no folder {}; name the old spool with --from", dir.display());
            super::run::refuse_anothers(&dir)?;
            let settings = embedded::Settings { dir, ..embedded::Settings::default() };
            let (events, state_dir) = (new.events.clone(), new.state_dir.clone());
            Ok(Source { spool: SpoolSettings::Embedded(settings), events, state_dir })
        };
        match &self.from {
            Some(path) if path.is_dir() => folder(path.clone()),
            Some(path) => {
                let old = config::load(path)?.settings;
                super::run::refuse_what_others_own(&old)?;
                Ok(Source { spool: old.spool, events: old.events, state_dir: old.state_dir })
            }
            None if matches!(new.spool, SpoolSettings::Embedded(_)) => {
                bail!("say with --from where the mail is: the server file that was used until now, or a folder")
            }
            None => folder(new.state_dir.join("spool")),
        }
    }
}

async fn run(
    from: SpoolSettings,
    to: SpoolSettings,
    events: events::Settings,
    state: Arc<StateMove>,
    arguments: MoveArgs,
) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (from.dir(), to.dir())
        && is_same(from, to)
    {
        bail!("{} is the spool that the mail is in already", to.display());
    }
    let source = open(from.with_journal(true)).await.context("the old spool")?;
    let target = match open(to.with_journal(true)).await.context("the new spool") {
        Ok(target) => target,
        Err(error) => {
            source.stop().await;
            return Err(error);
        }
    };
    let done = match arguments.cancel {
        true => cancel(&*source, &*target, state, arguments.json).await,
        false => carry_over(&source, &*target, events, state, &arguments).await,
    };
    source.stop().await;
    target.stop().await;
    done
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Opens a spool that no relay may use at the same time.
async fn open(settings: SpoolSettings) -> anyhow::Result<Arc<dyn Movable>> {
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<Arc<dyn Movable>> {
        Ok(match settings {
            SpoolSettings::Embedded(settings) => Embedded::open(embedded::Settings { for_move: true, ..settings })
                .context("stop the relay first, if it still runs")?,
            SpoolSettings::Postgres(mut settings) => {
                settings.for_move = true;
                Postgres::open(*settings)?
            }
        })
    });
    opened.await?
}

async fn carry_over(
    source: &Arc<dyn Movable>,
    target: &dyn Movable,
    events: events::Settings,
    state: Arc<StateMove>,
    arguments: &MoveArgs,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let going = Move::begin(&**source, target).await?;
    // Once the mail is in the other spool, another one tells that log.
    if !going.is_done() && !write_events(events, source).await? {
        bail!(
            "the event log does not take what the old spool still tells. Make room or mend what the log says, and run this again"
        );
    }
    let copied_state = match going.is_done() {
        true => Vec::new(),
        false => copy_state(state, going.id().to_owned()).await?,
    };
    let mut shown = Shown::new();
    let moved = going.finish(arguments.leave_unreadable, |progress| shown.tell(progress)).await;
    shown.end();
    let moved = moved?;
    let Moved { copied, octets: len, copied_before, left_behind, set_aside, was_done } = &moved;
    if arguments.json {
        let left: Vec<String> = left_behind.iter().map(ToString::to_string).collect();
        return output::json(&json!({
            "from": source.place(), "to": target.place(), "moved": copied, "moved_before": copied_before, "octets": len,
            "left_behind": left, "set_aside": set_aside, "state": copied_state.iter().map(state_as_json).collect::<Vec<_>>(),
            "was_done": was_done, "seconds": began.elapsed().as_secs_f64(),
        }));
    }
    if *was_done {
        say!("the mail was moved already; nothing is left to do");
        return Ok(());
    }
    show!("{copied} messages moved ({}), {copied_before} by an earlier run", octets(*len));
    for Copied { owner, rows, was_kept } in &copied_state {
        match was_kept {
            true => show!("{owner}: not moved, because the new database has rows of its own"),
            false if *rows > 0 => show!("{owner}: {rows} rows moved"),
            false => {}
        }
    }
    for id in left_behind {
        show!("{id} cannot be read and stays behind");
    }
    if *set_aside > 0 {
        show!("{set_aside} messages were damaged, and are in the old spool's quarantine");
    }
    say!("from now on use {}; {} keeps copies, and can be deleted", target.place(), source.place());
    Ok(())
}

/// Copies what is known beside the mail: suppression lists, tokens, reports and so on.
async fn copy_state(state: Arc<StateMove>, id: String) -> anyhow::Result<Vec<Copied>> {
    let copied = tokio::task::spawn_blocking(move || {
        let mut last = Instant::now();
        state.copy(&id, |rows| {
            if last.elapsed() > TELL_EVERY {
                last = Instant::now();
                say!("{rows} rows of suppression lists, reports and other state");
            }
        })
    });
    copied.await?.context("what is known beside the mail was not moved; run the same command again")
}

fn state_as_json(copied: &Copied) -> serde_json::Value {
    json!({ "owner": copied.owner, "rows": copied.rows, "was_kept": copied.was_kept })
}

/// Writes what the spool still tells the event log. Returns false if the log does not take it. A relay that has the spool open writes
/// that log too, so this comes after the spool was opened.
async fn write_events(events: events::Settings, spool: &Arc<dyn Movable>) -> anyhow::Result<bool> {
    let (_events, mut log) = Events::start(events)?;
    log.follow(spool.clone());
    Ok(log.stop().await)
}

async fn cancel(
    source: &dyn Movable,
    target: &dyn Movable,
    state: Arc<StateMove>,
    as_json: bool,
) -> anyhow::Result<()> {
    // While the spools still say that the move is under way, no relay uses the state.
    if let Some(id) = moving::under_way(source, target).await? {
        tokio::task::spawn_blocking(move || state.remove(&id)).await??;
    }
    let deleted = moving::cancel(source, target).await?;
    if as_json {
        return output::json(&json!({ "from": source.place(), "to": target.place(), "deleted_at_target": deleted }));
    }
    say!("{} can be used as before; {deleted} copies were deleted in {}", source.place(), target.place());
    Ok(())
}

/// Progress on standard error: one line that changes on a terminal, else a line now and then.
struct Shown {
    is_terminal: bool,
    last: Option<Instant>,
    line_is_open: bool,
}

impl Shown {
    fn new() -> Self {
        Shown { is_terminal: std::io::stderr().is_terminal(), last: None, line_is_open: false }
    }

    fn tell(&mut self, progress: Progress) {
        let Progress { moved, messages, octets: len } = progress;
        if self.is_terminal {
            super::said(format_args!("\r{moved} of {messages} messages, {} in this run", octets(len)));
            self.line_is_open = true;
        } else if self.last.is_none_or(|last| last.elapsed() > TELL_EVERY) {
            self.last = Some(Instant::now());
            say!("{moved} of {messages} messages");
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.line_is_open) {
            say!("");
        }
    }
}

//! Opens what a relay stores, each part on a blocking thread: reading and checking it may take seconds.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Settings, SpoolSettings, StartError, notices};
use crate::customers::Routing;
use crate::customers::suppression::{self, Suppression};
use crate::database::{self, Database, Home};
use crate::events::{self, Events};
use crate::message::ReturnPaths;
use crate::returns::dmarc::{self, Reports};
use crate::returns::mail::ReturnedMail;
use crate::returns::mailjet;
use crate::spool::embedded::{self, Embedded};
use crate::spool::postgres::{self, Postgres};
use crate::spool::{Carried, Counters, Spool};
use crate::{files, onboarding, operate, queue, returns};

/// The tables of all owners in the database.
pub(super) const DATABASE_SCHEMAS: &[database::Schema] = &[
    operate::tokens::SCHEMA,
    operate::operators::SCHEMA,
    operate::alerts::SCHEMA,
    operate::history::SCHEMA,
    operate::links::SCHEMA,
    suppression::SCHEMA,
    mailjet::SCHEMA,
    dmarc::SCHEMA,
    onboarding::kept::SCHEMA,
    operate::nodes::SCHEMA,
    queue::shared_day::SCHEMA,
    database::moving::SCHEMA,
];

/// Returns what another version has stored so that this one cannot read it. Only reads, and asks no database server. Folders that cannot be
/// read are left to the start, which says so.
pub fn unreadable_state(settings: &Settings) -> Vec<String> {
    let check_spool = |dir| files::in_state(&[dir], || Ok::<_, io::Error>(embedded::check(dir))).ok()?.err();
    let spool = settings.spool.dir().and_then(check_spool);
    let database = match settings.spool.state_home(&settings.state_dir) {
        Home::Folder(dir) => {
            let checked =
                files::in_state(&[&dir], || Ok::<_, io::Error>(database::check_version(&dir, DATABASE_SCHEMAS)));
            checked.ok().and_then(Result::err)
        }
        Home::Server(_) => None,
    };
    spool.map(|error| error.to_string()).into_iter().chain(database.map(|error| error.to_string())).collect()
}

/// Makes the relay's folders private, because they hold customers' mail.
pub(super) fn prepare(settings: &Settings) -> Result<(), StartError> {
    for path in std::iter::once(&*settings.state_dir).chain(settings.spool.dir()) {
        files::make_private_dir(path).map_err(|source| state("cannot make the folder", path, source))?;
        // Files whose rights cannot be removed belong to another user, who could grant the rights again.
        files::close_to_others(path)
            .map_err(|source| state("cannot take other users' rights from what is in", path, source))?;
    }
    Ok(())
}

/// The open parts that survive a restart: the event log, the database and the spool.
pub(super) struct DurableParts {
    pub events: Events,
    pub running_events: events::Running,
    pub database: Database,
    pub suppression: Suppression,
    /// Receives reports for the suppression lists.
    pub reports: suppression::Feed,
    pub spool: Arc<dyn Spool>,
    pub spool_counters: Arc<Counters>,
}

impl DurableParts {
    /// `carried` provides the knowledge that moves with customers between nodes.
    pub async fn open(settings: &Settings, carried: Arc<dyn Carried>) -> Result<Self, StartError> {
        let spool = settings.spool.clone().with_carried(carried);
        let (events, mut running_events) = Events::start(settings.events.clone())?;
        let database = open_database(spool.state_home(&settings.state_dir)).await?;
        let (suppression, reports) = open_suppression(database.clone()).await?;
        let spool_counters = Arc::clone(spool.counters());
        let spool = open_spool(spool.with_journal(running_events.has_journal()), events.clone()).await?;
        running_events.follow(spool.clone());
        Ok(DurableParts { events, running_events, database, suppression, reports, spool, spool_counters })
    }
}

/// Opens the keys of return paths, and creates them at the first start that needs them.
pub(super) async fn return_paths(
    settings: Option<&returns::mail::Settings>,
    state_dir: &Path,
) -> Result<Option<Arc<ReturnPaths>>, StartError> {
    let Some(settings) = settings else { return Ok(None) };
    let path = returns::mail::keys::file(state_dir);
    let keys = blocking({
        let path = path.clone();
        move || returns::mail::keys::read_or_make(&path)
    });
    let keys = keys.await?.map_err(|source| state("cannot read or make the keys of return paths in", &path, source))?;
    Ok(Some(Arc::new(ReturnPaths::new(settings.domain.clone(), &keys))))
}

/// Opens the inbox for returned mail and binds its listener.
pub(super) fn returned_mail(
    settings: returns::mail::Settings,
    parts: returns::mail::Parts,
    accepting: CancellationToken,
) -> Result<ReturnedMail, StartError> {
    let address = settings.listener.address;
    ReturnedMail::open(settings, parts, accepting).map_err(|source| StartError::Returns { address, source })
}

/// Opens the database on a blocking thread, because the check for damage reads the whole file.
async fn open_database(home: Home) -> Result<Database, StartError> {
    Ok(blocking(move || Database::open_at(&home, DATABASE_SCHEMAS)).await??)
}

/// Lets the nodes share what is known of domains, and the secret of the tokens that customers publish, where they share a database.
pub(super) async fn share_domains(
    settings: onboarding::Settings,
    home: &Home,
    database: &Database,
) -> Result<onboarding::Settings, StartError> {
    if let Home::Folder(_) = home {
        return Ok(settings);
    }
    let (dir, shared) = (settings.state_dir.clone(), onboarding::kept::Shared::new(database));
    let kept = shared.clone();
    let failed = |source| state("cannot share the secret of ownership tokens in", &settings.state_dir, source);
    blocking(move || onboarding::Secret::share(&dir, &kept)).await?.map_err(failed)?;
    Ok(onboarding::Settings { shared: Some(shared), ..settings })
}

/// Reads all suppression lists into memory.
async fn open_suppression(database: Database) -> Result<(Suppression, suppression::Feed), StartError> {
    Ok(blocking(move || Suppression::open(database)).await??)
}

/// Reads which DMARC reports exist.
pub(super) async fn dmarc(
    database: Database,
    keep: Duration,
    routing: Routing,
    onboarding: &watch::Sender<Arc<onboarding::Settings>>,
) -> Result<Reports, StartError> {
    let onboarding = onboarding.subscribe();
    let in_force = move || (routing.directory(), Arc::clone(&onboarding.borrow()));
    Ok(blocking(move || Reports::open(database, keep, in_force)).await??)
}

/// Opens the spool on a blocking thread, because recovery may take seconds.
async fn open_spool(settings: SpoolSettings, events: Events) -> Result<Arc<dyn Spool>, StartError> {
    let (notices, follow_up) = notices::listen(events);
    let folder = settings.dir().map(Path::to_owned);
    let spool: Arc<dyn Spool> = match settings {
        SpoolSettings::Embedded(settings) => {
            let settings = embedded::Settings { notices, ..settings };
            blocking(move || Embedded::open(settings)).await??
        }
        SpoolSettings::Postgres(settings) => {
            let settings = postgres::Settings { notices, ..*settings };
            blocking(move || Postgres::open(settings)).await??
        }
    };
    follow_up.begin(&spool, folder);
    Ok(spool)
}

/// Runs work that may take seconds on a thread that may block. An error means that it panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| StartError::Threads(io::Error::other(panic)))
}

pub(super) fn state(what: &'static str, path: &Path, source: io::Error) -> StartError {
    StartError::State { what, path: path.to_owned(), source }
}

//! The task that reads the journal and stores what the history needs.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::History;
use super::counts::{self, Sums};
use super::entries::{self, Told};
use crate::database::{self, Transaction};
use crate::events::Events;
use crate::operate::alerts;
use crate::record::journal::Journal;
use crate::record::journal::cursor::{Cursor, CursorError};
use crate::spool::{self, Spool};
use crate::time::Timestamp;

/// How often the journal is read. Each time with new events costs one sync of the database.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the state of the queue is recorded.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// How often old entries are removed.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// An alert that is still open is raised again within this time after a start. After it, alerts that were not raised again are ended.
const SETTLED_AFTER: Duration = Duration::from_secs(15 * 60);
/// The maximum number of chunks of about 1 MiB whose counts are written together.
const CHUNKS: usize = 16;

/// Why the history cannot continue for now.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Journal(#[from] CursorError),
}

/// The fields that are read of an event's line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow, default)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    detail: Option<Cow<'a, str>>,
    #[serde(default)]
    cured: bool,
    /// Present in events about the relay's own notifications, which are not counted as customers' mail.
    #[serde(default)]
    about: Option<IgnoredAny>,
}

impl History {
    /// Follows the journal until stopped.
    pub async fn follow(self, events: Events, spool: Arc<dyn Spool>, stopping: CancellationToken) {
        let started = Instant::now();
        let (mut sampled, mut tidied) = (None::<Instant>, None::<Instant>);
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        loop {
            if let Some(journal) = events.journal().cloned() {
                self.read_on(journal).await;
            }
            if is_due(sampled, SAMPLE_EVERY) {
                sampled = Some(Instant::now());
                self.sample(&*spool).await;
            }
            if is_due(tidied, TIDY_EVERY) {
                tidied = Some(Instant::now());
                self.tidy().await;
            }
            if started.elapsed() >= SETTLED_AFTER {
                self.end_unseen(&events).await;
            }
            if stopping.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Reads to the journal's end. Failures are tried again the next time.
    async fn read_on(&self, journal: Arc<Journal>) {
        let database = self.database.clone();
        let read = tokio::task::spawn_blocking(move || read_on(&database, &journal)).await;
        match read {
            Ok(Ok(())) => self.is_current.store(true, Ordering::Relaxed),
            Ok(Err(error)) => {
                self.is_current.store(false, Ordering::Relaxed);
                tracing::warn!("the history stands still: {error}");
            }
            Err(error) => tracing::error!("the history's reader: {error}"),
        }
    }

    async fn sample(&self, spool: &dyn Spool) {
        let Ok(lanes) = spool::all_lanes(spool).await else { return };
        let now = Timestamp::now();
        let waiting = lanes.values().map(|lane| lane.records).sum();
        let oldest = lanes.values().filter_map(|lane| lane.oldest).min();
        let oldest_secs = oldest.map(|id| now.since(id.arrived()).as_secs()).unwrap_or_default();
        let mut sums = Sums::default();
        sums.sample(now, waiting, oldest_secs);
        self.told(self.database.write(move |tables| sums.write(tables)).await);
    }

    async fn tidy(&self) {
        let now = Timestamp::now();
        let tidied = self.database.write(move |tables| {
            counts::tidy(tables, now)?;
            entries::tidy(tables)
        });
        self.told(tidied.await);
    }

    /// Ends alerts whose cause went away while the relay did not run, because their end was not reported.
    async fn end_unseen(&self, events: &Events) {
        let events = events.clone();
        let ended = self.database.write(move |tables| {
            let (known, acknowledged) = (entries::open_subjects(tables)?, alerts::acknowledged(tables)?);
            if known.is_empty() && acknowledged.is_empty() {
                return Ok(());
            }
            let (open, _) = events.alerts_as(|open| Some(open.alert.subject.as_ref()?.to_string()), |_| ());
            let open: HashSet<String> = open.into_iter().flatten().collect();
            let now = Timestamp::now();
            for subject in known.iter().filter(|subject| !open.contains(*subject)) {
                entries::end_unseen(tables, subject, now)?;
            }
            for subject in acknowledged.iter().filter(|subject| !open.contains(*subject)) {
                if !entries::is_open_anywhere(tables, subject)? {
                    alerts::forget(tables, subject, now)?;
                }
            }
            Ok::<_, database::Error>(())
        });
        self.told(ended.await);
    }

    fn told(&self, done: Result<(), database::Error>) {
        if let Err(error) = done {
            tracing::warn!("the history stands still: {error}");
        }
    }
}

/// Reads the journal from the stored position on. Counts, entries and the new position are written in one transaction. Blocks.
fn read_on(database: &database::Database, journal: &Journal) -> Result<(), Interruption> {
    read_and(database, journal, || ())
}

/// Like [`read_on`], and calls `read` between reading lines and writing what they say.
fn read_and(database: &database::Database, journal: &Journal, mut read: impl FnMut()) -> Result<(), Interruption> {
    let mut erasures = database.read_blocking(entries::erasures)?;
    let kept = database.read_blocking(|tables| {
        let sql = "SELECT place FROM history_read WHERE node = $1";
        tables.first(sql, &[tables.node().into()], |row| Ok(row.text(0)?.to_owned()))
    })?;
    let mut place = match kept.and_then(|kept| kept.parse::<Cursor>().ok()) {
        Some(place) => place,
        None => journal.cursor(journal.oldest().map_err(CursorError::Io)?),
    };
    loop {
        let (mut sums, mut told) = (Sums::default(), Vec::new());
        let (begin, mut is_at_end) = (place.clone(), false);
        for _ in 0..CHUNKS {
            let (lines, next) = match journal.lines(&place) {
                Ok(read) => read,
                // The files were removed before they were read, or the journal is another one: the missing events are not counted.
                Err(CursorError::Gone { oldest }) => (Vec::new(), oldest),
                Err(CursorError::Unknown) => (Vec::new(), journal.cursor(journal.oldest().map_err(CursorError::Io)?)),
                Err(error) => return Err(error.into()),
            };
            lines.split(|octet| *octet == b'\n').for_each(|line| take(line, &mut sums, &mut told));
            is_at_end = lines.is_empty() && next == place;
            place = next;
            if is_at_end {
                break;
            }
        }
        read();
        if place != begin {
            let to = place.to_string();
            let now = database.write_blocking(|tables| {
                let now = entries::erasures(tables)?;
                if now != erasures {
                    return Ok(now);
                }
                sums.write(tables)?;
                told.iter().try_for_each(|told| keep(tables, told))?;
                let sql = "INSERT INTO history_read (node, place) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET \
                           place = excluded.place";
                tables.execute(sql, &[tables.node().into(), to.as_str().into()])?;
                Ok::<_, database::Error>(now)
            })?;
            if now != erasures {
                // Somebody was erased since these lines were read: read what is left of them.
                (erasures, place) = (now, begin);
                continue;
            }
        }
        if is_at_end {
            return Ok(());
        }
    }
}

fn keep(tables: &Transaction<'_>, told: &Told) -> Result<(), database::Error> {
    told.write(tables)?;
    match &told.subject {
        Some(subject) if told.is_alert && told.cured && !entries::is_open_anywhere(tables, subject)? => {
            alerts::forget(tables, subject, told.at)
        }
        _ => Ok(()),
    }
}

/// Handles one line. A line that a crash cut is skipped.
fn take(line: &[u8], sums: &mut Sums, told: &mut Vec<Told>) {
    let Ok(read) = serde_json::from_slice::<Line<'_>>(line) else { return };
    let Ok(at) = read.at.parse::<Timestamp>() else { return };
    let is_alert = read.event == "alert";
    if is_alert || read.event == "audit" {
        told.push(Told {
            event_id: read.event_id.into_owned(),
            at,
            is_alert,
            subject: read.subject.map(Cow::into_owned),
            cured: read.cured,
            detail: read.detail.map(Cow::into_owned),
            line: String::from_utf8_lossy(line).into_owned(),
        });
    } else if read.about.is_none() {
        sums.count(&read.event, at, read.route.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::super::SCHEMA;
    use super::super::counts::Span;
    use super::*;
    use crate::database::Database;

    fn line(event: &str, n: u64, more: &str) -> String {
        let at = Timestamp::now();
        format!("{{\"event_id\":\"E{n}\",\"at\":\"{at}\",\"event\":\"{event}\",\"customer\":\"a\\u202e\"{more}}}\n")
    }

    fn accepted(database: &Database) -> u64 {
        let read = database.read_blocking(|tables| counts::read(tables, "", Span::Day, Timestamp::now())).unwrap();
        read.iter().map(|bucket| bucket.counts.accepted).sum()
    }

    /// Makes a journal whose lines the test writes itself.
    fn journal(dir: &std::path::Path, lines: &str) -> (Arc<Journal>, File) {
        let path = dir.join("events.jsonl");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        (Journal::open(&path, 0o600, 0).unwrap().journal, file)
    }

    #[test]
    fn each_event_is_counted_once_also_over_a_restart_and_a_journal_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA, alerts::SCHEMA]).unwrap();
        let about = ",\"about\":\"notification\"";
        let first =
            [line("accepted", 1, ""), line("accepted", 2, about), "{torn\n".into(), line("audit", 3, "")].concat();
        let (first_journal, _file) = journal(dir.path(), &first);
        read_on(&database, &first_journal).unwrap();
        read_on(&database, &first_journal).unwrap();
        assert_eq!(accepted(&database), 1);
        drop(first_journal);
        let (again, _file) = journal(dir.path(), &line("accepted", 4, ",\"route\":\"mailjet.x\""));
        read_on(&database, &again).unwrap();
        assert_eq!(accepted(&database), 2);
        let entries = database.read_blocking(|tables| entries::audit(tables, &Default::default(), None, 9)).unwrap();
        assert_eq!(entries.items.len(), 1);
        drop(again);
        let other = tempfile::tempdir().unwrap();
        fs::remove_file(dir.path().join("events.jsonl")).unwrap();
        let (other, _file) = journal(other.path(), &line("accepted", 5, ""));
        read_on(&database, &other).unwrap();
        assert_eq!(accepted(&database), 3);
    }

    #[test]
    fn who_is_erased_while_lines_are_read_is_not_in_the_audit() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA, alerts::SCHEMA]).unwrap();
        let to = ",\"command\":\"suppression.add\",\"recipient\":\"ole@x.dk\",\"detail\":\"added Ole@x.dk\"";
        let (journal, _file) = journal(dir.path(), &[line("accepted", 1, ""), line("audit", 2, to)].concat());
        let mut times = 0;
        read_and(&database, &journal, || {
            times += 1;
            if times == 1 {
                assert_eq!(crate::record::erase::erase(journal.path(), "ole@x.dk").unwrap().events, 1);
                database.write_blocking(|tables| entries::erase(tables, "ole@x.dk")).unwrap();
            }
        })
        .unwrap();
        let audit = database.read_blocking(|tables| entries::audit(tables, &Default::default(), None, 9)).unwrap();
        let [entry] = audit.items.try_into().unwrap();
        let text = entry.event.to_string().to_lowercase();
        assert!(text.contains("suppression.add") && !text.contains("ole@"), "{text}");
        assert_eq!((accepted(&database), times), (1, 2));
    }

    #[test]
    fn the_end_of_trouble_takes_the_note_off_that_somebody_took_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA, alerts::SCHEMA]).unwrap();
        let raised = line("alert", 1, ",\"subject\":\"route:a\",\"detail\":\"refused\"");
        let (journal, mut file) = journal(dir.path(), &raised);
        read_on(&database, &journal).unwrap();
        drop(journal);
        let note =
            |at| database.write_blocking(|tables| alerts::note(tables, "route:a", "operator anna", "", at)).unwrap();
        let noted = || database.read_blocking(alerts::acknowledged).unwrap();
        note(Timestamp::now() - Duration::from_secs(1));
        file.write_all(line("alert", 2, ",\"subject\":\"route:a\",\"cured\":true").as_bytes()).unwrap();
        let (again, _file) = super::tests::journal(dir.path(), "");
        assert_eq!(noted(), ["route:a"]);
        read_on(&database, &again).unwrap();
        assert!(noted().is_empty());
        note(Timestamp::now() + Duration::from_secs(60));
        database.write_blocking(|tables| alerts::forget(tables, "route:a", Timestamp::now())).unwrap();
        assert_eq!(noted(), ["route:a"], "a note that is younger than the end is about new trouble");
    }
}

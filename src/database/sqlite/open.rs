//! Opens the file: sets its mode and settings, checks it for damage, and runs missing steps.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::{BESIDE, Error, LOCK_WAIT, Schema, failed};
use crate::files;

/// Marks the file as postbud's: "pbud".
const APPLICATION_ID: i64 = 0x7062_7564;
/// The write-ahead log is cut to this size after its content has been copied to the file.
const LOG_SIZE: i64 = 16 << 20;
/// How many prepared statements are kept. More than all owners use again and again, with the sizes of `many`.
const STATEMENTS: usize = 128;

/// Opens or creates the file, and runs the missing steps of each schema.
pub(super) fn open(path: &Path, schemas: &[Schema]) -> Result<Connection, Error> {
    let place = path.display().to_string();
    // Create the file ourselves, because SQLite would create it with the umask's mode. SQLite's log and index get the mode of the file.
    files::lock_file(path).map_err(|error| Error::Io { place: place.clone(), detail: error.to_string() })?;
    let failed = |error| failed(&place, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_WAIT).map_err(failed)?;
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let has_tables = connection
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get::<_, bool>(0))
        .map_err(failed)?;
    if id != APPLICATION_ID && (id != 0 || has_tables) {
        return Err(Error::Foreign { place, found: id });
    }
    check_for_damage(&connection, &place)?;
    set_up(&connection).map_err(failed)?;
    run_missing_steps(&mut connection, &place, schemas)?;
    Ok(connection)
}

/// Refuses a file whose tables a newer version has changed. Only reads. Whatever else is wrong with the file, a start says it.
pub(super) fn check_version(path: &Path, schemas: &[Schema]) -> Result<(), Error> {
    let Some(connection) = open_to_read(path) else { return Ok(()) };
    let sql = "SELECT step FROM schema_step WHERE owner = ?1";
    let place = path.display().to_string();
    schemas.iter().try_for_each(|schema| {
        let found = connection.query_row(sql, [schema.owner], |row| row.get(0)).unwrap_or_default();
        schema.steps_done(&place, found).map(drop)
    })
}

/// Opens a file to read it, without making files beside it. SQLite makes a write-ahead log if there is none, unless the file is immutable.
/// Opens nothing if one of its files is a link, a pipe or a device: root may run the command, and must not hang on it.
fn open_to_read(path: &Path) -> Option<Connection> {
    files::open_to_read(path).ok()?;
    let beside = BESIDE.map(|end| PathBuf::from(format!("{}{end}", path.display())));
    if beside.iter().any(|path| path.symlink_metadata().is_ok_and(|found| !found.is_file())) {
        return None;
    }
    let name = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let has_log = Path::new(&format!("{}-wal", path.display())).exists();
    let uri = format!("file:{name}?immutable={}", u8::from(!has_log));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags).ok()
}

fn check_for_damage(connection: &Connection, place: &str) -> Result<(), Error> {
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| failed(place, error))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(Error::Damaged { place: place.to_owned(), detail: found }),
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // The journal mode is stored in the file. The query returns the mode that is now set.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.query_row(&format!("PRAGMA journal_size_limit = {LOG_SIZE}"), [], |_| Ok(()))
}

/// Writes at every start, so that a full or read-only disk makes the start fail, and not a later write.
fn run_missing_steps(connection: &mut Connection, place: &str, schemas: &[Schema]) -> Result<(), Error> {
    let failed = |error| failed(place, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_step (owner TEXT PRIMARY KEY, step BIGINT NOT NULL);
             CREATE TABLE IF NOT EXISTS changed (owner TEXT PRIMARY KEY, version BIGINT NOT NULL);
             CREATE TABLE IF NOT EXISTS started (id BIGINT PRIMARY KEY, times BIGINT NOT NULL);
             INSERT INTO started VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET times = times + 1;",
        )
        .map_err(failed)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    for schema in schemas {
        let found: i64 = transaction
            .query_row("SELECT coalesce(max(step), 0) FROM schema_step WHERE owner = ?1", [schema.owner], |row| {
                row.get(0)
            })
            .map_err(failed)?;
        for step in &schema.steps[schema.steps_done(place, found)?..] {
            transaction.execute_batch(step).map_err(failed)?;
        }
        let newest = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
        transaction
            .execute(
                "INSERT INTO schema_step VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET step = excluded.step",
                params![schema.owner, newest],
            )
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

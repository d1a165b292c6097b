use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const FIRST: Schema =
    Schema { owner: "notes", steps: &["CREATE TABLE notes (name TEXT PRIMARY KEY, times BIGINT, body BLOB)"] };
const SECOND: Schema = Schema {
    owner: "notes",
    steps: &[FIRST.steps[0], "CREATE INDEX notes_times ON notes (times); CREATE TABLE notes_read (name TEXT)"],
};

fn add(database: &Database, name: &str) -> Result<(), Error> {
    database.write_blocking(|tables| {
        let row = [name.into(), 7.into(), (&b"\0\xff"[..]).into()];
        tables.execute("INSERT INTO notes VALUES ($1, $2, $3)", &row).map(drop)
    })
}

fn names(database: &Database) -> Vec<String> {
    let mut names = Vec::new();
    database
        .read_blocking(|tables| {
            tables.query("SELECT name FROM notes ORDER BY name", &[], |row| {
                names.push(row.text(0)?.to_owned());
                Ok::<_, Error>(())
            })
        })
        .unwrap();
    names
}

#[tokio::test]
async fn what_was_written_is_there_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    add(&database, "a").unwrap();
    database
        .write(|tables| {
            tables.execute("INSERT INTO notes VALUES ($1, $2, $3)", &["b".into(), Value::Null, Value::Null])
        })
        .await
        .unwrap();
    drop(database);
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    assert_eq!(names(&database), ["a", "b"]);
    let read = |name: &'static str| {
        database.read(move |tables| {
            tables.first("SELECT times, body FROM notes WHERE name = $1", &[name.into()], |row| {
                Ok((row.maybe_integer(0)?, row.octets(1).map(<[u8]>::to_vec).ok()))
            })
        })
    };
    assert_eq!(read("a").await.unwrap(), Some((Some(7), Some(b"\0\xff".to_vec()))));
    assert_eq!(read("b").await.unwrap(), Some((None, None)));
    assert_eq!(read("c").await.unwrap(), None);
}

#[test]
fn work_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    let failed = database.write_blocking(|tables| {
        tables.execute("INSERT INTO notes (name) VALUES ($1)", &["a".into()])?;
        tables.execute("INSERT INTO notes (name) VALUES ($1)", &["a".into()])
    });
    assert!(matches!(failed, Err(Error::Statement { .. })), "{failed:?}");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        database.write_blocking(|tables| -> Result<(), Error> {
            tables.execute("INSERT INTO notes (name) VALUES ($1)", &["b".into()])?;
            panic!("in the middle")
        })
    }));
    assert!(panicked.is_err());
    assert!(names(&database).is_empty());
    add(&database, "c").unwrap();
    assert_eq!(names(&database), ["c"]);
}

#[test]
fn only_the_owner_may_read_the_file_its_log_and_its_index() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "").unwrap();
    fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
    for state_dir in [dir.path().to_owned(), tempfile::tempdir().unwrap().keep()] {
        let database = Database::open(&state_dir, &[FIRST]).unwrap();
        add(&database, "a").unwrap();
        let files: Vec<_> = fs::read_dir(&state_dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{file:?}");
        }
        drop(database);
        fs::remove_dir_all(&state_dir).unwrap();
    }
}

#[test]
fn a_start_runs_the_steps_that_the_file_lacks_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    add(&Database::open(dir.path(), &[FIRST]).unwrap(), "a").unwrap();
    let other = Schema { owner: "links", steps: &["CREATE TABLE links (name TEXT)"] };
    for _ in 0..2 {
        let database = Database::open(dir.path(), &[other, SECOND]).unwrap();
        assert_eq!(names(&database), ["a"]);
        database.write_blocking(|tables| tables.execute("DELETE FROM notes_read", &[])).unwrap();
        database.write_blocking(|tables| tables.execute("DELETE FROM links", &[])).unwrap();
    }
    // An owner that is gone keeps its tables.
    let found = Database::open(dir.path(), &[other]).map(|database| names(&database));
    assert_eq!(found.unwrap(), ["a"]);
    let older = Database::open(dir.path(), &[FIRST]).map(drop);
    assert!(matches!(&older, Err(Error::Newer { owner, found: 2, known: 1, .. }) if owner == "notes"), "{older:?}");
    let text = older.unwrap_err().to_string();
    assert!(text.contains("newer version") && text.contains(FILE), "{text}");
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    const BROKEN: Schema =
        Schema { owner: "notes", steps: &[FIRST.steps[0], "CREATE TABLE notes_read (name TEXT); CREATE NONSENSE"] };
    let failed = Database::open(dir.path(), &[BROKEN]).map(drop);
    assert!(matches!(failed, Err(Error::Statement { .. })), "{failed:?}");
    Database::open(dir.path(), &[SECOND]).unwrap();
}

#[test]
fn a_damaged_file_stops_the_start() {
    let rows = |state_dir: &Path| {
        let database = Database::open(state_dir, &[FIRST]).unwrap();
        let added = database.write_blocking(|tables| {
            (0..500).try_for_each(|number| {
                let name = format!("{number} {}", "x".repeat(100));
                tables.execute("INSERT INTO notes (name) VALUES ($1)", &[name.as_str().into()]).map(drop)
            })
        });
        added.unwrap_or_else(|error: Error| panic!("{error}"));
    };
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("text", |octets| *octets = b"this is a letter, not a database\n".repeat(50)),
        ("cut", |octets| octets.truncate(octets.len() / 2)),
        ("zeros", |octets| octets[8192..20_000].fill(0)),
        ("noise", |octets| octets[4096..4200].fill(0xaa)),
        ("header", |octets| octets[..16].fill(b'x')),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        rows(dir.path());
        let path = dir.path().join(FILE);
        let mut octets = fs::read(&path).unwrap();
        damage(&mut octets);
        fs::write(&path, &octets).unwrap();
        let opened = Database::open(dir.path(), &[FIRST]).map(drop);
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{name}: {opened:?}");
        assert_eq!(fs::read(&path).unwrap(), octets, "{name}: the file is left for a person to look at");
    }
}

#[test]
fn the_file_of_another_program_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for make in ["CREATE TABLE bookmarks (url TEXT)", "PRAGMA application_id = 77"] {
        let path = dir.path().join(FILE);
        rusqlite::Connection::open(&path).unwrap().execute_batch(make).unwrap();
        let opened = Database::open(dir.path(), &[FIRST]).map(drop);
        assert!(matches!(opened, Err(Error::Foreign { .. })), "{make}: {opened:?}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_that_another_process_keeps_locked_stops_the_start_and_fails_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    let other = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let opened = Database::open(dir.path(), &[FIRST]).map(drop);
    assert!(matches!(opened, Err(Error::Locked { .. })), "{opened:?}");
    assert!(matches!(add(&database, "a"), Err(Error::Locked { .. })));
    other.execute_batch("ROLLBACK").unwrap();
    add(&database, "a").unwrap();
}

#[test]
fn a_full_disk_fails_a_write_and_the_next_one_succeeds_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    let limit = |pages: u32| {
        let connection = database.connection.lock().unwrap();
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(1);
    let failed = (0..1000).find_map(|number| add(&database, &format!("{number}{}", "x".repeat(1000))).err());
    assert!(matches!(failed, Some(Error::Full { .. })), "{failed:?}");
    limit(1 << 20);
    add(&database, "a").unwrap();
    assert!(names(&database).contains(&"a".to_owned()));
}

#[test]
fn a_link_or_a_folder_in_the_place_of_the_file_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    symlink(&elsewhere, dir.path().join(FILE)).unwrap();
    assert!(matches!(Database::open(dir.path(), &[FIRST]).map(drop), Err(Error::Io { .. })));
    assert!(!elsewhere.exists());
    fs::remove_file(dir.path().join(FILE)).unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    assert!(matches!(Database::open(dir.path(), &[FIRST]).map(drop), Err(Error::Io { .. })));
    assert!(matches!(Database::open(&dir.path().join("absent"), &[FIRST]).map(drop), Err(Error::Io { .. })));
}

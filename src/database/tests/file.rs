//! What only the file has: its mode, its damage, other programs, and its disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::sqlite::FILE;
use super::super::{Backend, *};
use super::{FIRST, add, names};

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
fn a_statement_with_too_many_or_too_few_parameters_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    let insert = |sql: &str, parameters: &[Value<'_>]| {
        database.write_blocking(|tables| tables.execute(sql, parameters).map(drop))
    };
    let (both, gap) =
        ("INSERT INTO notes (times, name) VALUES ($2, $1)", "INSERT INTO notes (times, name) VALUES ($3, $1)");
    for (sql, parameters) in [
        (both, &["a".into(), 1.into(), 2.into()][..]),
        (both, &["a".into()][..]),
        (gap, &["a".into(), 1.into()][..]),
        (gap, &["a".into(), 1.into(), 2.into()][..]),
    ] {
        let refused = insert(sql, parameters);
        assert!(matches!(refused, Err(Error::Statement { .. })), "{sql} {parameters:?}: {refused:?}");
    }
    assert!(names(&database).is_empty());
    insert(both, &["a".into(), 1.into()]).unwrap();
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
        let Backend::File(file) = &database.backend else { panic!("it is in a file") };
        let connection = file.connection.lock().unwrap();
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

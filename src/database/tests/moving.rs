//! Tables that are copied from one database to another.

use super::super::moving::{self, Copied};
use super::super::*;
use super::{FIRST, add, names};
use crate::test_postgres;
use crate::test_skip::skip;

const SCHEMAS: &[Schema] = &[FIRST, moving::SCHEMA];

fn copy(source: &Database, target: &Database, id: &str) -> (u64, bool) {
    let copied = moving::copy(source, target, SCHEMAS, id, |_| {}).unwrap();
    let [Copied { owner: "notes", rows, was_kept }] = copied[..] else { panic!("{copied:?}") };
    (rows, was_kept)
}

fn two() -> (tempfile::TempDir, tempfile::TempDir, Database, Database) {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = Database::open(one.path(), SCHEMAS).unwrap();
    let target = Database::open(two.path(), SCHEMAS).unwrap();
    (one, two, source, target)
}

/// Every value of the notes, in order.
fn values(database: &Database) -> Vec<(String, Option<i64>, Option<Vec<u8>>)> {
    let mut values = Vec::new();
    database
        .read_blocking(|tables| {
            tables.query("SELECT name, times, body FROM notes ORDER BY name", &[], |row| {
                let body = row.octets(2).map(<[u8]>::to_vec).ok();
                values.push((row.text(0)?.to_owned(), row.maybe_integer(1)?, body));
                Ok::<_, Error>(())
            })
        })
        .unwrap();
    values
}

#[test]
fn every_row_and_every_type_of_value_arrives() {
    let (_one, _two, source, target) = two();
    let all: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    all.iter().for_each(|name| add(&source, name).unwrap());
    let null = |tables: &Transaction<'_>| tables.execute("INSERT INTO notes (name) VALUES ($1)", &["null".into()]);
    source.write_blocking(null).unwrap();
    let mut progress = Vec::new();
    let copied = moving::copy(&source, &target, SCHEMAS, "a", |rows| progress.push(rows)).unwrap();
    assert_eq!(copied, [Copied { owner: "notes", rows: 201, was_kept: false }]);
    assert_eq!(values(&target), values(&source));
    assert_eq!(progress, [64, 128, 192, 201]);
}

#[test]
fn a_later_run_of_the_same_move_replaces_what_an_earlier_one_copied() {
    let (_one, _two, source, target) = two();
    add(&source, "first").unwrap();
    assert_eq!(copy(&source, &target, "a"), (1, false));
    source.write_blocking(|tables| tables.execute("UPDATE notes SET name = 'other'", &[])).unwrap();
    add(&source, "second").unwrap();
    assert_eq!(copy(&source, &target, "a"), (2, false));
    assert_eq!(names(&target), ["other", "second"]);
}

#[test]
fn rows_that_the_target_had_before_stay_as_they_are() {
    let (_one, _two, source, target) = two();
    add(&source, "source").unwrap();
    add(&target, "target").unwrap();
    assert_eq!(copy(&source, &target, "a"), (0, true));
    assert_eq!(names(&target), ["target"]);
    moving::remove(&target, SCHEMAS, "a").unwrap();
    assert_eq!(names(&target), ["target"]);
}

#[test]
fn a_move_that_is_taken_back_leaves_nothing_and_another_move_keeps_what_it_did_not_copy() {
    let (_one, _two, source, target) = two();
    add(&source, "a").unwrap();
    assert_eq!(copy(&source, &target, "one"), (1, false));
    moving::remove(&target, SCHEMAS, "two").unwrap();
    assert_eq!(names(&target), ["a"]);
    assert_eq!(copy(&source, &target, "two"), (0, true));
    moving::remove(&target, SCHEMAS, "one").unwrap();
    assert!(names(&target).is_empty());
    assert_eq!(copy(&source, &target, "two"), (1, false));
}

#[test]
fn writes_after_a_move_have_higher_numbers_than_those_before() {
    let (_one, _two, source, target) = two();
    add(&source, "a").unwrap();
    (0..5).for_each(|_| {
        source.write_blocking(|tables| tables.announce()).unwrap();
    });
    let announced = source.read_blocking(|tables| tables.version()).unwrap();
    assert_eq!(announced, 5);
    copy(&source, &target, "a");
    assert!(target.write_blocking(|tables| tables.announce()).unwrap() > announced);
}

#[test]
fn rows_about_the_node_follow_it_into_a_shared_database_and_back() {
    let name = "rows_about_the_node_follow_it_into_a_shared_database_and_back";
    let server = match test_postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip(name, why),
    };
    const NODES: &[Schema] = &[
        Schema { owner: "notes", steps: &["CREATE TABLE notes_read (node TEXT PRIMARY KEY, place TEXT NOT NULL)"] },
        moving::SCHEMA,
    ];
    let nodes = |database: &Database| {
        let mut nodes = Vec::new();
        let read = |tables: &Transaction<'_>| {
            tables.query("SELECT node FROM notes_read ORDER BY node", &[], |row| {
                nodes.push(row.text(0)?.to_owned());
                Ok::<_, Error>(())
            })
        };
        database.read_blocking(read).unwrap();
        nodes
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [file, later] = dirs.each_ref().map(|dir| Database::open(dir.path(), NODES).unwrap());
    let home = Home::Server(Box::new(super::server(&server.host(), "moved_nodes", "north")));
    let shared = Database::open_at(&home, NODES).unwrap();
    let put = "INSERT INTO notes_read VALUES ($1, 'here')";
    file.write_blocking(|tables| tables.execute(put, &["".into()])).unwrap();
    moving::copy(&file, &shared, NODES, "there", |_| {}).unwrap();
    assert_eq!(nodes(&shared), ["north"]);
    shared.write_blocking(|tables| tables.execute(put, &["south".into()])).unwrap();
    moving::copy(&shared, &later, NODES, "back", |_| {}).unwrap();
    assert_eq!(nodes(&later), ["", "south"]);
}

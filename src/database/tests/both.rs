//! What an owner of tables may rely on, in a file and in PostgreSQL.

use super::super::*;
use super::{FIRST, SECOND, add, names};

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
fn a_mistake_in_a_statement_is_not_blamed_on_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    add(&database, "a").unwrap();
    let wrong: [(&str, &[Value<'_>]); 7] = [
        ("INSERT INTO notes (name) VALUES ($1)", &[]),
        ("INSERT INTO notes (name, times) VALUES ($1, $2)", &[Value::Text("a")]),
        ("INSERT INTO notes (name) VALUES ($1)", &[Value::Text("a"), Value::Text("b")]),
        ("INSERT INTO no_table (name) VALUES ($1)", &[Value::Text("a")]),
        ("INSERT INTO notes (no_column) VALUES ($1)", &[Value::Text("a")]),
        ("INSERT INTO notes (name) VALUES ($1) ", &[Value::Text("a")]),
        ("INSERT notes", &[]),
    ];
    for (number, (sql, parameters)) in wrong.into_iter().enumerate() {
        let failed = database.write_blocking(|tables| tables.execute(sql, parameters));
        assert!(matches!(failed, Err(Error::Statement { .. })), "{sql} {parameters:?}: {failed:?}");
        add(&database, &number.to_string()).unwrap();
    }
}

#[test]
fn many_rows_are_inserted_once_each_and_in_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    let all: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    let insert = |names: &[String]| {
        database.write_blocking(|tables| {
            let rows: Vec<[Value<'_>; 2]> = names.iter().map(|name| [name.as_str().into(), Value::Null]).collect();
            tables.insert("notes (name, times)", &rows, "ON CONFLICT (name) DO NOTHING")
        })
    };
    insert(&[]).unwrap();
    insert(&all[..90]).unwrap();
    insert(&[&all[..], &all[..]].concat()).unwrap();
    assert_eq!(names(&database), all);
    let failed = database.write_blocking(|tables| {
        let rows: Vec<[Value<'_>; 1]> = ["a", "b", "000"].into_iter().map(|name| [name.into()]).collect();
        tables.insert("notes (name)", &rows, "")
    });
    assert!(matches!(failed, Err(Error::Statement { .. })), "{failed:?}");
    assert_eq!(names(&database), all);
    let some = &all[10..110];
    let gone = database.write_blocking(|tables| {
        portions(some).try_fold(0, |gone, names| {
            let names: Vec<Value<'_>> = names.iter().map(|name| name.as_str().into()).collect();
            let sql = format!("DELETE FROM notes WHERE name IN {}", list(1, names.len()));
            Ok::<_, Error>(gone + tables.execute(&sql, &names)?)
        })
    });
    assert_eq!(gone.unwrap(), 100);
    assert_eq!(names(&database), [&all[..10], &all[110..]].concat());
}

#[test]
fn a_parameter_is_bound_by_its_number_wherever_it_stands_in_the_statement() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), &[FIRST]).unwrap();
    let insert = "INSERT INTO notes (times, name) VALUES ($2, $1)";
    database.write_blocking(|tables| tables.execute(insert, &["a".into(), 1.into()])).unwrap();
    database.write_blocking(|tables| tables.execute(insert, &["b".into(), 2.into()])).unwrap();
    let update = "UPDATE notes SET times = $3 WHERE times = $2 AND name = $1 AND times < $3";
    let changed = database.write_blocking(|tables| tables.execute(update, &["a".into(), 1.into(), 7.into()]));
    assert_eq!(changed.unwrap(), 1);
    let (mut queried, select) = (Vec::new(), "SELECT name FROM notes WHERE times = $2 AND name = $1");
    database
        .read_blocking(|tables| {
            tables.query(select, &["a".into(), 7.into()], |row| {
                queried.push(row.text(0)?.to_owned());
                Ok::<_, Error>(())
            })
        })
        .unwrap();
    assert_eq!(queried, ["a"]);
    let first = |parameters: &[Value<'_>]| {
        database.read_blocking(|tables| tables.first(select, parameters, |row| row.text(0).map(str::to_owned)))
    };
    assert_eq!(first(&["b".into(), 2.into()]).unwrap().as_deref(), Some("b"));
    assert_eq!(names(&database), ["a", "b"]);
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
    assert!(text.contains("newer version"), "{text}");
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

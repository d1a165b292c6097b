//! What nodes see of each other over PostgreSQL, and what they do while it is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::*;
use super::{FIRST, add, names, server};
use crate::test_postgres::{self, Server};
use crate::test_skip::skip;

/// How soon a node must hear of what another one changed.
const SOON: Duration = Duration::from_secs(1);

fn node(postgres: &Server, schema: &str, name: &str) -> Database {
    Database::open_at(&Home::Server(Box::new(server(&postgres.host(), schema, name))), &[FIRST]).unwrap()
}

fn counted(database: &Database) -> Result<i64, Error> {
    database.write_blocking(|tables| {
        let sql = "SELECT max(times) FROM notes";
        let most = tables.first(sql, &[], |row| row.maybe_integer(0))?.flatten().unwrap_or_default();
        tables.execute(
            "INSERT INTO notes (name, times) VALUES ($1, $2)",
            &[most.to_string().as_str().into(), (most + 1).into()],
        )?;
        Ok::<_, Error>(most + 1)
    })
}

#[test]
fn nodes_make_the_tables_at_once_and_their_writes_follow_one_another() {
    let postgres = match test_postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("nodes_make_the_tables_at_once_and_their_writes_follow_one_another", why),
    };
    let writers: Vec<_> = (0..3)
        .map(|number| {
            std::thread::spawn(move || {
                let database = node(postgres, "at_once", &format!("node{number}"));
                for _ in 0..40 {
                    counted(&database).unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(postgres.sql("SELECT count(*), max(times) FROM at_once.notes"), "120|120");
}

#[tokio::test]
async fn a_node_hears_of_anothers_change_within_a_second() {
    let postgres = match test_postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("a_node_hears_of_anothers_change_within_a_second", why),
    };
    let (a, b) = (node(postgres, "changes", "a"), node(postgres, "changes", "b"));
    assert_eq!((a.node(), b.node()), ("a", "b"));
    let mut changes = b.changes();
    for number in 0..5 {
        add(&a, &number.to_string()).unwrap();
        let told = tokio::time::timeout(Duration::from_millis(600), changes.next()).await;
        assert!(told.is_err(), "what was not announced is not told");
        let announced = a.write_blocking(|tables| tables.announce()).unwrap();
        assert_eq!(announced, number + 1);
        let began = Instant::now();
        changes.next().await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(b.read_blocking(|tables| tables.version()).unwrap(), announced);
        assert_eq!(names(&b).len(), names(&a).len());
    }
}

#[test]
fn while_the_server_is_frozen_or_down_calls_fail_at_once_and_then_go_on() {
    let postgres = match Server::start(&[]) {
        Ok(server) => server,
        Err(why) => return skip("while_the_server_is_frozen_or_down_calls_fail_at_once_and_then_go_on", &why),
    };
    let database = Arc::new(node(&postgres, "away", "a"));
    let is_back = |what: &str| {
        let began = Instant::now();
        while add(&database, what).is_err() || database.is_current().is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    is_back("before");
    for (what, begin, end) in [
        (
            "frozen",
            (|server: &Server| server.freeze()) as fn(&Server),
            (|server: &Server| server.thaw()) as fn(&Server),
        ),
        ("killed", |server| server.kill(), |server| server.start_again().unwrap()),
    ] {
        begin(&postgres);
        let began = Instant::now();
        while database.is_current().is_ok() {
            assert!(began.elapsed() < Duration::from_secs(8), "{what}: nobody may rely on memory for long");
            std::thread::sleep(Duration::from_millis(50));
        }
        let began = Instant::now();
        let refused = add(&database, "during").unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(500), "{what}: {:?}", began.elapsed());
        let text = refused.to_string();
        assert!(matches!(refused, Error::Away { .. }) && text.contains("see that the server runs"), "{what}: {text}");
        end(&postgres);
        is_back(what);
        assert!(!names(&database).contains(&"during".to_owned()), "{what}");
    }
}

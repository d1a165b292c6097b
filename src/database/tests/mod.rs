//! The database's tests, and those of all owners of tables once more over PostgreSQL.

mod both;
mod file;
mod moving;
mod shared;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::postgres::Server;
use crate::test_postgres;
use crate::test_skip::skip;

/// In the process of tests that work over PostgreSQL: the folder of the server's socket.
const SERVER: &str = "POSTBUD_TEST_STATE_SERVER";

pub(super) const FIRST: Schema =
    Schema { owner: "notes", steps: &["CREATE TABLE notes (name TEXT PRIMARY KEY, times BIGINT, body BYTEA)"] };
pub(super) const SECOND: Schema = Schema {
    owner: "notes",
    steps: &[FIRST.steps[0], "CREATE INDEX notes_times ON notes (times); CREATE TABLE notes_read (name TEXT)"],
};

pub(super) fn add(database: &Database, name: &str) -> Result<(), Error> {
    database.write_blocking(|tables| {
        let row = [name.into(), 7.into(), (&b"\0\xff"[..]).into()];
        tables.execute("INSERT INTO notes VALUES ($1, $2, $3)", &row).map(drop)
    })
}

pub(super) fn names(database: &Database) -> Vec<String> {
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

/// Where a test's tables are in place of a file in this folder, in such a process.
pub(super) fn instead_of(state_dir: &Path) -> Option<Home> {
    let host = std::env::var(SERVER).ok()?;
    let mut hasher = DefaultHasher::new();
    state_dir.hash(&mut hasher);
    Some(Home::Server(Box::new(server(&host, &format!("s{:016x}", hasher.finish()), ""))))
}

/// A schema of a test's server, as a node sees it.
fn server(host: &str, schema: &str, node: &str) -> Server {
    Server {
        hosts: vec![host.to_owned()],
        port: 5432,
        database: "postgres".into(),
        user: "postgres".into(),
        password: None,
        schema: schema.to_owned(),
        tls: None,
        node: node.to_owned(),
        timeout: Duration::from_secs(5),
        lease: Duration::from_secs(3),
    }
}

#[test]
fn owners_of_tables_pass_their_tests_over_postgresql_too() {
    let server = match test_postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("owners_of_tables_pass_their_tests_over_postgresql_too", why),
    };
    let owners = [
        "database::tests::both",
        "database::tests::moving",
        "customers::suppression::tests",
        "operate::tokens::tests",
        "operate::operators::tests",
        "operate::links::tests",
        "operate::history",
        "returns::dmarc::reports::tests::reports_of_every",
        "returns::dmarc::reports::tests::old_reports",
        "returns::dmarc::reports::tests::strangers",
        "returns::mailjet::store",
    ];
    let done = Command::new(std::env::current_exe().unwrap())
        .args(owners)
        .args(["--test-threads", "2"])
        .env(SERVER, server.host())
        .output()
        .unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{printed}\n{errors}");
    let schemas: u32 =
        server.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 's________________'").parse().unwrap();
    assert!(schemas >= 20, "only {schemas} tests had tables there:\n{printed}");
}

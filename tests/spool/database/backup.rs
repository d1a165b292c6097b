//! A backup of the database as `docs/postgres.md` says it is made, and what a relay finds after it is restored.

use postbud::spool::postgres::{Postgres, Settings};
use postbud::spool::{Commit, Inspect, Spool, Work};

use super::rig::{quick, server};
use crate::drafts::draft;
use crate::port::{claim_all, delivered};
use crate::postgres::Server;

/// The option of pg_dump that leaves waiting mail out.
fn excluded() -> String {
    let page = include_str!("../../../docs/postgres.md");
    let (_, behind) = page.split_once("--exclude-table '").expect("the page says how waiting mail is left out");
    behind.split_once('\'').unwrap().0.to_owned()
}

/// Runs one of PostgreSQL's client programs on a database, as the role that owns the schema.
fn client(server: &Server, program: &str, words: &[&str]) -> String {
    let output = server.as_user(program).args(["-U", "postbud", "-h", &server.host()]).args(words).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documentation_leaves_out_of_a_backup_is_the_mail_and_a_relay_starts_with_the_rest() {
    let name = "what_the_documentation_leaves_out_of_a_backup_is_the_mail_and_a_relay_starts_with_the_rest";
    let Some(server) = server(name, &[]) else { return };
    server.sql("CREATE ROLE postbud LOGIN; CREATE SCHEMA postbud AUTHORIZATION postbud");
    server.sql("CREATE DATABASE restored OWNER postbud");
    let settings = |database: &str| {
        let mut settings = Settings { nodes: 2, shards: 3, ..quick(&server) };
        (settings.server.user, settings.server.schema) = ("postbud".into(), "postbud".into());
        settings.server.database = database.into();
        settings
    };
    let spool = Postgres::open(settings("postgres")).unwrap();
    for seed in 0..30 {
        let _ = spool.commit(draft(&format!("c{seed}"), &["a@b.dk"], seed, 500)).await.unwrap();
    }
    // One of the tables that are not the spool's, and what the next owner of a customer has to know.
    let known = "CREATE TABLE postbud.suppression (address text); INSERT INTO postbud.suppression VALUES ('a@b.dk'); \
                 INSERT INTO postbud.carried VALUES (1, 'c1', 'sent', '7')";
    client(&server, "psql", &["-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", known]);
    // The relay may run.
    let dump = server.data().join("dump.sql").display().to_string();
    let (words, excluded) = (["--schema", "postbud", "--file", &dump, "--exclude-table"], excluded());
    client(&server, "pg_dump", &[&words[..], &[&excluded, "postgres"]].concat());
    client(&server, "psql", &["-X", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f", &dump]);
    let restored = Postgres::open(settings("restored")).unwrap();
    assert_eq!(restored.totals().await.unwrap().records, 0);
    let ask =
        "SELECT (SELECT address FROM postbud.suppression), (SELECT text FROM postbud.carried WHERE customer = 'c1')";
    assert_eq!(client(&server, "psql", &["-XqAt", "-d", "restored", "-c", ask]).trim(), "a@b.dk|7");
    let _ = restored.commit(draft("c1", &["a@b.dk"], 99, 500)).await.unwrap();
    let lease = claim_all(&*restored, "c1").await.pop().unwrap();
    let result = delivered(&lease);
    restored.settle(lease, result).await.unwrap();
    restored.stop().await;
    assert_eq!(Postgres::open(settings("restored")).unwrap().totals().await.unwrap().records, 0);
    assert_eq!(spool.totals().await.unwrap().records, 30);
}

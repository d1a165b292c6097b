//! The tables, and how they come about.
//!
//! | table | a row is | written |
//! |---|---|---|
//! | `format` | the version of these tables | by a migration |
//! | `owner` | who owns the spool, and how often the owner changed | at a start, a stop and a new connection. Every other transaction takes its row `FOR KEY SHARE` |
//! | `node` | until when the owner lives, by the database's clock | by the owner, once a second |
//! | `segment` | a segment that exists | when a segment is made and when it is given back |
//! | `segment_N` | part of a message, or what became of one | by COPY, never changed |

use super::link::{Failure, Link};
use super::{OpenError, Settings};

/// The version of the tables that this program reads and writes.
const VERSION: i32 = 1;

/// What makes the tables of each version from those of the one before.
const MIGRATIONS: [&str; VERSION as usize] = [
    "CREATE TABLE {schema}.owner (shard int PRIMARY KEY, epoch bigint NOT NULL, node text NOT NULL, clean bool NOT NULL,
                                  spool text NOT NULL);
     CREATE TABLE {schema}.node (name text PRIMARY KEY, instance bigint NOT NULL, alive_until timestamptz NOT NULL);
     CREATE TABLE {schema}.segment (number int PRIMARY KEY);
     INSERT INTO {schema}.owner VALUES (0, 0, '', true, replace(gen_random_uuid()::text, '-', ''));",
];

/// Makes the schema and its tables, or brings them up to this program's version. Of several programs that try, one does it.
pub(super) async fn migrate(link: &Link, settings: &Settings) -> Result<(), OpenError> {
    let schema = &settings.schema;
    let failed = |failure: Failure| OpenError::Database { what: format!("preparing {settings}"), why: failure.why };
    let known = link.client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[schema]).await;
    if known.map_err(|error| failed(error.into()))?.is_empty() {
        // Another program may make it at this moment. Whatever fails here fails again below.
        let make = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TABLE IF NOT EXISTS {schema}.format (version int NOT NULL)"
        );
        if let Err(error) = link.client.batch_execute(&make).await {
            tracing::debug!(%error, schema, "the schema could not be made");
        }
    }
    let lock = format!(
        "BEGIN; CREATE TABLE IF NOT EXISTS {schema}.format (version int NOT NULL); \
         LOCK TABLE {schema}.format IN ACCESS EXCLUSIVE MODE"
    );
    let in_lock = async {
        link.client.batch_execute(&lock).await?;
        let rows = link.client.query(&format!("SELECT version FROM {schema}.format"), &[]).await?;
        let found = rows.first().map_or(0, |row| row.get::<_, i32>(0));
        for (version, migration) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
            let migration = migration.replace("{schema}", schema);
            let mark = format!("DELETE FROM {schema}.format; INSERT INTO {schema}.format VALUES ({version})");
            link.client.batch_execute(&format!("{migration} {mark}")).await?;
        }
        link.client.batch_execute("COMMIT").await?;
        Ok::<_, tokio_postgres::Error>(found)
    };
    match in_lock.await.map_err(|error| failed(error.into()))? {
        found if found > VERSION => Err(OpenError::OtherFormat { place: settings.to_string(), found, known: VERSION }),
        _ => Ok(()),
    }
}

/// The name of a segment's table.
pub(super) fn table(schema: &str, segment: u32) -> String {
    format!("{schema}.segment_{segment}")
}

/// What makes a segment. Nothing in it is ever changed, so nothing in it is ever to be vacuumed, and signed mail does not compress well.
pub(super) fn make_segment(schema: &str, segment: u32) -> String {
    let table = table(schema, segment);
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (seq int NOT NULL, part smallint NOT NULL, id bigint NOT NULL, note bytea, head bytea, \
         body bytea, crc int, lines bytea, PRIMARY KEY (seq, part)) \
         WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false); \
         ALTER TABLE {table} ALTER head SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO {schema}.segment VALUES ({segment}) ON CONFLICT DO NOTHING"
    )
}

/// What gives a segment back.
pub(super) fn drop_segment(schema: &str, segment: u32) -> String {
    let table = table(schema, segment);
    format!("DROP TABLE IF EXISTS {table}; DELETE FROM {schema}.segment WHERE number = {segment}")
}

/// The columns of a segment, in the order in which rows are copied.
pub(super) fn copy_in(schema: &str, segment: u32) -> String {
    format!("COPY {} (seq, part, id, note, head, body, crc, lines) FROM STDIN BINARY", table(schema, segment))
}

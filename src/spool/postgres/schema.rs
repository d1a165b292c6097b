//! The tables, and how they are created.
//!
//! | table | a row is | written |
//! |---|---|---|
//! | `format` | the version of these tables | by a migration |
//! | `spool` | the spool's name, the number of its shards, and the mark of a move | by a migration, and by `postbud spool move`. A joining node locks it `FOR UPDATE` |
//! | `node` | a node, and the end of its lease by the database's clock | by the node, once a second. A node that takes a dead node's shard deletes it |
//! | `owner` | the owner of a shard, its epoch, and up to where a journal has the shard's lines | at a takeover, a hand-over and a new connection. Every transaction of a shard locks its row `FOR KEY SHARE` |
//! | `segment` | an existing segment of a shard | when a segment is created and deleted |
//! | `segment_S_N` | a part of a message, or a later event of one | by COPY, never changed |
//! | `transit` | a table of mail in transit, and the process that fills it | when the table is created and deleted |
//! | `carried` | knowledge about a customer besides its mail, or a text that all nodes share | by the shard's owner; a shared text by the node that changes it |
//! | `transit_N` | a part of a message, or the mark of a transaction (shard -1) | by COPY. The owner moves a message to a segment in one transaction |

use super::link::{Failure, Link};
use super::{OpenError, Settings};

/// The version of the tables that this program reads and writes.
const VERSION: i32 = 4;

/// For each version, the statements that create its tables from those of the previous version.
const MIGRATIONS: [&str; VERSION as usize] = [
    "CREATE TABLE {schema}.owner (shard int PRIMARY KEY, epoch bigint NOT NULL, node text NOT NULL, clean bool NOT NULL,
                                  spool text NOT NULL);
     CREATE TABLE {schema}.node (name text PRIMARY KEY, instance bigint NOT NULL, alive_until timestamptz NOT NULL);
     CREATE TABLE {schema}.segment (number int PRIMARY KEY);
     INSERT INTO {schema}.owner VALUES (0, 0, '', true, replace(gen_random_uuid()::text, '-', ''));",
    "CREATE TABLE {schema}.spool (name text NOT NULL, shards int NOT NULL);
     INSERT INTO {schema}.spool SELECT spool, {shards} FROM {schema}.owner;
     ALTER TABLE {schema}.owner DROP COLUMN spool, ADD COLUMN told_segment int NOT NULL DEFAULT 0,
                                ADD COLUMN told_at int NOT NULL DEFAULT 0;
     INSERT INTO {schema}.owner SELECT number, 0, '', true FROM generate_series(1, {shards} - 1) number;
     DROP TABLE {schema}.node;
     CREATE TABLE {schema}.node (name text PRIMARY KEY, instance bigint NOT NULL, alive_until timestamptz NOT NULL,
                                 since timestamptz NOT NULL, nodes int NOT NULL, leaving bool NOT NULL);
     CREATE SEQUENCE {schema}.node_number;
     ALTER TABLE {schema}.segment ADD COLUMN shard int NOT NULL DEFAULT 0, DROP CONSTRAINT segment_pkey,
                                  ADD PRIMARY KEY (shard, number);
     DO $$ DECLARE n int; BEGIN
         FOR n IN SELECT number FROM {schema}.segment LOOP
             EXECUTE format('ALTER TABLE {schema}.segment_%s RENAME TO segment_0_%s', n, n);
         END LOOP;
     END $$;
     CREATE TABLE {schema}.transit (number serial PRIMARY KEY, instance bigint NOT NULL);",
    "CREATE TABLE IF NOT EXISTS {schema}.carried (shard int, customer text, name text, text text NOT NULL, PRIMARY KEY (shard, customer, name));
     ALTER TABLE {schema}.node ADD COLUMN configuration text NOT NULL DEFAULT '';",
    "ALTER TABLE {schema}.spool ADD COLUMN move text;",
];
/// The columns of a message or a fact in any table, in the order of COPY.
pub(super) const COLUMNS: &str = "seq, part, id, note, head, body, crc, lines";

/// Creates the schema and its tables, or brings them to this program's version. If several programs try, one does it.
pub(super) async fn migrate(link: &Link, settings: &Settings) -> Result<(), OpenError> {
    let schema = &settings.server.schema;
    let failed =
        |failure: Failure| OpenError::Database { what: format!("preparing {}", settings.server), why: failure.why };
    let known = link.client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[schema]).await;
    if known.map_err(|error| failed(error.into()))?.is_empty() {
        // Another program may create it at this moment. If this really fails, the next statement fails, too.
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
            // The spool of an older program keeps one shard, because with several its mail would be looked for in the wrong one.
            let shards = if found == 0 { settings.shards } else { 1 };
            let migration = migration.replace("{schema}", schema).replace("{shards}", &shards.to_string());
            let mark = format!("DELETE FROM {schema}.format; INSERT INTO {schema}.format VALUES ({version})");
            link.client.batch_execute(&format!("{migration} {mark}")).await?;
        }
        link.client.batch_execute("COMMIT").await?;
        Ok::<_, tokio_postgres::Error>(found)
    };
    let found = in_lock.await.map_err(|error| failed(error.into()))?;
    refused(found, settings).map_or(Ok(()), Err)
}

/// Returns why this program cannot use the tables, if a newer one has changed them. Only reads.
pub(super) async fn check_version(link: &Link, settings: &Settings) -> Result<Option<OpenError>, Failure> {
    let table = format!("{}.format", settings.server.schema);
    let row = link.client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = link.client.query(&format!("SELECT version FROM {table}"), &[]).await?;
    let found = rows.first().map_or(0, |row| row.get(0));
    Ok(refused(found, settings))
}

fn refused(found: i32, settings: &Settings) -> Option<OpenError> {
    (found > VERSION).then(|| OpenError::OtherFormat { place: settings.server.to_string(), found, known: VERSION })
}

/// The name of a segment's table.
pub(super) fn segment(schema: &str, shard: u32, segment: u32) -> String {
    format!("{schema}.segment_{shard}_{segment}")
}

/// The name of a table of mail in transit.
pub(super) fn transit(schema: &str, number: i32) -> String {
    format!("{schema}.transit_{number}")
}

/// Returns the statements that create a segment. Its rows are never changed, so it needs no vacuum, and signed mail does not compress well.
pub(super) fn make_segment(schema: &str, shard: u32, segment: u32) -> String {
    let table = self::segment(schema, shard, segment);
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (seq int NOT NULL, part smallint NOT NULL, id bigint NOT NULL, note bytea, head bytea, \
         body bytea, crc int, lines bytea, PRIMARY KEY (seq, part)) \
         WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false); \
         ALTER TABLE {table} ALTER head SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO {schema}.segment (shard, number) VALUES ({shard}, {segment}) ON CONFLICT DO NOTHING"
    )
}

/// Returns the statements that delete a segment.
pub(super) fn drop_segment(schema: &str, shard: u32, segment: u32) -> String {
    let table = self::segment(schema, shard, segment);
    format!("DROP TABLE IF EXISTS {table}; DELETE FROM {schema}.segment WHERE shard = {shard} AND number = {segment}")
}

/// Returns the statements that create a table of mail in transit with its number. It is deleted before a vacuum would be worthwhile.
pub(super) fn make_transit(schema: &str, number: i32) -> String {
    let table = transit(schema, number);
    format!(
        "CREATE TABLE {table} (shard int NOT NULL, seq int NOT NULL, part smallint NOT NULL, id bigint NOT NULL, note bytea, \
         head bytea, body bytea, crc int, lines bytea, PRIMARY KEY (shard, seq, part)) \
         WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false); \
         ALTER TABLE {table} ALTER head SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL"
    )
}

/// Returns the statement that copies rows into a segment.
pub(super) fn copy_in(table: &str) -> String {
    format!("COPY {table} ({COLUMNS}) FROM STDIN BINARY")
}

/// Returns the statement that copies rows into a table of mail in transit.
pub(super) fn copy_in_transit(table: &str) -> String {
    format!("COPY {table} (shard, {COLUMNS}) FROM STDIN BINARY")
}

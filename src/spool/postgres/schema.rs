//! The tables, and how they come about.
//!
//! | table | a row is | written |
//! |---|---|---|
//! | `format` | the version of these tables | by a migration |
//! | `spool` | the spool's name and the number of its shards | by a migration. Whoever joins takes it `FOR UPDATE` |
//! | `node` | a node, and until when it lives, by the database's clock | by the node, once a second. Whoever takes a dead node's shard deletes it |
//! | `owner` | who owns a shard, how often the owner changed, and up to where a journal has what the shard tells | at a takeover, a hand-over and a new connection. Every transaction of a shard takes its row `FOR KEY SHARE` |
//! | `segment` | a segment of a shard that exists | when a segment is made and when it is given back |
//! | `segment_S_N` | part of a message, or what became of one | by COPY, never changed |
//! | `transit` | a table of mail that is on its way to its shard's owner, and the process that fills it | when it is made and when it is given back |
//! | `carried` | something that is known of a customer beside its mail, or of all nodes | by the shard's owner; by whichever node changes it |
//! | `transit_N` | part of a message | by COPY. The owner moves it to a segment in one transaction |

use super::link::{Failure, Link};
use super::{OpenError, Settings};

/// The version of the tables that this program reads and writes.
const VERSION: i32 = 3;

/// What makes the tables of each version from those of the one before.
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
    "CREATE TABLE {schema}.carried (shard int, customer text, name text, text text NOT NULL, PRIMARY KEY (shard, customer, name));
     ALTER TABLE {schema}.node ADD COLUMN configuration text NOT NULL DEFAULT '';",
];
/// The columns of a message or a fact in any table, in the order in which rows are copied.
pub(super) const COLUMNS: &str = "seq, part, id, note, head, body, crc, lines";

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
            // A spool of an older program is one shard for ever: its mail would be looked for in others.
            let shards = if found == 0 { settings.shards } else { 1 };
            let migration = migration.replace("{schema}", schema).replace("{shards}", &shards.to_string());
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
pub(super) fn segment(schema: &str, shard: u32, segment: u32) -> String {
    format!("{schema}.segment_{shard}_{segment}")
}

/// The name of a table of mail in transit.
pub(super) fn transit(schema: &str, number: i32) -> String {
    format!("{schema}.transit_{number}")
}

/// What makes a segment. Nothing in it is ever changed, so nothing in it is ever to be vacuumed, and signed mail does not compress well.
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

/// What gives a segment back.
pub(super) fn drop_segment(schema: &str, shard: u32, segment: u32) -> String {
    let table = self::segment(schema, shard, segment);
    format!("DROP TABLE IF EXISTS {table}; DELETE FROM {schema}.segment WHERE shard = {shard} AND number = {segment}")
}

/// What makes a table of mail in transit, once it has its number. It is given back before a vacuum would be worth its work.
pub(super) fn make_transit(schema: &str, number: i32) -> String {
    let table = transit(schema, number);
    format!(
        "CREATE TABLE {table} (shard int NOT NULL, seq int NOT NULL, part smallint NOT NULL, id bigint NOT NULL, note bytea, \
         head bytea, body bytea, crc int, lines bytea, PRIMARY KEY (shard, seq, part)) \
         WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false); \
         ALTER TABLE {table} ALTER head SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL"
    )
}

/// What copies rows into a segment.
pub(super) fn copy_in(table: &str) -> String {
    format!("COPY {table} ({COLUMNS}) FROM STDIN BINARY")
}

/// What copies rows into a table of mail in transit.
pub(super) fn copy_in_transit(table: &str) -> String {
    format!("COPY {table} (shard, {COLUMNS}) FROM STDIN BINARY")
}

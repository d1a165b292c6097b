//! Makes the tables, or brings them up to date, at a start. If several nodes start at once, one of them does it.

use crate::postgres::{Connection, Failure, Server};

use super::super::{Error, Schema};
use super::failed;

/// The tables that count steps and changes.
const OWN: &str = "CREATE TABLE IF NOT EXISTS schema_step (owner text PRIMARY KEY, step bigint NOT NULL); \
                   CREATE TABLE IF NOT EXISTS changed (owner text PRIMARY KEY, version bigint NOT NULL)";

/// Runs the steps that are missing.
pub(super) async fn bring_up_to_date(
    connection: &Connection,
    server: &Server,
    schemas: &[Schema],
) -> Result<(), Error> {
    let place = server.to_string();
    let failed = |error: tokio_postgres::Error| failed(&place, Failure::from(error));
    let client = &connection.client;
    let known = client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&server.schema]).await;
    if known.map_err(failed)?.is_empty() {
        // Another node may make it at this moment. A real failure occurs again below.
        let made = client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", server.schema)).await;
        if let Err(error) = made {
            tracing::debug!(%error, server.schema, "the schema could not be made");
        }
    }
    if let Err(error) = client.batch_execute(OWN).await {
        tracing::debug!(%error, "the tables of steps could not be made");
    }
    if missing(connection, &place, schemas).await?.is_empty() {
        return Ok(());
    }
    client
        .batch_execute(&format!("BEGIN; {OWN}; LOCK TABLE schema_step IN ACCESS EXCLUSIVE MODE"))
        .await
        .map_err(failed)?;
    // Another node may have run steps meanwhile.
    for (schema, done) in missing(connection, &place, schemas).await? {
        for step in &schema.steps[done..] {
            client.batch_execute(&translated(step)).await.map_err(failed)?;
        }
        let (owner, known) = (schema.owner, schema.steps.len());
        let mark = format!(
            "INSERT INTO schema_step VALUES ('{owner}', {known}) ON CONFLICT (owner) DO UPDATE SET step = excluded.step"
        );
        client.batch_execute(&mark).await.map_err(failed)?;
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}

/// Returns the schemas that lack steps, with the number of steps that they have.
async fn missing(connection: &Connection, place: &str, schemas: &[Schema]) -> Result<Vec<(Schema, usize)>, Error> {
    let rows = connection.client.query("SELECT owner, step FROM schema_step", &[]).await;
    let rows = rows.map_err(|error| failed(place, Failure::from(error)))?;
    let mut missing = Vec::new();
    for schema in schemas {
        let row = rows.iter().find(|row| row.get::<_, &str>(0) == schema.owner);
        let found: i64 = row.map_or(0, |row| row.get(1));
        let done = schema.steps_done(place, found)?;
        if done < schema.steps.len() || row.is_none() {
            missing.push((*schema, done));
        }
    }
    Ok(missing)
}

/// Makes text compare by octets, as in SQLite, whatever the database's own order is.
fn translated(step: &str) -> String {
    step.replace(" TEXT", " TEXT COLLATE \"C\"")
}

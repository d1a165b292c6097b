//! Who owns the spool. One node does at a time; the others are refused until its lease has ended.
//!
//! Every owner has an epoch, a number that goes up with each change of the owner and with each new connection of the same one. Each of
//! its transactions takes the owner's row `FOR KEY SHARE` and finds its own epoch there. A new owner takes the row `FOR UPDATE`, which
//! waits for the transactions that are under way, and raises the epoch: nothing that the old owner sends afterwards is committed.
//! Nothing here depends on advisory locks, because these vanish when a standby is promoted.
//!
//! The lease ends by the database's clock for others, and earlier by the owner's own clock for the owner: it stops delivering before
//! anybody else begins.

use super::committer::{Position, last_row};
use super::link::{Failure, Link, application_name};
use super::{OpenError, Settings, schema};

/// What an owner finds when it takes the spool.
pub(super) struct Taken {
    pub epoch: i64,
    /// The name that the spool has had since it was made.
    pub spool: String,
    /// The last owner stopped in good order: nothing was in flight.
    pub was_clean: bool,
}

/// What an owner finds over a new connection.
pub(super) struct Resumed {
    pub epoch: i64,
    /// The last row of the active segment, before anything was taken back. `None` if there is no such segment.
    pub last: Option<i32>,
}

/// Why a node does not have the spool, or not any more.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another node owns it.
    Owned { node: String, left: f64 },
    /// The database failed.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Refused::Failed(error.into())
    }
}

/// Takes the spool at a start, unless another node that is alive owns it. `instance` tells this process from every other, also from
/// one of the same name.
pub(super) async fn take(link: &Link, settings: &Settings, instance: i64) -> Result<Taken, OpenError> {
    match try_take(link, settings, instance).await {
        Ok(taken) => Ok(taken),
        Err(refused) => {
            // The transaction ends, so that its locks do.
            let _ = link.client.batch_execute("ROLLBACK").await;
            Err(match refused {
                Refused::Owned { node, left } => OpenError::InUse { place: settings.to_string(), node, left },
                Refused::Failed(failure) => {
                    OpenError::Database { what: format!("taking {settings}"), why: failure.why }
                }
            })
        }
    }
}

async fn try_take(link: &Link, settings: &Settings, instance: i64) -> Result<Taken, Refused> {
    let Settings { schema, node, .. } = settings;
    link.client.batch_execute("BEGIN").await?;
    let query = format!("SELECT epoch, node, clean, spool FROM {schema}.owner WHERE shard = 0 FOR UPDATE");
    let row = link.client.query_one(&query, &[]).await?;
    let (epoch, owner, was_clean): (i64, String, bool) = (row.get(0), row.get(1), row.get(2));
    if owner != *node {
        let query = format!(
            "SELECT extract(epoch FROM alive_until - clock_timestamp())::float8 FROM {schema}.node WHERE name = $1 FOR UPDATE"
        );
        let left: Option<f64> = link.client.query_opt(&query, &[&owner]).await?.map(|row| row.get(0));
        if let Some(left) = left.filter(|left| *left > 0.0) {
            return Err(Refused::Owned { node: owner, left });
        }
    }
    let epoch = epoch + 1;
    let update = format!("UPDATE {schema}.owner SET epoch = $1, node = $2, clean = false WHERE shard = 0");
    link.client.execute(&update, &[&epoch, node]).await?;
    link.client.execute(&format!("DELETE FROM {schema}.node"), &[]).await?;
    let insert = format!("INSERT INTO {schema}.node VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))");
    link.client.execute(&insert, &[node, &instance, &settings.lease.as_secs_f64()]).await?;
    link.client.batch_execute("COMMIT").await?;
    Ok(Taken { epoch, spool: row.get(3), was_clean })
}

/// Goes on as the owner over a new connection, under the next epoch. `None` if another node owns the spool by now. `before` is the
/// process that served the old connection: it may still be at work on what was sent last. What came of that is taken back: everything
/// behind the position, which nobody was told of.
pub(super) async fn resume(
    link: &Link,
    settings: &Settings,
    epoch: i64,
    before: i32,
    position: &Position,
) -> Result<Option<Resumed>, Failure> {
    let Settings { schema, .. } = settings;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE pid = $1 AND pid <> pg_backend_pid() AND usename = current_user AND application_name = $2";
    link.client.query(end, &[&before, &application_name(settings, "writer")]).await?;
    link.client.batch_execute("BEGIN").await?;
    let query = format!("SELECT epoch FROM {schema}.owner WHERE shard = 0 FOR UPDATE");
    let found: i64 = link.client.query_one(&query, &[]).await?.get(0);
    if found != epoch {
        link.client.batch_execute("ROLLBACK").await?;
        return Ok(None);
    }
    let next = epoch + 1;
    link.client.execute(&format!("UPDATE {schema}.owner SET epoch = $1 WHERE shard = 0"), &[&next]).await?;
    let last = last_row(link, schema, position.segment).await?;
    if last.is_some_and(|last| last > position.last) {
        let table = schema::table(schema, position.segment);
        link.client.execute(&format!("DELETE FROM {table} WHERE seq > $1"), &[&position.last]).await?;
    }
    link.client.batch_execute("COMMIT").await?;
    if let Some(warning) = link.take_warning() {
        return Err(Failure::new(format!("the server warned: {warning}")));
    }
    Ok(Some(Resumed { epoch: next, last }))
}

/// Lengthens the lease. Returns false if another node has taken the spool.
pub(super) async fn renew(link: &Link, settings: &Settings, instance: i64) -> Result<bool, Failure> {
    let update = format!(
        "UPDATE {}.node SET alive_until = clock_timestamp() + make_interval(secs => $2) WHERE instance = $1",
        settings.schema
    );
    Ok(link.client.execute(&update, &[&instance, &settings.lease.as_secs_f64()]).await? == 1)
}

/// Gives the spool up at a stop, so that another node need not wait. `clean` says that nothing was in flight.
pub(super) async fn release(
    link: &Link,
    settings: &Settings,
    epoch: i64,
    instance: i64,
    clean: bool,
) -> Result<(), Failure> {
    let schema = &settings.schema;
    let update = format!("UPDATE {schema}.owner SET clean = $2 WHERE shard = 0 AND epoch = $1");
    link.client.execute(&update, &[&epoch, &clean]).await?;
    link.client.execute(&format!("DELETE FROM {schema}.node WHERE instance = $1"), &[&instance]).await?;
    Ok(())
}

/// What begins a transaction of the owner. It returns a row only as long as the epoch is this one.
pub(super) fn begin(schema: &str, epoch: i64) -> String {
    format!("BEGIN; SELECT epoch FROM {schema}.owner WHERE shard = 0 AND epoch = {epoch} FOR KEY SHARE")
}

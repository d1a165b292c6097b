//! The nodes in the database, and the ownership of shards.
//!
//! A node joins at its start, renews its row once a second, and leaves when it stops. The configuration limits how many nodes may be alive
//! at once. It must be the same on all nodes, because the caps of routes that customers share are divided by that number.
//!
//! A shard has one owner. Each owner has an epoch: a number that grows with each change of the owner, and with each new connection of the
//! same owner. Every transaction of the owner locks the owner's row `FOR KEY SHARE` and checks its epoch there. A new owner locks the row
//! `FOR UPDATE`, which waits for running transactions, and raises the epoch. From then on, nothing that the old owner sends is committed.
//! No advisory locks are used, because they vanish when a standby is promoted.
//!
//! A node that takes a shard from a dead node deletes the dead node's row in the same transaction. If that node was only frozen, it finds
//! no row to renew when it wakes up, and stops.
//!
//! Other nodes judge a lease by the database's clock. The node itself uses its own clock and an earlier end, so that it stops delivering
//! before another node begins. If the database's clock leaps ahead, all leases seem to have ended. So a node does not believe that of a node
//! whose renewal it has just seen (`leases`).

use std::cmp::Ordering;
use std::time::Duration;

use super::link::{Failure, Link, application_name};
use super::placement::{Member, View};
use super::position::{Position, last_row};
use super::{OpenError, Settings, mark, schema};
use crate::postgres::Server;
use crate::spool::index::Place;
use crate::spool::moving::Mark;

/// The connections of a node that take locks.
const LOCKING: [&str; 4] = ["writer", "keeper", "carrier", "transit"];
/// How long the end of a server process is waited for.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// The result of joining.
pub(super) struct Joined {
    /// The name that the spool has had since it was created.
    pub spool: String,
    /// The number of shards.
    pub shards: u32,
    /// A number that no other node has for a long time.
    pub number: u16,
}

/// The result of taking a shard.
pub(super) struct TakenShard {
    pub epoch: i64,
    /// True if the last owner stopped cleanly, with no attempt in progress.
    pub was_clean: bool,
    /// The place up to which a journal has the shard's lines.
    pub told: Place,
}

/// A shard's owner whose connection broke.
pub(super) struct Former {
    /// The number of the process.
    pub instance: i64,
    /// The last epoch that it knows.
    pub epoch: i64,
    /// The server process of the connection.
    pub server_process: i32,
}

/// The result of continuing over a new connection.
pub(super) struct Resumed {
    pub epoch: i64,
    /// The last row of the active segment before rows were removed. `None` if there is no such segment.
    pub last: Option<i32>,
    /// The rows that were kept.
    pub kept: Vec<i32>,
}

/// Why a node cannot join.
enum JoinRefused {
    /// The maximum number of nodes is alive.
    Crowded {
        nodes: String,
        left: f64,
    },
    /// A living node divides caps by another number.
    OtherCount {
        node: String,
        nodes: u32,
    },
    /// Nodes are alive that work on mail which is to be moved.
    Running {
        nodes: String,
        left: f64,
    },
    Moving(Box<Mark>),
    InMove,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for JoinRefused {
    fn from(error: E) -> Self {
        JoinRefused::Failed(error.into())
    }
}

/// Joins, unless the maximum number of other nodes is alive. `instance` distinguishes this process from all others, including an earlier
/// one of the same name, whose row it replaces.
pub(super) async fn join(link: &Link, settings: &Settings, instance: i64) -> Result<Joined, OpenError> {
    match try_join(link, settings, instance).await {
        Ok(joined) => Ok(joined),
        Err(refused) => {
            // End the transaction to release its locks.
            let _ = link.client.batch_execute("ROLLBACK").await;
            let place = settings.server.to_string();
            Err(match refused {
                JoinRefused::Crowded { nodes, left } => OpenError::InUse { place, nodes, left, most: settings.nodes },
                JoinRefused::OtherCount { node, nodes } => {
                    OpenError::OtherCount { place, node, theirs: nodes, ours: settings.nodes }
                }
                JoinRefused::Running { nodes, left } => OpenError::Running { place, nodes, left },
                JoinRefused::Moving(mark) => OpenError::Moving { place, mark },
                JoinRefused::InMove => OpenError::InMove { place },
                JoinRefused::Failed(failure) => {
                    OpenError::Database { what: format!("joining {place}"), why: failure.why }
                }
            })
        }
    }
}

async fn try_join(link: &Link, settings: &Settings, instance: i64) -> Result<Joined, JoinRefused> {
    let Settings { server: Server { schema, node, lease, .. }, nodes, .. } = settings;
    link.client.batch_execute("BEGIN").await?;
    // The lock makes nodes join one after the other.
    let query = format!("SELECT name, shards, nextval('{schema}.node_number'), move FROM {schema}.spool FOR UPDATE");
    let spool = link.client.query_one(&query, &[]).await?;
    if let Some(mark) = mark::decode(spool.get(3))?.filter(|_| !settings.for_move) {
        return Err(JoinRefused::Moving(Box::new(mark)));
    }
    let query = format!(
        "SELECT name, nodes, extract(epoch FROM alive_until - clock_timestamp())::float8 FROM {schema}.node \
         WHERE name <> $1 AND alive_until > clock_timestamp() ORDER BY name"
    );
    let alive = link.client.query(&query, &[node]).await?;
    let names = || alive.iter().map(|row| row.get(0)).collect::<Vec<String>>().join(", ");
    let left = alive.iter().map(|row| row.get::<_, f64>(2));
    if settings.for_move && !alive.is_empty() {
        return Err(JoinRefused::Running { nodes: names(), left: left.fold(0.0, f64::max) });
    }
    if !settings.for_move && alive.iter().any(|row| row.get::<_, String>(0) == mark::NODE) {
        return Err(JoinRefused::InMove);
    }
    let nodes = i32::try_from(*nodes).unwrap_or(i32::MAX);
    if let Some(other) = alive.iter().find(|row| row.get::<_, i32>(1) != nodes) {
        return Err(JoinRefused::OtherCount { node: other.get(0), nodes: other.get::<_, i32>(1).cast_unsigned() });
    }
    if alive.len() >= settings.nodes as usize {
        return Err(JoinRefused::Crowded { nodes: names(), left: left.fold(f64::INFINITY, f64::min) });
    }
    link.client.execute(&format!("DELETE FROM {schema}.node WHERE name = $1"), &[node]).await?;
    let insert = format!(
        "INSERT INTO {schema}.node VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), clock_timestamp(), $4, false, '')"
    );
    link.client.execute(&insert, &[node, &instance, &lease.as_secs_f64(), &nodes]).await?;
    link.client.batch_execute("COMMIT").await?;
    let (shards, number): (i32, i64) = (spool.get(1), spool.get(2));
    Ok(Joined { spool: spool.get(0), shards: shards.cast_unsigned(), number: number as u16 })
}

/// Takes a shard that has no owner, that this node owned before, or whose owner is dead. Returns `None` if another node has it, or if this
/// node itself counts as dead.
pub(super) async fn take(
    link: &Link,
    settings: &Settings,
    instance: i64,
    shard: u32,
) -> Result<Option<TakenShard>, Failure> {
    end_dead_owner(link, settings, shard).await?;
    let taken = try_take(link, settings, instance, shard).await;
    if !matches!(taken, Ok(Some(_))) {
        link.client.batch_execute("ROLLBACK").await?;
    }
    taken
}

/// Ends the server processes of a shard's dead owner. If the owner was frozen in the middle of a transaction, its connections are still
/// open, and the server would keep the owner's row locked while it waits for the next statement.
async fn end_dead_owner(link: &Link, settings: &Settings, shard: u32) -> Result<(), Failure> {
    let Server { schema, node, .. } = &settings.server;
    let query = format!(
        "SELECT node FROM {schema}.owner o WHERE shard = $1 AND node <> $2 AND node <> '' AND NOT EXISTS \
         (SELECT FROM {schema}.node n WHERE n.name = o.node AND n.alive_until > clock_timestamp())"
    );
    let Some(row) = link.client.query_opt(&query, &[&shard.cast_signed(), node]).await? else { return Ok(()) };
    let dead: String = row.get(0);
    let names: Vec<String> = LOCKING.iter().map(|purpose| application_name(&dead, purpose)).collect();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND usename = current_user AND application_name = ANY($1)";
    link.client.query(end, &[&names]).await?;
    Ok(())
}

async fn try_take(link: &Link, settings: &Settings, instance: i64, shard: u32) -> Result<Option<TakenShard>, Failure> {
    let Server { schema, node, .. } = &settings.server;
    let shard = shard.cast_signed();
    link.client.batch_execute("BEGIN").await?;
    let query =
        format!("SELECT epoch, node, clean, told_segment, told_at FROM {schema}.owner WHERE shard = $1 FOR UPDATE");
    let row = link.client.query_one(&query, &[&shard]).await?;
    let (epoch, owner, was_clean): (i64, String, bool) = (row.get(0), row.get(1), row.get(2));
    let told = Place { segment: row.get::<_, i32>(3).cast_unsigned(), at: row.get::<_, i32>(4).cast_unsigned() };
    if owner != *node && !owner.is_empty() {
        let query = format!("SELECT alive_until > clock_timestamp() FROM {schema}.node WHERE name = $1 FOR UPDATE");
        if link.client.query_opt(&query, &[&owner]).await?.is_some_and(|row| row.get(0)) {
            return Ok(None);
        }
        // If the owner was only frozen, it can no longer renew its lease.
        link.client.execute(&format!("DELETE FROM {schema}.node WHERE name = $1"), &[&owner]).await?;
    }
    if !is_member(link, schema, instance).await? {
        return Ok(None);
    }
    let epoch = epoch + 1;
    let update = format!("UPDATE {schema}.owner SET epoch = $1, node = $2, clean = false WHERE shard = $3");
    link.client.execute(&update, &[&epoch, node, &shard]).await?;
    link.client.batch_execute("COMMIT").await?;
    if let Some(warning) = link.take_warning() {
        return Err(Failure::new(format!("the server warned: {warning}")));
    }
    Ok(Some(TakenShard { epoch, was_clean, told }))
}

/// Returns true if this process still counts as a node, and keeps it one until the transaction ends. Whoever takes a shard from a process
/// removes the process from the nodes.
pub(super) async fn is_member(link: &Link, schema: &str, instance: i64) -> Result<bool, Failure> {
    let query = format!("SELECT 1 FROM {schema}.node WHERE instance = $1 FOR KEY SHARE");
    Ok(link.client.query_opt(&query, &[&instance]).await?.is_some())
}

/// Continues as the owner over a new connection, under the next epoch. Returns `None` if another node owns the shard now. The server
/// process of the old connection is ended first, because it may still execute the last statements. Rows behind the known position are
/// removed, because nobody was told about them. With `keeps`, they are kept, because they may be mail from transit that is nowhere else.
pub(super) async fn resume(
    link: &Link,
    settings: &Settings,
    shard: u32,
    former: &Former,
    position: &Position,
    keeps: bool,
) -> Result<Option<Resumed>, Failure> {
    let schema = &settings.server.schema;
    end_process(link, settings, "writer", former.server_process).await?;
    link.client.batch_execute("BEGIN").await?;
    let row = shard.cast_signed();
    let query = format!("SELECT epoch, node FROM {schema}.owner WHERE shard = $1 FOR UPDATE");
    let owner = link.client.query_one(&query, &[&row]).await?;
    let (epoch, node): (i64, String) = (owner.get(0), owner.get(1));
    // An earlier attempt to continue may have raised the epoch without this process learning of it. A lower epoch is from a backup.
    let is_own = match epoch.cmp(&former.epoch) {
        Ordering::Equal => true,
        Ordering::Greater => node == settings.server.node && is_member(link, schema, former.instance).await?,
        Ordering::Less => false,
    };
    if !is_own {
        link.client.batch_execute("ROLLBACK").await?;
        return Ok(None);
    }
    let next = epoch + 1;
    link.client.execute(&format!("UPDATE {schema}.owner SET epoch = $1 WHERE shard = $2"), &[&next, &row]).await?;
    let last = last_row(link, schema, shard, position.segment).await?;
    let mut kept = Vec::new();
    if last.is_some_and(|last| last > position.last) {
        let table = schema::segment(schema, shard, position.segment);
        if keeps {
            let query = format!("SELECT seq FROM {table} WHERE seq > $1 AND part = 0");
            kept = link.client.query(&query, &[&position.last]).await?.iter().map(|row| row.get(0)).collect();
        } else {
            link.client.execute(&format!("DELETE FROM {table} WHERE seq > $1"), &[&position.last]).await?;
        }
    }
    link.client.batch_execute("COMMIT").await?;
    if let Some(warning) = link.take_warning() {
        return Err(Failure::new(format!("the server warned: {warning}")));
    }
    Ok(Some(Resumed { epoch: next, last, kept }))
}

/// Ends the server process of this node's connection for `purpose`, if it still runs. Waits until it has ended, because only then it is
/// certain what became of its last transaction.
pub(super) async fn end_process(link: &Link, settings: &Settings, purpose: &str, process: i32) -> Result<(), Failure> {
    let end = format!(
        "SELECT pg_terminate_backend(pid, {}) FROM pg_stat_activity \
         WHERE pid = $1 AND pid <> pg_backend_pid() AND usename = current_user AND application_name = $2",
        ENDS_WITHIN.as_millis()
    );
    let ended = link.client.query(&end, &[&process, &application_name(&settings.server.node, purpose)]).await?;
    match ended.iter().all(|row| row.get(0)) {
        true => Ok(()),
        false => Err(Failure::new("the server has not ended the former connection yet")),
    }
}

/// Renews the node's lease. Returns false if another node has taken one of its shards, or has its name.
pub(super) async fn renew(link: &Link, settings: &Settings, instance: i64) -> Result<bool, Failure> {
    let update = format!(
        "UPDATE {}.node SET alive_until = clock_timestamp() + make_interval(secs => $2), configuration = $3 WHERE instance = $1",
        settings.server.schema
    );
    let configuration = settings.carried.as_ref().and_then(|carried| carried.configuration()).unwrap_or_default();
    Ok(link.client.execute(&update, &[&instance, &settings.server.lease.as_secs_f64(), &configuration]).await? == 1)
}

/// Reads the nodes, with their leases as the database judges them, and the owner of each shard.
pub(super) async fn look(link: &Link, settings: &Settings) -> Result<View, Failure> {
    let Server { schema, lease, .. } = &settings.server;
    let query = format!(
        "SELECT name, leaving, since + make_interval(secs => $1) < clock_timestamp(), configuration, \
                alive_until > clock_timestamp(), extract(epoch FROM alive_until)::float8 \
         FROM {schema}.node ORDER BY name"
    );
    // A node that has just joined may leave again soon.
    let settled = (*lease * 2).as_secs_f64();
    let nodes = link.client.query(&query, &[&settled]).await?;
    let member = |row: &tokio_postgres::Row| Member {
        name: row.get(0),
        is_leaving: row.get(1),
        has_settled: row.get(2),
        configuration: row.get(3),
        has_lease: row.get(4),
        lease_ends: row.get(5),
    };
    let nodes = nodes.iter().map(member).collect();
    let query = format!("SELECT node FROM {schema}.owner ORDER BY shard");
    let owners = link.client.query(&query, &[]).await?.iter().map(|row| row.get(0)).collect();
    Ok(View { nodes, owners })
}

/// Stores up to where a journal has a shard's lines, so that the next owner continues there. Returns false if the owner has another epoch.
pub(super) async fn tell(link: &Link, schema: &str, shard: u32, epoch: i64, told: Place) -> Result<bool, Failure> {
    let update = format!("UPDATE {schema}.owner SET told_segment = $3, told_at = $4 WHERE shard = $1 AND epoch = $2");
    let (shard, segment, at) = (shard.cast_signed(), told.segment.cast_signed(), told.at.cast_signed());
    Ok(link.client.execute(&update, &[&shard, &epoch, &segment, &at]).await? == 1)
}

/// Gives a shard up, so that another node need not wait for the lease. `clean` means that no attempt was in progress.
pub(super) async fn release(link: &Link, schema: &str, shard: u32, epoch: i64, clean: bool) -> Result<(), Failure> {
    let update = format!("UPDATE {schema}.owner SET node = '', clean = $3 WHERE shard = $1 AND epoch = $2");
    let _ = link.client.execute(&update, &[&shard.cast_signed(), &epoch, &clean]).await?;
    Ok(())
}

/// Marks the node as leaving, so that it gets no more shards.
pub(super) async fn begin_to_leave(link: &Link, schema: &str, instance: i64) -> Result<(), Failure> {
    let update = format!("UPDATE {schema}.node SET leaving = true WHERE instance = $1");
    let _ = link.client.execute(&update, &[&instance]).await?;
    Ok(())
}

pub(super) async fn leave(link: &Link, schema: &str, instance: i64) -> Result<(), Failure> {
    let _ = link.client.execute(&format!("DELETE FROM {schema}.node WHERE instance = $1"), &[&instance]).await?;
    Ok(())
}

/// Returns the statements that begin a transaction of a shard's owner. They return a row only while the owner has this epoch.
pub(super) fn begin(schema: &str, shard: u32, epoch: i64) -> String {
    format!("BEGIN; SELECT epoch FROM {schema}.owner WHERE shard = {shard} AND epoch = {epoch} FOR KEY SHARE")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::test_postgres;
    use crate::test_skip::skip;

    #[tokio::test]
    async fn a_former_connection_has_ended_before_anybody_looks_for_what_it_wrote() {
        let test = "a_former_connection_has_ended_before_anybody_looks_for_what_it_wrote";
        let server = match test_postgres::shared() {
            Ok(server) => server,
            Err(why) => return skip(test, why),
        };
        let settings = server.settings("former_connection");
        let link = Link::open(&settings, "transit").await.unwrap();
        let former = Link::open(&settings, "transit").await.unwrap();
        let signal = |signal: &str| {
            let sent = Command::new("kill").args([signal, &former.process.to_string()]).status();
            assert!(sent.unwrap().success());
        };
        signal("-STOP");
        let ended = end_process(&link, &settings, "transit", former.process).await;
        signal("-CONT");
        assert!(ended.is_err());
        while end_process(&link, &settings, "transit", former.process).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = "SELECT 1 FROM pg_stat_activity WHERE pid = $1";
        assert!(link.client.query(left, &[&former.process]).await.unwrap().is_empty());
    }
}

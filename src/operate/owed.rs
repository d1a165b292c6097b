//! Erasures that nodes owe. Each node has a record of its own, and one that is away when a recipient is erased would bring the recipient
//! back with it.
//!
//! Each node enters its name in a table that all share. An erasure leaves a row for every other node, which the node removes once its record
//! has lost the recipient: when it is asked, or later by itself. Until then the row has the address. A node that has not been there for
//! [`GIVEN_UP`] is forgotten with all that it owes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Actor, Error, Role, Service};
use crate::database::{self, Transaction};
use crate::time::Timestamp;

/// How often a node looks for erasures that it owes. Younger ones are left to the node that asks for them.
const EVERY: Duration = Duration::from_secs(30);
/// How often a node enters its name again.
const ENTERED_EVERY: Duration = Duration::from_secs(3600);
/// A node that has been away for this time is forgotten.
const GIVEN_UP: Duration = Duration::from_secs(400 * 86_400);

/// What a node owes.
struct Owed {
    recipient: String,
    /// Who erased the recipient, and at which node.
    actor: String,
    at: Timestamp,
}

impl Service {
    /// Notes that every other node owes this erasure.
    pub(super) async fn owe_erasure(&self, actor: &Actor, recipient: &str) -> Result<(), Error> {
        let database = self.nodes.database();
        if database.node().is_empty() {
            return Ok(());
        }
        let (recipient, alive) = (recipient.to_owned(), self.spool.others());
        let actor = format!("{actor} at {}", database.node());
        let noted = database.write(move |tables| note(tables, &actor, &recipient, alive));
        noted.await.map_err(|error| Error::from(error).within("nothing was erased"))
    }

    /// Returns the nodes that still owe the erasure of this recipient.
    pub(super) async fn nodes_that_owe(&self, recipient: &str) -> Result<Vec<String>, Error> {
        let recipient = recipient.to_owned();
        Ok(self.nodes.database().read(move |tables| owing(tables, &recipient)).await?)
    }

    /// Notes that this node has erased the recipient. If that fails, it is erased again, which changes nothing.
    pub(super) async fn owes_no_more(&self, recipient: &str) {
        let database = self.nodes.database();
        if database.node().is_empty() {
            return;
        }
        let recipient = recipient.to_owned();
        if let Err(error) = database.write(move |tables| settle(tables, &recipient)).await {
            tracing::warn!("it cannot be noted that a recipient is erased here: {error}");
        }
    }

    /// Erases what this node owes, at once and from time to time, until told to stop.
    pub async fn erase_owed(self, stopping: CancellationToken) {
        if self.nodes.database().node().is_empty() {
            return;
        }
        let mut since = Timestamp::EPOCH;
        loop {
            // At a start, nobody else waits for an answer to any of it.
            let until = if since == Timestamp::EPOCH { Timestamp::now() } else { Timestamp::now() - EVERY };
            let work = self.erase_owed_until(&mut since, until);
            let Some(done) = stopping.run_until_cancelled(work).await else { return };
            if let Err(error) = done {
                tracing::warn!("what this node has to erase is not known: {error}");
            }
            if stopping.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    async fn erase_owed_until(&self, entered: &mut Timestamp, until: Timestamp) -> Result<(), Error> {
        let (database, now) = (self.nodes.database(), Timestamp::now());
        if now.since(*entered) >= ENTERED_EVERY {
            database.write(enter).await?;
            *entered = now;
        }
        for owed in database.read(of_this_node).await?.into_iter().filter(|owed| owed.at <= until) {
            let actor = Actor::new(owed.actor, Role::Admin);
            if let Err(error) = self.erase_here(&actor, owed.recipient).await {
                tracing::warn!("a recipient that was erased at another node is not erased here: {error}");
            }
        }
        Ok(())
    }
}

fn enter(tables: &Transaction<'_>) -> Result<(), database::Error> {
    let now = Timestamp::now();
    let sql = "INSERT INTO ask_member (node, at) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET at = excluded.at";
    tables.execute(sql, &[tables.node().into(), now.into()])?;
    for table in ["ask_member", "ask_owed"] {
        tables.execute(&format!("DELETE FROM {table} WHERE at < $1"), &[(now - GIVEN_UP).into()])?;
    }
    Ok(())
}

fn note(tables: &Transaction<'_>, actor: &str, recipient: &str, alive: Vec<String>) -> Result<(), database::Error> {
    let mut nodes: BTreeSet<String> = alive.into_iter().collect();
    tables.query("SELECT node FROM ask_member", &[], |row| {
        nodes.insert(row.text(0)?.to_owned());
        Ok::<_, database::Error>(())
    })?;
    nodes.remove(tables.node());
    for node in &nodes {
        let sql = "INSERT INTO ask_owed (node, recipient, actor, at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (node, recipient) DO UPDATE SET actor = excluded.actor, at = excluded.at";
        tables.execute(sql, &[node.as_str().into(), recipient.into(), actor.into(), Timestamp::now().into()])?;
    }
    Ok(())
}

fn owing(tables: &Transaction<'_>, recipient: &str) -> Result<Vec<String>, database::Error> {
    let mut nodes = Vec::new();
    let sql = "SELECT node FROM ask_owed WHERE recipient = $1 ORDER BY node";
    tables.query(sql, &[recipient.into()], |row| {
        nodes.push(row.text(0)?.to_owned());
        Ok::<_, database::Error>(())
    })?;
    Ok(nodes)
}

fn settle(tables: &Transaction<'_>, recipient: &str) -> Result<(), database::Error> {
    let sql = "DELETE FROM ask_owed WHERE node = $1 AND recipient = $2";
    tables.execute(sql, &[tables.node().into(), recipient.into()]).map(drop)
}

fn of_this_node(tables: &Transaction<'_>) -> Result<Vec<Owed>, database::Error> {
    let mut all = Vec::new();
    let sql = "SELECT recipient, actor, at FROM ask_owed WHERE node = $1 ORDER BY at";
    tables.query(sql, &[tables.node().into()], |row| {
        all.push(Owed { recipient: row.text(0)?.to_owned(), actor: row.text(1)?.to_owned(), at: row.time(2)? });
        Ok::<_, database::Error>(())
    })?;
    Ok(all)
}

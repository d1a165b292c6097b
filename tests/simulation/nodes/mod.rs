//! Several nodes on one database, under one seed (`docs/simulation.md`).
//!
//! Each node is a relay as in the simulation of one: submission, the queue and delivery, with the same clients, servers and network. Its spool
//! is the one in PostgreSQL as it is, with the client that it has: owners, epochs, leases, committers, mail in transit, recovery, keepers. In
//! place of the server it has a model of PostgreSQL's transactions, locks and connections (`database`, `statements`, `wire`). A `plan` says
//! what happens, the `world` runs it, a `watch` stands between each node's queue and its spool, and the `judge` says whether every promise
//! was kept.

mod database;
mod judge;
mod plan;
mod statements;
mod tests;
mod watch;
mod wire;
mod world;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use self::database::Database;
pub use self::watch::Watch;
use super::here;

/// How long a silent node keeps its shards.
pub const LEASE: Duration = Duration::from_secs(4);

/// Connects the process of this thread with its machine's database, if it has a simulated one.
pub fn dial() -> Option<impl Future<Output = io::Result<database::Stream>>> {
    let machine = here()?;
    let database = Arc::clone(machine.hardware.database.get()?);
    Some(async move {
        match database.connect(machine.hardware.number) {
            Some(dialled) => dialled,
            None => std::future::pending().await,
        }
    })
}

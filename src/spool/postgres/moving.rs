//! The spool in PostgreSQL as one end of a move. The command that moves the mail joins as the only node, under a name of its own,
//! and owns every shard. The table `spool` holds the state of the move.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Failure;
use super::node::Node;
use super::read::{self, WholeMessage};
use super::rows::Encoded;
use super::shards::Shards;
use super::shared::Shared;
use super::{Postgres, mark, transit};
use crate::message::QueueId;
use crate::spool::moving::{Mark, Movable, Whole};
use crate::spool::{Durable, Error, Pending, owner};

/// How long to wait until mail in transit is in the log.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// The number of messages that are deleted in one transaction.
const AT_ONCE: usize = 10_000;

async fn read_mark(node: &Node) -> Result<Option<Mark>, Failure> {
    let link = read::reader(node)?;
    let query = format!("SELECT move FROM {}.spool", node.settings.server.schema);
    mark::decode(link.client.query_one(&query, &[]).await?.get(0))
}

async fn set_mark(node: &Node, mark: Option<Mark>) -> Result<(), Failure> {
    let link = read::reader(node)?;
    let text = mark.map(|mark| serde_json::to_string(&mark)).transpose();
    let text = text.map_err(|error| Failure::new(error.to_string()))?;
    link.take_warning();
    let update = format!("UPDATE {}.spool SET move = $1", node.settings.server.schema);
    link.client.execute(&update, &[&text]).await?;
    match link.take_warning() {
        Some(warning) => Err(Failure::new(format!("the server warned: {warning}"))),
        None => Ok(()),
    }
}

/// Returns the number of messages in transit.
async fn in_transit(node: &Node) -> Result<i64, Failure> {
    let link = read::reader(node)?;
    let schema = &node.settings.server.schema;
    let tables = link.client.query(&format!("SELECT number FROM {schema}.transit"), &[]).await?;
    let mut count = 0;
    for number in tables.iter().map(|row| row.get(0)) {
        match link.client.query_one(&transit::count(schema, number), &[]).await.map_err(Failure::from) {
            Ok(row) => count += row.get::<_, i64>(0),
            // The table was deleted meanwhile.
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(count)
}

async fn gathered(node: &Shards) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let owned = node.all().len();
        let left = in_transit(node).await?;
        if left == 0 && owned == node.shards as usize {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let why = format!("{left} messages are still on their way, and {owned} of {} shards are open", node.shards);
            return Err(Failure::new(why));
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Postgres {
    fn holder(&self, id: QueueId) -> Option<Arc<Shared>> {
        self.node.all().into_iter().find(|shard| shard.index().get(id).is_some())
    }
}

impl Movable for Postgres {
    fn place(&self) -> String {
        self.node.settings.server.to_string()
    }

    fn mark(&self) -> Pending<Result<Option<Mark>, Error>> {
        let node = Arc::clone(&self.node);
        Box::pin(async move { read_mark(&node).await.map_err(read::unread) })
    }

    fn set_mark(&self, mark: Option<Mark>) -> Pending<Result<(), Error>> {
        let node = Arc::clone(&self.node);
        Box::pin(async move {
            let written = set_mark(&node, mark).await;
            written.map_err(|failure| Error::Io {
                what: "writing the mark of a move".into(),
                source: std::io::Error::other(failure.why),
            })
        })
    }

    fn gathered(&self) -> Pending<Result<(), Error>> {
        let node = Arc::clone(&self.node);
        Box::pin(async move { gathered(&node).await.map_err(read::unread) })
    }

    fn holdings(&self) -> Vec<(QueueId, u64)> {
        let mut all: Vec<_> = self.node.all().iter().flat_map(|shard| owner::holdings(&**shard)).collect();
        all.sort_unstable();
        all
    }

    fn holds(&self, id: QueueId) -> bool {
        self.holder(id).is_some()
    }

    fn copy_out(&self, id: QueueId) -> Pending<Result<Whole, Error>> {
        let holder = self.holder(id);
        Box::pin(async move {
            let shard = holder.ok_or(Error::Unknown(id))?;
            let WholeMessage { meta, state, content, .. } = read::whole(&shard, id).await?;
            Ok(Whole { id, meta, state, content })
        })
    }

    fn copy_in(&self, message: Whole) -> Pending<Result<Durable, Error>> {
        let Whole { id, meta, state, content } = message;
        let lane = meta.lane.clone();
        self.commit_encoded(id, &lane, || Encoded::copy(id, &meta, &state, content))
    }

    fn forget(&self, ids: Vec<QueueId>) -> Pending<Result<(), Error>> {
        let shards = self.node.all();
        Box::pin(async move {
            for shard in shards {
                let own: Vec<QueueId> = {
                    let index = shard.index();
                    ids.iter().copied().filter(|id| index.get(*id).is_some()).collect()
                };
                for part in own.chunks(AT_ONCE) {
                    owner::forget(&*shard, part).await?;
                }
            }
            Ok(())
        })
    }
}

//! Background work besides the committers: keeps a connection for reading, and deletes settled segments.
//!
//! Segments are deleted oldest first. Otherwise a result could vanish before the message that it settles, and that message would be sent
//! again. So that one held message does not keep all later segments, waiting messages are copied forward when more than half of the used
//! space is settled mail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_postgres::SimpleQueryMessage;

use super::inbox::{Item, Request};
use super::link::{Failure, Link, in_time, rolled_back};
use super::node::{Lack, Node};
use super::rows::Encoded;
use super::shards::Shards;
use super::shared::Shared;
use super::{ownership, read, schema, transit};
use crate::message::QueueId;
use crate::spool::Error;
use crate::spool::index::{LOOK, Place};
use crate::spool::owner::Owner;

/// How often the connection for reading is checked.
const CONNECTION_TICK: Duration = Duration::from_millis(200);
/// How often settled segments are deleted.
const TICK: Duration = Duration::from_millis(500);
/// The number of messages that are copied before their commit is awaited.
const COPY_MESSAGES: usize = 64;

/// Keeps a connection for reading. One over which the server does not answer in time is ended, so that nobody waits for its answers.
pub(super) async fn keep_reader(node: Arc<Node>) {
    let timeout = node.settings.server.timeout;
    let mut asked = Instant::now();
    loop {
        let open = node.reader.load_full().filter(|link| !link.client.is_closed());
        match open {
            Some(link) if asked.elapsed() >= timeout / 2 => {
                asked = Instant::now();
                // Answers come in order, so this one waits for all before it.
                if !matches!(tokio::time::timeout(timeout, link.client.check_connection()).await, Ok(Ok(()))) {
                    tracing::warn!("the spool's database does not answer what is read from it; connecting again");
                    link.end().abort();
                    node.reader.store(None);
                }
            }
            Some(_) => {}
            None => match Link::open(&node.settings, "reader").await {
                Ok(link) => node.reader.store(Some(Arc::new(link))),
                Err(failure) => {
                    node.reader.store(None);
                    tracing::warn!(error = failure.why, "the spool's database cannot be reached for reading");
                    tokio::time::sleep(CONNECTION_TICK * 5).await;
                }
            },
        }
        tokio::time::sleep(CONNECTION_TICK).await;
    }
}

/// Deletes settled segments of all shards until the node stops.
pub(super) async fn keep_space(node: Arc<Shards>) {
    let mut link = None;
    // Remembered, so that each cause is logged once.
    let mut complained = None;
    let mut told = BTreeMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        if node.stopped().is_some() {
            return;
        }
        if let Err(failure) = tend(&node, &mut link, &mut told).await {
            link = None;
            if complained.as_ref() != Some(&failure.why) {
                tracing::warn!(error = failure.why, "space could not be given back; tried again until it can");
                complained = Some(failure.why);
            }
        }
    }
}

async fn tend(node: &Shards, link: &mut Option<Link>, told: &mut BTreeMap<u32, Place>) -> Result<(), Failure> {
    let open = connected(node, link).await?;
    in_time(open.limit, look_at_size(node, open)).await?;
    let mut first_failure = Ok(());
    for shard in node.all() {
        // Somebody may have locked the tables of one shard. The others still give space back.
        if let Err(failure) = tend_shard(&shard, connected(node, link).await?, told).await {
            if !failure.is_answer() {
                *link = None;
            }
            first_failure = first_failure.and(Err(failure));
        }
    }
    first_failure.and(transit::drop_empty(node, connected(node, link).await?).await)
}

async fn connected<'a>(node: &Node, link: &'a mut Option<Link>) -> Result<&'a Link, Failure> {
    Ok(match link {
        Some(open) => open,
        None => link.insert(Link::open(&node.settings, "keeper").await?),
    })
}

async fn tend_shard(shard: &Arc<Shared>, link: &Link, told: &mut BTreeMap<u32, Place>) -> Result<(), Failure> {
    in_time(link.limit, tell(shard, link, told)).await?;
    drop_settled(shard, link).await?;
    match worth_emptying(shard) {
        Some(oldest) => empty(shard, oldest).await,
        None => Ok(()),
    }
}

/// Stores in the database up to where the journal has a shard's lines.
async fn tell(shard: &Shared, link: &Link, told: &mut BTreeMap<u32, Place>) -> Result<(), Failure> {
    let place = shard.outbox().confirmed();
    if told.get(&shard.number) != Some(&place) {
        let epoch = shard.epoch.load(Ordering::Relaxed);
        // The committer may be about to get the next epoch.
        if ownership::tell(link, &shard.settings.server.schema, shard.number, epoch, place).await? {
            told.insert(shard.number, place);
        }
    }
    Ok(())
}

async fn look_at_size(node: &Node, link: &Link) -> Result<(), Failure> {
    let schema = &node.settings.server.schema;
    let query = format!(
        "SELECT COALESCE(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM \
         (SELECT '{schema}.segment_' || shard || '_' || number FROM {schema}.segment \
          UNION ALL SELECT '{schema}.transit_' || number FROM {schema}.transit) tables (name)"
    );
    let size: i64 = link.client.query_one(&query, &[]).await?.get(0);
    let size = size.cast_unsigned();
    node.disk_bytes.store(size, Ordering::Relaxed);
    node.settings.counters.disk_bytes.set(size.cast_signed());
    let most = node.settings.max_size;
    let lack = (size >= most).then(|| {
        format!(
            "it takes {size} octets in the database, and [spool] max_size allows {most}; raise that, or let mail drain"
        )
    });
    node.set_lack(Lack::Quota, lack);
    Ok(())
}

/// Deletes segments without waiting mail, starting with the oldest. The active segment stays.
async fn drop_settled(shared: &Shared, link: &Link) -> Result<(), Failure> {
    loop {
        let oldest = {
            let segments = shared.segments();
            let Some(oldest) = segments.keys().next().copied().filter(|_| segments.len() > 1) else { return Ok(()) };
            oldest
        };
        // The journal must also have the lines of the segment.
        let next = Place { segment: oldest + 1, at: 0 };
        if shared.index().segment_use(oldest).live > 0 || shared.outbox().is_unconfirmed(next) {
            return Ok(());
        }
        // The results of the segment's mail must be in the log, too. Otherwise a crash could take a result together with its events after
        // the message itself is gone, and nobody would learn what became of it. If the disk is so full that results cannot be written, the
        // segment makes room for them.
        if !matches!(shared.synced().await, Ok(()) | Err(Error::Full { .. })) {
            return Ok(());
        }
        drop_segment(shared, link, oldest).await?;
        shared.segments().remove(&oldest);
        if let Some(reader) = shared.reader.load_full() {
            reader.forget(&shared.table(oldest));
        }
    }
}

async fn drop_segment(shared: &Shared, link: &Link, segment: u32) -> Result<(), Failure> {
    let schema = &shared.settings.server.schema;
    let epoch = shared.epoch.load(Ordering::Relaxed);
    // A backup may have locked the table. The timeout keeps readers of the table from waiting behind this statement.
    let begin = format!("{}; SET LOCAL lock_timeout = '1s'", ownership::begin(schema, shared.number, epoch));
    let dropped = async {
        let begun = link.client.simple_query(&begin).await?;
        if !begun.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
            return Err(Failure::new("this node does not own the shard under this epoch any more"));
        }
        let drop = format!("{}; COMMIT", schema::drop_segment(schema, shared.number, segment));
        Ok(link.client.batch_execute(&drop).await?)
    };
    rolled_back(link, dropped).await
}

/// Returns the oldest segment if more than half of the data is settled.
fn worth_emptying(shared: &Shared) -> Option<u32> {
    let live = shared.index().live_bytes();
    let segments = shared.segments();
    let (oldest, len) = segments.iter().next().map(|(number, len)| (*number, *len))?;
    let active = *segments.keys().next_back()?;
    let closed: u64 = segments.range(..active).map(|(_, len)| len).sum();
    (oldest != active && closed > 2 * live + 2 * len).then_some(oldest)
}

/// Copies the waiting messages of a segment to the end of the log with their present states.
async fn empty(shared: &Arc<Shared>, segment: u32) -> Result<(), Failure> {
    let mut from = Some(QueueId::from_u64(0));
    while let Some(start) = from {
        let (ids, next) = shared.index().in_segment(segment, start, LOOK);
        from = next;
        for batch in ids.chunks(COPY_MESSAGES) {
            let mut answers = Vec::with_capacity(batch.len());
            for id in batch {
                answers.extend(copy(shared, *id, segment).await?);
            }
            for answer in answers {
                if !answer.await.unwrap_or(false) {
                    return Err(Failure::new("the copy could not be written"));
                }
                shared.settings.counters.copied.inc();
            }
        }
    }
    Ok(())
}

/// Sends a copy of one message to the committer. Returns `None` if it needs no copy, or cannot be copied now.
async fn copy(shared: &Arc<Shared>, id: QueueId, segment: u32) -> Result<Option<oneshot::Receiver<bool>>, Failure> {
    if shared.index().get(id).is_none_or(|entry| entry.place.segment != segment) {
        return Ok(None);
    }
    let message = match read::whole(shared, id).await {
        Ok(message) => message,
        Err(Error::Io { source, .. }) => return Err(Failure::new(source.to_string())),
        // The message was settled meanwhile, or is held.
        Err(_) => return Ok(None),
    };
    let read::WholeMessage { entry: before, meta, state, content } = message;
    let Some(copy) = Encoded::copy(id, &meta, &state, content) else { return Ok(None) };
    let index = shared.index();
    // The message has changed since it was read. A copy with the former state must not follow the change, so it is copied next time.
    let Some(now) = index.get(id).filter(|now| now.is_as(&before)) else { return Ok(None) };
    if now.place.segment != segment || index.is_unwritten(id) {
        return Ok(None);
    }
    let (reply, answer) = oneshot::channel();
    Ok(shared.inbox.push([Request::Write(Item::Copy(Box::new(copy), reply))]).ok().map(|()| answer))
}

#[cfg(test)]
mod tests {
    use super::super::committer::tests::{committer, fact};
    use super::*;
    use crate::test_postgres;
    use crate::test_skip::skip;

    #[tokio::test]
    async fn a_segment_is_dropped_after_the_results_of_its_mail_are_in_the_log() {
        let server = match test_postgres::shared() {
            Ok(server) => server,
            Err(why) => return skip("a_segment_is_dropped_after_the_results_of_its_mail_are_in_the_log", why),
        };
        let (mut committer, shared) = committer(server.settings("drop_after_results")).await;
        for _ in 0..2 {
            committer.write_one(fact(7)).await;
            committer.end_segment();
        }
        let link = Link::open(&shared.settings, "keeper").await.unwrap();
        let segments = || server.sql("SELECT count(*) FROM drop_after_results.segment");
        assert_eq!(segments(), "2");
        for (answer, left) in [(false, "2"), (true, "1")] {
            let dropping = drop_settled(&shared, &link);
            // The test is the committer.
            let barrier = async {
                let request = committer.next_request().await;
                assert_eq!(segments(), "2");
                match (request, answer) {
                    (Request::Write(item @ Item::Barrier(_)), true) => item.answer(),
                    (other, _) => other.refuse(|| Error::Stopped("it failed".into())),
                }
            };
            tokio::join!(dropping, barrier).0.unwrap();
            assert_eq!(segments(), left);
        }
    }
}

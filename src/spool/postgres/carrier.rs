//! Moves knowledge about customers from one owner to the next ([`Carried`](crate::spool::Carried)), and distributes the texts that all
//! nodes share.
//!
//! An owner writes changed texts once a second, and once more before it hands a shard over. An owner that dies loses the last second, as a
//! kill -9 does with the files of an embedded spool. The next owner reads the texts before its first attempt.
//!
//! There are few shared texts. Once a second, each node compares three states of each text: its own, the database's, and the last state in
//! which both were equal. If only one side has changed, the other takes the change over. If both have changed, the node's own text wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use super::link::{Failure, Link, in_time, rolled_back};
use super::node::Node;
use super::ownership;
use super::shards::Shards;
use super::shared::Shared;
use crate::message::CustomerId;
use crate::spool::carried::Texts;

/// How often changed texts are written and read.
const TICK: Duration = Duration::from_secs(1);
/// The number under which the shared texts are stored, in place of a shard.
const COMMON: i32 = -1;
/// The name of the text that says that the shared texts were written once.
const BEGUN: &str = "begun";

/// The texts in the database about each customer of a shard.
type Written = BTreeMap<(CustomerId, String), String>;

/// Reads the texts of a shard's former owner, before the first attempt.
pub(super) async fn take_over(shard: &Shared, link: &Link) -> Result<(), Failure> {
    let Some(carried) = &shard.settings.carried else { return Ok(()) };
    let mut customers: BTreeMap<CustomerId, Texts> = BTreeMap::new();
    for ((customer, name), text) in read(&shard.settings.server.schema, link, shard.number.cast_signed()).await? {
        customers.entry(customer).or_default().insert(name, text);
    }
    customers.into_iter().for_each(|(customer, texts)| carried.take_over(customer, texts));
    Ok(())
}

async fn read(schema: &str, link: &Link, shard: i32) -> Result<Written, Failure> {
    let query = format!("SELECT customer, name, text FROM {schema}.carried WHERE shard = $1");
    let rows = link.client.query(&query, &[&shard]).await?;
    Ok(rows.iter().map(|row| ((CustomerId::new(row.get(0)), row.get(1)), row.get(2))).collect())
}

/// Writes the texts about a shard's customers, before another node takes the shard.
pub(super) async fn hand_over(shard: &Shared, link: &Link) -> Result<(), Failure> {
    let now = known(&shard.node, &[shard.number]).remove(&shard.number).unwrap_or_default();
    write(shard, link, now, &mut Written::new()).await
}

/// Returns the texts about the customers of these shards.
fn known(node: &Node, shards: &[u32]) -> BTreeMap<u32, Written> {
    let mut known: BTreeMap<u32, Written> = BTreeMap::new();
    let Some(carried) = &node.settings.carried else { return known };
    for (customer, texts) in carried.of_customers(&|customer| shards.contains(&node.shard_of_customer(customer))) {
        let of_shard = known.entry(node.shard_of_customer(&customer)).or_default();
        of_shard.extend(texts.into_iter().map(|(name, text)| ((customer.clone(), name), text)));
    }
    known
}

/// Writes the texts that have changed since `written`.
async fn write(shard: &Shared, link: &Link, now: Written, written: &mut Written) -> Result<(), Failure> {
    let changed: Vec<_> = now.iter().filter(|(key, text)| written.get(*key) != Some(*text)).collect();
    if !changed.is_empty() {
        let (mut customers, mut names, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for ((customer, name), text) in &changed {
            customers.push(customer.as_str());
            names.push(name.as_str());
            texts.push(text.as_str());
        }
        let schema = &shard.settings.server.schema;
        let begin = ownership::begin(schema, shard.number, shard.epoch.load(Ordering::Relaxed));
        let put = format!(
            "INSERT INTO {schema}.carried SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[]) \
             ON CONFLICT (shard, customer, name) DO UPDATE SET text = excluded.text"
        );
        let in_transaction = async {
            let begun = link.client.simple_query(&begin).await?;
            if !begun.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
                return Err(Failure::new("this node does not own the shard under this epoch any more"));
            }
            let shard = shard.number.cast_signed();
            link.client.execute(&put, &[&shard, &customers, &names, &texts]).await?;
            Ok(link.client.batch_execute("COMMIT").await?)
        };
        rolled_back(link, in_transaction).await?;
    }
    *written = now;
    Ok(())
}

/// Writes changed texts and reads the other nodes' changes, until the node stops.
pub(super) async fn run(node: Arc<Shards>) {
    let mut link = None;
    let mut written: BTreeMap<u32, Written> = BTreeMap::new();
    let mut same = None;
    loop {
        let limit = node.settings.server.timeout;
        if let Err(failure) = in_time(limit, tend(&node, &mut link, &mut written, &mut same)).await {
            tracing::debug!(error = failure.why, "what is known of customers could not be written");
            link = None;
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn tend(
    node: &Shards,
    link: &mut Option<Link>,
    written: &mut BTreeMap<u32, Written>,
    same: &mut Option<Texts>,
) -> Result<(), Failure> {
    if node.settings.carried.is_none() {
        return Ok(());
    }
    let link = match link {
        Some(open) => open,
        None => link.insert(Link::open(&node.settings, "carrier").await?),
    };
    let shards = node.all();
    written.retain(|number, _| shards.iter().any(|shard| shard.number == *number));
    // A shard that is being handed over is skipped, because the hand-over writes its texts.
    let shards: Vec<_> = shards.into_iter().filter(|shard| !shard.is_leaving()).collect();
    let numbers: Vec<u32> = shards.iter().map(|shard| shard.number).collect();
    let mut known = known(node, &numbers);
    for shard in &shards {
        let now = known.remove(&shard.number).unwrap_or_default();
        write(shard, link, now, written.entry(shard.number).or_default()).await?;
    }
    agree(node, link, same).await
}

/// Synchronises the shared texts of this node and the database. `same` is the last state in which both were equal, and `None` at the start.
async fn agree(node: &Node, link: &Link, same: &mut Option<Texts>) -> Result<(), Failure> {
    let Some(carried) = &node.settings.carried else { return Ok(()) };
    let Some(ours) = carried.common() else { return Ok(()) };
    let schema = &node.settings.server.schema;
    let mut theirs: Texts =
        read(schema, link, COMMON).await?.into_iter().map(|((_, name), text)| (name, text)).collect();
    let has_begun = theirs.remove(BEGUN).is_some();
    // At the start, this node's files are older than what the other nodes have agreed on since. After a failure the last common state is
    // kept, so that later changes here are recognised as changes.
    let before = same.clone().unwrap_or_else(|| if has_begun { carried.common_at_start() } else { Texts::new() });
    let mut now = Texts::new();
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).chain(before.keys()).collect();
    for name in names {
        let (our, their, last) = (ours.get(name), theirs.get(name), before.get(name));
        let agreed = if our == last { their } else { our };
        if agreed != our && !carried.changed_elsewhere(name, agreed.map(String::as_str)) {
            // The text has no meaning on this node, so it stays as it is in the database.
            continue;
        }
        match agreed {
            Some(text) if agreed != their => {
                let put = format!(
                    "INSERT INTO {schema}.carried VALUES ($1, '', $2, $3) \
                     ON CONFLICT (shard, customer, name) DO UPDATE SET text = excluded.text"
                );
                link.client.execute(&put, &[&COMMON, name, text]).await?;
            }
            None if their.is_some() => {
                let delete = format!("DELETE FROM {schema}.carried WHERE shard = $1 AND name = $2");
                link.client.execute(&delete, &[&COMMON, name]).await?;
            }
            _ => {}
        }
        now.extend(agreed.map(|text| (name.clone(), text.clone())));
    }
    if !has_begun {
        let put = format!("INSERT INTO {schema}.carried VALUES ($1, '', $2, '') ON CONFLICT DO NOTHING");
        link.client.execute(&put, &[&COMMON, &BEGUN]).await?;
    }
    *same = Some(now);
    Ok(())
}

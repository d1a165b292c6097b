//! Shows operators the nodes and their shards. The data comes from the database, so any machine with the configuration can ask.

use serde::Serialize;

use super::link::{Failure, Link};
use super::{Settings, block_on, transit};

/// The state of a node in the database.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeStatus {
    /// The name in `[spool.postgres] node`.
    pub name: String,
    /// True if its lease has not ended.
    pub alive: bool,
    /// Seconds until its lease ends. Negative if it has ended.
    pub lease_seconds: f64,
    /// Seconds since it joined.
    pub up_seconds: f64,
    /// True if it is about to stop.
    pub leaving: bool,
    /// The shards that it owns.
    pub shards: Vec<i32>,
    /// The hash of its customers' configuration. Empty until the node knows it.
    pub configuration: String,
    /// True if its configuration of customers differs from that of most nodes.
    pub differs: bool,
}

/// The state of a shard in the database.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardStatus {
    /// The number of the shard, from 0.
    pub shard: i32,
    /// The name of its owner. Empty if it has none.
    pub owner: String,
    /// How often its owner changed or reconnected.
    pub epoch: i64,
}

/// The nodes and shards of a spool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// The nodes, by name.
    pub nodes: Vec<NodeStatus>,
    /// The shards, by number.
    pub shards: Vec<ShardStatus>,
    /// Messages that a node accepted for another node's customer, and that the owner does not have yet.
    pub in_transit: i64,
}

impl Overview {
    /// Returns true if every shard has a living owner, and all nodes have the same configuration of customers.
    pub fn is_in_order(&self) -> bool {
        let is_owned = |shard: &ShardStatus| self.nodes.iter().any(|node| node.alive && node.name == shard.owner);
        self.shards.iter().all(is_owned) && !self.nodes.iter().any(|node| node.differs)
    }
}

/// Reads the nodes and shards from the database. Blocks. The error says what is wrong.
pub fn overview(settings: &Settings) -> Result<Overview, String> {
    block_on(settings, ask(settings)).map_err(|failure| format!("{} cannot be asked: {}", settings.server, failure.why))
}

async fn ask(settings: &Settings) -> Result<Overview, Failure> {
    let schema = &settings.server.schema;
    let link = Link::open(settings, "overview").await?;
    let query = format!("SELECT shard, node, epoch FROM {schema}.owner ORDER BY shard");
    let shards: Vec<ShardStatus> = link
        .client
        .query(&query, &[])
        .await?
        .iter()
        .map(|row| ShardStatus { shard: row.get(0), owner: row.get(1), epoch: row.get(2) })
        .collect();
    let query = format!(
        "SELECT name, extract(epoch FROM alive_until - clock_timestamp())::float8, \
                extract(epoch FROM clock_timestamp() - since)::float8, leaving, configuration \
         FROM {schema}.node ORDER BY name"
    );
    let mut nodes: Vec<NodeStatus> = link
        .client
        .query(&query, &[])
        .await?
        .iter()
        .map(|row| {
            let (name, lease_seconds): (String, f64) = (row.get(0), row.get(1));
            let owned = shards.iter().filter(|shard| shard.owner == name).map(|shard| shard.shard).collect();
            NodeStatus {
                alive: lease_seconds > 0.0,
                lease_seconds,
                up_seconds: row.get(2),
                leaving: row.get(3),
                shards: owned,
                configuration: row.get(4),
                differs: false,
                name,
            }
        })
        .collect();
    mark(&mut nodes);
    let query = format!("SELECT number FROM {schema}.transit ORDER BY number");
    let tables: Vec<i32> = link.client.query(&query, &[]).await?.iter().map(|row| row.get(0)).collect();
    let mut in_transit = 0;
    for table in tables {
        match link.client.query_one(&transit::count(schema, table), &[]).await.map_err(Failure::from) {
            Ok(row) => in_transit += row.get::<_, i64>(0),
            // The table was deleted meanwhile.
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(Overview { nodes, shards, in_transit })
}

/// Marks the nodes whose configuration differs from that of most.
fn mark(nodes: &mut [NodeStatus]) {
    let known: Vec<String> = nodes
        .iter()
        .filter(|node| node.alive && !node.configuration.is_empty())
        .map(|node| node.configuration.clone())
        .collect();
    let Some(usual) = usual(known.iter().map(String::as_str)) else { return };
    for node in nodes.iter_mut().filter(|node| node.alive && !node.configuration.is_empty()) {
        node.differs = node.configuration != usual;
    }
}

/// Returns the most frequent of the nodes' configurations, which are given in the order of the nodes' names. Of equally frequent ones, it
/// returns the first.
pub(super) fn usual<'a>(known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.collect();
    let count = |one: &&str| known.iter().filter(|other| *other == one).count();
    // The last of several equals counts as the greatest, so the order is reversed.
    known.iter().rev().max_by_key(|one| count(one)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, configuration: &str) -> NodeStatus {
        NodeStatus {
            name: name.into(),
            alive: true,
            lease_seconds: 9.0,
            up_seconds: 100.0,
            leaving: false,
            shards: vec![0],
            configuration: configuration.into(),
            differs: false,
        }
    }

    #[test]
    fn a_node_with_other_customers_is_marked() {
        let marked = |configurations: &[&str]| {
            let mut nodes: Vec<_> = configurations.iter().map(|one| node("n", one)).collect();
            mark(&mut nodes);
            nodes.iter().map(|node| node.differs).collect::<Vec<_>>()
        };
        assert_eq!(marked(&["x", "x", "x"]), [false, false, false]);
        assert_eq!(marked(&["y", "x", "x"]), [true, false, false]);
        assert_eq!(marked(&["x", "y"]), [false, true]);
        assert_eq!(marked(&["x", ""]), [false, false], "one that does not know yet");
    }

    #[test]
    fn a_spool_is_in_order_if_every_shard_has_an_owner_that_lives() {
        let shard = |owner: &str| ShardStatus { shard: 0, owner: owner.into(), epoch: 1 };
        let overview = |nodes, owner| Overview { nodes, shards: vec![shard(owner)], in_transit: 0 };
        assert!(overview(vec![node("a", "x")], "a").is_in_order());
        assert!(!overview(vec![node("a", "x")], "").is_in_order());
        assert!(!overview(vec![NodeStatus { alive: false, ..node("a", "x") }], "a").is_in_order());
        assert!(!overview(vec![NodeStatus { differs: true, ..node("a", "x") }], "a").is_in_order());
    }
}

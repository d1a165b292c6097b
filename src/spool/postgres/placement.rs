//! Decides which node owns which shard. Has no side effects: every node computes the same plan from the same rows. If two nodes saw
//! different rows, the owner's row in the database lets only one of them succeed.
//!
//! A shard without an owner goes to the node with the fewest shards. When all nodes have settled, the node with the most shards hands one
//! at a time to the node with the fewest, until they differ by at most one. So a shard never moves without need, and a move delays the mail
//! of few customers at a time.

use std::collections::BTreeMap;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub name: String,
    /// True if it is about to stop, so that it gets no more shards.
    pub is_leaving: bool,
    /// True if it joined long enough ago to get shards that have an owner.
    pub has_settled: bool,
    /// The hash of its configuration of customers. Empty until the node knows it.
    pub configuration: String,
    /// True if its lease has not ended, by the database's clock.
    pub has_lease: bool,
    /// When its lease ends, by the database's clock: seconds since 1970. It changes with each renewal.
    pub lease_ends: f64,
}

/// The nodes and owners in the database.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The nodes by name. [`leases`](super::leases) leaves those that are alive.
    pub nodes: Vec<Member>,
    /// The name of each shard's owner; empty if it has none.
    pub owners: Vec<String>,
}

/// The next steps of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub take: Vec<u32>,
    /// A shard to hand over.
    pub give: Option<u32>,
}

impl View {
    /// Returns the shards without a living owner.
    pub fn orphans(&self) -> impl Iterator<Item = u32> {
        let is_alive = |name: &String| self.nodes.iter().any(|node| node.name == *name);
        (0..).zip(&self.owners).filter(move |(_, owner)| !is_alive(owner)).map(|(shard, _)| shard)
    }
}

/// Computes the plan of the node `me`. `holds` tells which shards it is working on. `is_left` tells which shards have had no owner for so
/// long that any node takes them.
pub(super) fn plan(view: &View, me: &str, holds: impl Fn(u32) -> bool, is_left: impl Fn(u32) -> bool) -> Plan {
    let stays = |node: &&Member| !node.is_leaving;
    let mut count: BTreeMap<&str, usize> =
        view.nodes.iter().filter(stays).map(|node| (node.name.as_str(), 0)).collect();
    let mut plan = Plan::default();
    if !count.contains_key(me) {
        return plan;
    }
    for (shard, owner) in (0..).zip(&view.owners) {
        if let Some(count) = count.get_mut(owner.as_str()) {
            *count += 1;
        }
        // A former process of this node owned the shard, so no other node may take it.
        if owner == me && !holds(shard) {
            plan.take.push(shard);
        }
    }
    let mut has_orphans = false;
    for shard in view.orphans() {
        has_orphans = true;
        let fewest = count.iter().min_by_key(|(name, count)| (**count, **name)).map(|(name, _)| *name);
        let Some(next) = fewest else { break };
        *count.entry(next).or_default() += 1;
        if next == me || is_left(shard) {
            plan.take.push(shard);
        }
    }
    // The shards of a node that is about to stop will move, too.
    let is_moving = has_orphans || view.nodes.iter().any(|node| node.is_leaving || !node.has_settled);
    if is_moving || !plan.take.is_empty() {
        return plan;
    }
    let most = count.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse(**name)));
    let fewest = count.values().min().copied().unwrap_or_default();
    if let Some((name, most)) = most
        && *name == me
        && *most > fewest + 1
    {
        plan.give = (0..).zip(&view.owners).filter(|(_, owner)| *owner == me).map(|(shard, _)| shard).last();
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn member(name: &str) -> Member {
        // `x!` is about to leave, and `x?` has just joined.
        let bare = name.trim_end_matches(['!', '?']);
        Member {
            name: bare.into(),
            is_leaving: name.ends_with('!'),
            has_settled: !name.ends_with('?'),
            configuration: String::new(),
            has_lease: true,
            lease_ends: 0.0,
        }
    }

    fn view(nodes: &str, owners: &str) -> View {
        let owner = |owner: &str| if owner == "-" { String::new() } else { owner.to_owned() };
        View {
            nodes: nodes.split_whitespace().map(member).collect(),
            owners: owners.split_whitespace().map(owner).collect(),
        }
    }

    #[test]
    fn a_node_takes_what_has_no_owner_and_gives_what_it_has_too_much_of() {
        /// The nodes, the owners, the node that asks, what it takes, and what it gives.
        type Case<'a> = (&'a str, &'a str, &'a str, &'a [u32], Option<u32>);
        let cases: [Case<'_>; 13] = [
            // The first node takes everything, including what its former process had.
            ("a", "- - - -", "a", &[0, 1, 2, 3], None),
            ("a", "dead dead - -", "a", &[0, 1, 2, 3], None),
            // Two nodes that join at once share the shards.
            ("a b", "- - - -", "a", &[0, 2], None),
            ("a b", "- - - -", "b", &[1, 3], None),
            // A dead node's shards go to the nodes with the fewest.
            ("a b", "a a dead b dead dead", "a", &[4], None),
            ("a b", "a a dead b dead dead", "b", &[2, 5], None),
            // A new node gets nothing until it has settled, and then one shard at a time.
            ("a b?", "a a a a", "a", &[], None),
            ("a b", "a a a a", "a", &[], Some(3)),
            ("a b", "a a a -", "a", &[], None),
            ("a b", "a a a -", "b", &[3], None),
            ("a b", "a a a b", "a", &[], Some(2)),
            ("a b", "a a b b", "a", &[], None),
            // A leaving node gets nothing.
            ("a b!", "a - b b", "b", &[], None),
        ];
        for (nodes, owners, me, take, give) in cases {
            let plan = plan(&view(nodes, owners), me, |_| true, |_| false);
            assert_eq!(plan, Plan { take: take.to_vec(), give }, "{me} of {nodes} with {owners}");
        }
    }

    #[test]
    fn a_process_takes_at_once_what_a_former_one_of_its_name_had() {
        let plan = plan(&view("a b", "a b a b"), "a", |shard| shard == 2, |_| false);
        assert_eq!(plan, Plan { take: vec![0], give: None });
    }

    #[test]
    fn what_lies_without_an_owner_for_long_is_taken_by_whoever_sees_it() {
        let plan = plan(&view("a b", "a - b b"), "b", |_| true, |shard| shard == 1);
        assert_eq!(plan.take, [1]);
    }

    #[test]
    fn differences_of_one_move_nothing() {
        for me in ["a", "b", "c"] {
            let plan = plan(&view("a b c", "a a b b c c a b"), me, |_| true, |_| false);
            assert_eq!(plan, Plan::default(), "{me}");
        }
    }

    proptest! {
        #[test]
        fn nodes_that_come_and_go_end_with_equal_shares_and_no_shard_has_two_takers(
            shards in 1usize..40,
            comings in proptest::collection::vec(proptest::collection::btree_set(0usize..5, 1..5), 1..6),
        ) {
            let name = |number: &usize| format!("node-{number}");
            let mut owners = vec![String::new(); shards];
            for alive in comings {
                let nodes: Vec<Member> = alive.iter().map(name).map(|name| member(&name)).collect();
                let mut given = BTreeSet::new();
                let mut moves = 0;
                loop {
                    let view = View { nodes: nodes.clone(), owners: owners.clone() };
                    let mut taken = BTreeSet::new();
                    let mut changed = false;
                    for node in &nodes {
                        let plan = plan(&view, &node.name, |_| true, |_| false);
                        for shard in plan.take {
                            prop_assert!(taken.insert(shard), "two take shard {}", shard);
                            owners[shard as usize] = node.name.clone();
                            changed = true;
                        }
                        if let Some(shard) = plan.give {
                            prop_assert!(given.insert(shard), "shard {} moves twice", shard);
                            owners[shard as usize] = String::new();
                            moves += 1;
                            changed = true;
                        }
                    }
                    if !changed {
                        break;
                    }
                    prop_assert!(moves <= shards);
                }
                let count = |node: &Member| owners.iter().filter(|owner| **owner == node.name).count();
                let counts: Vec<usize> = nodes.iter().map(count).collect();
                prop_assert_eq!(counts.iter().sum::<usize>(), shards);
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
    }
}

//! Judges which nodes are alive.
//!
//! The database's clock says which leases have ended. If that clock leaps ahead, all have, although every node renews its own within a
//! second. Whoever looked first would take all shards from nodes that are well. So a node also counts as alive for as long as it may deliver
//! after a renewal that this process has seen, by this process's own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::placement::View;

/// Returns until when a process may deliver after it asked for its lease at `asked`. Other nodes wait longer, in case the clocks run at
/// different speeds.
pub(super) fn lease_end(asked: Instant, lease: Duration) -> Instant {
    asked + lease.mul_f64(0.8)
}

/// The renewals that this process has seen, by the names of the nodes.
#[derive(Default)]
pub(super) struct Leases(BTreeMap<String, Seen>);

/// What was last seen of a node's lease.
struct Seen {
    ends: f64,
    /// When a renewal was seen. `None` if the lease is still as it was at first sight.
    renewed: Option<Instant>,
}

impl Leases {
    /// Returns the view without the nodes that are dead.
    pub fn living(&mut self, mut view: View, lease: Duration, now: Instant) -> View {
        self.0.retain(|name, _| view.nodes.iter().any(|node| node.name == *name));
        view.nodes.retain(|node| {
            let first = Seen { ends: node.lease_ends, renewed: None };
            let seen = self.0.entry(node.name.clone()).or_insert(first);
            if seen.ends != node.lease_ends {
                *seen = Seen { ends: node.lease_ends, renewed: Some(now) };
            }
            node.has_lease || seen.renewed.is_some_and(|renewed| now < lease_end(renewed, lease))
        });
        view
    }
}

#[cfg(test)]
mod tests {
    use super::super::placement::Member;
    use super::*;

    #[test]
    fn a_node_whose_renewal_was_just_seen_is_alive_although_the_databases_clock_leapt_ahead() {
        let (lease, begin) = (Duration::from_secs(10), Instant::now());
        let mut leases = Leases::default();
        let mut look = |seconds: u64, has_lease: bool, lease_ends: f64| {
            let node = Member {
                name: "b".into(),
                is_leaving: false,
                has_settled: true,
                configuration: String::new(),
                has_lease,
                lease_ends,
            };
            let view = View { nodes: vec![node], owners: Vec::new() };
            !leases.living(view, lease, begin + Duration::from_secs(seconds)).nodes.is_empty()
        };
        assert!(!look(0, false, 5.0), "nobody has seen it alive");
        assert!(look(1, true, 20.0));
        // The clock leaps, and the node renews its lease.
        assert!(look(2, false, 20.0));
        assert!(look(3, true, 3600.0));
        // It leaps once more, and the node is dead.
        assert!(look(4, false, 3600.0) && look(10, false, 3600.0));
        assert!(!look(11, false, 3600.0));
    }
}

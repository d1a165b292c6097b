//! A node with other customers' files says so, and is marked.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, with_cluster};
use crate::known::soon;
use crate::network::NODES;
use crate::support::relay::get;

const SOON: Duration = Duration::from_secs(60);

/// What `/readyz` says of a node's configuration: its hash, and whether most nodes have another one.
fn said(cluster: &Cluster, node: usize) -> Option<(String, bool)> {
    let answer = get(cluster.site(node).web, "/readyz");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let configuration = &body["configuration"];
    Some((configuration["digest"].as_str()?.to_owned(), configuration["differs"].as_bool()?))
}

#[test]
fn a_node_with_other_customers_files_says_so_and_is_marked() {
    with_cluster("a_node_with_other_customers_files_says_so_and_is_marked", "", a_node_differs);
}

fn a_node_differs(mut cluster: Cluster) {
    let differs = |cluster: &Cluster| [0, 1, 2].map(|node| said(cluster, node).map(|(_, differs)| differs));
    soon("all nodes have the same", SOON, [Some(false); NODES], || differs(&cluster));
    let digests = [0, 1, 2].map(|node| said(&cluster, node).unwrap().0);
    assert!(digests[0] == digests[1] && digests[1] == digests[2] && !digests[0].is_empty(), "{digests:?}");
    let listed = cluster.site(0).operate(&["node", "list"]);
    let printed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.status.success() && printed.matches(": alive for ").count() == NODES, "{printed}");

    let file = cluster.site(2).customer_file("own0");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, before.replace("concurrency = 2", "concurrency = 1")).unwrap();
    cluster.node(2).signal("HUP");
    soon("the node says that it differs, and no other does", SOON, [Some(false), Some(false), Some(true)], || {
        differs(&cluster)
    });
    let listed = cluster.operate_any(1, &["node", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let marked: Vec<bool> =
        listed["nodes"].as_array().unwrap().iter().map(|node| node["differs"].as_bool().unwrap()).collect();
    assert_eq!(marked, [false, false, true], "{listed}");
    assert!(cluster.node(2).log().contains("are not those of most nodes"));

    std::fs::write(&file, before).unwrap();
    cluster.node(2).signal("HUP");
    soon("it is one of them again", SOON, [Some(false); NODES], || differs(&cluster));
    for node in 0..NODES {
        cluster.take(node).stop();
    }
}

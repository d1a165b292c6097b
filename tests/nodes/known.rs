//! What is known at one node is known at all: suppression lists and tokens. While the database is away, nobody is let in by what may be old.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, with_cluster};
use crate::support::client::{Client, message};

/// How soon a change must hold at the other nodes, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(3);

/// Asks an API; gives the status and the rest.
pub fn ask(api: SocketAddr, token: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(api).expect("the API answers");
    let request = format!(
        "GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap_or_default().parse().unwrap(), answer)
}

/// Waits for something that must come about soon.
pub fn soon<T: PartialEq + std::fmt::Debug>(what: &str, within: Duration, expected: T, mut look: impl FnMut() -> T) {
    let began = Instant::now();
    loop {
        let found = look();
        if found == expected {
            return;
        }
        assert!(began.elapsed() < within, "{what}: {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a node answers to a recipient.
fn rcpt(cluster: &Cluster, node: usize, recipient: &str) -> String {
    let mut client = Client::connect(cluster.addresses()[node]).unwrap();
    let from = "a@own1.example";
    let heard = client.send(from, &[recipient], &message(from, recipient, &format!("known {}", rand::random::<u32>())));
    heard.unwrap_or_else(|refused| refused.to_string())
}

#[test]
fn a_list_and_a_token_that_change_at_one_node_change_at_all() {
    let name = "a_list_and_a_token_that_change_at_one_node_change_at_all";
    with_cluster(name, "", changes_hold_everywhere);
}

fn changes_hold_everywhere(cluster: Cluster) {
    let refused = |node: usize| rcpt(&cluster, node, "gone@example.net").contains("550 5.7.1");
    assert!(!refused(1) && !refused(2));
    cluster.operate(0, &["suppression", "add", "own1", "gone@example.net", "--reason", "asked by telephone"]);
    for node in [1, 2] {
        soon("the other nodes refuse the recipient", SOON, true, || refused(node));
    }
    cluster.operate(1, &["suppression", "remove", "own1", "gone@example.net"]);
    soon("the others take it again", SOON, [false, false, false], || [0, 1, 2].map(&refused));

    let token = cluster.operate(0, &["token", "add", "webcrm", "--role", "read"]);
    let token = token.split_whitespace().find(|word| word.starts_with("postbud_")).expect("a token").to_owned();
    let status = |node: usize| ask(cluster.apis[node], &token, "/customers").0;
    soon("a new token counts at all nodes", SOON, [200, 200, 200], || [0, 1, 2].map(status));
    // A node that does not know what was revoked lets nobody in, and says why.
    cluster.network.cut_from_database(2);
    soon("a node without the database refuses", Duration::from_secs(15), 503, || status(2));
    let answer = ask(cluster.apis[2], &token, "/customers").1;
    assert!(answer.contains("which tokens count is not known now"), "{answer}");
    cluster.operate(1, &["token", "revoke", "webcrm"]);
    assert_eq!(status(1), 401);
    soon("it counts at none", SOON, 401, || status(0));
    assert_eq!(status(2), 503, "nor where nobody knows of it");
}

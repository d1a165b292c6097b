//! Webhooks when a node dies in the middle: every event comes, and one that comes again has the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, OWN, with_webhook};
use crate::known::soon;
use crate::network::NODES;
use crate::support::client::{Client, message};

const EACH: usize = 6;
const SOON: Duration = Duration::from_secs(60);

/// A receiver of webhooks, which remembers every event as often as it came.
#[derive(Clone, Default)]
pub struct Hook(Arc<Mutex<Vec<Value>>>);

impl Hook {
    /// Begins to listen at an address.
    pub fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hook = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let hook = hook.clone();
                std::thread::spawn(move || hook.serve(stream));
            }
        });
        address
    }

    /// Takes calls over a connection until that ends.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let batch: Value = serde_json::from_slice(&body).ok()?;
            let events = batch["events"].as_array().or(batch.as_array()).cloned().unwrap_or_default();
            assert!(!events.is_empty(), "{batch}");
            self.0.lock().unwrap().extend(events);
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
        }
    }

    /// The events of a kind, by queue id: their ids, each as often as it came.
    fn events(&self, kind: &str) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for event in self.0.lock().unwrap().iter().filter(|event| event["event"] == kind) {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            found.entry(text("queue_id")).or_default().push(text("event_id"));
        }
        found
    }
}

#[test]
fn every_event_comes_and_what_comes_again_when_a_node_died_has_the_same_id() {
    let hook = Hook::default();
    let name = "every_event_comes_and_what_comes_again_when_a_node_died_has_the_same_id";
    with_webhook(name, hook.listen(), |cluster| a_node_dies(cluster, &hook));
}

fn a_node_dies(mut cluster: Cluster, hook: &Hook) {
    cluster.wait_until_balanced();
    let mut acknowledged = BTreeMap::<String, String>::new();
    let hand_in = |cluster: &Cluster, round: usize, acknowledged: &mut BTreeMap<String, String>| {
        let mut client = Client::connect(cluster.addresses()[0]).unwrap();
        for customer in 0..OWN {
            let (from, subject) = (format!("a@own{customer}.example"), format!("own{customer}-hook-{round}"));
            let heard = client.send(&from, &["b@example.net"], &message(&from, "b@example.net", &subject)).unwrap();
            assert!(heard.starts_with("250"), "{heard}");
            let id = crate::support::client::queue_id(&heard).to_owned();
            acknowledged.insert(id, subject);
        }
    };
    for round in 0..EACH {
        hand_in(&cluster, round, &mut acknowledged);
        if round == EACH / 2 {
            // It has taken mail over, tried some of it, and told of some.
            cluster.take(1).kill();
        }
    }
    cluster.start_again(1);
    let missing = |kind: &str| {
        let told = hook.events(kind);
        acknowledged.keys().filter(|id| !told.contains_key(*id)).count()
    };
    soon("every message is told of as accepted and as relayed", SOON, [0, 0], || ["accepted", "relayed"].map(missing));
    let arrived = cluster.arrived();
    for (id, ids) in hook.events("accepted") {
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1, "{id} was accepted once: {ids:?}");
    }
    for (id, ids) in hook.events("relayed") {
        let times = arrived[&acknowledged[&id]].len();
        let told = ids.iter().collect::<BTreeSet<_>>().len();
        assert!((1..=times).contains(&told), "{id} arrived {times} times, and has {told} events: {ids:?}");
    }
    for node in 0..NODES {
        cluster.take(node).stop();
    }
}

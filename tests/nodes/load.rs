//! Senders that submit to whichever node answers, as clients behind one front address do, and what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::customers;
use crate::support::client::{Client, message};

const SENDERS: usize = 6;
/// A node that answers later than this is given up.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two messages of a sender.
const PAUSE: Duration = Duration::from_millis(25);

/// What became of a message for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
}

/// What the senders remember, by the message's subject.
pub type Sent = BTreeMap<String, Outcome>;

/// Senders at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Sent>>,
    senders: Vec<JoinHandle<()>>,
}

/// The subject of a customer's message. It names the customer first.
pub fn customer_of(subject: &str) -> &str {
    subject.split('-').next().unwrap()
}

impl Load {
    pub fn start(nodes: &[SocketAddr]) -> Load {
        let (stop, sent): (Arc<AtomicBool>, Arc<Mutex<Sent>>) = Default::default();
        let senders = (0..SENDERS)
            .map(|sender| {
                let (stop, sent, nodes) = (Arc::clone(&stop), Arc::clone(&sent), nodes.to_vec());
                std::thread::spawn(move || send(sender, &nodes, &stop, &sent))
            })
            .collect();
        Load { stop, sent, senders }
    }

    /// How many messages were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.sent.lock().unwrap().values().filter(|outcome| **outcome == Outcome::Acknowledged).count()
    }

    /// Stops sending, and returns what was sent.
    pub fn stop(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.into_iter().for_each(|sender| sender.join().unwrap());
        Arc::try_unwrap(self.sent).unwrap().into_inner().unwrap()
    }
}

fn send(sender: usize, nodes: &[SocketAddr], stop: &AtomicBool, sent: &Mutex<Sent>) {
    let customers: Vec<String> = customers().collect();
    let (mut client, mut node, mut sad) = (None, sender, Instant::now() - PATIENCE);
    for n in sender.. {
        std::thread::sleep(PAUSE);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(open) = &mut client else {
            node += 1;
            client = connect(nodes[node % nodes.len()]);
            continue;
        };
        let customer = &customers[n % customers.len()];
        let subject = format!("{customer}-{sender}-{n}");
        let from = format!("a@{customer}.example");
        let heard = open.send(&from, &["b@example.net"], &message(&from, "b@example.net", &subject));
        let outcome = match &heard {
            Ok(heard) if heard.starts_with("250") => Outcome::Acknowledged,
            Ok(_) => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        sent.lock().unwrap().insert(subject, outcome);
        match outcome {
            Outcome::Acknowledged => {}
            // Another node may take it.
            Outcome::Refused | Outcome::Unknown => client = None,
        }
        if outcome == Outcome::Refused && sad.elapsed() > PATIENCE {
            sad = Instant::now();
            println!("refused: {}", heard.unwrap_or_default());
        }
    }
}

fn connect(node: SocketAddr) -> Option<Client> {
    Client::connect_with_patience(node, PATIENCE).ok()
}

//! The cheaper step to availability: the embedded spool on a disk that two machines can have, one after the other. Here two relays of the
//! same configuration have one folder, each in a network namespace of its own where there can be any.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::network::{Network, with_network};
use crate::support::capture::Capture;
use crate::support::client::{Client, message};
use crate::support::ports::free_port;
use crate::support::relay::{Customer, Site, plain_route};

const MESSAGES: usize = 60;
const RETRY: &str = "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n";

/// The relay of a machine, with its state on the disk.
fn machine(number: usize, network: &Network, disk: &Path, server: SocketAddr) -> Site {
    let customer = [Customer { id: "good", domain: "good.example", route: plain_route(server) }];
    let site = match network.node(number) {
        (address, Some(namespace)) => {
            Site::at(SocketAddr::new(address, 2525), SocketAddr::new(address, 8080), Some(namespace), &customer, RETRY)
        }
        (_, None) => Site::with(&customer, RETRY),
    };
    let text = std::fs::read_to_string(site.config()).unwrap();
    let on_disk = format!("state_dir = \"{}\"", disk.display());
    let text = text.replace("state_dir = \"../state\"", &on_disk);
    // No password may cross a network in clear, not even that of namespaces.
    let text = text.replace("auth = \"required\"\nallow_plaintext_auth = true\n", "auth = \"off\"\n");
    std::fs::write(site.config(), text).unwrap();
    site
}

#[test]
fn a_standby_machine_is_refused_while_the_first_lives_and_has_all_its_mail_once_that_is_dead() {
    let name = "a_standby_machine_is_refused_while_the_first_lives_and_has_all_its_mail_once_that_is_dead";
    with_network(name, |network| refused_and_then_used(&network));
}

fn refused_and_then_used(network: &Network) {
    let disk = tempfile::tempdir().unwrap();
    let later = free_port(&network.own().to_string());
    let [first, standby] = [0, 1].map(|number| machine(number, network, disk.path(), later));
    std::fs::copy(first.key("good.example"), standby.key("good.example")).unwrap();
    let relay = first.start();
    let mut client = Client::connect(first.smtp).unwrap();
    let send = |client: &mut Client, n: usize| {
        let mail = message("a@good.example", "b@example.net", &format!("n{n}"));
        let heard = client.send("a@good.example", &["b@example.net"], &mail).unwrap();
        assert!(heard.starts_with("250"), "{heard}");
    };
    (0..MESSAGES / 2).for_each(|n| send(&mut client, n));

    // The first lives: the standby does not start, takes no mail, and changes nothing.
    let refused = standby.start_unready();
    let log = standby.path("relay.log");
    assert_eq!(refused.wait(), Some(1));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains(&format!("is in use by another postbud (process {})", relay.pid())), "{said}");
    (MESSAGES / 2..MESSAGES).for_each(|n| send(&mut client, n));

    relay.kill();
    let receiver = Capture::scripted(&later.to_string(), Box::new(|_| None));
    let relay = standby.start();
    let received = receiver.wait_for(MESSAGES, Duration::from_secs(30));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for one in received {
        let header = String::from_utf8_lossy(one.header()).into_owned();
        let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        *times.entry(subject.to_owned()).or_default() += 1;
    }
    assert_eq!(times.len(), MESSAGES);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    // The first machine comes back, and is refused in its turn.
    assert_eq!(first.start_unready().wait(), Some(1));
    relay.stop();
    assert_eq!(receiver.received().len(), MESSAGES);
}

//! One customer's newsletter does not hold up another's single mail on the same route; caps hold at the receiver.

use std::time::{Duration, Instant};

use postbud::message::{Lane, Urgency};
use postbud::smtp::Domain;

use crate::scale;
use crate::support::capture::{Capture, Received};
use crate::support::client::{Client, message, queue_id};
use crate::support::drafts::{fill, lane};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port};

const MAILJET: &str = "via = \"mailjet\"\ntier = \"starter\"\n";

fn tier(server: std::net::SocketAddr, limits: &str) -> String {
    format!(
        "[mailjet.starter]\nhost = \"{}\"\nport = {}\ntls = \"off\"\nusername = \"key\"\n\
         password_file = \"webcrm.hash\"\nallow_plaintext_auth = true\n[mailjet.starter.limits]\n{limits}\n",
        server.ip(),
        server.port()
    )
}

fn newsletter(n: usize) -> Vec<u8> {
    let mut mail = b"Precedence: bulk\r\nList-Unsubscribe: <https://big.example/u>\r\n".to_vec();
    mail.extend(message("news@big.example", "b@example.net", &format!("news{n}")));
    mail
}

fn from(received: &Received, domain: &str) -> bool {
    received.from.contains(domain)
}

#[test]
fn a_big_newsletter_does_not_delay_another_customers_single_mail() {
    let later = free_port();
    let customers = [
        Customer { id: "big", domain: "big.example", route: MAILJET.into() },
        Customer { id: "small", domain: "small.example", route: MAILJET.into() },
    ];
    let site = Site::with(&customers, &tier(later, "concurrency = 2"));
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    const NEWSLETTERS: usize = 300;
    for n in 0..NEWSLETTERS {
        queue_id(&client.send("news@big.example", &["b@example.net"], &newsletter(n)).unwrap());
    }
    let server = Capture::scripted(&later.to_string(), Box::new(|_| None));
    server.answer_after(Duration::from_millis(20));
    assert!(site.operate(&["route", "resume", "mailjet.starter"]).status.success());
    server.wait_for(20, Duration::from_secs(20));

    let sent = Instant::now();
    let mail = message("a@small.example", "b@example.net", "single");
    queue_id(&client.send("a@small.example", &["b@example.net"], &mail).unwrap());
    loop {
        let received = server.received();
        if let Some(single) = received.iter().find(|one| from(one, "small.example")) {
            assert!(received.iter().filter(|one| from(one, "big.example")).count() < NEWSLETTERS - 20, "it overtook");
            assert!(single.at - sent < Duration::from_secs(2), "{:?}", single.at - sent);
            break;
        }
        assert!(sent.elapsed() < Duration::from_secs(20), "the single mail does not arrive");
        std::thread::sleep(Duration::from_millis(10));
    }
    relay.stop();
}

/// Of each single mail: how many newsletters were taken between its 250 and its own turn. `POSTBUD_SCALE_MESSAGES=1000000` shows
/// it with the real thing (3 GB of disk); benches/README.md has figures.
#[test]
fn single_mail_overtakes_any_number_of_newsletters_in_memory_that_does_not_grow_with_them() {
    const CONCURRENCY: usize = 2;
    const SINGLES: usize = 12;
    // Being sent as the mail was accepted, and at most one turn in sixteen that bulk has before single mail.
    const BEFORE_IT: usize = 3 * CONCURRENCY;
    let messages = scale::messages();
    let server = Capture::start();
    server.answer_after(Duration::from_millis(100));
    let customers = [
        Customer { id: "big", domain: "big.example", route: MAILJET.into() },
        Customer { id: "small", domain: "small.example", route: MAILJET.into() },
    ];
    let site = Site::with(&customers, &tier(server.address, &format!("concurrency = {CONCURRENCY}")));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let newsletters = Lane { urgency: Urgency::Bulk, domain: Domain::parse("big.example").unwrap(), ..lane("big") };
    let began = Instant::now();
    runtime.block_on(fill(site.path("state/spool"), messages, scale::of_lane(newsletters, 2_000)));
    println!("{messages} newsletters committed in {:?}", began.elapsed());
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    server.wait_for(2 * CONCURRENCY, Duration::from_secs(120));
    // Of another customer, and of the one with the newsletters.
    let mut waited = Vec::new();
    for n in 0..SINGLES {
        let domain = if n % 2 == 0 { "small.example" } else { "big.example" };
        let (sender, subject) = (format!("a{n}@{domain}"), format!("single {n}"));
        queue_id(&client.send(&sender, &["b@example.net"], &message(&sender, "b@example.net", &subject)).unwrap());
        let before = server.received().len();
        let patience = Instant::now() + Duration::from_secs(60);
        let place = loop {
            if let Some(place) = server.received().iter().position(|one| one.from.contains(&sender)) {
                break place;
            }
            assert!(Instant::now() < patience, "{subject} does not arrive");
            std::thread::sleep(Duration::from_millis(10));
        };
        waited.push(place.saturating_sub(before));
    }
    let resident = scale::resident_mib(relay.pid());
    println!("newsletters before each single mail: {waited:?}; peak resident memory {resident} MiB");
    assert!(waited.iter().all(|count| *count <= BEFORE_IT), "{waited:?}");
    assert!(server.received().len() < messages as usize, "newsletters still wait");
    assert!(resident <= 200, "{resident} MiB");
    relay.kill();
}

#[test]
fn caps_hold_at_the_receiver() {
    let server = Capture::start();
    let customers = [Customer { id: "big", domain: "big.example", route: MAILJET.into() }];
    let limits = "concurrency = 3\nper_minute = 7\nrecipients_per_transaction = 2";
    let site = Site::with(&customers, &tier(server.address, limits));
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let to = ["a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net"];
    queue_id(&client.send("news@big.example", &to, &newsletter(0)).unwrap());
    server.wait_for(3, Duration::from_secs(20));
    for n in 1..20 {
        queue_id(&client.send("news@big.example", &["b@example.net"], &newsletter(n)).unwrap());
    }
    server.wait_for(7, Duration::from_secs(20));
    std::thread::sleep(Duration::from_secs(3));
    let received = server.received();
    assert_eq!(received.len(), 7, "messages within one minute");
    assert!(received.iter().all(|one| one.to.len() <= 2), "recipients a transaction");
    let all: Vec<&String> = received.iter().take(3).flat_map(|one| &one.to).collect();
    assert_eq!(all.len(), 5, "each recipient once: {all:?}");
    relay.stop();
}

#[test]
fn the_daily_cap_holds_across_a_restart() {
    let server = Capture::start();
    let customers = [Customer { id: "big", domain: "big.example", route: MAILJET.into() }];
    let site = Site::with(&customers, &tier(server.address, "per_day = 5"));
    for expected in [3, 5] {
        let relay = site.start();
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        for n in 0..3 {
            queue_id(&client.send("news@big.example", &["b@example.net"], &newsletter(n)).unwrap());
        }
        server.wait_for(expected, Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1500));
        relay.stop();
        assert_eq!(server.received().len(), expected);
    }
}

#[test]
fn many_customers_with_a_message_each_use_all_connections() {
    let later = free_port();
    let domains: Vec<(String, String)> = (0..12).map(|n| (format!("c{n}"), format!("c{n}.example"))).collect();
    let customers: Vec<Customer> =
        domains.iter().map(|(id, domain)| Customer { id, domain, route: MAILJET.into() }).collect();
    let site = Site::with(&customers, &tier(later, "concurrency = 4"));
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for (_, domain) in &domains {
        let from = format!("a@{domain}");
        queue_id(&client.send(&from, &["b@example.net"], &message(&from, "b@example.net", "one")).unwrap());
    }
    let server = Capture::scripted(&later.to_string(), Box::new(|_| None));
    let pause = Duration::from_millis(500);
    server.answer_after(pause);
    assert!(site.operate(&["route", "resume", "mailjet.starter"]).status.success());
    let received = server.wait_for(domains.len(), Duration::from_secs(30));
    let close = received.windows(2).filter(|pair| pair[1].at - pair[0].at < pause).count();
    assert!(close > 0, "each answer came a whole pause after the one before: one connection did it all");
    relay.stop();
}

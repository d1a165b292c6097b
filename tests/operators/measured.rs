//! How long a page takes with many customers and much mail, from the connection to the last octet. A page may take 20 ms: of a program that was
//! built for release each page has to keep that; of one that was built for tests, which is several times slower, the figures are only shown.
//! `POSTBUD_BINARY=target/release/postbud POSTBUD_SCALE_MESSAGES=1000000 cargo test --test operators -- --ignored pages_of_a_full_relay --nocapture`

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Draft, Spool};

use crate::client::Client;
use crate::rig::Rig;
use crate::support::drafts::{draft, lane};

const CUSTOMERS: u64 = 10_000;
const WRITERS: u64 = 32;
const OCTETS: usize = 500;
const RUNS: usize = 30;
/// Half of the requests for a page may take longer.
const MOST: Duration = Duration::from_millis(20);

#[test]
#[ignore = "makes ten thousand customers and their mail"]
fn pages_of_a_full_relay() {
    let release = std::env::var("POSTBUD_BINARY").ok();
    println!("the program: {}", release.as_deref().unwrap_or("built for tests"));
    let messages = std::env::var("POSTBUD_SCALE_MESSAGES").map_or(10_000, |n| n.parse::<u64>().expect("a number"));
    let (rig, customers) = Rig::with_customers_pages();
    let key = fs::read(rig.site.key("anna.example")).unwrap();
    let file = fs::read_to_string(rig.site.customer_file("anna")).unwrap();
    fs::write(rig.site.key("shared"), key).unwrap();
    // Else there would be a warning for each customer.
    fs::set_permissions(rig.site.key("shared"), fs::Permissions::from_mode(0o600)).unwrap();
    for n in 0..CUSTOMERS {
        let text = file.replace("[\"anna.example\"]", &format!("[\"c{n}.example\"]"));
        let text = text.replace("../../keys/anna.example.pem", "../../keys/shared.pem");
        // Its mail waits, so that the relay is busy with pages only.
        fs::write(rig.site.customer_file(&format!("c{n}")), format!("suspended = \"measured\"\n{text}")).unwrap();
    }
    let anna = rig.logged_in("anna", "admin");
    let Rig { site, relay, .. } = rig;
    relay.stop();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let began = Instant::now();
    runtime.block_on(fill(site.path("state/spool"), messages));
    println!("{messages} messages of {CUSTOMERS} customers committed in {:?}", began.elapsed());
    let began = Instant::now();
    let _relay = site.start_unready();
    // It reads the whole spool first.
    while TcpStream::connect(anna.to).is_err() || anna.get("/").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(600), "the pages do not come");
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("the pages answer {:?} after the start", began.elapsed());
    std::thread::sleep(Duration::from_secs(5));
    // A customer's own page, a message and a job have addresses that are not known before.
    let made = site.operate(&["customer", "link", "c7", "--json"]);
    let added: serde_json::Value =
        serde_json::from_slice(&made.stdout).unwrap_or_else(|error| panic!("{error}: {made:?}"));
    let link = added["url"].as_str().unwrap();
    let link = format!("{}/c7.example", &link[link.find("/link/").unwrap()..]);
    let guest = Client::new(customers);
    let listed = anna.get("/queue").body;
    let message = listed.split("href=\"/queue/").nth(1).and_then(|rest| rest.split('"').next()).expect("a message");
    let message = format!("/queue/{message}");
    let job = anna.send("/customers/c7", "id=\"probe\"", "/customers/c7", &[("do", "check")]);
    let job = job.field("location").to_owned();
    let began = Instant::now();
    while !(guest.get(&link).body.contains("id=\"spf\"") && anna.get(&job).body.contains("badge good")) {
        assert!(began.elapsed() < Duration::from_secs(60), "the checks do not end");
        std::thread::sleep(Duration::from_secs(2));
    }
    let mut slow = Vec::new();
    for (client, path) in [
        "/login",
        "/",
        "/?span=1y",
        "/alerts",
        "/queue",
        "/queue?customer=c7",
        "/queue?state=stopped",
        &message,
        "/customers",
        "/customers?q=c99",
        "/customers/c7",
        "/customers/c7/dmarc",
        "/customers/c7/domains/c7.example",
        "/routes",
        "/routes/microsoft365",
        "/routes?state=trouble",
        "/routes/own-server.c7",
        "/trace",
        "/audit",
        "/suppression?customer=c7",
        "/account",
        &job,
    ]
    .into_iter()
    .map(|path| (&anna, path))
    .chain([(&guest, link.as_str())])
    {
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| {
                let began = Instant::now();
                let page = client.get(path);
                assert_eq!(page.status, 200, "{path}: {}", page.body);
                began.elapsed()
            })
            .collect();
        times.sort();
        // The secret of a link is of no interest.
        let name = if path == link { "/link/…/c7.example" } else { path };
        println!("{name:28} median {:>9.1?}  slowest {:>9.1?}", times[RUNS / 2], times[RUNS - 1]);
        if times[RUNS / 2] > MOST {
            slow.push(name);
        }
    }
    assert!(release.is_none() || slow.is_empty(), "slower than {MOST:?}: {slow:?}");
}

/// Puts messages of all customers in turn into a spool.
async fn fill(dir: std::path::PathBuf, messages: u64) {
    let settings = Settings { dir, min_free: 1 << 30, ..Settings::default() };
    let spool: Arc<dyn Spool> = Embedded::open(settings).expect("the spool opens");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                for seed in (writer..messages).step_by(WRITERS as usize) {
                    let lane = lane(&format!("c{}", seed % CUSTOMERS));
                    let draft = Draft { lane, ..draft("", &["b@example.net"], seed, OCTETS) };
                    let _ = spool.commit(draft).await.expect("it is committed");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    spool.stop().await;
}

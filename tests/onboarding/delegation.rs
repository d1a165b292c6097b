//! Keys in webCRM's zone, at a real DNS server that takes dynamic updates: they change without the customer.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use postbud::resolver::update::{Txt, UpdateError, Updates};
use postbud::resolver::{Dns, Resolver, Settings, joined};
use zeroize::Zeroizing;

use crate::customers::domain;
use crate::knot::{Knot, TSIG};
use crate::newcomer::{Relay, Site, WORLD, err, out};
use crate::skip::skip;

const LIMIT: Duration = Duration::from_secs(20);
/// The two aliases of test.dk.
const ALIASES: &str = "postbud-a._domainkey.test.dk. 60 IN CNAME postbud-a.test.dk.keys.example.\n\
                       postbud-b._domainkey.test.dk. 60 IN CNAME postbud-b.test.dk.keys.example.\n";

fn updates(server: SocketAddr) -> Updates {
    use base64::Engine;
    let secret = base64::engine::general_purpose::STANDARD.decode(TSIG).unwrap();
    Updates { server, key_name: domain("postbud"), secret: Zeroizing::new(secret) }
}

/// The TXT values of a name, straight from the server.
async fn values(server: SocketAddr, name: &str) -> Vec<String> {
    let dns = Dns::new(&Settings { servers: vec![server], ..Settings::default() }).unwrap();
    let texts = (&dns as &dyn Resolver).txt(name).await.unwrap();
    texts.iter().map(|strings| String::from_utf8(joined(strings).to_vec()).unwrap()).collect()
}

fn txt(name: &str, value: &str) -> Txt {
    Txt { name: domain(name), value: value.to_owned(), ttl: 1 }
}

#[tokio::test]
async fn a_real_server_takes_signed_updates_and_its_refusals_say_what_to_do() {
    let Some(knot) = Knot::start("") else {
        return skip("a_real_server_takes_signed_updates_and_its_refusals_say_what_to_do", "knot is not installed");
    };
    let (zone, good) = (domain("keys.example"), updates(knot.address));
    let long = format!("v=DKIM1; k=rsa; p={}", "A".repeat(392));
    // More names than fit in one update.
    let many: Vec<Txt> = (0..120).map(|n| txt(&format!("a{n}.keys.example"), &long)).collect();
    good.replace(&zone, &many, LIMIT).await.unwrap();
    good.replace(&zone, &[txt("a7.keys.example", "v=DKIM1; p=")], LIMIT).await.unwrap();
    assert_eq!(values(knot.address, "a7.keys.example").await, ["v=DKIM1; p="], "replaced, not added");
    assert_eq!(values(knot.address, "a119.keys.example").await, [long]);

    let wrong_secret = Updates { secret: Zeroizing::new(vec![1; 32]), ..good.clone() };
    let wrong_name = Updates { key_name: domain("other"), ..good.clone() };
    let silent = Updates { server: "127.0.0.1:1".parse().unwrap(), ..good.clone() };
    for (updates, zone, name, says) in [
        (&wrong_secret, "keys.example", "x.keys.example", "tsig_secret_file"),
        (&wrong_name, "keys.example", "x.keys.example", "tsig_key"),
        (&good, "cut.example", "x.cut.example", "refuses the update of cut.example"),
        (&good, "keys.example", "x.elsewhere.example", "zone"),
        (&silent, "keys.example", "x.keys.example", "does not take the update"),
    ] {
        let refused = updates.replace(&domain(zone), &[txt(name, "x")], LIMIT).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{name}: {refused}");
    }
    assert_eq!(values(knot.address, "x.keys.example").await, [] as [String; 0]);
}

#[tokio::test]
async fn an_answer_that_is_not_the_servers_does_not_count() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut request = vec![0; length.into()];
            stream.read_exact(&mut request).await.unwrap();
            // NOERROR, unsigned.
            let answer = [&request[..2], &[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
            stream.write_all(&[&12u16.to_be_bytes()[..], &answer].concat()).await.unwrap();
        }
    });
    let refused = updates(server).replace(&domain("keys.example"), &[txt("x.keys.example", "x")], LIMIT).await;
    assert!(matches!(refused, Err(UpdateError::Untrusted { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_breaks_off_hangs_or_refuses_without_a_signature_changes_nothing_and_ends_in_time() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// What follows the request's id: flags and code, and the counts of the four sections.
    fn head(flags: [u8; 2]) -> Vec<u8> {
        [&flags[..], &[0; 8]].concat()
    }
    let ways: [(&str, Vec<u8>, bool); 8] = [
        ("nothing, and it closes", Vec::new(), false),
        ("nothing, and it waits", Vec::new(), true),
        ("half a length", vec![0], false),
        ("less than its length", vec![0, 12, 0, 0], true),
        ("a length of nothing", vec![0, 0], true),
        ("REFUSED, unsigned", [vec![0, 12], b"ID".to_vec(), head([0xa8, 5])].concat(), false),
        ("NOTAUTH, unsigned", [vec![0, 12], b"ID".to_vec(), head([0xa8, 9])].concat(), false),
        ("a question for an answer", [vec![0, 12], b"ID".to_vec(), head([0x28, 0])].concat(), false),
    ];
    for (way, answer, waits) in ways {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u16().await.unwrap_or_default();
                let mut request = vec![0; length.into()];
                if stream.read_exact(&mut request).await.is_err() {
                    continue;
                }
                let mut answer = answer.clone();
                if let Some(id) = answer.get_mut(2..4).filter(|id| *id == &b"ID"[..]) {
                    id.copy_from_slice(&request[..2]);
                }
                let _ = stream.write_all(&answer).await;
                if waits {
                    let _ = stream.read_u8().await;
                }
            }
        });
        let begun = Instant::now();
        let limit = Duration::from_secs(2);
        let refused = updates(server).replace(&domain("keys.example"), &[txt("x.keys.example", "x")], limit).await;
        let said = refused.expect_err(way).to_string();
        assert!(said.len() > 40, "{way}: a refusal says what to do: {said}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{way}: {:?}", begun.elapsed());
    }
}

/// A site whose customers' keys are delegated, with one customer.
fn site(name: &str, rotate_every: &str) -> Option<Site> {
    let Some(site) = Site::new(&format!("{WORLD}{ALIASES}")) else {
        skip(name, "knot is not installed");
        return None;
    };
    fs::write(site.file("config/secrets/tsig"), TSIG).unwrap();
    let path = site.file("config/postbud.toml");
    let config = fs::read_to_string(&path)
        .unwrap()
        .replace("[onboarding]", "[onboarding]\ncheck_every_while_incomplete = \"1s\"");
    let delegation = format!(
        "[dkim.delegation]\nzone = \"keys.example\"\nrotate_every = \"{rotate_every}\"\nttl = \"1s\"\nserver = \"{}\"\n\
         tsig_key = \"postbud\"\ntsig_secret_file = \"secrets/tsig\"\n",
        site.knot.address
    );
    fs::write(&path, format!("{config}\n{delegation}")).unwrap();
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    assert!(err(&added).contains("its key is in webCRM's zone"), "{}", err(&added));
    Some(site)
}

fn file(site: &Site) -> String {
    fs::read_to_string(site.file("config/customers/test-as.toml")).unwrap()
}

fn wait(site: &Site, what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        let log = || fs::read_to_string(site.file("relay.log")).unwrap_or_default();
        assert!(Instant::now() < end, "{what}\n{}\n{}", file(site), log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn two_aliases_are_all_that_a_customer_publishes_and_the_check_says_whose_part_is_wrong() {
    let Some(mut site) = site("two_aliases_are_all_that_a_customer_publishes", "365d") else { return };
    let records = out(&site.run(&["domain", "records", "test-as", "--json"], ""));
    let records: serde_json::Value = serde_json::from_str(&records).unwrap();
    let rows: Vec<_> = records[0]["rows"].as_array().unwrap().iter().filter(|row| row["item"] == "dkim").collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row["type"] == "CNAME" && row["present"] == true), "{rows:?}");
    let lines = out(&site.run(&["dkim", "zone", "test-as"], ""));
    assert!(lines.contains("postbud-a.test.dk.keys.example. 1 IN TXT"), "{lines}");
    assert!(lines.contains("postbud-b.test.dk.keys.example. 1 IN TXT \"v=DKIM1; p=\""), "{lines}");
    let check = |site: &Site| out(&site.run(&["domain", "check", "test-as"], ""));
    assert!(!check(&site).contains("alias"), "{}", check(&site));
    site.knot.publish(&format!("{WORLD}{}", ALIASES.replace("postbud-a.test.dk.keys", "postbud-a.test.dk.kyes")));
    assert!(check(&site).contains("Have it lead to postbud-a.test.dk.keys.example."), "{}", check(&site));
    site.knot.publish(WORLD);
    assert!(check(&site).contains("Publish the CNAME to postbud-a.test.dk.keys.example."), "{}", check(&site));
}

#[test]
fn a_key_changes_at_a_command_and_nothing_is_signed_with_one_that_is_not_seen() {
    let Some(mut site) = site("a_key_changes_at_a_command", "365d") else { return };
    let rotate = |site: &Site, more: &[&str]| site.run(&[&["dkim", "rotate", "test-as"], more].concat(), "");
    // The customer has not published the second alias: the new key is in the zone, and never signs.
    let half: String = ALIASES.lines().take(1).map(|line| format!("{line}\n")).collect();
    site.knot.publish(&format!("{WORLD}{half}"));
    assert!(out(&rotate(&site, &["--leaked"])).contains("is in webCRM's zone"));
    let waits = rotate(&site, &[]);
    assert!(out(&waits).contains("not in DNS yet: postbud-b._domainkey.test.dk"), "{}", out(&waits));
    assert!(file(&site).contains("selector = \"postbud-a\""));
    site.knot.publish(&format!("{WORLD}{ALIASES}"));
    let settles = rotate(&site, &[]);
    assert!(out(&settles).contains("may still have the record"), "{}{}", out(&settles), err(&settles));
    wait(&site, "the file names the new key", || {
        rotate(&site, &[]);
        file(&site).contains("selector = \"postbud-b\"")
    });
    let relay = Relay::start(&site);
    // Leaked: the old key is revoked as soon as the new one is seen to sign.
    wait(&site, "the old key is revoked", || out(&rotate(&site, &[])).contains("Done: postbud-b signs"));
    let lines = out(&site.run(&["dkim", "zone", "test-as"], ""));
    assert!(lines.contains("postbud-a.test.dk.keys.example. 1 IN TXT \"v=DKIM1; p=\""), "{lines}");
    drop(relay);
}

#[test]
fn the_running_relay_changes_a_key_that_is_old_enough_and_puts_back_what_the_zone_lost() {
    let name = "the_running_relay_changes_a_key_that_is_old_enough";
    let Some(site) = site(name, "1h") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = site.knot.address;
    let shown = |name: &str| runtime.block_on(values(address, &format!("{name}.test.dk.keys.example")));
    let first = shown("postbud-a");
    runtime
        .block_on(updates(address).replace(
            &domain("keys.example"),
            &[txt("postbud-a.test.dk.keys.example", "lost")],
            LIMIT,
        ))
        .unwrap();
    let _relay = Relay::start(&site);
    wait(&site, "the record is put back", || shown("postbud-a") == first);
    assert!(file(&site).contains("selector = \"postbud-a\""), "the key is young");
    // The key's file becomes old.
    let touched =
        Command::new("touch").args(["-d", "2 hours ago"]).arg(site.file("keys/test.dk.pem")).status().unwrap();
    assert!(touched.success());
    wait(&site, "the other selector signs", || file(&site).contains("selector = \"postbud-b\""));
    wait(&site, "the old key is revoked", || shown("postbud-a") == ["v=DKIM1; p="]);
    let second = shown("postbud-b");
    assert!(second.len() == 1 && second[0].contains("p=") && second != first, "{second:?}");
    wait(&site, "the rotation has ended", || {
        let files = fs::read_dir(site.file("state/onboarding/rotations")).unwrap();
        files.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().ends_with(".json")).count() == 0
    });
    let check = site.run(&["domain", "check", "test-as", "--json"], "");
    assert!(out(&check).contains("\"dkim-good\""), "{}", out(&check));
}

#[test]
fn the_aliases_come_before_every_other_key_on_the_page_and_in_the_list() {
    let name = "the_aliases_come_before_every_other_key_on_the_page_and_in_the_list";
    let Some(mut site) = site(name, "365d") else { return };
    site.knot.publish(WORLD);
    site.enter_mailjets_keys("test-as", &["test.dk"]);
    let pages = crate::ports::free_port("127.0.0.1");
    let path = site.file("config/postbud.toml");
    let config = fs::read_to_string(&path).unwrap();
    let more = format!("\n[pages.customers]\naddress = \"{pages}\"\ntls = \"off\"\nurl = \"http://{pages}\"\n");
    fs::write(&path, config + &more).unwrap();
    let is_first = |text: &str| {
        let at = |name: &str| text.find(&format!("{name}._domainkey"));
        assert!(at("postbud-a").unwrap() < at("postbud-b").unwrap(), "{text}");
        assert!(at("postbud-b").unwrap() < at("mailjet").expect("Mailjet's key is asked for too"), "{text}");
        assert!(text.contains("CNAME") && text.contains("postbud-a.test.dk.keys.example"), "{text}");
    };
    is_first(&out(&site.run(&["domain", "records", "test-as"], "")));
    let _relay = Relay::start(&site);
    let made = site.run(&["customer", "link", "test-as", "--json"], "");
    let link: serde_json::Value = serde_json::from_str(&out(&made)).unwrap_or_else(|_| panic!("{}", err(&made)));
    let link = link["url"].as_str().unwrap();
    let page = || out(&Command::new("curl").args(["-sL", link]).output().expect("curl is installed"));
    wait(&site, "the page has the records", || page().contains("_domainkey"));
    is_first(&page());
}

#[test]
fn a_key_published_by_hand_stays_until_a_delegated_one_signs_in_its_place() {
    let Some(mut site) = site("a_key_published_by_hand_stays_until_a_delegated_one_signs", "365d") else { return };
    let path = site.file("config/customers/test-as.toml");
    fs::write(&path, file(&site).replace("selector = \"postbud-a\"", "selector = \"own1\"")).unwrap();
    let rows = |site: &Site| -> Vec<serde_json::Value> {
        let records = out(&site.run(&["domain", "records", "test-as", "--json"], ""));
        let records: serde_json::Value = serde_json::from_str(&records).unwrap();
        records[0]["rows"].as_array().unwrap().iter().filter(|row| row["item"] == "dkim").cloned().collect()
    };
    let check = |site: &Site| out(&site.run(&["domain", "check", "test-as"], ""));
    let key = rows(&site).into_iter().find(|row| row["type"] == "TXT").expect("its own key is asked for");
    assert_eq!(key["host"], "own1._domainkey.test.dk");
    let (first, second) = key["value"].as_str().unwrap().split_at(200);
    let by_hand = format!("own1._domainkey.test.dk. 60 IN TXT \"{first}\" \"{second}\"\n");

    // The aliases are offered, and nothing is missing without them.
    site.knot.publish(&format!("{WORLD}{by_hand}"));
    let has = |row: &serde_json::Value| (row["type"] == "CNAME", row["need"] == "optional", row["present"] == true);
    let found: Vec<_> = rows(&site).iter().map(has).collect();
    assert_eq!(found.iter().filter(|row| **row == (true, true, false)).count(), 2, "{found:?}");
    assert_eq!(found.iter().filter(|row| **row == (false, false, true)).count(), 1, "{found:?}");
    let said = check(&site);
    assert!(said.contains("With an alias to postbud-b.test.dk.keys.example at postbud-b._domainkey.test.dk"), "{said}");
    let listed = out(&site.run(&["domain", "records", "test-as"], ""));
    assert!(listed.contains("The TXT record with the key that you have now must stay"), "{listed}");

    site.knot.publish(&format!("{WORLD}{by_hand}{ALIASES}"));
    assert!(rows(&site).iter().all(|row| row["present"] == true), "{:?}", rows(&site));
    assert!(check(&site).contains("both aliases to keys.example are there"), "{}", check(&site));
    let rotate = |site: &Site, more: &[&str]| site.run(&[&["dkim", "rotate", "test-as"], more].concat(), "");
    let begun = rotate(&site, &["--leaked"]);
    assert!(out(&begun).contains("is in webCRM's zone"), "{}{}", out(&begun), err(&begun));
    assert!(file(&site).contains("selector = \"own1\""), "it signs until the new key is seen");
    assert!(!check(&site).contains("both aliases"), "it is under way");
    wait(&site, "the file names the delegated key", || {
        rotate(&site, &[]);
        file(&site).contains("selector = \"postbud-a\"")
    });
    let _relay = Relay::start(&site);
    wait(&site, "the old record may go", || out(&rotate(&site, &[])).contains("own1._domainkey.test.dk"));
    let good = out(&site.run(&["domain", "check", "test-as", "--json"], ""));
    assert!(good.contains("\"dkim-good\""), "{good}");
    site.knot.publish(&format!("{WORLD}{ALIASES}"));
    // The relay ends it. A command that came later than that would begin the next change.
    let under_way = site.file("state/onboarding/rotations/test-as.main.json");
    wait(&site, "the change has ended", || !under_way.exists());
    assert!(file(&site).contains("selector = \"postbud-a\""), "{}", file(&site));
}

//! Suppressed addresses: from the bounce to the refusal, to the list that a person works on.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, get, plain_route};

const FROM: &str = "news@acme.example";

/// A server that knows no `gone…@`, and a relay with a customer whose `[suppression]` says this.
fn site(suppression: &str) -> (Capture, Site) {
    let unknown = |line: &str| {
        let gone = line.to_ascii_uppercase().starts_with("RCPT TO:<GONE");
        gone.then(|| "550 5.1.1 no such user here".to_owned())
    };
    let server = Capture::scripted("127.0.0.1:0", Box::new(unknown));
    let route = format!("{}[suppression]\n{suppression}", plain_route(server.address));
    let site = Site::new(&[Customer { id: "acme", domain: "acme.example", route }]);
    (server, site)
}

fn send(client: &mut Client, sender: &str, to: &[&str], subject: &str) -> String {
    client.send(sender, to, &message(FROM, to[0], subject)).unwrap()
}

fn told(site: &Site, event: &str) -> Vec<Value> {
    site.events().into_iter().filter(|told| told["event"] == event).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn operate(site: &Site, arguments: &[&str]) -> String {
    let output = site.operate(&[&["suppression"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(site: &Site, arguments: &[&str]) -> String {
    let output = site.operate(&[&["suppression"], arguments].concat());
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

/// Waits until an address is on the list.
fn wait_until_listed(site: &Site, address: &str) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !site.operate(&["suppression", "list", "acme", "--address", address]).status.success() {
        assert!(Instant::now() < patience, "{address} does not come on the list: {:#?}", site.events());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_address_that_bounced_is_refused_until_a_person_takes_it_out() {
    let (server, site) = site("mode = \"refuse\"\nhard_bounces = 2\n");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for subject in ["one", "two"] {
        let heard = send(&mut client, FROM, &["gone@example.net"], subject);
        let id = queue_id(&heard).to_owned();
        let bounced = site.wait_for_event("bounced", |it| it["event"] == "bounced" && it["queue_id"] == id.as_str());
        assert_eq!(bounced["class"], "hard");
    }
    wait_until_listed(&site, "GONE@example.net");

    // MAIL FROM tells the customer: the recipient is refused, the others go on.
    client.say(&format!("MAIL FROM:<{FROM}>")).unwrap();
    let heard = client.say("RCPT TO:<Gone@example.net>").unwrap();
    assert!(
        heard.starts_with("550 5.7.1 Gone@example.net is on the suppression list of customer \"acme\" (hard_bounce)"),
        "{heard}"
    );
    assert!(client.say("RCPT TO:<here@example.net>").unwrap().starts_with("250"));
    assert!(client.say("RSET").unwrap().starts_with("250"));
    // The null sender tells nothing: the recipient is left out once From is read, and the reply says so.
    let heard = send(&mut client, "", &["gone@example.net", "here@example.net"], "three");
    let (said, queued) = heard.split_once("\r\n").unwrap();
    assert_eq!(said, "250-2.0.0 gone@example.net (hard_bounce) is suppressed and left out");
    let id = queue_id(queued).to_owned();
    site.wait_for_event("relayed", |it| it["event"] == "relayed" && it["queue_id"] == id.as_str());
    let got: Vec<_> = server.received().into_iter().map(|message| message.to).filter(|to| !to.is_empty()).collect();
    assert_eq!(got, [["<here@example.net>"]]);
    operate(&site, &["add", "acme", "away@example.net"]);
    let heard = send(&mut client, "", &["gone@example.net", "away@example.net"], "four");
    assert!(
        heard.starts_with(
            "550 5.7.1 gone@example.net (hard_bounce), away@example.net (operator) are on the suppression list"
        ),
        "{heard}"
    );
    site.wait_for_event("four suppressed", |_| told(&site, "suppressed").len() == 4);
    // No event about one person names another, so nothing is left of a person who is erased.
    let rejected = site.wait_for_event("rejected", |it| it["event"] == "rejected" && it["reason"] == "suppressed");
    assert_eq!(rejected["reply"], "all recipients are on the suppression list of customer \"acme\"");
    let mut suppressed = told(&site, "suppressed");
    let away = suppressed.pop().unwrap();
    assert_eq!(
        (&away["recipient"], &away["reply"]),
        (
            &"away@example.net".into(),
            &"away@example.net is on the suppression list of customer \"acme\" (operator)".into()
        )
    );
    assert_eq!(
        suppressed[2]["reply"],
        "gone@example.net is on the suppression list of customer \"acme\" (hard_bounce)"
    );
    for event in &suppressed {
        assert_eq!((&event["customer"], &event["reason"]), (&"acme".into(), &"hard_bounce".into()), "{event}");
        assert!(event["recipient"].as_str().unwrap().eq_ignore_ascii_case("gone@example.net"), "{event}");
        assert_eq!(event["submitter"], USERNAME);
    }
    assert_eq!(suppressed[1]["queue_id"], id.as_str());
    assert_eq!(suppressed[2]["code"], 550);
    // It came with the fact that the mail was accepted, in one write.
    let all = site.events();
    let of_three: Vec<_> = all.iter().filter(|it| it["queue_id"] == id.as_str()).map(|it| &it["event"]).collect();
    assert_eq!(of_three[..2], ["accepted", "suppressed"]);

    // Over a restart, and out again.
    relay.stop();
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    assert!(send(&mut client, FROM, &["gone@example.net"], "five").starts_with("550 5.7.1"));
    assert!(client.say("RSET").unwrap().starts_with("250"));
    assert_eq!(
        operate(&site, &["remove", "acme", "GONE@EXAMPLE.NET"]).trim(),
        "GONE@EXAMPLE.NET is no longer suppressed for acme"
    );
    assert!(send(&mut client, FROM, &["gone@example.net"], "six").starts_with("250"));
    assert!(refused(&site, &["remove", "acme", "gone@example.net"]).contains("is not on the suppression list"));
    relay.stop();
    let audit: Vec<_> =
        told(&site, "audit").into_iter().filter(|event| event["command"] == "suppression.remove").collect();
    assert_eq!((audit.len(), &audit[0]["customer"], &audit[0]["changed"]), (1, &"acme".into(), &1.into()));
}

#[test]
fn where_only_an_event_is_wanted_the_mail_goes_on_and_says_so() {
    let (server, site) = site("mode = \"event\"\n");
    let relay = site.start();
    operate(&site, &["add", "acme", "anna@example.net", "--reason", "asked by telephone"]);
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    send(&mut client, FROM, &["anna@example.net", "bo@example.net"], "one");
    server.wait_for(1, Duration::from_secs(20));
    relay.stop();
    let [suppressed] = told(&site, "suppressed").try_into().unwrap();
    let accepted = told(&site, "accepted");
    assert_eq!((accepted.len(), told(&site, "relayed").len()), (2, 2), "both get the mail");
    assert_eq!((&suppressed["recipient"], &suppressed["reason"]), (&"anna@example.net".into(), &"operator".into()));
    assert_eq!(suppressed["queue_id"], accepted[0]["queue_id"]);
    assert!(suppressed["detail"].as_str().unwrap().contains("gets the mail all the same"), "{suppressed}");
}

#[test]
fn lists_are_imported_whole_or_not_at_all_and_exported_as_they_are() {
    let (_server, site) = site("mode = \"refuse\"\n");
    let relay = site.start();
    let file = site.path("list.csv");
    let import = |content: &str| {
        fs::write(&file, content).unwrap();
        ["import", "acme", file.to_str().unwrap()].map(str::to_owned)
    };
    let bad = import("address,reason\na@example.net,complaint\nb@example.net,because\n");
    let said = refused(&site, &bad.each_ref().map(String::as_str));
    assert!(
        said.contains("line 3: \"because\" is no reason") && said.contains("nothing of the file was taken"),
        "{said}"
    );
    assert!(!operate(&site, &["list", "acme", "--json"]).contains("example.net"));

    let many: String = (0..12_000).map(|n| format!("a{n:05}@example.net\r\n")).collect();
    assert_eq!(operate(&site, &import(&many).each_ref().map(String::as_str)).trim(), "12000 addresses were taken");
    let good =
        "address,reason,note\nB@example.net,complaint,\"said \"\"no\"\", twice\"\na00000@example.net,unsubscribe,\n";
    operate(&site, &import(good).each_ref().map(String::as_str));
    let one: Value =
        serde_json::from_str(&operate(&site, &["list", "acme", "--address", "b@example.net", "--json"])).unwrap();
    assert_eq!((&one["reason"], &one["note"]), (&"complaint".into(), &"said \"no\", twice".into()));
    assert_eq!(operate(&site, &["list", "acme", "--limit", "0", "--json"]).lines().count(), 12_001);
    assert_eq!(operate(&site, &["list", "acme", "--limit", "7", "--json"]).lines().count(), 7);

    let exported = operate(&site, &["export", "acme"]);
    assert_eq!(exported.lines().count(), 12_002);
    fs::write(&file, &exported).unwrap();
    operate(&site, &["import", "acme", file.to_str().unwrap()]);
    assert_eq!(operate(&site, &["export", "acme"]), exported);

    for arguments in [
        &["list", "nobody"][..],
        &["add", "nobody", "a@example.net"],
        &["add", "acme", "not an address"],
        &["remove", "acme", "@"],
        &["list", "acme", "--address", "z@example.net"],
        &["import", "acme", "/nonexistent.csv"],
    ] {
        refused(&site, arguments);
    }
    let metrics = get(site.web, "/metrics");
    assert!(metrics.contains("postbud_suppression_entries 12001"), "{metrics}");
    relay.stop();
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (lines, expected) in [
        ("mode = \"on\"\n", "suppression.mode"),
        ("hard_bounces = 0\n", "suppression.hard_bounces"),
        ("window = \"0s\"\n", "suppression.window"),
        ("window = \"401d\"\n", "400 days"),
        ("bounces_expire = \"0s\"\n", "suppression.bounces_expire"),
        ("modus = \"off\"\n", "modus"),
    ] {
        let (_server, site) = site(lines);
        let checked = site.operate(&["check"]);
        let said = text(&checked);
        assert!(!checked.status.success() && said.contains(expected), "{lines}: {said}");
    }
}

#[test]
fn a_bounce_that_a_crash_kept_from_the_list_comes_onto_it_at_the_next_start_and_counts_once() {
    let (_server, site) = site("mode = \"refuse\"\nhard_bounces = 2\n");
    let relay = site.start();
    let bounce = |address: &str, subject: &str| {
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let heard = send(&mut client, FROM, &[address], subject);
        let id = queue_id(&heard).to_owned();
        site.wait_for_event("bounced", |it| it["event"] == "bounced" && it["queue_id"] == id.as_str());
    };
    // The relay has noted once that its lists have everything.
    let noted = site.path("state/suppression-fed");
    let patience = Instant::now() + Duration::from_secs(60);
    while !noted.exists() {
        assert!(Instant::now() < patience, "nothing is noted");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nothing can be written to the lists meanwhile.
    let other = rusqlite::Connection::open(site.path("state/postbud.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    bounce("gone-twice@example.net", "one");
    bounce("gone-twice@example.net", "two");
    bounce("gone-once@example.net", "three");
    relay.kill();
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);

    for _ in 0..2 {
        let relay = site.start();
        wait_until_listed(&site, "gone-twice@example.net");
        let patience = Instant::now() + Duration::from_secs(60);
        while !relay.log().contains("3 hard bounces since") {
            assert!(Instant::now() < patience, "{}", relay.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        // What the start before had brought already comes again, and counts once.
        let listed = site.operate(&["suppression", "list", "acme", "--address", "gone-once@example.net"]);
        assert!(!listed.status.success(), "one bounce is one, however often it is told: {}", text(&listed));
        let entry = operate(&site, &["list", "acme", "--address", "gone-twice@example.net", "--json"]);
        assert!(entry.contains("550 5.1.1 no such user here"), "{entry}");
        relay.kill();
    }
}

//! The whole life of mail in its events: webCRM's own references, each recipient's result, and operators' commands that use them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

const FROM: &str = "news@life.example";

/// Takes everybody but those whose name says what to answer.
fn recipients_server() -> Capture {
    let script = |line: &str| {
        let to = line.strip_prefix("RCPT TO:<")?;
        let answer = match to.split('@').next()? {
            "unknown" => "550 5.1.1 no such user",
            "full" => "452 4.2.2 mailbox full",
            "spam" => "550 5.7.1 rejected as spam",
            _ => return None,
        };
        Some(answer.to_owned())
    };
    Capture::scripted("127.0.0.1:0", Box::new(script))
}

fn site(server: &Capture, more: &str) -> Site {
    let more = format!("[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n{more}");
    Site::with(&[Customer { id: "life", domain: "life.example", route: plain_route(server.address) }], &more)
}

/// A mail with these header lines before its own.
fn named(fields: &str, to: &str) -> Vec<u8> {
    [fields.as_bytes(), &message(FROM, to, "life")].concat()
}

fn of<'a>(events: &'a [Value], id: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["queue_id"] == id).collect()
}

/// What was told of each recipient of a mail, in order.
fn lives(events: &[Value], id: &str) -> BTreeMap<String, Vec<String>> {
    let mut lives = BTreeMap::<String, Vec<String>>::new();
    for event in of(events, id).into_iter().filter(|event| event["recipient"].is_string()) {
        let kinds = lives.entry(event["recipient"].as_str().unwrap().to_owned()).or_default();
        let kind = event["event"].as_str().unwrap().to_owned();
        // Attempts without success come as often as there was time for.
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    lives
}

fn run(site: &Site, arguments: &[&str]) -> String {
    let done = site.operate(arguments);
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn each_recipient_ends_with_an_event_that_carries_webcrms_references_and_operators_act_by_them() {
    let server = recipients_server();
    let site = site(&server, "give_up = \"4s\"\ndelay_notice = \"1s\"\n");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let fields = "X-Postbud-Reference: order 7\r\nX-Postbud-Campaign: =?utf-8?Q?for=C3=A5r?=\r\nX-Postbud-Tags: a, b\r\n\
                  X-MJ-CustomID: for Mailjet\r\n";
    let to = ["ok@example.net", "unknown@example.net", "full@example.net"];
    let id = queue_id(&client.send(FROM, &to, &named(fields, to[0])).unwrap()).to_owned();
    let refused = client.send(FROM, &["x@example.net"], &named("X-Postbud-Campain: a\r\n", "x@example.net")).unwrap();
    assert!(refused.starts_with("550 5.6.0 X-Postbud-Campain is not known"), "{refused}");
    site.wait_for_event("its end", |event| event["event"] == "expired" && event["queue_id"] == id.as_str());

    let received = server.wait_for(1, Duration::from_secs(20));
    let header = String::from_utf8_lossy(received[0].header()).to_ascii_lowercase();
    assert!(!header.contains("x-postbud") && !header.contains("x-mj"), "for nobody but us: {header}");
    let events = site.events();
    let lives = lives(&events, &id);
    let told = |to: &str| lives[to].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(told(to[0]), ["accepted", "relayed"]);
    assert_eq!(told(to[1]), ["accepted", "bounced"]);
    let waited = told(to[2]);
    assert_eq!((waited.first(), waited.last()), (Some(&"accepted"), Some(&"expired")), "{waited:?}");
    assert!(waited.contains(&"deferred") && waited.contains(&"delayed"), "{waited:?}");
    for event in of(&events, &id) {
        assert_eq!((&event["reference"], &event["campaign"]), (&"order 7".into(), &"forår".into()), "{event}");
        assert_eq!((&event["tags"], &event["sender"]), (&json!(["a", "b"]), &FROM.into()), "{event}");
    }
    let end = |kind: &str| events.iter().find(|event| event["event"] == kind).unwrap();
    let parts = |event: &Value| json!([event["code"], event["status"], event["class"]]);
    assert_eq!(parts(end("relayed"))[0], 250);
    assert_eq!(parts(end("bounced")), json!([550, "5.1.1", "hard"]));
    assert_eq!(parts(end("expired")), json!([452, "4.2.2", "mailbox_full"]));
    let traced = run(&site, &["trace", "--reference", "ORDER 7", "--tag", "b"]);
    assert!(traced.contains(&id) && traced.contains("550 5.1.1 no such user"), "{traced}");
    relay.stop();
}

#[test]
fn a_campaign_is_held_released_and_removed_with_an_event_for_each_recipient() {
    let dead = free_port();
    let site = Site::new(&[Customer { id: "life", domain: "life.example", route: plain_route(dead) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut send =
        |fields: &str, to: &[&str]| queue_id(&client.send(FROM, to, &named(fields, to[0])).unwrap()).to_owned();
    let two = ["a@example.net", "b@example.net"];
    let spring = send("X-Postbud-Campaign: spring\r\n", &two);
    let mailjets = send("X-Mailjet-Campaign: Spring\r\nX-MJ-CustomID: 8\r\n", &two[..1]);
    let autumn = send("X-Postbud-Campaign: autumn\r\nX-Postbud-Reference: 9\r\n", &two[..1]);
    client.say(&format!("MAIL FROM:<{FROM}> ENVID=run+2B7")).unwrap();
    client.say("RCPT TO:<a@example.net>").unwrap();
    let by_envid = queue_id(&client.content(&named("X-Postbud-Reference: 10\r\n", two[0])).unwrap()).to_owned();
    // The first one shows that the route is dead; the others wait behind it.
    site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["class"] == "network");
    let listed = run(&site, &["queue", "list", "--campaign", "spring", "--json"]);
    assert!(listed.contains(&spring) && listed.contains(&mailjets) && !listed.contains(&autumn), "{listed}");
    assert!(listed.contains("\"reference\":\"8\""), "{listed}");
    let listed = run(&site, &["queue", "list", "--envid", "Run+7", "--json"]);
    assert!(listed.contains(&by_envid) && listed.contains("\"envid\":\"run+7\""), "{listed}");
    assert_eq!(listed.lines().count(), 1, "{listed}");
    for (command, id) in [
        (vec!["queue", "hold", "--campaign", "spring", "--reason", "wrong price"], &spring),
        (vec!["queue", "release", "--campaign", "spring", "--sender", "NEWS@life.example"], &spring),
        (vec!["queue", "remove", "--campaign", "spring", "--reason", "wrong price"], &spring),
        (vec!["queue", "bounce", "--reference", "9", "--reason", "sent twice"], &autumn),
        (vec!["queue", "remove", "--envid", "run+7", "--reason", "sent twice"], &by_envid),
    ] {
        run(&site, &command);
        let kind = match command[1] {
            "hold" => "held",
            "release" => "released",
            "remove" => "removed",
            _ => "bounced",
        };
        let event = site.wait_for_event(kind, |event| event["event"] == kind && event["queue_id"] == id.as_str());
        assert!(event["actor"].as_str().is_some_and(|actor| actor.starts_with("uid ")), "{event}");
        assert!(event["detail"].is_string() && event.get("code").is_none(), "{event}");
    }
    let events = site.events();
    for (id, end, recipients) in [(&spring, "removed", 2), (&mailjets, "removed", 1), (&autumn, "bounced", 1)] {
        let lives = lives(&events, id);
        assert_eq!(lives.len(), recipients);
        for (to, told) in lives {
            assert_eq!(told.last().map(String::as_str), Some(end), "{id} {to}: {told:?}");
            let has = |kind: &str| told.iter().any(|told| told == kind);
            assert_eq!((has("held"), has("released")), (end == "removed", end == "removed"), "{id} {to}: {told:?}");
        }
    }
    assert_eq!(of(&events, &autumn).last().unwrap()["class"], "policy");
    let ids: Vec<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(ids.len(), once.len(), "each event has an id of its own");
    relay.stop();
}

#[test]
fn mailjet_hears_our_queue_id_and_references_and_nothing_that_webcrm_set_is_overwritten() {
    let server = Capture::start();
    let tier = format!(
        "[mailjet.starter]\nhost = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key\"\n\
         password_file = \"mailjet.secret\"\n",
        server.address.ip(),
        server.address.port()
    );
    let site = Site::with(&[], &tier);
    std::fs::write(site.path("config/mailjet.secret"), "secret").unwrap();
    site.add(&Customer { id: "life", domain: "life.example", route: "via = \"mailjet\"\n".into() });
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let to = "ok@example.net";
    let ours = "X-Postbud-Reference: order 7\r\nX-Postbud-Campaign: =?utf-8?Q?for=C3=A5r?=\r\n";
    let theirs = "X-MJ-CustomID: mine\r\nX-MJ-EventPayload: mine\r\nX-Mailjet-Campaign: mine\r\n";
    for (fields, set_by_webcrm) in [(ours.to_owned(), false), (format!("{ours}{theirs}"), true), (String::new(), false)]
    {
        let before = server.received().len();
        let id = queue_id(&client.send(FROM, &[to], &named(&fields, to)).unwrap()).to_owned();
        let received = server.wait_for(before + 1, Duration::from_secs(20));
        let header = String::from_utf8(received[before].header().to_vec()).unwrap();
        let values = |name: &str| -> Vec<&str> {
            header.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
        };
        let found = ["X-MJ-EventPayload", "X-MJ-CustomID", "X-Mailjet-Campaign"].map(values);
        let right = match (fields.is_empty(), set_by_webcrm) {
            (true, _) => [vec![id.as_str()], vec![], vec![]],
            (_, true) => [vec!["mine"], vec!["mine"], vec!["mine"]],
            (_, false) => [vec![id.as_str()], vec!["order 7"], vec!["=?utf-8?B?Zm9yw6Vy?="]],
        };
        assert_eq!(found, right, "{fields}: {header}");
        assert!(!header.contains("X-Postbud"), "{header}");
    }
    relay.stop();
}

#[test]
fn envid_is_the_reference_of_mail_that_has_no_other() {
    let server = recipients_server();
    let site = site(&server, "");
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut send = |fields: &str, envid: &str| {
        client.say(&format!("MAIL FROM:<{FROM}> ENVID={envid}")).unwrap();
        client.say("RCPT TO:<ok@example.net>").unwrap();
        queue_id(&client.content(&named(fields, "ok@example.net")).unwrap()).to_owned()
    };
    let alone = send("", "order+2B7");
    let beside = send("X-Postbud-Reference: order 8\r\n", "order+2B9");
    for (id, reference, envid) in [(&alone, "order+7", "order+7"), (&beside, "order 8", "order+9")] {
        let relayed = site.wait_for_event("relayed", |it| it["queue_id"] == id.as_str() && it["event"] == "relayed");
        assert_eq!((&relayed["reference"], &relayed["envid"]), (&reference.into(), &envid.into()), "{relayed}");
    }
    for (name, value, found) in [
        ("--reference", "order+7", &alone),
        ("--envid", "order+7", &alone),
        ("--envid", "ORDER+9", &beside),
        ("--reference", "order 8", &beside),
    ] {
        let traced = run(&site, &["trace", name, value]);
        assert!(traced.contains(found.as_str()) && traced.contains("ok@example.net"), "{name} {value}: {traced}");
        assert_eq!(traced.matches("accepted").count(), 1, "{name} {value}: {traced}");
    }
    relay.stop();
}

#[test]
fn the_sample_of_the_webhook_takes_what_a_relay_sends_and_no_forgery() {
    let (server, hook) = (recipients_server(), free_port());
    let webhook = format!(
        "[[events.webhook]]\nname = \"webcrm\"\nurl = \"http://{hook}/hooks/mail\"\nsecret_file = \"hook.secret\"\nlinger = \"100ms\"\n"
    );
    let site = site(&server, "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{config}\n{webhook}")).unwrap();
    std::fs::write(site.path("config/hook.secret"), "et langt og hemmeligt ord som ingen gætter\n").unwrap();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/samples/events_webhook.py");
    let mut receiver = Command::new("/usr/bin/python3")
        .arg(sample)
        .arg(hook.port().to_string())
        .arg(site.path("config/hook.secret"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut told = BufReader::new(receiver.stdout.take().unwrap());
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let fields = "X-Postbud-Reference: order-8\r\nX-Postbud-Campaign: spring\r\nX-Postbud-Tags: a, b\r\n";
    let to = ["ok@example.net", "spam@example.net", "full@example.net"];
    let id = queue_id(&client.send(FROM, &to, &named(fields, to[0])).unwrap()).to_owned();
    assert!(client.send("x@other.example", &to[..1], &named("", to[0])).unwrap().starts_with("550"));
    site.wait_for_event("deferred", |event| event["event"] == "deferred");
    for command in ["hold", "release", "remove"] {
        while !site.operate(&["queue", command, &id]).status.success() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let mut heard = String::new();
    while !heard.contains("removed") {
        assert!(told.read_line(&mut heard).unwrap() > 0, "the sample ended: {heard}");
    }
    for line in [format!("accepted {id} order-8 ok@example.net"), format!("relayed {id} order-8 ok@example.net")] {
        assert_eq!(heard.lines().filter(|heard| **heard == line).count(), 1, "{line}: {heard}");
    }
    let forged = Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "Postbud-Timestamp: 1",
            "-H",
            "Postbud-Signature: v1=00",
        ])
        .args(["-d", "{\"events\":[]}", &format!("http://{hook}/hooks/mail")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&forged.stdout), "401");
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    relay.stop();
}

//! The samples in `docs/samples`: one event of each kind, and one call of a webhook. They come from this test, which writes them anew with
//! `POSTBUD_WRITE_SAMPLES=1` and otherwise compares.
//!
//! All of them are of the relay that runs here. Ids, times and what else differs from run to run are replaced, so that a run changes a sample
//! only if the contract changes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use postbud::events::EventKind;
use postbud::resolver::{FixedZone, RecordType};
use postbud::time::Timestamp;
use serde_json::{Value, json};

use crate::lost::damage;
use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::contract;
use crate::support::mailjet_events::{Rig, event};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, free_port, plain_route};
use crate::support::scripted_dns::{ScriptedDns, from_zone};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/samples/events.jsonl");
const CALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/samples/webhook-call.json");
const FROM: &str = "news@life.example";
/// When the first sample happened.
const BEGIN: &str = "2026-11-30T08:00:00.000Z";

/// The domain whose mail leaves through Mailjet.
const MAILJETS: &str = "news.example";
/// The recipients of the mail whose events fill its customer's share of the log.
const CROWD: usize = 64;

/// Which event is the sample of a kind, where a run has several.
fn is_sample(event: &Value) -> bool {
    let has = |field: &str, value: &str| event[field] == value;
    match event["event"].as_str().unwrap() {
        "accepted" | "relayed" => has("recipient", "ok@example.net"),
        "deferred" | "delayed" | "expired" => has("recipient", "full@example.net"),
        "bounced" => has("recipient", "spam@example.net"),
        "rejected" => has("reason", "from_domain"),
        "audit" => has("command", "queue.hold"),
        "alert" => has("route", "own-server.locked") && event["cured"] != true,
        "omitted" => has("customer", "crowd"),
        "domain.verified" | "domain.vanished" => has("subject", "verification:news.example/spf"),
        _ => true,
    }
}

#[test]
fn each_kind_of_event_and_the_call_of_a_webhook_have_a_sample_as_a_relay_makes_them() {
    let (run, call) = of_a_run();
    compare(EVENTS, &lines(&run));
    compare(CALL, &format!("{:#}\n", normal_call(call)));
    contract::validate("events", &std::fs::read(EVENTS).unwrap());
    let call: Value = serde_json::from_slice(&std::fs::read(CALL).unwrap()).unwrap();
    contract::check_calls(&[call.to_string().into_bytes()]);
}

/// Brings about an event of each kind. Returns them, and a call of a webhook.
fn of_a_run() -> (Vec<Value>, Value) {
    let rig = Rig::new("opens = true\nclicks = true\n", "api = \"off\"\nrequires = [\"spf\"]", "");
    let site = &rig.site;
    let server = recipients_server();
    let route = format!("{}[suppression]\nmode = \"refuse\"\n", plain_route(server.address));
    site.add(&Customer { id: "life", domain: "life.example", route });
    let refusing = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("AUTH").then(|| "535 5.7.8 unknown user or wrong password".to_owned())),
    );
    std::fs::write(site.path("config/customers/locked.secret"), "wrong").unwrap();
    let login = "username = \"relay\"\npassword_file = \"locked.secret\"\nallow_plaintext_auth = true\n";
    let route = format!("{}{login}", plain_route(refusing.address));
    site.add(&Customer { id: "locked", domain: "locked.example", route });
    site.add(&Customer { id: "crowd", domain: "crowd.example", route: plain_route(server.address) });
    let (webhook, calls) = webhook();
    let zone = Arc::new(FixedZone::new());
    zone.add_txt("spf.webcrm.com", "v=spf1 ip4:127.0.0.1 -all");
    let dns = dns(&zone);
    let config = std::fs::read_to_string(site.config()).unwrap();
    // Mailjet's SMTP server has both tiers. What a customer's events take of the log is enough for all but the crowd's.
    let starter = rig.smtp.tier("api = \"off\"").replace("trusted", "starter");
    let config = config.replace("[events]\n", "[events]\ncustomer_share = \"128 KiB\"\n");
    let retry = "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\ndelay_notice = \"2s\"\ngive_up = \"10s\"\n";
    let checks = format!(
        "[onboarding]\ncheck_every = \"1s\"\ncheck_every_while_incomplete = \"1s\"\njitter = 0.0\n\
         [dns]\nservers = [\"{}\"]\ntimeout = \"1s\"\nattempts = 1\nlongest_ttl = \"0s\"\nlongest_negative_ttl = \"0s\"\n",
        dns.address
    );
    std::fs::write(site.config(), format!("{config}{starter}{retry}{checks}{webhook}")).unwrap();
    std::fs::write(site.path("config/hook.secret"), "et langt og hemmeligt ord som ingen gætter\n").unwrap();
    let relay = site.start();

    let fields = "X-Postbud-Reference: order-8\r\nX-Postbud-Campaign: spring\r\nX-Postbud-Tags: a, b\r\n";
    let send_with = |fields: &str, from: &str, to: &[&str], text: &str| {
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let mail = [fields.as_bytes(), &message(from, to[0], text)].concat();
        client.send(from, to, &mail).unwrap()
    };
    let send = |from: &str, to: &[&str], text: &str| send_with(fields, from, to, text);
    // Tags make each of its events a kilobyte long.
    let tags: Vec<String> = (0..14).map(|number| format!("{number:060}")).collect();
    let crowd: Vec<String> = (0..CROWD).map(|number| format!("later-{number}@example.net")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    send_with(&format!("X-Postbud-Tags: {}\r\n", tags.join(",")), "a@crowd.example", &crowd, "crowd");
    send(FROM, &["ok@example.net", "spam@example.net", "full@example.net"], "life");
    assert!(send("x@other.example", &["ok@example.net"], "life").starts_with("550"));
    send("a@locked.example", &["ok@example.net"], "locked");
    operate(site, &["suppression", "add", "life", "gone@example.net", "--reason", "asked by telephone"]);
    send(FROM, &["gone@example.net", "ok@example.net"], "suppressed");
    operate(site, &["customer", "pause", "life", "--reason", "wrong price"]);
    let [first, second] = ["held", "removed"].map(|text| queue_id(&send(FROM, &["wait@example.net"], text)).to_owned());
    for id in [&first, &second] {
        operate(site, &["queue", "hold", id, "--reason", "wrong price"]);
    }
    operate(site, &["queue", "release", &first]);
    operate(site, &["queue", "remove", &second, "--reason", "wrong price"]);
    operate(site, &["customer", "unpause", "life"]);
    let kinds = |kind: &'static str| site.wait_for_event(kind, move |event| event["event"] == kind && is_sample(event));

    // The first look found nothing published.
    rig.wait_for_metric("postbud_onboarding_domains{requirement=\"spf\",state=\"missing\"}", |count| count == 4.0);
    zone.add_txt(MAILJETS, "v=spf1 include:spf.webcrm.com -all");
    look_again(site, &relay, "domain.verified");
    kinds("domain.tier_moved");
    let to = "good@example.net";
    let id = rig.send(to, fields);
    let none = json!({});
    let url = json!({"ip": "192.0.2.1", "url": "https://news.example/spring"});
    for (kind, of, payload, more) in [
        ("sent", "delivered", id.as_str(), &none),
        ("open", "opened", &id, &none),
        ("click", "clicked", &id, &url),
        ("unsub", "unsubscribed", &id, &none),
        ("spam", "complained", &id, &none),
        ("bounce", "unmatched", "of-another-relay", &none),
    ] {
        assert_eq!(rig.post(&event(kind, to, payload, more)), 200);
        kinds(of);
    }
    zone.remove(MAILJETS, RecordType::Txt);
    look_again(site, &relay, "domain.vanished");
    for kind in ["alert", "deferred", "delayed", "expired", "resumed", "omitted"] {
        kinds(kind);
    }

    let waiting = queue_id(&send(FROM, &["full@example.net"], "damage-marker")).to_owned();
    site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["queue_id"] == *waiting);
    // The last write before a crash may be incomplete, so another one follows.
    send(FROM, &["ok@example.net"], "behind it");
    relay.kill();
    damage(site, "damage-marker", usize::MAX);
    let relay = site.start();
    // It may have been read already.
    site.operate(&["queue", "retry", "--all"]);
    kinds("lost");
    relay.stop();
    let has_sample = |call: &Value| call["events"].as_array().unwrap().iter().any(is_call_sample);
    let call = calls.into_iter().find(has_sample).expect("the webhook is called");
    (site.events(), call)
}

/// Has the relay look at domains that are due, which a reload does at once, until a look brings about this event.
fn look_again(site: &Site, relay: &Running, kind: &str) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !site.events().iter().any(|event| event["event"] == kind && is_sample(event)) {
        assert!(Instant::now() < patience, "no {kind}: {}", relay.log());
        relay.signal("HUP");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A server of the DNS with what the zone has at the moment.
fn dns(zone: &Arc<FixedZone>) -> ScriptedDns {
    let zone = Arc::clone(zone);
    ScriptedDns::start(move |asked, kind, answer| {
        from_zone(&zone, asked, kind, answer);
        Duration::ZERO
    })
}

/// Takes everybody but those whose name says what to answer.
fn recipients_server() -> Capture {
    let script = |line: &str| {
        let to = line.strip_prefix("RCPT TO:<")?;
        let answer = match to.split(['@', '-']).next()? {
            "full" | "wait" => "452 4.2.2 mailbox full",
            "later" => "450 4.2.0 come again",
            "spam" => "550 5.7.1 rejected as spam",
            _ => return None,
        };
        Some(answer.to_owned())
    };
    Capture::scripted("127.0.0.1:0", Box::new(script))
}

fn operate(site: &Site, arguments: &[&str]) {
    let done = site.operate(arguments);
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

/// Returns the configuration of a webhook, and the calls that it gets.
fn webhook() -> (String, mpsc::Receiver<Value>) {
    let at = free_port();
    let listener = TcpListener::bind(at).unwrap();
    let (told, calls) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut octets) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|got| got > 2) {
                let line = std::mem::take(&mut line).to_ascii_lowercase();
                octets = line.strip_prefix("content-length: ").map_or(octets, |len| len.trim().parse().unwrap());
            }
            let mut body = vec![0; octets];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.into_inner().write_all(answer).unwrap();
            if told.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    let config = format!(
        "[[events.webhook]]\nname = \"webcrm\"\nurl = \"http://{at}/hooks/mail\"\nsecret_file = \"hook.secret\"\n"
    );
    (config, calls)
}

/// Returns the samples among events, in the order of their kinds.
fn lines(events: &[Value]) -> String {
    let is_of = |kind: EventKind, event: &&Value| event["event"] == kind.as_str() && is_sample(event);
    let samples = EventKind::ALL.into_iter().filter_map(|kind| events.iter().find(|event| is_of(kind, event)).cloned());
    let mut stable = Stable::default();
    samples.map(|sample| format!("{}\n", stable.event(sample))).collect()
}

/// Returns a call with one event.
fn normal_call(mut call: Value) -> Value {
    let event = call["events"].as_array().unwrap().iter().find(|event| is_call_sample(event)).unwrap().clone();
    call["events"] = json!([Stable::default().event(event)]);
    call["batch"] = "9f3c2a10-41-120384".into();
    call["next"] = "9f3c2a10-41-121700".into();
    call
}

fn is_call_sample(event: &Value) -> bool {
    event["event"] == "accepted" && is_sample(event)
}

/// Replaces what differs from run to run.
#[derive(Default)]
struct Stable {
    /// The queue ids that were replaced.
    ids: Vec<String>,
    count: u32,
}

impl Stable {
    fn event(&mut self, mut event: Value) -> Value {
        let at = BEGIN.parse::<Timestamp>().unwrap() + Duration::from_secs(60) * self.count;
        let later = at + Duration::from_secs(300);
        let number = self.count;
        self.count += 1;
        let fields = event.as_object_mut().unwrap();
        let queue_id = fields.get("queue_id").and_then(Value::as_str).map(str::to_owned);
        let id = fields["event_id"].as_str().unwrap().to_owned();
        let (_, end) = id.rsplit_once('-').unwrap();
        let id = match queue_id.as_ref().filter(|queue_id| id.starts_with(queue_id.as_str())) {
            // Reports of others have a digest between the recipient's number and the letter.
            Some(of) if end.len() > 2 => format!("{of}-1M8KM2Y7B-1P5G2SN{}", &end[end.len() - 1..]),
            Some(of) => format!("{of}-1M8KM2Y7B-{end}"),
            None => format!("1M8KM2Y7B-2AWJQVQ-{number}"),
        };
        fields.insert("event_id".into(), id.into());
        for (name, value) in [("at", at), ("next_attempt", later)] {
            if fields.contains_key(name) {
                fields.insert(name.into(), value.to_string().into());
            }
        }
        if let Some(made) = fields.get("message_id").and_then(Value::as_str).zip(queue_id.as_deref()) {
            let (message_id, of) = made;
            if message_id.starts_with(of) {
                fields.insert("message_id".into(), format!("{of}.41d54eb8@news.example").into());
            }
        }
        if let Some(detail) = fields.get("detail").and_then(Value::as_str) {
            let mut detail = stable_text(detail, later);
            // As many as there were attempts.
            if let Some(left_out) = fields.get("left_out").map(Value::to_string) {
                detail = detail.replace(&left_out, "12000");
                fields.insert("left_out".into(), 12_000.into());
            }
            fields.insert("detail".into(), detail.into());
        }
        if let Some(actor) = fields.get("actor").and_then(Value::as_str) {
            fields.insert("actor".into(), stable_text(actor, later).into());
        }
        let text = event.to_string();
        let text = queue_id.map_or(text.clone(), |id| text.replace(&id, &self.stable_id(&id)));
        serde_json::from_str(&text).unwrap()
    }

    fn stable_id(&mut self, id: &str) -> String {
        let at = self.ids.iter().position(|known| known == id).unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("6H2EGBRX8{:02}CM", at + 10)
    }
}

/// Replaces users, times and the places of files in a text.
fn stable_text(text: &str, later: Timestamp) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ':', ';', '.']);
        let rest = &word[bare.len()..];
        if bare.parse::<Timestamp>().is_ok() {
            return format!("{later}{rest}");
        }
        let Some(at) = word.find("/postbud-test-") else { return word.to_owned() };
        let (before, path) = word.split_at(word[..at].rfind('(').map_or(0, |at| at + 1));
        let path = match path.rsplit_once("/quarantine/") {
            Some((folder, file)) => {
                let of = file.split('-').next().unwrap();
                format!("{folder}/quarantine/{of}-00000001-620fb70ce71af2fe-00000040-00001000.record")
            }
            None => path.to_owned(),
        };
        let below = path.split_once("/config/").unwrap().1;
        match below.strip_prefix("../state/") {
            Some(below) => format!("{before}/var/lib/postbud/{below}"),
            None => format!("{before}/etc/postbud/{below}"),
        }
    };
    let mut words: Vec<String> = text.split(' ').map(word).collect();
    for at in 1..words.len() {
        if words[at - 1].trim_start_matches('(') == "uid" {
            let digits = words[at].find(|c: char| !c.is_ascii_digit()).unwrap_or(words[at].len());
            words[at] = format!("1000{}", &words[at][digits..]);
        }
    }
    words.join(" ")
}

/// Compares a sample with what was made, or writes it.
fn compare(path: &str, made: &str) {
    if std::env::var_os("POSTBUD_WRITE_SAMPLES").is_some() {
        std::fs::write(path, made).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == made,
        "{path} is not as a relay makes it: run this test once with POSTBUD_WRITE_SAMPLES=1, and look at what changed.\n{made}"
    );
}

#[test]
fn no_kind_of_event_is_without_a_sample() {
    let mut samples = BTreeMap::new();
    for line in std::fs::read_to_string(EVENTS).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        *samples.entry(event["event"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(samples, EventKind::ALL.into_iter().map(|kind| (kind.as_str().to_owned(), 1)).collect());
}

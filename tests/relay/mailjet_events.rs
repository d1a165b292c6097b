//! What Mailjet reports, from the submission of a mail to the record: over real sockets, with a stand-in that behaves as Mailjet's
//! documentation describes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use postbud::time::Timestamp;
use serde_json::{Value, json};

use crate::returned::feedback;
use crate::support::client::Client;
use crate::support::mailjet_api::MailjetApi;
use crate::support::mailjet_events::{LOGIN, Rig, SECRET, event, guid, post};
use crate::support::relay::free_port;

const NOTHING: Value = Value::Null;

fn none() -> Value {
    json!({})
}

#[test]
fn every_kind_of_event_reaches_the_record_the_trace_and_the_suppression_list() {
    let rig = Rig::new("opens = true\nclicks = true\n", "", "[suppression]\nmode = \"refuse\"\nhard_bounces = 1\n");
    let relay = rig.site.start();
    let fields = "X-Postbud-Reference: order 7\r\nX-Postbud-Campaign: spring\r\n";
    let names = ["good", "gone", "full", "angry", "bored", "blocked", "odd"];
    let ids: BTreeMap<&str, String> =
        names.into_iter().map(|name| (name, rig.send(&format!("{name}@x.example"), fields))).collect();
    rig.received(&ids["good"]);
    let of = |name: &str, kind: &str, more: Value| event(kind, &format!("{name}@x.example"), &ids[name], &more);
    let bounce = |hard: bool, error: &str, comment: &str| json!({"blocked": hard, "hard_bounce": hard, "error_related_to": "recipient", "error": error, "comment": comment});
    let group = json!([
        of("good", "sent", json!({"smtp_reply": "sent (250 2.0.0 OK 1433333948 fa5si855896wjc.199 - gsmtp)"})),
        of("good", "open", json!({"ip": "192.0.2.1", "agent": "Mail"})),
        of("good", "click", json!({"ip": "192.0.2.1", "agent": "Mail", "url": "https://news.example/a"})),
        of("gone", "bounce", bounce(true, "user unknown", "550 5.1.1 no such user")),
        of("full", "bounce", bounce(false, "quota exceeded", "452 4.2.2 mailbox full")),
        of("angry", "sent", none()),
        of("angry", "spam", json!({"source": "JMRPP"})),
        of("bored", "unsub", json!({"mj_list_id": 1, "ip": "192.0.2.1"})),
        of("blocked", "blocked", json!({"error_related_to": "mailjet", "error": "preblocked"})),
        // Times that cannot be: the first second of 1970, and a year from now.
        of("odd", "open", json!({"time": 0, "ip": "192.0.2.1", "agent": "Mail"})),
        of("odd", "open", json!({"time": Timestamp::now().as_secs() + 31_536_000, "ip": "192.0.2.1", "agent": "Mail"})),
        {"event": "typed", "time": 7}
    ]);
    assert_eq!(rig.post(&group), 200);
    for (name, kind) in [
        ("good", "delivered"),
        ("good", "opened"),
        ("good", "clicked"),
        ("gone", "bounced"),
        ("full", "bounced"),
        ("angry", "complained"),
        ("bored", "unsubscribed"),
        ("blocked", "bounced"),
        ("odd", "opened"),
    ] {
        rig.wait_for(kind, &ids[name]);
    }
    // Mailjet repeats: the same group, and each event alone.
    assert_eq!(rig.post(&group), 200);
    for one in group.as_array().unwrap() {
        assert_eq!(rig.post(one), 200);
    }
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"repeated\"}", |count| count == 22.0);
    assert_eq!(rig.told(&ids["good"]), ["accepted", "relayed", "delivered", "opened", "clicked"]);
    assert_eq!(rig.told(&ids["odd"]), ["accepted", "relayed", "opened", "opened"]);
    assert_eq!(rig.told(&ids["gone"]), ["accepted", "relayed", "bounced"]);
    assert_eq!(rig.told(&ids["angry"]), ["accepted", "relayed", "delivered", "complained"]);

    let delivered = rig.wait_for("delivered", &ids["good"]);
    for (field, value) in [
        ("reference", json!("order 7")),
        ("campaign", json!("spring")),
        ("customer", json!("news")),
        ("from_domain", json!("news.example")),
        ("sender", json!("nyt@news.example")),
        ("recipient", json!("good@x.example")),
        ("route", json!("mailjet.trusted")),
        ("reason", json!("mailjet")),
        ("code", json!(250)),
        ("status", json!("2.0.0")),
    ] {
        assert_eq!(delivered[field], value, "{delivered}");
    }
    let parts = |kind: &str, name: &str| {
        let event = rig.wait_for(kind, &ids[name]);
        json!([event["class"], event["code"], event["status"]])
    };
    assert_eq!(parts("bounced", "gone"), json!(["hard", 550, "5.1.1"]));
    assert_eq!(parts("bounced", "full"), json!(["mailbox_full", 452, "4.2.2"]));
    assert_eq!(parts("bounced", "blocked"), json!(["policy", NOTHING, NOTHING]));
    assert_eq!(rig.wait_for("clicked", &ids["good"])["url"], "https://news.example/a");

    let traced = rig.site.operate(&["trace", &ids["gone"]]);
    let traced = String::from_utf8(traced.stdout).unwrap();
    assert!(traced.contains("bounced") && traced.contains("550 5.1.1 no such user"), "{traced}");
    let listed = rig.site.operate(&["suppression", "list", "news", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let suppressed: BTreeMap<String, String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|it| (it["address"].as_str().unwrap().to_owned(), it["reason"].as_str().unwrap().to_owned()))
        .collect();
    let expected =
        [("angry@x.example", "complaint"), ("bored@x.example", "unsubscribe"), ("gone@x.example", "hard_bounce")];
    assert_eq!(suppressed, expected.map(|(address, reason)| (address.to_owned(), reason.to_owned())).into());
    rig.wait_for_metric("postbud_mailjet_unknown_events_total", |count| count == 3.0);
    relay.stop();
}

#[test]
fn a_complaint_that_comes_from_mailjet_and_as_a_feedback_report_is_one() {
    let listen = free_port();
    let returns = format!(
        "[returns]\ndomain = \"returns.test\"\nlisten = \"{listen}\"\ntls = \"off\"\ncomplaints_from = [\"127.0.0.0/8\"]\n"
    );
    let rig = Rig::new(&returns, "", "[suppression]\nmode = \"refuse\"\n");
    let relay = rig.site.start();
    let feed_back = |id: &str, kind: &str| {
        let mail = rig.received(id);
        let header = String::from_utf8_lossy(mail.header()).replace("\r\n", "\n");
        let report = feedback(kind, "", header.trim_end()).replace('\n', "\r\n");
        let mut client = Client::connect(listen).unwrap();
        assert!(client.send("", &["fbl@returns.test"], report.as_bytes()).unwrap().starts_with("250"));
    };
    let is_listed = |to: &str| rig.site.operate(&["suppression", "list", "news", "--address", to]).status.success();
    let (mut repeated, mut duplicates) = (0.0, 0.0);
    for (mailjets, report, told) in [("spam", "abuse", "complained"), ("unsub", "opt-out", "unsubscribed")] {
        let to = format!("{mailjets}-1@x.example");
        let id = rig.send(&to, "");
        feed_back(&id, report);
        assert_eq!(rig.wait_for(told, &id)["reason"], "feedback_report");
        assert!(is_listed(&to));
        // A person takes the address out. What was known before does not put it back.
        assert!(rig.site.operate(&["suppression", "remove", "news", &to]).status.success());
        assert_eq!(rig.post(&event(mailjets, &to, &id, &none())), 200);
        repeated += 1.0;
        rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"repeated\"}", |count| count == repeated);
        assert_eq!(rig.told(&id), ["accepted", "relayed", told]);
        assert!(!is_listed(&to));

        let to = format!("{mailjets}-2@x.example");
        let id = rig.send(&to, "");
        assert_eq!(rig.post(&event(mailjets, &to, &id, &none())), 200);
        assert_eq!(rig.wait_for(told, &id)["reason"], "mailjet");
        feed_back(&id, report);
        duplicates += 1.0;
        let what = "postbud_returned_mail_read_total{what=\"duplicate\"}";
        rig.wait_for_metric(what, |count| count == duplicates);
        assert_eq!(rig.told(&id), ["accepted", "relayed", told]);
    }
    relay.stop();
}

#[test]
fn what_is_reported_about_mail_in_test_mode_suppresses_and_pauses_nobody() {
    let policies = "[suppression]\nmode = \"refuse\"\nhard_bounces = 1\n[limits]\non_complaints = \"pause\"\n\
                    complaint_percent = 1.0\nrate_volume = 1\n";
    for (mode, expected) in [("", 1), ("test = true\ntest_allow = [\"*@x.example\"]\n", 0)] {
        let rig = Rig::new("", "", policies);
        let file = rig.site.customer_file("news");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("domains = ", &format!("{mode}domains = "), 1)).unwrap();
        let relay = rig.site.start();
        let id = rig.send("angry@x.example", "");
        assert_eq!(rig.post(&event("spam", "angry@x.example", &id, &json!({"source": "JMRPP"}))), 200);
        let told = rig.wait_for("complained", &id);
        assert_eq!(told["test"] == true, expected == 0, "{told}");
        // When the repetition has been read, everything that followed the first report is done.
        assert_eq!(rig.post(&event("spam", "angry@x.example", &id, &json!({"source": "JMRPP"}))), 200);
        rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"repeated\"}", |count| count == 1.0);
        let listed = |what: &[&str]| String::from_utf8(rig.site.operate(what).stdout).unwrap().lines().count();
        if expected == 1 {
            rig.site.wait_for_event("paused", |event| event["event"] == "paused");
        }
        assert_eq!(listed(&["suppression", "list", "news", "--json"]), expected, "{mode}");
        assert_eq!(listed(&["customer", "paused", "--json"]), expected, "{mode}");
        relay.stop();
    }
}

#[test]
fn whatever_the_order_a_bounce_stays_a_bounce() {
    let rig = Rig::new("", "", "");
    let relay = rig.site.start();
    let (late, both) = (rig.send("late@x.example", ""), rig.send("both@x.example", ""));
    let bounce = json!({"hard_bounce": true, "error_related_to": "recipient", "error": "user unknown"});
    assert_eq!(rig.post(&event("bounce", "late@x.example", &late, &bounce)), 200);
    rig.wait_for("bounced", &late);
    let mut older = event("sent", "late@x.example", &late, &none());
    older["time"] = (older["time"].as_u64().unwrap() - 60).into();
    assert_eq!(rig.post(&older), 200);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"late\"}", |count| count == 1.0);
    assert_eq!(rig.post(&event("sent", "both@x.example", &both, &none())), 200);
    rig.wait_for("delivered", &both);
    assert_eq!(rig.post(&event("bounce", "both@x.example", &both, &bounce)), 200);
    rig.wait_for("bounced", &both);
    // Openings are not wanted here, and greylisting decides nothing.
    assert_eq!(rig.post(&event("open", "both@x.example", &both, &none())), 200);
    let greylisted = json!({"hard_bounce": false, "error_related_to": "domain", "error": "greylisted"});
    assert_eq!(rig.post(&event("bounce", "both@x.example", &both, &greylisted)), 200);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"for_now\"}", |count| count == 1.0);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"unwanted\"}", |count| count == 1.0);
    assert_eq!(rig.told(&late), ["accepted", "relayed", "bounced"]);
    assert_eq!(rig.told(&both), ["accepted", "relayed", "delivered", "bounced"]);
    relay.stop();
}

#[test]
fn mail_with_a_payload_of_its_own_is_matched_by_mailjets_name_and_what_fits_no_mail_is_told_as_such() {
    let rig = Rig::new("", "", "");
    let relay = rig.site.start();
    // A client that uses the payload itself: our queue id does not travel.
    let id = rig.send("a@x.example", "X-MJ-EventPayload: mine\r\n");
    let named = json!({"Message_GUID": guid(1), "Payload": "mine"});
    assert_eq!(rig.post(&event("sent", "A@X.example", "mine", &named)), 200);
    rig.wait_for("delivered", &id);
    // The right name with another recipient's address: the mail has only one.
    let stranger = json!({"Message_GUID": guid(77), "MessageID": 12_345_678_901u64});
    assert_eq!(rig.post(&event("sent", "who\u{202e}@x.example", "", &stranger)), 200);
    let told = rig.site.wait_for_event("unmatched", |event| event["event"] == "unmatched");
    assert!(told["detail"].as_str().unwrap().contains("12345678901"), "{told}");
    assert!(!told.to_string().contains('\u{202e}'), "{told}");
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"unmatched\"}", |count| count == 1.0);
    // Of a flood few are told one by one.
    let flood: Vec<Value> = (0..200).map(|n| event("sent", &format!("{n}@x.example"), "", &none())).collect();
    assert_eq!(rig.post(&Value::Array(flood)), 200);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"unmatched\"}", |count| count == 201.0);
    let told = rig.site.events().iter().filter(|event| event["event"] == "unmatched").count();
    assert!(told <= 22, "{told}");
    relay.stop();
}

#[test]
fn mail_from_before_the_endpoint_was_there_is_found_in_the_record() {
    let rig = Rig::new("", "", "");
    let config = std::fs::read_to_string(rig.site.config()).unwrap();
    let (before, _) = config.split_once("[returns.mailjet]").unwrap();
    std::fs::write(rig.site.config(), before).unwrap();
    let relay = rig.site.start();
    let id = rig.send("a@x.example", "");
    relay.stop();
    std::fs::write(rig.site.config(), &config).unwrap();
    let relay = rig.site.start();
    let sent = event("sent", "a@x.example", &id, &none());
    assert_eq!(rig.post(&sent), 200);
    rig.wait_for("delivered", &id);
    assert_eq!(rig.post(&sent), 200);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"repeated\"}", |count| count == 1.0);
    assert_eq!(rig.told(&id), ["accepted", "relayed", "delivered"]);
    relay.stop();
}

#[test]
fn only_who_knows_secret_and_login_brings_events_and_bad_bodies_hear_what_is_wrong() {
    let rig = Rig::new("request_size = \"64 KiB\"\nevents_per_request = 100\n", "", "");
    let config = std::fs::read_to_string(rig.site.config()).unwrap();
    // The first wrong request is answered a little late, so that this test is not.
    std::fs::write(
        rig.site.config(),
        format!("{config}[limits]\nlogin_delay = \"300ms\"\nlongest_login_delay = \"300ms\"\n"),
    )
    .unwrap();
    let relay = rig.site.start();
    let right = format!("/mailjet/{SECRET}");
    let ask = |method: &str, path: &str, login: Option<&str>, body: &[u8]| {
        post(rig.endpoint, method, path, login, body).unwrap()
    };
    let body = event("sent", "a@x.example", "0000000000007", &none()).to_string();
    for (path, login, status) in [
        ("/", Some(LOGIN), 404),
        ("/mailjet/", Some(LOGIN), 404),
        ("/mailjet/3f0c9a7e51d24b6f8a11", Some(LOGIN), 404),
        (&format!("{right}/"), Some(LOGIN), 404),
        (&right, None, 401),
        (&right, Some("mailjet:wrong"), 401),
        (&right, Some("someone:twelve characters"), 401),
    ] {
        let started = Instant::now();
        let (found, answer) = ask("POST", path, login, body.as_bytes());
        assert_eq!(found, status, "{path} {login:?}: {answer}");
        assert!(started.elapsed() >= Duration::from_millis(300), "guessing is slow");
        assert_eq!(answer.to_lowercase().contains("www-authenticate: basic"), status == 401, "{answer}");
        assert!(!answer.contains(SECRET), "{answer}");
    }
    assert_eq!(ask("GET", &right, Some(LOGIN), b"").0, 405);
    let many = Value::Array(vec![none(); 101]).to_string();
    let large = format!("[{}]", " ".repeat(70_000));
    let hostile: [(&[u8], u16); 12] = [
        (b"", 400),
        (b"null", 400),
        (b"{", 400),
        (b"event=sent&time=1", 400),
        (b"<xml/>", 400),
        (b"\xff\xfe", 400),
        (b"{\"event\":\"sent\"}{}", 400),
        (many.as_bytes(), 413),
        (large.as_bytes(), 413),
        (b"[]", 200),
        (b"{}", 200),
        (b"[7,null,[[[]]],{\"event\":\"sent\",\"Payload\":{\"a\":[]},\"MessageID\":-1,\"time\":1e300}]", 200),
    ];
    for (body, status) in hostile {
        assert_eq!(
            ask("POST", &right, Some(LOGIN), body).0,
            status,
            "{}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
    }
    assert_eq!(ask("POST", &right, Some(LOGIN), body.as_bytes()).0, 200, "guesses keep nobody out");
    relay.stop();
}

#[test]
fn while_the_database_takes_nothing_mailjet_hears_503_and_what_it_repeats_is_told_once() {
    let rig = Rig::new("", "", "");
    let relay = rig.site.start();
    let id = rig.send("a@x.example", "");
    let sent = event("sent", "a@x.example", &id, &none());
    let other = rusqlite::Connection::open(rig.site.path("state/postbud.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let heard = std::thread::scope(|scope| {
        let mailjet = scope.spawn(|| rig.deliver(&sent));
        rig.site.wait_for_event("an alert", |event| event["event"] == "alert" && event["subject"] == "mailjet:events");
        other.execute_batch("ROLLBACK").unwrap();
        mailjet.join().unwrap()
    });
    assert!(!heard.is_empty() && heard.iter().all(|status| *status == Some(503)), "{heard:?}");
    rig.wait_for("delivered", &id);
    rig.site.wait_for_event("its end", |event| event["subject"] == "mailjet:events" && event["cured"] == true);
    assert_eq!(rig.told(&id), ["accepted", "relayed", "delivered"]);
    relay.stop();
}

/// What Mailjet heard 200 for, at first or when it repeated it, is in the record once, wherever a kill comes.
#[test]
fn a_damaged_file_of_the_record_holds_up_reports_until_it_is_taken_away() {
    let rig = Rig::new("", "", "");
    let relay = rig.site.start();
    let id = rig.send("a@x.example", "");
    rig.wait_for_metric("postbud_mailjet_relayed_total", |count| count == 1.0);
    relay.stop();
    // As if the file had been full: the next start compresses it.
    let [log, full, closed] =
        ["", ".000001", ".000001.zst"].map(|end| rig.site.path(&format!("state/events.jsonl{end}")));
    std::fs::rename(log, &full).unwrap();
    let relay = rig.site.start();
    while !closed.exists() || full.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut octets = std::fs::read(&closed).unwrap();
    octets[20] ^= 0xff;
    std::fs::write(&closed, &octets).unwrap();
    assert_eq!(rig.post(&event("sent", "a@x.example", &id, &none())), 200);
    let told = rig.site.wait_for_event("an alert", |event| event["subject"] == "mailjet:record");
    assert!(told["detail"].as_str().unwrap().contains("events.jsonl.000001.zst: "), "{told}");
    std::fs::remove_file(&closed).unwrap();
    rig.site.wait_for_event("its end", |event| event["subject"] == "mailjet:record" && event["cured"] == true);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"forgotten\"}", |count| count == 1.0);
    relay.stop();
}

#[test]
fn after_kill_9_every_event_that_heard_200_is_in_the_record_once() {
    const ROUNDS: u64 = 4;
    let rig = Rig::new("opens = true\n", "", "");
    // A time that cannot be is replaced by that of the arrival, which would tell repetitions apart.
    let begin = Timestamp::now().as_secs() - 50_000;
    let (acknowledged, broken) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let mut relay = Some(rig.site.start());
    let ids: Vec<String> = (0..4).map(|n| rig.send(&format!("r{n}@x.example"), "")).collect();
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            for (sender, id) in ids.iter().enumerate() {
                let (rig, acknowledged, broken) = (&rig, &acknowledged, &broken);
                scope.spawn(move || {
                    for n in 0.. {
                        // Openings can come any number of times: each has an agent of its own.
                        let agents: Vec<String> = (0..3).map(|part| format!("{round}-{n}-{part}")).collect();
                        let group = agents.iter().map(|agent| {
                            event(
                                "open",
                                &format!("r{sender}@x.example"),
                                id,
                                &json!({"agent": agent, "time": begin + round * 10_000 + n * 3}),
                            )
                        });
                        let group = Value::Array(group.collect());
                        if rig.try_post(group.to_string().as_bytes()) != Some(200) {
                            broken.lock().unwrap().push((id.clone(), round, n, group));
                            return;
                        }
                        acknowledged.lock().unwrap().insert((id.clone(), round, n));
                    }
                });
            }
            let (patience, before) = (Instant::now() + Duration::from_secs(60), acknowledged.lock().unwrap().len());
            while acknowledged.lock().unwrap().len() < before + 10 {
                assert!(Instant::now() < patience, "the endpoint answers nobody");
                std::thread::sleep(Duration::from_millis(3));
            }
            std::thread::sleep(Duration::from_millis(37 * round));
            relay.take().expect("it runs").kill();
        });
        relay = Some(rig.site.start());
        // Mailjet repeats what it got no answer to, whether it is on disk already or not.
        for (id, round, n, group) in broken.lock().unwrap().drain(..) {
            rig.deliver(&group);
            acknowledged.lock().unwrap().insert((id, round, n));
        }
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    rig.wait_for_metric("postbud_mailjet_waiting_events", |count| count == 0.0);
    let events = rig.site.events();
    let opened: Vec<&Value> = events.iter().filter(|event| event["event"] == "opened").collect();
    let names: BTreeSet<&str> = opened.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(names.len(), opened.len(), "an event is there twice");
    let count = |id: &str| opened.iter().filter(|event| event["queue_id"] == id).count();
    for id in &ids {
        let right = acknowledged.iter().filter(|(of, ..)| of == id).count() * 3;
        assert_eq!(count(id), right, "{id}");
    }
    relay.expect("it runs").stop();
}

/// The status and the seconds of Retry-After that events hear.
fn refused(rig: &Rig, body: &Value) -> (u16, u64) {
    let path = format!("/mailjet/{SECRET}");
    let (status, answer) = post(rig.endpoint, "POST", &path, Some(LOGIN), body.to_string().as_bytes()).unwrap();
    let answer = answer.to_ascii_lowercase();
    let wait = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).expect("a time to wait for");
    (status, wait.trim().parse().unwrap())
}

#[test]
fn events_that_come_too_fast_hear_429_and_those_without_room_503_until_they_are_taken() {
    let rig = Rig::new("events_per_second = 100\nwaiting_events = 700\n", "", "");
    let relay = rig.site.start();
    let id = rig.send("a@x.example", "");
    let openings = |count: usize| Value::Array(vec![event("open", "a@x.example", &id, &none()); count]);
    // Those of five seconds may come at once. One request may exceed that, and the next one then waits.
    assert_eq!(rig.post(&openings(1_500)), 200);
    let sent = event("sent", "a@x.example", &id, &none());
    let (status, wait) = refused(&rig, &sent);
    assert_eq!(status, 429);
    assert!((5..=10).contains(&wait), "{wait}: a thousand too many, at a hundred a second");
    assert_eq!(rig.told(&id), ["accepted", "relayed"]);
    // Mailjet repeats, and its patience is rewarded.
    let heard = rig.deliver(&sent);
    assert!(heard.iter().all(|status| *status == Some(429)), "{heard:?}");
    rig.wait_for("delivered", &id);
    relay.stop();

    // More events than may wait to be recorded have no room, however slowly they come. Events that nobody wants need none.
    let relay = rig.site.start();
    let many = Value::Array(vec![event("unsub", "a@x.example", &id, &none()); 701]);
    assert_eq!(refused(&rig, &many), (503, 30));
    relay.stop();
    assert_eq!(rig.told(&id), ["accepted", "relayed", "delivered"]);
}

fn paused(rig: &Rig) -> Vec<Value> {
    let listed = rig.site.operate(&["customer", "paused", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn complaints_above_a_rate_raise_an_alert_and_pause_the_customer_if_that_is_wanted() {
    for reaction in ["alert", "pause"] {
        let limits = format!("[limits]\non_complaints = \"{reaction}\"\ncomplaint_percent = 30\nrate_volume = 4\n");
        let rig = Rig::new("", "", &limits);
        let relay = rig.site.start();
        let ids: Vec<String> = (0..4).map(|n| rig.send(&format!("r{n}@x.example"), "")).collect();
        let complain = |n: usize| {
            assert_eq!(rig.post(&event("spam", &format!("r{n}@x.example"), &ids[n], &json!({"source": "JMRPP"}))), 200);
            rig.wait_for("complained", &ids[n]);
        };
        let is_alert = |event: &Value| event["event"] == "alert" && event["subject"] == "volume:news";
        // One of four is not more than 30 %, two are.
        complain(0);
        complain(1);
        let alert = rig.site.wait_for_event("an alert", is_alert);
        let detail = alert["detail"].as_str().unwrap();
        assert!(detail.contains("2 of 4 recipients") && detail.contains("complained"), "{detail}");
        assert_eq!(rig.site.events().iter().filter(|event| is_alert(event)).count(), 1);
        if reaction == "alert" {
            assert!(paused(&rig).is_empty());
            rig.send("r5@x.example", "");
        } else {
            assert!(detail.contains("postbud customer unpause news"), "{detail}");
            let told = rig.site.wait_for_event("paused", |event| event["event"] == "paused");
            assert_eq!((&told["customer"], &told["reason"]), (&"news".into(), &"complaints".into()), "{told}");
            let found = paused(&rig);
            assert_eq!((found.len(), &found[0]["cause"]), (1, &"complaints".into()), "{found:?}");
            let waiting = rig.site.submit("nyt@news.example", "r5@x.example", "x");
            let stopped = rig.site.operate(&["queue", "list", "--state", "stopped", "--json"]);
            assert!(String::from_utf8_lossy(&stopped.stdout).contains(&waiting), "{stopped:?}");
            assert!(rig.site.operate(&["customer", "unpause", "news"]).status.success());
            rig.wait_for("relayed", &waiting);
        }
        relay.stop();
    }
}

#[test]
fn the_address_is_printed_and_registered_over_mailjets_api() {
    let api = MailjetApi::start(&["key"], "k=rsa; p=AAAA");
    api.world().callbacks.push(json!({"ID": 1, "EventType": "spam", "IsBackup": false, "Status": "alive", "Url": "https://old.example", "Version": 1}));
    let rig = Rig::new("opens = true\n", &format!("api = \"{}\"\n", api.url), "");
    let printed = rig.site.operate(&["returns", "mailjet", "url"]);
    assert!(printed.status.success(), "{printed:?}");
    let url = format!("http://mailjet:twelve%20characters@localhost:{}/mailjet/{SECRET}", rig.endpoint.port());
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim_end(), url);
    let register = |more: &[&str]| {
        let done = rig.site.operate(&[&["returns", "mailjet", "register", "--json"], more].concat());
        let lines = String::from_utf8(done.stdout).unwrap();
        let results = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let results = results.map(|it| format!("{} {}", it["event"].as_str().unwrap(), it["result"].as_str().unwrap()));
        (done.status.success(), results.collect::<Vec<_>>())
    };
    let first = ["sent added", "bounce added", "blocked added", "spam changed", "unsub added", "open added"];
    assert_eq!(register(&[]), (true, first.map(str::to_owned).into()));
    let again = ["sent kept", "bounce kept", "blocked kept", "spam kept", "unsub kept", "open kept"];
    assert_eq!(register(&["--account", "trusted"]), (true, again.map(str::to_owned).into()));
    assert_eq!(register(&["--account", "none"]), (false, Vec::new()));
    let callbacks = api.world().callbacks.clone();
    assert!(
        callbacks.len() == 6 && callbacks.iter().all(|it| it["Url"] == url.as_str() && it["Version"] == 2),
        "{callbacks:?}"
    );
    // Who did it is told by the relay.
    let relay = rig.site.start();
    let told = rig.site.wait_for_event("the audit", |event| event["command"] == "mailjet.events");
    assert!(!told.to_string().contains(SECRET), "{told}");
    relay.stop();
}

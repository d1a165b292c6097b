//! The queue over HTTP: pages, counting before changing, and following jobs.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::rig::Rig;

#[test]
fn a_list_is_read_page_by_page_and_nothing_is_missed_or_twice() {
    let rig = Rig::start();
    let client = rig.client("read");
    let mut sent: Vec<String> = (0..7).map(|n| rig.submit("ole@anna.example", &format!("{n}@example.com"))).collect();
    let mut found = Vec::new();
    let mut path = "/queue?customer=anna&limit=3".to_owned();
    loop {
        let page = client.read(&path);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/queue?customer=anna&limit=3&cursor={next}");
    }
    sent.sort();
    assert_eq!(found, sent);
    let one = client.read(&format!("/queue/messages/{}", sent[0]));
    assert!(one["header"].as_str().unwrap().contains("DKIM-Signature"), "{one}");
    assert_eq!(client.read("/queue/stats")["messages"], 7);
    client.get("/queue/messages/0000000000000").is_problem("not-found");
    let trace = client.until("/trace?recipient=3@example.com", |found| found["items"] != json!([]));
    assert_eq!(trace["items"][0]["queue_id"], sent[3]);

    // The history of mail, the newest first.
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.filter_map(|item| item["queue_id"].as_str().map(str::to_owned)).collect()
    };
    client.until("/trace?sender=ole@anna.example", |found| ids(found).len() == 7);
    let (mut found, mut path) = (Vec::new(), "/trace?sender=ole@anna.example&limit=3".to_owned());
    loop {
        let page = client.read(&path);
        assert_eq!(
            (page["more"] == true, ids(&page).len()),
            (page["next"].is_string(), 3.min(7 - found.len())),
            "{page}"
        );
        found.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/trace?sender=ole@anna.example&limit=3&cursor={next}");
    }
    sent.reverse();
    assert_eq!(found, sent);
    client.get("/trace?sender=ole@anna.example&cursor=elsewhere").is_problem("invalid");
    client.get(&format!("/trace?cursor={}", path.rsplit('=').next().unwrap())).is_problem("invalid");
}

#[test]
fn a_list_is_narrowed_by_what_the_submitter_calls_its_mail() {
    let rig = Rig::start();
    let client = rig.client("read");
    let first = rig.submit("ole@anna.example", "x@example.com");
    let fields = "X-Postbud-Reference: order 7\r\nX-Postbud-Campaign: spring\r\nX-Postbud-Tags: a, b\r\n";
    let second = rig.submit_with("ida@anna.example", "x@other.example", fields);
    for (filter, expected) in [
        ("sender=Ole@anna.example", vec![&first]),
        ("reference=order%207", vec![&second]),
        ("campaign=Spring", vec![&second]),
        ("tag=b", vec![&second]),
        ("tag=c", vec![]),
        ("envid=order%207", vec![]),
        ("recipient_domain=other.example", vec![&second]),
        ("recipient_domain=other.example&sender=ole@anna.example", vec![]),
        ("customer=anna", vec![&first, &second]),
    ] {
        let page = client.read(&format!("/queue?{filter}"));
        let ids: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(
            (ids, page["next"].is_null()),
            (expected.into_iter().map(String::as_str).collect(), true),
            "{filter}"
        );
    }
    // The history of mail is narrowed in the same way.
    client.until("/trace?customer=anna", |found| found["items"].as_array().unwrap().len() == 2);
    for (filter, expected) in [
        ("sender=Ole@anna.example", Some(&first)),
        ("reference=order%207", Some(&second)),
        ("campaign=Spring", Some(&second)),
        ("tag=b", Some(&second)),
        ("tag=c", None),
        ("tag=a&sender=ole@anna.example", None),
    ] {
        let found = client.read(&format!("/trace?{filter}"));
        let ids: Vec<&str> =
            found["items"].as_array().unwrap().iter().map(|item| item["queue_id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected.into_iter().map(String::as_str).collect::<Vec<_>>(), "{filter}");
    }
}

#[test]
fn a_command_does_nothing_where_more_fits_than_was_counted() {
    let rig = Rig::start();
    let client = rig.client("operate");
    for n in 0..3 {
        rig.submit("ole@anna.example", &format!("{n}@example.com"));
    }
    let which = json!({ "customer": "anna" });
    assert_eq!(client.post("/queue/count", &which.to_string()).json()["count"], 3);
    let hold = |most: u64| json!({ "which": which, "at_most": most, "reason": "wrong list" }).to_string();
    let refused = client.post("/queue/hold", &hold(2));
    assert!(refused.is_problem("conflict").body.contains("3 messages fit now"), "{refused:?}");
    assert_eq!(client.read("/queue/stats")["held"], 0);
    let job = client.job("/queue/hold", &hold(3));
    assert_eq!((&job["state"], &job["result"]["queue"]["count"]), (&json!("done"), &json!(3)), "{job}");
    assert_eq!(client.read("/queue?state=held")["items"][0]["held"], "wrong list");
    let event = rig.site.wait_for_event("the audit", |event| event["command"] == "queue.hold");
    assert_eq!((&event["changed"], &event["peer"]), (&json!(3), &json!("127.0.0.1")));
    for (path, state) in [("/queue/release", "done"), ("/queue/retry", "done")] {
        let job = client.job(path, &json!({ "which": which, "at_most": 3 }).to_string());
        assert_eq!(job["state"], state, "{job}");
    }
    let id = client.read("/queue")["items"][0]["id"].as_str().unwrap().to_owned();
    let job = client.job("/queue/remove", &json!({ "which": { "ids": [id] }, "reason": "sent twice" }).to_string());
    assert_eq!(job["result"]["queue"]["count"].as_u64().unwrap() + job["result"]["queue"]["busy"].as_u64().unwrap(), 1);
    client
        .post("/queue/hold", &json!({ "which": { "ids": ["nonsense"] }, "reason": "x" }).to_string())
        .is_problem("invalid");
}

#[test]
fn a_job_is_followed_by_events_and_seen_by_nobody_else() {
    let rig = Rig::start();
    let client = rig.client("operate");
    rig.submit("ole@anna.example", "x@example.com");
    let begun =
        client.post("/queue/hold", &json!({ "which": { "all": true }, "at_most": 9, "reason": "x" }).to_string());
    let place = begun.header("location").unwrap().to_owned();
    let mut stream = TcpStream::connect(rig.api).unwrap();
    let token = &client.token;
    stream
        .write_all(format!("GET {place}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes())
        .unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.contains("content-type: text/event-stream") && told.contains("event: job"), "{told}");
    assert!(told.contains("\"state\":\"done\""), "the stream ends with the job: {told}");
    let place = place.replace("/api/v1", "");
    assert_eq!(client.read("/jobs")["items"].as_array().unwrap().len(), 1);
    let customer = rig.client_of("customer", &["anna"]);
    customer.get(&place).is_problem("not-found");
    customer.get(&format!("{place}/events")).is_problem("not-found");
    assert_eq!(customer.read("/jobs")["items"], json!([]));
    client.get(&format!("{place}?wait_secs=26")).is_problem("invalid");
}

#[test]
fn a_repeat_with_its_key_is_carried_out_once() {
    let rig = Rig::start();
    let client = rig.client("operate");
    rig.submit("ole@anna.example", "x@example.com");
    let body = json!({ "which": { "all": true }, "at_most": 9, "reason": "x" }).to_string();
    let send = |key: &str, body: &str| client.send("POST", "/queue/hold", &[("Idempotency-Key", key)], Some(body));
    let first = send("one", &body);
    let again = send("one", &body);
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")), "{again:?}");
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_ne!(send("two", &body).json()["id"], first.json()["id"]);
    send("one", &body.replace("\"x\"", "\"y\"")).is_problem("another-request");
    send("with blank", &body).is_problem("invalid");
    client.send("GET", "/queue", &[("Idempotency-Key", "k")], None).is_problem("invalid");
    // A refusal settles nothing: the corrected request may use the key.
    send("three", "{}").is_problem("invalid");
    assert_eq!(send("three", &body).status, 202);
}

#[test]
fn events_are_read_from_a_cursor_on_and_waited_for() {
    let rig = Rig::start();
    let client = rig.client("read");
    let first = rig.submit("ole@anna.example", "x@example.com");
    let of = |page: &serde_json::Value, id: &str| {
        page["events"].as_array().unwrap().iter().any(|event| event["queue_id"] == id)
    };
    let mut page = client.read("/events?cursor=oldest&wait_secs=20");
    while !of(&page, &first) {
        page = client.read(&format!("/events?cursor={}&wait_secs=20", page["cursor"].as_str().unwrap()));
    }
    let second = rig.submit("ole@anna.example", "y@example.com");
    let mut told: Vec<String> = Vec::new();
    while !of(&page, &second) {
        page = client.read(&format!("/events?cursor={}&wait_secs=20", page["cursor"].as_str().unwrap()));
        told.extend(page["events"].as_array().unwrap().iter().map(|event| event["event_id"].to_string()));
    }
    let count = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count, "nothing is told twice");
    client.get("/events?cursor=nonsense").is_problem("invalid");
    client.get("/events?wait_secs=26").is_problem("invalid");
    let own = rig.client_of("customer", &["anna"]).read("/events?cursor=oldest");
    assert!(of(&own, &first) && own["events"].as_array().unwrap().iter().all(|event| event["customer"] == "anna"));
    let others = rig.client_of("customer", &["bo"]).read("/events?cursor=oldest");
    assert_eq!(others["events"].as_array().map(Vec::len), Some(0), "{others}");
}

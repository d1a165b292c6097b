//! Suppression lists, test mails and a customer's own events over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::rig::Rig;
use crate::support::capture::Capture;

const LIST: &str = "/customers/anna/suppression";
const TABLE: &str = "/customers/anna/suppression.csv";

fn import(client: &Client, text: &str) -> Answer {
    client.send("POST", TABLE, &[("Content-Type", "text/csv")], Some(text))
}

fn addresses(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["address"].as_str().unwrap()).collect()
}

#[test]
fn addresses_come_on_a_list_and_off_it_and_every_change_is_in_the_audit() {
    let rig = Rig::start();
    let (operator, reader) = (rig.client("operate"), rig.client("read"));
    assert_eq!(reader.read(LIST), json!({ "items": [] }));
    let body = json!({ "address": "Anna@Example.com", "note": "asked by phone", "expires_in_secs": 86_400 });
    let made = operator.post(LIST, &body.to_string());
    assert_eq!(made.status, 200, "{made:?}");
    let entry = made.json();
    assert_eq!((&entry["address"], &entry["reason"]), (&"anna@example.com".into(), &"operator".into()), "{entry}");
    assert!(entry["expires"].is_string() && entry["note"] == "asked by phone", "{entry}");
    assert_eq!(reader.read(&format!("{LIST}/anna%40example.com")), entry);
    let gone = operator.send("DELETE", &format!("{LIST}/ANNA@example.com"), &[], None);
    assert_eq!(gone.status, 204, "{gone:?}");
    operator.send("DELETE", &format!("{LIST}/anna@example.com"), &[], None).is_problem("not-found");
    reader.post(LIST, &body.to_string()).is_problem("forbidden");
    for command in ["suppression.add", "suppression.remove"] {
        let told = rig.site.wait_for_event(command, |event| event["command"] == command);
        assert!(told["customer"] == "anna" && told["peer"] == "127.0.0.1" && told["changed"] == 1, "{told}");
    }
    for (body, field) in [
        (json!({ "address": "no address" }), "no address"),
        (json!({ "address": "a@b.dk", "expires_in_secs": 0 }), "expires_in_secs"),
        (json!({ "address": "a@b.dk", "expires_in_secs": u64::MAX }), "expires_in_secs"),
        (json!({ "address": "a@b.dk", "reason": "x" }), "reason"),
        (json!({ "note": "x" }), "address"),
        (json!({ "address": 7 }), "address"),
    ] {
        let refused = operator.post(LIST, &body.to_string());
        assert!(refused.is_problem("invalid").body.contains(field), "{body}: {refused:?}");
    }
    for customer in ["nobody", "..%2F..%2Fetc", "%2e%2e", "anna%00", "a%0Ab"] {
        let path = format!("/customers/{customer}/suppression");
        let answer = operator.post(&path, r#"{"address":"a@b.dk"}"#);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
}

#[test]
fn a_table_is_imported_whole_or_not_at_all_and_exported_as_it_is() {
    let rig = Rig::start();
    let (operator, reader) = (rig.client("operate"), rig.client("read"));
    let taken = import(&operator, "address,reason,note\r\nb@x.dk,complaint,\"said \"\"no\"\"\"\r\na@x.dk,,\r\n");
    assert_eq!((taken.status, taken.json()), (200, json!({ "imported": 2 })), "{taken:?}");
    let bad = import(&operator, "address\r\nc@x.dk\r\nnot an address\r\n");
    assert!(bad.is_problem("invalid").body.contains("line 3"), "{bad:?}");
    assert_eq!(addresses(&reader.read(LIST)), ["a@x.dk", "b@x.dk"]);
    let table = reader.get(TABLE);
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"), "{table:?}");
    assert!(table.body.contains("address,reason,since,expires,note\r\n"), "{table:?}");
    assert!(table.body.contains("b@x.dk,complaint,") && table.body.contains("\"said \"\"no\"\"\"\r\n"), "{table:?}");

    // Several pages of the database, and of the answer.
    let many: String = (0..12_345).map(|n| format!("n{n:05}@many.dk\n")).collect();
    let taken = import(&operator, &many);
    assert_eq!(taken.json(), json!({ "imported": 12_345 }), "{taken:?}");
    let exported = reader.get(TABLE).body;
    assert_eq!(exported.matches("@many.dk,operator,").count(), 12_345);
    let (mut cursor, mut seen) = (String::new(), 0);
    loop {
        let page = reader.read(&format!("{LIST}?limit=500{cursor}"));
        seen += addresses(&page).len();
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, 12_347);

    operator.post(TABLE, "{}").is_problem("other-type");
    let large = "x".repeat((16 << 20) + 1);
    assert_eq!(import(&operator, &large).is_problem("too-large").status, 413);
    import(&reader, "a@b.dk\n").is_problem("forbidden");
    reader.get("/customers/nobody/suppression.csv").is_problem("not-found");
    rig.submit("ole@anna.example", "c@x.dk");
}

/// Lets a customer's mail go to a server that takes it.
pub fn mend_route(client: &Client, server: &Capture) {
    let change = json!({ "route": { "port": server.address.port() } }).to_string();
    let changed = client.send("PATCH", "/customers/anna", &[("If-Match", "*")], Some(&change));
    assert_eq!(changed.status, 200, "{changed:?}");
}

#[test]
fn a_test_mail_goes_the_way_of_the_customers_mail_and_the_job_tells_what_came_of_it() {
    let rig = Rig::start();
    let (admin, operator) = (rig.client("admin"), rig.client("operate"));
    let to = json!({ "to": "ole@example.com" }).to_string();
    let failed = operator.job("/customers/anna/test", &to);
    let sent = &failed["result"]["test_send"];
    assert_eq!(
        (&failed["state"], &sent["event"], &sent["class"]),
        (&"done".into(), &"deferred".into(), &"network".into())
    );

    let server = Capture::start();
    mend_route(&admin, &server);
    let done = operator.job("/customers/anna/test", &to);
    let sent = &done["result"]["test_send"];
    assert_eq!((&sent["event"], &sent["code"]), (&"relayed".into(), &250.into()), "{done}");
    let id = sent["queue_id"].as_str().unwrap();
    let received = server.wait_for(1, Duration::from_secs(20));
    let found = received.iter().find(|mail| String::from_utf8_lossy(&mail.content).contains(id)).expect("it arrived");
    let header = String::from_utf8_lossy(found.header()).into_owned();
    assert!(header.contains("DKIM-Signature:") && header.contains("From: <postmaster@anna.example>"), "{header}");
    assert_eq!(found.to, ["<ole@example.com>"]);
    let audit = rig.site.wait_for_event("the audit", |event| event["command"] == "customer.test");
    assert!(audit["customer"] == "anna" && audit["queue_id"].is_string(), "{audit}");
    operator.until(&format!("/trace?queue_id={id}"), |found| found.to_string().contains("\"relayed\""));

    for (body, problem) in [
        (json!({ "to": "bounce@test.postbud.invalid" }), "conflict"),
        (json!({ "to": "ole@example.com", "from": "x@bo.example" }), "invalid"),
        (json!({ "to": "ole" }), "invalid"),
        (json!({ "to": "a@b.dk\r\nBcc: c@d.dk" }), "invalid"),
        (json!({}), "invalid"),
    ] {
        operator.post("/customers/anna/test", &body.to_string()).is_problem(problem);
    }
    operator.post("/customers/nobody/test", &to).is_problem("not-found");
    rig.client("read").post("/customers/anna/test", &to).is_problem("forbidden");
}

#[test]
fn a_customers_token_hears_of_its_own_mail_alone_and_its_cursor_stays_valid() {
    let rig = Rig::start();
    let (admin, anna) = (rig.client("admin"), rig.client_of("customer", &["anna"]));
    let start = anna.read("/events?cursor=oldest&limit=1")["cursor"].as_str().unwrap().to_owned();
    let mine = rig.submit("ole@anna.example", "open@example.com");
    for n in 0..20 {
        rig.submit("ole@bo.example", &format!("secret{n}@example.com"));
    }
    let last = rig.submit("ole@anna.example", "last@example.com");
    let of_all = |text: &str| admin.until("/events?cursor=oldest&limit=500", |page| page.to_string().contains(text));
    of_all(&last);
    let (mut cursor, mut heard) = (start, Vec::new());
    while !heard.iter().any(|event: &Value| event["queue_id"] == last.as_str()) {
        let page = anna.read(&format!("/events?cursor={cursor}&limit=3&wait_secs=5"));
        heard.extend(page["events"].as_array().unwrap().iter().cloned());
        cursor = page["cursor"].as_str().unwrap().to_owned();
    }
    let accepted: Vec<&Value> = heard.iter().filter(|event| event["event"] == "accepted").collect();
    assert_eq!(accepted.iter().map(|event| &event["queue_id"]).collect::<Vec<_>>(), [&mine, &last]);
    for event in &heard {
        assert_eq!(event["customer"], "anna", "{event}");
        assert!(event["event"] != "audit" && event["event"] != "alert", "{event}");
    }
    // What comes while it waits wakes it; what comes for others does not end the wait.
    let waiting = {
        let (anna, cursor) = (anna.clone(), cursor.clone());
        std::thread::spawn(move || anna.read(&format!("/events?cursor={cursor}&wait_secs=20&limit=500")))
    };
    rig.submit("ole@bo.example", "secret@example.com");
    let woken = rig.submit("ole@anna.example", "woken@example.com");
    let page = waiting.join().unwrap();
    assert!(page.to_string().contains(&woken) || page["events"] != json!([]), "{page}");
    assert!(!page.to_string().contains("secret"), "{page}");
    // An operator reads on from the same cursor.
    admin.until(&format!("/events?cursor={cursor}&limit=500"), |page| page.to_string().contains("secret@example.com"));
}

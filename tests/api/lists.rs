//! Lists of whatever kind are read page by page, by the cursor of each answer.

use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::Rig;
use crate::support::relay::free_port;

/// Reads a list page by page, and gives one field of each item.
fn read_in_pages(client: &Client, path: &str, limit: usize, field: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.read(&format!("{path}?limit={limit}{cursor}"));
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{path}: {page}");
        found.extend(items.iter().map(|item| item[field].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return found };
        assert_eq!(items.len(), limit, "{path}: a page that is not the last is full: {page}");
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        cursor = format!("&cursor={next}");
    }
}

/// The same field of each item, in one answer.
fn read_at_once(client: &Client, path: &str, field: &str) -> Vec<String> {
    let page = client.read(&format!("{path}?limit=500"));
    assert_eq!(page["next"], Value::Null, "{page}");
    page["items"].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn alerts_jobs_links_and_pauses_are_read_page_by_page() {
    let pages = free_port();
    let rig = Rig::with(&format!(
        "[delivery]\nroute_alert_after = \"1s\"\n[pages.customers]\naddress = \"{pages}\"\ntls = \"off\"\nurl = \"http://{pages}\"\n"
    ));
    let admin = rig.client("admin");
    for customer in ["anna", "bo"] {
        rig.submit(&format!("ole@{customer}.example"), "x@example.com");
        admin.job(&format!("/customers/{customer}/probe"), "{}");
        admin.job(&format!("/customers/{customer}/probe"), "{}");
        let paused = admin.post(&format!("/customers/{customer}/pause"), &json!({ "reason": "x" }).to_string());
        assert_eq!(paused.status, 204, "{paused:?}");
    }
    for _ in 0..3 {
        assert_eq!(admin.post("/customers/anna/links", "{}").status, 201);
    }
    let of_routes = |found: &Value| {
        let keys = found["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap());
        keys.filter(|key| key.starts_with("route:")).count()
    };
    admin.until("/alerts", |found| of_routes(found) == 2);
    let noted = admin.post("/alerts/acknowledge", &json!({ "key": "route:own-server.anna" }).to_string());
    assert_eq!(noted.status, 204, "{noted:?}");
    for (path, field, least) in
        [("/alerts", "key", 2), ("/jobs", "id", 4), ("/customers/anna/links", "id", 3), ("/paused", "customer", 2)]
    {
        let whole = read_at_once(&admin, path, field);
        assert!(whole.len() >= least, "{path}: {whole:?}");
        for limit in [1, 2, 3] {
            assert_eq!(read_in_pages(&admin, path, limit, field), whole, "{path}, {limit} a page");
        }
        admin.get(&format!("{path}?limit=0")).is_problem("invalid");
        admin.get(&format!("{path}?curser=x")).is_problem("invalid");
    }
    let alerts = read_at_once(&admin, "/alerts", "key");
    let place = |key: &str| alerts.iter().position(|it| it == key).unwrap();
    assert!(
        place("route:own-server.bo") < place("route:own-server.anna"),
        "what nobody took note of first: {alerts:?}"
    );
    let jobs = read_at_once(&admin, "/jobs", "id");
    assert!(jobs.is_sorted_by(|one, other| one > other), "the latest first: {jobs:?}");
    for path in ["/alerts?cursor=x", "/jobs?cursor=x", "/customers/anna/links?cursor=x"] {
        admin.get(path).is_problem("invalid");
    }
}

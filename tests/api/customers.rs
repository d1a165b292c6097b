//! Customers over HTTP and by command: their files stay a person's, whatever comes between.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::Rig;

const SECRET: &str = "hemmelig-4f1d9c";

fn new(id: &str) -> Value {
    json!({
        "id": id, "name": "Ny A/S", "domains": [format!("{id}.example")],
        "route": { "via": "own-server", "host": "127.0.0.1", "port": 2526, "tls": "required",
                   "login": { "username": "webcrm", "password": SECRET } },
    })
}

fn tag(client: &Client, path: &str) -> String {
    client.get(path).header("etag").expect("a version").to_owned()
}

#[test]
fn a_customer_is_added_and_sends_at_once_and_its_password_never_comes_back() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let made = client.post("/customers", &new("cecilie").to_string());
    assert_eq!((made.status, made.header("location")), (201, Some("/api/v1/customers/cecilie")), "{made:?}");
    assert_eq!(made.json()["route"]["username"], "webcrm");
    // No reload: the relay signs for the new domain already.
    rig.submit("ole@cecilie.example", "x@example.com");
    assert_eq!(client.read("/queue?customer=cecilie")["items"].as_array().unwrap().len(), 1);
    assert_eq!(client.read("/customers/cecilie/keys")["domains"][0]["selectors"], json!(["postbud1"]));
    let shown = format!("{}{}{}", made.body, client.get("/customers/cecilie").body, client.get("/customers").body);
    assert!(!shown.contains(SECRET) && !shown.contains("password"), "{shown}");
    let file = rig.site.customer_file("cecilie");
    assert!(fs::read_to_string(&file).unwrap().contains("`postbud check` explains every mistake in it."));
    assert!(!fs::read_to_string(&file).unwrap().contains(SECRET));
    let secret = rig.site.path("config/secrets/cecilie.password");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let check = rig.site.operate(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let event = rig.site.wait_for_event("the audit", |event| event["command"] == "customer.add");
    assert!(
        event["customer"] == "cecilie" && event["peer"] == "127.0.0.1" && !event.to_string().contains(SECRET),
        "{event}"
    );
    assert!(!rig.relay.log().contains(SECRET));
}

#[test]
fn a_customer_that_cannot_be_leaves_nothing_behind() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let before = listing(&rig);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = new("dora");
        change(&mut body);
        body.to_string()
    };
    for (body, ending, said) in [
        (with(&|it| it["id"] = json!("../dora")), "invalid", "../dora"),
        (with(&|it| it["id"] = json!("Dora")), "invalid", "Dora"),
        (with(&|it| it["id"] = json!("")), "invalid", "no customer id"),
        (with(&|it| it["id"] = json!("x".repeat(65))), "invalid", "no customer id"),
        (with(&|it| it["id"] = json!("anna")), "conflict", "already there"),
        (with(&|it| it["domains"] = json!([])), "invalid", "at least one From domain"),
        (with(&|it| it["domains"] = json!(["anna.example"])), "conflict", "anna"),
        (with(&|it| it["domains"] = json!(["gmail.com"])), "invalid", "public mailbox"),
        (with(&|it| it["domains"] = json!(["a b"])), "invalid", "a b"),
        (with(&|it| it["domains"] = json!(["dora.example", "dora.example"])), "invalid", "named twice"),
        (with(&|it| it["selector"] = json!("æ b")), "invalid", "selector"),
        (with(&|it| it["nme"] = json!("x")), "invalid", "nme"),
        (with(&|it| it["route"]["via"] = json!("pigeon")), "invalid", "pigeon"),
        (with(&|it| it["route"]["hst"] = json!("x")), "invalid", "hst"),
        (with(&|it| it["route"]["port"] = json!(0)), "invalid", "port"),
        (with(&|it| it["route"]["port"] = json!(70_000)), "invalid", "port"),
        (with(&|it| it["route"]["tls"] = json!("off")), "invalid", "tls"),
        (with(&|it| it["route"] = json!({ "via": "mailjet" })), "invalid", "mailjet"),
        (with(&|it| it["route"] = json!({ "via": "mailjet", "host": "x" })), "invalid", "route.host"),
        (with(&|it| it["route"] = json!({ "via": "own-server" })), "invalid", "route.host"),
        (with(&|it| drop(it.as_object_mut().unwrap().remove("name"))), "invalid", "name"),
    ] {
        let answer = client.post("/customers", &body);
        assert!(answer.is_problem(ending).body.contains(said), "{body}: {answer:?}");
        assert!(!answer.body.contains(SECRET), "{answer:?}");
        assert_eq!(listing(&rig), before, "{body}");
    }
    assert!(rig.site.operate(&["check"]).status.success());
}

/// Every file of the configuration and its keys, by name.
fn listing(rig: &Rig) -> Vec<String> {
    let folders = ["config", "config/customers", "config/secrets", "keys"];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(rig.site.path(folder)).into_iter().flatten());
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().path().display().to_string()).collect();
    names.retain(|name| !name.ends_with("/secrets"));
    names.sort();
    names
}

#[test]
fn a_change_keeps_a_persons_comments_and_the_version_before_it() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let file = rig.site.customer_file("anna");
    let text = format!("# Ask Ida first.\n{}# The end.\n", fs::read_to_string(&file).unwrap());
    fs::write(&file, &text).unwrap();
    let version = tag(&client, "/customers/anna");
    let change =
        |version: &str, body: &str| client.send("PATCH", "/customers/anna", &[("If-Match", version)], Some(body));
    let changed = change(&version, r#"{"name":"Anna ApS","bulk":"refuse","route":{"limits":{"per_day":100}}}"#);
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Anna ApS")), "{changed:?}");
    let now = fs::read_to_string(&file).unwrap();
    assert!(now.starts_with("# Ask Ida first.\nname = \"Anna ApS\"\n") && now.contains("# The end."), "{now}");
    assert_eq!(change(&version, r#"{"name":"Other"}"#).is_problem("changed-meanwhile").status, 412);
    assert_eq!(client.send("PATCH", "/customers/anna", &[], Some("{}")).is_problem("no-precondition").status, 428);
    assert_eq!(fs::read_to_string(&file).unwrap(), now);
    let kept: Vec<_> = fs::read_dir(rig.site.path("state/customers/anna")).unwrap().collect();
    assert_eq!(fs::read_to_string(kept[0].as_ref().unwrap().path()).unwrap(), text);
    // An edit by hand is another version.
    let version = changed.header("etag").unwrap().to_owned();
    fs::write(&file, now.replace("refuse", "warn")).unwrap();
    change(&version, r#"{"name":"Other"}"#).is_problem("changed-meanwhile");
    for (body, said) in [
        (r#"{"nme":"x"}"#, "nme"),
        (r#"{"route":{"private_key":"/etc/shadow"}}"#, "private_key"),
        (r#"{"route":{"port":70000}}"#, "port"),
        (r#"{"domains":[]}"#, "domains"),
        (r#"{"domains":["bo.example"]}"#, "bo"),
        (r#"{"name":null}"#, "name"),
        (r#"{"route":{"via":"mailjet"}}"#, "via"),
        (r#"{"route":{"limits":{"preset":"exim"}}}"#, "preset"),
        (r#"{"mailjet":{"other.example":{"ownership":"abcdefgh"}}}"#, "other.example"),
    ] {
        let before = fs::read_to_string(&file).unwrap();
        let answer = change("*", body);
        assert!(answer.is_problem("invalid").body.contains(said), "{body}: {answer:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{body}");
    }
    let event = rig.site.wait_for_event("the audit", |event| event["command"] == "customer.change");
    assert!(event["detail"].as_str().unwrap().contains("name, bulk, route.limits"), "{event}");
}

#[test]
fn a_new_password_is_written_to_a_file_of_its_own() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let body = json!({ "route": { "tls": "required", "username": "u", "password": SECRET } }).to_string();
    let answer = client.send("PATCH", "/customers/anna", &[("If-Match", "*")], Some(&body));
    assert!(answer.status == 200 && !answer.body.contains(SECRET), "{answer:?}");
    let text = fs::read_to_string(rig.site.customer_file("anna")).unwrap();
    assert!(text.contains("password_file = \"../secrets/anna.") && !text.contains(SECRET), "{text}");
    // A change that is refused leaves no password behind.
    let before = listing(&rig);
    let body = json!({ "route": { "password": SECRET, "port": 0 } }).to_string();
    client.send("PATCH", "/customers/anna", &[("If-Match", "*")], Some(&body)).is_problem("invalid");
    assert_eq!(listing(&rig), before);
}

#[test]
fn a_suspended_customer_is_refused_at_once_and_a_removed_one_is_gone() {
    let rig = Rig::start();
    let client = rig.client("admin");
    rig.submit("ole@anna.example", "x@example.com");
    rig.site.wait_for_event("the end of the first attempt", |event| event["event"] == "deferred");
    let answer = client.post("/customers/anna/suspend", "{\"reason\":\"unpaid\"}");
    assert_eq!(answer.json()["suspended"], "unpaid", "{answer:?}");
    assert_eq!(client.read("/queue?state=stopped")["items"].as_array().unwrap().len(), 1);
    let answer = client.post("/customers/anna/resume", "{}");
    assert_eq!(answer.json()["suspended"], Value::Null, "{answer:?}");
    assert_eq!(client.read("/queue?state=stopped")["items"].as_array().unwrap().len(), 0);
    client.send("DELETE", "/customers/anna", &[], None).is_problem("no-precondition");
    let removed = client.send("DELETE", "/customers/anna", &[("If-Match", "*")], None);
    assert_eq!((removed.status, &removed.json()["id"]), (200, &json!("anna")), "{removed:?}");
    assert!(fs::read_to_string(removed.json()["kept"].as_str().unwrap()).unwrap().contains("anna.example"));
    assert!(removed.json()["remains"][0].as_str().unwrap().ends_with("keys/anna.example.pem"));
    client.get("/customers/anna").is_problem("not-found");
    assert_eq!(client.read("/customers")["items"].as_array().unwrap().len(), 1);
    assert_eq!(client.read("/queue?state=stopped")["items"].as_array().unwrap().len(), 1, "its mail waits");
    for action in ["customer.suspend", "customer.resume", "customer.remove"] {
        rig.site.wait_for_event(action, |event| event["command"] == action);
    }
}

#[test]
fn writers_at_the_same_time_lose_no_change() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let version = tag(&client, "/customers/anna");
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (client, version, won) = (client.clone(), version.clone(), &won);
            scope.spawn(move || {
                let body = json!({ "name": format!("writer {n}") }).to_string();
                let answer = client.send("PATCH", "/customers/anna", &[("If-Match", &version)], Some(&body));
                assert!([200, 412].contains(&answer.status), "{answer:?}");
                won.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(won.into_inner(), 1, "one of those that read the same version");
    // Two that want the same domain: one gets it.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let adding: Vec<_> = ["eva", "finn"]
            .map(|id| {
                let mut body = new(id);
                body["domains"] = json!(["same.example"]);
                let client = client.clone();
                scope.spawn(move || client.post("/customers", &body.to_string()).status)
            })
            .into_iter()
            .collect();
        adding.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(statuses.contains(&201) && statuses.contains(&409), "{statuses:?}");
    assert!(rig.site.operate(&["check"]).status.success());
}

#[test]
fn the_command_line_changes_the_same_files_and_the_relay_takes_them_over() {
    let rig = Rig::start();
    let client = rig.client("read");
    let run = |arguments: &[&str]| {
        let done = rig.site.operate(arguments);
        (
            done.status.success(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    assert!(run(&["customer", "suspend", "anna", "--reason", "unpaid"]).0);
    assert_eq!(client.read("/customers/anna")["suspended"], "unpaid");
    assert_eq!(client.read("/customers")["items"][0]["suspended"], "unpaid", "the relay knows it");
    assert!(run(&["customer", "resume", "anna"]).0);
    assert!(run(&["route", "suspend", "own-server.anna", "--reason", "they move"]).0);
    let why = "route own-server.anna is suspended: they move";
    let listed = client.read("/customers");
    assert_eq!((&listed["items"][0]["stuck"], &listed["items"][1]["stuck"]), (&json!(why), &Value::Null), "{listed}");
    assert_eq!(client.read("/customers/anna")["stuck"], why);
    let (_, list) = run(&["customer", "list"]);
    assert!(list.contains(&format!("stands still: {why}\n")) && list.contains("in service\n"), "{list}");
    let (_, list) = run(&["customer", "list", "--json"]);
    assert!(list.contains(&format!("\"stuck\":\"{why}\"")), "{list}");
    assert!(run(&["route", "resume", "own-server.anna"]).0);
    assert_eq!(client.read("/customers/anna")["stuck"], Value::Null);
    assert!(run(&["customer", "change", "anna", "{\"name\":\"Anna ApS\"}"]).0);
    let (_, list) = run(&["customer", "list"]);
    assert!(list.contains("Anna ApS"), "{list}");
    let (_, shown) = run(&["customer", "show", "anna"]);
    assert!(shown.contains("own-server 127.0.0.1:"), "{shown}");
    let (done, error) = run(&["customer", "change", "anna", "{\"nme\":1}"]);
    assert!(!done && error.contains("nme"), "{error}");
    let (done, error) = run(&["customer", "show", "../postbud"]);
    assert!(!done && error.contains("no customer"), "{error}");
    assert!(run(&["customer", "remove", "bo"]).0);
    client.get("/customers/bo").is_problem("not-found");
    let event = rig.site.wait_for_event("the audit", |event| event["command"] == "customer.remove");
    assert!(event["actor"].as_str().unwrap().starts_with("uid "), "{event}");
    rig.relay.stop();
    let done = rig.site.operate(&["customer", "list"]);
    let list = String::from_utf8_lossy(&done.stdout);
    assert!(list.contains("Anna ApS") && !list.contains("in service"), "nobody says so: {list}");
}

#[test]
fn a_customer_that_cannot_be_added_is_refused_while_another_one_is_changed() {
    let rig = Rig::start();
    let client = rig.client("admin");
    // As a command does that is about to write.
    let held = fs::OpenOptions::new().write(true).open(rig.site.path("state/customers.lock"));
    let held = held.or_else(|_| fs::File::create(rig.site.path("state/customers.lock"))).unwrap();
    held.lock().unwrap();
    client.post("/customers", &new("anna").to_string()).is_problem("conflict");
    std::thread::scope(|scope| {
        let added = scope.spawn(|| client.post("/customers", &new("cecilie").to_string()));
        // The answer above shows that nobody waits for the lock before the key is made; this one does.
        assert!(!rig.site.customer_file("cecilie").exists());
        drop(held);
        assert_eq!(added.join().unwrap().status, 201);
    });
}

#[test]
fn a_customer_that_a_submitter_names_is_not_removed() {
    let rig = Rig::start();
    let config = fs::read_to_string(rig.site.config()).unwrap();
    fs::write(rig.site.config(), config.replace("customers = \"all\"", "customers = [\"anna\", \"bo\"]")).unwrap();
    rig.relay.signal("HUP");
    rig.site.wait_for_event("the reload", |event| event["command"] == "configuration.reload");
    let client = rig.client("admin");
    let answer = client.send("DELETE", "/customers/anna", &[("If-Match", "*")], None);
    assert!(answer.is_problem("conflict").body.contains("submitter"), "{answer:?}");
    assert!(rig.site.customer_file("anna").exists());
}

#[test]
fn a_pause_is_seen_and_commanded() {
    let rig = Rig::start();
    let (operator, reader) = (rig.client("operate"), rig.client("read"));
    assert!(!reader.get("/customers/anna").body.contains("pause"), "it is not paused");
    let pause = |body: &Value| operator.post("/customers/anna/pause", &body.to_string());
    for (body, said) in
        [(json!({}), "reason"), (json!({ "reason": " " }), "reason"), (json!({ "reason": "a\nb" }), "reason")]
    {
        assert!(pause(&body).is_problem("invalid").body.contains(said), "{body}");
    }
    assert_eq!(pause(&json!({ "reason": "bought <addresses>", "spare_single": true })).status, 204);
    let shown = reader.read("/customers/anna")["pause"].clone();
    assert_eq!(
        (&shown["cause"], &shown["reason"], &shown["spares_single"], &shown["until"]),
        (&json!("operator"), &json!("bought <addresses>"), &json!(true), &Value::Null)
    );
    assert!(shown["since"].as_str().unwrap().ends_with('Z'), "{shown}");
    assert_eq!(reader.read("/customers/bo")["pause"], Value::Null, "it is anna's alone");
    // A change of the file says it, too.
    let changed =
        rig.client("admin").send("PATCH", "/customers/anna", &[("If-Match", "*")], Some("{\"name\":\"Anna ApS\"}"));
    assert_eq!(changed.json()["pause"], shown, "{changed:?}");
    // Now all of its mail waits.
    assert_eq!(pause(&json!({ "reason": "all of it" })).status, 204);
    assert_eq!(reader.read("/customers/anna")["pause"]["spares_single"], false);
    rig.submit("ole@anna.example", "x@example.com");
    assert_eq!(reader.read("/queue?state=stopped")["items"].as_array().unwrap().len(), 1);
    assert_eq!(operator.post("/customers/anna/unpause", "{}").status, 204);
    assert_eq!(reader.read("/customers/anna")["pause"], Value::Null);
    assert_eq!(reader.read("/queue?state=stopped")["items"], json!([]));
    operator.post("/customers/anna/unpause", "{}").is_problem("not-found");
    operator.post("/customers/nobody/pause", "{\"reason\":\"x\"}").is_problem("not-found");
    for command in ["customer.pause", "customer.unpause"] {
        let told = rig.site.wait_for_event(command, |event| event["command"] == command);
        assert!(told["customer"] == "anna" && told["peer"] == "127.0.0.1", "{told}");
    }
}

#[test]
fn test_mode_is_seen_and_changed() {
    let rig = Rig::start();
    let client = rig.client("admin");
    assert_eq!(client.read("/customers/anna")["test"], false);
    let change = |body: Value| client.send("PATCH", "/customers/anna", &[("If-Match", "*")], Some(&body.to_string()));
    let changed = change(
        json!({ "test": true, "test_allow": ["*@qa.example", "Ida@webcrm.example"], "test_redirect": "qa@webcrm.example" }),
    );
    assert_eq!(changed.status, 200, "{changed:?}");
    let view = client.read("/customers/anna");
    assert_eq!(
        (&view["test"], &view["test_allow"], &view["test_redirect"]),
        (&json!(true), &json!(["*@qa.example", "ida@webcrm.example"]), &json!("qa@webcrm.example"))
    );
    let shown = rig.site.operate(&["customer", "show", "anna"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("goes to qa@webcrm.example"));
    // Its mail stays here at once.
    change(json!({ "test_redirect": null }));
    let id = rig.submit("ole@anna.example", "x@example.com");
    let relayed = rig.site.wait_for_event("the end", |event| event["queue_id"] == *id && event["event"] == "relayed");
    assert_eq!((&relayed["test"], &relayed["route"]), (&json!(true), &json!("test")));
    change(json!({ "test": true, "test_allow": ["nonsense"] })).is_problem("invalid");
    change(json!({ "test": null })).is_problem("invalid");
    assert_eq!(change(json!({ "test": null, "test_allow": null })).status, 200);
    assert_eq!(client.read("/customers/anna")["test"], false);
}

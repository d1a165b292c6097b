//! Requests that no program sends by mistake: bodies that are nearly JSON, ids that are paths, cursors of other lists, tokens that end in
//! the middle, and many writers at once. Each is answered, and what was there stays.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, parsed, raw};
use crate::rig::Rig;

/// Sends a body octet by octet.
fn send(client: &Client, method: &str, path: &str, kind: &str, body: &[u8]) -> crate::client::Answer {
    let head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\nIf-Match: *\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        client.token,
        body.len()
    );
    raw(client.to, &[head.as_bytes(), body].concat())
}

#[test]
fn a_body_that_is_nearly_one_changes_nothing() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let file = rig.site.customer_file("anna");
    let before = fs::read_to_string(&file).unwrap();
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    let nested = format!("{{\"name\":{deep}}}");
    let bodies: [(&[u8], &str); 21] = [
        (b"{\"name\":\"a\",\"name\":\"b\"}", "duplicate field"),
        (b"{\"route\":{\"host\":\"a\",\"host\":\"b\"}}", "duplicate field"),
        (b"{\"mailjet\":{\"anna.example\":null,\"anna.example\":{}}}", "duplicate field"),
        (b"{\"name\":\"\xff\xfe\"}", "name"),
        (b"{\"name\":\"\xed\xa0\x80\"}", "name"),
        (b"{\"name\":\"\\ud800\"}", "name"),
        (b"{\"name\":\"a\\u0000b\"}", "name"),
        (b"{\"name\":\"a\\u202eb\"}", "name"),
        (b"\xef\xbb\xbf{\"name\":\"b\"}", "line 1"),
        (b"{\"route\":{\"port\":1e400}}", "route.port"),
        (b"{\"route\":{\"port\":-1}}", "route.port"),
        (b"{\"route\":{\"port\":25.5}}", "route.port"),
        (b"{\"route\":{\"port\":\"25\"}}", "route.port"),
        (b"{\"route\":[]}", "route: a list"),
        (b"{\"test\":\"true\"}", "test"),
        (b"{\"domains\":\"anna.example\"}", "domains"),
        (b"{\"name\":\"b\",}", "line 1"),
        (b"[\"b\"]", "no object"),
        (b"\"b\"", "no object"),
        (b"null", "no object"),
        (nested.as_bytes(), "name"),
    ];
    for (body, said) in bodies {
        let answer = send(&client, "PATCH", "/customers/anna", "application/json", body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert!(answer.is_problem("invalid").body.contains(said), "{shown} names {said}: {answer:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{shown}");
    }
    for kind in ["", "text/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        send(&client, "PATCH", "/customers/anna", kind, b"{\"name\":\"b\"}").is_problem("other-type");
    }
    let answer = send(&client, "PATCH", "/customers/anna", "Application/JSON ; charset=utf-8", b"{\"name\":\"b\"}");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn an_id_is_never_a_path_and_a_method_that_is_none_is_said() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let long = "a".repeat(65);
    let ids = [
        "..%2fpostbud",
        "%2e%2e%2fpostbud",
        "..%5cpostbud",
        "%00",
        "anna%00",
        "anna%0a",
        "anna%2f",
        ".anna",
        "anna.",
        "ANNA",
        "%41nna",
        "-anna",
        "a%20b",
        "%C3%A6",
        "xn--nna-",
        "anna;x",
        "anna%3Fx",
        "%25",
        &long,
    ];
    let file = fs::read_to_string(rig.site.customer_file("anna")).unwrap();
    for id in ids {
        for (method, path, body) in [
            ("GET", format!("/customers/{id}"), None),
            ("PATCH", format!("/customers/{id}"), Some("{\"name\":\"b\"}")),
            ("DELETE", format!("/customers/{id}"), None),
            ("POST", format!("/customers/{id}/suspend"), Some("{\"reason\":\"x\"}")),
            ("POST", format!("/customers/{id}/keys/rotate"), Some("{}")),
            ("GET", format!("/customers/{id}/suppression.csv"), None),
        ] {
            let answer = client.send(method, &path, &[("If-Match", "*")], body);
            assert!([400, 404].contains(&answer.status), "{method} {path}: {answer:?}");
            assert!(
                !answer.body.contains("own-server") && !answer.body.contains("/state/"),
                "{method} {path}: {answer:?}"
            );
        }
    }
    assert_eq!(fs::read_to_string(rig.site.customer_file("anna")).unwrap(), file);
    for method in ["PUT", "TRACE", "OPTIONS", "BREW", "get"] {
        let answer = client.send(method, "/customers/anna", &[], None);
        assert!(
            answer.is_problem("no-such-method").header("allow").is_some_and(|it| it.contains("PATCH")),
            "{answer:?}"
        );
    }
    let head = client.send("HEAD", "/customers/anna", &[], None);
    assert!(head.status == 200 && head.body.is_empty() && head.header("etag").is_some(), "{head:?}");
}

#[test]
fn every_list_refuses_limits_and_cursors_that_cannot_be() {
    let rig = Rig::start();
    let (admin, anna) = (rig.client("admin"), rig.client_of("customer", &["anna"]));
    let of_bo = rig.submit("ole@bo.example", "secret@example.com");
    let document = admin.read("/openapi.json");
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let has = |name: &str| parameters.iter().any(|it| it["name"] == name);
        if !has("limit") {
            continue;
        }
        lists += 1;
        let path = path.trim_start_matches("/api/v1").replace("{customer}", "anna");
        for limit in ["0", "501", "65536", "18446744073709551616", "-1", "1e2", "", "%00"] {
            let answer = admin.get(&format!("{path}?limit={limit}"));
            assert!(answer.is_problem("invalid").body.contains("limit"), "{path} {limit}: {answer:?}");
        }
        assert_eq!(admin.get(&format!("{path}?customers=anna")).status, 400, "{path}: a parameter that is not known");
        // Cursors are from all kinds of lists, and from nowhere. None breaks a list, or leads to what is others'.
        for cursor in
            [&*of_bo, "0-0-0", "9f3c2a10-41-121700", "bo", "~", "%00", "..%2f..", "0000000000000000", "x%40example.com"]
        {
            let question = if path == "/trace" { "customer=anna&" } else { "" };
            for client in [&admin, &anna] {
                let answer = client.get(&format!("{path}?{question}cursor={cursor}"));
                assert!([200, 400, 403, 404].contains(&answer.status), "{path} {cursor}: {answer:?}");
            }
            let own = anna.get(&format!("{path}?{question}cursor={cursor}"));
            assert!(!own.body.contains("secret@") && !own.body.contains("bo.example"), "{path} {cursor}: {own:?}");
        }
    }
    assert!(lists >= 8, "{lists}");
}

#[test]
fn customers_that_come_and_go_at_once_leave_whole_files_and_the_relay_knows_them() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let new = json!({
        "id": "dora", "name": "Dora", "domains": ["dora.example"],
        "route": { "via": "own-server", "host": "127.0.0.1", "port": 2526, "tls": "required" },
    });
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (client, new) = (client.clone(), new.to_string());
            let keys = rig.site.path("keys");
            scope.spawn(move || {
                for _ in 0..4 {
                    let (method, path, body) = match n % 4 {
                        0 => ("POST", "/customers", Some(new.as_str())),
                        1 => ("DELETE", "/customers/dora", None),
                        2 => ("PATCH", "/customers/dora", Some("{\"name\":\"Dora ApS\"}")),
                        _ => ("POST", "/customers/dora/suspend", Some("{\"reason\":\"x\"}")),
                    };
                    let answer = client.send(method, path, &[("If-Match", "*")], body);
                    assert!([200, 201, 404, 409].contains(&answer.status), "{method}: {answer:?}");
                    if method == "DELETE" && answer.status == 200 {
                        // A key is never overwritten, so who adds the customer again moves it away.
                        let _ = fs::remove_file(keys.join("dora.example.pem"));
                    }
                }
            });
        }
    });
    let (file, known) = (rig.site.customer_file("dora"), client.get("/customers?domain=dora.example").json());
    assert_eq!(file.exists(), known["items"] != json!([]), "{known}");
    assert_eq!(file.exists(), client.get("/customers/dora").status == 200);
    let check = rig.site.operate(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let left: Vec<String> = fs::read_dir(rig.site.path("config/customers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_behind_a_link_with_line_ends_from_windows_is_changed_where_it_is() {
    let rig = Rig::start();
    let client = rig.client("admin");
    let (link, file) = (rig.site.customer_file("anna"), rig.site.path("config/anna-itself.toml"));
    let text = format!("# Ask Ida.\n{}# The end.\n", fs::read_to_string(&link).unwrap()).replace('\n', "\r\n");
    fs::write(&file, format!("\u{feff}{text}")).unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let version = client.get("/customers/anna").header("etag").unwrap().to_owned();
    let change =
        |version: &str, body: &str| client.send("PATCH", "/customers/anna", &[("If-Match", version)], Some(body));
    let suspended = change(&version, "{\"suspended\":\"x\"}");
    assert_eq!(suspended.status, 200, "{suspended:?}");
    let resumed = change(suspended.header("etag").unwrap(), "{\"suspended\":null}");
    assert_eq!(resumed.status, 200, "{resumed:?}");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let now = fs::read_to_string(&file).unwrap();
    assert_eq!(now.trim_start_matches('\u{feff}'), text, "what was changed back is as it was");
}

#[test]
fn a_large_import_is_repeated_by_its_key_as_every_other_request_is() {
    let rig = Rig::start();
    let client = rig.client("operate");
    let rows: String = (0..20_000).map(|n| format!("address-{n}@example.net\n")).collect();
    let table = format!("address\n{rows}");
    assert!(table.len() > 300 << 10);
    let import = |key: &str, table: &str| {
        let fields = [("Content-Type", "text/csv"), ("Idempotency-Key", key)];
        client.send("POST", "/customers/anna/suppression.csv", &fields, Some(table))
    };
    let first = import("a", &table);
    assert_eq!((first.status, first.json()), (200, json!({ "imported": 20_000 })), "{first:?}");
    let second = import("a", &table);
    assert_eq!((second.status, second.header("idempotency-replayed"), &second.body), (200, Some("true"), &first.body));
    assert_eq!(import("b", &"x".repeat((16 << 20) + 1)).is_problem("too-large").status, 413);
}

/// A token that is revoked takes its open stream and its waiting requests with it.
#[test]
fn a_revoked_token_ends_its_stream_and_the_request_that_waits() {
    let rig = Rig::start();
    let admin = rig.client("admin");
    // A server that says nothing is waited for.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = json!({ "route": { "port": silent.local_addr().unwrap().port() } }).to_string();
    assert_eq!(admin.send("PATCH", "/customers/anna", &[("If-Match", "*")], Some(&port)).status, 200);
    let short = rig.client("operate");
    let name = short.read("/token")["name"].as_str().unwrap().trim_start_matches("token ").to_owned();
    let begun = short.post("/customers/anna/probe", "{}");
    assert_eq!(begun.status, 202, "{begun:?}");
    let place = begun.header("location").unwrap().to_owned();
    let open = |path: &str| {
        let mut stream = TcpStream::connect(short.to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            short.token
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let mut follows = open(&format!("{place}/events"));
    let mut heard = vec![0; 4096];
    let count = follows.read(&mut heard).unwrap();
    let mut waits = open(&format!("{place}?wait_secs=5"));
    assert!(rig.site.operate(&["token", "revoke", &name]).status.success());
    let mut rest = String::new();
    follows.read_to_string(&mut rest).expect("the stream ends");
    let all = String::from_utf8_lossy(&heard[..count]).into_owned() + &rest;
    assert!(all.contains("event: job") && all.contains("\"running\"") && !all.contains("\"done\""), "{all}");
    let answer = parsed(&mut waits);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.is_problem("no-token").body.contains("while the request waited"), "{answer:?}");
    let job: Value = admin.read(place.trim_start_matches("/api/v1"));
    assert_eq!(job["state"], "running", "what was begun goes on: {job}");
}

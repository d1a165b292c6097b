//! The permissions of each role on every path of the OpenAPI document, so that no path can be forgotten.

use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::Rig;

/// Every operation of the document: method, path, operation id.
fn operations(client: &Client) -> Vec<(String, String, String)> {
    let document: Value = client.read("/openapi.json");
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                let path = path.trim_start_matches("/api/v1").to_owned();
                all.push((method.to_uppercase(), path, id.to_owned()));
            }
        }
    }
    all
}

/// A request to an operation, about bo: its path and body.
fn request(id: &str, path: &str, message: &str, job: &str) -> (String, Option<String>) {
    let names = [
        ("{customer}", "bo"),
        ("{domain}", "bo.example"),
        ("{link}", "0"),
        ("{route}", "own-server.bo"),
        ("{address}", "x@example.com"),
        ("{id}", if path.contains("jobs") { job } else { message }),
    ];
    let path = names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let body = match id {
        "addCustomer" => Some(
            json!({ "id": "new", "name": "New", "domains": ["new.example"], "route": { "via": "own-server", "host": "mail.new.example" } }),
        ),
        "changeCustomer" => Some(json!({ "name": "Bo ApS" })),
        "sendTest" => Some(json!({ "to": "x@example.com" })),
        "suppress" => Some(json!({ "address": "x@example.com" })),
        "importSuppression" => Some(json!("x@example.com")),
        "suspendCustomer" | "suspendRoute" | "pauseCustomer" => Some(json!({ "reason": "x" })),
        "acknowledgeAlert" => Some(json!({ "key": "spool-room", "note": "x" })),
        "countMessages" => Some(json!({ "customer": "bo" })),
        "releaseMessages" | "retryMessages" => Some(json!({ "which": { "customer": "bo" }, "at_most": 9 })),
        "holdMessages" | "bounceMessages" | "removeMessages" => {
            Some(json!({ "which": { "customer": "bo" }, "at_most": 9, "reason": "x" }))
        }
        "eraseRecipient" => Some(json!({ "recipient": "nobody@example.net" })),
        "tryOauth" => Some(
            json!({ "tenant": "bo.example", "client_id": "01234567-89ab-cdef-0123-456789abcdef", "secret": "a~b" }),
        ),
        "checkDomain" | "probeCustomer" | "rotateKey" | "addLink" | "giveMailjetKey" => Some(json!({})),
        _ => None,
    };
    let path = match id {
        "listQueue" | "listDomains" => format!("{path}?customer=bo"),
        "trace" => format!("{path}?customer=bo"),
        _ => path,
    };
    (path, body.map(|body| body.to_string()))
}

#[test]
fn a_customer_sees_its_own_things_and_nothing_of_others_on_any_path() {
    let rig = Rig::start();
    let (admin, anna) = (rig.client("admin"), rig.client_of("customer", &["anna"]));
    let of_bo = rig.submit("ole@bo.example", "secret@example.com");
    let of_anna = rig.submit("ole@anna.example", "open@example.com");
    let job = admin.job("/customers/bo/probe", "{}")["id"].as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for (method, path, id) in operations(&admin) {
        let (path, body) = request(&id, &path, &of_bo, &job);
        let headers: &[(&str, &str)] =
            if ["PATCH", "DELETE"].contains(&method.as_str()) { &[("If-Match", "*")] } else { &[] };
        let answer = anna.send(&method, &path, headers, body.as_deref());
        let may = ["showToken", "listCustomers", "listJobs", "listEvents"].contains(&id.as_str());
        let expected: &[u16] = if may { &[200] } else { &[403, 404] };
        assert!(expected.contains(&answer.status), "{id} {path}: {answer:?}");
        for word in ["bo.example", "secret@", "\"bo\"", &of_bo] {
            // What the request itself said may be said again.
            let said = path.contains(word.trim_matches('"')) || body.as_deref().unwrap_or_default().contains(word);
            assert!(said || !answer.body.contains(word), "{id} tells of {word}: {answer:?}");
        }
        seen.push(id);
    }
    assert!(seen.len() >= 30, "{seen:?}");
    // Its own things it sees, by name and without naming itself.
    anna.until("/trace?customer=anna", |found| found["items"] != json!([]));
    admin.until("/trace?recipient=secret@example.com", |found| found["items"] != json!([]));
    for path in [
        "/queue".to_owned(),
        "/queue?customer=anna".to_owned(),
        format!("/queue/messages/{of_anna}"),
        "/customers/anna".to_owned(),
        "/customers/anna/keys".to_owned(),
        "/domains".to_owned(),
        "/domains/anna.example".to_owned(),
        "/trace?customer=anna".to_owned(),
        "/trace?recipient=open@example.com".to_owned(),
    ] {
        let text = anna.read(&path).to_string();
        assert!(text.contains("anna") && !text.contains("bo.example"), "{path}: {text}");
    }
    // What operators did about it, and alerts, are not its own.
    let held = json!({ "which": { "ids": [of_anna] }, "reason": "x" });
    assert_eq!(admin.job("/queue/hold", &held.to_string())["state"], "done");
    admin.post("/customers/anna/suppression", "{\"address\":\"open@example.com\"}");
    admin.until("/trace?customer=anna", |found| {
        ["queue.hold", "suppression.add"].iter().all(|command| found.to_string().contains(command))
    });
    for path in [
        "/trace?customer=anna".to_owned(),
        "/trace?recipient=open@example.com".into(),
        format!("/trace?queue_id={of_anna}"),
    ] {
        let found = anna.read(&path);
        assert!(found.to_string().contains("accepted") && !found.to_string().contains("\"audit\""), "{path}: {found}");
    }
    // A recipient of another customer's mail is not found, though there is such mail.
    assert_eq!(anna.read("/trace?recipient=secret@example.com")["items"], json!([]));
    assert_eq!(anna.read("/customers")["items"].as_array().unwrap().len(), 1);
    let several = rig.client_of("customer", &["anna", "bo"]);
    several.get("/queue").is_problem("invalid");
    assert_eq!(several.read("/customers")["items"].as_array().unwrap().len(), 2);
    // Whether a customer exists is not told.
    let [there, not] = ["/customers/bo", "/customers/nobody"].map(|path| anna.get(path).status);
    assert_eq!(there, not);
}

#[test]
fn each_role_may_do_what_it_is_for_on_every_path() {
    let rig = Rig::start();
    let admin = rig.client("admin");
    let of_bo = rig.submit("ole@bo.example", "x@example.com");
    let job = admin.job("/customers/bo/probe", "{}")["id"].as_str().unwrap().to_owned();
    let operate = ["hold", "release", "retry", "bounce", "remove", "count"].map(|verb| format!("{verb}Messages"));
    let (read, operator) = (rig.client("read"), rig.client("operate"));
    let nobody = Client { token: String::new(), ..read.clone() };
    for (method, path, id) in operations(&admin) {
        let (path, body) = request(&id, &path, &of_bo, &job);
        let headers: &[(&str, &str)] =
            if ["PATCH", "DELETE"].contains(&method.as_str()) { &[("If-Match", "*")] } else { &[] };
        let needs = match id.as_str() {
            "addCustomer" | "changeCustomer" | "removeCustomer" | "suspendCustomer" | "resumeCustomer"
            | "rotateKey" | "listLinks" | "addLink" | "revokeLink" | "giveMailjetKey" | "tryOauth"
            | "eraseRecipient" => 2,
            "suspendRoute" | "resumeRoute" | "pauseCustomer" | "unpauseCustomer" | "checkDomain" | "sendTest" => 1,
            "suppress" | "unsuppress" | "importSuppression" => 1,
            id if operate.iter().any(|known| known == id) => 1,
            _ => 0,
        };
        for (role, client) in [(0, &read), (1, &operator)] {
            if role >= needs {
                continue;
            }
            let answer = client.send(&method, &path, headers, body.as_deref());
            assert_eq!(answer.status, 403, "{id} as role {role}: {answer:?}");
            answer.is_problem("forbidden");
        }
    }
    nobody.get("/queue").is_problem("no-token");
}
